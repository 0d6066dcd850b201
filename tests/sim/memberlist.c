#include "tests/sim/memberlist.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/memberlist_inside.h"

static void *must(void *p)
{
    if (p == NULL) {
        fprintf(stderr, "memberlist: out of memory\n");
        abort();
    }
    return p;
}

static mono_t now_of(const struct memberlists *c)
{
    return simnet_now(c->net);
}

void ml_score(struct ml_node *n, int delta)
{
    int sum = (int)n->score + delta;

    n->score = (unsigned)(sum < 0 ? 0 : sum > AWARENESS_MAX - 1 ? AWARENESS_MAX - 1 : sum);
}

/* Random nodes of the list. Version 0.2.2 tries three times as often as there are nodes, so that in
 * a small cluster it may come back with fewer than there are. */
size_t ml_pick(struct memberlists *c, size_t node, size_t except, bool alive_only, size_t max,
               uint16_t *picked)
{
    struct ml_node *n = &c->nodes[node];
    size_t tries = 3 * n->order_count;
    size_t count = 0;

    if (c->options.exhaustive && n->order_count < 3 * max)
        tries = 100 * n->order_count;
    for (size_t i = 0; i < tries && count < max; i++) {
        uint16_t at = n->order[rng_index(simnet_rng(c->net), n->order_count)];
        const struct ml_peer *p = &n->peers[at];
        bool usable = at != node && at != except && p->state != ML_UNKNOWN;
        if (alive_only)
            usable = usable && p->state == ML_ALIVE;
        else if (p->state == ML_DEAD)
            usable = usable && mono_diff(now_of(c), p->changed) <= GOSSIP_TO_DEAD_MS;
        for (size_t k = 0; k < count; k++)
            usable = usable && picked[k] != at;
        if (usable)
            picked[count++] = at;
    }
    return count;
}

/* ---- states ---- */

static void end_suspicion(struct ml_node *n, struct ml_peer *p)
{
    if (p->suspicion == NULL)
        return;
    free(p->suspicion);
    p->suspicion = NULL;
    n->suspicions--;
}

static void set_state(struct memberlists *c, struct ml_peer *p, uint8_t state)
{
    if (p->state != state)
        p->changed = now_of(c);
    p->state = state;
}

static void refute(struct memberlists *c, size_t node, uint32_t accused)
{
    struct ml_node *n = &c->nodes[node];
    struct ml_news news = {.state = ML_ALIVE, .subject = (uint16_t)node, .from = (uint16_t)node};

    n->incarnation++;
    if (accused >= n->incarnation)
        n->incarnation = accused + 1;
    n->peers[node].incarnation = n->incarnation;
    ml_score(n, 1);
    news.incarnation = n->incarnation;
    ml_broadcast(c, node, &news);
}

static void list_add(struct memberlists *c, struct ml_node *n, uint16_t subject)
{
    size_t at = n->order_count == 0 ? 0 : rng_index(simnet_rng(c->net), n->order_count);

    n->order[n->order_count] = n->order[at];
    n->order[at] = subject;
    n->order_count++;
    n->peers[subject].listed = true;
}

void ml_alive(struct memberlists *c, size_t node, const struct ml_news *news)
{
    struct ml_node *n = &c->nodes[node];
    struct ml_peer *p = &n->peers[news->subject];

    if (!p->listed) {
        list_add(c, n, news->subject);
        if (p->state == ML_UNKNOWN)
            p->state = ML_DEAD;
        p->incarnation = 0; /* who was reaped is new */
    }
    if (news->subject == node) {
        if (news->incarnation > n->incarnation)
            refute(c, node, news->incarnation);
        return;
    }
    if (news->incarnation <= p->incarnation)
        return;
    end_suspicion(n, p);
    ml_broadcast(c, node, news);
    p->incarnation = news->incarnation;
    set_state(c, p, ML_ALIVE);
}

static int64_t suspicion_ms(size_t nodes)
{
    double scale = log10(nodes < 1 ? 1 : (double)nodes);

    return (int64_t)(SUSPICION_MULT * (scale < 1 ? 1 : scale) * PROBE_MS);
}

