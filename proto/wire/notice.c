#include "proto/wire/notice.h"

#include <assert.h>
#include <string.h>

#include "proto/wire/bytes.h"
#include "proto/wire/envelope.h"

#define KEY_AT 4
#define ROLE_AT 36
#define NUMBER_AT 37
#define NAME_AT 45
#define SIGNATURE_AT (NAME_AT + 1 + NODE_NAME_MAX)

static void put(uint8_t kind, const uint8_t public_key[KEYS_PUBLIC], uint8_t role, uint64_t number,
                const char *name, const uint8_t signature[KEYS_SIGNATURE], uint8_t out[NOTICE_SIZE])
{
    size_t len = strnlen(name, NODE_NAME_MAX);

    static_assert(SIGNATURE_AT + KEYS_SIGNATURE == NOTICE_SIZE, "the signature is the end");
    memset(out, 0, NOTICE_SIZE);
    out[0] = (uint8_t)(ENVELOPE_FORM << 4 | kind);
    put_bytes(out + KEY_AT, public_key, KEYS_PUBLIC);
    out[ROLE_AT] = role;
    put_uint(out + NUMBER_AT, number, 8);
    out[NAME_AT] = (uint8_t)len;
    put_bytes(out + NAME_AT + 1, name, len);
    put_bytes(out + SIGNATURE_AT, signature, KEYS_SIGNATURE);
}

/* One notice has one form: what follows the name is zero. */
static enum wire_reason check_form(uint8_t kind, const uint8_t *datagram, size_t len)
{
    size_t name_len;

    if (len < NOTICE_SIZE)
        return WIRE_TRUNCATED;
    if (len > NOTICE_SIZE)
        return WIRE_OVERSIZED;
    if (envelope_kind(datagram, len) != kind)
        return WIRE_KIND;
    name_len = datagram[NAME_AT];
    if (get_uint(datagram + 1, 3) != 0 || name_len > NODE_NAME_MAX ||
        memchr(datagram + NAME_AT + 1, 0, name_len) != NULL)
        return WIRE_BODY_VALUE;
    for (size_t i = name_len; i < NODE_NAME_MAX; i++)
        if (datagram[NAME_AT + 1 + i] != 0)
            return WIRE_BODY_VALUE;
    return WIRE_OK;
}

void notice_introduce(const struct keys_admission *admission, uint8_t out[NOTICE_SIZE])
{
    put(ENVELOPE_INTRODUCE, admission->public_key, admission->role, admission->serial,
        admission->name, admission->signature, out);
}

void notice_revoked(const struct keys_revocation *revocation, uint8_t out[NOTICE_SIZE])
{
    put(ENVELOPE_NOTICE, revocation->public_key, 0, (uint64_t)revocation->time, revocation->name,
        revocation->signature, out);
}

enum wire_reason notice_open_introduce(const uint8_t cluster_key[KEYS_PUBLIC],
                                       const uint8_t *datagram, size_t len,
                                       struct keys_admission *admission)
{
    enum wire_reason reason = check_form(ENVELOPE_INTRODUCE, datagram, len);
    uint64_t serial;

    if (reason != WIRE_OK)
        return reason;
    serial = get_uint(datagram + NUMBER_AT, 8);
    memset(admission, 0, sizeof *admission);
    memcpy(admission->public_key, datagram + KEY_AT, KEYS_PUBLIC);
    admission->role = datagram[ROLE_AT];
    admission->serial = (uint32_t)serial;
    memcpy(admission->name, datagram + NAME_AT + 1, datagram[NAME_AT]);
    memcpy(admission->signature, datagram + SIGNATURE_AT, KEYS_SIGNATURE);
    if (!keys_verify_admission(cluster_key, admission))
        return WIRE_AUTHENTICATION;
    return serial <= UINT32_MAX && name_valid(admission->name) ? WIRE_OK : WIRE_BODY_VALUE;
}

enum wire_reason notice_open_revoked(const uint8_t cluster_key[KEYS_PUBLIC],
                                     const uint8_t *datagram, size_t len,
                                     struct keys_revocation *revocation)
{
    enum wire_reason reason = check_form(ENVELOPE_NOTICE, datagram, len);

    if (reason != WIRE_OK)
        return reason;
    memset(revocation, 0, sizeof *revocation);
    memcpy(revocation->public_key, datagram + KEY_AT, KEYS_PUBLIC);
    revocation->time = (int64_t)get_uint(datagram + NUMBER_AT, 8);
    memcpy(revocation->name, datagram + NAME_AT + 1, datagram[NAME_AT]);
    memcpy(revocation->signature, datagram + SIGNATURE_AT, KEYS_SIGNATURE);
    if (!keys_verify_revocation(cluster_key, revocation))
        return WIRE_AUTHENTICATION;
    return datagram[ROLE_AT] == 0 && name_valid(revocation->name) ? WIRE_OK : WIRE_BODY_VALUE;
}
