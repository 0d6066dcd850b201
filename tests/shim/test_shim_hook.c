/* Programs before the start and after the end of a workload. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/shim/rig.h"

static struct shim_hook shell(const char *script)
{
    return (struct shim_hook){.argv = {"/bin/sh", "-c", script}, .timeout_ms = 30000};
}

static struct os_shim *begin(struct rig *rig, const struct shim_spec *spec)
{
    struct os_shim *shim;
    struct err err = {0};

    if (os_shim_start(&rig->where, spec, &shim, &err) != ERR_NONE)
        fail_msg("%s", err.text);
    return shim;
}

static void expect_line(struct rig *rig, const char *expected)
{
    char line[256];

    rig_line(rig, line, sizeof line);
    assert_string_equal(line, expected);
}

static void they_run_before_and_after(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "shop/web.0", "echo main >$FIFO; sleep 1000");
    struct shim_record record;
    struct os_shim *shim;

    spec.pre_start = shell("echo before >$FIFO");
    spec.post_stop = shell("echo after >$FIFO; exit 9");
    shim = begin(rig, &spec);
    expect_line(rig, "before");
    expect_line(rig, "main");
    assert_int_equal(os_shim_stop(shim, 0, -1, NULL), ERR_NONE);
    rig_wait(shim, OS_SHIM_EXITED, &record);
    expect_line(rig, "after");
    /* How the program ended, not its hook. */
    assert_int_equal(record.exit, SHIM_EXIT_SIGNAL);
    assert_int_equal(record.exit_value, SIGTERM);
    os_shim_close(shim);
}

static void the_start_fails_with_the_hook(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "shop/web.0", "echo main >$FIFO; sleep 1000");
    struct shim_record record;
    struct os_shim *shim;

    spec.pre_start = shell("echo no >&2; exit 3");
    shim = begin(rig, &spec);
    rig_wait(shim, OS_SHIM_FAILED, &record);
    assert_string_equal(record.text, "preStart ended with exit code 3; its log says why");
    os_shim_close(shim);
    os_shim_acknowledge(&rig->where, spec.instance, NULL);
}

static void a_hook_that_takes_too_long_is_killed(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "shop/web.0", "sleep 1000");
    struct shim_record record;
    struct os_shim *shim;

    spec.pre_start = shell("trap '' TERM; sleep 1000");
    spec.pre_start.timeout_ms = 50;
    shim = begin(rig, &spec);
    rig_wait(shim, OS_SHIM_FAILED, &record);
    assert_string_equal(record.text, "preStart took too long and was killed");
    os_shim_close(shim);
    os_shim_acknowledge(&rig->where, spec.instance, NULL);
}

static void a_stop_ends_the_hook_too(void **state)
{
    struct rig *rig = *state;
    struct shim_spec spec = rig_shell(rig, "shop/web.0", "echo main >$FIFO; sleep 1000");
    struct shim_record record;
    struct os_shim *shim;

    spec.pre_start = shell("echo before >$FIFO; sleep 1000");
    shim = begin(rig, &spec);
    expect_line(rig, "before");
    assert_int_equal(os_shim_stop(shim, 0, 30000, NULL), ERR_NONE);
    rig_wait(shim, OS_SHIM_FAILED, &record);
    assert_int_equal(record.code, ERR_CONFLICT);
    os_shim_close(shim);
    os_shim_acknowledge(&rig->where, spec.instance, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(they_run_before_and_after, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(the_start_fails_with_the_hook, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(a_hook_that_takes_too_long_is_killed, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(a_stop_ends_the_hook_too, rig_setup, rig_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
