/* Probes of the model: whom, when, what came of it, and those made for others. */
#include "tests/sim/memberlist_inside.h"

static mono_t now_of(const struct memberlists *c)
{
    return simnet_now(c->net);
}

/* Reaps those that have been dead for long, and draws a new order. */
static void reset_nodes(struct memberlists *c, struct ml_node *n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n->order_count; i++) {
        struct ml_peer *p = &n->peers[n->order[i]];
        if (p->state == ML_DEAD && mono_diff(now_of(c), p->changed) > GOSSIP_TO_DEAD_MS)
            p->listed = false;
        else
            n->order[kept++] = n->order[i];
    }
    n->order_count = kept;
    for (size_t i = kept; i > 1; i--) {
        size_t k = rng_index(simnet_rng(c->net), i);
        uint16_t swap = n->order[i - 1];
        n->order[i - 1] = n->order[k];
        n->order[k] = swap;
    }
}

static void start_probe(struct memberlists *c, size_t node, uint16_t target)
{
    struct ml_node *n = &c->nodes[node];
    struct ml_peer *p = &n->peers[target];
    struct ml_packet ping = {.kind = ML_PING, .sequence = ++n->sequence};
    int64_t interval = PROBE_MS * (int64_t)(1 + n->score);

    n->probe = (struct ml_probe){.running = true,
                                 .target = target,
                                 .sequence = ping.sequence,
                                 .incarnation = p->incarnation,
                                 .timeout = mono_add(now_of(c), ACK_MS),
                                 .deadline = mono_add(now_of(c), interval)};
    if (p->state != ML_ALIVE) {
        ping.news_count = 1;
        ping.news[0] = (struct ml_news){.state = ML_SUSPECT,
                                        .subject = target,
                                        .from = (uint16_t)node,
                                        .incarnation = p->incarnation};
    }
    ml_send(c, node, target, &ping, p->state == ML_ALIVE);
}

static void probe(struct memberlists *c, size_t node)
{
    struct ml_node *n = &c->nodes[node];

    for (size_t checked = 0; checked < n->order_count;) {
        uint16_t at;
        if (n->probe_index >= n->order_count) {
            reset_nodes(c, n);
            n->probe_index = 0;
            checked++;
            continue;
        }
        at = n->order[n->probe_index++];
        if (at == node || n->peers[at].state == ML_DEAD) {
            checked++;
            continue;
        }
        start_probe(c, node, at);
        return;
    }
}

static void end_probe(struct memberlists *c, size_t node, int delta)
{
    struct ml_node *n = &c->nodes[node];

    n->probe.running = false;
    ml_score(n, delta);
    if (n->probe_pending) {
        n->probe_pending = false;
        probe(c, node);
    }
}

static void probe_timeout(struct memberlists *c, size_t node)
{
    struct ml_node *n = &c->nodes[node];
    uint16_t relays[INDIRECT];
    size_t count = ml_pick(c, node, n->probe.target, true, INDIRECT, relays);

    n->probe.indirect = true;
    n->probe.nacks_expected = (unsigned)count;
    for (size_t i = 0; i < count; i++) {
        struct ml_packet ask = {
            .kind = ML_INDIRECT, .sequence = n->probe.sequence, .target = n->probe.target};
        ml_send(c, node, relays[i], &ask, true);
    }
    ml_connect(c, node, n->probe.target, false, n->probe.sequence, n->probe.deadline);
}

static void probe_failed(struct memberlists *c, size_t node)
{
    struct ml_node *n = &c->nodes[node];
    struct ml_probe *p = &n->probe;
    struct ml_news news = {.state = ML_SUSPECT,
                           .subject = p->target,
                           .from = (uint16_t)node,
                           .incarnation = p->incarnation};
    int delta = p->nacks_expected == 0 ? 1 : (int)(p->nacks_expected - p->nacks);

    if (p->tcp_contact) {
        end_probe(c, node, -1);
        return;
    }
    ml_suspect(c, node, &news);
    end_probe(c, node, delta);
}

void ml_probe_timers(struct memberlists *c, size_t node)
{
    struct ml_node *n = &c->nodes[node];
    mono_t now = now_of(c);

    while (mono_reached(now, n->probe_tick)) {
        n->probe_tick = mono_add(n->probe_tick, PROBE_MS);
        if (n->probe.running)
            n->probe_pending = true;
        else
            probe(c, node);
    }
    if (n->probe.running && !n->probe.indirect && mono_reached(now, n->probe.timeout))
        probe_timeout(c, node);
    if (n->probe.running && mono_reached(now, n->probe.deadline))
        probe_failed(c, node);
}

/* ---- answers, and probes for others ---- */

void ml_take_indirect(struct memberlists *c, size_t node, size_t from,
                      const struct ml_packet *packet)
{
    struct ml_node *n = &c->nodes[node];
    struct ml_packet ping = {.kind = ML_PING, .sequence = ++n->sequence};

    ml_send(c, node, packet->target, &ping, true);
    for (size_t i = 0; i < RELAYS_MAX; i++)
        if (!n->relays[i].used) {
            n->relays[i] = (struct ml_relay){.used = true,
                                             .origin = (uint16_t)from,
                                             .origin_sequence = packet->sequence,
                                             .sequence = ping.sequence,
                                             .until = mono_add(now_of(c), ACK_MS)};
            return;
        }
}

void ml_take_ack(struct memberlists *c, size_t node, const struct ml_packet *packet)
{
    struct ml_node *n = &c->nodes[node];

    if (n->probe.running && n->probe.sequence == packet->sequence) {
        end_probe(c, node, -1);
        return;
    }
    for (size_t i = 0; i < RELAYS_MAX; i++) {
        struct ml_relay *r = &n->relays[i];
        struct ml_packet ack = {.kind = ML_ACK, .sequence = r->origin_sequence};
        if (!r->used || r->sequence != packet->sequence)
            continue;
        r->used = false;
        ml_send(c, node, r->origin, &ack, true);
    }
}

void ml_relays_tick(struct memberlists *c, size_t node)
{
    struct ml_node *n = &c->nodes[node];

    for (size_t i = 0; i < RELAYS_MAX; i++) {
        struct ml_relay *r = &n->relays[i];
        struct ml_packet nack = {.kind = ML_NACK, .sequence = r->origin_sequence};
        if (!r->used || !mono_reached(now_of(c), r->until))
            continue;
        r->used = false;
        ml_send(c, node, r->origin, &nack, true);
    }
}
