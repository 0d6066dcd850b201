#include "proto/keys/keyring.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/keys/keyring_inside.h"

static const mono_t long_ago = {INT64_MIN / 2};

int keyring_create(const struct keyring_config *config, mono_t now, struct keyring **result)
{
    struct keyring *ring = calloc(1, sizeof *ring);

    if (ring == NULL)
        return ERR_NOMEM;
    ring->revoked = calloc(KEYRING_REVOKED_MAX, sizeof *ring->revoked);
    ring->revoked_ids = calloc(KEYRING_REVOKED_MAX, sizeof *ring->revoked_ids);
    ring->peers = calloc(KEYRING_PEERS_MAX, sizeof(struct keyring_node *));
    if (ring->revoked == NULL || ring->revoked_ids == NULL || ring->peers == NULL) {
        keyring_destroy(ring);
        return ERR_NOMEM;
    }
    ring->self = config->self;
    memcpy(ring->cluster_key, config->cluster_key, KEYS_PUBLIC);
    ring->holder = config->cluster != NULL;
    if (ring->holder)
        ring->cluster = *config->cluster;
    rng_seed(&ring->rng, config->seed);
    ring->now = now;
    ring->due = MONO_NEVER;
    ring->cloned_until = MONO_NEVER;
    *result = ring;
    return ERR_NONE;
}

void keyring_destroy(struct keyring *ring)
{
    if (ring == NULL)
        return;
    for (size_t i = 0; i < ring->peer_count; i++)
        free(ring->peers[i]);
    free(ring->peers);
    free(ring->revoked);
    free(ring->revoked_ids);
    keys_wipe(ring, sizeof *ring);
    free(ring);
}

/* ---- peers ---- */

static size_t peer_index(const struct keyring *ring, node_id id)
{
    size_t low = 0, high = ring->peer_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ring->peers[middle]->id.v < id.v)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct keyring_node *keyring_node_of(const struct keyring *ring, node_id id)
{
    size_t i = peer_index(ring, id);

    return i < ring->peer_count && node_id_equal(ring->peers[i]->id, id) ? ring->peers[i] : NULL;
}

int keyring_add_peer(struct keyring *ring, node_id id)
{
    size_t at = peer_index(ring, id);
    struct keyring_node *peer;

    if (keyring_node_of(ring, id) != NULL)
        return ERR_NONE;
    if (node_id_equal(id, ring->self) || keyring_revoked(ring, id) != NULL)
        return ERR_DENIED;
    if (ring->peer_count == KEYRING_PEERS_MAX)
        return ERR_FULL;
    peer = calloc(1, sizeof *peer);
    if (peer == NULL)
        return ERR_NOMEM;
    peer->id = id;
    peer->next = MONO_NEVER;
    peer->sent = peer->heard = peer->doubted = peer->told_clone = peer->says_clone = long_ago;
    memmove(ring->peers + at + 1, ring->peers + at,
            (ring->peer_count - at) * sizeof(struct keyring_node *));
    ring->peers[at] = peer;
    ring->peer_count++;
    return ERR_NONE;
}

static void remove_peer(struct keyring *ring, node_id id)
{
    size_t at = peer_index(ring, id);

    if (keyring_node_of(ring, id) == NULL)
        return;
    free(ring->peers[at]);
    ring->peer_count--;
    memmove(ring->peers + at, ring->peers + at + 1,
            (ring->peer_count - at) * sizeof(struct keyring_node *));
}

/* ---- revocations ---- */

static size_t revoked_index(const struct keyring *ring, node_id id)
{
    size_t i = 0;

    while (i < ring->revoked_count && ring->revoked_ids[i].v < id.v)
        i++;
    return i;
}

const struct keys_revocation *keyring_revoked(const struct keyring *ring, node_id id)
{
    size_t i = revoked_index(ring, id);

    return i < ring->revoked_count && node_id_equal(ring->revoked_ids[i], id) ? &ring->revoked[i]
                                                                              : NULL;
}

size_t keyring_revoked_count(const struct keyring *ring)
{
    return ring->revoked_count;
}

const struct keys_revocation *keyring_revoked_at(const struct keyring *ring, size_t index)
{
    assert(index < ring->revoked_count);
    return &ring->revoked[index];
}

