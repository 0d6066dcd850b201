/* Cron expressions, the calendar, and ticks on a virtual wall clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "agent/desired/cron.h"

static const struct cron_zone utc = {0};

static struct cron_schedule parsed(const char *text)
{
    struct cron_schedule s;
    struct err err = {0};

    if (cron_parse(text, &s, &err) != ERR_NONE)
        fail_msg("%s", err.text);
    return s;
}

static int64_t at(const char *text)
{
    struct tm tm = {0};

    assert_non_null(strptime(text, "%Y-%m-%d %H:%M:%S", &tm));
    return timegm(&tm);
}

static void check_next(const char *expression, const char *after, const char *expected)
{
    struct cron_schedule s = parsed(expression);
    int64_t next = cron_next(&s, &utc, at(after));

    if (next != at(expected))
        fail_msg("\"%s\" after %s: expected %s, got %+lld s", expression, after, expected,
                 (long long)(next - at(expected)));
}

static void next_ticks(void **state)
{
    static const char *const rows[][3] = {
        {"* * * * *", "2026-01-01 00:00:00", "2026-01-01 00:01:00"},
        {"* * * * *", "2026-01-01 00:00:59", "2026-01-01 00:01:00"},
        {"*/15 * * * *", "2026-01-01 00:46:00", "2026-01-01 01:00:00"},
        {"5/20 * * * *", "2026-01-01 00:05:00", "2026-01-01 00:25:00"},
        {"5-10/5 * * * *", "2026-01-01 00:05:00", "2026-01-01 00:10:00"},
        {"0,30 8-10 * * *", "2026-01-01 10:30:00", "2026-01-02 08:00:00"},
        {"0 0 31 * *", "2026-01-31 00:00:00", "2026-03-31 00:00:00"},
        {"0 0 29 2 *", "2026-01-01 00:00:00", "2028-02-29 00:00:00"},
        {"0 0 29 2 *", "2096-02-29 00:00:00", "2104-02-29 00:00:00"},
        {"59 23 31 12 *", "2026-12-31 23:59:00", "2027-12-31 23:59:00"},
        {"0 12 * jan,JUL mon-fri", "2026-01-30 12:00:00", "2026-07-01 12:00:00"},
        {"0 0 * * 0", "2026-01-01 00:00:00", "2026-01-04 00:00:00"},
        {"0 0 * * 7", "2026-01-01 00:00:00", "2026-01-04 00:00:00"},
        {"0 0 * * 5-7", "2026-01-03 00:00:00", "2026-01-04 00:00:00"},
        /* Both days restricted: either. One of them free: the other. A step is a restriction. */
        {"0 0 13 * fri", "2026-01-02 00:00:00", "2026-01-09 00:00:00"},
        {"0 0 13 * fri", "2026-01-09 00:00:00", "2026-01-13 00:00:00"},
        {"0 0 13 * ?", "2026-01-02 00:00:00", "2026-01-13 00:00:00"},
        {"0 0 * * fri", "2026-01-02 00:00:00", "2026-01-09 00:00:00"},
        {"0 0 */10 * fri", "2026-01-02 00:00:00", "2026-01-09 00:00:00"},
        {"  0\t0 1 1 *  ", "2026-01-01 00:00:00", "2027-01-01 00:00:00"},
        {"@yearly", "2026-01-01 00:00:00", "2027-01-01 00:00:00"},
        {"@annually", "2026-01-01 00:00:00", "2027-01-01 00:00:00"},
        {"@monthly", "2026-01-01 00:00:00", "2026-02-01 00:00:00"},
        {"@weekly", "2026-01-01 00:00:00", "2026-01-04 00:00:00"},
        {"@daily", "2026-01-01 00:00:00", "2026-01-02 00:00:00"},
        {"@midnight", "2026-01-01 00:00:00", "2026-01-02 00:00:00"},
        {"@HOURLY", "2026-01-01 00:00:00", "2026-01-01 01:00:00"},
        {"@every 5m", "2026-01-01 00:04:59", "2026-01-01 00:05:00"},
        {"@every 1h30m", "2026-01-01 00:00:00", "2026-01-01 01:30:00"},
        {"@every 90s", "2026-01-01 00:01:30", "2026-01-01 00:03:00"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_next(rows[i][0], rows[i][1], rows[i][2]);
}

static void a_schedule_that_never_comes(void **state)
{
    struct cron_schedule s = parsed("0 0 30 2 *");
    (void)state;

    assert_true(cron_next(&s, &utc, at("2026-01-01 00:00:00")) == CRON_NEVER);
}

