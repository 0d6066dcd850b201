/* Whom to probe when: neighbours in a ring, or all in a shuffled round; newly admitted members;
 * members that are gone; and probes on behalf of others.
 *
 * Neighbours share their probes. Who answered a ping pings next, a period later; who pinged waits a
 * little longer, as a reserve. So a pair exchanges one ping and one acknowledgement per period, and
 * each of them watches the other. */
#include <string.h>

#include "proto/member/machine.h"

#define RESERVE_PCT 15     /* of a period: how much longer the one that pinged last waits */
#define MESH_PERIODS 25    /* a ring member that is no neighbour is probed so often */
#define UNKNOWN_AT_ONCE 16 /* newly admitted members probed at the same time */
#define UNKNOWN_MS 50      /* between starts of them */
#define GONE_LONG_MS 15000 /* probe of a member that has been gone for GONE_LONG_AFTER_MS */
#define GONE_LONG_AFTER_MS 600000
#define GONE_SPACING_MS 200 /* between probes of two that are gone */
#define WARM_MS 600000      /* neighbours' TCP sessions are used at least so often */
#define RELAY_NACK_MAX_MS 400
#define RELAY_KEEP_MS 3000 /* a late answer is still passed on */

bool watch_is_neighbour(const struct membership *m, const struct member *p)
{
    for (size_t i = 0; i < m->neighbour_count; i++)
        if (&m->slots[m->neighbours[i]] == p)
            return true;
    return false;
}

/* A probe was exchanged with @p; @by_peer: it pinged us. */
void watch_probed(struct membership *m, struct member *p, bool by_peer)
{
    int64_t period = m->config.period_ms;

    if (member_present(p))
        p->due = mono_add(m->now, by_peer ? period : period + period * RESERVE_PCT / 100);
}

/* A TCP session to each neighbour is opened before it is needed, by the one with the lower id, and
 * kept: a handshake amid loss takes seconds, for its first packets are repeated after one. */
static void warm_tick(struct membership *m)
{
    bool all = mono_reached(m->now, m->warm_next);

    if (all)
        m->warm_next = mono_add(m->now, WARM_MS);
    for (size_t i = 0; i < m->neighbour_count; i++) {
        struct member *p = &m->slots[m->neighbours[i]];
        if ((!all && (p->flags & FLAG_WARM) == 0) || p->state != MEMBER_ALIVE ||
            !out_has_room(m, 1))
            continue;
        p->flags &= (uint8_t)~FLAG_WARM;
        if (m->config.self.v < p->id.v)
            probe_by_stream(m, p);
    }
}

static void neighbours_tick(struct membership *m)
{
    if (m->config.streams)
        warm_tick(m);
    for (size_t i = 0; i < m->neighbour_count; i++) {
        struct member *p = &m->slots[m->neighbours[i]];
        if (!mono_reached(m->now, p->due))
            continue;
        p->due = mono_add(m->now, m->config.period_ms);
        if (p->doubt == NO_DOUBT)
            doubt_begin(m, p, true);
    }
}

/* A ring leaves most pairs unmeasured, and views could differ for long where gossip was lost. */
static void mesh_tick(struct membership *m)
{
    m->mesh_next = mono_add(m->now, MESH_PERIODS * (int64_t)m->config.period_ms);
    for (size_t i = 0; i < m->count; i++) {
        struct member *p = &m->slots[m->order[++m->mesh_at % m->count]];
        if (!member_present(p) || p->doubt != NO_DOUBT || watch_is_neighbour(m, p))
            continue;
        doubt_begin(m, p, true);
        return;
    }
}

static void draw_round(struct membership *m)
{
    size_t n = 0;

    for (size_t i = 0; i < m->count; i++)
        if (member_present(&m->slots[m->order[i]]))
            m->shuffle[n++] = m->order[i];
    for (size_t i = n; i > 1; i--) {
        size_t k = rng_index(&m->rng, i);
        uint16_t swap = m->shuffle[i - 1];
        m->shuffle[i - 1] = m->shuffle[k];
        m->shuffle[k] = swap;
    }
    m->shuffle_count = n;
    m->shuffle_at = 0;
}

static void robin_tick(struct membership *m)
{
    m->robin_next = mono_add(m->now, m->config.period_ms);
    for (size_t tries = 0; tries <= m->shuffle_count; tries++) {
        struct member *p;
        if (m->shuffle_at >= m->shuffle_count)
            draw_round(m);
        if (m->shuffle_count == 0)
            return;
        p = &m->slots[m->shuffle[m->shuffle_at++]];
        if (!member_present(p) || p->doubt != NO_DOUBT)
            continue;
        doubt_begin(m, p, true);
        return;
    }
}

static void unknown_tick(struct membership *m)
{
    size_t active = 0;

    m->unknown_next = mono_add(m->now, UNKNOWN_MS);
    for (size_t i = 0; i < m->doubt_count; i++)
        if (m->slots[m->doubts[i].member].state == MEMBER_UNKNOWN)
            active++;
    for (size_t i = 0; i < m->count && active < UNKNOWN_AT_ONCE; i++) {
        struct member *p = &m->slots[m->order[++m->unknown_at % m->count]];
        if (p->state != MEMBER_UNKNOWN || p->doubt != NO_DOUBT)
            continue;
        doubt_begin(m, p, true);
        active++;
    }
}

