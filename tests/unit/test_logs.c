/* One instance's log: frames, levels, and reading it while it is rotated. */
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

#include "agent/logs/os_reader.h"

#define T "2026-01-31T13:37:00.123Z "
#define T_MS 1769866620123

struct logs {
    char folder[64];
    char instance[96];
};

static int set_up(void **state)
{
    struct logs *logs = calloc(1, sizeof *logs);

    if (logs == NULL)
        return -1;
    snprintf(logs->folder, sizeof logs->folder, "/tmp/test_logs.XXXXXX");
    if (mkdtemp(logs->folder) == NULL)
        return -1;
    snprintf(logs->instance, sizeof logs->instance, "%s/api.0", logs->folder);
    *state = logs;
    return mkdir(logs->instance, 0700);
}

static void path_of(const struct logs *logs, const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", logs->instance, name);
}

static int tear_down(void **state)
{
    static const char *const names[] = {"log", "log.1", "log.2"};
    struct logs *logs = *state;
    char path[128];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        path_of(logs, names[i], path);
        (void)unlink(path);
    }
    (void)rmdir(logs->instance);
    (void)rmdir(logs->folder);
    free(logs);
    return 0;
}

static void append(const struct logs *logs, const char *name, const char *text)
{
    char path[128];
    FILE *file;

    path_of(logs, name, path);
    file = fopen(path, "a");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void rotate(const struct logs *logs)
{
    char from[128];
    char to[128];

    path_of(logs, "log.1", from);
    path_of(logs, "log.2", to);
    (void)rename(from, to);
    path_of(logs, "log", from);
    path_of(logs, "log.1", to);
    assert_int_equal(rename(from, to), 0);
}

static struct log_reader *open_log(const struct logs *logs, struct log_filter filter)
{
    struct log_reader *reader;
    struct err err;

    if (log_reader_open(logs->folder, "api.0", &filter, UINT64_MAX, &reader, &err) != ERR_NONE)
        fail_msg("%s", err.text);
    return reader;
}

/* Reads on and compares: texts, each with '|' behind it. */
static void expect(struct log_reader *reader, const char *wanted)
{
    char text[512] = "";
    size_t used = 0;

    for (; log_reader_state(reader) == LOG_LINE; log_reader_next(reader)) {
        const struct log_line *line = log_reader_line(reader);
        used +=
            (size_t)snprintf(text + used, sizeof text - used, "%.*s|", (int)line->len, line->text);
    }
    assert_string_equal(text, wanted);
}

static void expect_from(const struct logs *logs, struct log_position *at, const char *wanted,
                        bool found)
{
    struct log_reader *reader = open_log(logs, (struct log_filter){.whole = true});

    assert_int_equal(log_reader_seek(reader, at), found);
    expect(reader, wanted);
    log_reader_position(reader, at);
    log_reader_close(reader);
}

static void expect_tail(const struct logs *logs, struct log_filter filter, size_t lines,
                        const char *wanted)
{
    struct log_reader *reader = open_log(logs, filter);

    log_reader_seek_tail(reader, lines);
    expect(reader, wanted);
    log_reader_close(reader);
}

/* ---- frames ---- */

static void a_frame_is_read(void **state)
{
    const char *text = T "stderr P half a line";
    struct log_frame frame;
    char time[LOG_STAMP + 1];

    (void)state;
    assert_true(log_frame_read(text, strlen(text), &frame));
    assert_int_equal(frame.time_ms, T_MS);
    assert_int_equal(frame.stream, LOG_STDERR);
    assert_true(frame.part);
    assert_int_equal(frame.len, strlen("half a line"));
    assert_memory_equal(frame.text, "half a line", frame.len);
    log_time_write(T_MS, time);
    assert_string_equal(time, "2026-01-31T13:37:00.123Z");
}

static void what_is_no_frame_is_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "garbage",
                                      T,
                                      T "stdout",
                                      T "stdout F",
                                      T "stdout X a",
                                      T "other F a",
                                      "2026-13-31T13:37:00.123Z stdout F a",
                                      "2026-01-31 13:37:00.123Z stdout F a"};
    struct log_frame frame;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (log_frame_read(bad[i], strlen(bad[i]), &frame))
            fail_msg("\"%s\" was taken for a frame", bad[i]);
}

