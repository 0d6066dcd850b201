/* The voter: what is promised to whom. A promise outlives the lease that it makes by F, measured
 * from the receipt of the request, which is never before it was sent. */
#include "proto/lease/internal.h"

/* Estimated bytes on the wire of one answer, so that a reply fits a datagram. */
#define REPLY_BYTES_MAX 960
#define GRANT_BYTES 24
#define REFUSE_BYTES 40

struct lease_promise *vote_find(struct leases *l, mono_t now, uint64_t lease)
{
    for (int i = 0; i < LEASES_PROMISES_MAX; i++) {
        struct lease_promise *p = &l->promises[i];
        if (p->lease == lease && mono_before(now, p->until))
            return p;
    }
    return NULL;
}

static struct lease_promise *unused(struct leases *l, mono_t now)
{
    for (int i = 0; i < LEASES_PROMISES_MAX; i++)
        if (mono_reached(now, l->promises[i].until))
            return &l->promises[i];
    return NULL;
}

bool vote_give(struct leases *l, mono_t now, uint64_t lease, uint64_t session, node_id to,
               uint32_t promise_ms)
{
    struct lease_promise *p = vote_find(l, now, lease);
    mono_t until = mono_add(now, promise_ms);
    struct claim *c;

    if (l->self_index < 0 || mono_before(now, l->silent_until))
        return false;
    if (p != NULL && (!node_id_equal(p->to, to) || session < p->session))
        return false;
    if (p == NULL && (p = unused(l, now)) == NULL)
        return false;
    if (p->lease != lease || !mono_before(now, p->until))
        *p = (struct lease_promise){.lease = lease, .until = until};
    p->to = to;
    p->session = session;
    p->until = mono_max(p->until, until);
    l->out->persist = true;
    c = lease_claim(l, lease);
    if (c != NULL && !node_id_equal(to, l->self))
        c->free_at = p->until;
    return true;
}

void vote_free(struct leases *l, mono_t now, uint64_t lease, uint64_t session, node_id to)
{
    struct lease_promise *p = vote_find(l, now, lease);
    struct claim *c = lease_claim(l, lease);

    if (p == NULL || !node_id_equal(p->to, to) || p->session > session)
        return;
    p->until = MONO_ZERO;
    l->out->persist = true;
    if (c == NULL)
        return;
    c->free_at = now;
    if (c->state == LEASE_CAMPAIGN)
        l->round_now = true; /* our own vote has become free: do not wait for the heartbeat */
}

void vote_release(struct leases *l, mono_t now, node_id from, const struct msg_lease *m)
{
    for (int i = 0; i < m->item_count; i++) {
        struct claim *c = lease_claim(l, m->items[i].lease);
        bool defend = m->items[i].verdict == MSG_DEFEND;
        if (!defend)
            vote_free(l, now, m->items[i].lease, m->items[i].session, from);
        if (c != NULL && c->state == LEASE_HELD && (c->solo || defend))
            lease_changed(l, now, c, LEASE_MET, LEASE_WHY_NONE);
    }
}

static bool fits(const struct leases *l, const struct msg_lease *m)
{
    return m->set == l->set.number && m->lease_ms > 0 && m->lease_ms <= LEASE_TERM_MAX &&
           m->fence_ms > 0 && m->fence_ms <= LEASE_FENCE_MAX;
}

static void answer(struct leases *l, mono_t now, node_id from, const struct msg_lease *m,
                   const struct msg_lease_item *asked, struct msg_lease_item *item)
{
    const struct lease_promise *p;

    *item = (struct msg_lease_item){.lease = asked->lease, .session = asked->session};
    if (fits(l, m) && vote_give(l, now, asked->lease, asked->session, from,
                                (uint32_t)m->lease_ms + m->fence_ms)) {
        item->verdict = MSG_GRANT;
        timing_follow(l, now, m->lease_ms);
        return;
    }
    item->verdict = MSG_REFUSE;
    p = vote_find(l, now, asked->lease);
    if (p != NULL) {
        item->left = (uint32_t)mono_diff(p->until, now);
        item->to = p->to;
    }
}

/* Rule 2 for all that is promised to @from, if that is what it means. */
static uint8_t renew(struct leases *l, mono_t now, node_id from, const struct msg_lease *m)
{
    uint64_t digest = 0;

    for (int i = 0; i < LEASES_PROMISES_MAX; i++) {
        const struct lease_promise *p = &l->promises[i];
        if (node_id_equal(p->to, from) && mono_before(now, p->until))
            digest = round_digest(digest, p->lease, p->session);
    }
    if (!fits(l, m) || digest != m->digest || l->self_index < 0 ||
        mono_before(now, l->silent_until))
        return MSG_REFUSE;
    for (int i = 0; i < LEASES_PROMISES_MAX; i++) {
        const struct lease_promise p = l->promises[i];
        if (node_id_equal(p.to, from) && mono_before(now, p.until))
            vote_give(l, now, p.lease, p.session, from, (uint32_t)m->lease_ms + m->fence_ms);
    }
    timing_follow(l, now, m->lease_ms);
    return MSG_GRANT;
}

static struct msg_lease *begin_reply(struct leases *l, mono_t now, node_id from, uint32_t sequence)
{
    struct lease_send *send;
    struct msg_lease *reply = lease_send_begin(l, MSG_LEASE_REPLY, &send);

    if (reply == NULL)
        return NULL;
    reply->sequence = sequence;
    send->to[send->to_count++] = from;
    solo_spoke(l, now, from, true);
    return reply;
}

void vote_request(struct leases *l, mono_t now, node_id from, const struct msg_lease *m)
{
    struct msg_lease *reply = NULL;
    int bytes = 0;

    if (m->digest != 0) {
        uint8_t verdict = renew(l, now, from, m);
        reply = begin_reply(l, now, from, m->sequence);
        if (reply == NULL)
            return;
        reply->renewed = verdict;
    }
    for (int i = 0; i < m->item_count; i++) {
        const struct msg_lease_item *asked = &m->items[i];
        struct claim *c = lease_claim(l, asked->lease);
        struct msg_lease_item item;
        int size;

        if (c != NULL && asked->verdict == MSG_SOLO)
            solo_met(l, now, c, from, asked->session);
        if (c != NULL)
            handover_requested(l, now, c, from, m, asked);
        answer(l, now, from, m, asked, &item);
        size = item.verdict == MSG_GRANT ? GRANT_BYTES : REFUSE_BYTES;
        if (reply == NULL || bytes + size > REPLY_BYTES_MAX) {
            reply = begin_reply(l, now, from, m->sequence);
            if (reply == NULL)
                return;
            bytes = 0;
        }
        bytes += size;
        reply->items[reply->item_count++] = item;
    }
}
