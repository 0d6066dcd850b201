/* Reads JSON (RFC 8259) from bytes, one value after the other, without a tree and without
 * allocating:
 *
 *     scan_begin(&in, bytes, len);
 *     if (scan_object(&in))
 *         while (scan_member(&in, &key))
 *             if (span_is(key, "n")) scan_int(&in, &n); else scan_skip(&in);
 *     if (!scan_end(&in)) ... scan_error(&in, text, sizeof text)
 *
 * The first thing that is wrong sticks: every later call returns false and scan_end tells. Strict:
 * valid UTF-8, no duplicate commas, no leading zeros, at most SCAN_DEPTH_MAX levels. Whether a key
 * comes twice is the caller's to see. Pure. */
#ifndef COVEY_WORKLOADS_SCAN_H
#define COVEY_WORKLOADS_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCAN_DEPTH_MAX 16
#define SCAN_KEY_MAX                                                                               \
    64 /* bytes of a key that is written with escapes; no longer one can be meant */

/* Bytes that lie in somebody else's storage. */
struct span {
    const char *at;
    size_t len;
};

bool span_is(struct span span, const char *text);

struct scan {
    const char *begin;
    const char *at;
    const char *end;
    const char *wrong; /* what is wrong at `at`, or NULL */
    unsigned depth;
    uint32_t first;  /* bit d: nothing was read yet in the container of depth d */
    uint32_t object; /* bit d: that container is an object */
    char key[SCAN_KEY_MAX];
};

/* @bytes must live as long as @in and the spans that come of it. */
void scan_begin(struct scan *in, const char *bytes, size_t len);

/* Enters the object or array that comes next. */
bool scan_object(struct scan *in);
bool scan_array(struct scan *in);

/* Goes to the next member, whose value must then be read or skipped, or leaves the object and
 * returns false. @key is decoded and valid until the next call. */
bool scan_member(struct scan *in, struct span *key);

/* Goes to the next element, or leaves the array and returns false. */
bool scan_element(struct scan *in);

/* The string that comes next, decoded into @text and terminated. One that has @size bytes or more,
 * or holds a control character, is wrong. */
bool scan_string(struct scan *in, char *text, size_t size);

/* A number without exponent, times 10^@digits: 12.5 with 2 digits is 1250. More digits behind the
 * point than that, unless they are zeros, and a result of more than 15 digits are wrong. @digits
 * <= 6. */
bool scan_decimal(struct scan *in, unsigned digits, int64_t *scaled);
bool scan_int(struct scan *in, int64_t *value);

/* Whatever comes next, checked; scan_raw also tells which bytes it is. */
bool scan_skip(struct scan *in);
bool scan_raw(struct scan *in, struct span *raw);

/* True when the text ended where it should and nothing was wrong. */
bool scan_end(struct scan *in);

/* Declares that the value just read is wrong for a reason of the caller's; a literal. */
void scan_wrong(struct scan *in, const char *why);

/* "byte 17: expected a string", into @text. */
void scan_error(const struct scan *in, char *text, size_t size);

#endif