static void a_line_says_how_grave_it_is(void **state)
{
    static const struct {
        const char *text;
        enum log_level level;
    } lines[] = {
        {"{\"level\":\"warn\",\"msg\":\"a\"}", LOG_WARNING},
        {"{\"time\":1,\"severity\":\"ERROR\"}", LOG_ERROR},
        {"{\"level\":50}", LOG_ERROR},
        {"{\"level\":7000}", 0},
        {"{\"level\":\"loud\"}", 0},
        {"{\"deep\":{\"level\":\"error\"}}", 0},
        {"{\"level\":\"error\"", 0}, /* cut: no JSON */
        {"<3>disk is full", LOG_ERROR},
        {"ts=1 level=debug msg=x", LOG_DEBUG},
        {"lvl=\"crit\" x", LOG_FATAL},
        {"nolevel=debug", 0},
        {"2026-01-31 13:37:00.123 UTC [42] LOG:  checkpoint", LOG_INFO},
        {"2026-01-31 13:37:00.123 UTC [42] FATAL:  no", LOG_FATAL},
        {"2026-01-31 13:37:00.123 [warning] <0.1.0> memory", LOG_WARNING},
        {"error: cannot open", LOG_ERROR},
        {"ERROR cannot open", LOG_ERROR},
        {"an error of mine", 0},
        {"Informational", 0},
        {"", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (log_level_of(lines[i].text, strlen(lines[i].text)) != lines[i].level)
            fail_msg("\"%s\" is taken for %s", lines[i].text,
                     log_level_name(log_level_of(lines[i].text, strlen(lines[i].text))));
    assert_int_equal(log_level_find("Warn", 4), LOG_WARNING);
    assert_int_equal(log_level_find("warnings", 8), 0);
}

/* ---- reading ---- */

static void it_goes_on_over_rotations(void **state)
{
    struct log_position at = {0};

    append(*state, "log", T "stdout F one\n" T "stdout F two\n");
    expect_from(*state, &at, "one|two|", true);
    expect_from(*state, &at, "", true);
    append(*state, "log", T "stdout F three\n");
    rotate(*state);
    append(*state, "log", T "stdout F four\n");
    expect_from(*state, &at, "three|four|", true);
    rotate(*state);
    expect_from(*state, &at, "", true); /* while there is no "log" */
    append(*state, "log", T "stdout F five\n");
    expect_from(*state, &at, "five|", true);
}

static void what_was_removed_unread_is_noticed(void **state)
{
    struct log_position at = {0};
    char path[128];

    append(*state, "log", T "stdout F one\n");
    expect_from(*state, &at, "one|", true);
    append(*state, "log", T "stdout F lost\n");
    rotate(*state);
    append(*state, "log", "2026-01-31T13:37:01.000Z stdout F kept\n");
    path_of(*state, "log.1", path);
    assert_int_equal(unlink(path), 0);
    expect_from(*state, &at, "kept|", false);
}

static void another_file_of_the_same_inode_is_another(void **state)
{
    struct log_position at = {0};
    char path[128];

    append(*state, "log", T "stdout F one\n");
    expect_from(*state, &at, "one|", true);
    path_of(*state, "log", path);
    assert_int_equal(truncate(path, 0), 0);
    append(*state, "log", "2026-01-31T13:38:00.000Z stdout F other and longer\n");
    expect_from(*state, &at, "other and longer|", false);
}

static void a_frame_that_is_being_written_waits(void **state)
{
    struct log_position at = {0};

    append(*state, "log", T "stdout F one\n" T "stdout F tw");
    expect_from(*state, &at, "one|", true);
    append(*state, "log", "o\n");
    expect_from(*state, &at, "two|", true);
}

static void split_lines_are_joined(void **state)
{
    struct log_position at = {0};

    append(*state, "log", T "stdout P abc\n" T "stdout F def\n");
    expect_from(*state, &at, "abcdef|", true);
    append(*state, "log", T "stdout P abc\n");
    expect_from(*state, &at, "", true); /* its end will come */
    expect_tail(*state, (struct log_filter){0}, 1, "abc|");
    append(*state, "log", T "stderr F xyz\n" T "stdout F def\n");
    expect_from(*state, &at, "abc|xyz|def|", true);
}

static void the_last_lines_come_from_older_files_too(void **state)
{
    append(*state, "log.2", T "stdout F one\n" T "stdout F two\n");
    append(*state, "log.1", T "stdout F three\n");
    append(*state, "log", T "stdout F four\n");
    expect_tail(*state, (struct log_filter){0}, 1, "four|");
    expect_tail(*state, (struct log_filter){0}, 3, "two|three|four|");
    expect_tail(*state, (struct log_filter){0}, 99, "one|two|three|four|");
}

static void the_last_lines_are_those_that_match(void **state)
{
    append(*state, "log", T "stdout F error: one\n" T "stdout F two\n" T "stdout F error: three\n");
    for (int i = 0; i < 9000; i++)
        append(*state, "log", T "stdout F a line that says nothing of its level, and is long\n");
    expect_tail(*state, (struct log_filter){.level = LOG_ERROR}, 1, "error: three|");
    expect_tail(*state, (struct log_filter){.level = LOG_ERROR}, 5, "error: one|error: three|");
}

static void a_time_is_found_without_reading_all(void **state)
{
    struct log_reader *reader;
    char line[128];
    int64_t since = T_MS + 150000LL * 1000;

    for (int i = 0; i < 200000; i++) {
        char time[LOG_STAMP + 1];
        log_time_write(T_MS + i * 1000LL, time);
        snprintf(line, sizeof line, "%s stdout F %d\n", time, i);
        if (i % 100000 == 0 && i > 0)
            rotate(*state);
        if (i < 100 || i > 149900) /* elsewhere long lines would cost time to write */
            append(*state, "log", line);
    }
    reader = open_log(*state, (struct log_filter){.since_ms = since});
    log_reader_seek_since(reader);
    assert_int_equal(log_reader_state(reader), LOG_LINE);
    assert_int_equal(log_reader_line(reader)->time_ms, since);
    log_reader_close(reader);
}

static void expect_previous(const struct logs *logs, const char *wanted)
{
    struct log_reader *reader = open_log(logs, (struct log_filter){0});

    log_reader_seek_previous(reader);
    expect(reader, wanted);
    log_reader_close(reader);
}

static void the_run_that_ended_last_is_found(void **state)
{
    struct log_position at = {0};
    struct log_reader *reader;

    expect_previous(*state, "");
    append(*state, "log", T "stdout F one\n");
    expect_previous(*state, ""); /* it runs */
    append(*state, "log", T "stderr P cut\n" T "run F code 1\n");
    expect_previous(*state, "one|cut|"); /* it waits for its next start */
    append(*state, "log", T "stdout F two\n");
    rotate(*state);
    append(*state, "log", T "stdout F three\n" T "run F signal 9\n" T "stdout F four\n");
    expect_previous(*state, "two|three|");
    expect_from(*state, &at, "one|cut|two|three|four|", true); /* ends are no lines */
    /* Whoever reads it in parts goes on to its end, and not beyond. */
    reader = open_log(*state, (struct log_filter){0});
    log_reader_seek_previous(reader);
    log_reader_behind(reader, &at);
    log_reader_close(reader);
    reader = open_log(*state, (struct log_filter){0});
    log_reader_seek_previous(reader);
    assert_true(log_reader_seek(reader, &at));
    expect(reader, "three|");
    log_reader_close(reader);
}

static void an_empty_log_is_no_error(void **state)
{
    struct log_position at = {0};
    struct log_filter none = {0};
    struct log_reader *reader;
    struct err err;
    const struct logs *logs = *state;

    expect_from(*state, &at, "", true);
    append(*state, "log", "");
    expect_from(*state, &at, "", true);
    append(*state, "log", "garbage\n" T "stdout F one\n");
    expect_from(*state, &at, "one|", true);
    assert_int_equal(log_reader_open(logs->folder, "gone.0", &none, 1, &reader, &err), ERR_NONE);
    log_reader_seek(reader, &at);
    log_reader_close(reader);
    assert_int_equal(log_reader_open(logs->folder, "../etc", &none, 1, &reader, &err), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_is_read),
        cmocka_unit_test(what_is_no_frame_is_refused),
        cmocka_unit_test(a_line_says_how_grave_it_is),
        cmocka_unit_test_setup_teardown(it_goes_on_over_rotations, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_removed_unread_is_noticed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_file_of_the_same_inode_is_another, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_frame_that_is_being_written_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(split_lines_are_joined, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_last_lines_come_from_older_files_too, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_last_lines_are_those_that_match, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_time_is_found_without_reading_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_run_that_ended_last_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_empty_log_is_no_error, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
