#include "tests/sim/keys_world_inside.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLAY_EVERY_MS 40
#define WRITE_MAX_MS 400 /* a write reaches the disk so late at most */
#define UDP_OVERHEAD 28

void world_trace(const struct world *w, const char *format, ...)
{
    va_list args;

    if (!w->options.trace)
        return;
    printf("%10.3f ", (double)world_now(w) / 1e3);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

void world_break(struct world *w, const char *format, ...)
{
    va_list args;
    int n;

    if (w->broken[0] != '\0')
        return;
    n = snprintf(w->broken, sizeof w->broken, "at %.3f s: ", (double)world_now(w) / 1e3);
    va_start(args, format);
    vsnprintf(w->broken + n, sizeof w->broken - (size_t)n, format, args);
    va_end(args);
    world_trace(w, "BROKEN %s", w->broken);
}

const char *world_broken(const struct world *w)
{
    return w->broken;
}

int64_t world_now(const struct world *w)
{
    return simnet_now(w->net).ms - SIMNET_START.ms;
}

struct simnet *world_net(struct world *w)
{
    return w->net;
}

struct rng *world_rng(struct world *w)
{
    return w->rng;
}

const struct world_counts *world_counts(const struct world *w)
{
    return &w->counts;
}

bool world_chance(struct world *w, double probability)
{
    return rng_unit(w->rng) < probability;
}

/* By the seed, so that a run can be repeated. */
void world_secret(struct world *w, uint8_t secret[KEYS_EPOCH_SECRET])
{
    for (size_t i = 0; i < KEYS_EPOCH_SECRET; i++)
        secret[i] = (uint8_t)rng_below(w->rng, 256);
}

static struct addr address_of(size_t machine)
{
    return (struct addr){.family = 4, .ip = {10, 0, 0, (uint8_t)machine}, .port = 8801};
}

node_id world_id(const struct world *w, size_t identity)
{
    return w->machines[identity].keys.id;
}

static size_t identity_of(const struct world *w, node_id id)
{
    for (size_t i = 0; i < w->options.nodes; i++)
        if (node_id_equal(w->machines[i].keys.id, id))
            return i;
    return SIZE_MAX;
}

/* ---- what is made ---- */

static void note_epoch(struct world *w, const struct machine *m)
{
    size_t count;
    const struct keys_epoch *epoch = keyring_epochs(m->ring, &count);
    struct made *made = &w->made[w->made_count];

    if (w->made_count == EPOCHS_MAX) {
        world_break(w, "more epochs than this simulation has room for");
        return;
    }
    made->number = epoch->number;
    made->mark = keys_epoch_mark(epoch);
    for (size_t i = 0; i < w->options.nodes; i++)
        made->revoked[i] = keyring_revoked(m->ring, world_id(w, i)) != NULL;
    w->made_count++;
}

/* Each epoch was made by a holder; and who was revoked has none that was made after that. */
static void check_epochs(struct world *w, size_t machine)
{
    const struct machine *m = &w->machines[machine];
    size_t count;
    const struct keys_epoch *epochs = keyring_epochs(m->ring, &count);

    for (size_t i = 0; i < count; i++) {
        uint64_t mark = keys_epoch_mark(&epochs[i]);
        const struct made *found = NULL;
        for (size_t k = 0; k < w->made_count; k++)
            if (w->made[k].number == epochs[i].number && w->made[k].mark == mark)
                found = &w->made[k];
        if (found == NULL)
            world_break(w, "node %zu has an epoch %u that nobody made", machine,
                        (unsigned)epochs[i].number);
        else if (found->revoked[m->identity])
            world_break(w, "node %zu was revoked, and has got epoch %u", machine,
                        (unsigned)epochs[i].number);
    }
    for (size_t i = 0; i < keyring_revoked_count(m->ring); i++)
        if (!w->revoked[identity_of(w, keys_node_id(keyring_revoked_at(m->ring, i)->public_key))])
            world_break(w, "node %zu holds a revocation that nobody made", machine);
}

/* ---- sending ---- */

static void send_out(struct world *w, size_t from, const struct channel_out *out, bool keys)
{
    for (size_t i = 0; i < out->count; i++) {
        const struct channel_datagram *d = &out->datagrams[i];
        simnet_send(w->net, from, d->to.ip[3], d->bytes, d->len, d->len + UDP_OVERHEAD);
        if (keys)
            w->counts.key_bytes += d->len + UDP_OVERHEAD;
        if (w->options.replays)
            w->recorded[w->recorded_count++ % RECORDED_MAX] = *d;
    }
}

/* Where a node was last heard; at first where its card belongs. */
static struct addr find_address(const struct world *w, const struct machine *m, size_t identity)
{
    struct channel_peer peer;

    if (channel_find_peer(m->channel, world_id(w, identity), &peer) == ERR_NONE &&
        peer.addr.family != 0)
        return peer.addr;
    return address_of(identity);
}

void world_arm(struct world *w, size_t machine)
{
    struct machine *m = &w->machines[machine];
    mono_t next =
        mono_min(m->ping, mono_min(channel_deadline(m->channel), keyring_deadline(m->ring)));

    simnet_wake(w->net, machine, next);
}

static void write_later(struct world *w, size_t machine)
{
    struct machine *m = &w->machines[machine];
    struct disk *cache = &m->cache;
    const struct keys_epoch *epochs = keyring_epochs(m->ring, &cache->epoch_count);

    memcpy(cache->epochs, epochs, cache->epoch_count * sizeof *epochs);
    cache->revoked_count = keyring_revoked_count(m->ring);
    for (size_t i = 0; i < cache->revoked_count; i++)
        cache->revoked[i] = *keyring_revoked_at(m->ring, i);
    simnet_script(w->net, mono_add(simnet_now(w->net), rng_range(w->rng, 0, WRITE_MAX_MS)),
                  TAG_WRITE + machine);
}

/* As agent_keys.c does it. */
static void carry_out(struct world *w, size_t machine, node_id from)
{
    struct machine *m = &w->machines[machine];
    struct keyring_out *out = &w->out;
    mono_t now = simnet_now(w->net);
    bool rotate = out->rotate;
    struct channel_out sealed;
    size_t count;

    if (out->epochs) {
        const struct keys_epoch *epochs = keyring_epochs(m->ring, &count);
        if (channel_set_epochs(m->channel, epochs, count) != ERR_NONE)
            world_break(w, "the channel does not take the keyring's epochs");
        memset(m->heard, 0, sizeof m->heard);
    }
    for (size_t i = 0; i < out->revoked_count; i++)
        channel_remove_peer(m->channel, keys_node_id(out->revoked[i].public_key));
    if (out->epochs || out->revoked_count > 0)
        write_later(w, machine);
    if (out->has) {
        channel_peer_has(m->channel, now, from, out->has_epoch, &sealed);
        send_out(w, machine, &sealed, false);
    }
    for (size_t i = 0; i < out->send_count; i++) {
        const struct keyring_send *send = &out->sends[i];
        struct addr at = find_address(w, m, identity_of(w, send->to));
        uint8_t body[KEYMSG_BODY_MAX];
        size_t len;
        if (keymsg_encode(&send->msg, body, &len) != ERR_NONE)
            world_break(w, "a message about keys cannot be encoded");
        (void)channel_seal_keys(m->channel, now, send->to, &at, body, len, &sealed);
        send_out(w, machine, &sealed, true);
    }
    check_epochs(w, machine);
    if (rotate) {
        struct keyring_event again = {.type = KEYRING_ROTATE};
        world_secret(w, again.secret);
        world_step(w, machine, &again);
    }
}

void world_step(struct world *w, size_t machine, const struct keyring_event *event)
{
    struct machine *m = &w->machines[machine];
    int rc = keyring_step(m->ring, simnet_now(w->net), event, &w->out);

    if (event->type == KEYRING_ROTATE && rc == ERR_NONE)
        note_epoch(w, m);
    else if (rc == ERR_AUTH && w->options.thief == SIZE_MAX)
        world_break(w, "node %zu got something that is not signed, and nobody forges", machine);
    carry_out(w, machine, event->from);
}

static void say(struct world *w, size_t machine, size_t to)
{
    struct machine *m = &w->machines[machine];
    struct ping ping = {.number = w->counts.sent};
    struct addr at = find_address(w, m, to);
    struct channel_out out;

    if (w->counts.sent == WORLD_PINGS_MAX) {
        world_break(w, "more pings than this simulation has room for");
        return;
    }
    if (channel_seal(m->channel, simnet_now(w->net), world_id(w, to), &at, (const uint8_t *)&ping,
                     sizeof ping, &out) == ERR_NONE)
        w->counts.sent++;
    send_out(w, machine, &out, false);
}

static void ping_somebody(struct world *w, size_t machine)
{
    struct machine *m = &w->machines[machine];
    size_t n = w->options.nodes;
    size_t to = rng_index(w->rng, n);

    m->ping = mono_add(simnet_now(w->net),
                       rng_range(w->rng, w->options.ping_ms / 2, w->options.ping_ms * 3 / 2));
    if (w->options.ring && !world_chance(w, 0.1)) {
        size_t away = 1;
        do /* past those who were revoked: as a ring of members closes */
            to = world_chance(w, 0.5) ? (m->identity + away) % n : (m->identity + n - away) % n;
        while (keyring_revoked(m->ring, world_id(w, to)) != NULL && ++away < n);
    }
    if (to != m->identity)
        say(w, machine, to);
}

/* ---- a node that means ill ---- */

static void forge(struct world *w, size_t machine)
{
    struct machine *m = &w->machines[machine];
    struct keys_revocation revocation = {.name = "victim", .time = 1};
    size_t victim = rng_index(w->rng, w->options.nodes);
    size_t to = rng_index(w->rng, w->options.nodes);
    struct keymsg msg = {.type = KEYMSG_EPOCH};
    struct addr at = find_address(w, m, to);
    uint8_t body[KEYMSG_BODY_MAX];
    struct channel_out out;
    size_t count, len;

    if (to == m->identity)
        return;
    switch (rng_below(w->rng, 4)) {
    case 0: /* an epoch of its own, as far ahead as there are numbers */
        msg.epoch.number = world_chance(w, 0.5) ? ENVELOPE_EPOCH_MAX : world_epoch(w, machine) + 1;
        world_secret(w, msg.epoch.secret);
        keys_sign_epoch(&m->keys, &msg.epoch);
        break;
    case 1: /* a true one, under another number */
        msg.epoch = *keyring_epochs(m->ring, &count);
        msg.epoch.number++;
        break;
    case 2: /* another node is a member no more */
        memcpy(revocation.public_key, w->machines[victim].keys.public_key, KEYS_PUBLIC);
        keys_sign_revocation(&m->keys, &revocation);
        msg.type = KEYMSG_REVOKED;
        msg.revoked.count = 1;
        msg.revoked.list[0] = revocation;
        break;
    default: /* a lie about what it has */
        msg.type = KEYMSG_STATE;
        msg.state = (struct keymsg_state){.epoch = (uint32_t)rng_below(w->rng, 1000),
                                          .mark = rng_next(w->rng),
                                          .revoked = (uint16_t)rng_below(w->rng, 300),
                                          .digest = rng_next(w->rng),
                                          .reply = true};
        break;
    }
    if (keymsg_encode(&msg, body, &len) == ERR_NONE)
        (void)channel_seal_keys(m->channel, simnet_now(w->net), world_id(w, to), &at, body, len,
                                &out);
    else
        return;
    send_out(w, machine, &out, false);
}

/* ---- receiving ---- */

static void take_body(struct world *w, size_t machine, const struct channel_in *in)
{
    struct machine *m = &w->machines[machine];
    size_t from = identity_of(w, in->from);
    struct channel_peer peer;
    struct ping ping;

    if (keyring_revoked(m->ring, in->from) != NULL)
        world_break(w, "node %zu took something from %zu, which it knows to be revoked", machine,
                    from);
    if (in->len != sizeof ping) {
        world_break(w, "a body of %zu bytes", in->len);
        return;
    }
    memcpy(&ping, in->body, sizeof ping);
    if (ping.number >= w->counts.sent + 1 || w->delivered[ping.number]) {
        world_break(w, "node %zu took ping %llu twice", machine, (unsigned long long)ping.number);
        return;
    }
    w->delivered[ping.number] = true;
    w->counts.received++;
    if (channel_find_peer(m->channel, in->from, &peer) == ERR_NONE &&
        peer.epoch == channel_epoch(m->channel))
        m->heard[from] = true;
}

static void take(struct world *w, size_t machine, const struct addr *source, const void *data,
                 size_t len)
{
    struct machine *m = &w->machines[machine];
    struct keyring_event event;
    struct channel_out out;
    struct channel_in in;
    struct keymsg msg;
    enum wire_reason reason;

    reason = channel_open(m->channel, simnet_now(w->net), source, data, len, &in, &out);
    send_out(w, machine, &out, false);
    if (reason != WIRE_OK)
        world_trace(w, "node %zu refuses a datagram from %zu: %s", machine, (size_t)source->ip[3],
                    wire_reason_name((int)reason));
    if (keyring_event_of(&in, &event)) {
        if (in.keys && in.body != NULL) {
            if (keymsg_decode(in.body, in.len, &msg) != WIRE_OK)
                world_break(w, "a message about keys cannot be decoded");
            event.type = KEYRING_MESSAGE;
            event.msg = &msg;
        } else if (in.body != NULL) {
            take_body(w, machine, &in);
        }
        world_step(w, machine, &event);
    }
    world_arm(w, machine);
}

static void wake(struct world *w, size_t machine)
{
    struct machine *m = &w->machines[machine];
    struct keyring_event event = {.type = KEYRING_TIMER};
    mono_t now = simnet_now(w->net);
    struct channel_out out;

    if (mono_reached(now, channel_deadline(m->channel))) {
        channel_step(m->channel, now, &out);
        send_out(w, machine, &out, false);
    }
    if (mono_reached(now, keyring_deadline(m->ring)))
        world_step(w, machine, &event);
    if (mono_reached(now, m->ping)) {
        ping_somebody(w, machine);
        if (machine == w->options.thief)
            forge(w, machine);
    }
    world_arm(w, machine);
}

static void replay(struct world *w)
{
    size_t known = w->recorded_count < RECORDED_MAX ? w->recorded_count : RECORDED_MAX;

    simnet_script(w->net, mono_add(simnet_now(w->net), REPLAY_EVERY_MS), TAG_REPLAY);
    for (size_t i = 0; i < 4 && known > 0; i++) {
        struct channel_datagram d = w->recorded[rng_index(w->rng, known)];
        size_t to = world_chance(w, 0.8) ? d.to.ip[3] : rng_index(w->rng, w->count);
        struct addr from = address_of(rng_index(w->rng, w->count));
        if (!world_is_up(w, to) || to >= w->options.nodes)
            continue;
        w->counts.replayed++;
        take(w, to, &from, d.bytes, d.len);
    }
}

bool world_run(struct world *w, int64_t ms)
{
    mono_t until = mono_add(simnet_now(w->net), ms);
    struct simnet_event event;

    while (w->broken[0] == '\0' && simnet_next(w->net, until, &event)) {
        struct addr from = address_of(event.from);
        if (event.kind == SIMNET_SCRIPT && event.tag == TAG_REPLAY)
            replay(w);
        else if (event.kind == SIMNET_SCRIPT)
            w->machines[event.tag - TAG_WRITE].disk = w->machines[event.tag - TAG_WRITE].cache;
        else if (event.kind == SIMNET_DELIVER)
            take(w, event.node, &from, event.data, event.len);
        else
            wake(w, event.node);
    }
    return w->broken[0] == '\0';
}
