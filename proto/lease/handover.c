/* Hand-over (rule 13): the holder invites, the invited node prepares and asks, the holder closes
 * its fence, gives up the session and answers the waiting request with its own vote. Whatever is
 * lost on the way, each step alone obeys rules 2 and 7, so the worst is a failed hand-over. */
#include "proto/lease/internal.h"

/* The holder waits this long to be asked, the invited node for the votes. */
#define HANDOVER_MS 2000

int handover_start(struct leases *l, mono_t now, uint64_t lease, node_id to)
{
    struct claim *c = lease_claim(l, lease);

    if (c == NULL || c->state != LEASE_HELD)
        return ERR_NOTFOUND;
    if (node_id_none(to) || node_id_equal(to, l->self))
        return ERR_INVALID;
    c->move_to = to;
    c->move_until = mono_add(now, HANDOVER_MS);
    l->round_now = true;
    return ERR_NONE;
}

/* Sent with each round until the invited node has asked. */
void handover_invite(struct leases *l)
{
    for (int i = 0; i < LEASES_MAX; i++) {
        const struct claim *c = &l->claims[i];
        struct lease_send *send;
        struct msg_lease *m;

        if (!c->used || c->state != LEASE_HELD || node_id_none(c->move_to))
            continue;
        m = lease_send_begin(l, MSG_LEASE_TRANSFER, &send);
        if (m == NULL)
            return;
        send->to[send->to_count++] = c->move_to;
        m->items[m->item_count++] =
            (struct msg_lease_item){.lease = c->id, .session = c->session, .verdict = MSG_INVITE};
    }
}

void handover_requested(struct leases *l, mono_t now, struct claim *c, node_id from,
                        const struct msg_lease *m, const struct msg_lease_item *item)
{
    if (c->state != LEASE_HELD || node_id_none(c->move_to) || !node_id_equal(c->move_to, from))
        return;
    c->hand_to = from;
    c->hand_session = item->session;
    c->hand = *m;
    c->hand.item_count = 0;
    claim_lose(l, now, c, LEASE_WHY_MOVED);
}

/* The fence is closed and the session over. The releases to all follow this message. */
void handover_finish(struct leases *l, mono_t now, struct claim *c)
{
    struct lease_send *send;
    struct msg_lease *m = lease_send_begin(l, MSG_LEASE_TRANSFER, &send);
    bool granted;

    if (m == NULL)
        return;
    granted = c->hand.set == l->set.number && c->hand.lease_ms > 0 &&
              c->hand.lease_ms <= LEASE_TERM_MAX && c->hand.fence_ms > 0 &&
              c->hand.fence_ms <= LEASE_FENCE_MAX &&
              vote_give(l, now, c->id, c->hand_session, c->hand_to,
                        (uint32_t)c->hand.lease_ms + c->hand.fence_ms);
    m->sequence = c->hand.sequence;
    send->to[send->to_count++] = c->hand_to;
    m->items[m->item_count++] =
        (struct msg_lease_item){.lease = c->id, .session = c->release_session, .verdict = MSG_FREE};
    if (granted)
        m->items[m->item_count++] = (struct msg_lease_item){
            .lease = c->id, .session = c->hand_session, .verdict = MSG_GRANT};
    c->hand_to = NODE_NONE;
}

static void invited(struct leases *l, mono_t now, struct claim *c)
{
    if (!c->wanted || l->draining || c->state != LEASE_IDLE)
        return;
    claim_campaign(l, now, c);
    c->campaign_end = mono_add(now, HANDOVER_MS);
    c->invited_until = c->campaign_end;
    lease_changed(l, now, c, LEASE_PREPARE, LEASE_WHY_NONE);
}

void handover_transfer(struct leases *l, mono_t now, node_id from, const struct msg_lease *m)
{
    const struct round *r = round_at(l, m->sequence);
    int voter = lease_voter_index(l, from);

    for (int i = 0; i < m->item_count; i++) {
        const struct msg_lease_item *item = &m->items[i];
        struct claim *c = lease_claim(l, item->lease);

        if (item->verdict == MSG_INVITE && c != NULL)
            invited(l, now, c);
        else if (item->verdict == MSG_FREE)
            vote_free(l, now, item->lease, item->session, from);
        else if (item->verdict == MSG_GRANT && voter >= 0 && r != NULL)
            claim_answered(l, now, voter, r, item);
        if (c != NULL && c->state == LEASE_CAMPAIGN)
            l->round_now = true; /* the other voters are free too, or soon */
    }
}
