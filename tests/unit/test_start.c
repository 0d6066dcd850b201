/* The number of the agent's start on tmpfs: rises with every start, is none after a boot of the
 * machine or a damage, and is never lost half-way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/io/os_clock.h"
#include "agent/io/os_start.h"

#define OTHER_BOOT "00000000-0000-4000-8000-000000000000"

static char dir[64];
static char path[96];

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/covey-start-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/start", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    assert_int_equal(rmdir(dir), 0); /* nothing else is left */
    return 0;
}

static void put(const char *boot, const char *rest)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    fprintf(file, "%s%s", boot, rest);
    assert_int_equal(fclose(file), 0);
}

static void no_number(void)
{
    uint32_t number = 7;

    assert_int_equal(os_start_next(dir, &number, NULL), ERR_NOTFOUND);
    assert_int_equal(number, 7);
}

static void counts_on(void **state)
{
    uint32_t number = 0;

    (void)state;
    no_number();
    assert_int_equal(os_start_raise(dir, 1700000000, NULL), ERR_NONE);
    for (uint32_t i = 1; i <= 3; i++) {
        assert_int_equal(os_start_next(dir, &number, NULL), ERR_NONE);
        assert_int_equal(number, 1700000000 + i);
    }
    assert_int_equal(os_start_raise(dir, 5, NULL), ERR_NONE); /* never back */
    assert_int_equal(os_start_raise(dir, 1800000000, NULL), ERR_NONE);
    assert_int_equal(os_start_next(dir, &number, NULL), ERR_NONE);
    assert_int_equal(number, 1800000001);
}

static void the_last_number_is_the_last(void **state)
{
    struct err err;
    uint32_t number = 0;

    (void)state;
    assert_int_equal(os_start_raise(dir, UINT32_MAX, NULL), ERR_NONE);
    assert_int_equal(os_start_next(dir, &number, &err), ERR_LIMIT);
    assert_non_null(strstr(err.text, "used up"));
}

static void another_boot_or_a_damage_is_none(void **state)
{
    char boot[OS_BOOT_ID_TEXT] = "";
    uint32_t number = 0;

    (void)state;
    assert_int_equal(os_clock_boot_id(boot, NULL), ERR_NONE);
    put(OTHER_BOOT, " 12\n");
    no_number();
    put(boot, "");
    no_number();
    put(boot, " 12");
    no_number();
    put(boot, " 012\n");
    no_number();
    put(boot, " 12\n12\n");
    no_number();
    put(boot, " 99999999999\n");
    no_number();
    put("", "");
    no_number();
    put(boot, " 12\n");
    assert_int_equal(os_start_next(dir, &number, NULL), ERR_NONE);
    assert_int_equal(number, 13);
    put(OTHER_BOOT, " 99\n");
    assert_int_equal(os_start_raise(dir, 3, NULL), ERR_NONE);
    assert_int_equal(os_start_next(dir, &number, NULL), ERR_NONE);
    assert_int_equal(number, 4);
}

/* A number that is given and not written would be given twice. */
static void what_cannot_be_written_is_not_given(void **state)
{
    char blocked[128];
    uint32_t number = 7;

    (void)state;
    assert_int_equal(os_start_raise(dir, 12, NULL), ERR_NONE);
    snprintf(blocked, sizeof blocked, "%s/start.new", dir);
    assert_int_equal(mkdir(blocked, 0700), 0);
    assert_int_equal(os_start_next(dir, &number, NULL), ERR_IO);
    assert_int_equal(number, 7);
    assert_int_equal(rmdir(blocked), 0);
    assert_int_equal(os_start_next(dir, &number, NULL), ERR_NONE);
    assert_int_equal(number, 13);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(counts_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_last_number_is_the_last, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_boot_or_a_damage_is_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_written_is_not_given, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
