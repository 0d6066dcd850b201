/* Cron expressions, and what to do at a tick. Pure; times are seconds since 1970-01-01 UTC.
 *
 * Expressions are those of Kubernetes' CronJob: five fields (minute hour day-of-month month
 * day-of-week) of "*", "?", numbers, names (jan, mon), ranges, lists and steps, or @yearly,
 * @annually, @monthly, @weekly, @daily, @midnight, @hourly, "@every 1h30m". Where both days are
 * restricted, either may match. Sunday is 0 and 7. "@every" counts from 1970 in UTC, so that every
 * node, and an agent after its restart, comes to the same ticks. */
#ifndef COVEY_DESIRED_CRON_H
#define COVEY_DESIRED_CRON_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/err.h"

#define CRON_TEXT_MAX 128              /* bytes of an expression */
#define CRON_NEVER INT64_MAX           /* no such tick */
#define CRON_EVERY_MAX_S (366 * 86400) /* longest @every */
#define CRON_SEARCH_YEARS 9            /* "0 0 29 2 *" skips 8 years around 2100 */
#define CRON_MISSED_MAX 100            /* missed ticks are counted up to here */

struct cron_schedule {
    uint64_t minutes; /* bit n: minute n */
    uint32_t hours;
    uint32_t days;    /* bits 1 to 31 */
    uint16_t months;  /* bits 1 to 12 */
    uint8_t weekdays; /* bits 0 (Sunday) to 6 */
    bool any_day;     /* day-of-month is "*" or "?" */
    bool any_weekday;
    int64_t every_s; /* > 0: "@every", the fields above are unused */
};

enum cron_rule_kind { CRON_RULE_MONTH, CRON_RULE_JULIAN, CRON_RULE_DAY };

struct cron_rule { /* a day of each year, as POSIX TZ texts have it */
    enum cron_rule_kind kind;
    uint8_t month;  /* MONTH: 1 to 12 */
    uint8_t week;   /* MONTH: 1 to 5, 5 is the last */
    uint16_t day;   /* MONTH: weekday, 0 is Sunday; JULIAN 1 to 365; DAY 0 to 365 */
    int32_t time_s; /* of day, by the clock on the wall before the change */
};

/* The clock on the wall. All zero is UTC. */
struct cron_zone {
    int32_t offset_s; /* east of UTC */
    bool daylight;    /* from begin to end it is summer_s instead */
    int32_t summer_s;
    struct cron_rule begin;
    struct cron_rule end;
};

/* "CET-1CEST,M3.5.0,M10.5.0/3". Errors: ERR_INVALID. */
int cron_zone_parse(const char *text, struct cron_zone *zone, struct err *err);

/* East of UTC at that time; and when it changes next, INT64_MAX: never. */
int32_t cron_zone_offset(const struct cron_zone *zone, int64_t utc_s);
int64_t cron_zone_change(const struct cron_zone *zone, int64_t after_s);

/* ERR_INVALID: the text names the position (from 1) and what was expected there. */
int cron_parse(const char *text, struct cron_schedule *schedule, struct err *err);

/* A tick whose hour is named runs once also where daylight saving shows that hour twice (the first
 * time) or leaves it out (right after the gap); one of every hour follows the time that passes.
 * The first tick later than @after_s; CRON_NEVER if there is none within CRON_SEARCH_YEARS
 * ("0 0 30 2 *"). */
int64_t cron_next(const struct cron_schedule *schedule, const struct cron_zone *zone,
                  int64_t after_s);

enum cron_concurrency { CRON_ALLOW, CRON_FORBID, CRON_REPLACE };

enum cron_action {
    CRON_NOTHING, /* no tick is due */
    CRON_START,
    CRON_STOP_AND_START, /* Replace, and an earlier run still lives */
    CRON_SKIP,           /* Forbid, and an earlier run still lives: this tick is dropped */
    CRON_LATE            /* the tick is older than the starting deadline: dropped */
};

/* One CronWorkload. The caller fills it, keeps handled_s in its store, and may change the other
 * members at any time. */
struct cron {
    struct cron_schedule schedule;
    struct cron_zone zone;
    enum cron_concurrency concurrency;
    int64_t starting_deadline_s; /* < 0: none, a tick may be made up for however late */
    bool suspended;              /* ticks pass without a start */
    int64_t handled_s;           /* ticks up to here are dealt with; now for a new schedule */
};

struct cron_out {
    enum cron_action action;
    int64_t tick_s;  /* the tick that the action is about: the last one that is due */
    unsigned missed; /* ticks before it that were not dealt with, at most CRON_MISSED_MAX */
};

/* Deals with the ticks in (handled_s, now_s] and moves handled_s to the last of them. Of several,
 * only the last can start: after downtime a job runs once, not once per missed tick. A clock that
 * was set back waits until it has passed handled_s again. */
void cron_step(struct cron *c, int64_t now_s, bool running, struct cron_out *out);

/* The wall-clock time at which cron_step is wanted next; CRON_NEVER if there is none. */
int64_t cron_deadline(const struct cron *c);

#endif