static void a_zone_shifts_the_wall_clock(void **state)
{
    const struct cron_zone cairo = {.offset_s = 7200};
    const struct cron_zone india = {.offset_s = 19800};
    const struct cron_zone lima = {.offset_s = -18000};
    struct cron_schedule s = parsed("30 3 1 * *");
    (void)state;

    assert_true(cron_next(&s, &cairo, at("2026-01-15 00:00:00")) == at("2026-02-01 01:30:00"));
    assert_true(cron_next(&s, &india, at("2026-01-15 00:00:00")) == at("2026-01-31 22:00:00"));
    assert_true(cron_next(&s, &lima, at("2026-01-15 00:00:00")) == at("2026-02-01 08:30:00"));
}

static void errors_name_the_position_and_what_was_expected(void **state)
{
    static const char *const rows[][2] = {
        {"", "position 1: expected minute"},
        {"* * * *", "position 8: expected day of the week"},
        {"60 * * * *", "position 1: expected a minute from 0 to 59"},
        {"* 24 * * *", "position 3: expected a hour from 0 to 23"},
        {"* * 0 * *", "position 5: expected a day of the month from 1 to 31"},
        {"* * * 13 *", "position 7: expected a month from 1 to 12 or a name as jan"},
        {"* * * * 8", "position 9: expected a day of the week from 0 to 7 or a name as sun"},
        {"* * * * mond", "position 12: expected \",\", \"-\", \"/\" or a blank"},
        {"5-3 * * * *", "position 1: expected a range that runs upwards"},
        {"*/0 * * * *", "position 4: expected a step of at least 1"},
        {"*/ * * * *", "position 3: expected a step of at least 1"},
        {"1,,2 * * * *", "position 3: expected a minute"},
        {"1- * * * *", "position 3: expected a minute"},
        {"-1 * * * *", "position 1: expected a minute"},
        {"* * * * * *", "position 11: expected the end of the schedule"},
        {"99999999999 * * * *", "position 1: expected a minute"},
        {"@reboot", "position 1: expected @yearly, @monthly"},
        {"@every", "position 7: expected a duration"},
        {"@every 5", "position 9: expected the unit h, m or s"},
        {"@every 5m5h", "position 11: expected the unit"},
        {"@every 0s", "position 8: expected a duration from 1s to 366 days"},
        {"@every 999999999h", "position 8: expected a duration from 1s to 366 days"},
        {"@daily x", "position 8: expected the end"},
    };
    char big[CRON_TEXT_MAX + 1];
    struct cron_schedule s;
    struct err err;
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(cron_parse(rows[i][0], &s, &err), ERR_INVALID);
        if (strstr(err.text, rows[i][1]) == NULL)
            fail_msg("\"%s\": %s", rows[i][0], err.text);
    }
    memset(big, '*', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    assert_int_equal(cron_parse(big, &s, &err), ERR_INVALID);
}

/* The library's calendar is the judge: minute by minute over a leap year. */
static void a_year_agrees_with_the_c_library(void **state)
{
    static const char *const expressions[] = {"7 3 * * *", "0 0 1,15 * wed", "*/20 1-3 29 2 *",
                                              "30 12 * 6-8 sat,sun"};
    int64_t begin = at("2028-01-01 00:00:00");
    int64_t end = at("2029-01-01 00:00:00");
    (void)state;

    for (size_t i = 0; i < sizeof expressions / sizeof expressions[0]; i++) {
        struct cron_schedule s = parsed(expressions[i]);
        int64_t next = cron_next(&s, &utc, begin - 1);
        for (int64_t t = begin; t < end; t += 60) {
            time_t clock = (time_t)t;
            struct tm tm;
            bool day;
            bool weekday;
            assert_non_null(gmtime_r(&clock, &tm));
            day = (s.days >> tm.tm_mday & 1) != 0;
            weekday = (s.weekdays >> tm.tm_wday & 1) != 0;
            if ((s.minutes >> tm.tm_min & 1) == 0 || (s.hours >> tm.tm_hour & 1) == 0 ||
                (s.months >> (tm.tm_mon + 1) & 1) == 0 ||
                !(s.any_day || s.any_weekday ? day && weekday : day || weekday))
                continue;
            if (next != t)
                fail_msg("\"%s\": %+lld s at %lld", expressions[i], (long long)(next - t),
                         (long long)t);
            next = cron_next(&s, &utc, t);
        }
        assert_true(next >= end);
    }
}

static struct cron job(const char *expression, int64_t from)
{
    return (struct cron){.schedule = parsed(expression),
                         .starting_deadline_s = -1,
                         .concurrency = CRON_FORBID,
                         .handled_s = from};
}

