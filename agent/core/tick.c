#include "agent/core/tick.h"

#include <string.h>

/* One claim, whoever made it. */
struct claim {
    int64_t tick;
    uint8_t attempt;
    node_id node;
    uint64_t number;
    uint8_t state;
    bool gone; /* its node is */
};

/* Later ticks, then later attempts. */
static int compare(int64_t tick, uint8_t attempt, int64_t other_tick, uint8_t other_attempt)
{
    if (tick != other_tick)
        return tick < other_tick ? -1 : 1;
    return attempt < other_attempt ? -1 : attempt > other_attempt;
}

static struct claim claim_of(const struct value_run *run, node_id node, bool gone)
{
    return (struct claim){run->tick, run->attempt, node, run->number, run->state, gone};
}

static bool is_future(int64_t tick, int64_t now)
{
    return tick > now + TICK_SKEW_S;
}

/* What is known to have been started before what may have been, and that before what waits. */
static int weight(const struct claim *claim)
{
    static const int weights[] = {[VALUE_RUN_CLAIMED] = 1,
                                  [VALUE_RUN_RUNNING] = 3,
                                  [VALUE_RUN_ENDED] = 4,
                                  [VALUE_RUN_WITHDRAWN] = 0,
                                  [VALUE_RUN_UNKNOWN] = 2};

    return weights[claim->state];
}

/* Whether @claim goes before @best: the later one, then the weightier, then the smaller id. */
static bool goes_before(const struct claim *claim, const struct claim *best)
{
    int order = compare(claim->tick, claim->attempt, best->tick, best->attempt);

    if (order != 0)
        return order > 0;
    if (weight(claim) != weight(best))
        return weight(claim) > weight(best);
    return claim->node.v < best->node.v;
}

/* The newest claim that stands, of @own (which may be NULL) and the peers. tick 0: none. */
static struct claim newest(const struct value_cron *own, const struct tick_view *view)
{
    struct claim best = {.state = VALUE_RUN_WITHDRAWN};

    for (size_t i = 0; own != NULL && i < own->count; i++) {
        struct claim claim = claim_of(&own->runs[i], view->self, false);
        if (claim.state != VALUE_RUN_WITHDRAWN && !is_future(claim.tick, view->now) &&
            goes_before(&claim, &best))
            best = claim;
    }
    for (size_t p = 0; p < view->count; p++)
        for (size_t i = 0; view->peers[p].value != NULL && i < view->peers[p].value->count; i++) {
            struct claim claim =
                claim_of(&view->peers[p].value->runs[i], view->peers[p].id, view->peers[p].gone);
            if (claim.state != VALUE_RUN_WITHDRAWN && !is_future(claim.tick, view->now) &&
                goes_before(&claim, &best))
                best = claim;
        }
    return best;
}

static bool is_withdrawn_in(const struct value_cron *value, uint64_t number)
{
    for (size_t i = 0; value != NULL && i < value->count; i++)
        if (value->runs[i].number == number)
            return value->runs[i].state == VALUE_RUN_WITHDRAWN;
    return false;
}

/* The promise binds no longer: its claimer has said that it was not started, and never will be; or
 * it was made by a clock that was wrong. */
static bool is_void(const struct value_cron *own, const struct tick_view *view)
{
    const struct value_claim *a = &own->accepted;

    if (a->tick == 0 || is_future(a->tick, view->now))
        return true;
    if (node_id_equal(a->node, view->self))
        return is_withdrawn_in(own, a->number);
    for (size_t p = 0; p < view->count; p++)
        if (node_id_equal(view->peers[p].id, a->node))
            return is_withdrawn_in(view->peers[p].value, a->number);
    return false;
}

/* Whether this node may promise that claim, by what it has promised. */
static bool may_promise(const struct value_cron *own, const struct tick_view *view, int64_t tick,
                        uint8_t attempt)
{
    int order = compare(tick, attempt, own->accepted.tick, own->accepted.attempt);

    /* A void promise says nothing of earlier ticks either, but they have had their time. */
    return order > 0 || (is_void(own, view) && (order == 0 || own->accepted.tick == 0 ||
                                                is_future(own->accepted.tick, view->now)));
}

