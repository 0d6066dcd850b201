/* The Gregorian calendar by days since 1970-01-01 (Howard Hinnant's days_from_civil and
 * civil_from_days). */
#ifndef COVEY_DESIRED_CALENDAR_H
#define COVEY_DESIRED_CALENDAR_H

#include <stdint.h>

struct calendar_date {
    int64_t year;
    unsigned month; /* 1 to 12 */
    unsigned day;   /* 1 to 31 */
};

static inline int64_t calendar_floor(int64_t a, int64_t b)
{
    return a / b - (a % b < 0 ? 1 : 0);
}

int64_t calendar_days(struct calendar_date date);
struct calendar_date calendar_date(int64_t days);

/* 0 is Sunday. */
static inline int calendar_weekday(int64_t days)
{
    return (int)(days + 4 - calendar_floor(days + 4, 7) * 7); /* 1970-01-01 was a Thursday */
}

#endif
