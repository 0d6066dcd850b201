/* The last lines of a log, as a shim writes it. */
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

#include "agent/logs/os_tail.h"

#define T "2026-01-31T13:37:00.123Z "

struct logs {
    char folder[64];
    char instance[96];
};

static int set_up(void **state)
{
    struct logs *logs = calloc(1, sizeof *logs);

    if (logs == NULL)
        return -1;
    snprintf(logs->folder, sizeof logs->folder, "/tmp/test_tail.XXXXXX");
    if (mkdtemp(logs->folder) == NULL)
        return -1;
    snprintf(logs->instance, sizeof logs->instance, "%s/api.0", logs->folder);
    *state = logs;
    return mkdir(logs->instance, 0700);
}

static int tear_down(void **state)
{
    struct logs *logs = *state;
    char path[128];

    snprintf(path, sizeof path, "%s/log", logs->instance);
    (void)unlink(path);
    snprintf(path, sizeof path, "%s/log.1", logs->instance);
    (void)unlink(path);
    (void)rmdir(logs->instance);
    (void)rmdir(logs->folder);
    free(logs);
    return 0;
}

static FILE *open_log(const struct logs *logs, const char *name)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", logs->instance, name);
    file = fopen(path, "w");
    assert_non_null(file);
    return file;
}

static void write_log(const struct logs *logs, const char *name, const char *text)
{
    FILE *file = open_log(logs, name);

    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void expect(const struct logs *logs, size_t lines, const char *wanted)
{
    char *text = NULL;
    size_t size = 0;
    struct err err;

    if (os_tail(logs->folder, "api.0", lines, &text, &size, &err) != ERR_NONE)
        fail_msg("%s", err.text);
    assert_int_equal(size, strlen(text));
    assert_string_equal(text, wanted);
    free(text);
}

static void the_last_lines_come_with_their_instance(void **state)
{
    write_log(*state, "log", T "stdout F one\n" T "stderr F two\n" T "stdout F three\n");
    expect(*state, 2, T "api.0 stderr two\n" T "api.0 stdout three\n");
    expect(*state, 3, T "api.0 stdout one\n" T "api.0 stderr two\n" T "api.0 stdout three\n");
    expect(*state, 0, T "api.0 stdout one\n" T "api.0 stderr two\n" T "api.0 stdout three\n");
}

static void what_is_missing_comes_from_the_rotated_file(void **state)
{
    write_log(*state, "log.1", T "stdout F one\n" T "stdout F two\n");
    write_log(*state, "log", T "stdout F three\n");
    expect(*state, 1, T "api.0 stdout three\n");
    expect(*state, 2, T "api.0 stdout two\n" T "api.0 stdout three\n");
    expect(*state, 9, T "api.0 stdout one\n" T "api.0 stdout two\n" T "api.0 stdout three\n");
}

static void a_split_line_is_joined_within_its_stream(void **state)
{
    write_log(*state, "log", T "stdout P abc\n" T "stdout F def\n");
    expect(*state, 9, T "api.0 stdout abcdef\n");
    write_log(*state, "log", T "stdout P abc\n" T "stderr F xyz\n" T "stdout F def\n");
    expect(*state, 9, T "api.0 stdout abc\n" T "api.0 stderr xyz\n" T "api.0 stdout def\n");
    write_log(*state, "log", T "stdout P abc\n");
    expect(*state, 9, T "api.0 stdout abc\n");
}

static void control_characters_do_not_reach_a_terminal(void **state)
{
    write_log(*state, "log", T "stdout F \033[31mred\tx\r\n");
    expect(*state, 9, T "api.0 stdout ?[31mred\tx?\n");
}

static void what_is_no_frame_is_left_out(void **state)
{
    write_log(*state, "log", "garbage\n\n" T "stdout F one\n" T "stdout F");
    expect(*state, 9, T "api.0 stdout one\n");
}

/* A file of which only the end is read begins in the middle of a frame; and what stands in the
 * rotated one does not follow. */
static void a_large_file_begins_with_a_whole_frame(void **state)
{
    static const char frame[] = T "stdout F a line of some length, as many as there are\n";
    FILE *file = open_log(*state, "log");
    char *text = NULL;
    size_t size = 0;
    struct err err;

    for (size_t i = 0; i < TAIL_BYTES_MAX / sizeof frame; i++)
        fputs(frame, file);
    assert_int_equal(fclose(file), 0);
    write_log(*state, "log.1", T "stdout F older\n");
    assert_int_equal(os_tail(((struct logs *)*state)->folder, "api.0", 0, &text, &size, &err),
                     ERR_NONE);
    assert_true(size > 100000 && size <= TAIL_BYTES_MAX);
    assert_memory_equal(text, T "api.0 stdout a line", strlen(T "api.0 stdout a line"));
    assert_null(strstr(text, "older"));
    free(text);
}

static void names_and_missing_logs_are_refused(void **state)
{
    const struct logs *logs = *state;
    char *text = NULL;
    size_t size = 0;
    struct err err;

    assert_int_equal(os_tail(logs->folder, "api.0", 5, &text, &size, &err), ERR_NOTFOUND);
    assert_int_equal(os_tail(logs->folder, "../api.0", 5, &text, &size, &err), ERR_INVALID);
    assert_int_equal(os_tail(logs->folder, "", 5, &text, &size, &err), ERR_INVALID);
    assert_null(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_last_lines_come_with_their_instance),
        TEST(what_is_missing_comes_from_the_rotated_file),
        TEST(a_split_line_is_joined_within_its_stream),
        TEST(control_characters_do_not_reach_a_terminal),
        TEST(what_is_no_frame_is_left_out),
        TEST(a_large_file_begins_with_a_whole_frame),
        TEST(names_and_missing_logs_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
