/* JSON, times and trace contexts as they are read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "workloads/lib/scan.h"
#include "workloads/lib/trace.h"
#include "workloads/lib/when.h"

static bool valid(const char *text)
{
    struct scan in;

    scan_begin(&in, text, strlen(text));
    (void)scan_skip(&in);
    return scan_end(&in);
}

static void what_is_json_and_what_is_not(void **state)
{
    static const char *const good[] = {"{}",
                                       "[]",
                                       " [ ] ",
                                       "0",
                                       "-0",
                                       "-1.5e+10",
                                       "1E5",
                                       "true",
                                       "false",
                                       "null",
                                       "\"\"",
                                       "\"\\u00e4\\ud83d\\ude00\\n\"",
                                       "{\"a\":[1,{\"b\":[]}],\"c\":{}}",
                                       "\"\xc3\xa4\"",
                                       "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]"};
    static const char *const bad[] = {"",
                                      " ",
                                      "{",
                                      "[",
                                      "[1",
                                      "[1,",
                                      "[,1]",
                                      "[1,]",
                                      "{,}",
                                      "{\"a\"}",
                                      "{\"a\":}",
                                      "{\"a\":1,}",
                                      "{a:1}",
                                      "01",
                                      "1.",
                                      ".5",
                                      "+1",
                                      "1e",
                                      "-",
                                      "tru",
                                      "nul",
                                      "'a'",
                                      "\"a",
                                      "\"\\x\"",
                                      "\"\\ud800\"",
                                      "\"\\udc00\"",
                                      "\"\\ud800\\u0041\"",
                                      "\"\\u12\"",
                                      "\"\x01\"",
                                      "\"\xff\"",
                                      "\"\xc3\"",
                                      "[1]]",
                                      "{} {}",
                                      "1 2",
                                      "[1 2]",
                                      "{\"a\":1 \"b\":2}",
                                      "]",
                                      "}",
                                      "[}",
                                      "{]",
                                      "[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]"};
    (void)state;

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (!valid(good[i]))
            fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (valid(bad[i]))
            fail_msg("taken: %s", bad[i]);
}

static void members_are_read_in_their_order_and_others_passed_over(void **state)
{
    static const char text[] = "{\"x\": {\"n\": [1, 2]}, \"n\": -12.5, \"s\": \"a\\u00e4\\\"\", "
                               "\"\\u006e2\": 7, \"list\": [ 1 ,2, 3 ] } ";
    struct scan in;
    struct span key;
    struct span raw = {0};
    char string[8] = "";
    int64_t n = 0;
    int64_t n2 = 0;
    int64_t sum = 0;
    (void)state;

    scan_begin(&in, text, strlen(text));
    assert_true(scan_object(&in));
    while (scan_member(&in, &key)) {
        if (span_is(key, "n")) {
            assert_true(scan_decimal(&in, 2, &n));
        } else if (span_is(key, "s")) {
            assert_true(scan_string(&in, string, sizeof string));
        } else if (span_is(key, "n2")) {
            assert_true(scan_int(&in, &n2));
        } else if (span_is(key, "list")) {
            assert_true(scan_array(&in));
            while (scan_element(&in)) {
                int64_t element;
                assert_true(scan_int(&in, &element));
                sum = sum * 10 + element;
            }
        } else {
            assert_true(scan_raw(&in, &raw));
        }
    }
    assert_true(scan_end(&in));
    assert_int_equal(n, -1250);
    assert_int_equal(n2, 7);
    assert_int_equal(sum, 123);
    assert_string_equal(string, "a\xc3\xa4\"");
    assert_true(span_is(raw, "{\"n\": [1, 2]}"));
}

static bool decimal(const char *text, unsigned digits, int64_t *value)
{
    struct scan in;

    scan_begin(&in, text, strlen(text));
    return scan_decimal(&in, digits, value) && scan_end(&in);
}

static void decimals_are_exact_or_refused(void **state)
{
    int64_t value;
    (void)state;

    assert_true(decimal("0.07", 2, &value) && value == 7);
    assert_true(decimal("1.5000", 2, &value) && value == 150);
    assert_true(decimal("-0.01", 2, &value) && value == -1);
    assert_true(decimal("9999999999999.99", 2, &value) && value == INT64_C(999999999999999));
    assert_false(decimal("10000000000000", 2, &value));
    assert_false(decimal("1.005", 2, &value));
    assert_false(decimal("1e2", 2, &value));
    assert_false(decimal("1.5", 0, &value));
    assert_true(decimal("2.000", 0, &value) && value == 2);
}

static void strings_must_fit_and_be_text(void **state)
{
    char text[4];
    struct scan in;
    char why[64];
    (void)state;

    scan_begin(&in, "\"abc\"", 5);
    assert_true(scan_string(&in, text, sizeof text));
    assert_string_equal(text, "abc");
    scan_begin(&in, "\"abcd\"", 6);
    assert_false(scan_string(&in, text, sizeof text));
    scan_begin(&in, "\"a\\nb\"", 6);
    assert_false(scan_string(&in, text, sizeof text));
    scan_begin(&in, "\"\\u0000\"", 8);
    assert_false(scan_string(&in, text, sizeof text));
    scan_begin(&in, "  7", 3);
    assert_false(scan_string(&in, text, sizeof text));
    scan_error(&in, why, sizeof why);
    assert_string_equal(why, "byte 2: expected a string");
}

static void times_are_read_as_rfc_3339_has_them(void **state)
{
    static const char *const bad[] = {"",
                                      "2026-01-31",
                                      "2026-01-31T09:30:00",
                                      "2026-01-31T09:30:00.Z",
                                      "2026-02-29T00:00:00Z",
                                      "2026-04-31T00:00:00Z",
                                      "2026-13-01T00:00:00Z",
                                      "2026-01-01T24:00:00Z",
                                      "2026-01-01T00:00:00+1:00",
                                      "2026-01-01T00:00:00Zx",
                                      "1969-12-31T23:59:59Z",
                                      "1970-01-01T00:00:00+00:01",
                                      "2026-01-31T09:30:00.1234567890Z"};
    char text[WHEN_TEXT];
    int64_t us;
    (void)state;

    assert_true(when_parse("1970-01-01T00:00:00Z", &us) && us == 0);
    assert_true(when_parse("2026-01-31T09:30:00.5Z", &us));
    assert_int_equal(us, INT64_C(1769851800500000));
    when_format(us, text);
    assert_string_equal(text, "2026-01-31T09:30:00.500000Z");
    assert_true(when_parse("2026-01-31 10:30:00.500000+01:00", &us));
    assert_int_equal(us, INT64_C(1769851800500000));
    assert_true(when_parse("2024-02-29T23:59:59.999999999-00:30", &us));
    when_format(us, text);
    assert_string_equal(text, "2024-03-01T00:29:59.999999Z");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (when_parse(bad[i], &us))
            fail_msg("taken: %s", bad[i]);
}

static void a_traceparent_is_read_as_the_standard_says(void **state)
{
    static const char good[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    static const char *const bad[] = {"",
                                      "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
                                      "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                                      "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                                      "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                                      "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                                      "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
                                      "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
                                      "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"};
    struct trace trace;
    struct trace child;
    struct trace again;
    char text[TRACE_PARENT_TEXT];
    (void)state;

    assert_true(trace_parse(good, strlen(good), &trace));
    trace_format(&trace, text);
    assert_string_equal(text, good);
    assert_true(
        trace_parse("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", 60, &again));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (trace_parse(bad[i], strlen(bad[i]), &again))
            fail_msg("taken: %s", bad[i]);
    /* A child stays in the trace, is another span, and is the same child each time. */
    trace_child(&child, &trace, "payment-17");
    assert_string_equal(child.trace_id, trace.trace_id);
    assert_string_not_equal(child.span_id, trace.span_id);
    trace_child(&again, &trace, "payment-17");
    assert_memory_equal(child.span_id, again.span_id, sizeof child.span_id);
    trace_child(&again, &trace, "payment-18");
    assert_string_not_equal(child.span_id, again.span_id);
    trace_begin(&trace, "17");
    trace_format(&trace, text);
    assert_true(trace_parse(text, strlen(text), &again));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_json_and_what_is_not),
        cmocka_unit_test(members_are_read_in_their_order_and_others_passed_over),
        cmocka_unit_test(decimals_are_exact_or_refused),
        cmocka_unit_test(strings_must_fit_and_be_text),
        cmocka_unit_test(times_are_read_as_rfc_3339_has_them),
        cmocka_unit_test(a_traceparent_is_read_as_the_standard_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
