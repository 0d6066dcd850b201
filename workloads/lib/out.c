#include "workloads/lib/out.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void out_init(struct out *o, char *storage, size_t size, size_t limit)
{
    *o = (struct out){.data = storage, .capacity = size, .limit = limit};
}

void out_reset(struct out *o)
{
    o->len = 0;
    o->failed = false;
    o->comma = false;
}

void out_free(struct out *o)
{
    if (o->heap)
        free(o->data);
    *o = (struct out){0};
}

bool out_grow(struct out *o, size_t len)
{
    size_t needed = o->len + len;
    size_t capacity = o->capacity;
    char *data;

    if (o->failed)
        return false;
    o->failed = true;
    if (len > SIZE_MAX - o->len || needed > o->limit)
        return false;
    while (capacity < needed)
        capacity = capacity < o->limit / 2 ? capacity * 2 + 64 : o->limit;
    data = realloc(o->heap ? o->data : NULL, capacity);
    if (data == NULL)
        return false;
    if (!o->heap && o->len > 0)
        memcpy(data, o->data, o->len);
    o->data = data;
    o->capacity = capacity;
    o->heap = true;
    o->failed = false;
    return true;
}

void out_padded(struct out *o, uint64_t value, unsigned width)
{
    char digits[20]; /* of UINT64_MAX */
    size_t at = sizeof digits;

    assert(width <= sizeof digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    while (sizeof digits - at < width)
        digits[--at] = '0';
    out_bytes(o, digits + at, sizeof digits - at);
}

void out_uint(struct out *o, uint64_t value)
{
    out_padded(o, value, 1);
}

void out_int(struct out *o, int64_t value)
{
    if (value < 0)
        out_char(o, '-');
    out_uint(o, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}
