/* What becomes of an applied commit: good, given up, or ill with nothing to go back to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/core/rollout.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "cccccccccccccccccccccccccccccccccccccccc"
#define TIMEOUT 20000

static const struct rollout_view well = {.ready = true, .peers_ready = true};
static const struct rollout_view alone_ready = {.ready = true};
static const struct rollout_view ill = {.ready = false};

static mono_t at(int64_t ms)
{
    return (mono_t){ms};
}

/* A is good. */
static struct rollout good_a(void)
{
    struct rollout r;

    rollout_init(&r, NULL);
    rollout_applied(&r, at(0), A, TIMEOUT, true);
    assert_int_equal(rollout_look(&r, at(0), &well), ROLLOUT_BECOMES_READY);
    assert_int_equal(rollout_look(&r, at(ROLLOUT_STABLE_MS), &well), ROLLOUT_BECOMES_GOOD);
    assert_string_equal(r.marks.good[0], A);
    return r;
}

static void a_commit_is_good_when_it_was_ready_everywhere_for_a_while(void **state)
{
    struct rollout r = good_a();
    (void)state;

    rollout_applied(&r, at(10000), B, TIMEOUT, true);
    assert_int_equal(rollout_health(&r, at(10000)), VALUE_HEALTH_TRYING);
    rollout_look(&r, at(11000), &well);
    rollout_look(&r, at(12000), &ill); /* a break: the while begins anew */
    rollout_look(&r, at(12500), &well);
    assert_int_equal(rollout_look(&r, at(14400), &well), ROLLOUT_NO_CHANGE);
    assert_int_equal(rollout_deadline(&r, at(14400)).ms, 14500);
    assert_int_equal(rollout_look(&r, at(14500), &alone_ready), ROLLOUT_NO_CHANGE);
    assert_int_equal(rollout_health(&r, at(14500)), VALUE_HEALTH_READY);
    assert_int_equal(rollout_look(&r, at(15000), &well), ROLLOUT_BECOMES_GOOD);
    assert_string_equal(r.marks.good[0], B);
    assert_string_equal(r.marks.good[1], A);
    assert_int_equal(rollout_deadline(&r, at(15000)).ms, INT64_MAX);
}

static void a_commit_that_fails_is_given_up_at_its_deadline(void **state)
{
    struct rollout r = good_a();
    (void)state;

    rollout_applied(&r, at(10000), B, TIMEOUT, true);
    assert_int_equal(rollout_look(&r, at(10000 + TIMEOUT - 1), &ill), ROLLOUT_NO_CHANGE);
    assert_int_equal(rollout_deadline(&r, at(10001)).ms, 10000 + TIMEOUT);
    assert_int_equal(rollout_look(&r, at(10000 + TIMEOUT), &ill), ROLLOUT_BECOMES_BAD);
    assert_true(rollout_is_bad(&r, B));
    assert_string_equal(r.marks.good[0], A);
    rollout_applied(&r, at(31000), A, TIMEOUT, true);
    assert_int_equal(rollout_health(&r, at(31000)),
                     VALUE_HEALTH_BACK); /* shown until another comes */
    rollout_applied(&r, at(40000), C, TIMEOUT, true);
    assert_int_equal(rollout_health(&r, at(40000)), VALUE_HEALTH_TRYING);
    assert_true(rollout_is_bad(&r, B));
}

static void nothing_to_go_back_to(void **state)
{
    struct rollout r;
    (void)state;

    rollout_init(&r, NULL);
    rollout_applied(&r, at(0), A, TIMEOUT, true);
    assert_int_equal(rollout_look(&r, at(TIMEOUT), &ill), ROLLOUT_BECOMES_UNHEALTHY);
    assert_false(rollout_is_bad(&r, A));
    /* It may still recover. */
    rollout_look(&r, at(TIMEOUT + 1000), &well);
    assert_int_equal(rollout_look(&r, at(TIMEOUT + 1000 + ROLLOUT_STABLE_MS), &well),
                     ROLLOUT_BECOMES_GOOD);
    r = good_a();
    rollout_applied(&r, at(0), B, TIMEOUT, false); /* rollback: false */
    assert_int_equal(rollout_look(&r, at(TIMEOUT), &ill), ROLLOUT_BECOMES_UNHEALTHY);
}

