/* Two voters without a witness: when the peer is silent and the gateway answers, the gateway stands
 * in the peer's place. The only part of the protocol where an overlap is possible at all; solo in
 * docs/vip.md says exactly when. */
#include "proto/lease/internal.h"

bool solo_set(const struct leases *l)
{
    return l->set.count == 2 && l->self_index >= 0;
}

node_id solo_peer(const struct leases *l)
{
    return l->set.voters[1 - l->self_index];
}

/* P for a claim. The peer may hold a lease of its own length; before this life of the agent has
 * heard of that length, it may be any. */
int64_t solo_claim_silence(const struct leases *l)
{
    int64_t own = (int64_t)l->term + l->fence;
    int64_t peer = (int64_t)l->peer_term + l->peer_fence;
    if (l->peer_term == 0)
        return LEASE_TERM_MAX + LEASE_FENCE_MAX;
    return own > peer ? own : peer;
}

/* Frames may overtake each other: the last request is that with the highest number. An answer has
 * no such order, but who holds a lease alone has not made its T shorter since. */
void solo_told(struct leases *l, mono_t now, node_id from, const struct msg *msg)
{
    const struct msg_lease *m = &msg->lease;
    bool known = l->peer_term != 0;
    bool request = msg->type == MSG_LEASE_REQUEST &&
                   (!known || (int32_t)(m->sequence - l->peer_sequence) >= 0);
    bool answer = msg->type == MSG_LEASE_REPLY && known;

    if (!solo_set(l) || !node_id_equal(from, solo_peer(l)) || !(request || answer) ||
        m->lease_ms > LEASE_TERM_MAX || m->fence_ms > LEASE_FENCE_MAX)
        return;
    l->peer_told = now;
    if (request)
        l->peer_sequence = m->sequence;
    if (request || m->lease_ms > l->peer_term)
        l->peer_term = m->lease_ms;
    l->peer_fence = m->fence_ms;
}

/* Its new life may ask for another length. */
void solo_restarted(struct leases *l, node_id from)
{
    if (!solo_set(l) || !node_id_equal(from, solo_peer(l)))
        return;
    l->peer_term = 0;
    l->peer_fence = 0;
}

mono_t solo_allowed_from(const struct leases *l, mono_t now, const struct claim *c)
{
    bool extends = c->state == LEASE_HELD && mono_before(now, c->end);
    int64_t silence = extends ? timing_silence(l->term) : solo_claim_silence(l);
    mono_t at = mono_max(l->solo_from, l->silent_until);

    if (!solo_set(l) || !claim_active(c) || c->mode != LEASE_SOLO)
        return MONO_NEVER;
    at = mono_max(at, mono_add(l->listening, solo_claim_silence(l)));
    if (!extends)
        at = mono_max(at, mono_add(l->reached, solo_claim_silence(l)));
    return mono_max(at, mono_add(l->heard, silence));
}

bool solo_allowed(const struct leases *l, mono_t now, const struct claim *c)
{
    return mono_reached(now, solo_allowed_from(l, now, c));
}

bool solo_probe_due(const struct leases *l, mono_t now)
{
    for (int i = 0; i < LEASES_MAX; i++)
        if (!register_rules(l, &l->claims[i]) && solo_allowed(l, now, &l->claims[i]))
            return true;
    return false;
}

bool solo_candidate(const struct leases *l)
{
    if (!solo_set(l) || l->draining)
        return false;
    for (int i = 0; i < LEASES_MAX; i++)
        if (l->claims[i].used && l->claims[i].mode == LEASE_SOLO &&
            (l->claims[i].wanted || l->claims[i].state != LEASE_IDLE))
            return true;
    return false;
}

/* The peer counts our frames to know that we live: at the pace of the shorter lease. */
static uint32_t pace(const struct leases *l)
{
    uint32_t own = timing_heartbeat(l->term);
    uint32_t peer = timing_heartbeat(l->peer_term == 0 ? l->term : l->peer_term);
    return own < peer ? own : peer;
}

/* An answer is followed by the next one a heartbeat later: a little patience for the request spares
 * a frame of our own each time. */
static mono_t speak_at(const struct leases *l)
{
    return mono_add(l->spoken, pace(l) + (l->answered ? pace(l) / 4 : 0));
}

mono_t solo_deadline(const struct leases *l)
{
    mono_t due = solo_candidate(l) ? speak_at(l) : MONO_NEVER;

    for (int i = 0; i < LEASES_MAX && !l->probing; i++)
        if (!register_rules(l, &l->claims[i]))
            due = mono_min(due, solo_allowed_from(l, l->now, &l->claims[i]));
    return due;
}

