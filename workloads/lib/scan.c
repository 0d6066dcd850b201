#include "workloads/lib/scan.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "workloads/lib/emit.h"

#define NUMBER_DIGITS_MAX 15 /* with the scale; a double holds as many */

bool span_is(struct span span, const char *text)
{
    return strlen(text) == span.len && memcmp(span.at, text, span.len) == 0;
}

void scan_begin(struct scan *in, const char *bytes, size_t len)
{
    *in = (struct scan){.begin = bytes, .at = bytes, .end = bytes + len};
}

void scan_wrong(struct scan *in, const char *why)
{
    if (in->wrong == NULL)
        in->wrong = why;
}

static bool fail(struct scan *in, const char *why)
{
    scan_wrong(in, why);
    return false;
}

static void skip_space(struct scan *in)
{
    while (in->at < in->end &&
           (*in->at == ' ' || *in->at == '\n' || *in->at == '\r' || *in->at == '\t'))
        in->at++;
}

/* The next byte that is no space, without taking it; 0 at the end or after an error. */
static char peek(struct scan *in)
{
    if (in->wrong != NULL)
        return '\0';
    skip_space(in);
    return in->at < in->end ? *in->at : '\0';
}

static bool enter(struct scan *in, bool object)
{
    if (peek(in) != (object ? '{' : '['))
        return fail(in, object ? "expected an object" : "expected an array");
    if (in->depth == SCAN_DEPTH_MAX)
        return fail(in, "nests deeper than 16 levels");
    in->at++;
    in->depth++;
    in->first |= UINT32_C(1) << in->depth;
    if (object)
        in->object |= UINT32_C(1) << in->depth;
    else
        in->object &= ~(UINT32_C(1) << in->depth);
    return true;
}

bool scan_object(struct scan *in)
{
    return enter(in, true);
}

bool scan_array(struct scan *in)
{
    return enter(in, false);
}