static void where_the_others_call_it_good_this_node_is_ill(void **state)
{
    static const struct rollout_view alone_ill = {.peers_good = true};
    struct rollout r = good_a();
    (void)state;

    rollout_applied(&r, at(0), B, TIMEOUT, true);
    assert_int_equal(rollout_look(&r, at(TIMEOUT), &alone_ill), ROLLOUT_BECOMES_UNHEALTHY);
    assert_false(rollout_is_bad(&r, B));
}

static void who_is_ready_waits_for_those_who_try(void **state)
{
    static const struct rollout_view others_try = {.ready = true, .peers_trying = true};
    struct rollout r = good_a();
    (void)state;

    rollout_applied(&r, at(0), B, TIMEOUT, true);
    rollout_look(&r, at(0), &others_try);
    assert_int_equal(rollout_look(&r, at(TIMEOUT), &others_try), ROLLOUT_NO_CHANGE);
    assert_int_equal(rollout_look(&r, at(TIMEOUT + 10), &alone_ready), ROLLOUT_BECOMES_GOOD);
    r = good_a();
    rollout_applied(&r, at(0), B, TIMEOUT, true);
    rollout_look(&r, at(0), &others_try);
    assert_int_equal(rollout_look(&r, at(2 * TIMEOUT), &others_try), ROLLOUT_BECOMES_GOOD);
}

static void who_is_ready_waits_for_the_turns_of_others(void **state)
{
    static const struct rollout_view others_wait = {
        .ready = true, .peers_trying = true, .peers_wait = true};
    static const struct rollout_view last_tries = {.ready = true, .peers_trying = true};
    struct rollout r = good_a();
    (void)state;

    rollout_applied(&r, at(0), B, TIMEOUT, true);
    for (int64_t ms = 0; ms <= 5 * TIMEOUT; ms += 1000)
        assert_int_not_equal(rollout_look(&r, at(ms), &others_wait), ROLLOUT_BECOMES_GOOD);
    assert_int_equal(rollout_look(&r, at(7 * TIMEOUT - 10), &last_tries), ROLLOUT_NO_CHANGE);
    assert_int_equal(rollout_look(&r, at(7 * TIMEOUT), &last_tries), ROLLOUT_BECOMES_GOOD);
    /* One that fails here fails here, whoever waits. */
    r = good_a();
    rollout_applied(&r, at(0), B, TIMEOUT, true);
    assert_int_equal(rollout_look(&r, at(TIMEOUT), &(struct rollout_view){.peers_wait = true}),
                     ROLLOUT_BECOMES_BAD);
}

static void what_moves_here_late_has_its_time(void **state)
{
    static const struct rollout_view others_try = {.ready = true, .peers_trying = true};
    static const struct rollout_view late = {.since = {TIMEOUT + 2000}};
    static const struct rollout_view crashes = {.since = {0}};
    struct rollout r = good_a();
    (void)state;

    rollout_applied(&r, at(0), B, TIMEOUT, true);
    rollout_look(&r, at(0), &others_try);
    /* Past the deadline the node that tried it dies, and its replica is placed here. */
    assert_int_equal(rollout_look(&r, at(TIMEOUT + 1000), &others_try), ROLLOUT_NO_CHANGE);
    assert_int_equal(rollout_look(&r, at(TIMEOUT + 2000), &late), ROLLOUT_BECOMES_UNREADY);
    assert_int_equal(rollout_look(&r, at(2 * TIMEOUT - 10), &late), ROLLOUT_NO_CHANGE);
    assert_int_equal(rollout_deadline(&r, at(2 * TIMEOUT - 10)).ms, 2 * TIMEOUT);
    assert_int_equal(rollout_look(&r, at(2 * TIMEOUT), &late), ROLLOUT_BECOMES_BAD);
    /* What was here and falls, however often it got up before, has no more time than others. */
    r = good_a();
    rollout_applied(&r, at(0), B, TIMEOUT, true);
    rollout_look(&r, at(TIMEOUT - 5000), &well);
    rollout_look(&r, at(TIMEOUT - 4000), &crashes);
    assert_int_equal(rollout_look(&r, at(TIMEOUT), &crashes), ROLLOUT_BECOMES_BAD);
}

