/* Lengths: of the lease, by what the links have shown (longer at once, shorter after ten clean
 * minutes), of the heartbeat, and of waits that only avoid collisions. None of them matters for
 * safety: each request carries the length that it asks for. */
#include "proto/lease/internal.h"

/* No lease outlives a longer gap: that was a peer that was away, and a longer T would only make the
 * next fail-over slower. */
#define AGE_ABSENT LEASE_TERM_MAX

static const struct {
    uint32_t term;
    uint32_t heartbeat;
} lengths[] = {{125, 25}, {250, 50}, {500, 100}, {1000, 100}, {2000, 200}, {4000, 200}};

#define LENGTHS (sizeof lengths / sizeof lengths[0])

static size_t row(uint32_t term)
{
    size_t i = 0;
    while (i + 1 < LENGTHS && lengths[i].term < term)
        i++;
    return i;
}

bool timing_term_valid(uint32_t term)
{
    return lengths[row(term)].term == term;
}

uint32_t timing_heartbeat(uint32_t term)
{
    return lengths[row(term)].heartbeat;
}

uint32_t timing_silence(uint32_t term)
{
    return term / 10 * 6;
}

uint32_t timing_step(const struct leases *l)
{
    uint32_t step = timing_heartbeat(l->term) / 2;
    if (step < 2 * l->rtt)
        step = 2 * l->rtt;
    return step < 500 ? step : 500;
}

/* Two heartbeats, so that one lost message does not decide; longer each time. */
uint32_t timing_campaign(const struct leases *l, const struct claim *c)
{
    uint32_t length = 2 * timing_heartbeat(l->term);
    if (length < 3 * l->rtt)
        length = 3 * l->rtt;
    length <<= c->fails < 2 ? c->fails : 2;
    return length < l->term ? length : l->term;
}

uint32_t timing_backoff(struct leases *l, const struct claim *c)
{
    uint32_t step = timing_step(l);
    uint32_t rank = c->rank < 4 ? c->rank : 4;
    uint32_t spread = step << (c->fails < 4 ? c->fails : 4);
    return step * rank + (uint32_t)rng_below(&l->rng, spread < 1000 ? spread : 1000);
}

void timing_stream_starts(struct leases *l, mono_t now)
{
    if (l->lapsed) /* the silence is still the gap that cost a lease */
        return;
    for (int i = 0; i < MSG_VOTERS_MAX; i++)
        l->echoed[i] = now;
}

void timing_new_set(struct leases *l, mono_t now)
{
    timing_stream_starts(l, now);
    for (int i = 0; i < MSG_VOTERS_MAX; i++)
        l->met[i] = false;
}

/* What a voter did not answer while its agent was down is no loss of the link. */
void timing_restarted(struct leases *l, mono_t now, node_id voter)
{
    int i = lease_voter_index(l, voter);

    if (i >= 0)
        l->echoed[i] = now;
}

/* Send time of the request on whose answers a lease would stand now: the majority's latest. */
static mono_t standing(const struct leases *l, mono_t now)
{
    unsigned majority = voter_set_majority(&l->set);
    mono_t best = MONO_ZERO;

    for (int i = 0; i < l->set.count; i++) {
        mono_t candidate = i == l->self_index ? now : l->echoed[i];
        unsigned later = 0;
        for (int j = 0; j < l->set.count; j++)
            later += !mono_before(j == l->self_index ? now : l->echoed[j], candidate);
        if (later >= majority)
            best = mono_max(best, candidate);
    }
    return best;
}

bool timing_overdue(const struct leases *l, mono_t now)
{
    int64_t age = mono_diff(now, standing(l, now));

    return age > 2 * (int64_t)timing_heartbeat(l->term) + l->rtt && age < (int64_t)l->term;
}

static void set_term(struct leases *l, mono_t now, uint32_t term)
{
    l->term_read = timing_told(l, now);
    l->term_known = mono_add(now, term);
    l->term = term;
    l->worst_age = 0;
    l->calm_since = now;
    l->out->persist = true;
}

static void adapt(struct leases *l, mono_t now, uint32_t age)
{
    size_t i = row(l->term);

    if (age > l->worst_age)
        l->worst_age = age;
    if (age * 10 > l->term * 6) {
        while (i + 1 < LENGTHS && lengths[i].term < l->term_max && age * 10 > lengths[i].term * 6)
            i++;
    } else if (mono_diff(now, l->calm_since) < (int64_t)l->calm) {
        return;
    } else if (l->worst_age * 10 <= l->term * 3 && l->term > l->term_min) {
        i--;
    }
    if (lengths[i].term != l->term)
        set_term(l, now, lengths[i].term);
    l->worst_age = 0;
    l->calm_since = now;
}

uint32_t timing_told(const struct leases *l, mono_t now)
{
    return mono_before(now, l->term_known) && l->term_read < l->term ? l->term_read : l->term;
}

uint32_t timing_fitting(int64_t silence)
{
    size_t i = 0;

    /* A fifth of it for what the last frames took on their way. */
    while (i + 1 < LENGTHS && (int64_t)lengths[i + 1].term * 4 <= silence * 5)
        i++;
    return lengths[i].term;
}

void timing_follow(struct leases *l, mono_t now, uint32_t term)
{
    for (int i = 0; i < LEASES_MAX; i++)
        if (l->claims[i].session != 0)
            return; /* our own answers tell */
    if (term < l->term_min)
        term = l->term_min;
    if (term > l->term_max)
        term = l->term_max;
    /* What cost us the lease will come again, and the holder of now may not have met it. */
    if (term < l->term && mono_diff(now, l->calm_since) < (int64_t)l->calm)
        return;
    if (term != l->term && timing_term_valid(term))
        set_term(l, now, term);
}

void timing_answered(struct leases *l, mono_t now, int voter, const struct round *r)
{
    mono_t before = standing(l, now);
    int64_t rtt = mono_diff(now, r->sent);
    int64_t age;
    bool absent;

    if (rtt > LEASE_TERM_MAX)
        rtt = LEASE_TERM_MAX;
    if (!mono_before(r->sent, l->back))
        l->rtt = (uint32_t)(((int64_t)l->rtt * 7 + rtt) / 8);
    if (r->term == l->term)
        l->term_known = mono_min(l->term_known, now);
    if (!mono_before(l->echoed[voter], r->sent))
        return;
    l->echoed[voter] = r->sent;
    age = mono_diff(now, before);
    absent = age > AGE_ABSENT || !l->met[voter]; /* or not there yet */
    l->met[voter] = true;
    if (!mono_before(before, standing(l, now)))
        return;
    /* What was asked before an absence was over waited on this machine for its end. */
    if (absent)
        l->back = now;
    else if (!mono_before(before, l->back))
        adapt(l, now, (uint32_t)age);
}

/* A lease was lost for want of answers: the first sign of life of a voter ends the gap that cost
 * it. Who waits for an answer learns nothing, for by then another holds the lease. */
void timing_heard(struct leases *l, mono_t now, node_id from)
{
    int64_t age = mono_diff(now, standing(l, now));

    if (!l->lapsed || lease_voter_index(l, from) < 0)
        return;
    l->lapsed = false;
    if (age > AGE_ABSENT)
        l->back = now;
    else
        adapt(l, now, (uint32_t)age);
}

/* It carries a lease half as far as an answer does. */
void timing_read(struct leases *l, mono_t now, mono_t before)
{
    int64_t age = 2 * mono_diff(now, before);

    if (age <= AGE_ABSENT)
        adapt(l, now, (uint32_t)age);
}
