#include "proto/lease/internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CALM_MS (10 * 60 * 1000)
#define OPEN_FAILURES_MAX 8 /* in a row: then somebody else shall hold it */

static bool config_valid(const struct leases *l, const struct leases_config *config)
{
    return !node_id_none(config->self) && timing_term_valid(l->term_min) &&
           timing_term_valid(l->term_max) && l->term_min <= l->term_max && l->fence >= 10 &&
           l->fence <= LEASE_FENCE_MAX && l->calm >= LEASE_TERM_MAX &&
           (config->voters.number == 0 || voter_set_valid(&config->voters));
}

int lease_voter_index(const struct leases *l, node_id node)
{
    for (int i = 0; i < l->set.count; i++)
        if (node_id_equal(l->set.voters[i], node))
            return i;
    return -1;
}

struct leases *leases_create(const struct leases_config *config, mono_t now)
{
    struct leases *l = calloc(1, sizeof *l);

    if (l == NULL)
        return NULL;
    l->self = config->self;
    l->boot = config->boot;
    l->term_min = config->term_min_ms != 0 ? config->term_min_ms : 250;
    l->term_max = config->term_max_ms != 0 ? config->term_max_ms : LEASE_TERM_MAX;
    l->fence = config->fence_ms != 0 ? config->fence_ms : 50;
    l->calm = config->calm_ms != 0 ? config->calm_ms : CALM_MS;
    if (!config_valid(l, config)) {
        free(l);
        return NULL;
    }
    rng_seed(&l->rng, config->seed);
    l->now = now;
    l->due = now;
    l->set = config->voters;
    l->self_index = lease_voter_index(l, l->self);
    l->silent_until = mono_add(config->first_since_boot ? MONO_ZERO : now, LEASE_SILENCE_BOOT);
    l->term = l->term_min < 500 && l->term_max >= 500 ? 500 : l->term_min;
    l->term_read = l->term_min;
    l->term_known = mono_add(now, l->term);
    l->calm_since = now;
    l->last_round = now;
    l->next_round = now;
    l->spoken = now;
    /* Leases of an older set have ended when the silence ends; solo counts from a set's adoption.
     */
    l->set_since = config->first_since_boot ? MONO_ZERO : now;
    l->solo_from = mono_add(l->set_since, LEASE_SILENCE_BOOT);
    solo_paused(l, now);
    return l;
}

void leases_destroy(struct leases *l)
{
    free(l);
}

struct claim *lease_claim(struct leases *l, uint64_t id)
{
    for (int i = 0; i < LEASES_MAX; i++)
        if (l->claims[i].used && l->claims[i].id == id)
            return &l->claims[i];
    return NULL;
}

/* NULL when the step has sent as much as it may: as if the message were lost. */
struct msg_lease *lease_send_begin(struct leases *l, enum msg_type type, struct lease_send **send)
{
    struct msg_lease *m;

    if (l->out->send_count == LEASES_SENDS_MAX)
        return NULL;
    *send = &l->out->sends[l->out->send_count++];
    (*send)->to_count = 0;
    (*send)->msg.type = (uint8_t)type;
    m = &(*send)->msg.lease;
    m->sequence = 0;
    m->set = l->set.number;
    m->lease_ms = (uint16_t)l->term;
    m->fence_ms = (uint16_t)l->fence;
    m->digest = 0;
    m->renewed = 0;
    m->item_count = 0;
    return m;
}

void lease_send_to_voters(const struct leases *l, struct lease_send *send)
{
    for (int i = 0; i < l->set.count; i++)
        if (i != l->self_index)
            send->to[send->to_count++] = l->set.voters[i];
}

uint32_t lease_op(struct leases *l, const struct claim *c, enum lease_op_type type)
{
    struct leases_out *out = l->out;

    assert(out->op_count < sizeof out->ops / sizeof out->ops[0]);
    out->ops[out->op_count++] = (struct lease_op){
        .type = (uint8_t)type,
        .kind = c->kind,
        .number = ++l->op_number,
        .lease = c->id,
        .until = c->end,
    };
    return l->op_number;
}

