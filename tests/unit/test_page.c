/* The status page as text: what a browser makes of it is for tests/e2e. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/web/html.h"
#include "agent/web/page.h"
#include "tests/lib/status_fixture.h"

#define SIZE_MAX_ALL 61440 /* page and assets together */

static long allocations_left = -1; /* until one fails; −1: none does */

void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size)
{
    if (allocations_left == 0)
        return NULL;
    if (allocations_left > 0)
        allocations_left--;
    return __real_realloc(old, size);
}

static char *render(const char *scenario, size_t *size)
{
    struct status_fixture f;
    char *html = NULL;

    assert_true(status_fixture(scenario, &f));
    assert_int_equal(page_render(f.outside ? NULL : &f.status, f.status.self_name, f.events,
                                 f.event_count, &html, size),
                     ERR_NONE);
    assert_int_equal(strlen(html), *size);
    return html;
}

static size_t count(const char *html, const char *what)
{
    size_t n = 0;

    for (const char *at = html; (at = strstr(at, what)) != NULL; at += strlen(what))
        n++;
    return n;
}

static void expect_all(const char *scenario, const char *const *texts)
{
    size_t size;
    char *html = render(scenario, &size);

    for (; *texts != NULL; texts++)
        if (strstr(html, *texts) == NULL)
            fail_msg("%s: \"%s\" is missing", scenario, *texts);
    free(html);
}

static void says_everything(void **state)
{
    static const char *const healthy[] = {
        "<p class=\"health\">Healthy</p>",
        "<h1>All good: 2 nodes, 4 workloads (1 off), 1 address</h1>",
        "<title>Healthy: All good: 2 nodes, 4",
        "10.77.0.12:8801",
        "3 ms",
        "10.77.0.210",
        "web: two replicas of rest-api",
        "title=\"3f2a91c0d45be7781f02c6a9e1b3d5f708192a3b\"",
        "applied by every living node",
        "<b>2 of 2</b> ready",
        "<b>smartbiz-api</b> <code>apps/smartbiz/smartbiz.yaml</code>",
        "rest-api.1",
        "href=\"http://10.77.0.12:8000/\"",
        "* * * * *",
        "next run <time datetime=\"2026-11-22T17:03:00Z\" "
        "title=\"2026-11-22 17:03:00 UTC\">in 18 s</time>",
        "did not answer for 2 s; it answers again",
        NULL};
    static const char *const degraded[] = {"<p class=\"health\">Failed</p>",
                                           "held by nobody",
                                           "lost with its node",
                                           "backing off",
                                           "ended by signal 11 after 3 s; the next start in 32 s",
                                           "exit 139",
                                           "<b>1 of 2</b> ready",
                                           "newest commit refused",
                                           "expected a number from 0 to 256",
                                           "no answer",
                                           "waiting for k3s",
                                           "apps/grafana/grafana.yaml:1",
                                           NULL};
    static const char *const empty[] = {"Nothing was pushed yet", "Nothing to run yet",
                                        "No virtual address is asked for", NULL};
    static const char *const outside[] = {"This node is in no flock yet",
                                          "agentctl init",
                                          "agentctl join TOKEN",
                                          "agentd 0.1.0 started",
                                          ">2026-11-22 17:02:39 UTC</time>",
                                          NULL};
    static const char *const crowd[] = {"9 more nodes stand in the table",
                                        "the-raspberry…",
                                        "fd77::10",
                                        "witness",
                                        "draining",
                                        "2 addresses",
                                        "pending: the pool has no free address",
                                        NULL};

    (void)state;
    expect_all("healthy", healthy);
    expect_all("degraded", degraded);
    expect_all("empty", empty);
    expect_all("outside", outside);
    expect_all("crowd", crowd);
}

static void text_is_never_markup(void **state)
{
    size_t size;
    char *html = render("hostile", &size);

    (void)state;
    assert_int_equal(count(html, "<script"), 1); /* our own, of app.js */
    assert_int_equal(count(html, "<img"), 1);
    assert_true(count(html, "&lt;script&gt;document.title=&#39;pwned&#39;&lt;/script&gt;") > 10);
    assert_true(count(html, "http&quot;&gt;&lt;script") > 0);
    free(html);
}

static void every_tag_is_closed(void **state)
{
    static const char *const names[] = {"healthy", "degraded", "empty",
                                        "outside", "crowd",    "hostile"};
    static const char *const tags[] = {"section", "div", "table", "tbody", "tr", "td",   "ul",
                                       "ol",      "li",  "svg",   "g",     "h2", "span", "time",
                                       "article", "p",   "dl",    "code",  "b",  "main", "header"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t size;
        char *html = render(names[i], &size);
        for (size_t t = 0; t < sizeof tags / sizeof tags[0]; t++) {
            char bare[16], with[16], end[16];
            snprintf(bare, sizeof bare, "<%s>", tags[t]);
            snprintf(with, sizeof with, "<%s ", tags[t]);
            snprintf(end, sizeof end, "</%s>", tags[t]);
            assert_int_equal(count(html, bare) + count(html, with), count(html, end));
        }
        free(html);
    }
}