static bool confirm(struct memberlists *c, struct ml_suspicion *s, uint16_t from)
{
    double share;
    int64_t timeout;

    if (s->confirmed >= s->wanted)
        return false;
    for (size_t i = 0; i < s->from_count; i++)
        if (s->from[i] == from)
            return false;
    if (s->from_count < FROM_MAX)
        s->from[s->from_count++] = from;
    s->confirmed++;
    share = log(s->confirmed + 1.0) / log(s->wanted + 1.0);
    timeout = s->max - (int64_t)(share * (double)(s->max - s->min));
    s->fire = mono_add(s->start, timeout < s->min ? s->min : timeout);
    if (mono_before(s->fire, now_of(c)))
        s->fire = now_of(c);
    return true;
}

void ml_suspect(struct memberlists *c, size_t node, const struct ml_news *news)
{
    struct ml_node *n = &c->nodes[node];
    struct ml_peer *p = &n->peers[news->subject];
    struct ml_suspicion *s;

    if (!p->listed || news->incarnation < p->incarnation)
        return;
    if (p->suspicion != NULL) {
        if (confirm(c, p->suspicion, news->from))
            ml_broadcast(c, node, news);
        return;
    }
    if (p->state != ML_ALIVE)
        return;
    if (news->subject == node) {
        refute(c, node, news->incarnation);
        return;
    }
    ml_broadcast(c, node, news);
    p->incarnation = news->incarnation;
    set_state(c, p, ML_SUSPECT);
    if (simnet_up(c->net, news->subject) && !simnet_paused(c->net, news->subject))
        c->counts.suspicions_false++;
    s = must(calloc(1, sizeof *s));
    s->wanted = SUSPICION_MULT - 2;
    if ((int)n->order_count - 2 < s->wanted)
        s->wanted = 0;
    s->min = suspicion_ms(n->order_count);
    s->max = SUSPICION_MAX_MULT * s->min;
    s->start = now_of(c);
    s->fire = mono_add(s->start, s->wanted < 1 ? s->min : s->max);
    s->from[s->from_count++] = news->from;
    p->suspicion = s;
    n->suspicions++;
}

void ml_dead(struct memberlists *c, size_t node, const struct ml_news *news)
{
    struct ml_node *n = &c->nodes[node];
    struct ml_peer *p = &n->peers[news->subject];

    if (!p->listed || news->incarnation < p->incarnation)
        return;
    end_suspicion(n, p);
    if (p->state == ML_DEAD)
        return;
    if (news->subject == node) {
        refute(c, node, news->incarnation);
        return;
    }
    ml_broadcast(c, node, news);
    p->incarnation = news->incarnation;
    set_state(c, p, ML_DEAD);
    if (simnet_up(c->net, news->subject) && !simnet_paused(c->net, news->subject)) {
        c->counts.deaths_false++;
        c->counts.deaths_sick += n->sick || c->nodes[news->subject].sick;
    }
}

void ml_apply(struct memberlists *c, size_t node, const struct ml_news *news)
{
    if (news->state == ML_ALIVE)
        ml_alive(c, node, news);
    else if (news->state == ML_SUSPECT)
        ml_suspect(c, node, news);
    else
        ml_dead(c, node, news);
}

static void suspicions_tick(struct memberlists *c, size_t node)
{
    struct ml_node *n = &c->nodes[node];

    for (size_t i = 0; i < c->count && n->suspicions > 0; i++) {
        struct ml_peer *p = &n->peers[i];
        struct ml_news news = {.state = ML_DEAD,
                               .subject = (uint16_t)i,
                               .from = (uint16_t)node,
                               .incarnation = p->incarnation};
        if (p->suspicion != NULL && mono_reached(now_of(c), p->suspicion->fire))
            ml_dead(c, node, &news);
    }
}

/* ---- packets ---- */

