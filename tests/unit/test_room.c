/* How much of the logs is kept: what goes first, and what goes from the disk. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/logs/os_room.h"

#define KIB 1024
#define NOW_S 1800000000
#define DAY_S 86400

static char root[64];
static bool known = true; /* which instances are not gone */

static int set_up(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/test_room.XXXXXX");
    return mkdtemp(root) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -r %s", root);
    return system(command);
}

static void path_of(const char *name, char path[256])
{
    snprintf(path, 256, "%s/%s", root, name);
}

static void make_folder(const char *name)
{
    char path[256];

    path_of(name, path);
    assert_int_equal(mkdir(path, 0700), 0);
}

/* Of @kib KiB, written last @age_s ago. */
static void make_file(const char *name, int kib, int64_t age_s)
{
    static const char block[KIB] = "2026-01-31T13:37:00.123Z stdout F one\n";
    struct timespec times[2] = {{.tv_sec = NOW_S - age_s}, {.tv_sec = NOW_S - age_s}};
    char path[256];
    int fd;

    path_of(name, path);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    for (int i = 0; i < kib; i++)
        assert_int_equal(write(fd, block, sizeof block), sizeof block);
    assert_int_equal(fsync(fd), 0); /* some file systems count blocks when they are written */
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
}

static bool is_there(const char *name)
{
    char path[256];

    path_of(name, path);
    return access(path, F_OK) == 0;
}

static struct log_room_found make_room(uint64_t max_bytes, int64_t keep_s)
{
    static const char names[][INSTANCE_MAX] = {"waits.0"};
    const struct log_room room = {.max_bytes = max_bytes, .keep_s = keep_s};
    const struct log_room_instances instances = {.known = known, .names = names, .count = 1};
    struct log_room_found found;
    char logs[256];
    char shims[256];
    struct err err;

    path_of("logs", logs);
    path_of("shim", shims);
    if (os_room_make(logs, shims, &room, &instances, NOW_S, &found, &err) != ERR_NONE)
        fail_msg("%s", err.text);
    return found;
}

static void make_instances(void)
{
    make_folder("logs");
    make_folder("shim");
    make_folder("logs/api.0");
    make_folder("shim/api.0");
    make_file("logs/api.0/log", 64, 1);
    make_file("logs/api.0/log.1", 64, 100);
    make_file("logs/api.0/log.2", 64, 300);
    make_folder("logs/gone.0");
    make_file("logs/gone.0/log", 64, 200);
    make_file("logs/gone.0/log.1", 64, 250);
}

static void the_oldest_go_first_whichever_they_are(void **state)
{
    struct log_room_found found;

    (void)state;
    make_instances();
    found = make_room(320 * KIB, DAY_S);
    assert_int_equal(found.bytes, 320 * KIB);
    assert_int_equal(found.removed, 0);
    found = make_room(200 * KIB, DAY_S);
    assert_int_equal(found.removed, 2);
    assert_int_equal(found.removed_bytes, 128 * KIB);
    assert_int_equal(found.bytes, 192 * KIB);
    assert_false(is_there("logs/api.0/log.2") || is_there("logs/gone.0/log.1"));
    assert_true(is_there("logs/api.0/log.1") && is_there("logs/gone.0/log"));
}

static void what_is_written_to_stays(void **state)
{
    struct log_room_found found;

    (void)state;
    make_instances();
    make_file("logs/api.0/other", 64, 1000); /* no log: not ours to remove, nor to count */
    found = make_room(1, DAY_S);
    assert_true(is_there("logs/api.0/log") && is_there("logs/api.0/other"));
    assert_int_equal(found.bytes, 64 * KIB);
    assert_false(is_there("logs/gone.0"));
    assert_int_equal(found.removed_gone, 1);
}

static void what_is_gone_is_kept_for_a_while(void **state)
{
    (void)state;
    make_instances();
    make_folder("logs/quiet.0");
    make_folder("shim/quiet.0");
    make_file("logs/quiet.0/log", 4, 900); /* lives, and has nothing to say */
    make_folder("logs/waits.0");           /* for a dependency: it has no shim yet */
    make_file("logs/waits.0/log", 4, 900);
    make_folder("logs/waits.0_");
    make_file("logs/waits.0_/log", 4, 900);
    assert_int_equal(make_room(0, 300).removed, 0);
    known = false;
    assert_int_equal(make_room(0, 1).removed, 0);
    known = true;
    assert_int_equal(make_room(0, 201).removed, 0); /* its older file is one of the same log */
    assert_int_equal(make_room(0, 199).removed, 2);
    assert_false(is_there("logs/gone.0"));
    assert_true(is_there("logs/api.0/log.2") && is_there("logs/quiet.0/log"));
    assert_true(is_there("logs/waits.0/log") && is_there("logs/waits.0_/log"));
}

static void nothing_there_is_no_error(void **state)
{
    (void)state;
    assert_int_equal(make_room(1, 1).bytes, 0);
    make_folder("logs");
    make_folder("shim");
    make_folder("logs/empty.0");
    assert_int_equal(make_room(1, 1).bytes, 0);
}

static void the_plan_holds_whatever_there_is(void **state)
{
    struct log_file files[200];

    (void)state;
    srand(1);
    for (int round = 0; round < 500; round++) {
        struct log_room room = {.max_bytes = 1 + (uint64_t)rand() % 20000, .keep_s = 50};
        size_t count = (size_t)(rand() % 200);
        uint64_t left = 0;
        int64_t newest_removed = INT64_MIN;
        for (size_t i = 0; i < count; i++)
            files[i] = (struct log_file){.folder = (size_t)rand() % 20,
                                         .present = rand() % 4 == 0,
                                         .bytes = (uint64_t)rand() % 200,
                                         .at_s = rand() % 100};
        for (size_t i = 0; i < count; i++) {
            files[i].gone = files[i].folder % 3 == 0;
            files[i].folder_at_s = 90;
        }
        assert_true(log_room_plan(files, count, &room, 100) <= 200 * 200);
        for (size_t i = 0; i < count; i++) {
            assert_false(files[i].remove && files[i].present && !files[i].gone);
            left += files[i].remove ? 0 : files[i].bytes;
            if (files[i].remove && !files[i].present && files[i].at_s > newest_removed)
                newest_removed = files[i].at_s;
        }
        for (size_t i = 0; i < count; i++) {
            assert_true(files[i].remove || files[i].present || files[i].at_s >= newest_removed);
            /* It stays above the limit for nothing that could have gone. */
            assert_true(left <= room.max_bytes || files[i].remove ||
                        (files[i].present && !files[i].gone));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_oldest_go_first_whichever_they_are, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_written_to_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_gone_is_kept_for_a_while, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_there_is_no_error, set_up, tear_down),
        cmocka_unit_test(the_plan_holds_whatever_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