static void a_year_of_ticks_is_handled_one_by_one(void **state)
{
    int64_t now = at("2026-01-01 00:00:00");
    int64_t end = at("2027-01-01 00:00:00");
    struct cron c = job("17 */2 * * *", now);
    struct cron_out out;
    int starts = 0;
    (void)state;

    while ((now = cron_deadline(&c)) < end) {
        cron_step(&c, now - 1, false, &out);
        assert_int_equal(out.action, CRON_NOTHING);
        cron_step(&c, now, false, &out);
        assert_int_equal(out.action, CRON_START);
        assert_true(out.tick_s == now);
        assert_int_equal(out.missed, 0);
        starts++;
    }
    assert_int_equal(starts, 365 * 12);
}

static void downtime_runs_the_last_tick_once_within_the_deadline(void **state)
{
    int64_t day = at("2026-01-01 00:00:00");
    struct cron c = job("0 * * * *", day);
    struct cron_out out;
    (void)state;

    cron_step(&c, day + 5 * 3600 + 600, false, &out);
    assert_int_equal(out.action, CRON_START);
    assert_true(out.tick_s == day + 5 * 3600);
    assert_int_equal(out.missed, 4);
    cron_step(&c, day + 5 * 3600 + 601, false, &out);
    assert_int_equal(out.action, CRON_NOTHING);

    c.starting_deadline_s = 600;
    cron_step(&c, day + 8 * 3600 + 601, false, &out);
    assert_int_equal(out.action, CRON_LATE);
    assert_int_equal(out.missed, 2);
    cron_step(&c, day + 9 * 3600 + 600, false, &out);
    assert_int_equal(out.action, CRON_START);

    /* Years: the count stops, the answer does not take years. */
    cron_step(&c, at("2036-06-01 00:00:00"), false, &out);
    assert_int_equal(out.action, CRON_START);
    assert_int_equal(out.missed, CRON_MISSED_MAX);
    /* A clock set back waits. */
    cron_step(&c, day, false, &out);
    assert_int_equal(out.action, CRON_NOTHING);
    assert_true(cron_deadline(&c) == at("2036-06-01 01:00:00"));
}

static void concurrency_decides_over_an_earlier_run(void **state)
{
    static const struct {
        enum cron_concurrency concurrency;
        bool running;
        enum cron_action action;
    } rows[] = {
        {CRON_ALLOW, false, CRON_START},   {CRON_ALLOW, true, CRON_START},
        {CRON_FORBID, false, CRON_START},  {CRON_FORBID, true, CRON_SKIP},
        {CRON_REPLACE, false, CRON_START}, {CRON_REPLACE, true, CRON_STOP_AND_START},
    };
    struct cron_out out;
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cron c = job("@every 5m", 0);
        c.concurrency = rows[i].concurrency;
        cron_step(&c, 300, rows[i].running, &out);
        assert_int_equal(out.action, rows[i].action);
        /* Dealt with, whatever the answer was. */
        cron_step(&c, 301, false, &out);
        assert_int_equal(out.action, CRON_NOTHING);
        c.suspended = true;
        cron_step(&c, 600, false, &out);
        assert_int_equal(out.action, CRON_NOTHING);
        assert_true(c.handled_s == 600);
    }
}

/* ---- daylight saving ---- */

static struct cron_zone zone_of(const char *text)
{
    struct cron_zone zone;
    struct err err = {0};

    if (cron_zone_parse(text, &zone, &err) != ERR_NONE)
        fail_msg("%s", err.text);
    return zone;
}

static const char berlin_text[] = "CET-1CEST,M3.5.0,M10.5.0/3";

/* Seconds of a date and time in UTC, by the C library. */
static int64_t utc_at(int year, int month, int day, int hour, int minute)
{
    struct tm tm = {.tm_year = year - 1900,
                    .tm_mon = month - 1,
                    .tm_mday = day,
                    .tm_hour = hour,
                    .tm_min = minute};

    return timegm(&tm);
}

/* The offset agrees with the C library's, each quarter of an hour over a year and a bit. */
static void zones_are_those_of_the_c_library(void **state)
{
    static const char *const zones[] = {
        "CET-1CEST,M3.5.0,M10.5.0/3",
        "EST5EDT,M3.2.0,M11.1.0",
        "AEST-10AEDT,M10.1.0,M4.1.0/3",
        "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
        "UTC0",
        "<-03>3",
        "IST-1GMT0,M10.5.0,M3.5.0/1",
        "EET-2EEST,M3.5.4/24,M10.5.5/1",
        "PST8PDT,J60/2:30,J300",
    };
    (void)state;

    for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++) {
        struct cron_zone zone = zone_of(zones[i]);
        setenv("TZ", zones[i], 1);
        tzset();
        for (int64_t t = utc_at(2027, 12, 20, 0, 0); t < utc_at(2029, 1, 10, 0, 0); t += 900) {
            time_t at = (time_t)t;
            struct tm tm;
            localtime_r(&at, &tm);
            if (tm.tm_gmtoff != cron_zone_offset(&zone, t))
                fail_msg("%s at %lld: %d, expected %ld", zones[i], (long long)t,
                         (int)cron_zone_offset(&zone, t), tm.tm_gmtoff);
        }
    }
    setenv("TZ", "UTC", 1);
    tzset();
}