static void gone_tick(struct membership *m)
{
    struct member *first = NULL;
    struct membership_send *s;
    mono_t second = MONO_NEVER;

    for (size_t i = 0; i < m->gone; i++) {
        struct member *p = &m->slots[m->gone_slots[i]];
        if (first == NULL || mono_before(p->due, first->due)) {
            second = first == NULL ? MONO_NEVER : first->due;
            first = p;
        } else {
            second = mono_min(second, p->due);
        }
    }
    if (first == NULL) {
        m->gone_next = MONO_NEVER;
        return;
    }
    if (mono_reached(m->now, first->due)) {
        bool for_long = mono_diff(m->now, first->since) > GONE_LONG_AFTER_MS;
        s = send_begin(m, MSG_PING, first->id, &first->addr);
        if (s != NULL) {
            s->msg.probe.sequence = (uint16_t)m->now.ms;
            gossip_attach(m, s, first);
        }
        if (table_eager(m))
            probe_by_stream(m, first);
        first->due = mono_add(m->now, for_long ? GONE_LONG_MS : GONE_MS);
    }
    m->gone_next = mono_max(mono_min(first->due, second), mono_add(m->now, GONE_SPACING_MS));
}

void relay_end(struct membership *m, struct relay *r)
{
    m->relay_count -= !node_id_none(r->requester);
    r->requester = NODE_NONE;
}

static void relays_tick(struct membership *m)
{
    for (size_t i = 0; i < RELAYS_MAX && m->relay_count > 0; i++) {
        struct relay *r = &m->relays[i];
        struct membership_send *s;
        struct member *requester;
        if (node_id_none(r->requester))
            continue;
        if (mono_reached(m->now, r->until)) {
            relay_end(m, r);
            continue;
        }
        if (r->nacked || !mono_reached(m->now, r->nack_at) || !out_has_room(m, 1))
            continue;
        r->nacked = true;
        requester = table_find(m, r->requester);
        if (requester == NULL)
            continue;
        s = send_begin(m, MSG_NACK, r->requester, &r->addr);
        s->msg.probe.sequence = r->sequence;
        s->msg.probe.target = r->target;
        gossip_attach(m, s, requester);
    }
}

/* Probes @probe->target for @from, unless too much of this is under way: then @from hears nothing,
 * as if the relay were lost. */
void relay_request(struct membership *m, struct member *from, const struct addr *addr,
                   const struct msg_probe *probe)
{
    struct member *target = table_find(m, probe->target);
    struct membership_send *s;
    struct relay *r = NULL;
    uint32_t wait;

    if (target == NULL || target == from)
        return;
    for (size_t i = 0; i < RELAYS_MAX && r == NULL; i++)
        if (node_id_none(m->relays[i].requester))
            r = &m->relays[i];
    if (r == NULL)
        return;
    s = send_begin(m, MSG_PING, target->id,
                   target->addr.family != 0 ? &target->addr : &probe->address);
    if (s == NULL)
        return;
    s->msg.probe.sequence = (uint16_t)m->now.ms;
    gossip_attach(m, s, target);
    m->relay_count++;
    wait = path_rto(m, target);
    if (wait > RELAY_NACK_MAX_MS)
        wait = RELAY_NACK_MAX_MS;
    *r = (struct relay){.requester = from->id,
                        .addr = *addr,
                        .sequence = probe->sequence,
                        .target = target->id,
                        .nack_at = mono_add(m->now, wait),
                        .until = mono_add(m->now, RELAY_KEEP_MS)};
}

/* @p lives: those who asked for it are told. */
void relays_heard(struct membership *m, const struct member *p)
{
    for (size_t i = 0; i < RELAYS_MAX && m->relay_count > 0; i++) {
        struct relay *r = &m->relays[i];
        struct membership_send *s;
        struct member *requester;
        if (node_id_none(r->requester) || !node_id_equal(r->target, p->id))
            continue;
        requester = table_find(m, r->requester);
        s = requester == NULL ? NULL : send_begin(m, MSG_ACK, r->requester, &r->addr);
        if (s != NULL) {
            s->msg.probe.sequence = r->sequence;
            s->msg.probe.target = r->target;
            gossip_attach(m, s, requester);
        }
        relay_end(m, r);
    }
}

void watch_tick(struct membership *m)
{
    if (m->ring_dirty)
        table_refresh_ring(m);
    relays_tick(m);
    if (m->leaving)
        return;
    if (table_ring_mode(m))
        neighbours_tick(m);
    else if (m->present > 0 && mono_reached(m->now, m->robin_next))
        robin_tick(m);
    if (m->present > NEIGHBOURS_MAX && table_ring_mode(m) && mono_reached(m->now, m->mesh_next))
        mesh_tick(m);
    if (m->unknown > 0 && mono_reached(m->now, m->unknown_next))
        unknown_tick(m);
    doubts_tick(m);
    if (m->gone > 0 && mono_reached(m->now, m->gone_next) && out_has_room(m, 2))
        gone_tick(m);
    if (m->ring_dirty)
        table_refresh_ring(m);
}

mono_t watch_deadline(const struct membership *m)
{
    mono_t t = MONO_NEVER;

    for (size_t i = 0; i < RELAYS_MAX && m->relay_count > 0; i++)
        if (!node_id_none(m->relays[i].requester))
            t = mono_min(t, m->relays[i].nacked ? m->relays[i].until : m->relays[i].nack_at);
    if (m->leaving)
        return t;
    if (table_ring_mode(m)) {
        for (size_t i = 0; i < m->neighbour_count; i++)
            if (m->slots[m->neighbours[i]].doubt == NO_DOUBT)
                t = mono_min(t, m->slots[m->neighbours[i]].due);
        if (m->present > NEIGHBOURS_MAX)
            t = mono_min(t, m->mesh_next);
    } else if (m->present > 0) {
        t = mono_min(t, m->robin_next);
    }
    if (m->unknown > 0)
        t = mono_min(t, m->unknown_next);
    if (m->gone > 0)
        t = mono_min(t, m->gone_next);
    for (size_t i = 0; i < m->doubt_count; i++)
        t = mono_min(t, m->doubts[i].next);
    return t;
}
