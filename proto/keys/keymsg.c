#include "proto/keys/keymsg.h"

#include <assert.h>
#include <string.h>

#include "proto/wire/codec_io.h"

/* A revocation with the headers of its fields. */
#define REVOCATION_WIRE (1 + 2 + KEYS_PUBLIC + 2 + NODE_NAME_MAX + 9 + 2 + KEYS_SIGNATURE)

static_assert(8 + KEYMSG_REVOCATIONS_MAX * REVOCATION_WIRE <= KEYMSG_BODY_MAX, "they always fit");

int keymsg_encode(const struct keymsg *m, uint8_t out[KEYMSG_BODY_MAX], size_t *len)
{
    struct pack p;

    *len = 0;
    pack_begin(&p, out, KEYMSG_BODY_MAX);
    switch (m->type) {
    case KEYMSG_STATE:
        pack_array(&p, 6);
        pack_uint(&p, KEYMSG_STATE);
        pack_uint(&p, m->state.epoch);
        pack_uint(&p, m->state.mark);
        pack_uint(&p, m->state.revoked);
        pack_uint(&p, m->state.digest);
        pack_bool(&p, m->state.reply);
        break;
    case KEYMSG_EPOCH:
        if (m->epoch.number == 0 || m->epoch.number > ENVELOPE_EPOCH_MAX)
            return ERR_INVALID;
        pack_array(&p, 6);
        pack_uint(&p, KEYMSG_EPOCH);
        pack_uint(&p, m->epoch.number);
        pack_bin(&p, m->epoch.secret, KEYS_EPOCH_SECRET);
        pack_uint(&p, m->epoch.revoked);
        pack_uint(&p, m->epoch.revoked_digest);
        pack_bin(&p, m->epoch.signature, KEYS_SIGNATURE);
        break;
    case KEYMSG_REVOKED:
        if (m->revoked.count == 0 || m->revoked.count > KEYMSG_REVOCATIONS_MAX)
            return ERR_INVALID;
        pack_array(&p, 2);
        pack_uint(&p, KEYMSG_REVOKED);
        pack_array(&p, m->revoked.count);
        for (size_t i = 0; i < m->revoked.count; i++) {
            const struct keys_revocation *r = &m->revoked.list[i];
            if (!name_valid(r->name))
                return ERR_INVALID;
            pack_array(&p, 4);
            pack_bin(&p, r->public_key, KEYS_PUBLIC);
            pack_text(&p, r->name, sizeof r->name);
            pack_int(&p, r->time);
            pack_bin(&p, r->signature, KEYS_SIGNATURE);
        }
        break;
    case KEYMSG_CLONED:
        pack_array(&p, 1);
        pack_uint(&p, KEYMSG_CLONED);
        break;
    default:
        return ERR_INVALID;
    }
    assert(!p.full);
    *len = p.len;
    return ERR_NONE;
}

static void read_revoked(struct unpack *u, struct keymsg *m)
{
    m->revoked.count = (uint8_t)unpack_array(u, KEYMSG_REVOCATIONS_MAX);
    if (m->revoked.count == 0)
        unpack_fail(u, WIRE_BODY_VALUE);
    for (size_t i = 0; i < m->revoked.count; i++) {
        struct keys_revocation *r = &m->revoked.list[i];
        unpack_fields(u, 4);
        unpack_bytes(u, r->public_key, KEYS_PUBLIC);
        unpack_text(u, r->name, sizeof r->name);
        r->time = unpack_int(u, INT64_MIN, INT64_MAX);
        unpack_bytes(u, r->signature, KEYS_SIGNATURE);
        if (!name_valid(r->name))
            unpack_fail(u, WIRE_BODY_VALUE);
    }
}

enum wire_reason keymsg_decode(const uint8_t *body, size_t len, struct keymsg *m)
{
    static const size_t fields[] = {
        [KEYMSG_STATE] = 6, [KEYMSG_EPOCH] = 6, [KEYMSG_REVOKED] = 2, [KEYMSG_CLONED] = 1};
    struct unpack u;
    size_t count;

    memset(m, 0, sizeof *m);
    unpack_begin(&u, body, len);
    count = unpack_array(&u, 6);
    m->type = (uint8_t)unpack_uint(&u, 0, UINT8_MAX);
    if (m->type < KEYMSG_STATE || m->type > KEYMSG_CLONED)
        unpack_fail(&u, WIRE_BODY_TYPE);
    else if (count != fields[m->type])
        unpack_fail(&u, WIRE_BODY_FIELDS);
    if (u.reason != WIRE_OK)
        return u.reason;
    if (m->type == KEYMSG_STATE) {
        m->state.epoch = (uint32_t)unpack_uint(&u, 0, ENVELOPE_EPOCH_MAX);
        m->state.mark = unpack_uint(&u, 0, UINT64_MAX);
        m->state.revoked = (uint16_t)unpack_uint(&u, 0, UINT16_MAX);
        m->state.digest = unpack_uint(&u, 0, UINT64_MAX);
        m->state.reply = unpack_bool(&u);
    } else if (m->type == KEYMSG_EPOCH) {
        m->epoch.number = (uint32_t)unpack_uint(&u, 1, ENVELOPE_EPOCH_MAX);
        unpack_bytes(&u, m->epoch.secret, KEYS_EPOCH_SECRET);
        m->epoch.revoked = (uint16_t)unpack_uint(&u, 0, UINT16_MAX);
        m->epoch.revoked_digest = unpack_uint(&u, 0, UINT64_MAX);
        unpack_bytes(&u, m->epoch.signature, KEYS_SIGNATURE);
    } else if (m->type == KEYMSG_REVOKED) {
        read_revoked(&u, m);
    }
    return unpack_end(&u);
}
