/* When a delivery may be acknowledged, and when the next attempt to connect is made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/rng.h"
#include "workloads/lib/amqp/broker.h"
#include "workloads/lib/amqp/window.h"

static struct window *make(size_t capacity)
{
    struct window *window;
    struct err err;

    assert_int_equal(window_new(&window, capacity, &err), ERR_NONE);
    return window;
}

static void nothing_is_acknowledged_before_it_is_confirmed(void **state)
{
    struct window *window = make(4);
    (void)state;

    assert_int_equal(window_add(window, 1), 0);
    assert_int_equal(window_take(window), 0);
    window_done(window, 1);
    assert_int_equal(window_unconfirmed(window), 1);
    assert_int_equal(window_take(window), 0);
    assert_true(window_confirm(window, 1, false));
    assert_int_equal(window_ready(window), 1);
    assert_int_equal(window_take(window), 1);
    assert_true(window_empty(window));
    window_free(window);
}

static void a_later_confirmation_waits_for_the_earlier(void **state)
{
    struct window *window = make(4);
    (void)state;

    for (uint64_t tag = 11; tag <= 14; tag++)
        (void)window_add(window, tag);
    window_done(window, 1);
    window_done(window, 0); /* nothing to publish */
    window_done(window, 2);
    window_done(window, 3);
    assert_true(window_confirm(window, 2, false));
    assert_int_equal(window_take(window), 0);
    assert_true(window_confirm(window, 1, false));
    assert_int_equal(window_ready(window), 3);
    assert_int_equal(window_take(window), 13);
    assert_false(window_confirm(window, 2, false)); /* a second time */
    assert_true(window_confirm(window, 3, true));
    assert_int_equal(window_take(window), 14);
    window_free(window);
}

static void work_goes_in_order_and_when_it_is_due(void **state)
{
    struct window *window = make(3);
    (void)state;

    assert_int_equal(window_due(window), INT64_MAX);
    window_plan(window, window_add(window, 1), 500);
    window_plan(window, window_add(window, 2), 100);
    assert_int_equal(window_due(window), 500); /* not the 100 of the second */
    window_done(window, 0);
    assert_int_equal(window_due(window), 100);
    assert_int_equal(window_next(window), 1);
    (void)window_add(window, 3);
    assert_int_equal(window_add(window, 4), 3); /* full: no slot */
    window_reset(window);
    assert_true(window_empty(window));
    assert_int_equal(window_next(window), 3);
    window_free(window);
}

/* Against a plain list: whatever the order of events, only what is settled and all before it
 * leaves. */
static void any_order_of_events_acknowledges_each_once(void **state)
{
    enum { CAPACITY = 7, ROUNDS = 20000 };
    bool settled[ROUNDS + 1] = {false};
    uint64_t seq_of[ROUNDS + 1] = {0};
    uint64_t delivered = 0;
    uint64_t worked = 0;
    uint64_t acked = 0;
    uint64_t seq = 0;
    struct window *window = make(CAPACITY);
    struct rng rng;
    (void)state;

    rng_seed(&rng, 1);
    while (acked < ROUNDS - CAPACITY) {
        uint64_t pick = rng_below(&rng, 4);
        if (pick == 0 && delivered - acked < CAPACITY && delivered < ROUNDS) {
            assert_true(window_add(window, ++delivered) < CAPACITY);
        } else if (pick == 1 && worked < delivered) {
            seq_of[++worked] = rng_below(&rng, 3) > 0 ? ++seq : 0;
            settled[worked] = seq_of[worked] == 0;
            window_done(window, seq_of[worked]);
        } else if (pick == 2 && worked > acked) {
            uint64_t tag = acked + 1 + rng_below(&rng, worked - acked);
            bool multiple = rng_below(&rng, 2) == 0;
            bool any = false;
            if (seq_of[tag] == 0)
                continue;
            for (uint64_t i = acked + 1; i <= worked; i++)
                if (seq_of[i] != 0 && !settled[i] &&
                    (multiple ? seq_of[i] <= seq_of[tag] : i == tag)) {
                    settled[i] = true;
                    any = true;
                }
            assert_int_equal(window_confirm(window, seq_of[tag], multiple), any);
        } else if (pick == 3) {
            uint64_t expected = acked;
            uint64_t tag = window_take(window);
            while (expected < worked && settled[expected + 1])
                expected++;
            assert_int_equal(tag, expected > acked ? expected : 0);
            acked = expected;
        }
    }
    window_free(window);
}

static void attempts_go_at_one_pace_and_then_slower(void **state)
{
    const struct broker broker = {
        .retry_attempts = 10, .retry_delay_ms = 5000, .retry_max_ms = 60000};
    (void)state;

    for (unsigned attempt = 1; attempt <= 10; attempt++)
        assert_int_equal(broker_retry_ms(&broker, attempt), 5000);
    assert_int_equal(broker_retry_ms(&broker, 11), 10000);
    assert_int_equal(broker_retry_ms(&broker, 12), 20000);
    assert_int_equal(broker_retry_ms(&broker, 13), 40000);
    assert_int_equal(broker_retry_ms(&broker, 14), 60000);
    assert_int_equal(broker_retry_ms(&broker, UINT32_MAX), 60000);
}

static void an_address_names_host_and_port(void **state)
{
    static const char *const bad[] = {"x", ":5672", "x:", "x:0", "x:65536", "x:1y", "[::1:5672"};
    struct broker broker;
    struct env env;
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        env_init(&env);
        assert_int_equal(setenv("RABBITMQ_ADDRESS", bad[i], 1), 0);
        broker_configure(&broker, &env);
        assert_int_equal(env.problems, 1);
    }
    env_init(&env);
    assert_int_equal(setenv("RABBITMQ_ADDRESS", "[fe80::1]:5673", 1), 0);
    broker_configure(&broker, &env);
    assert_string_equal(broker.host, "fe80::1");
    assert_int_equal(broker.port, 5673);
    assert_int_equal(setenv("RABBITMQ_ADDRESS", "10.0.0.1:5674", 1), 0);
    broker_configure(&broker, &env);
    assert_int_equal(unsetenv("RABBITMQ_ADDRESS"), 0);
    assert_string_equal(broker.host, "10.0.0.1");
    assert_int_equal(broker.port, 5674);
    assert_int_equal(env.problems, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_acknowledged_before_it_is_confirmed),
        cmocka_unit_test(a_later_confirmation_waits_for_the_earlier),
        cmocka_unit_test(work_goes_in_order_and_when_it_is_due),
        cmocka_unit_test(any_order_of_events_acknowledges_each_once),
        cmocka_unit_test(attempts_go_at_one_pace_and_then_slower),
        cmocka_unit_test(an_address_names_host_and_port),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
