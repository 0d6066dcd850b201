/* Time zones by the rules of POSIX TZ texts (POSIX.1-2017, 8.3), as the last line of every file of
 * the tz database holds one for all times to come. */
#include <limits.h>
#include <string.h>

#include "agent/desired/calendar.h"
#include "agent/desired/cron.h"

#define HOUR_S 3600
#define DAY_S 86400
#define RULE_TIME_S (2 * HOUR_S) /* where a rule names no time of day */

/* ---- reading ---- */

struct cursor {
    const char *at;
    bool failed;
};

static int64_t read_number(struct cursor *c, int64_t high)
{
    int64_t value = 0;
    int digits = 0;

    for (; *c->at >= '0' && *c->at <= '9' && digits < 4; digits++)
        value = value * 10 + (*c->at++ - '0');
    if (digits == 0 || value > high)
        c->failed = true;
    return value;
}

static bool take(struct cursor *c, char expected)
{
    if (*c->at != expected)
        return false;
    c->at++;
    return true;
}

/* "CET" or "<+0330>". */
static void skip_name(struct cursor *c)
{
    const char *begin = c->at;

    if (take(c, '<')) {
        while (*c->at != '\0' && *c->at != '>')
            c->at++;
        c->failed |= !take(c, '>');
        return;
    }
    while ((*c->at >= 'A' && *c->at <= 'Z') || (*c->at >= 'a' && *c->at <= 'z'))
        c->at++;
    if (c->at - begin < 3)
        c->failed = true;
}

/* "[+-]hh[:mm[:ss]]" in seconds. */
static int32_t read_time(struct cursor *c)
{
    bool negative = take(c, '-');
    int64_t seconds;

    if (!negative)
        take(c, '+');
    seconds = read_number(c, 167) * HOUR_S;
    if (take(c, ':'))
        seconds += read_number(c, 59) * 60;
    if (take(c, ':'))
        seconds += read_number(c, 59);
    return (int32_t)(negative ? -seconds : seconds);
}

static void read_rule(struct cursor *c, struct cron_rule *rule)
{
    *rule = (struct cron_rule){.time_s = RULE_TIME_S};
    if (take(c, 'M')) {
        rule->kind = CRON_RULE_MONTH;
        rule->month = (uint8_t)read_number(c, 12);
        c->failed |= !take(c, '.');
        rule->week = (uint8_t)read_number(c, 5);
        c->failed |= !take(c, '.') || rule->month == 0 || rule->week == 0;
        rule->day = (uint16_t)read_number(c, 6);
    } else {
        rule->kind = take(c, 'J') ? CRON_RULE_JULIAN : CRON_RULE_DAY;
        rule->day = (uint16_t)read_number(c, 365);
        c->failed |= rule->kind == CRON_RULE_JULIAN && rule->day == 0;
    }
    if (take(c, '/'))
        rule->time_s = read_time(c);
}

int cron_zone_parse(const char *text, struct cron_zone *zone, struct err *err)
{
    struct cursor c = {.at = text};
    struct cron_zone read = {0};

    skip_name(&c);
    read.offset_s = -read_time(&c);
    if (*c.at != '\0') {
        read.daylight = true;
        skip_name(&c);
        read.summer_s = read.offset_s + HOUR_S;
        if (*c.at != ',' && *c.at != '\0')
            read.summer_s = -read_time(&c);
        c.failed |= !take(&c, ',');
        read_rule(&c, &read.begin);
        c.failed |= !take(&c, ',');
        read_rule(&c, &read.end);
    }
    if (c.failed || *c.at != '\0')
        return err_set(err, ERR_INVALID, "\"%.60s\" is no rule of a time zone", text);
    *zone = read;
    return ERR_NONE;
}

/* ---- transitions ---- */

/* Days since 1970 of the rule in @year. */
static int64_t rule_day(const struct cron_rule *rule, int64_t year)
{
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    int64_t first;
    int64_t next;
    int64_t day;

    switch (rule->kind) {
    case CRON_RULE_JULIAN: /* 1 to 365, February 29 is never counted */
        return calendar_days((struct calendar_date){year, 1, 1}) + rule->day - 1 +
               (leap && rule->day >= 60 ? 1 : 0);
    case CRON_RULE_DAY: /* 0 to 365 */
        return calendar_days((struct calendar_date){year, 1, 1}) + rule->day;
    case CRON_RULE_MONTH:
        break;
    }
    first = calendar_days((struct calendar_date){year, rule->month, 1});
    next = rule->month == 12 ? calendar_days((struct calendar_date){year + 1, 1, 1})
                             : calendar_days((struct calendar_date){year, rule->month + 1u, 1});
    day = first + (rule->day - calendar_weekday(first) + 7) % 7 + (rule->week - 1) * 7;
    return day >= next ? day - 7 : day; /* week 5 is the last one */
}

static int64_t begin_of(const struct cron_zone *z, int64_t year)
{
    return rule_day(&z->begin, year) * DAY_S + z->begin.time_s - z->offset_s;
}

static int64_t end_of(const struct cron_zone *z, int64_t year)
{
    return rule_day(&z->end, year) * DAY_S + z->end.time_s - z->summer_s;
}

int32_t cron_zone_offset(const struct cron_zone *z, int64_t utc_s)
{
    int64_t year;
    int64_t begin;
    int64_t end;
    bool summer;

    if (!z->daylight)
        return z->offset_s;
    year = calendar_date(calendar_floor(utc_s + z->offset_s, DAY_S)).year;
    begin = begin_of(z, year);
    end = end_of(z, year);
    /* South of the equator the summer spans the turn of the year. */
    summer = begin < end ? utc_s >= begin && utc_s < end : utc_s >= begin || utc_s < end;
    return summer ? z->summer_s : z->offset_s;
}

int64_t cron_zone_change(const struct cron_zone *z, int64_t after_s)
{
    int64_t year = calendar_date(calendar_floor(after_s, DAY_S)).year;
    int64_t next = INT64_MAX;

    for (int64_t y = year - 1; z->daylight && y <= year + 1; y++) {
        int64_t changes[] = {begin_of(z, y), end_of(z, y)};
        for (int i = 0; i < 2; i++)
            if (changes[i] > after_s && changes[i] < next)
                next = changes[i];
    }
    return next;
}
