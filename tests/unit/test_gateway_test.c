/* Which gateways keep their ARP cache by the last writer, as edge/gateway_test.h finds out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/edge/gateway_test.h"

enum kind { LAST_WRITER, BY_HAND_OURS, BY_HAND_OTHER, FIRST_WRITER, NO_ECHO };

static struct gateway_test test;
static unsigned rounds;

static mono_t at(int64_t ms)
{
    return (mono_t){ms};
}

/* Plays a gateway; @lose is a set of the steps, counted from the beginning, that are lost. */
static enum gateway_test_result play(enum kind kind, uint64_t lose)
{
    struct gateway_test_step steps[GATEWAY_TEST_STEPS];
    bool ours = kind != BY_HAND_OTHER;
    enum gateway_test_result result = GATEWAY_TEST_RUNS;
    unsigned step = 0;
    size_t count;

    rounds = 0;
    gateway_test_start(&test, at(1000));
    while (result == GATEWAY_TEST_RUNS) {
        mono_t now = gateway_test_deadline(&test);
        assert_false(mono_is_never(now));
        result = gateway_test_step(&test, now, steps, &count);
        rounds += count > 0;
        for (size_t i = 0; i < count; i++, step++) {
            if (step < 64 && (lose >> step & 1) != 0)
                continue;
            if (steps[i].action == GATEWAY_TEST_READ && ours && kind != NO_ECHO)
                gateway_test_answered(&test, steps[i].read);
            if (kind == LAST_WRITER && steps[i].action != GATEWAY_TEST_READ)
                ours = steps[i].action == GATEWAY_TEST_OWN;
            if (kind == FIRST_WRITER && steps[i].action == GATEWAY_TEST_STRAY && step == 0)
                ours = false; /* and our own is ignored for a while */
        }
    }
    assert_true(mono_is_never(gateway_test_deadline(&test)));
    return result;
}

static void the_last_writer_counts(void **state)
{
    (void)state;
    assert_int_equal(play(LAST_WRITER, 0), GATEWAY_TEST_KEPT);
    assert_int_equal(rounds, GATEWAY_TEST_ALIKE);
}

static void an_entry_set_by_hand_is_found_whomever_it_names(void **state)
{
    (void)state;
    assert_int_equal(play(BY_HAND_OURS, 0), GATEWAY_TEST_LOST);
    assert_int_equal(rounds, GATEWAY_TEST_ALIKE);
    assert_int_equal(play(BY_HAND_OTHER, 0), GATEWAY_TEST_LOST);
}

/* The address is astray at the gateway meanwhile: that must not take long. */
static void who_guards_its_cache_or_answers_no_echo_fails_soon(void **state)
{
    (void)state;
    assert_int_equal(play(FIRST_WRITER, 0), GATEWAY_TEST_LOST);
    assert_int_equal(rounds, GATEWAY_TEST_SILENT);
    assert_int_equal(play(NO_ECHO, 0), GATEWAY_TEST_LOST);
    assert_int_equal(rounds, GATEWAY_TEST_SILENT);
}

static void lost_frames_are_no_verdict(void **state)
{
    (void)state;
    assert_int_equal(play(LAST_WRITER, 1), GATEWAY_TEST_KEPT);       /* the stray write */
    assert_int_equal(play(LAST_WRITER, 1u << 4), GATEWAY_TEST_KEPT); /* the second read */
    assert_int_equal(play(LAST_WRITER, 1u << 2), GATEWAY_TEST_KEPT); /* one of our writes */
    assert_int_equal(play(LAST_WRITER, 3u << 2), GATEWAY_TEST_KEPT); /* both */
    /* A stray reply that is lost once makes no register of what is none. */
    assert_int_equal(play(BY_HAND_OURS, 1u << 1), GATEWAY_TEST_LOST);
    assert_int_equal(play(BY_HAND_OURS, 1u << 6), GATEWAY_TEST_LOST);
}

static void replies_of_an_earlier_round_do_not_count(void **state)
{
    struct gateway_test_step steps[GATEWAY_TEST_STEPS];
    size_t count;
    (void)state;

    gateway_test_start(&test, at(0));
    for (int round = 0; round < GATEWAY_TEST_ALIKE; round++) {
        assert_int_equal(gateway_test_step(&test, gateway_test_deadline(&test), steps, &count),
                         GATEWAY_TEST_RUNS);
        if (round > 0)
            gateway_test_answered(&test, steps[1].read - 2); /* late */
        gateway_test_answered(&test, steps[4].read);
    }
    assert_int_equal(gateway_test_step(&test, gateway_test_deadline(&test), steps, &count),
                     GATEWAY_TEST_KEPT);
}

static void what_is_cancelled_has_no_result(void **state)
{
    struct gateway_test_step steps[GATEWAY_TEST_STEPS];
    size_t count;
    (void)state;

    gateway_test_start(&test, at(0));
    gateway_test_step(&test, at(0), steps, &count);
    assert_int_equal(gateway_test_step(&test, at(GATEWAY_TEST_ROUND_MS - 1), steps, &count),
                     GATEWAY_TEST_RUNS);
    assert_int_equal(count, 0);
    gateway_test_cancel(&test);
    assert_true(mono_is_never(gateway_test_deadline(&test)));
    assert_int_equal(gateway_test_step(&test, at(10000), steps, &count), GATEWAY_TEST_RUNS);
    assert_int_equal(count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_writer_counts),
        cmocka_unit_test(an_entry_set_by_hand_is_found_whomever_it_names),
        cmocka_unit_test(who_guards_its_cache_or_answers_no_echo_fails_soon),
        cmocka_unit_test(lost_frames_are_no_verdict),
        cmocka_unit_test(replies_of_an_earlier_round_do_not_count),
        cmocka_unit_test(what_is_cancelled_has_no_result),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
