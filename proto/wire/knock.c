#include "proto/wire/knock.h"

#include <assert.h>
#include <string.h>

#include "proto/wire/bytes.h"
#include "proto/wire/envelope.h"

#define KEY_AT 4
#define NONCE_AT 36
#define ADDR_AT 60
#define NAME_AT 79
#define REPLY_NONCE_AT 4
#define REPLY_CLUSTER_AT 28
#define REPLY_KEY_AT 60
#define REPLY_NAME_AT 97
#define NAME_FIELD (1 + NODE_NAME_MAX)

static const char knock_label[] = "covey knock 1";
static const char reply_label[] = "covey knock reply 1";

static uint8_t *put_name(uint8_t *at, const char *name)
{
    size_t len = strnlen(name, NODE_NAME_MAX);

    *at = (uint8_t)len;
    put_bytes(at + 1, name, len); /* the rest is zero */
    return at + NAME_FIELD;
}

/* False: longer than a name, something behind it, or no name. */
static bool get_name(const uint8_t *at, char name[NODE_NAME_MAX + 1])
{
    size_t len = at[0];

    memset(name, 0, NODE_NAME_MAX + 1);
    if (len > NODE_NAME_MAX)
        return false;
    for (size_t i = len; i < NODE_NAME_MAX; i++)
        if (at[1 + i] != 0)
            return false;
    memcpy(name, at + 1, len);
    return name_valid(name);
}

static enum wire_reason check(const uint8_t *datagram, size_t len, uint8_t kind, size_t size,
                              size_t key_at, const char *label)
{
    if (len < size)
        return WIRE_TRUNCATED;
    if (len > size)
        return WIRE_OVERSIZED;
    if (envelope_kind(datagram, len) != kind)
        return WIRE_KIND;
    return keys_verify(datagram + key_at, label, datagram, size - KEYS_SIGNATURE,
                       datagram + size - KEYS_SIGNATURE)
               ? WIRE_OK
               : WIRE_AUTHENTICATION;
}

int knock_seal(const struct keys_identity *self, struct knock *knock, uint8_t out[KNOCK_SIZE])
{
    uint8_t *at;

    if (!name_valid(knock->name) ||
        (knock->addr.family != 0 && knock->addr.family != 4 && knock->addr.family != 6))
        return ERR_INVALID;
    memcpy(knock->public_key, self->public_key, KEYS_PUBLIC);
    memset(out, 0, KNOCK_SIZE);
    out[0] = (uint8_t)(ENVELOPE_FORM << 4 | ENVELOPE_KNOCK);
    at = put_bytes(out + KEY_AT, self->public_key, KEYS_PUBLIC);
    at = put_bytes(at, knock->nonce, KNOCK_NONCE);
    at = put_uint(at, knock->addr.family, 1);
    put_bytes(at, knock->addr.ip, knock->addr.family == 4 ? 4 : knock->addr.family == 6 ? 16 : 0);
    put_uint(at + 16, knock->addr.family != 0 ? knock->addr.port : 0, 2);
    put_name(out + NAME_AT, knock->name);
    keys_sign(self, knock_label, out, KNOCK_SIZE - KEYS_SIGNATURE,
              out + KNOCK_SIZE - KEYS_SIGNATURE);
    return ERR_NONE;
}

enum wire_reason knock_open(const uint8_t *datagram, size_t len, struct knock *knock)
{
    enum wire_reason reason = check(datagram, len, ENVELOPE_KNOCK, KNOCK_SIZE, KEY_AT, knock_label);
    uint8_t family;

    if (reason != WIRE_OK)
        return reason;
    memset(knock, 0, sizeof *knock);
    memcpy(knock->public_key, datagram + KEY_AT, KEYS_PUBLIC);
    memcpy(knock->nonce, datagram + NONCE_AT, KNOCK_NONCE);
    family = datagram[ADDR_AT];
    if ((family != 0 && family != 4 && family != 6) || !get_name(datagram + NAME_AT, knock->name))
        return WIRE_BODY_VALUE;
    knock->addr.family = family;
    memcpy(knock->addr.ip, datagram + ADDR_AT + 1, family == 4 ? 4 : family == 6 ? 16 : 0);
    knock->addr.port = family != 0 ? (uint16_t)get_uint(datagram + ADDR_AT + 17, 2) : 0;
    return WIRE_OK;
}

