/* What a Pi says of itself, from files as its kernels have them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/io/os_host.h"

static char root[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/test_host.XXXXXX");
    return mkdtemp(root) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -r %s", root);
    return system(command);
}

/* Makes the folders on the way to @path below root. */
static void make_way(const char *path, char whole[512])
{
    snprintf(whole, 512, "%s%s", root, path);
    for (char *c = whole + strlen(root) + 1; *c != '\0'; c++)
        if (*c == '/') {
            *c = '\0';
            (void)mkdir(whole, 0700);
            *c = '/';
        }
}

static void put(const char *path, const char *text)
{
    char whole[512];
    FILE *file;

    make_way(path, whole);
    file = fopen(whole, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void near(double value, double wanted)
{
    if (!(fabs(value - wanted) < 1e-6))
        fail_msg("%f instead of %f", value, wanted);
}

static void a_pi_says_how_it_is(void **state)
{
    char link[64];
    char whole[512];
    struct os_host host;
    struct stat info;

    (void)state;
    put("/sys/class/thermal/thermal_zone0/temp", "48312\n");
    put("/sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n");
    put("/sys/block/mmcblk0/device/life_time", "0x01 0x03\n");
    put("/sys/block/mmcblk0/stat", "1 2 3 4 5 6 2000 8 9 10 11\n");
    assert_int_equal(stat("/", &info), 0);
    snprintf(link, sizeof link, "/sys/dev/block/%u:%u", major(info.st_dev), minor(info.st_dev));
    make_way(link, whole);
    assert_int_equal(symlink("../../devices/mmc0/block/mmcblk0/mmcblk0p2", whole), 0);
    os_host_read(root, "/tmp", &host);
    near(host.temperature_c, 48.312);
    near(host.throttled, 0x50005);
    near(host.undervoltage, 1);
    near(host.card_life_used, 0.3);
    near(host.card_written, 2000 * 512);
    assert_true(host.disk_free > 0 && host.disk_free <= host.disk_total);
    assert_true(host.memory_available > 0 && host.self_resident > 0 && host.self_cpu_s > 0);
    put("/sys/devices/platform/soc/soc:firmware/get_throttled", "50000\n");
    os_host_read(root, "/tmp", &host);
    near(host.undervoltage, 0); /* it was, but is no more */
}

static void newer_kernels_have_a_sensor(void **state)
{
    struct os_host host;

    (void)state;
    put("/sys/class/hwmon/hwmon0/name", "cpu_thermal\n");
    put("/sys/class/hwmon/hwmon1/name", "rpi_volt\n");
    put("/sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n");
    os_host_read(root, "/tmp", &host);
    near(host.undervoltage, 1);
    assert_true(isnan(host.throttled));
}

static void what_is_not_known_is_not_invented(void **state)
{
    struct os_host host;

    (void)state;
    put("/sys/class/thermal/thermal_zone0/temp", "hot\n");
    os_host_read(root, "/nowhere", &host);
    assert_true(isnan(host.temperature_c) && isnan(host.undervoltage) && isnan(host.throttled));
    assert_true(isnan(host.card_life_used) && isnan(host.card_written) && isnan(host.disk_free));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_pi_says_how_it_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(newer_kernels_have_a_sensor, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_known_is_not_invented, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
