/* The value of a record "drift/SUBJECT". */
#include <string.h>

#include "proto/record/value_codec.h"
#include "proto/wire/codec_io.h"

static bool valid(const struct value_drift *v)
{
    return v->since >= 0 && v->what[0] != '\0';
}

int value_drift_encode(const struct value_drift *v, uint8_t *out, size_t cap, size_t *len)
{
    struct pack p;

    *len = 0;
    if (!valid(v))
        return ERR_INVALID;
    pack_begin(&p, out, cap);
    pack_array(&p, 3);
    pack_uint(&p, (uint64_t)v->since);
    pack_text(&p, v->app, sizeof v->app);
    pack_text(&p, v->what, sizeof v->what);
    *len = p.full ? 0 : p.len;
    return p.full ? ERR_LIMIT : ERR_NONE;
}

int value_drift_decode(const uint8_t *data, size_t len, struct value_drift *v)
{
    struct unpack u;

    memset(v, 0, sizeof *v);
    unpack_begin(&u, data, len);
    unpack_fields(&u, 3);
    v->since = (int64_t)unpack_uint(&u, 0, INT64_MAX);
    unpack_text(&u, v->app, sizeof v->app);
    unpack_text(&u, v->what, sizeof v->what);
    return unpack_end(&u) == WIRE_OK && valid(v) ? ERR_NONE : ERR_INVALID;
}