bool tick_accept(struct value_cron *own, const struct tick_view *view)
{
    struct claim claim = newest(NULL, view);

    if (claim.tick == 0 || !may_promise(own, view, claim.tick, claim.attempt))
        return false;
    own->accepted = (struct value_claim){claim.tick, claim.node, claim.number, claim.attempt};
    return true;
}

/* Room for one more: the oldest go, save those that are under way. */
static bool make_room(struct value_cron *own, unsigned keep)
{
    for (size_t i = own->count; own->count >= keep && i-- > 0;) {
        if (own->runs[i].state == VALUE_RUN_RUNNING)
            continue;
        own->count--;
        memmove(&own->runs[i], &own->runs[i + 1], (own->count - i) * sizeof own->runs[0]);
    }
    return own->count < VALUE_RUNS_MAX;
}

bool tick_begin(struct value_cron *own, const struct tick_view *view,
                const struct tick_claim *wanted, unsigned keep)
{
    struct claim known = newest(own, view);

    if (is_future(wanted->tick, view->now) ||
        compare(wanted->tick, wanted->attempt, known.tick, known.attempt) <= 0 ||
        !may_promise(own, view, wanted->tick, wanted->attempt) || !make_room(own, keep))
        return false;
    memmove(&own->runs[1], &own->runs[0], own->count * sizeof own->runs[0]);
    own->count++;
    own->runs[0] = (struct value_run){.tick = wanted->tick,
                                      .number = wanted->number,
                                      .state = VALUE_RUN_CLAIMED,
                                      .attempt = wanted->attempt,
                                      .process = wanted->process,
                                      .exit_code = -1};
    own->accepted = (struct value_claim){wanted->tick, view->self, wanted->number, wanted->attempt};
    return true;
}

static bool has_promised(const struct value_claim *promise, node_id node,
                         const struct value_run *run)
{
    return promise->tick == run->tick && promise->attempt == run->attempt &&
           promise->number == run->number && node_id_equal(promise->node, node);
}

enum tick_verdict tick_look(const struct value_cron *own, const struct tick_view *view)
{
    const struct value_run *run = &own->runs[0];
    struct claim other = newest(NULL, view);
    struct claim mine;
    unsigned votes;

    if (own->count == 0 || run->state != VALUE_RUN_CLAIMED)
        return TICK_NONE;
    votes = view->voter && has_promised(&own->accepted, view->self, run);
    for (size_t p = 0; p < view->count; p++)
        votes += view->peers[p].voter && view->peers[p].value != NULL &&
                 has_promised(&view->peers[p].value->accepted, view->self, run);
    if (votes >= view->majority)
        return TICK_START;
    mine = claim_of(run, view->self, false);
    return other.tick != 0 && goes_before(&other, &mine) ? TICK_WITHDRAW : TICK_WAIT;
}

void tick_started(struct value_run *run, int64_t now)
{
    run->state = VALUE_RUN_RUNNING;
    run->started = now;
}

void tick_withdrawn(struct value_run *run, int64_t now)
{
    run->state = VALUE_RUN_WITHDRAWN;
    run->ended = now;
}

void tick_ended(struct value_run *run, int exit_code, int64_t now)
{
    run->state = exit_code >= 0 ? VALUE_RUN_ENDED : VALUE_RUN_UNKNOWN;
    run->exit_code = (int16_t)(exit_code >= 0 && exit_code <= 255 ? exit_code : -1);
    run->ended = now;
}

int64_t tick_newest(const struct value_cron *own, const struct tick_view *view)
{
    return newest(own, view).tick;
}

bool tick_lost(const struct value_cron *own, const struct tick_view *view, int64_t *tick,
               uint8_t *attempt)
{
    struct claim claim = newest(own, view);

    if (claim.tick == 0 || claim.attempt == UINT8_MAX || claim.state == VALUE_RUN_ENDED ||
        (claim.state != VALUE_RUN_UNKNOWN && !claim.gone))
        return false;
    *tick = claim.tick;
    *attempt = (uint8_t)(claim.attempt + 1);
    return true;
}
