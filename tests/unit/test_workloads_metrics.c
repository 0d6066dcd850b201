/* The registry of metrics, its text format and the text file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "workloads/lib/metrics.h"
#include "workloads/lib/textfile.h"

static int setup(void **state)
{
    struct metrics *metrics;
    int rc = metrics_new(&metrics, NULL);
    *state = metrics;
    return rc;
}

static int teardown(void **state)
{
    metrics_free(*state);
    return 0;
}

static struct metric_family *declare(struct metrics *metrics, const struct metric_spec *spec)
{
    struct metric_family *family;
    assert_int_equal(metrics_family(metrics, spec, &family, NULL), ERR_NONE);
    return family;
}

static void assert_rendered(struct metrics *metrics, const char *expected)
{
    struct out o;

    out_init(&o, NULL, 0, METRICS_TEXT_MAX);
    metrics_render(metrics, &o);
    out_char(&o, '\0');
    assert_false(o.failed);
    assert_string_equal(o.data, expected);
    out_free(&o);
}

static void counters_and_gauges_are_written(void **state)
{
    static const char *const labels[] = {"method", "status", NULL};
    struct metric_family *requests =
        declare(*state, &(struct metric_spec){METRIC_COUNTER, "requests_total", "Requests", labels,
                                              NULL, 0});
    struct metric_family *load =
        declare(*state, &(struct metric_spec){METRIC_GAUGE, "load", "Load", NULL, NULL, 0});
    const char *const get[] = {"GET", "200"};
    const char *const post[] = {"POST", "201"};

    metric_add(metric_with(requests, get), 1);
    metric_add(metric_with(requests, post), 3);
    metric_add(metric_with(requests, get), 1);
    assert_ptr_equal(metric_with(requests, get), metric_with(requests, get));
    metric_set(metric_of(load), 0.1);
    assert_rendered(*state, "# HELP requests_total Requests\n"
                            "# TYPE requests_total counter\n"
                            "requests_total{method=\"GET\",status=\"200\"} 2\n"
                            "requests_total{method=\"POST\",status=\"201\"} 3\n"
                            "# HELP load Load\n"
                            "# TYPE load gauge\n"
                            "load 0.1\n");
}

static void histograms_are_cumulative(void **state)
{
    static const char *const labels[] = {"op", NULL};
    static const double bounds[] = {0.1, 1};
    struct metric *m =
        metric_with(declare(*state, &(struct metric_spec){METRIC_HISTOGRAM, "d_seconds", "D",
                                                          labels, bounds, 2}),
                    (const char *const[]){"read"});

    metric_observe(m, 0.1); /* a bound belongs to its bucket */
    metric_observe(m, 0.5);
    metric_observe(m, 0.75);
    metric_observe(m, 100);
    assert_rendered(*state, "# HELP d_seconds D\n"
                            "# TYPE d_seconds histogram\n"
                            "d_seconds_bucket{op=\"read\",le=\"0.1\"} 1\n"
                            "d_seconds_bucket{op=\"read\",le=\"1\"} 3\n"
                            "d_seconds_bucket{op=\"read\",le=\"+Inf\"} 4\n"
                            "d_seconds_sum{op=\"read\"} 101.35\n"
                            "d_seconds_count{op=\"read\"} 4\n");
}

static void texts_are_escaped(void **state)
{
    static const char *const labels[] = {"path", NULL};
    struct metric_family *family =
        declare(*state, &(struct metric_spec){METRIC_GAUGE, "x", "back\\slash \"quote\"\nline",
                                              labels, NULL, 0});

    metric_set(metric_with(family, (const char *const[]){"a\\b\"c\nd"}), 1);
    assert_rendered(*state, "# HELP x back\\\\slash \"quote\"\\nline\n"
                            "# TYPE x gauge\n"
                            "x{path=\"a\\\\b\\\"c\\nd\"} 1\n");
}

static void values_that_look_alike_when_joined_are_different_series(void **state)
{
    static const char *const labels[] = {"a", "b", NULL};
    struct metric_family *family =
        declare(*state, &(struct metric_spec){METRIC_GAUGE, "x", "X", labels, NULL, 0});

    assert_ptr_not_equal(metric_with(family, (const char *const[]){"1\",b=\"2", ""}),
                         metric_with(family, (const char *const[]){"1", "2"}));
}

static void numbers_read_back_as_themselves(void **state)
{
    static const double values[] = {0.1,        1.0 / 3,       1e300, -2.5e-7, 9007199254740993.0,
                                    1e15 + 0.5, 123456789.125, 5e-324};
    struct metric *m =
        metric_of(declare(*state, &(struct metric_spec){METRIC_GAUGE, "x", "X", NULL, NULL, 0}));

    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct out o;
        metric_set(m, values[i]);
        out_init(&o, NULL, 0, METRICS_TEXT_MAX);
        metrics_render(*state, &o);
        out_char(&o, '\0');
        assert_true(strtod(strstr(o.data, "\nx ") + 3, NULL) == values[i]);
        out_free(&o);
    }
    metric_set(m, INFINITY);
    assert_rendered(*state, "# HELP x X\n# TYPE x gauge\nx +Inf\n");
    metric_set(m, -INFINITY);
    assert_rendered(*state, "# HELP x X\n# TYPE x gauge\nx -Inf\n");
    metric_set(m, NAN);
    assert_rendered(*state, "# HELP x X\n# TYPE x gauge\nx NaN\n");
}

