/* Which of several words about an app counts, and for how long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/core/suspend.h"
#include "proto/base/err.h"

static struct value_suspend said(bool on, int64_t stamp, const char *by)
{
    struct value_suspend value = {.on = on, .stamp = stamp};

    snprintf(value.by, sizeof value.by, "%s", by);
    return value;
}

static void the_newest_wins(void **state)
{
    const struct value_suspend old = said(true, 1000, "pi1"), new = said(false, 1001, "pi2");
    struct suspensions all = {0};
    (void)state;

    assert_int_equal(suspend_merge(&all, "web", &new), ERR_NONE);
    assert_int_equal(suspend_merge(&all, "web", &old), ERR_EXISTS);
    assert_int_equal(suspend_merge(&all, "web", &new), ERR_EXISTS);
    assert_false(suspend_on(suspend_find(&all, "web"), 5));
    suspend_free(&all);
    assert_null(suspend_find(&all, "web"));
}

/* Said on two nodes in one millisecond: both come to the same, in either order. */
static void all_nodes_come_to_the_same(void **state)
{
    struct value_suspend values[4] = {said(true, 7, "pi1"), said(true, 7, "pi2"),
                                      said(false, 7, "pi1"), said(true, 7, "pi2")};
    struct value_suspend outcome = {0};
    (void)state;

    values[3].until = 99;
    for (int first = 0; first < 4; first++)
        for (int second = 0; second < 4; second++) {
            struct suspensions all = {0};
            for (int i = 0; i < 4; i++) /* @first, @second, and then the others */
                (void)suspend_merge(&all, "web",
                                    &values[i == 0   ? first
                                            : i == 1 ? second
                                                     : (first + i) % 4]);
            for (int i = 0; i < 4; i++)
                (void)suspend_merge(&all, "web", &values[i]);
            if (first + second == 0)
                outcome = all.items[0].value;
            assert_memory_equal(&all.items[0].value, &outcome, sizeof outcome);
            suspend_free(&all);
        }
    assert_false(outcome.on);
}

static void a_clock_that_is_behind_is_heard_too(void **state)
{
    const struct value_suspend ahead = said(true, 1000000, "pi1");
    struct suspensions all = {0};
    struct value_suspend value;
    (void)state;

    assert_int_equal(suspend_stamp(&all, "web", 5), 5);
    assert_int_equal(suspend_merge(&all, "web", &ahead), ERR_NONE);
    value = said(false, suspend_stamp(&all, "web", 5), "pi2");
    assert_int_equal(suspend_merge(&all, "web", &value), ERR_NONE);
    suspend_free(&all);
}

static void it_ends(void **state)
{
    struct value_suspend value = said(true, 1, "pi1");
    struct suspensions all = {0};
    (void)state;

    assert_int_equal(suspend_merge(&all, "ever", &value), ERR_NONE);
    assert_true(suspend_end(&all, 0) == INT64_MAX);
    value.until = 50;
    assert_int_equal(suspend_merge(&all, "b", &value), ERR_NONE);
    value.until = 40;
    assert_int_equal(suspend_merge(&all, "a", &value), ERR_NONE);
    assert_string_equal(all.items[0].app, "a");
    assert_int_equal(suspend_end(&all, 39), 40);
    assert_true(suspend_on(suspend_find(&all, "a"), 39));
    assert_false(suspend_on(suspend_find(&all, "a"), 40));
    assert_int_equal(suspend_end(&all, 40), 50);
    assert_true(suspend_on(suspend_find(&all, "ever"), INT64_MAX));
    suspend_free(&all);
}

static void there_is_a_limit(void **state)
{
    struct value_suspend value = said(true, 1, "pi1");
    struct suspensions all = {0};
    char name[16];
    (void)state;

    for (int i = 0; i < SUSPEND_MAX; i++) {
        snprintf(name, sizeof name, "app-%d", i);
        assert_int_equal(suspend_merge(&all, name, &value), ERR_NONE);
    }
    assert_int_equal(suspend_merge(&all, "one-more", &value), ERR_FULL);
    value.stamp = 2;
    assert_int_equal(suspend_merge(&all, "app-0", &value), ERR_NONE);
    suspend_free(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_wins),
        cmocka_unit_test(all_nodes_come_to_the_same),
        cmocka_unit_test(a_clock_that_is_behind_is_heard_too),
        cmocka_unit_test(it_ends),
        cmocka_unit_test(there_is_a_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