static void it_is_small(void **state)
{
    static const char *const paths[] = {"/style.css", "/app.js", "/icon.svg"};
    size_t size;
    size_t all;

    (void)state;
    free(render("degraded", &all));
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        const struct page_asset *asset = page_asset(paths[i]);
        assert_non_null(asset);
        assert_true(asset->size > 100);
        assert_string_equal(asset->headers[0], "ETag");
        assert_string_equal(asset->headers[1], asset->etag);
        assert_int_equal(asset->etag[0], '"');
        all += asset->size;
    }
    assert_true(all <= SIZE_MAX_ALL);
    assert_null(page_asset("/style.css/"));
    assert_null(page_asset("/"));
    free(render("crowd", &size));
}

static void policy_is_strict(void **state)
{
    const char *const *headers = page_headers();

    (void)state;
    assert_string_equal(headers[0], "Content-Security-Policy");
    assert_non_null(strstr(headers[1], "default-src 'none'"));
    assert_non_null(strstr(headers[1], "frame-ancestors 'none'"));
    assert_null(strstr(headers[1], "unsafe"));
    assert_null(strchr(headers[1], '*'));
}

static void events_are_bounded(void **state)
{
    static struct page_event events[PAGE_EVENTS_MAX + 10];
    char *html;
    size_t size;

    (void)state;
    for (size_t i = 0; i < PAGE_EVENTS_MAX + 10; i++)
        events[i] = (struct page_event){1000 + (int64_t)i, "info", "pi1", "something"};
    assert_int_equal(page_render(NULL, "pi1", events, PAGE_EVENTS_MAX + 10, &html, &size),
                     ERR_NONE);
    assert_int_equal(count(html, "something</span>"), PAGE_EVENTS_MAX);
    free(html);
}

static void memory_runs_out(void **state)
{
    struct status_fixture f;
    char *html = NULL;
    size_t size;
    long n = 0;
    int rc;

    (void)state;
    assert_true(status_fixture("crowd", &f));
    do {
        allocations_left = n++;
        rc = page_render(&f.status, "pi1", f.events, f.event_count, &html, &size);
        assert_true(rc == ERR_NONE || rc == ERR_NOMEM);
    } while (rc != ERR_NONE && n < 100);
    allocations_left = -1;
    assert_int_equal(rc, ERR_NONE);
    assert_true(n > 1);
    free(html);
}

/* ---- the writer ---- */

static void expect_time(int64_t now, int64_t at, const char *words)
{
    struct html html = {0};
    char expected[64];

    html_time(&html, now, at, "never");
    assert_non_null(html.data);
    snprintf(expected, sizeof expected, ">%s</time>", words);
    if (strstr(html.data, expected) == NULL)
        fail_msg("expected %s: %s", expected, html.data);
    free(html.data);
}

static void words_of_time(void **state)
{
    const int64_t now = STATUS_FIXTURE_NOW;
    struct html html = {0};

    (void)state;
    expect_time(now, now, "now");
    expect_time(now, now - 1, "1 s ago");
    expect_time(now, now - 59, "59 s ago");
    expect_time(now, now - 60, "1 min ago");
    expect_time(now, now - 3599, "59 min ago");
    expect_time(now, now - 3600, "1 h ago");
    expect_time(now, now - 172799, "47 h ago");
    expect_time(now, now - 172800, "2 days ago");
    expect_time(now, now + 40, "in 40 s");
    expect_time(0, now, "2026-11-22 17:02:42 UTC");
    html_time(&html, now, 0, "never");
    assert_string_equal(html.data, "never");
    free(html.data);
}

static void values_are_escaped(void **state)
{
    const char *volatile nothing = NULL; /* else the compiler knows better */
    struct html html = {0};

    (void)state;
    html_put(&html, "<i title=\"%s\">%s%s</i> %d %u %zu 100%%", "a\"b", "<&>'", nothing, -3,
             4000000000u, (size_t)7);
    assert_string_equal(html.data,
                        "<i title=\"a&quot;b\">&lt;&amp;&gt;&#39;</i> -3 4000000000 7 100%");
    free(html.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_everything),     cmocka_unit_test(text_is_never_markup),
        cmocka_unit_test(every_tag_is_closed), cmocka_unit_test(it_is_small),
        cmocka_unit_test(policy_is_strict),    cmocka_unit_test(events_are_bounded),
        cmocka_unit_test(memory_runs_out),     cmocka_unit_test(words_of_time),
        cmocka_unit_test(values_are_escaped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
