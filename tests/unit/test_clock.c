/* The clocks of the agent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/io/os_clock.h"

static void monotonic_time_does_not_go_back(void **state)
{
    mono_t last = os_clock_now();
    int i;
    (void)state;

    assert_true(mono_before(MONO_ZERO, last));
    for (i = 0; i < 100000; i++) {
        mono_t now = os_clock_now();
        assert_false(mono_before(now, last));
        last = now;
    }
    assert_true(os_clock_wall_ms() > 1600000000000);
}

static void boot_id_is_a_uuid_and_stays(void **state)
{
    char first[OS_BOOT_ID_TEXT];
    char second[OS_BOOT_ID_TEXT];
    struct err err;
    (void)state;

    assert_int_equal(os_clock_boot_id(first, &err), ERR_NONE);
    assert_int_equal(os_clock_boot_id(second, &err), ERR_NONE);
    assert_int_equal(strlen(first), OS_BOOT_ID_TEXT - 1);
    assert_int_equal(first[8], '-');
    assert_int_equal(strspn(first, "0123456789abcdef-"), OS_BOOT_ID_TEXT - 1);
    assert_string_equal(first, second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(monotonic_time_does_not_go_back),
        cmocka_unit_test(boot_id_is_a_uuid_and_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