void lease_changed(struct leases *l, mono_t now, struct claim *c, enum lease_change_type type,
                   enum lease_reason reason)
{
    struct leases_out *out = l->out;

    assert(out->change_count < sizeof out->changes / sizeof out->changes[0]);
    out->changes[out->change_count++] = (struct lease_change){
        .type = (uint8_t)type, .reason = (uint8_t)reason, .lease = c->id, .epoch = c->epoch};
    if (type != LEASE_ACQUIRED && type != LEASE_LOST)
        return;
    c->reason = (uint8_t)reason;
    c->since = now;
}

static void on_message(struct leases *l, mono_t now, node_id from, const struct msg *msg)
{
    const struct msg_lease *m = &msg->lease;

    if (node_id_equal(from, l->self))
        return;
    solo_told(l, now, from, msg);
    switch (msg->type) {
    case MSG_LEASE_REQUEST:
        vote_request(l, now, from, m);
        solo_answer_laggard(l, from, m);
        break;
    case MSG_LEASE_REPLY:
        round_reply(l, now, from, m);
        break;
    case MSG_LEASE_RELEASE:
        vote_release(l, now, from, m);
        break;
    case MSG_LEASE_TRANSFER:
        handover_transfer(l, now, from, m);
        break;
    default:
        break;
    }
}

static void on_heard(struct leases *l, mono_t now, node_id from)
{
    timing_heard(l, now, from);
    if (solo_set(l) && node_id_equal(from, solo_peer(l)))
        l->heard = now;
}

struct claim *lease_claim_new(struct leases *l, mono_t now, uint64_t id)
{
    const struct lease_promise *p = vote_find(l, now, id);
    struct claim *c = NULL;

    for (int i = 0; c == NULL && i < LEASES_MAX; i++)
        if (!l->claims[i].used)
            c = &l->claims[i];
    if (c == NULL)
        return NULL;
    *c = (struct claim){.used = true, .id = id, .state = LEASE_IDLE, .free_at = now};
    if (p != NULL && !node_id_equal(p->to, l->self))
        c->free_at = p->until;
    return c;
}

static int on_want(struct leases *l, mono_t now, const struct leases_event *ev)
{
    struct claim *c = lease_claim(l, ev->lease);
    bool fresh;

    if (ev->kind < LEASE_VIP || ev->kind > LEASE_SINGLETON || ev->mode < LEASE_STRICT ||
        ev->mode > LEASE_SOLO)
        return ERR_INVALID;
    fresh = c == NULL;
    if (fresh)
        c = lease_claim_new(l, now, ev->lease);
    if (c == NULL)
        return ERR_FULL;
    if (!solo_candidate(l))
        solo_paused(l, now); /* no deadline showed a pause until now: listen afresh */
    c->wanted = true;
    c->kind = ev->kind;
    c->mode = ev->mode;
    c->rank = ev->rank;
    if (fresh)
        claim_begin(l, now, c);
    return ERR_NONE;
}

static void give_up(struct leases *l, mono_t now, struct claim *c)
{
    if (c->state == LEASE_HELD)
        claim_lose(l, now, c, LEASE_WHY_RELEASED);
    else if (c->state == LEASE_CAMPAIGN)
        claim_yield(l, now, c);
}

static void on_drain(struct leases *l, mono_t now, bool on)
{
    l->draining = on;
    for (int i = 0; on && i < LEASES_MAX; i++)
        if (l->claims[i].used)
            give_up(l, now, &l->claims[i]);
}

