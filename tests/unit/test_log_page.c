/* Pages of logs: what a node answers, and how answers become one text. */
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

#include "agent/logs/os_pages.h"

#define NOW 1769866700000 /* 2026-01-31T13:38:20Z */

static char folder[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/test_log_page.XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

/* A line of @instance, @second of the minute. */
static void log_line(const char *instance, int second, const char *text)
{
    char path[192];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", folder, instance);
    (void)mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/%s/log", folder, instance);
    file = fopen(path, "a");
    assert_non_null(file);
    fprintf(file, "2026-01-31T13:37:%02d.000Z stdout F %s\n", second, text);
    assert_int_equal(fclose(file), 0);
}

static char *page_of(const struct log_query *query, struct log_page *page)
{
    char *text;
    size_t size;
    struct err err;

    if (os_pages_make(folder, query, NOW, &text, &size, &err) != ERR_NONE ||
        log_page_read(text, size, page, &err) != ERR_NONE)
        fail_msg("%s", err.text);
    return text;
}

/* Instance and text of each line, each with '|' behind it. */
static void expect_page(const struct log_query *query, const char *wanted)
{
    struct log_page page;
    struct log_page_line line;
    char *text = page_of(query, &page);
    char found[1024] = "";
    size_t used = 0;
    size_t at = 0;

    while (log_page_next(&page, &at, &line) > 0)
        used += (size_t)snprintf(found + used, sizeof found - used, "%s %.*s|",
                                 page.sources[line.source].instance, (int)line.line.len,
                                 line.line.text);
    assert_string_equal(found, wanted);
    free(text);
}

static void a_node_merges_its_instances(void **state)
{
    (void)state;
    log_line("api.0", 1, "a");
    log_line("api.1", 2, "b");
    log_line("api.0", 3, "c");
    log_line("api.1", 4, "error: d");
    log_line("api", 5, "e");
    log_line("apis.0", 1, "no");
    log_line("api.x", 1, "no");
    log_line("api.0.1", 1, "no");
    expect_page(&(struct log_query){.name = "api"},
                "api.0 a|api.1 b|api.0 c|api.1 error: d|api e|");
    expect_page(&(struct log_query){.name = "api", .tail = 3}, "api.0 c|api.1 error: d|api e|");
    expect_page(&(struct log_query){.name = "api.1"}, "api.1 b|api.1 error: d|");
    expect_page(&(struct log_query){.name = "api", .level = LOG_ERROR}, "api.1 error: d|");
    expect_page(&(struct log_query){.name = "api", .since_ms = 1769866623000},
                "api.0 c|api.1 error: d|api e|");
    expect_page(&(struct log_query){.name = "none"}, "");
}

static void a_cursor_goes_on(void **state)
{
    struct log_query query = {.name = "api", .tail = 1, .follow = true};
    struct log_page page;
    char cursor[LOG_CURSOR_MAX] = "";
    const char *part;
    size_t len;

    (void)state;
    log_line("api.0", 1, "a");
    log_line("api.1", 2, "b");
    free(page_of(&query, &page));
    assert_int_equal(log_cursor_add(cursor, "pi1", &page), ERR_NONE);
    assert_int_equal(log_cursor_keep(cursor, "pi2", "", 0), ERR_NONE);
    assert_true(log_cursor_find(cursor, "pi1", &part, &len));
    assert_false(log_cursor_find(cursor, "pi", &part, &len));
    assert_true(log_cursor_find(cursor, "pi1", &part, &len));
    query.resume = true;
    snprintf(query.cursor, sizeof query.cursor, "%.*s", (int)len, part);
    expect_page(&query, "");
    log_line("api.1", 3, "c");
    log_line("api.2", 4, "d"); /* it has come since */
    expect_page(&query, "api.1 c|api.2 d|");
}

static void a_query_comes_back_as_it_was(void **state)
{
    const struct log_query query = {.name = "a/b.0",
                                    .tail = 17,
                                    .since_ms = NOW,
                                    .level = LOG_WARNING,
                                    .follow = true,
                                    .resume = true,
                                    .cursor = "a/b.0:1.2.3"};
    struct log_query back;
    char text[512];
    struct err err;

    (void)state;
    assert_int_equal(log_query_write(&query, text, sizeof text, &err), ERR_NONE);
    assert_int_equal(log_query_read(text, strlen(text), &back, &err), ERR_NONE);
    assert_memory_equal(&back, &query, offsetof(struct log_query, cursor));
    assert_string_equal(back.cursor, query.cursor);
    assert_int_equal(log_query_write(&query, text, 20, &err), ERR_LIMIT);
    assert_int_equal(log_query_read("logs ../x 1 0 0 0 -", 19, &back, &err), ERR_INVALID);
    assert_int_equal(log_query_read("logs api 1 0 99 0 -", 19, &back, &err), ERR_INVALID);
    assert_int_equal(log_query_read("logs api 1", 10, &back, &err), ERR_INVALID);
}

static void what_is_more_than_a_page_comes_in_the_next(void **state)
{
    struct log_query query = {.name = "api"};
    char text[1001];
    int lines = 0;

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < 2500; i++)
        log_line(i % 2 == 0 ? "api.0" : "api.1", i / 50, text);
    for (bool more = true; more;) {
        struct log_page page;
        struct log_page_line line;
        char cursor[LOG_CURSOR_MAX] = "";
        char *whole = page_of(&query, &page);
        const char *part;
        size_t len;
        size_t at = 0;
        assert_true(page.size <= LOG_PAGE_MAX + 2048);
        while (log_page_next(&page, &at, &line) > 0)
            lines++;
        more = page.more;
        assert_int_equal(log_cursor_add(cursor, "pi1", &page), ERR_NONE);
        assert_true(log_cursor_find(cursor, "pi1", &part, &len));
        snprintf(query.cursor, sizeof query.cursor, "%.*s", (int)len, part);
        query.resume = true;
        free(whole);
    }
    assert_int_equal(lines, 2500);
}