static void deliver(struct memberlists *c, size_t node, size_t from, const struct ml_packet *packet)
{
    struct ml_node *n = &c->nodes[node];
    struct ml_packet ack = {.kind = ML_ACK, .sequence = packet->sequence};

    if (ml_flow_packet(c, node, from, packet))
        return;
    for (size_t i = 0; i < packet->news_count; i++)
        ml_apply(c, node, &packet->news[i]);
    switch (packet->kind) {
    case ML_PING:
        ml_send(c, node, from, &ack, true);
        break;
    case ML_ACK:
        ml_take_ack(c, node, packet);
        break;
    case ML_INDIRECT:
        ml_take_indirect(c, node, from, packet);
        break;
    case ML_NACK:
        if (n->probe.running && n->probe.sequence == packet->sequence)
            n->probe.nacks++;
        break;
    default:
        break;
    }
}

/* ---- the rest of the clockwork ---- */

static int64_t push_pull_ms(size_t nodes)
{
    if (nodes <= PUSH_PULL_SCALE)
        return PUSH_PULL_MS;
    return PUSH_PULL_MS * (int64_t)(ceil(log2((double)nodes) - log2(PUSH_PULL_SCALE)) + 1);
}

static void rounds_tick(struct memberlists *c, size_t node)
{
    struct ml_node *n = &c->nodes[node];
    mono_t now = now_of(c);
    uint16_t to[GOSSIP_NODES];
    size_t count;

    if (mono_reached(now, n->gossip_tick)) {
        n->gossip_tick = mono_add(n->gossip_tick, GOSSIP_MS);
        count = n->queue_count == 0 ? 0 : ml_pick(c, node, node, false, GOSSIP_NODES, to);
        for (size_t i = 0; i < count && ml_gossip_to(c, node, to[i]); i++)
            ;
    }
    if (mono_reached(now, n->push_pull_tick)) {
        n->push_pull_tick = mono_add(now, push_pull_ms(n->order_count));
        if (ml_pick(c, node, node, true, 1, to) == 1)
            ml_connect(c, node, to[0], true, ++n->sequence, mono_add(now, 10000));
    }
    if (mono_reached(now, n->reconnect_tick)) {
        size_t start = rng_index(simnet_rng(c->net), c->count);
        n->reconnect_tick = mono_add(now, RECONNECT_MS);
        for (size_t i = 0; i < c->count; i++) {
            size_t other = (start + i) % c->count;
            if (n->peers[other].state != ML_DEAD)
                continue;
            ml_connect(c, node, other, true, ++n->sequence, mono_add(now, 10000));
            break;
        }
    }
}

static void settle(struct memberlists *c, size_t node)
{
    struct ml_node *n = &c->nodes[node];
    mono_t next;

    suspicions_tick(c, node);
    ml_probe_timers(c, node);
    ml_relays_tick(c, node);
    rounds_tick(c, node);
    ml_flows_tick(c, node);
    next = mono_min(n->probe_tick, mono_min(n->push_pull_tick, n->reconnect_tick));
    if (n->queue_count > 0)
        next = mono_min(next, n->gossip_tick);
    else if (mono_reached(now_of(c), n->gossip_tick)) /* the phase stays what it was */
        n->gossip_tick = mono_add(n->gossip_tick, GOSSIP_MS);
    if (n->probe.running)
        next = mono_min(next, n->probe.indirect ? n->probe.deadline : n->probe.timeout);
    for (size_t i = 0; i < RELAYS_MAX; i++)
        if (n->relays[i].used)
            next = mono_min(next, n->relays[i].until);
    for (size_t i = 0; i < c->count && n->suspicions > 0; i++)
        if (n->peers[i].suspicion != NULL)
            next = mono_min(next, n->peers[i].suspicion->fire);
    simnet_wake(c->net, node, mono_min(next, ml_flows_deadline(n)));
}

void memberlists_run(struct memberlists *c, mono_t until)
{
    struct simnet_event e;

    while (simnet_next(c->net, until, &e)) {
        struct ml_node *n = &c->nodes[e.node];
        if (n->queue_count == 0) /* rounds in which there was nothing to say */
            while (mono_before(n->gossip_tick, simnet_now(c->net)))
                n->gossip_tick = mono_add(n->gossip_tick, GOSSIP_MS);
        if (e.kind == SIMNET_DELIVER)
            deliver(c, e.node, e.from, e.data);
        settle(c, e.node);
    }
}