static int on_voters(struct leases *l, mono_t now, const struct voter_set *set)
{
    struct voter_set old = l->set;

    if (set == NULL || !voters_adopt(&old, set))
        return ERR_INVALID;
    l->set = *set;
    l->set_since = now;
    l->self_index = lease_voter_index(l, l->self);
    /* A lease under the set before may live on for B, and its holder need not be the peer. */
    l->solo_from = mono_add(now, LEASE_SILENCE_BOOT);
    solo_paused(l, now);
    l->peer_term = 0;
    l->peer_fence = 0;
    timing_new_set(l, now);
    claim_remap(l, &old);
    round_forget(l);
    l->round_now = true;
    l->out->persist = true;
    return ERR_NONE;
}

static void on_fence(struct leases *l, mono_t now, const struct leases_event *ev)
{
    struct claim *c = lease_claim(l, ev->lease);

    if (c == NULL)
        return;
    if (ev->type == LEASES_OPENED)
        c->open_failures = 0;
    else if (ev->type == LEASES_CLOSED && c->state == LEASE_CLOSING &&
             ev->number == c->close_number)
        claim_closed(l, now, c);
    else if (ev->type == LEASES_OPEN_FAILED && c->state == LEASE_HELD &&
             ++c->open_failures >= OPEN_FAILURES_MAX)
        claim_lose(l, now, c, LEASE_WHY_FENCE);
}

static int dispatch(struct leases *l, mono_t now, const struct leases_event *ev)
{
    struct claim *c;

    switch (ev->type) {
    case LEASES_TIMER:
        return ERR_NONE;
    case LEASES_MESSAGE:
        if (ev->msg == NULL || ev->msg->lease.item_count > MSG_LEASE_ITEMS_MAX)
            return ERR_INVALID;
        on_heard(l, now, ev->from);
        on_message(l, now, ev->from, ev->msg);
        return ERR_NONE;
    case LEASES_HEARD:
        on_heard(l, now, ev->from);
        return ERR_NONE;
    case LEASES_RESTARTED:
        timing_restarted(l, now, ev->from);
        solo_restarted(l, ev->from);
        return ERR_NONE;
    case LEASES_GATEWAY:
        solo_gateway(l, now, ev->sent);
        return ERR_NONE;
    case LEASES_WANT:
        return on_want(l, now, ev);
    case LEASES_UNWANT:
        c = lease_claim(l, ev->lease);
        if (c != NULL) {
            c->wanted = false;
            give_up(l, now, c);
        }
        return ERR_NONE;
    case LEASES_MOVE:
        return handover_start(l, now, ev->lease, ev->to);
    case LEASES_DRAIN:
        on_drain(l, now, ev->on);
        return ERR_NONE;
    case LEASES_OPENED:
    case LEASES_CLOSED:
    case LEASES_OPEN_FAILED:
        on_fence(l, now, ev);
        return ERR_NONE;
    case LEASES_VOTERS:
        return on_voters(l, now, ev->voters);
    case LEASES_REGISTER:
        l->out->persist = l->out->persist || l->register_kept != ev->on;
        l->register_kept = ev->on;
        return ERR_NONE;
    case LEASES_WROTE:
    case LEASES_WRITTEN:
    case LEASES_READ:
        c = lease_claim(l, ev->lease);
        if (c != NULL && ev->type == LEASES_WROTE)
            register_wrote(l, now, c);
        else if (c != NULL && ev->type == LEASES_WRITTEN)
            register_written(now, c);
        else if (c != NULL)
            solo_read(l, now, c, ev->sent);
        return ERR_NONE;
    default:
        return ERR_INVALID;
    }
}

