/* How keys travel: who lacks what, who is told when. */
#include <string.h>

#include "proto/keys/keyring_inside.h"

#define DELIVER_MIN_MS 100 /* between two deliveries to one peer: the answer may be under way */
#define TRIES_MAX 20

bool keyring_in_sync(const struct keyring *ring, const struct keyring_node *peer)
{
    return peer->known && peer->state.epoch == ring->state.epoch &&
           peer->state.mark == ring->state.mark && peer->state.revoked == ring->state.revoked &&
           peer->state.digest == ring->state.digest;
}

static bool same_revocations(const struct keyring *ring, const struct keyring_node *peer)
{
    return peer->state.revoked == ring->state.revoked && peer->state.digest == ring->state.digest;
}

static bool is_behind(const struct keyring *ring, const struct keyring_node *peer)
{
    return peer->state.epoch < ring->state.epoch ||
           (peer->state.epoch == ring->state.epoch && peer->state.mark < ring->state.mark);
}

void keyring_wake(struct keyring *ring, struct keyring_node *peer, mono_t at)
{
    peer->next = at;
    ring->due = mono_min(ring->due, at);
}

void keyring_news(struct keyring *ring)
{
    size_t count = ring->peer_count;

    for (size_t i = 0; i < count; i++) {
        ring->peers[i]->tries = 0;
        if (count < KEYRING_EAGER_MAX)
            keyring_wake(ring, ring->peers[i], ring->now);
    }
    for (size_t i = 0; count >= KEYRING_EAGER_MAX && i < KEYRING_FANOUT; i++)
        keyring_wake(ring, ring->peers[rng_index(&ring->rng, count)], ring->now);
}

/* ---- messages ---- */

static bool has_room(const struct keyring *ring, size_t messages)
{
    return ring->out->send_count + messages <= KEYRING_SENDS_MAX;
}

static struct keymsg *begin(struct keyring *ring, const struct keyring_node *peer, uint8_t type)
{
    struct keyring_send *send;

    if (!has_room(ring, 1))
        return NULL;
    send = &ring->out->sends[ring->out->send_count++];
    memset(send, 0, sizeof *send);
    send->to = peer->id;
    send->msg.type = type;
    return &send->msg;
}

static void send_state(struct keyring *ring, const struct keyring_node *peer, bool reply)
{
    struct keymsg *m = begin(ring, peer, KEYMSG_STATE);

    if (m == NULL)
        return;
    m->state = ring->state;
    m->state.reply = reply;
}

/* As many as find room now; the rest with the next attempt, in an order of chance. */
static void send_revoked(struct keyring *ring, const struct keyring_node *peer)
{
    size_t count = ring->revoked_count;
    size_t start = count == 0 ? 0 : rng_index(&ring->rng, count);
    struct keymsg *m = NULL;

    for (size_t i = 0; i < count; i++) {
        if (m == NULL || m->revoked.count == KEYMSG_REVOCATIONS_MAX)
            m = begin(ring, peer, KEYMSG_REVOKED);
        if (m == NULL)
            return;
        m->revoked.list[m->revoked.count++] = ring->revoked[(start + i) % count];
    }
}

/* Sends @peer something that it lacks, as far as that is known; false: there is nothing. */
static bool deliver(struct keyring *ring, struct keyring_node *peer)
{
    struct keymsg *m;

    if (!peer->known || mono_diff(ring->now, peer->sent) < DELIVER_MIN_MS)
        return false;
    if (!same_revocations(ring, peer)) {
        if (ring->revoked_count == 0)
            return false;
        peer->sent = ring->now;
        send_revoked(ring, peer);
        return true;
    }
    if (!is_behind(ring, peer) || !keyring_is_complete(ring))
        return false;
    peer->sent = ring->now;
    m = begin(ring, peer, KEYMSG_EPOCH);
    if (m != NULL)
        m->epoch = ring->epochs[0];
    return true;
}

/* ---- what comes in ---- */

static void plan(struct keyring *ring, struct keyring_node *peer)
{
    int64_t wait = KEYRING_RETRY_MS;

    for (unsigned i = 0; i < peer->tries && wait < KEYRING_RETRY_MAX_MS; i++)
        wait *= 2;
    if (wait > KEYRING_RETRY_MAX_MS)
        wait = KEYRING_RETRY_MAX_MS;
    if (keyring_in_sync(ring, peer) ||
        (peer->tries > 1 && mono_diff(ring->now, peer->heard) > KEYRING_PRESENT_MS))
        peer->next = MONO_NEVER; /* until it is heard */
    else
        keyring_wake(ring, peer, mono_add(ring->now, wait + rng_range(&ring->rng, 0, wait / 4)));
}

void keyring_heard(struct keyring *ring, struct keyring_node *peer, bool restarted)
{
    peer->heard = ring->now;
    if (restarted) { /* it may have less than it had */
        peer->known = false;
        peer->tries = 0;
        keyring_wake(ring, peer, ring->now);
    }
    if (mono_is_never(peer->next) && !keyring_in_sync(ring, peer)) {
        peer->tries = 0;
        keyring_wake(ring, peer, mono_max(ring->now, mono_add(peer->sent, KEYRING_RETRY_MS)));
    }
}

