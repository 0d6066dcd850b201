/* What survives the agent, and what people may look at. */
#include "proto/lease/internal.h"

#include <string.h>

void leases_export(const struct leases *l, mono_t now, struct leases_record *record)
{
    memset(record, 0, sizeof *record);
    record->term_ms = l->term;
    record->voters = l->set.number;
    record->voters_since = l->set_since;
    record->silent_until = l->silent_until;
    record->register_kept = l->register_kept;
    for (int i = 0; i < LEASES_PROMISES_MAX; i++)
        if (mono_before(now, l->promises[i].until))
            record->promises[record->promise_count++] = l->promises[i];
    for (int i = 0; i < LEASES_MAX; i++) {
        const struct claim *c = &l->claims[i];
        if (!c->used || c->state != LEASE_HELD || mono_reached(now, c->end))
            continue;
        record->holdings[record->holding_count++] = (struct lease_holding){
            .lease = c->id,
            .epoch = c->epoch,
            .end = c->end,
            .kind = c->kind,
            .mode = c->mode,
            .rank = c->rank,
            .solo = c->solo,
        };
    }
}

/* Rule 9: only to the recorded end, under a new session. */
static void resume(struct leases *l, mono_t now, const struct lease_holding *h)
{
    struct claim *c;

    if (mono_reached(now, h->end) || mono_diff(h->end, now) > LEASE_TERM_MAX ||
        lease_claim(l, h->lease) != NULL)
        return;
    c = lease_claim_new(l, now, h->lease);
    if (c == NULL)
        return;
    c->wanted = true;
    c->kind = h->kind;
    c->mode = h->mode;
    c->rank = h->rank;
    claim_campaign(l, now, c);
    c->state = LEASE_HELD;
    c->epoch = h->epoch;
    c->end = h->end;
    c->solo = h->solo;
    lease_changed(l, now, c, LEASE_ACQUIRED, LEASE_WHY_RESUMED);
    lease_op(l, c, LEASE_OPEN);
}

void leases_import(struct leases *l, mono_t now, const struct leases_record *record,
                   struct leases_out *out)
{
    bool sane = record->promise_count <= LEASES_PROMISES_MAX && record->holding_count <= LEASES_MAX;

    lease_begin_step(l, mono_max(now, l->now), out);
    if (sane) {
        if (timing_term_valid(record->term_ms))
            l->term = record->term_ms;
        l->term_known = mono_add(now, l->term);
        l->silent_until = record->silent_until;
        l->register_kept = record->register_kept;
        for (uint32_t i = 0; i < record->promise_count; i++)
            l->promises[i] = record->promises[i];
        if (record->voters == l->set.number) {
            l->set_since = record->voters_since;
            l->solo_from = mono_add(l->set_since, LEASE_SILENCE_BOOT);
            solo_paused(l, now);
        }
        for (uint32_t i = 0; i < record->holding_count; i++)
            resume(l, now, &record->holdings[i]);
    }
    lease_end_step(l);
}

static void view(const struct leases *l, mono_t now, const struct claim *c, struct lease_view *v)
{
    *v = (struct lease_view){
        .lease = c->id,
        .kind = c->kind,
        .mode = c->mode,
        .state = c->state,
        .reason = c->reason,
        .rank = c->rank,
        .wanted = c->wanted,
        .solo = c->solo,
        .epoch = c->epoch,
        .close_number = c->close_number,
        .since = c->since,
        .end = c->state == LEASE_HELD ? c->end : MONO_ZERO,
        .owner = leases_promised_to(l, now, c->id, NULL),
        .vote_count = l->set.count,
    };
    if (c->state == LEASE_HELD)
        v->owner = l->self;
    else if (node_id_equal(v->owner, l->self))
        v->owner = NODE_NONE;
    for (int i = 0; i < l->set.count; i++)
        v->votes[i] = (struct lease_vote){
            .voter = l->set.voters[i],
            .granted_until = claim_active(c) ? c->grants[i] : MONO_ZERO,
            .refused_for = c->refused[i],
        };
}

bool leases_get(const struct leases *l, mono_t now, uint64_t lease, struct lease_view *v)
{
    for (int i = 0; i < LEASES_MAX; i++)
        if (l->claims[i].used && l->claims[i].id == lease) {
            view(l, now, &l->claims[i], v);
            return true;
        }
    return false;
}

unsigned leases_list(const struct leases *l, mono_t now, struct lease_view *views, unsigned max)
{
    unsigned n = 0;

    for (int i = 0; i < LEASES_MAX && n < max; i++)
        if (l->claims[i].used)
            view(l, now, &l->claims[i], &views[n++]);
    return n;
}

node_id leases_promised_to(const struct leases *l, mono_t now, uint64_t lease, mono_t *until)
{
    for (int i = 0; i < LEASES_PROMISES_MAX; i++) {
        const struct lease_promise *p = &l->promises[i];
        if (p->lease != lease || !mono_before(now, p->until))
            continue;
        if (until != NULL)
            *until = p->until;
        return p->to;
    }
    return NODE_NONE;
}

uint32_t leases_voters_number(const struct leases *l)
{
    return l->set.number;
}

uint32_t leases_term(const struct leases *l)
{
    return l->term;
}

bool leases_released(const struct leases *l)
{
    for (int i = 0; i < LEASES_MAX; i++)
        if (l->claims[i].used &&
            (l->claims[i].state == LEASE_HELD || l->claims[i].state == LEASE_CLOSING))
            return false;
    return true;
}

const char *lease_state_name(int state)
{
    static const char *const names[] = {
        [LEASE_IDLE] = "idle",
        [LEASE_CAMPAIGN] = "campaign",
        [LEASE_HELD] = "held",
        [LEASE_CLOSING] = "closing",
    };
    return state >= LEASE_IDLE && state <= LEASE_CLOSING ? names[state] : "unknown";
}

const char *lease_reason_text(int reason)
{
    static const char *const texts[] = {
        [LEASE_WHY_NONE] = "nothing has changed yet",
        [LEASE_WHY_MAJORITY] = "a majority of the voters granted it",
        [LEASE_WHY_SOLO] = "the peer is silent and the gateway answers",
        [LEASE_WHY_RESUMED] = "the agent restarted before the lease ended",
        [LEASE_WHY_EXPIRED] = "no majority of the voters renewed it in time",
        [LEASE_WHY_ISOLATED] = "neither the peer nor the gateway answered",
        [LEASE_WHY_RELEASED] = "it was released",
        [LEASE_WHY_MOVED] = "it was handed to another node",
        [LEASE_WHY_CONFLICT] = "another holder was met after a separation",
        [LEASE_WHY_FENCE] = "its fence could not be opened",
        [LEASE_WHY_HANDED] = "the holder before handed it over",
    };
    return reason >= LEASE_WHY_NONE && reason <= LEASE_WHY_HANDED ? texts[reason] : "unknown";
}
