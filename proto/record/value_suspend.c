/* The value of a record "suspend/APP". */
#include <string.h>

#include "proto/record/value_codec.h"
#include "proto/wire/codec_io.h"

/* Letters of the commit are not checked: who asks Git for it does. */
static bool valid(const struct value_suspend *v)
{
    size_t commit = strnlen(v->commit, sizeof v->commit);
    size_t by = strnlen(v->by, sizeof v->by);

    return v->stamp >= 0 && v->until >= 0 && by < sizeof v->by && name_valid(v->by) &&
           (commit == 0 || (commit == COMMIT_TEXT - 1 &&
                            strspn(v->commit, "0123456789abcdef") == COMMIT_TEXT - 1));
}

int value_suspend_encode(const struct value_suspend *v, uint8_t *out, size_t cap, size_t *len)
{
    struct pack p;

    *len = 0;
    if (!valid(v))
        return ERR_INVALID;
    pack_begin(&p, out, cap);
    pack_array(&p, 6);
    pack_bool(&p, v->on);
    pack_uint(&p, (uint64_t)v->stamp);
    pack_uint(&p, (uint64_t)v->until);
    pack_text(&p, v->commit, sizeof v->commit);
    pack_text(&p, v->by, sizeof v->by);
    pack_text(&p, v->reason, sizeof v->reason);
    *len = p.full ? 0 : p.len;
    return p.full ? ERR_LIMIT : ERR_NONE;
}

int value_suspend_decode(const uint8_t *data, size_t len, struct value_suspend *v)
{
    struct unpack u;

    memset(v, 0, sizeof *v);
    unpack_begin(&u, data, len);
    unpack_fields(&u, 6);
    v->on = unpack_bool(&u);
    v->stamp = (int64_t)unpack_uint(&u, 0, INT64_MAX);
    v->until = (int64_t)unpack_uint(&u, 0, INT64_MAX);
    unpack_text(&u, v->commit, sizeof v->commit);
    unpack_text(&u, v->by, sizeof v->by);
    unpack_text(&u, v->reason, sizeof v->reason);
    return unpack_end(&u) == WIRE_OK && valid(v) ? ERR_NONE : ERR_INVALID;
}
