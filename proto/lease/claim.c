/* The candidate: from a campaign to a lease, its renewal, and its end. */
#include "proto/lease/internal.h"

#include <assert.h>

#define RELEASES 3         /* sent three times: a lost release costs a whole promise */
#define FENCE_REST_MS 5000 /* no new campaign after a fence that would not open */

bool claim_active(const struct claim *c)
{
    return c->used && (c->state == LEASE_CAMPAIGN || c->state == LEASE_HELD);
}

static mono_t promised_elsewhere_until(struct leases *l, const struct claim *c)
{
    const struct lease_promise *p = vote_find(l, l->now, c->id);
    return p == NULL || node_id_equal(p->to, l->self) ? MONO_ZERO : p->until;
}

/* When an idle claim campaigns: the lease must be free, its rank waited, the back-off over. */
mono_t claim_campaign_at(struct leases *l, const struct claim *c)
{
    mono_t free_at = mono_max(c->free_at, promised_elsewhere_until(l, c));
    mono_t at = mono_max(mono_add(free_at, (int64_t)c->rank * timing_step(l)), c->retry_at);

    if (!c->used || !c->wanted || l->draining || c->state != LEASE_IDLE || l->set.number == 0)
        return MONO_NEVER;
    at = mono_max(at, register_campaign_at(l, c));
    return l->self_index >= 0 ? mono_max(at, l->silent_until) : at;
}

static void begin_session(struct leases *l, struct claim *c)
{
    c->session = (uint64_t)l->boot << 32 | ++l->session_count;
    c->first_sequence = l->sequence + 1;
    c->solo_end = MONO_ZERO;
    c->refusals = 0;
    c->agreed = 0;
    for (int i = 0; i < MSG_VOTERS_MAX; i++)
        c->grants[i] = MONO_ZERO;
}

void claim_campaign(struct leases *l, mono_t now, struct claim *c)
{
    assert(c->state == LEASE_IDLE);
    begin_session(l, c);
    c->state = LEASE_CAMPAIGN;
    c->end = MONO_ZERO;
    c->invited_until = MONO_ZERO;
    c->campaign_end = mono_add(now, timing_campaign(l, c));
    c->reads = 0;
    l->round_now = true;
}

/* Everything that the session has gathered is void from here on, and its votes are given back. The
 * fence must be closed (rule 7). */
static void end_session(struct leases *l, mono_t now, struct claim *c)
{
    c->release_session = c->session;
    c->release_left = RELEASES;
    c->release_at = now;
    c->session = 0;
    c->end = MONO_ZERO;
    c->solo = false;
    c->state = LEASE_IDLE;
    c->move_to = NODE_NONE;
    vote_free(l, now, c->id, c->release_session, l->self);
    l->out->persist = true;
}

/* Rule 10. */
void claim_yield(struct leases *l, mono_t now, struct claim *c)
{
    assert(c->state == LEASE_CAMPAIGN);
    register_yielded(l, now, c);
    end_session(l, now, c);
    c->retry_at = mono_add(now, 1 + timing_backoff(l, c));
    if (c->fails < UINT8_MAX)
        c->fails++;
}

/* A former life of this agent may have left the fence open, and the first campaign that yields
 * gives back the votes on which it rests: rule 7 wants it closed before. */
void claim_begin(struct leases *l, mono_t now, struct claim *c)
{
    c->state = LEASE_CLOSING;
    c->closed_by = mono_add(now, LEASE_SILENCE_BOOT);
    c->close_number = lease_op(l, c, LEASE_CLOSE);
}

void claim_lose(struct leases *l, mono_t now, struct claim *c, enum lease_reason reason)
{
    assert(c->state == LEASE_HELD);
    c->state = LEASE_CLOSING;
    /* The fence was never opened beyond the lease, and is late by F at the most. */
    c->closed_by = mono_add(c->end, l->fence);
    l->out->persist = true; /* no resume of what is given up */
    l->lapsed = l->lapsed || reason == LEASE_WHY_EXPIRED || reason == LEASE_WHY_ISOLATED;
    c->close_number = lease_op(l, c, LEASE_CLOSE);
    lease_changed(l, now, c, LEASE_LOST, reason);
}

void claim_closed(struct leases *l, mono_t now, struct claim *c)
{
    assert(c->state == LEASE_CLOSING);
    if (c->session == 0) { /* a fence of a former life, whose promises we neither know nor own */
        c->state = LEASE_IDLE;
        return;
    }
    end_session(l, now, c);
    c->free_at = now;
    if (c->reason == LEASE_WHY_MOVED || c->reason == LEASE_WHY_CONFLICT)
        c->retry_at = mono_add(now, l->term + l->fence);
    else if (c->reason == LEASE_WHY_FENCE)
        c->retry_at = mono_add(now, FENCE_REST_MS);
    else
        c->retry_at = mono_add(now, timing_backoff(l, c));
    if (!node_id_none(c->hand_to))
        handover_finish(l, now, c);
}