static void start_node(struct memberlists *c, size_t node, bool acquainted)
{
    struct ml_node *n = &c->nodes[node];
    struct rng *rng = simnet_rng(c->net);
    mono_t now = now_of(c);

    n->incarnation = 1;
    n->sequence = 0;
    n->score = 0;
    n->order_count = 0;
    n->probe_index = 0;
    n->queue_count = 0;
    n->probe = (struct ml_probe){0};
    n->probe_pending = false;
    memset(n->relays, 0, sizeof n->relays);
    memset(n->flows, 0, sizeof n->flows);
    for (size_t i = 0; i < c->count; i++) {
        end_suspicion(n, &n->peers[i]);
        n->peers[i] = (struct ml_peer){0};
        if (!acquainted && i != node)
            continue;
        list_add(c, n, (uint16_t)i);
        n->peers[i].state = ML_ALIVE;
        n->peers[i].incarnation = 1;
    }
    n->probe_tick = mono_add(now, PROBE_MS + rng_range(rng, 0, PROBE_MS));
    n->gossip_tick = mono_add(now, GOSSIP_MS + rng_range(rng, 0, GOSSIP_MS));
    n->push_pull_tick = mono_add(now, push_pull_ms(c->count) + rng_range(rng, 0, PUSH_PULL_MS));
    n->reconnect_tick = mono_add(now, RECONNECT_MS + rng_range(rng, 0, RECONNECT_MS));
    if (!acquainted) /* it joins by one that it is told */
        ml_connect(c, node, node == 0 ? 1 : 0, true, ++n->sequence, mono_add(now, 10000));
    settle(c, node);
}

struct memberlists *memberlists_create(const struct memberlist_options *options)
{
    struct memberlists *c = must(calloc(1, sizeof *c));

    c->options = *options;
    c->count = options->nodes;
    c->net = simnet_create(options->nodes, options->seed);
    c->nodes = must(calloc(c->count, sizeof *c->nodes));
    for (size_t i = 0; i < c->count; i++) {
        c->nodes[i].peers = must(calloc(c->count, sizeof(struct ml_peer)));
        c->nodes[i].order = must(calloc(c->count + 1, sizeof(uint16_t)));
        start_node(c, i, true);
    }
    return c;
}

void memberlists_destroy(struct memberlists *c)
{
    for (size_t i = 0; i < c->count; i++) {
        for (size_t k = 0; k < c->count; k++)
            end_suspicion(&c->nodes[i], &c->nodes[i].peers[k]);
        free(c->nodes[i].peers);
        free(c->nodes[i].order);
        free(c->nodes[i].queue);
    }
    simnet_destroy(c->net);
    free(c->nodes);
    free(c);
}

struct simnet *memberlists_net(struct memberlists *c)
{
    return c->net;
}

void memberlists_crash(struct memberlists *c, size_t node)
{
    simnet_stop(c->net, node);
}

void memberlists_restart(struct memberlists *c, size_t node)
{
    simnet_start(c->net, node);
    start_node(c, node, false);
}

void memberlists_set_sick(struct memberlists *c, size_t node)
{
    c->nodes[node].sick = true;
}

bool memberlists_dead(const struct memberlists *c, size_t observer, size_t subject)
{
    return c->nodes[observer].peers[subject].state == ML_DEAD;
}

mono_t memberlists_since(const struct memberlists *c, size_t observer, size_t subject)
{
    return c->nodes[observer].peers[subject].changed;
}

bool memberlists_whole(const struct memberlists *c)
{
    for (size_t i = 0; i < c->count; i++)
        for (size_t k = 0; k < c->count; k++)
            if (simnet_up(c->net, i) && i != k &&
                simnet_up(c->net, k) != (c->nodes[i].peers[k].state == ML_ALIVE))
                return false;
    return true;
}

void memberlists_reset_counts(struct memberlists *c)
{
    c->counts = (struct memberlist_counts){0};
}

struct memberlist_counts memberlists_counts(const struct memberlists *c)
{
    return c->counts;
}