static void a_peers_mark_wins(void **state)
{
    struct rollout r = good_a();
    bool back;
    (void)state;

    rollout_applied(&r, at(0), B, TIMEOUT, true);
    assert_true(rollout_given_up(&r, B, &back));
    assert_true(back);
    assert_int_equal(rollout_health(&r, at(1)), VALUE_HEALTH_BACK);
    assert_false(rollout_given_up(&r, B, &back)); /* no news */
    assert_false(back);
    assert_false(rollout_given_up(&r, "", &back));
    /* One that this node called good already: to the one before. */
    r = good_a();
    rollout_applied(&r, at(0), B, TIMEOUT, true);
    rollout_look(&r, at(0), &well);
    rollout_look(&r, at(ROLLOUT_STABLE_MS), &well);
    assert_true(rollout_given_up(&r, B, &back));
    assert_true(back);
    assert_string_equal(r.marks.good[0], A);
    /* One that does not run here is remembered. */
    assert_true(rollout_given_up(&r, C, &back));
    assert_false(back);
    assert_true(rollout_is_bad(&r, C));
}

static void what_waits_for_a_node_that_is_away_gets_more_time(void **state)
{
    static const struct rollout_view away = {.blocked = true, .peers_away = true};
    struct rollout r = good_a();
    (void)state;

    rollout_applied(&r, at(0), B, TIMEOUT, true);
    for (int i = 1; i <= ROLLOUT_EXTENSIONS; i++)
        assert_int_equal(rollout_look(&r, at(i * TIMEOUT), &away), ROLLOUT_NO_CHANGE);
    assert_int_equal(rollout_look(&r, at((ROLLOUT_EXTENSIONS + 1) * TIMEOUT), &away),
                     ROLLOUT_BECOMES_BAD);
}

static void who_waits_for_its_turn_has_the_whole_time_from_then_on(void **state)
{
    static const struct rollout_view waits = {.blocked = true, .waits = true, .peers_trying = true};
    static const struct rollout_view begun = {.peers_trying = true};
    struct rollout r = good_a();
    (void)state;

    rollout_applied(&r, at(0), B, TIMEOUT, true);
    for (int i = 1; i <= 5; i++)
        assert_int_equal(rollout_look(&r, at(i * TIMEOUT), &waits), ROLLOUT_NO_CHANGE);
    assert_int_equal(rollout_look(&r, at(6 * TIMEOUT - 1), &begun), ROLLOUT_NO_CHANGE);
    assert_int_equal(rollout_look(&r, at(6 * TIMEOUT), &begun), ROLLOUT_BECOMES_BAD);
}

static void marks_are_bounded_and_survive(void **state)
{
    char commit[COMMIT_TEXT] = A;
    struct rollout r = good_a(), again;
    bool back;
    (void)state;

    for (char c = 'b'; c < 'b' + ROLLOUT_BAD_MAX + 3; c++) {
        memset(commit, c, sizeof commit - 1);
        rollout_given_up(&r, commit, &back);
    }
    assert_true(rollout_is_bad(&r, commit));
    assert_false(rollout_is_bad(&r, B)); /* the oldest was forgotten */
    rollout_init(&again, &r.marks);
    assert_true(rollout_is_bad(&again, commit));
    rollout_applied(&again, at(0), A, TIMEOUT, true); /* known as good: nobody waits */
    assert_int_equal(again.state, ROLLOUT_GOOD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_commit_is_good_when_it_was_ready_everywhere_for_a_while),
        cmocka_unit_test(a_commit_that_fails_is_given_up_at_its_deadline),
        cmocka_unit_test(nothing_to_go_back_to),
        cmocka_unit_test(where_the_others_call_it_good_this_node_is_ill),
        cmocka_unit_test(who_is_ready_waits_for_those_who_try),
        cmocka_unit_test(who_is_ready_waits_for_the_turns_of_others),
        cmocka_unit_test(what_moves_here_late_has_its_time),
        cmocka_unit_test(a_peers_mark_wins),
        cmocka_unit_test(what_waits_for_a_node_that_is_away_gets_more_time),
        cmocka_unit_test(who_waits_for_its_turn_has_the_whole_time_from_then_on),
        cmocka_unit_test(marks_are_bounded_and_survive),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