/* Rule 4: the majority's latest grant end. A voter without a grant stands at zero. */
static mono_t majority_end(const struct leases *l, const struct claim *c)
{
    unsigned majority = voter_set_majority(&l->set);
    mono_t best = MONO_ZERO;

    for (int i = 0; i < l->set.count; i++) {
        unsigned later = 0;
        for (int j = 0; j < l->set.count; j++)
            later += !mono_before(c->grants[j], c->grants[i]);
        if (later >= majority)
            best = mono_max(best, c->grants[i]);
    }
    return best;
}

static enum lease_reason why_acquired(mono_t now, const struct claim *c)
{
    if (c->solo)
        return LEASE_WHY_SOLO;
    return mono_before(now, c->invited_until) ? LEASE_WHY_HANDED : LEASE_WHY_MAJORITY;
}

void claim_evaluate(struct leases *l, mono_t now, struct claim *c)
{
    mono_t granted = majority_end(l, c);
    mono_t end = granted;

    if (solo_set(l)) /* rule 15: our own vote, and the gateway in the peer's place */
        end = mono_max(end, mono_min(c->grants[l->self_index], c->solo_end));
    if (!mono_before(c->end, end) || mono_reached(now, end))
        return;
    c->end = end;
    c->solo = mono_before(granted, end);
    l->out->persist = true;
    if (c->state == LEASE_CAMPAIGN) {
        c->state = LEASE_HELD;
        c->epoch = c->session;
        c->fails = 0;
        c->open_failures = 0;
        c->written = MONO_ZERO;
        c->write_asked = MONO_ZERO;
        c->challenges = 0;
        c->unread = false;
        lease_changed(l, now, c, LEASE_ACQUIRED, why_acquired(now, c));
    }
    lease_op(l, c, LEASE_OPEN);
}

void claim_granted(struct leases *l, mono_t now, struct claim *c, int voter, const struct round *r)
{
    /* Rule 6: only for the session that asks now, and only if that request carried it. */
    if (!claim_active(c) || (int32_t)(r->sequence - c->first_sequence) < 0)
        return;
    /* Rule 1: from the time when that request was sent, for the length that it asked for. */
    c->grants[voter] = mono_max(c->grants[voter], mono_add(r->sent, r->term));
    c->refused[voter] = NODE_NONE;
    c->refusals &= (uint8_t) ~(1u << voter);
    if ((int32_t)(r->sequence - l->listed_from[voter]) >= 0)
        c->agreed |= (uint8_t)(1u << voter);
    claim_evaluate(l, now, c);
}

void claim_answered(struct leases *l, mono_t now, int voter, const struct round *r,
                    const struct msg_lease_item *item)
{
    struct claim *c = lease_claim(l, item->lease);

    if (c == NULL || !claim_active(c) || item->session != c->session)
        return;
    if (item->verdict == MSG_GRANT) {
        claim_granted(l, now, c, voter, r);
    } else if (item->verdict == MSG_REFUSE && (int32_t)(r->sequence - c->first_sequence) >= 0) {
        c->refused[voter] = item->to;
        c->refusals |= (uint8_t)(1u << voter);
        c->agreed &= (uint8_t) ~(1u << voter);
        if (l->self_index < 0 && item->left <= LEASE_SILENCE_BOOT)
            c->free_at = mono_max(c->free_at, mono_add(now, item->left));
    }
}

bool claim_hopeless(const struct leases *l, const struct claim *c)
{
    unsigned refused = 0;

    for (int i = 0; i < l->set.count; i++)
        refused += c->refusals >> i & 1;
    return refused > l->set.count - voter_set_majority(&l->set);
}

void claim_send_releases(struct leases *l, mono_t now)
{
    struct msg_lease *m = NULL;
    struct lease_send *send;

    for (int i = 0; i < LEASES_MAX; i++) {
        struct claim *c = &l->claims[i];
        if (!c->used || c->release_left == 0 || mono_before(now, c->release_at))
            continue;
        if (m == NULL || m->item_count == MSG_LEASE_ITEMS_MAX) {
            m = lease_send_begin(l, MSG_LEASE_RELEASE, &send);
            if (m == NULL)
                return;
            lease_send_to_voters(l, send);
            if (solo_set(l))
                solo_spoke(l, now, solo_peer(l), false);
        }
        m->items[m->item_count++] = (struct msg_lease_item){
            .lease = c->id, .session = c->release_session, .verdict = MSG_FREE};
        c->release_left--;
        c->release_at = mono_add(now, timing_heartbeat(l->term));
    }
}

/* The set has changed from @old: a voter's grant is a promise of that voter, whatever the set. */
void claim_remap(struct leases *l, const struct voter_set *old)
{
    for (int i = 0; i < LEASES_MAX; i++) {
        struct claim *c = &l->claims[i];
        struct claim before = *c;
        c->refusals = 0;
        c->agreed = 0;
        for (int v = 0; v < MSG_VOTERS_MAX; v++) {
            c->grants[v] = MONO_ZERO;
            c->refused[v] = NODE_NONE;
            for (int o = 0; v < l->set.count && o < old->count; o++)
                if (node_id_equal(l->set.voters[v], old->voters[o]))
                    c->grants[v] = before.grants[o];
        }
    }
}
