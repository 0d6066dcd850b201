/* Rounds: the requests of all claims to all voters, each heartbeat, and their answers.
 *
 * What a voter has granted in the present session need not be listed again: a digest over all that
 * it has promised us stands for it. The voter compares it with the digest over its promises; if
 * they are equal it renews them all, else it says so and gets the list. So a steady heartbeat has
 * one size, however many leases there are. */
#include "proto/lease/internal.h"

const struct round *round_at(const struct leases *l, uint32_t sequence)
{
    const struct round *r = &l->rounds[sequence % ROUNDS_MAX];
    return r->sequence == sequence && r->term != 0 ? r : NULL;
}

uint64_t round_digest(uint64_t digest, uint64_t lease, uint64_t session)
{
    uint64_t sum = digest + hash64_mix(hash64_mix(0x6c65617365, lease), session);
    return sum != 0 ? sum : 1; /* 0 is none */
}

static struct round *begin_round(struct leases *l, mono_t now)
{
    struct round *r;

    l->sequence++;
    r = &l->rounds[l->sequence % ROUNDS_MAX];
    *r = (struct round){.sequence = l->sequence, .term = l->term, .sent = now};
    return r;
}

/* Rule 3: our own vote is given as every other one, from the time of sending. */
static void vote_for_self(struct leases *l, mono_t now, struct claim *c)
{
    if (l->self_index < 0 || !vote_give(l, now, c->id, c->session, l->self, l->term + l->fence))
        return;
    c->grants[l->self_index] = mono_max(c->grants[l->self_index], mono_add(now, l->term));
}

static struct msg_lease *begin_request(struct leases *l, const struct round *r, int voter)
{
    struct lease_send *send;
    struct msg_lease *m = lease_send_begin(l, MSG_LEASE_REQUEST, &send);

    if (m == NULL)
        return NULL;
    m->sequence = r->sequence;
    send->to[send->to_count++] = l->set.voters[voter];
    return m;
}

/* What is held on the gateway's word is always named: the peer may do the same (rule 17). */
static void ask_voter(struct leases *l, struct round *r, int voter)
{
    struct msg_lease *first = begin_request(l, r, voter);
    struct msg_lease *m = first;

    for (int i = 0; i < LEASES_MAX && m != NULL; i++) {
        const struct claim *c = &l->claims[i];
        bool alone = c->state == LEASE_HELD && c->solo;
        if (!claim_active(c))
            continue;
        if (!alone && (c->agreed >> voter & 1) != 0) {
            first->digest = round_digest(first->digest, c->id, c->session);
            r->renewed[voter] |= (uint64_t)1 << i;
            continue;
        }
        if (m->item_count == MSG_LEASE_ITEMS_MAX)
            m = begin_request(l, r, voter);
        if (m != NULL)
            m->items[m->item_count++] = (struct msg_lease_item){
                .lease = c->id, .session = c->session, .verdict = alone ? MSG_SOLO : MSG_ASK};
    }
}

void round_begin(struct leases *l, mono_t now)
{
    uint32_t h = timing_heartbeat(l->term);
    struct round *r = begin_round(l, now);

    if (mono_diff(now, l->last_round) > 3 * (int64_t)h)
        timing_stream_starts(l, now);
    l->round_now = false;
    l->last_round = now;
    l->next_round = mono_add(now, timing_overdue(l, now) || register_holds(l) ? h / 2 : h);
    for (int i = 0; i < LEASES_MAX; i++) {
        struct claim *c = &l->claims[i];
        if (!claim_active(c))
            continue;
        vote_for_self(l, now, c);
        claim_evaluate(l, now, c); /* a set of one */
        register_round(l, now, c);
    }
    for (int voter = 0; voter < l->set.count; voter++)
        if (voter != l->self_index)
            ask_voter(l, r, voter);
    solo_asks(l, now);
    if (solo_set(l))
        solo_spoke(l, now, solo_peer(l), false);
}

/* The voter has renewed what a digest stood for. */
static void renewed(struct leases *l, mono_t now, int voter, const struct round *r)
{
    for (int i = 0; i < LEASES_MAX; i++)
        if ((r->renewed[voter] >> i & 1) != 0)
            claim_granted(l, now, &l->claims[i], voter, r);
}

/* The voter has promised something else: it gets the whole list, and not a heartbeat later. A part
 * of it would leave both with different parts. */
static void list_again(struct leases *l, int voter, const struct round *r)
{
    if ((int32_t)(r->sequence - l->listed_from[voter]) < 0)
        return;
    l->listed_from[voter] = l->sequence + 1;
    for (int i = 0; i < LEASES_MAX; i++)
        l->claims[i].agreed &= (uint8_t) ~(1u << voter);
    l->round_now = true;
}

void round_reply(struct leases *l, mono_t now, node_id from, const struct msg_lease *m)
{
    int voter = lease_voter_index(l, from);
    const struct round *r = round_at(l, m->sequence);

    if (voter < 0 || r == NULL || mono_before(now, r->sent))
        return;
    timing_answered(l, now, voter, r);
    if (m->renewed == MSG_GRANT)
        renewed(l, now, voter, r);
    else if (m->renewed == MSG_REFUSE)
        list_again(l, voter, r);
    for (int i = 0; i < m->item_count; i++) {
        struct claim *c = lease_claim(l, m->items[i].lease);
        claim_answered(l, now, voter, r, &m->items[i]);
        if (c != NULL && c->state == LEASE_CAMPAIGN && mono_reached(now, c->invited_until) &&
            claim_hopeless(l, c))
            claim_yield(l, now, c);
    }
}

/* The places of the voters have changed. */
void round_forget(struct leases *l)
{
    for (int i = 0; i < ROUNDS_MAX; i++)
        l->rounds[i] = (struct round){.sequence = l->rounds[i].sequence,
                                      .term = l->rounds[i].term,
                                      .sent = l->rounds[i].sent};
}
