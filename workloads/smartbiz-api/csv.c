#include "workloads/smartbiz-api/csv.h"

#include <string.h>

#include "workloads/lib/emit.h"

void csv_open(struct csv_reader *reader, char *text, size_t len)
{
    size_t commas = 0;
    size_t semicolons = 0;

    *reader = (struct csv_reader){.at = text, .end = text + len, .next_line = 1};
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        reader->at += 3;
    for (const char *c = reader->at; c < reader->end && *c != '\n'; c++) {
        commas += *c == ',';
        semicolons += *c == ';';
    }
    reader->separator = semicolons > commas ? ';' : ',';
}

static bool is_clean(const char *text, size_t len, bool quoted)
{
    while (len > 0) {
        unsigned char c = (unsigned char)*text;
        size_t n = utf8_sequence(text, len);
        if (n == 0 || c == 0x7f || (c < 0x20 && c != '\t' && !(quoted && (c == '\n' || c == '\r'))))
            return false;
        text += n;
        len -= n;
    }
    return true;
}

/* Takes the quotes off; the field ends before *end. */
static bool read_quoted(struct csv_reader *reader, char *start, char **end)
{
    char *from = start + 1;
    char *to = start;

    for (;; from++) {
        if (from >= reader->end)
            return false;
        if (*from == '"' && from + 1 < reader->end && from[1] == '"') {
            from++;
        } else if (*from == '"') {
            break;
        } else if (*from == '\n') {
            reader->next_line++;
        }
        *to++ = *from;
    }
    *end = to;
    reader->at = from + 1;
    return true;
}

/* *end: behind the field's text, which quotes have made shorter than what it was read from. */
static enum csv_result read_field(struct csv_reader *reader, char **field, char **end_of_field)
{
    char *start = reader->at;
    bool quoted = start < reader->end && *start == '"';
    char *end = start;

    if (quoted) {
        if (!read_quoted(reader, start, &end))
            return CSV_BAD_QUOTE;
    } else {
        while (end < reader->end && *end != reader->separator && *end != '\n' && *end != '\r') {
            if (*end == '"')
                return CSV_BAD_QUOTE;
            end++;
        }
        reader->at = end;
    }
    if (end - start > CSV_FIELD_MAX)
        return CSV_TOO_LONG;
    if (!is_clean(start, (size_t)(end - start), quoted))
        return CSV_BAD_TEXT;
    *field = start;
    *end_of_field = end;
    return CSV_RECORD;
}

/* Behind a field: a separator (true: another field follows), a line's end, or the end. */
static enum csv_result finish_field(struct csv_reader *reader, char *end, bool *more)
{
    char c = reader->at < reader->end ? *reader->at : '\n';

    *more = c == reader->separator;
    if (c == '\r' && reader->at + 1 < reader->end && reader->at[1] == '\n')
        reader->at++;
    else if (c != '\n' && !*more && c != '\r')
        return CSV_BAD_QUOTE;
    if (!*more)
        reader->next_line++;
    if (reader->at < reader->end)
        reader->at++;
    *end = '\0';
    return CSV_RECORD;
}

static void skip_empty_lines(struct csv_reader *reader)
{
    while (reader->at < reader->end && (*reader->at == '\n' || *reader->at == '\r')) {
        if (*reader->at == '\n' || reader->at + 1 == reader->end || reader->at[1] != '\n')
            reader->next_line++;
        reader->at++;
    }
}

enum csv_result csv_read(struct csv_reader *reader, char *fields[CSV_FIELDS_MAX], size_t *count)
{
    bool more = true;

    *count = 0;
    skip_empty_lines(reader);
    if (reader->at >= reader->end)
        return CSV_END;
    reader->line = reader->next_line;
    while (more) {
        enum csv_result result;
        char *field;
        char *end;
        if (*count == CSV_FIELDS_MAX)
            return CSV_TOO_MANY;
        result = read_field(reader, &field, &end);
        if (result != CSV_RECORD)
            return result;
        result = finish_field(reader, end, &more);
        if (result != CSV_RECORD)
            return result;
        fields[(*count)++] = field;
    }
    return CSV_RECORD;
}

void csv_put(struct out *o, const char *text, size_t len, bool is_first, bool is_text)
{
    bool guard = is_text && len > 0 && memchr("=+-@\t'", *text, 6) != NULL;
    bool quote = false;

    if (!is_first)
        out_char(o, ',');
    for (size_t i = 0; i < len && !quote; i++)
        quote = memchr(",;\"\r\n", text[i], 5) != NULL;
    if (quote)
        out_char(o, '"');
    if (guard)
        out_char(o, '\'');
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"')
            out_char(o, '"');
        out_char(o, text[i]);
    }
    if (quote)
        out_char(o, '"');
}

const char *csv_unguard(const char *text)
{
    return text[0] == '\'' && text[1] != '\0' && strchr("=+-@\t'", text[1]) != NULL ? text + 1
                                                                                    : text;
}