static void claim_due(struct leases *l, mono_t now, struct claim *c)
{
    if (c->state == LEASE_HELD && mono_reached(now, c->end)) {
        bool alone = solo_set(l) && mono_diff(now, l->heard) >= (int64_t)timing_silence(l->term);
        claim_lose(l, now, c, alone ? LEASE_WHY_ISOLATED : LEASE_WHY_EXPIRED);
    }
    if (c->state == LEASE_HELD && !node_id_none(c->move_to) && mono_reached(now, c->move_until))
        c->move_to = NODE_NONE;
    if (c->state == LEASE_CLOSING && mono_reached(now, c->closed_by))
        claim_closed(l, now, c);
    if (c->state == LEASE_CAMPAIGN && mono_reached(now, c->campaign_end)) {
        if (register_goes_on(l, c))
            c->campaign_end = mono_add(now, timing_heartbeat(l->term));
        else
            claim_yield(l, now, c);
    }
    register_work(l, now, c);
    if (mono_reached(now, claim_campaign_at(l, c)))
        claim_campaign(l, now, c);
}

static bool round_wanted(const struct leases *l, mono_t now)
{
    bool active = false;

    for (int i = 0; i < LEASES_MAX && !active; i++)
        active = claim_active(&l->claims[i]);
    return active && (l->round_now || mono_reached(now, l->next_round) ||
                      (!l->probing && solo_probe_due(l, now)));
}

static void work(struct leases *l, mono_t now)
{
    for (int i = 0; i < LEASES_MAX; i++)
        if (l->claims[i].used)
            claim_due(l, now, &l->claims[i]);
    claim_send_releases(l, now);
    register_send_defend(l, now);
    if (round_wanted(l, now)) {
        round_begin(l, now);
        handover_invite(l);
    }
    solo_heartbeat(l, now);
    for (int i = 0; i < LEASES_MAX; i++) {
        struct claim *c = &l->claims[i];
        if (c->used && !c->wanted && c->state == LEASE_IDLE && c->release_left == 0)
            *c = (struct claim){0};
    }
}

static mono_t claim_deadline(struct leases *l, const struct claim *c)
{
    mono_t due = c->release_left > 0 ? c->release_at : MONO_NEVER;

    due = mono_min(due, c->defend_left > 0 ? c->defend_at : MONO_NEVER);
    due = mono_min(due, register_deadline(l, c));
    switch (c->state) {
    case LEASE_IDLE:
        return mono_min(due, claim_campaign_at(l, c));
    case LEASE_CAMPAIGN:
        return mono_min(due, mono_min(c->campaign_end, l->next_round));
    case LEASE_HELD:
        return mono_min(due, mono_min(c->end, l->next_round));
    default:
        return mono_min(due, c->closed_by);
    }
}

static mono_t next_due(struct leases *l)
{
    mono_t due = solo_deadline(l);

    for (int i = 0; i < LEASES_MAX; i++)
        if (l->claims[i].used)
            due = mono_min(due, claim_deadline(l, &l->claims[i]));
    return due;
}

void lease_begin_step(struct leases *l, mono_t now, struct leases_out *out)
{
    out->persist = false;
    out->probe = false;
    out->op_count = 0;
    out->send_count = 0;
    out->change_count = 0;
    out->register_count = 0;
    l->out = out;
    if (!mono_is_never(l->due) && mono_diff(now, l->due) > timing_heartbeat(l->term))
        solo_paused(l, now);
    l->now = now;
}

static void drop_sends_to_nobody(struct leases_out *out)
{
    uint16_t kept = 0;

    for (int i = 0; i < out->send_count; i++)
        if (out->sends[i].to_count > 0 && kept++ != i)
            out->sends[kept - 1] = out->sends[i];
    out->send_count = kept;
}

void lease_end_step(struct leases *l)
{
    work(l, l->now);
    drop_sends_to_nobody(l->out); /* of a set of one */
    l->due = next_due(l);
    l->out = NULL;
}

int leases_step(struct leases *l, mono_t now, const struct leases_event *ev, struct leases_out *out)
{
    int code;

    now = mono_max(now, l->now); /* two readings in the wrong order: the later one holds */
    lease_begin_step(l, now, out);
    code = dispatch(l, now, ev);
    lease_end_step(l);
    return code;
}

mono_t leases_deadline(const struct leases *l)
{
    return l->due;
}