static void what_the_format_forbids_is_refused(void **state)
{
    static const char *const le[] = {"le", NULL};
    static const char *const reserved[] = {"__name", NULL};
    static const char *const colon[] = {"a:b", NULL};
    static const char *const many[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", NULL};
    static const double falling[] = {1, 0.5};
    static const double endless[] = {1, INFINITY};
    static const double one[] = {1};
    static const struct {
        struct metric_spec spec;
        int rc;
    } cases[] = {
        {{METRIC_COUNTER, "", "", NULL, NULL, 0}, ERR_INVALID},
        {{METRIC_COUNTER, "1st", "", NULL, NULL, 0}, ERR_INVALID},
        {{METRIC_COUNTER, "a-b", "", NULL, NULL, 0}, ERR_INVALID},
        {{METRIC_HISTOGRAM, "h", "", le, one, 1}, ERR_INVALID},
        {{METRIC_GAUGE, "g", "", reserved, NULL, 0}, ERR_INVALID},
        {{METRIC_GAUGE, "g", "", colon, NULL, 0}, ERR_INVALID},
        {{METRIC_GAUGE, "g", "", many, NULL, 0}, ERR_LIMIT},
        {{METRIC_HISTOGRAM, "h", "", NULL, falling, 2}, ERR_INVALID},
        {{METRIC_HISTOGRAM, "h", "", NULL, endless, 2}, ERR_INVALID},
        {{METRIC_HISTOGRAM, "h", "", NULL, NULL, 0}, ERR_INVALID},
        {{METRIC_COUNTER, "c", "", NULL, one, 1}, ERR_INVALID},
    };
    struct metric_family *family;
    const struct metric_spec good = {METRIC_COUNTER, "ns:good_1", "", NULL, NULL, 0};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(metrics_family(*state, &cases[i].spec, &family, NULL), cases[i].rc);
    assert_int_equal(metrics_family(*state, &good, &family, NULL), ERR_NONE);
    assert_int_equal(metrics_family(*state, &good, &family, NULL), ERR_EXISTS);
}

static void a_full_family_refuses_new_series_and_keeps_the_old(void **state)
{
    static const char *const labels[] = {"n", NULL};
    struct metric_family *family =
        declare(*state, &(struct metric_spec){METRIC_COUNTER, "x", "X", labels, NULL, 0});
    char n[16];

    for (int i = 0; i < METRIC_SERIES_MAX; i++) {
        snprintf(n, sizeof n, "%d", i);
        assert_non_null(metric_with(family, (const char *const[]){n}));
    }
    assert_null(metric_with(family, (const char *const[]){"one more"}));
    metric_add(metric_with(family, (const char *const[]){"one more"}), 1);
    assert_non_null(metric_with(family, (const char *const[]){"17"}));
}

#define ROUNDS 20000

static void *add_and_observe(void *arg)
{
    struct metric **series = arg;

    for (int i = 0; i < ROUNDS; i++) {
        metric_add(series[0], 1);
        metric_observe(series[1], i % 2 ? 0.5 : 2);
    }
    return NULL;
}

static void threads_lose_nothing(void **state)
{
    static const double bounds[] = {1};
    struct metric *series[] = {
        metric_of(declare(*state, &(struct metric_spec){METRIC_COUNTER, "c", "C", NULL, NULL, 0})),
        metric_of(
            declare(*state, &(struct metric_spec){METRIC_HISTOGRAM, "h", "H", NULL, bounds, 1}))};
    pthread_t threads[4];

    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_and_observe, series), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_rendered(*state, "# HELP c C\n# TYPE c counter\nc 80000\n"
                            "# HELP h H\n# TYPE h histogram\n"
                            "h_bucket{le=\"1\"} 40000\nh_bucket{le=\"+Inf\"} 80000\n"
                            "h_sum 100000\nh_count 80000\n");
}

static void text_files_are_replaced_whole_or_not_at_all(void **state)
{
    struct metric *m =
        metric_of(declare(*state, &(struct metric_spec){METRIC_GAUGE, "x", "X", NULL, NULL, 0}));
    char dir[] = "/tmp/covey-textfile-XXXXXX";
    char path[64];
    char text[64] = {0};
    struct err err;
    FILE *f;

    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/x.prom", dir);
    assert_int_equal(textfile_write(*state, path, &err), ERR_NONE);
    metric_set(m, 2);
    assert_int_equal(textfile_write(*state, path, &err), ERR_NONE);
    f = fopen(path, "re");
    assert_non_null(f);
    assert_int_equal(fread(text, 1, sizeof text - 1, f),
                     strlen("# HELP x X\n# TYPE x gauge\nx 2\n"));
    assert_string_equal(text, "# HELP x X\n# TYPE x gauge\nx 2\n");
    fclose(f);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0); /* fails if a temporary file was left */
    assert_int_equal(textfile_write(*state, path, &err), ERR_IO);
    assert_non_null(strstr(err.text, "No such file or directory"));
}

int main(void)
{
#define WITH_REGISTRY(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_REGISTRY(counters_and_gauges_are_written),
        WITH_REGISTRY(histograms_are_cumulative),
        WITH_REGISTRY(texts_are_escaped),
        WITH_REGISTRY(values_that_look_alike_when_joined_are_different_series),
        WITH_REGISTRY(numbers_read_back_as_themselves),
        WITH_REGISTRY(what_the_format_forbids_is_refused),
        WITH_REGISTRY(a_full_family_refuses_new_series_and_keeps_the_old),
        WITH_REGISTRY(threads_lose_nothing),
        WITH_REGISTRY(text_files_are_replaced_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