/* The round with which a probe went out that was sent at @sent: our own vote of that time backs it.
 * NULL: none. */
static const struct round *round_of(const struct leases *l, mono_t sent)
{
    const struct round *r = NULL;

    for (int i = 0; i < ROUNDS_MAX; i++) {
        const struct round *q = &l->rounds[i];
        if (q->term != 0 && !mono_before(sent, q->sent) &&
            (r == NULL || mono_before(r->sent, q->sent)))
            r = q;
    }
    return r;
}

static void extend(struct leases *l, mono_t now, struct claim *c, const struct round *r,
                   int64_t term)
{
    if (!solo_allowed(l, now, c) || (int32_t)(r->sequence - c->first_sequence) < 0)
        return;
    /* Without our own vote now, the answer is no evidence for later, when the peer may speak. */
    if (mono_reached(now, c->grants[l->self_index]))
        return;
    c->solo_end = mono_max(c->solo_end, mono_add(r->sent, term));
    claim_evaluate(l, now, c);
}

void solo_asks(struct leases *l, mono_t now)
{
    l->probing = solo_probe_due(l, now);
    if (!l->probing) {
        l->asked = MONO_ZERO;
        return;
    }
    if (mono_is_zero(l->asked))
        l->asked = now;
    l->out->probe = true;
    l->out->probe_sent = now;
}

void solo_gateway(struct leases *l, mono_t now, mono_t sent)
{
    const struct round *r = round_of(l, sent);

    if (r == NULL || mono_before(now, sent))
        return;
    /* Not even the gateway was to be heard for a while: what the peer said, neither. */
    if (!mono_is_zero(l->asked) &&
        mono_diff(sent, l->asked) > 2 * (int64_t)timing_heartbeat(l->term))
        l->reached = now;
    l->asked = MONO_ZERO;
    for (int i = 0; i < LEASES_MAX; i++)
        if (!register_rules(l, &l->claims[i]))
            extend(l, now, &l->claims[i], r, r->term);
}

void solo_read(struct leases *l, mono_t now, struct claim *c, mono_t sent)
{
    const struct round *r = round_of(l, sent);
    uint32_t told;

    if (r == NULL || mono_before(now, sent) || !register_rules(l, c) ||
        !register_reads(l, c, r->sent))
        return;
    c->unread = false;
    if (mono_before(c->read_named, r->sent)) {
        timing_read(l, now, c->read_named);
        c->read_named = r->sent;
    }
    told = timing_told(l, now);
    extend(l, now, c, r, register_term(r->term < told ? r->term : told));
}

/* Rule 16: the queue may hold the peer's frames of the time when we did not run. */
void solo_paused(struct leases *l, mono_t now)
{
    l->heard = now;
    l->listening = now;
}

void solo_spoke(struct leases *l, mono_t now, node_id to, bool answer)
{
    if (!solo_set(l) || !node_id_equal(to, solo_peer(l)))
        return;
    l->spoken = now;
    l->answered = answer;
}

/* It has a number of its own, though nobody answers it: it tells T. */
static void sign_of_life(struct leases *l, node_id to)
{
    struct lease_send *send;
    struct msg_lease *m = lease_send_begin(l, MSG_LEASE_REQUEST, &send);

    if (m == NULL)
        return;
    m->sequence = ++l->sequence;
    send->to[send->to_count++] = to;
}

void solo_heartbeat(struct leases *l, mono_t now)
{
    if (!solo_candidate(l) || mono_before(now, speak_at(l)))
        return;
    solo_spoke(l, now, solo_peer(l), false);
    sign_of_life(l, solo_peer(l));
}

void solo_answer_laggard(struct leases *l, node_id from, const struct msg_lease *m)
{
    if (m->item_count == 0 && m->digest == 0 && m->set < l->set.number)
        sign_of_life(l, from);
}

void solo_met(struct leases *l, mono_t now, struct claim *c, node_id from, uint64_t session)
{
    if (c->state != LEASE_HELD || !c->solo || !solo_set(l) || !node_id_equal(from, solo_peer(l)))
        return;
    if (c->session < session || (c->session == session && l->self.v < from.v))
        claim_lose(l, now, c, LEASE_WHY_CONFLICT);
    else
        lease_changed(l, now, c, LEASE_MET, LEASE_WHY_NONE);
}