/* Takes the comma before what comes next, or the closing bracket, which makes it return false. */
static bool advance(struct scan *in, char closing)
{
    uint32_t bit = UINT32_C(1) << in->depth;
    char c = peek(in);

    assert(in->depth > 0 || in->wrong != NULL);
    if (c == closing) {
        in->at++;
        in->depth--;
        return false;
    }
    if ((in->first & bit) != 0) {
        in->first &= ~bit;
        return in->wrong == NULL;
    }
    if (c != ',')
        return fail(in, closing == '}' ? "expected ',' or '}'" : "expected ',' or ']'");
    in->at++;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex4(struct scan *in, uint32_t *value)
{
    *value = 0;
    if (in->end - in->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(in->at[i]);
        if (digit < 0)
            return false;
        *value = *value << 4 | (uint32_t)digit;
    }
    in->at += 4;
    return true;
}

static size_t put_utf8(uint32_t c, char text[4])
{
    if (c < 0x80) {
        text[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        text[0] = (char)(0xc0 | c >> 6);
        text[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        text[0] = (char)(0xe0 | c >> 12);
        text[1] = (char)(0x80 | (c >> 6 & 0x3f));
        text[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    text[0] = (char)(0xf0 | c >> 18);
    text[1] = (char)(0x80 | (c >> 12 & 0x3f));
    text[2] = (char)(0x80 | (c >> 6 & 0x3f));
    text[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* Reads what follows a backslash. Returns the number of bytes in @text, 0 for a bad escape. */
static size_t escape(struct scan *in, char text[4])
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    const char *found;
    uint32_t c;
    uint32_t low;

    if (in->at == in->end)
        return 0;
    if (*in->at != 'u') {
        found = memchr(from, *in->at, sizeof from - 1);
        if (found == NULL)
            return 0;
        in->at++;
        text[0] = to[found - from];
        return 1;
    }
    in->at++;
    if (!hex4(in, &c) || (c >= 0xdc00 && c < 0xe000))
        return 0;
    if (c >= 0xd800 && c < 0xdc00) {
        if (in->end - in->at < 2 || in->at[0] != '\\' || in->at[1] != 'u')
            return 0;
        in->at += 2;
        if (!hex4(in, &low) || low < 0xdc00 || low >= 0xe000)
            return 0;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    return put_utf8(c, text);
}

/* Bytes that stand for themselves, from `at` on. */
static size_t plain_run(const struct scan *in)
{
    const char *p = in->at;

    while (p < in->end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20 &&
           (unsigned char)*p < 0x80)
        p++;
    return (size_t)(p - in->at);
}

/* Where a string goes: counted beyond the size, so that the caller sees that it was too long. */
struct sink {
    char *text;
    size_t size;
    size_t len;
    bool control;
};

static void put(struct sink *sink, const char *bytes, size_t len)
{
    if (len == 1 && ((unsigned char)*bytes < 0x20 || *bytes == 0x7f))
        sink->control = true;
    if (sink->len <= sink->size && len <= sink->size - sink->len)
        memcpy(sink->text + sink->len, bytes, len);
    sink->len += len;
}

static bool read_string(struct scan *in, struct sink *sink)
{
    if (peek(in) != '"')
        return fail(in, "expected a string");
    in->at++;
    for (;;) {
        char decoded[4];
        size_t n = plain_run(in);
        if (n > 0)
            put(sink, in->at, n);
        in->at += n;
        if (in->at == in->end)
            return fail(in, "a string that does not end");
        if (*in->at == '"') {
            in->at++;
            return true;
        }
        if (*in->at == '\\') {
            in->at++;
            n = escape(in, decoded);
            if (n == 0)
                return fail(in, "a bad escape in a string");
            put(sink, decoded, n);
            continue;
        }
        if ((unsigned char)*in->at < 0x20)
            return fail(in, "a control character in a string");
        n = utf8_sequence(in->at, (size_t)(in->end - in->at));
        if (n == 0)
            return fail(in, "a string that is not UTF-8");
        put(sink, in->at, n);
        in->at += n;
    }
}

bool scan_string(struct scan *in, char *text, size_t size)
{
    struct sink sink = {.text = text, .size = size};

    if (!read_string(in, &sink))
        return false;
    if (sink.len >= size)
        return fail(in, "a string that is too long");
    text[sink.len] = '\0';
    if (sink.control || memchr(text, 0x7f, sink.len) != NULL)
        return fail(in, "a control character in a string");
    return true;
}

/* True when the key that comes next needs no decoding: it is then told without copying. */
static bool plain_key(struct scan *in, struct span *key)
{
    if (peek(in) != '"')
        return false;
    in->at++;
    key->at = in->at;
    key->len = plain_run(in);
    if (in->at + key->len < in->end && in->at[key->len] == '"') {
        in->at += key->len + 1;
        return true;
    }
    in->at--;
    return false;
}

bool scan_member(struct scan *in, struct span *key)
{
    if (in->wrong != NULL || !advance(in, '}'))
        return false;
    if (!plain_key(in, key)) {
        struct sink sink = {.text = in->key, .size = sizeof in->key};
        if (!read_string(in, &sink))
            return false;
        /* Nobody asks for a name that is longer, so a cut one serves. */
        *key = (struct span){in->key, sink.len <= sizeof in->key ? sink.len : 0};
    }
    if (peek(in) != ':')
        return fail(in, "expected ':'");
    in->at++;
    return true;
}

bool scan_element(struct scan *in)
{
    return in->wrong == NULL && advance(in, ']');
}

static bool digit(const struct scan *in)
{
    return in->at < in->end && *in->at >= '0' && *in->at <= '9';
}

/* Takes digits and returns how many there were. */
static size_t digits_run(struct scan *in)
{
    const char *from = in->at;

    while (digit(in))
        in->at++;
    return (size_t)(in->at - from);
}

/* Checks and takes a number by RFC 8259; tells where its digits lie. */
static bool take_number(struct scan *in, struct span *whole, struct span *fraction, bool *negative,
                        bool *exponent)
{
    char c = peek(in);

    if (c != '-' && !(c >= '0' && c <= '9'))
        return fail(in, "expected a number");
    *negative = c == '-';
    in->at += *negative;
    whole->at = in->at;
    whole->len = digits_run(in);
    if (whole->len == 0 || (whole->len > 1 && *whole->at == '0'))
        return fail(in, "a number that is not well-formed");
    *fraction = (struct span){in->at, 0};
    if (in->at < in->end && *in->at == '.') {
        in->at++;
        fraction->at = in->at;
        fraction->len = digits_run(in);
        if (fraction->len == 0)
            return fail(in, "a number that is not well-formed");
    }
    *exponent = in->at < in->end && (*in->at | 0x20) == 'e';
    if (!*exponent)
        return true;
    in->at++;
    if (in->at < in->end && (*in->at == '+' || *in->at == '-'))
        in->at++;
    return digits_run(in) > 0 || fail(in, "a number that is not well-formed");
}

bool scan_decimal(struct scan *in, unsigned digits, int64_t *scaled)
{
    struct span whole;
    struct span fraction;
    bool negative;
    bool exponent;
    int64_t value = 0;

    assert(digits <= 6);
    if (!take_number(in, &whole, &fraction, &negative, &exponent))
        return false;
    if (exponent)
        return fail(in, "a number with an exponent");
    while (fraction.len > digits && fraction.at[fraction.len - 1] == '0')
        fraction.len--;
    if (fraction.len > digits)
        return fail(in,
                    digits == 0 ? "expected a whole number" : "a number with too many decimals");
    if (whole.len + digits > NUMBER_DIGITS_MAX)
        return fail(in, "a number that is too large");
    for (size_t i = 0; i < whole.len; i++)
        value = value * 10 + (whole.at[i] - '0');
    for (size_t i = 0; i < digits; i++)
        value = value * 10 + (i < fraction.len ? fraction.at[i] - '0' : 0);
    *scaled = negative ? -value : value;
    return true;
}

bool scan_int(struct scan *in, int64_t *value)
{
    return scan_decimal(in, 0, value);
}

static bool skip_word(struct scan *in, const char *word)
{
    size_t len = strlen(word);

    if ((size_t)(in->end - in->at) < len || memcmp(in->at, word, len) != 0)
        return fail(in, "expected a value");
    in->at += len;
    return true;
}

static bool skip_scalar(struct scan *in)
{
    struct sink nowhere = {0};
    struct span whole;
    struct span fraction;
    bool negative;
    bool exponent;

    switch (peek(in)) {
    case '"':
        return read_string(in, &nowhere);
    case 't':
        return skip_word(in, "true");
    case 'f':
        return skip_word(in, "false");
    case 'n':
        return skip_word(in, "null");
    case '\0':
        return fail(in, "expected a value");
    default:
        return take_number(in, &whole, &fraction, &negative, &exponent);
    }
}

/* Goes down and up by the depth instead of by recursion. */
bool scan_skip(struct scan *in)
{
    unsigned outside = in->depth;
    struct span key;

    do {
        char c = peek(in);
        bool more;
        if (c == '{' || c == '[')
            (void)enter(in, c == '{');
        else if (!skip_scalar(in))
            return false;
        for (more = false; in->wrong == NULL && in->depth > outside && !more;)
            more = (in->object >> in->depth & 1) != 0 ? scan_member(in, &key) : scan_element(in);
    } while (in->wrong == NULL && in->depth > outside);
    return in->wrong == NULL;
}

bool scan_raw(struct scan *in, struct span *raw)
{
    (void)peek(in);
    raw->at = in->at;
    if (!scan_skip(in))
        return false;
    raw->len = (size_t)(in->at - raw->at);
    return true;
}

bool scan_end(struct scan *in)
{
    if (in->wrong != NULL)
        return false;
    skip_space(in);
    if (in->depth > 0 || in->at != in->end)
        return fail(in, "more text behind the end");
    return true;
}

void scan_error(const struct scan *in, char *text, size_t size)
{
    snprintf(text, size, "byte %zu: %s", (size_t)(in->at - in->begin),
             in->wrong != NULL ? in->wrong : "nothing is wrong");
}
