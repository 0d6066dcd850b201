#include "workloads/lib/emit.h"

#include <assert.h>
#include <string.h>

/* Writes the comma that belongs before a key or a value and notes that the next one needs it. */
static void separate(struct out *o)
{
    if (o->comma)
        out_char(o, ',');
    o->comma = true;
}

static void open_with(struct out *o, char bracket)
{
    separate(o);
    out_char(o, bracket);
    o->comma = false;
}

static void close_with(struct out *o, char bracket)
{
    out_char(o, bracket);
    o->comma = true;
}

void emit_object(struct out *o)
{
    open_with(o, '{');
}

void emit_object_end(struct out *o)
{
    close_with(o, '}');
}

void emit_array(struct out *o)
{
    open_with(o, '[');
}

void emit_array_end(struct out *o)
{
    close_with(o, ']');
}

void emit_key(struct out *o, const char *key)
{
    size_t len = strlen(key);
    char *from = out_room(o, len + 4);
    char *at = from;

    if (from == NULL)
        return;
    if (o->comma)
        *at++ = ',';
    *at++ = '"';
    memcpy(at, key, len);
    at += len;
    *at++ = '"';
    *at++ = ':';
    o->len += (size_t)(at - from);
    o->comma = false;
}

size_t utf8_sequence(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    unsigned char low = 0x80; /* bounds of the second byte: no overlong forms, no surrogates */
    unsigned char high = 0xbf;
    size_t n;

    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (s[0] == 0xe0)
        low = 0xa0;
    else if (s[0] == 0xed)
        high = 0x9f;
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xf4)
        high = 0x8f;
    if (len < n || s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

/* Writes the character that cannot stand for itself and returns how many bytes it took. */
static size_t put_special(struct out *o, const char *text, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char c = (unsigned char)*text;
    size_t n;

    switch (c) {
    case '"':
        out_bytes(o, "\\\"", 2);
        return 1;
    case '\\':
        out_bytes(o, "\\\\", 2);
        return 1;
    case '\n':
        out_bytes(o, "\\n", 2);
        return 1;
    case '\r':
        out_bytes(o, "\\r", 2);
        return 1;
    case '\t':
        out_bytes(o, "\\t", 2);
        return 1;
    default:
        break;
    }
    if (c < 0x20 || c == 0x7f) {
        const char escape[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        out_bytes(o, escape, sizeof escape);
        return 1;
    }
    n = utf8_sequence(text, len);
    if (n == 0) {
        out_bytes(o, "\\ufffd", 6);
        return 1;
    }
    out_bytes(o, text, n);
    return n;
}

static bool plain(char c)
{
    unsigned char u = (unsigned char)c;
    return u >= 0x20 && u < 0x7f && u != '"' && u != '\\';
}

#define EACH_BYTE (UINT64_MAX / 255) /* 1 in each byte */

/* Sets the top bit of a byte when one of @word, all of them below 0x80, is less than @limit. */
static uint64_t any_below(uint64_t word, uint64_t limit)
{
    return (word - EACH_BYTE * limit) & ~word;
}

static uint64_t any_equal(uint64_t word, uint64_t c)
{
    return any_below(word ^ EACH_BYTE * c, 1);
}

/* How many plain characters @text begins with; eight at a time, as long as all eight are. */
static size_t plain_prefix(const char *text, size_t len)
{
    size_t at = 0;

    while (len - at >= 8) {
        uint64_t word;
        memcpy(&word, text + at, sizeof word);
        if (((word | any_below(word, 0x20) | any_equal(word, '"') | any_equal(word, '\\') |
              any_equal(word, 0x7f)) &
             EACH_BYTE * 0x80) != 0)
            break;
        at += 8;
    }
    while (at < len && plain(text[at]))
        at++;
    return at;
}

void emit_string_n(struct out *o, const char *text, size_t len)
{
    size_t at = 0;

    separate(o);
    out_char(o, '"');
    while (at < len) {
        size_t run = plain_prefix(text + at, len - at);
        out_bytes(o, text + at, run);
        at += run;
        if (at < len)
            at += put_special(o, text + at, len - at);
    }
    out_char(o, '"');
}

void emit_string(struct out *o, const char *text)
{
    emit_string_n(o, text, strlen(text));
}

void emit_int(struct out *o, int64_t value)
{
    separate(o);
    out_int(o, value);
}

void emit_bool(struct out *o, bool value)
{
    separate(o);
    out_text(o, value ? "true" : "false");
}

void emit_raw(struct out *o, const char *json, size_t len)
{
    separate(o);
    out_bytes(o, json, len);
}

void emit_null(struct out *o)
{
    separate(o);
    out_bytes(o, "null", 4);
}

void emit_decimal(struct out *o, int64_t scaled, unsigned digits)
{
    uint64_t value = scaled < 0 ? 0 - (uint64_t)scaled : (uint64_t)scaled;
    uint64_t unit = 1;

    assert(digits <= 9);
    for (unsigned i = 0; i < digits; i++)
        unit *= 10;
    separate(o);
    if (scaled < 0)
        out_char(o, '-');
    out_uint(o, value / unit);
    if (digits > 0) {
        out_char(o, '.');
        out_padded(o, value % unit, digits);
    }
}

void emit_key_string(struct out *o, const char *key, const char *text)
{
    emit_key(o, key);
    emit_string(o, text);
}

void emit_key_int(struct out *o, const char *key, int64_t value)
{
    emit_key(o, key);
    emit_int(o, value);
}

void emit_key_bool(struct out *o, const char *key, bool value)
{
    emit_key(o, key);
    emit_bool(o, value);
}

void emit_key_decimal(struct out *o, const char *key, int64_t scaled, unsigned digits)
{
    emit_key(o, key);
    emit_decimal(o, scaled, digits);
}
