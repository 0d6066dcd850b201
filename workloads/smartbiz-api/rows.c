/* Rows as JSON, from texts or from PostgreSQL's binary values. */
#include <string.h>
#include <time.h>

#include "workloads/lib/emit.h"
#include "workloads/smartbiz-api/call.h"

#define EPOCH_2000 946684800 /* seconds from 1970 to PostgreSQL's own epoch */

void emit_time(struct out *o, const char *text, size_t len)
{
    char time[40];

    if (len >= sizeof time || len < 20 || memcmp(text + len - 3, "+00", 3) != 0) {
        emit_string_n(o, text, len);
        return;
    }
    memcpy(time, text, len);
    time[10] = 'T';
    time[len - 3] = 'Z';
    emit_string_n(o, time, len - 2);
}

void emit_columns(struct out *o, const PGresult *result, int row, int first,
                  const struct column *columns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int at = first + (int)i;
        const char *text = PQgetvalue(result, row, at);
        size_t len = (size_t)PQgetlength(result, row, at);

        emit_key(o, columns[i].name);
        if (len == 0 && PQgetisnull(result, row, at))
            emit_null(o);
        else if (columns[i].type == COLUMN_TEXT)
            emit_string_n(o, text, len);
        else if (columns[i].type == COLUMN_TIME)
            emit_time(o, text, len);
        else
            emit_raw(o, text, len);
    }
}

int64_t binary_number(const char *bytes, size_t len)
{
    uint64_t value = len > 0 && (unsigned char)bytes[0] >= 0x80 ? UINT64_MAX : 0;

    for (size_t i = 0; i < len; i++)
        value = value << 8 | (unsigned char)bytes[i];
    return (int64_t)value;
}

static char *put_two(char *at, int value)
{
    *at++ = (char)('0' + value / 10 % 10);
    *at++ = (char)('0' + value % 10);
    return at;
}

static bool find_day(struct day_text *day, int64_t number)
{
    const time_t seconds = (time_t)(number * 86400);
    struct tm utc;

    if (day->text[0] != '\0' && day->number == number)
        return true;
    day->number = number;
    day->text[0] = '\0';
    return gmtime_r(&seconds, &utc) != NULL && utc.tm_year >= 0 && utc.tm_year < 9999 - 1900 &&
           strftime(day->text, sizeof day->text, "%Y-%m-%dT", &utc) > 0;
}

/* Microseconds since 2000, shown in milliseconds. */
static void emit_binary_time(struct out *o, int64_t us, struct day_text *day)
{
    int64_t seconds = us / 1000000 - (us % 1000000 < 0);
    int ms = (int)((us - seconds * 1000000) / 1000);
    int64_t number = (seconds + EPOCH_2000) / 86400 - ((seconds + EPOCH_2000) % 86400 < 0);
    int second = (int)(seconds + EPOCH_2000 - number * 86400);
    char text[sizeof "2026-01-31T09:30:00.000Z"];
    char *at = text;

    if (!find_day(day, number)) {
        emit_null(o);
        return;
    }
    memcpy(text, day->text, sizeof day->text);
    at += sizeof day->text - 1;
    at = put_two(at, second / 3600);
    *at++ = ':';
    at = put_two(at, second / 60 % 60);
    *at++ = ':';
    at = put_two(at, second % 60);
    *at++ = '.';
    *at++ = (char)('0' + ms / 100);
    at = put_two(at, ms % 100);
    *at++ = 'Z';
    emit_string_n(o, text, (size_t)(at - text));
}

void emit_columns_binary(struct out *o, const PGresult *result, int row,
                         const struct column *columns, size_t count, struct day_text *day)
{
    for (size_t i = 0; i < count; i++) {
        const char *bytes = PQgetvalue(result, row, (int)i);
        size_t len = (size_t)PQgetlength(result, row, (int)i);

        emit_key(o, columns[i].name);
        if (len == 0 && PQgetisnull(result, row, (int)i))
            emit_null(o);
        else if (columns[i].type == COLUMN_NUMBER)
            emit_int(o, binary_number(bytes, len));
        else if (columns[i].type == COLUMN_TIME)
            emit_binary_time(o, binary_number(bytes, len), day);
        else
            emit_string_n(o, bytes, len);
    }
}
