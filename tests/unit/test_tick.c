/* Claims on the ticks of a cron, over a year of a virtual clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/core/tick.h"
#include "proto/base/rng.h"

#define NODES_MAX 5
#define HOUR 3600
#define BEGIN_S INT64_C(1767225600)
#define YEAR_HOURS 8766
#define ROUNDS 12 /* between two ticks: each node looks once in each */

struct one {
    struct value_cron own;             /* lost with the agent, save what is durable */
    struct value_cron durable;         /* and published */
    struct value_cron seen[NODES_MAX]; /* of the others, as their news came */
    bool up;
    bool open; /* its newest run is under way here */
};

struct flock {
    struct rng rng;
    struct one nodes[NODES_MAX];
    size_t count;
    unsigned sides; /* nodes of different bits do not hear each other */
    bool faults;
    bool retry;
    uint64_t numbers;
    int64_t now;
    uint8_t starts[YEAR_HOURS + 1][256]; /* by hour and attempt */
    unsigned ran;                        /* ticks that were started */
};

static bool chance(struct flock *f, double probability)
{
    return f->faults && rng_unit(&f->rng) < probability;
}

static struct tick_view look(struct flock *f, size_t self, struct tick_peer *peers)
{
    size_t n = 0;

    for (size_t i = 0; i < f->count; i++)
        if (i != self)
            peers[n++] = (struct tick_peer){.id = {i + 1},
                                            .value = &f->nodes[self].seen[i],
                                            .voter = true,
                                            .gone = !f->nodes[i].up ||
                                                    ((f->sides >> i ^ f->sides >> self) & 1) != 0};
    return (struct tick_view){.self = {self + 1},
                              .voter = true,
                              .majority = (unsigned)f->count / 2 + 1,
                              .now = f->now,
                              .peers = peers,
                              .count = n};
}

static void crash(struct flock *f, size_t i)
{
    f->nodes[i].up = false;
    f->nodes[i].open = false;
    memset(f->nodes[i].seen, 0, sizeof f->nodes[i].seen);
}

static void restart(struct flock *f, size_t i)
{
    struct one *node = &f->nodes[i];

    node->up = true;
    node->own = node->durable;
    if (node->own.count > 0 && (node->own.runs[0].state == VALUE_RUN_CLAIMED ||
                                node->own.runs[0].state == VALUE_RUN_RUNNING)) {
        tick_ended(&node->own.runs[0], -1, f->now);
        node->durable = node->own;
    }
}

/* False: it died before what it changed was durable. */
static bool keep(struct flock *f, size_t i)
{
    if (chance(f, 0.02)) {
        crash(f, i);
        return false;
    }
    f->nodes[i].durable = f->nodes[i].own;
    return true;
}

/* Under a partition several nodes believe that it is placed on them. */
static bool is_placed(const struct flock *f, size_t self)
{
    for (size_t i = 0; i < self; i++)
        if (f->nodes[i].up && ((f->sides >> i ^ f->sides >> self) & 1) == 0)
            return false;
    return true;
}

static void started(struct flock *f, const struct value_run *run)
{
    assert_int_equal(f->starts[(run->tick - BEGIN_S) / HOUR][run->attempt]++, 0);
    f->ran += run->attempt == 1;
}

static void claim(struct flock *f, size_t i, const struct tick_view *view, int64_t tick,
                  uint8_t attempt)
{
    struct one *node = &f->nodes[i];

    if (node->own.count > 0 && node->own.runs[0].state == VALUE_RUN_CLAIMED) {
        if (node->own.runs[0].tick == tick)
            return;
        tick_withdrawn(&node->own.runs[0], f->now);
    }
    if (tick_begin(&node->own, view, &(struct tick_claim){tick, attempt, 0, ++f->numbers}, 4))
        keep(f, i);
}

static void act(struct flock *f, size_t i, int64_t tick)
{
    struct one *node = &f->nodes[i];
    struct tick_peer peers[NODES_MAX];
    struct tick_view view = look(f, i, peers);
    int64_t lost;
    uint8_t attempt;

    if (node->open && (node->own.runs[0].tick != tick || rng_below(&f->rng, 2) == 0)) {
        node->open = false;
        tick_ended(&node->own.runs[0], 0, f->now);
        node->durable = node->own;
    }
    if (is_placed(f, i))
        claim(f, i, &view, tick, 1);
    if (f->retry && node->up && !node->open && is_placed(f, i) &&
        tick_lost(&node->own, &view, &lost, &attempt) && lost == tick)
        claim(f, i, &view, lost, attempt);
    if (!node->up)
        return;
    switch (tick_look(&node->own, &view)) {
    case TICK_START:
        tick_started(&node->own.runs[0], f->now);
        started(f, &node->own.runs[0]);
        node->open = true;
        break;
    case TICK_WITHDRAW:
        tick_withdrawn(&node->own.runs[0], f->now);
        if (!keep(f, i))
            return;
        break;
    default:
        break;
    }
    if (tick_accept(&node->own, &view))
        keep(f, i);
}

