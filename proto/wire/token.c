#include "proto/wire/token.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "proto/wire/bytes.h"

#define VERSION 1
#define CHECKSUM 4
#define FIXED (1 + TOKEN_ID + TOKEN_SECRET + KEYS_PUBLIC + 1)
#define BYTES_MAX (FIXED + TOKEN_ADDRS_MAX * (1 + 16 + 2) + CHECKSUM)
#define BASE64 sodium_base64_VARIANT_URLSAFE_NO_PADDING
#define BLANKS " \t\r\n"
/* sodium_base642bin takes some bytes above 127 for letters. */
#define ALPHABET "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

static_assert(sizeof TOKEN_PREFIX + (BYTES_MAX + 2) / 3 * 4 <= TOKEN_TEXT_MAX,
              "the longest token fits its text");

void token_id_format(const uint8_t id[TOKEN_ID], char text[TOKEN_ID_TEXT_MAX])
{
    sodium_bin2hex(text, TOKEN_ID_TEXT_MAX, id, TOKEN_ID);
}

static void checksum(const uint8_t *bytes, size_t len, uint8_t sum[CHECKSUM])
{
    uint8_t hash[32];

    crypto_generichash(hash, sizeof hash, bytes, len, NULL, 0);
    memcpy(sum, hash, CHECKSUM);
}

int token_format(const struct token *token, char text[TOKEN_TEXT_MAX])
{
    uint8_t bytes[BYTES_MAX];
    uint8_t *at = put_uint(bytes, VERSION, 1);
    size_t prefix = strlen(TOKEN_PREFIX);

    if (token->addr_count < 1 || token->addr_count > TOKEN_ADDRS_MAX)
        return ERR_INVALID;
    at = put_bytes(at, token->id, TOKEN_ID);
    at = put_bytes(at, token->secret, TOKEN_SECRET);
    at = put_bytes(at, token->cluster_key, KEYS_PUBLIC);
    at = put_uint(at, token->addr_count, 1);
    for (size_t i = 0; i < token->addr_count; i++) {
        const struct addr *a = &token->addrs[i];
        if (a->family != 4 && a->family != 6)
            return ERR_INVALID;
        at = put_uint(at, a->family, 1);
        at = put_bytes(at, a->ip, a->family == 4 ? 4 : 16);
        at = put_uint(at, a->port, 2);
    }
    checksum(bytes, (size_t)(at - bytes), at);
    at += CHECKSUM;
    memcpy(text, TOKEN_PREFIX, prefix);
    sodium_bin2base64(text + prefix, TOKEN_TEXT_MAX - prefix, bytes, (size_t)(at - bytes), BASE64);
    keys_wipe(bytes, sizeof bytes);
    return ERR_NONE;
}

/* Reads the addresses at @at, up to @end. False: they do not end there. */
static bool read_addrs(const uint8_t *at, const uint8_t *end, struct token *token)
{
    if (token->addr_count < 1 || token->addr_count > TOKEN_ADDRS_MAX)
        return false;
    for (size_t i = 0; i < token->addr_count; i++) {
        struct addr *a = &token->addrs[i];
        size_t ip;

        if (at == end || (*at != 4 && *at != 6))
            return false;
        a->family = *at++;
        ip = a->family == 4 ? 4 : 16;
        if ((size_t)(end - at) < ip + 2)
            return false;
        memcpy(a->ip, at, ip);
        a->port = (uint16_t)get_uint(at + ip, 2);
        at += ip + 2;
    }
    return at == end;
}

static bool undamaged(const uint8_t *bytes, size_t len)
{
    uint8_t sum[CHECKSUM];

    if (len <= CHECKSUM)
        return false;
    checksum(bytes, len - CHECKSUM, sum);
    return memcmp(sum, bytes + len - CHECKSUM, CHECKSUM) == 0;
}

static bool read_bytes(const uint8_t *bytes, size_t len, struct token *token)
{
    const uint8_t *at = bytes + 1;

    if (len < FIXED + CHECKSUM)
        return false;
    memset(token, 0, sizeof *token);
    memcpy(token->id, at, TOKEN_ID);
    memcpy(token->secret, at + TOKEN_ID, TOKEN_SECRET);
    memcpy(token->cluster_key, at + TOKEN_ID + TOKEN_SECRET, KEYS_PUBLIC);
    token->addr_count = bytes[FIXED - 1];
    return read_addrs(bytes + FIXED, bytes + len - CHECKSUM, token);
}

int token_parse(const char *text, struct token *token, struct err *err)
{
    uint8_t bytes[BYTES_MAX];
    size_t prefix = strlen(TOKEN_PREFIX), len, used;
    const char *end;
    bool good;

    text += strspn(text, BLANKS);
    used = strcspn(text, BLANKS);
    if (strncmp(text, TOKEN_PREFIX, prefix) != 0)
        return err_set(err, ERR_INVALID,
                       "this is no join token: one starts with " TOKEN_PREFIX
                       "; make one by `agentctl token create` on a node of the flock");
    if (text[used + strspn(text + used, BLANKS)] != '\0')
        return err_set(err, ERR_INVALID, "the join token has a blank inside: copy it as one word");
    if (strspn(text + prefix, ALPHABET) != used - prefix ||
        sodium_base642bin(bytes, sizeof bytes, text + prefix, used - prefix, NULL, &len, &end,
                          BASE64) != 0 ||
        end != text + used || !undamaged(bytes, len))
        len = 0;
    if (len > 0 && bytes[0] != VERSION)
        return err_set(err, ERR_VERSION,
                       "the join token is of version %u, this agent knows version %d: install the "
                       "release that the flock runs",
                       bytes[0], VERSION);
    good = len > 0 && read_bytes(bytes, len, token);
    keys_wipe(bytes, sizeof bytes);
    if (!good)
        return err_set(
            err, ERR_INVALID,
            "the join token is damaged (%zu characters): copy it whole, from " TOKEN_PREFIX
            " to its last character",
            used);
    return ERR_NONE;
}