static void malformed_pages_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "covey-logs 2\nuntil 1 0 0\n.\n",
        "covey-logs 1\n.\n",
        "covey-logs 1\nuntil 1 0 0\n",
        "covey-logs 1\nuntil 1 0 0 \n.\n",
        "covey-logs 1\nuntil 1 0 0\nsource a 0.0.0\n.\n",
        "covey-logs 1\nuntil 1 0 0\nsource a:b 0.0.0 0.0.0\n.\n",
        "covey-logs 1\nuntil 1 0 0\nsource a 0.0.g 0.0.0\n.\n",
        "covey-logs 1\nuntil 1 0 0\nsource a 0.0.0 0.0.fffffffffffffffff\n.\n",
    };
    const char *lines = "covey-logs 1\nuntil 1 0 0\nsource a 0.0.0 1.2.3\n.\n1 5 0 0 1.2.3 text\n";
    struct log_page page;
    struct log_page_line line;
    struct err err;
    size_t at = 0;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (log_page_read(bad[i], strlen(bad[i]), &page, &err) != ERR_INVALID)
            fail_msg("page %zu was accepted", i);
    assert_int_equal(log_page_read(lines, strlen(lines), &page, &err), ERR_NONE);
    assert_int_equal(log_page_next(&page, &at, &line), -1); /* there is no source 1 */
}

/* ---- merging ---- */

struct merged {
    char text[512];
    size_t used;
};

static void take(void *context, const struct log_answer *answer, const struct log_page_line *line)
{
    struct merged *m = context;

    m->used += (size_t)snprintf(m->text + m->used, sizeof m->text - m->used, "%s %.*s|",
                                answer->node, (int)line->line.len, line->line.text);
}

static void merge(const char *a, const char *b, struct log_merge *how, const char *wanted,
                  uint64_t a_end, uint64_t b_end)
{
    struct log_answer answers[2] = {{.node = "pi1"}, {.node = "pi2"}};
    struct merged merged = {.used = 0};
    struct err err;

    if (log_page_read(a, strlen(a), &answers[0].page, &err) != ERR_NONE ||
        log_page_read(b, strlen(b), &answers[1].page, &err) != ERR_NONE)
        fail_msg("%s", err.text);
    log_merge(answers, 2, how, take, &merged);
    assert_string_equal(merged.text, wanted);
    assert_int_equal(answers[0].page.sources[0].end.offset, a_end);
    assert_int_equal(answers[1].page.sources[0].end.offset, b_end);
}

#define PAGE(until, more) "covey-logs 1\nuntil " until " " more " 0\nsource s.0 1.1.10 1.1.99\n.\n"

static void nodes_are_merged_by_time(void **state)
{
    struct log_merge how = {.follow = false};

    (void)state;
    merge(PAGE("9000", "0") "0 1000 0 0 1.1.20 a\n0 3000 0 0 1.1.30 c\n",
          PAGE("9000", "0") "0 2000 0 0 1.1.20 b\n0 9500 0 0 1.1.30 d\n", &how,
          "pi1 a|pi2 b|pi1 c|pi2 d|", 0x99, 0x99);
    assert_false(how.more);
    how.tail = 2;
    merge(PAGE("9000", "0") "0 1000 0 0 1.1.20 a\n0 3000 0 0 1.1.30 c\n",
          PAGE("9000", "0") "0 2000 0 0 1.1.20 b\n", &how, "pi2 b|pi1 c|", 0x99, 0x99);
}

static void who_follows_gets_nothing_too_early(void **state)
{
    struct log_merge how = {.follow = true};

    (void)state;
    /* pi2 may still write a line of 5000. */
    merge(PAGE("6000", "0") "0 4000 0 0 1.1.20 a\n0 5500 0 0 1.1.30 c\n", PAGE("5000", "0"), &how,
          "pi1 a|", 0x20, 0x99);
    /* Its clock is behind by more than what is waited for. */
    merge(PAGE("9000", "0") "0 4000 0 0 1.1.20 a\n0 5500 0 0 1.1.30 c\n", PAGE("5000", "0"), &how,
          "pi1 a|pi1 c|", 0x99, 0x99);
    /* There is more, and it is older. */
    merge(PAGE("9000", "0") "0 8000 0 0 1.1.20 z\n",
          PAGE("5000", "1") "0 4000 0 0 1.1.20 a\n0 5000 0 0 1.1.30 b\n", &how, "pi2 a|pi2 b|",
          0x10, 0x99);
    assert_true(how.more);
    /* A clock that was set back: the order within an instance stays, and nothing is held for ever.
     */
    merge(PAGE("6000", "0") "0 9000 0 0 1.1.20 a\n0 5900 0 0 1.1.30 b\n", PAGE("6000", "0"), &how,
          "pi1 a|", 0x20, 0x99);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_node_merges_its_instances, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cursor_goes_on, set_up, tear_down),
        cmocka_unit_test(a_query_comes_back_as_it_was),
        cmocka_unit_test_setup_teardown(what_is_more_than_a_page_comes_in_the_next, set_up,
                                        tear_down),
        cmocka_unit_test(malformed_pages_are_refused),
        cmocka_unit_test(nodes_are_merged_by_time),
        cmocka_unit_test(who_follows_gets_nothing_too_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