/* What the peer says of its newest epoch counts for the channel, unless it means another secret. */
static void take_state(struct keyring *ring, struct keyring_node *peer,
                       const struct keymsg_state *state)
{
    peer->known = true;
    peer->state = *state;
    ring->out->has = true;
    ring->out->has_epoch = state->epoch;
    for (size_t i = 0; i < ring->epoch_count; i++)
        if (ring->epochs[i].number == state->epoch &&
            keys_epoch_mark(&ring->epochs[i]) != state->mark)
            ring->out->has_epoch = 0;
    if (state->reply)
        send_state(ring, peer, false);
    if (!keyring_in_sync(ring, peer))
        deliver(ring, peer);
    plan(ring, peer);
}

static void update_cloned(struct keyring *ring)
{
    size_t heard = 0, say = 0;
    bool cloned;

    ring->cloned_until = MONO_NEVER;
    for (size_t i = 0; i < ring->peer_count; i++) {
        const struct keyring_node *peer = ring->peers[i];
        bool says = mono_diff(ring->now, peer->says_clone) < KEYRING_CLONED_MS;
        heard += mono_diff(ring->now, peer->heard) < KEYRING_CLONED_MS;
        say += says;
        if (says)
            ring->cloned_until =
                mono_min(ring->cloned_until, mono_add(peer->says_clone, KEYRING_CLONED_MS));
    }
    cloned = 2 * say > heard; /* one that lies does not decide it, unless it is the only one */
    ring->out->cloned_changed = ring->out->cloned_changed || cloned != ring->cloned;
    ring->cloned = cloned;
}

/* Who hands an epoch on has it. */
static int take_epoch(struct keyring *ring, struct keyring_node *peer,
                      const struct keys_epoch *epoch)
{
    uint64_t mark = keys_epoch_mark(epoch);
    int rc = keyring_learn_epoch(ring, epoch);

    if (rc != ERR_NONE)
        return rc;
    if (peer->state.epoch < epoch->number ||
        (peer->state.epoch == epoch->number && peer->state.mark < mark)) {
        peer->state.epoch = epoch->number;
        peer->state.mark = mark;
    }
    ring->out->has = ring->state.mark == mark;
    ring->out->has_epoch = epoch->number;
    send_state(ring, peer, !keyring_in_sync(ring, peer));
    return ERR_NONE;
}

static int take_revoked(struct keyring *ring, node_id from, const struct keymsg *msg)
{
    struct keyring_node *peer;
    int rc = ERR_NONE;

    for (size_t i = 0; i < msg->revoked.count && rc == ERR_NONE; i++)
        rc = keyring_learn_revocation(ring, &msg->revoked.list[i]);
    peer = keyring_node_of(ring, from); /* it may have been one of them */
    if (peer != NULL)
        send_state(ring, peer, true);
    return rc;
}

int keyring_receive(struct keyring *ring, struct keyring_node *peer, const struct keymsg *msg)
{

    switch (msg->type) {
    case KEYMSG_STATE:
        take_state(ring, peer, &msg->state);
        return ERR_NONE;
    case KEYMSG_EPOCH:
        return take_epoch(ring, peer, &msg->epoch);
    case KEYMSG_REVOKED:
        return take_revoked(ring, peer->id, msg);
    case KEYMSG_CLONED:
        peer->says_clone = ring->now;
        update_cloned(ring);
        return ERR_NONE;
    default:
        return ERR_INVALID;
    }
}

void keyring_doubt(struct keyring *ring, struct keyring_node *peer)
{
    if (mono_diff(ring->now, peer->doubted) < KEYRING_DOUBT_MS)
        return;
    peer->doubted = ring->now;
    send_state(ring, peer, true);
}

void keyring_tell_clone(struct keyring *ring, struct keyring_node *peer)
{
    if (mono_diff(ring->now, peer->told_clone) < KEYRING_DOUBT_MS)
        return;
    peer->told_clone = ring->now;
    begin(ring, peer, KEYMSG_CLONED);
}

/* ---- attempts ---- */

static void attempt(struct keyring *ring, struct keyring_node *peer)
{
    if (keyring_in_sync(ring, peer)) {
        peer->next = MONO_NEVER;
        return;
    }
    if (!deliver(ring, peer))
        send_state(ring, peer, true);
    if (peer->tries < TRIES_MAX)
        peer->tries++;
    plan(ring, peer);
}

void keyring_tick(struct keyring *ring)
{
    mono_t due = MONO_NEVER;

    if (mono_reached(ring->now, ring->cloned_until))
        update_cloned(ring);
    if (!mono_reached(ring->now, ring->due))
        return;
    for (size_t i = 0; i < ring->peer_count; i++) {
        struct keyring_node *peer = ring->peers[i];
        if (mono_reached(ring->now, peer->next) && has_room(ring, 2))
            attempt(ring, peer);
        due = mono_min(due, peer->next);
    }
    ring->due = due;
}
