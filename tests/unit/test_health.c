/* Probes on a virtual clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/core/health.h"

struct world {
    struct health h;
    mono_t now;
    struct health_out out;
    uint32_t ticket[HEALTH_PROBES];
};

static void note(struct world *w)
{
    for (int i = 0; i < HEALTH_PROBES; i++) {
        if (w->out.probe[i].run)
            w->ticket[i] = w->out.probe[i].ticket;
    }
}

/* What the last step asked for: "SRL" for the probes to run, "+" ready, "-" not ready, "!" dead. */
static void check(struct world *w, const char *expected)
{
    char text[8];
    size_t n = 0;

    for (int i = 0; i < HEALTH_PROBES; i++) {
        if (w->out.probe[i].run)
            text[n++] = "SRL"[i];
    }
    if (w->out.ready_changed)
        text[n++] = w->h.ready ? '+' : '-';
    if (w->out.dead)
        text[n++] = '!';
    text[n] = '\0';
    assert_string_equal(text, expected);
    note(w);
}

static void begin(struct world *w, const struct health_policy policy[HEALTH_PROBES])
{
    memset(w, 0, sizeof *w);
    w->now = (mono_t){5000};
    health_init(&w->h, policy);
    assert_true(mono_is_never(health_deadline(&w->h)));
    health_begin(&w->h, w->now, w->now, &w->out);
}

/* Goes to the deadline, which must be @after_ms away, and ticks. */
static void pass(struct world *w, int64_t after_ms)
{
    assert_int_equal(mono_diff(health_deadline(&w->h), w->now), after_ms);
    w->now = health_deadline(&w->h);
    health_tick(&w->h, w->now, &w->out);
}

static void result(struct world *w, enum health_probe probe, bool success)
{
    health_result(&w->h, w->now, probe, w->ticket[probe], success, &w->out);
}

static struct health_policy present(int64_t delay, unsigned successes, unsigned failures)
{
    struct health_policy p = health_policy_default();
    p.present = true;
    p.initial_delay_ms = delay;
    p.success_threshold = successes;
    p.failure_threshold = failures;
    return p;
}

static void without_probes_it_is_ready_at_once(void **state)
{
    const struct health_policy none[HEALTH_PROBES] = {{.present = false}};
    struct world w;
    (void)state;

    begin(&w, none);
    check(&w, "+");
    assert_true(mono_is_never(health_deadline(&w.h)));
}

static void readiness_comes_and_goes_by_its_thresholds(void **state)
{
    const struct health_policy policy[HEALTH_PROBES] = {[HEALTH_READINESS] = present(3000, 2, 3)};
    struct world w;
    (void)state;

    begin(&w, policy);
    check(&w, "");
    pass(&w, 3000);
    check(&w, "R");
    assert_int_equal(w.out.probe[HEALTH_READINESS].timeout_ms, 1000);
    result(&w, HEALTH_READINESS, true);
    check(&w, "");
    pass(&w, 10000);
    check(&w, "R");
    result(&w, HEALTH_READINESS, true);
    check(&w, "+");
    for (int i = 0; i < 2; i++) {
        pass(&w, 10000);
        check(&w, "R");
        result(&w, HEALTH_READINESS, false);
        check(&w, "");
    }
    pass(&w, 10000);
    check(&w, "R");
    result(&w, HEALTH_READINESS, false);
    check(&w, "-");
    pass(&w, 10000);
    check(&w, "R");
    result(&w, HEALTH_READINESS, true);
    check(&w, "");
}

static void liveness_gives_up_and_is_silent_after(void **state)
{
    const struct health_policy policy[HEALTH_PROBES] = {[HEALTH_LIVENESS] = present(0, 1, 2)};
    struct world w;
    (void)state;

    begin(&w, policy);
    check(&w, "L+");
    result(&w, HEALTH_LIVENESS, false);
    check(&w, "");
    pass(&w, 10000);
    check(&w, "L");
    result(&w, HEALTH_LIVENESS, true); /* forgets the failure */
    for (int i = 0; i < 2; i++) {
        pass(&w, 10000);
        check(&w, "L");
        result(&w, HEALTH_LIVENESS, false);
    }
    check(&w, "-!");
    assert_true(mono_is_never(health_deadline(&w.h)));
    result(&w, HEALTH_LIVENESS, true);
    check(&w, "");
}

/* Through the tries between two regular runs of a period of 10 s, which all fail without effect, to
 * the second one. */