static void what_is_no_zone_is_refused(void **state)
{
    static const char *const texts[] = {"",
                                        "C",
                                        "CET",
                                        "CET-1CEST",
                                        "CET-1CEST,M3.5.0",
                                        "CET-1CEST,M13.5.0,M10.5.0",
                                        "CET-1CEST,M3.6.0,M10.5.0",
                                        "<+01-1",
                                        "CET-1CEST,M3.5.0,M10.5.0x",
                                        "CET-999"};
    struct cron_zone zone;
    (void)state;

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_int_equal(cron_zone_parse(texts[i], &zone, NULL), ERR_INVALID);
}

static void an_hour_that_comes_twice_runs_a_fixed_tick_once(void **state)
{
    struct cron_zone berlin = zone_of(berlin_text);
    struct cron_schedule s;
    int64_t t;
    (void)state;

    assert_int_equal(cron_parse("30 2 * * *", &s, NULL), ERR_NONE);
    /* 2028-10-29: 3:00 summer time becomes 2:00 at 1:00 UTC. */
    t = cron_next(&s, &berlin, utc_at(2028, 10, 28, 12, 0));
    assert_true(t == utc_at(2028, 10, 29, 0, 30));
    assert_true(cron_next(&s, &berlin, t) == utc_at(2028, 10, 30, 1, 30));
    /* 2028-03-26: 2:00 becomes 3:00 at 1:00 UTC; 2:30 is left out and made up for at once. */
    t = cron_next(&s, &berlin, utc_at(2028, 3, 25, 12, 0));
    assert_true(t == utc_at(2028, 3, 26, 1, 0));
    assert_true(cron_next(&s, &berlin, t) == utc_at(2028, 3, 27, 0, 30));
}

static void ticks_of_every_hour_follow_the_time_that_passes(void **state)
{
    struct cron_zone berlin = zone_of(berlin_text);
    struct cron_schedule s;
    int64_t t = utc_at(2028, 1, 1, 0, 0);
    (void)state;

    assert_int_equal(cron_parse("*/20 * * * *", &s, NULL), ERR_NONE);
    for (; t < utc_at(2029, 1, 1, 0, 0); t += 1200)
        assert_true(cron_next(&s, &berlin, t) == t + 1200);
}

/* A year of a virtual clock that is looked at every minute, with the agent away now and then. */
static void a_year_has_each_day_once(void **state)
{
    struct cron c = {.starting_deadline_s = 7200, .handled_s = utc_at(2028, 1, 1, 0, 0)};
    struct cron_out out;
    int runs = 0;
    int64_t last = 0;
    (void)state;

    c.zone = zone_of(berlin_text);
    assert_int_equal(cron_parse("30 2 * * *", &c.schedule, NULL), ERR_NONE);
    for (int64_t t = c.handled_s; t < utc_at(2029, 1, 1, 0, 0); t += 60) {
        if (t / 3600 % 50 == 7)
            continue; /* down for an hour: made up for */
        cron_step(&c, t, false, &out);
        if (out.action != CRON_START)
            continue;
        assert_true(out.tick_s > last);
        last = out.tick_s;
        runs++;
    }
    assert_int_equal(runs, 366);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zones_are_those_of_the_c_library),
        cmocka_unit_test(what_is_no_zone_is_refused),
        cmocka_unit_test(an_hour_that_comes_twice_runs_a_fixed_tick_once),
        cmocka_unit_test(ticks_of_every_hour_follow_the_time_that_passes),
        cmocka_unit_test(a_year_has_each_day_once),
        cmocka_unit_test(next_ticks),
        cmocka_unit_test(a_schedule_that_never_comes),
        cmocka_unit_test(a_zone_shifts_the_wall_clock),
        cmocka_unit_test(errors_name_the_position_and_what_was_expected),
        cmocka_unit_test(a_year_agrees_with_the_c_library),
        cmocka_unit_test(a_year_of_ticks_is_handled_one_by_one),
        cmocka_unit_test(downtime_runs_the_last_tick_once_within_the_deadline),
        cmocka_unit_test(concurrency_decides_over_an_earlier_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