void knock_reply_seal(const struct keys_identity *holder, const struct knock_reply *reply,
                      uint8_t out[KNOCK_REPLY_SIZE])
{
    uint8_t *at;

    static_assert(REPLY_NAME_AT + NAME_FIELD + 2 * KEYS_SIGNATURE == KNOCK_REPLY_SIZE,
                  "admission and signature are the end");
    static_assert(KNOCK_REPLY_SIZE <= KNOCK_SIZE, "no amplification");
    memset(out, 0, KNOCK_REPLY_SIZE);
    out[0] = (uint8_t)(ENVELOPE_FORM << 4 | ENVELOPE_KNOCK_REPLY);
    at = put_bytes(out + REPLY_NONCE_AT, reply->nonce, KNOCK_NONCE);
    at = put_bytes(at, reply->cluster_key, KEYS_PUBLIC);
    at = put_bytes(at, holder->public_key, KEYS_PUBLIC);
    at = put_uint(at, reply->holder.role, 1);
    at = put_uint(at, reply->holder.serial, 4);
    at = put_name(at, reply->holder.name);
    at = put_bytes(at, reply->holder.signature, KEYS_SIGNATURE);
    keys_sign(holder, reply_label, out, KNOCK_REPLY_SIZE - KEYS_SIGNATURE, at);
}

enum wire_reason knock_reply_open(const uint8_t *datagram, size_t len, struct knock_reply *reply)
{
    struct keys_admission *holder = &reply->holder;
    enum wire_reason reason =
        check(datagram, len, ENVELOPE_KNOCK_REPLY, KNOCK_REPLY_SIZE, REPLY_KEY_AT, reply_label);

    if (reason != WIRE_OK)
        return reason;
    memset(reply, 0, sizeof *reply);
    memcpy(reply->nonce, datagram + REPLY_NONCE_AT, KNOCK_NONCE);
    memcpy(reply->cluster_key, datagram + REPLY_CLUSTER_AT, KEYS_PUBLIC);
    memcpy(holder->public_key, datagram + REPLY_KEY_AT, KEYS_PUBLIC);
    holder->role = datagram[REPLY_KEY_AT + KEYS_PUBLIC];
    holder->serial = (uint32_t)get_uint(datagram + REPLY_KEY_AT + KEYS_PUBLIC + 1, 4);
    if (!get_name(datagram + REPLY_NAME_AT, holder->name))
        return WIRE_BODY_VALUE;
    memcpy(holder->signature, datagram + REPLY_NAME_AT + NAME_FIELD, KEYS_SIGNATURE);
    return keys_verify_admission(reply->cluster_key, holder) ? WIRE_OK : WIRE_AUTHENTICATION;
}

int knock_token(const struct keys_identity *self, const uint8_t other[KEYS_PUBLIC],
                const uint8_t nonce[KNOCK_NONCE], const uint8_t cluster_key[KEYS_PUBLIC],
                struct token *token)
{
    uint8_t shared[KEYS_SHARED], id[KEYS_DERIVED];

    memset(token, 0, sizeof *token);
    if (keys_shared(self, other, shared) != ERR_NONE)
        return ERR_INVALID;
    static_assert(TOKEN_SECRET == KEYS_DERIVED, "a derived key is the secret");
    keys_derive(shared, "covey knock secret 1", nonce, KNOCK_NONCE, token->secret);
    keys_derive(shared, "covey knock id 1", nonce, KNOCK_NONCE, id);
    memcpy(token->id, id, TOKEN_ID);
    memcpy(token->cluster_key, cluster_key, KEYS_PUBLIC);
    keys_wipe(shared, sizeof shared);
    return ERR_NONE;
}