static void try_eagerly(struct world *w, enum health_probe probe)
{
    int64_t past = 0;

    for (int64_t pause = HEALTH_EAGER_MS; past + pause < 10000; pause *= 2) {
        pass(w, pause);
        check(w, probe == HEALTH_STARTUP ? "S" : "R");
        result(w, probe, false);
        check(w, "");
        past += pause;
    }
    pass(w, 10000 - past);
}

static void it_is_tried_soon_until_it_succeeds_once(void **state)
{
    const struct health_policy policy[HEALTH_PROBES] = {[HEALTH_READINESS] = present(0, 1, 1)};
    struct world w;
    (void)state;

    begin(&w, policy);
    check(&w, "R");
    result(&w, HEALTH_READINESS, false);
    try_eagerly(&w, HEALTH_READINESS);
    check(&w, "R");
    result(&w, HEALTH_READINESS, false); /* its pauses have become longer than the period */
    pass(&w, 10000);

    begin(&w, policy);
    check(&w, "R");
    result(&w, HEALTH_READINESS, false);
    pass(&w, 25);
    check(&w, "R");
    result(&w, HEALTH_READINESS, false);
    pass(&w, 50);
    check(&w, "R");
    result(&w, HEALTH_READINESS, true);
    check(&w, "+");
    for (int i = 0; i < 2; i++) {
        pass(&w, i == 0 ? 10000 - 75 : 10000); /* the regular runs are where they were */
        check(&w, "R");
        result(&w, HEALTH_READINESS, false);
        check(&w, i == 0 ? "-" : "");
    }
}

static void startup_holds_the_others_back(void **state)
{
    const struct health_policy policy[HEALTH_PROBES] = {
        [HEALTH_STARTUP] = present(0, 1, 3),
        [HEALTH_READINESS] = present(0, 1, 1),
        [HEALTH_LIVENESS] = present(25000, 1, 1),
    };
    struct world w;
    (void)state;

    begin(&w, policy);
    check(&w, "S");
    result(&w, HEALTH_STARTUP, false);
    check(&w, "");
    try_eagerly(&w, HEALTH_STARTUP);
    check(&w, "S");
    result(&w, HEALTH_STARTUP, true);
    check(&w, "R");
    result(&w, HEALTH_READINESS, true);
    check(&w, "+");
    pass(&w, 10000);
    check(&w, "R");
    result(&w, HEALTH_READINESS, true);
    /* The delay counts from the start of the process, 20 s ago. */
    pass(&w, 5000);
    check(&w, "L");

    begin(&w, policy);
    check(&w, "S");
    for (int i = 0; i < 2; i++) {
        result(&w, HEALTH_STARTUP, false);
        check(&w, "");
        if (i == 0)
            try_eagerly(&w, HEALTH_STARTUP);
        else
            pass(&w, 10000);
        check(&w, "S");
    }
    result(&w, HEALTH_STARTUP, false);
    check(&w, "!");
}

static void a_late_result_counts_as_failure_and_is_ignored(void **state)
{
    struct health_policy policy[HEALTH_PROBES] = {[HEALTH_READINESS] = present(0, 1, 1)};
    struct world w;
    uint32_t old;
    (void)state;

    policy[HEALTH_READINESS].period_ms = 1500; /* shorter than timeout and grace */
    begin(&w, policy);
    check(&w, "R");
    result(&w, HEALTH_READINESS, true);
    check(&w, "+");
    pass(&w, 1500);
    check(&w, "R");
    old = w.ticket[HEALTH_READINESS];
    pass(&w, 2000); /* no overlap: the next run starts with the end of this one */
    check(&w, "R-");
    health_result(&w.h, w.now, HEALTH_READINESS, old, true, &w.out);
    check(&w, "");
    result(&w, HEALTH_READINESS, true);
    check(&w, "+");
}

static void a_process_that_was_found_is_probed_at_once(void **state)
{
    const struct health_policy policy[HEALTH_PROBES] = {[HEALTH_READINESS] = present(60000, 1, 1)};
    struct world w;
    (void)state;

    begin(&w, policy);
    check(&w, "");
    health_begin(&w.h, w.now, mono_add(w.now, -100000), &w.out);
    check(&w, "R");
    health_end(&w.h);
    result(&w, HEALTH_READINESS, true);
    check(&w, "");
    assert_false(w.h.ready);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_probes_it_is_ready_at_once),
        cmocka_unit_test(readiness_comes_and_goes_by_its_thresholds),
        cmocka_unit_test(liveness_gives_up_and_is_silent_after),
        cmocka_unit_test(it_is_tried_soon_until_it_succeeds_once),
        cmocka_unit_test(startup_holds_the_others_back),
        cmocka_unit_test(a_late_result_counts_as_failure_and_is_ignored),
        cmocka_unit_test(a_process_that_was_found_is_probed_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
