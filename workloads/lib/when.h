/* Instants as text (RFC 3339). Pure. */
#ifndef COVEY_WORKLOADS_WHEN_H
#define COVEY_WORKLOADS_WHEN_H

#include <stdbool.h>
#include <stdint.h>

#define WHEN_TEXT 28 /* "2026-01-31T09:30:00.000001Z" and the terminating zero */
#define WHEN_MAX INT64_C(253402300799999999) /* the end of the year 9999 */

/* @us: microseconds since 1970 (UTC), 0 to WHEN_MAX. */
void when_format(int64_t us, char text[WHEN_TEXT]);

/* Reads "2026-01-31T09:30:00.5+01:00": date, 'T' or a space, time, up to 9 digits of a second, of
 * which 6 count, and 'Z' or an offset. False for anything else and for instants before 1970. */
bool when_parse(const char *text, int64_t *us);

#endif