/* ERR_EXISTS: known. */
static int add_revocation(struct keyring *ring, const struct keys_revocation *revocation)
{
    node_id id = keys_node_id(revocation->public_key);
    size_t at = revoked_index(ring, id);
    size_t behind = ring->revoked_count - at;

    if (keyring_revoked(ring, id) != NULL)
        return ERR_EXISTS;
    if (!keys_verify_revocation(ring->cluster_key, revocation))
        return ERR_AUTH;
    if (ring->revoked_count == KEYRING_REVOKED_MAX)
        return ERR_FULL;
    memmove(ring->revoked + at + 1, ring->revoked + at, behind * sizeof *ring->revoked);
    memmove(ring->revoked_ids + at + 1, ring->revoked_ids + at, behind * sizeof *ring->revoked_ids);
    ring->revoked[at] = *revocation;
    ring->revoked_ids[at] = id;
    ring->revoked_count++;
    ring->state.revoked = (uint16_t)ring->revoked_count;
    ring->state.digest = keys_revoked_digest(ring->revoked_ids, ring->revoked_count);
    remove_peer(ring, id);
    return ERR_NONE;
}

int keyring_load_revocation(struct keyring *ring, const struct keys_revocation *revocation)
{
    int rc = add_revocation(ring, revocation);

    return rc == ERR_EXISTS ? ERR_NONE : rc;
}

int keyring_learn_revocation(struct keyring *ring, const struct keys_revocation *revocation)
{
    int rc = add_revocation(ring, revocation);
    struct keyring_out *out = ring->out;

    if (rc != ERR_NONE)
        return rc == ERR_EXISTS ? ERR_NONE : rc;
    assert(out->revoked_count < KEYMSG_REVOCATIONS_MAX); /* one message holds no more */
    out->revoked[out->revoked_count++] = *revocation;
    if (node_id_equal(keys_node_id(revocation->public_key), ring->self))
        out->self_revoked = true;
    keyring_news(ring);
    return ERR_NONE;
}

/* ---- epochs ---- */

const struct keys_epoch *keyring_epochs(const struct keyring *ring, size_t *count)
{
    *count = ring->epoch_count;
    return ring->epochs;
}

/* Places a verified epoch. ERR_EXISTS: known, or older than all that are kept, or given up for
 * another one of its number. */
static int add_epoch(struct keyring *ring, const struct keys_epoch *epoch)
{
    size_t at = 0;

    while (at < ring->epoch_count && ring->epochs[at].number > epoch->number)
        at++;
    if (at < ring->epoch_count && ring->epochs[at].number == epoch->number) {
        if (keys_epoch_mark(epoch) <= keys_epoch_mark(&ring->epochs[at]))
            return ERR_EXISTS;
        ring->epochs[at] = *epoch;
    } else {
        if (at == KEYRING_EPOCHS)
            return ERR_EXISTS;
        if (ring->epoch_count < KEYRING_EPOCHS)
            ring->epoch_count++;
        memmove(ring->epochs + at + 1, ring->epochs + at,
                (ring->epoch_count - at - 1) * sizeof *ring->epochs);
        ring->epochs[at] = *epoch;
    }
    ring->state.epoch = ring->epochs[0].number;
    ring->state.mark = keys_epoch_mark(&ring->epochs[0]);
    return ERR_NONE;
}

int keyring_load_epoch(struct keyring *ring, const struct keys_epoch *epoch)
{
    if (epoch->number == 0 || epoch->number > ENVELOPE_EPOCH_MAX ||
        !keys_verify_epoch(ring->cluster_key, epoch))
        return ERR_AUTH;
    (void)add_epoch(ring, epoch);
    return ERR_NONE;
}

int keyring_learn_epoch(struct keyring *ring, const struct keys_epoch *epoch)
{
    if (epoch->number < ring->state.epoch)
        return ERR_NONE; /* its sender will be told the newer one */
    if (!keys_verify_epoch(ring->cluster_key, epoch))
        return ERR_AUTH;
    if (add_epoch(ring, epoch) == ERR_NONE) {
        ring->out->epochs = true;
        keyring_news(ring);
    }
    return ERR_NONE;
}

bool keyring_is_holder(const struct keyring *ring)
{
    return ring->holder;
}

