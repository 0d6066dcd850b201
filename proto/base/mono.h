/* Monotonic time in milliseconds (CLOCK_BOOTTIME: it runs on while the machine sleeps).
 * A struct, so that wall-clock time cannot be mixed in by accident. All arithmetic saturates. */
#ifndef COVEY_BASE_MONO_H
#define COVEY_BASE_MONO_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    int64_t ms;
} mono_t;

#define MONO_NEVER ((mono_t){INT64_MAX}) /* later than every time: no deadline */
#define MONO_ZERO ((mono_t){0})

static inline mono_t mono_add(mono_t t, int64_t ms)
{
    mono_t sum;
    if (__builtin_add_overflow(t.ms, ms, &sum.ms))
        sum.ms = ms > 0 ? INT64_MAX : INT64_MIN;
    return sum;
}

/* a − b in milliseconds; MONO_NEVER minus anything is INT64_MAX. */
static inline int64_t mono_diff(mono_t a, mono_t b)
{
    int64_t d;
    if (a.ms == INT64_MAX)
        return INT64_MAX;
    if (__builtin_sub_overflow(a.ms, b.ms, &d))
        return a.ms > b.ms ? INT64_MAX : INT64_MIN;
    return d;
}

static inline bool mono_before(mono_t a, mono_t b)
{
    return a.ms < b.ms;
}

/* @t has come: now >= t. */
static inline bool mono_reached(mono_t now, mono_t t)
{
    return now.ms >= t.ms;
}

static inline mono_t mono_min(mono_t a, mono_t b)
{
    return a.ms < b.ms ? a : b;
}

static inline mono_t mono_max(mono_t a, mono_t b)
{
    return a.ms > b.ms ? a : b;
}

static inline bool mono_is_zero(mono_t t)
{
    return t.ms == 0;
}

static inline bool mono_is_never(mono_t t)
{
    return t.ms == INT64_MAX;
}

#endif
