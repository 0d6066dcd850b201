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

/* Microseconds since 2000, shown in milliseconds. */
static void emit_binary_time(struct out *o, int64_t us)
{
    int64_t seconds = us / 1000000 - (us % 1000000 < 0);
    uint64_t ms = (uint64_t)((us - seconds * 1000000) / 1000);
    time_t unix_seconds = (time_t)(seconds + EPOCH_2000);
    char storage[40];
    struct out text;
    struct tm utc;

    gmtime_r(&unix_seconds, &utc);
    out_init(&text, storage, sizeof storage, 0);
    out_padded(&text, (uint64_t)utc.tm_year + 1900, 4);
    out_char(&text, '-');
    out_padded(&text, (uint64_t)utc.tm_mon + 1, 2);
    out_char(&text, '-');
    out_padded(&text, (uint64_t)utc.tm_mday, 2);
    out_char(&text, 'T');
    out_padded(&text, (uint64_t)utc.tm_hour, 2);
    out_char(&text, ':');
    out_padded(&text, (uint64_t)utc.tm_min, 2);
    out_char(&text, ':');
    out_padded(&text, (uint64_t)utc.tm_sec, 2);
    out_char(&text, '.');
    out_padded(&text, ms, 3);
    out_char(&text, 'Z');
    emit_string_n(o, storage, text.len);
}

void emit_columns_binary(struct out *o, const PGresult *result, int row,
                         const struct column *columns, size_t count)
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
            emit_binary_time(o, binary_number(bytes, len));
        else
            emit_string_n(o, bytes, len);
    }
}
