/* The executor of virtual addresses on a real kernel: holding one, and one life and the next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/io/os_watch.h"
#include "tests/lab/vip_world.h"

/* ---- holding ---- */

static void a_renewed_lease_answers_all_the_time(void **state)
{
    struct world *w = *state;
    mono_t stop = mono_add(os_clock_now(), 2000);
    struct os_address found;
    struct prober p;

    prober_open(&p, w->edge, CLIENT);
    world_hold(w, HOLDER, 2000);
    assert_true(prober_wait_answer(&p));
    p.echo_answers = p.sent; /* those before the neighbour was found may be lost */
    while (mono_before(os_clock_now(), stop)) {
        world_hold(w, HOLDER, 2000);
        assert_true(world_find(w, HOLDER, &w->edge->vip, &found));
        assert_true(found.ours);
        assert_in_range(found.lifetime_s, 0, 2);
        prober_run(&p, mono_add(os_clock_now(), RENEW_MS));
        world_turn(w);
    }
    assert_true(prober_all_answered(&p));
    assert_true(mac_equal(p.answered_by, w->edge->host[HOLDER].link.mac));
    prober_close(&p);
}

static void count_sets(const struct os_watch_event *event, void *context)
{
    unsigned *sets = context;

    *sets += event->kind == OS_WATCH_ADDRESS;
}

static void renewing_seldom_touches_the_address(void **state)
{
    struct world *w = *state;
    mono_t start = os_clock_now();
    struct os_watch *watch;
    unsigned sets = 0;
    unsigned renewals = 0;

    netlab_enter(w->edge->lab.host[HOLDER]);
    edge_ok(w->edge, os_watch_open(&watch, &w->edge->err));
    netlab_enter(w->edge->lab.home);
    for (; mono_diff(os_clock_now(), start) < 2000; renewals++) {
        /* Leases of both kinds: shorter and longer than a second. */
        world_hold(w, HOLDER, mono_diff(os_clock_now(), start) < 1000 ? 500 : 4000);
        world_turn(w);
    }
    edge_ok(w->edge, os_watch_read(watch, count_sets, &sets, &w->edge->err));
    assert_in_range(sets, 1, 2 + mono_diff(os_clock_now(), start) / 500);
    assert_true(renewals > 4 * sets);
    /* A lease that got shorter takes the address's long life back. */
    sets = 0;
    world_hold(w, HOLDER, 500);
    edge_ok(w->edge, os_watch_read(watch, count_sets, &sets, &w->edge->err));
    assert_int_equal(sets, 1);
    os_watch_close(watch);
}

static void without_renewal_it_ends_by_itself(void **state)
{
    struct world *w = *state;
    struct prober p;
    mono_t lease_end;

    prober_open(&p, w->edge, CLIENT);
    world_hold(w, HOLDER, LEASE_MS);
    assert_true(prober_wait_answer(&p));
    lease_end = world_hold(w, HOLDER, 500);
    /* The loop does not run: the agent hangs. */
    prober_run(&p, mono_add(lease_end, 500));
    assert_true(p.last_answer.ms > lease_end.ms - 500);
    assert_true(p.last_answer.ms <= lease_end.ms + SLACK_MS);
    assert_true(world_becomes(w, world_has_no_vip));
    /* And it runs on: nothing brings it back. */
    world_turn(w);
    assert_false(world_has_vip(w));
    prober_close(&p);
}

static void shutting_ends_it_at_once(void **state)
{
    struct world *w = *state;
    struct prober p;

    prober_open(&p, w->edge, CLIENT);
    world_hold(w, HOLDER, LEASE_MS);
    assert_true(prober_wait_answer(&p));
    world_shut(w, HOLDER);
    assert_false(world_has_vip(w));
    assert_int_equal(world_answers(&p), 0);
    world_turn(w);
    assert_false(world_has_vip(w));
    /* What is not held can be shut, too: a former life may have left it. */
    world_shut(w, HOLDER);
    prober_close(&p);
}