static void spread_news(struct flock *f)
{
    for (size_t a = 0; a < f->count; a++)
        for (size_t b = 0; b < f->count; b++)
            if (a != b && f->nodes[a].up && f->nodes[b].up &&
                ((f->sides >> a ^ f->sides >> b) & 1) == 0 && !chance(f, 0.3))
                f->nodes[a].seen[b] = f->nodes[b].durable;
}

static void pass_tick(struct flock *f, int64_t tick)
{
    for (int round = 0; round < ROUNDS; round++) {
        f->now = tick + round;
        if (chance(f, 0.1))
            f->sides = (unsigned)rng_below(&f->rng, 1u << f->count);
        if (chance(f, 0.2))
            f->sides = 0;
        for (size_t i = 0; i < f->count; i++) {
            if (f->nodes[i].up && chance(f, 0.03))
                crash(f, i);
            else if (!f->nodes[i].up && chance(f, 0.3))
                restart(f, i);
            if (f->nodes[i].up)
                act(f, i, tick);
        }
        spread_news(f);
    }
}

static void begin(struct flock *f, size_t count, uint64_t seed)
{
    memset(f, 0, sizeof *f);
    rng_seed(&f->rng, seed);
    f->count = count;
    for (size_t i = 0; i < count; i++)
        f->nodes[i].up = true;
}

static void every_tick_of_a_year_runs_once_where_nothing_fails(void **state)
{
    (void)state;
    for (size_t count = 1; count <= NODES_MAX; count++) {
        static struct flock f;
        begin(&f, count, count);
        for (int64_t hour = 1; hour <= YEAR_HOURS; hour++)
            pass_tick(&f, BEGIN_S + hour * HOUR);
        assert_int_equal(f.ran, YEAR_HOURS);
    }
}

static void no_tick_of_a_year_runs_twice_whatever_fails(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        static struct flock f;
        begin(&f, 2 + seed % 4, seed);
        f.faults = true;
        f.retry = seed % 2 == 0;
        for (int64_t hour = 1; hour <= YEAR_HOURS; hour++)
            pass_tick(&f, BEGIN_S + hour * HOUR);
        assert_in_range(f.ran, YEAR_HOURS / 4, YEAR_HOURS);
    }
}

static void a_clock_that_is_far_ahead_blocks_nobody(void **state)
{
    static struct flock f;
    struct tick_peer peers[NODES_MAX];
    struct tick_view view;

    (void)state;
    begin(&f, 2, 1);
    f.now = 1800000000;
    view = look(&f, 0, peers);
    f.now -= 1000000;
    assert_true(tick_begin(&f.nodes[0].own, &view, &(struct tick_claim){1800000000, 1, 0, 1}, 4));
    f.nodes[1].seen[0] = f.nodes[0].own;
    view = look(&f, 1, peers);
    assert_false(tick_accept(&f.nodes[1].own, &view));
    assert_true(tick_begin(&f.nodes[1].own, &view, &(struct tick_claim){f.now, 1, 0, 2}, 4));
}

static void what_is_under_way_is_not_forgotten(void **state)
{
    static struct flock f;
    struct tick_peer peers[NODES_MAX];
    struct value_cron *own = &f.nodes[0].own;

    (void)state;
    begin(&f, 1, 1);
    for (uint8_t i = 0; i < 6; i++) {
        struct tick_view view = look(&f, 0, peers);
        f.now += HOUR;
        view.now = f.now;
        assert_true(
            tick_begin(own, &view, &(struct tick_claim){f.now, 1, i, i + 1}, i < 3 ? 8 : 2));
        tick_started(&own->runs[0], f.now);
        if (i == 1 || i > 3)
            tick_ended(&own->runs[0], 0, f.now);
    }
    /* Ended ones go: the second, then the fifth. Process 0, 2 and 3 run on. */
    assert_int_equal(own->count, 4);
    assert_int_equal(own->runs[0].process, 5);
    assert_int_equal(own->runs[1].process, 3);
    assert_int_equal(own->runs[2].process, 2);
    assert_int_equal(own->runs[3].process, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tick_of_a_year_runs_once_where_nothing_fails),
        cmocka_unit_test(no_tick_of_a_year_runs_twice_whatever_fails),
        cmocka_unit_test(a_clock_that_is_far_ahead_blocks_nobody),
        cmocka_unit_test(what_is_under_way_is_not_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