bool keyring_is_complete(const struct keyring *ring)
{
    return ring->epoch_count > 0 && ring->epochs[0].revoked == ring->state.revoked &&
           ring->epochs[0].revoked_digest == ring->state.digest;
}

static int rotate(struct keyring *ring, const uint8_t secret[KEYS_EPOCH_SECRET])
{
    struct keys_epoch epoch = {.number = ring->state.epoch + 1,
                               .revoked = ring->state.revoked,
                               .revoked_digest = ring->state.digest};
    int rc;

    if (!ring->holder)
        return ERR_DENIED;
    if (epoch.number > ENVELOPE_EPOCH_MAX)
        return ERR_LIMIT;
    memcpy(epoch.secret, secret, KEYS_EPOCH_SECRET);
    keys_sign_epoch(&ring->cluster, &epoch);
    rc = keyring_learn_epoch(ring, &epoch);
    keys_wipe(&epoch, sizeof epoch);
    return rc;
}

static int revoke(struct keyring *ring, const struct keys_revocation *wanted)
{
    struct keys_revocation revocation = *wanted;
    node_id id = keys_node_id(wanted->public_key);

    if (!ring->holder || node_id_equal(id, ring->self))
        return ERR_DENIED;
    if (keyring_revoked(ring, id) != NULL)
        return ERR_EXISTS;
    keys_sign_revocation(&ring->cluster, &revocation);
    return keyring_learn_revocation(ring, &revocation);
}

/* ---- steps ---- */

bool keyring_event_of(const struct channel_in *in, struct keyring_event *event)
{
    *event =
        (struct keyring_event){.type = KEYRING_HEARD, .from = in->from, .restarted = in->restarted};
    if (!node_id_none(in->clone)) {
        event->type = KEYRING_CLONE;
        event->from = in->clone;
    } else if (!node_id_none(in->doubt)) {
        event->type = KEYRING_DOUBT;
        event->from = in->doubt;
    }
    return !node_id_none(event->from);
}

static int take_event(struct keyring *ring, const struct keyring_event *event)
{
    struct keyring_node *peer = keyring_node_of(ring, event->from);

    switch (event->type) {
    case KEYRING_TIMER:
        return ERR_NONE;
    case KEYRING_ROTATE:
        return rotate(ring, event->secret);
    case KEYRING_REVOKE:
        return revoke(ring, &event->revocation);
    case KEYRING_NOTICE:
        return keyring_learn_revocation(ring, &event->revocation);
    default:
        break;
    }
    if (peer == NULL)
        return ERR_NOTFOUND;
    if (event->type == KEYRING_DOUBT) {
        keyring_doubt(ring, peer);
        return ERR_NONE;
    }
    if (event->type == KEYRING_CLONE) {
        keyring_tell_clone(ring, peer);
        return ERR_NONE;
    }
    keyring_heard(ring, peer, event->restarted);
    return event->type == KEYRING_MESSAGE ? keyring_receive(ring, peer, event->msg) : ERR_NONE;
}

int keyring_step(struct keyring *ring, mono_t now, const struct keyring_event *event,
                 struct keyring_out *out)
{
    int rc;

    assert(!mono_before(now, ring->now));
    out->send_count = 0;
    out->revoked_count = 0;
    out->epochs = out->self_revoked = out->rotate = out->has = out->cloned_changed = false;
    out->has_epoch = 0;
    ring->out = out;
    ring->now = now;
    rc = take_event(ring, event);
    keyring_tick(ring);
    /* More than the newest epoch knows of. With fewer, this node lacks some: it waits for them. */
    out->rotate =
        ring->holder && ring->epoch_count > 0 && ring->state.revoked > ring->epochs[0].revoked;
    ring->out = NULL;
    return rc;
}

mono_t keyring_deadline(const struct keyring *ring)
{
    return mono_min(ring->due, ring->cloned_until);
}

bool keyring_cloned(const struct keyring *ring)
{
    return ring->cloned;
}

int keyring_find_peer(const struct keyring *ring, node_id id, struct keyring_peer *peer)
{
    const struct keyring_node *node = keyring_node_of(ring, id);

    if (node == NULL)
        return ERR_NOTFOUND;
    *peer = (struct keyring_peer){.known = node->known,
                                  .epoch = node->known ? node->state.epoch : 0,
                                  .current = keyring_in_sync(ring, node)};
    return ERR_NONE;
}
