#include "workloads/lib/when.h"

#include <assert.h>
#include <stddef.h>
#include <time.h>

#define SECOND INT64_C(1000000)

/* The last @count decimal digits of @value, at @text. */
static char *put_digits(char *text, int64_t value, unsigned count)
{
    for (unsigned i = count; i > 0; i--) {
        text[i - 1] = (char)('0' + value % 10);
        value /= 10;
    }
    return text + count;
}

void when_format(int64_t us, char text[WHEN_TEXT])
{
    time_t seconds = (time_t)(us / SECOND);
    struct tm utc;

    assert(us >= 0 && us <= WHEN_MAX);
    gmtime_r(&seconds, &utc);
    text = put_digits(text, utc.tm_year + 1900, 4);
    *text++ = '-';
    text = put_digits(text, utc.tm_mon + 1, 2);
    *text++ = '-';
    text = put_digits(text, utc.tm_mday, 2);
    *text++ = 'T';
    text = put_digits(text, utc.tm_hour, 2);
    *text++ = ':';
    text = put_digits(text, utc.tm_min, 2);
    *text++ = ':';
    text = put_digits(text, utc.tm_sec, 2);
    *text++ = '.';
    text = put_digits(text, us % SECOND, 6);
    *text++ = 'Z';
    *text = '\0';
}

/* Reads exactly @count digits of a number from @low to @high and moves on. */
static bool number(const char **text, unsigned count, int low, int high, int *value)
{
    *value = 0;
    for (unsigned i = 0; i < count; i++, (*text)++) {
        if (**text < '0' || **text > '9')
            return false;
        *value = *value * 10 + (**text - '0');
    }
    return *value >= low && *value <= high;
}

static bool literal(const char **text, char c)
{
    if (**text != c)
        return false;
    (*text)++;
    return true;
}

static bool fraction(const char **text, int64_t *us)
{
    unsigned digits = 0;

    *us = 0;
    if (!literal(text, '.'))
        return true;
    for (; **text >= '0' && **text <= '9'; (*text)++, digits++)
        if (digits < 6)
            *us = *us * 10 + (**text - '0');
    for (unsigned i = digits; i < 6; i++)
        *us *= 10;
    return digits > 0 && digits <= 9;
}

static bool offset(const char **text, int *seconds)
{
    bool negative = **text == '-';
    int hours;
    int minutes;

    *seconds = 0;
    if (literal(text, 'Z'))
        return true;
    if (!negative && **text != '+')
        return false;
    (*text)++;
    if (!number(text, 2, 0, 23, &hours) || !literal(text, ':') || !number(text, 2, 0, 59, &minutes))
        return false;
    *seconds = (hours * 60 + minutes) * (negative ? -60 : 60);
    return true;
}

bool when_parse(const char *text, int64_t *us)
{
    struct tm utc = {0};
    struct tm same;
    int64_t part;
    int east;
    time_t seconds;

    if (!number(&text, 4, 1970, 9999, &utc.tm_year) || !literal(&text, '-') ||
        !number(&text, 2, 1, 12, &utc.tm_mon) || !literal(&text, '-') ||
        !number(&text, 2, 1, 31, &utc.tm_mday) || (!literal(&text, 'T') && !literal(&text, ' ')) ||
        !number(&text, 2, 0, 23, &utc.tm_hour) || !literal(&text, ':') ||
        !number(&text, 2, 0, 59, &utc.tm_min) || !literal(&text, ':') ||
        !number(&text, 2, 0, 59, &utc.tm_sec) || !fraction(&text, &part) || !offset(&text, &east) ||
        *text != '\0')
        return false;
    utc.tm_year -= 1900;
    utc.tm_mon -= 1;
    same = utc;
    seconds = timegm(&same);
    if (same.tm_mday != utc.tm_mday) /* the 31st of a month that has 30 days */
        return false;
    *us = ((int64_t)seconds - east) * SECOND + part;
    return *us >= 0 && *us <= WHEN_MAX;
}
