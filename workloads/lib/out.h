/* Text that is built piece by piece: replies, log lines, metrics.
 *
 * Begins in storage that the caller lends and moves to the heap when it outgrows it. A write that
 * does not fit, or finds no memory, sets `failed` and writes nothing; every later write is ignored,
 * so that a caller checks once, at the end. Not terminated by a zero. */
#ifndef COVEY_WORKLOADS_OUT_H
#define COVEY_WORKLOADS_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct out {
    char *data;
    size_t len;
    size_t capacity;
    size_t limit; /* bytes; capacity never grows beyond it */
    bool failed;
    bool comma; /* emit.h: the next member or element needs a comma before it */
    bool heap;  /* data was allocated */
};

/* Begins in @storage, which must live as long as @o. @limit < @size means: never grow. */
void out_init(struct out *o, char *storage, size_t size, size_t limit);

/* Empties @o and keeps its storage. */
void out_reset(struct out *o);

/* Frees what was allocated; @o must be initialised again before its next use. */
void out_free(struct out *o);

/* Makes room for @len more bytes. False: there is none, and `failed` is set. */
bool out_grow(struct out *o, size_t len);

/* Where the next @len bytes belong; the caller writes at most as many there and adds them to `len`.
 * NULL: failed. Inline like what follows, since a reply is made of thousands of pieces of a few
 * bytes. */
static inline char *out_room(struct out *o, size_t len)
{
    if ((len > o->capacity - o->len || o->failed) && !out_grow(o, len))
        return NULL;
    return o->data + o->len;
}

static inline void out_bytes(struct out *o, const char *bytes, size_t len)
{
    char *at = len > 0 ? out_room(o, len) : NULL; /* @bytes may be NULL when there are none */

    if (at == NULL)
        return;
    memcpy(at, bytes, len);
    o->len += len;
}

static inline void out_char(struct out *o, char c)
{
    out_bytes(o, &c, 1);
}

static inline void out_text(struct out *o, const char *text)
{
    out_bytes(o, text, strlen(text));
}

void out_uint(struct out *o, uint64_t value);
void out_int(struct out *o, int64_t value);

/* @value with at least @width digits, filled by zeros from the left; @width <= 20. */
void out_padded(struct out *o, uint64_t value, unsigned width);

#endif