static void a_lease_that_has_ended_opens_nothing(void **state)
{
    struct world *w = *state;
    struct effect_fence late = world_effect(w, 5);
    struct effect_fence wrong = world_effect(w, 60000);

    world_hold(w, HOLDER, LEASE_MS);
    uv_vip_open(w->vip[HOLDER], &late);
    assert_int_equal(w->heard[HOLDER].failed, 1);
    assert_false(w->heard[HOLDER].fence.open);
    assert_false(world_has_vip(w));
    assert_int_equal(world_left_of(w, HOLDER), 0);
    uv_vip_open(w->vip[HOLDER], &wrong);
    assert_int_equal(w->heard[HOLDER].failed, 2);
    assert_false(world_has_vip(w));
    wrong.address.family = 6;
    uv_vip_open(w->vip[HOLDER], &wrong);
    assert_int_equal(w->heard[HOLDER].failed, 3);
}

/* ---- one life and the next ---- */

static void a_restart_keeps_what_is_resumed(void **state)
{
    struct world *w = *state;
    struct prober p;

    prober_open(&p, w->edge, CLIENT);
    world_hold(w, HOLDER, LEASE_MS);
    assert_true(prober_wait_answer(&p));
    p.echo_answers = p.sent;
    world_end(w, HOLDER, true);
    prober_run(&p, mono_add(os_clock_now(), 5 * PROBE_MS));
    edge_ok(w->edge, world_create(w, HOLDER, 1));
    prober_run(&p, mono_add(os_clock_now(), 5 * PROBE_MS));
    world_hold(w, HOLDER, LEASE_MS);
    prober_run(&p, mono_add(os_clock_now(), 5 * PROBE_MS));
    assert_true(prober_all_answered(&p));
    assert_true(p.sent >= 10);
    prober_close(&p);
}

static void a_restart_removes_what_is_not_resumed(void **state)
{
    struct world *w = *state;

    world_hold(w, HOLDER, LEASE_MS);
    world_end(w, HOLDER, true);
    assert_true(world_has_vip(w));
    assert_true(world_left_of(w, HOLDER) > 0);
    edge_ok(w->edge, world_create(w, HOLDER, 0));
    assert_false(world_has_vip(w));
    assert_int_equal(world_left_of(w, HOLDER), 0);
}

static void an_orderly_end_leaves_nothing_open(void **state)
{
    struct world *w = *state;

    world_hold(w, HOLDER, LEASE_MS);
    world_end(w, HOLDER, false);
    assert_false(world_has_vip(w));
    assert_int_equal(world_left_of(w, HOLDER), 0);
}

static void what_left_the_pool_is_under_no_lease(void **state)
{
    struct world *w = *state;

    uv_vip_watch(w->vip[HOLDER], &w->edge->vip, 1);
    world_hold(w, HOLDER, LEASE_MS);
    uv_vip_watch(w->vip[HOLDER], NULL, 0);
    assert_true(world_left_of(w, HOLDER) > 0); /* it is held still */
    world_shut(w, HOLDER);
    assert_int_equal(world_left_of(w, HOLDER), -1);
    world_hold(w, HOLDER, LEASE_MS);
    assert_true(world_left_of(w, HOLDER) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(a_renewed_lease_answers_all_the_time),
        WORLD_TEST(renewing_seldom_touches_the_address),
        WORLD_TEST(without_renewal_it_ends_by_itself),
        WORLD_TEST(shutting_ends_it_at_once),
        WORLD_TEST(a_lease_that_has_ended_opens_nothing),
        WORLD_TEST(a_restart_keeps_what_is_resumed),
        WORLD_TEST(a_restart_removes_what_is_not_resumed),
        WORLD_TEST(an_orderly_end_leaves_nothing_open),
        WORLD_TEST(what_left_the_pool_is_under_no_lease),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
