/* The value of a record "pool/NAME". */
#include <string.h>

#include "proto/record/value_codec.h"
#include "proto/wire/codec_io.h"

int value_pool_encode(const struct value_pool *v, uint8_t *out, size_t cap, size_t *len)
{
    struct pack p;

    *len = 0;
    if (v->number == 0 || v->number > INT64_MAX || v->stamp < 0)
        return ERR_INVALID;
    pack_begin(&p, out, cap);
    pack_array(&p, 3);
    pack_bin(&p, v->ip, sizeof v->ip);
    pack_uint(&p, v->number);
    pack_uint(&p, (uint64_t)v->stamp);
    *len = p.full ? 0 : p.len;
    return p.full ? ERR_LIMIT : ERR_NONE;
}

int value_pool_decode(const uint8_t *data, size_t len, struct value_pool *v)
{
    struct unpack u;

    memset(v, 0, sizeof *v);
    unpack_begin(&u, data, len);
    unpack_fields(&u, 3);
    unpack_bytes(&u, v->ip, sizeof v->ip);
    v->number = unpack_uint(&u, 1, INT64_MAX);
    v->stamp = (int64_t)unpack_uint(&u, 0, INT64_MAX);
    return unpack_end(&u) == WIRE_OK ? ERR_NONE : ERR_INVALID;
}
