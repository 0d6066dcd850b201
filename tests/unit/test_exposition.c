#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/web/exposition.h"
#include "proto/base/err.h"

static void expect(bool open_metrics, const char *expected)
{
    struct exposition *e = exposition_create(open_metrics);
    char *text;
    size_t size;

    assert_non_null(e);
    exposition_family(e, "a_total", EXPOSITION_COUNTER, "Things.");
    exposition_sample(e, 3, NULL);
    exposition_sample(e, 12345678901234, "x", "1", "y", "q\"b\\n\n", NULL);
    exposition_family(e, "b_seconds", EXPOSITION_GAUGE, "Time.");
    exposition_sample(e, 0.25, NULL);
    exposition_sample(e, NAN, "z", "", NULL);
    assert_int_equal(exposition_finish(e, &text, &size), ERR_NONE);
    assert_string_equal(text, expected);
    assert_int_equal(size, strlen(expected));
    free(text);
}

#define SAMPLES_A "a_total 3\na_total{x=\"1\",y=\"q\\\"b\\\\n\\n\"} 12345678901234\n"
#define FAMILY_B                                                                                   \
    "# HELP b_seconds Time.\n# TYPE b_seconds gauge\nb_seconds 0.25\nb_seconds{z=\"\"} NaN\n"

static void prometheus_text(void **state)
{
    (void)state;
    expect(false, "# HELP a_total Things.\n# TYPE a_total counter\n" SAMPLES_A FAMILY_B);
}

static void open_metrics_text(void **state)
{
    (void)state;
    expect(true, "# HELP a Things.\n# TYPE a counter\n" SAMPLES_A FAMILY_B "# EOF\n");
}

static void who_asks_for_open_metrics_gets_it(void **state)
{
    (void)state;
    assert_true(exposition_wants_open_metrics(
        "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"));
    assert_false(exposition_wants_open_metrics("text/plain"));
    assert_false(exposition_wants_open_metrics(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prometheus_text),
        cmocka_unit_test(open_metrics_text),
        cmocka_unit_test(who_asks_for_open_metrics_gets_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
