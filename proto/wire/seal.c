#include "proto/wire/seal.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define VERSION 1
#define LABEL "covey sealed value 1"
#define NONCE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG crypto_aead_xchacha20poly1305_ietf_ABYTES
#define PADDED_MAX (SEAL_VALUE_MAX + SEAL_BLOCK)
#define VALUE_BYTES_MAX (1 + NONCE + PADDED_MAX + TAG)
#define BOX_BYTES (1 + crypto_box_SEALBYTES + SEAL_KEY)
#define BASE64 sodium_base64_VARIANT_ORIGINAL
/* sodium_base642bin takes some bytes above 127 for letters. */
#define ALPHABET "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
#define NAME_MAX_BYTES 256 /* of a secret, and of a value */

static_assert(sodium_base64_ENCODED_LEN(BOX_BYTES, BASE64) == SEAL_KEY_TEXT, "SEAL_KEY_TEXT");
static_assert(sodium_base64_ENCODED_LEN(VALUE_BYTES_MAX, BASE64) <= SEAL_VALUE_TEXT_MAX,
              "SEAL_VALUE_TEXT_MAX");
static_assert(sodium_base64_ENCODED_LEN(KEYS_PUBLIC, BASE64) == SEAL_PUBLIC_TEXT,
              "SEAL_PUBLIC_TEXT");
static_assert(SEAL_KEY == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "SEAL_KEY");

static int decode(const char *text, uint8_t *bytes, size_t size, size_t *len)
{
    size_t digits = strlen(text);

    if (strspn(text, ALPHABET) != digits ||
        sodium_base642bin(bytes, size, text, digits, NULL, len, NULL, BASE64) != 0)
        return ERR_INVALID;
    return ERR_NONE;
}

void seal_new_key(uint8_t key[SEAL_KEY])
{
    randombytes_buf(key, SEAL_KEY);
}

int seal_key(const uint8_t node[KEYS_PUBLIC], const uint8_t key[SEAL_KEY], char text[SEAL_KEY_TEXT])
{
    uint8_t bytes[BOX_BYTES] = {VERSION};
    uint8_t curve[crypto_scalarmult_curve25519_BYTES];

    if (crypto_sign_ed25519_pk_to_curve25519(curve, node) != 0 ||
        crypto_box_seal(bytes + 1, key, SEAL_KEY, curve) != 0)
        return ERR_INVALID;
    sodium_bin2base64(text, SEAL_KEY_TEXT, bytes, sizeof bytes, BASE64);
    return ERR_NONE;
}

int seal_open_key(const struct keys_identity *node, const char *text, uint8_t key[SEAL_KEY])
{
    uint8_t bytes[BOX_BYTES], opened[SEAL_KEY];
    uint8_t public_key[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES];
    uint8_t curve_public[crypto_box_PUBLICKEYBYTES], curve_secret[crypto_box_SECRETKEYBYTES];
    size_t len;
    int rc = decode(text, bytes, sizeof bytes, &len);

    if (rc != ERR_NONE || len == 0)
        return ERR_INVALID;
    if (bytes[0] != VERSION)
        return ERR_VERSION;
    if (len != sizeof bytes)
        return ERR_INVALID;
    crypto_sign_seed_keypair(public_key, secret, node->seed);
    if (crypto_sign_ed25519_pk_to_curve25519(curve_public, public_key) != 0 ||
        crypto_sign_ed25519_sk_to_curve25519(curve_secret, secret) != 0 ||
        crypto_box_seal_open(opened, bytes + 1, sizeof bytes - 1, curve_public, curve_secret) != 0)
        rc = ERR_DENIED;
    if (rc == ERR_NONE)
        memcpy(key, opened, SEAL_KEY);
    sodium_memzero(secret, sizeof secret);
    sodium_memzero(curve_secret, sizeof curve_secret);
    sodium_memzero(opened, sizeof opened);
    return rc;
}

/* What is authenticated besides: the label and both names, each with its zero, so that no pair of
 * names reads as another one. */
static size_t context(const char *name, const char *part,
                      char text[sizeof LABEL + 2 * NAME_MAX_BYTES])
{
    size_t name_size = strlen(name) + 1, part_size = strlen(part) + 1;

    if (name_size > NAME_MAX_BYTES || part_size > NAME_MAX_BYTES)
        return 0;
    memcpy(text, LABEL, sizeof LABEL);
    memcpy(text + sizeof LABEL, name, name_size);
    memcpy(text + sizeof LABEL + name_size, part, part_size);
    return sizeof LABEL + name_size + part_size;
}

int seal_value(const uint8_t key[SEAL_KEY], const char *name, const char *part, const void *value,
               size_t len, char text[SEAL_VALUE_TEXT_MAX])
{
    char about[sizeof LABEL + 2 * NAME_MAX_BYTES];
    size_t about_len = context(name, part, about), padded_len;
    unsigned long long sealed = 0;
    uint8_t *bytes, *padded;
    int rc = ERR_NONE;

    if (len > SEAL_VALUE_MAX)
        return ERR_LIMIT;
    if (about_len == 0 || (len > 0 && memchr(value, '\0', len) != NULL))
        return ERR_INVALID;
    bytes = malloc(VALUE_BYTES_MAX + PADDED_MAX);
    if (bytes == NULL)
        return ERR_NOMEM;
    padded = bytes + VALUE_BYTES_MAX;
    if (len > 0)
        memcpy(padded, value, len);
    if (sodium_pad(&padded_len, padded, len, SEAL_BLOCK, PADDED_MAX) != 0)
        rc = ERR_INTERNAL;
    if (rc == ERR_NONE) {
        bytes[0] = VERSION;
        randombytes_buf(bytes + 1, NONCE);
        crypto_aead_xchacha20poly1305_ietf_encrypt(bytes + 1 + NONCE, &sealed, padded, padded_len,
                                                   (const uint8_t *)about, about_len, NULL,
                                                   bytes + 1, key);
        sodium_bin2base64(text, SEAL_VALUE_TEXT_MAX, bytes, 1 + NONCE + (size_t)sealed, BASE64);
    }
    sodium_memzero(padded, PADDED_MAX);
    free(bytes);
    return rc;
}

/* @bytes: what was decoded; @padded has PADDED_MAX bytes. */
static int open_bytes(const uint8_t key[SEAL_KEY], const char *about, size_t about_len,
                      const uint8_t *bytes, size_t len, uint8_t *padded, size_t *value_len)
{
    unsigned long long opened = 0;

    if (len == 0)
        return ERR_INVALID;
    if (bytes[0] != VERSION)
        return ERR_VERSION;
    if (len < 1 + NONCE + SEAL_BLOCK + TAG)
        return ERR_INVALID;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(padded, &opened, NULL, bytes + 1 + NONCE,
                                                   len - 1 - NONCE, (const uint8_t *)about,
                                                   about_len, bytes + 1, key) != 0)
        return ERR_DENIED;
    if (sodium_unpad(value_len, padded, (size_t)opened, SEAL_BLOCK) != 0 ||
        *value_len > SEAL_VALUE_MAX || memchr(padded, '\0', *value_len) != NULL)
        return ERR_INVALID;
    return ERR_NONE;
}

int seal_open_value(const uint8_t key[SEAL_KEY], const char *name, const char *part,
                    const char *text, char value[SEAL_VALUE_MAX + 1], size_t *len)
{
    char about[sizeof LABEL + 2 * NAME_MAX_BYTES];
    size_t about_len = context(name, part, about), size;
    uint8_t *bytes = malloc(VALUE_BYTES_MAX + PADDED_MAX);
    uint8_t *padded = bytes + VALUE_BYTES_MAX;
    int rc;

    if (bytes == NULL)
        return ERR_NOMEM;
    rc = about_len > 0 ? decode(text, bytes, VALUE_BYTES_MAX, &size) : ERR_INVALID;
    if (rc == ERR_NONE)
        rc = open_bytes(key, about, about_len, bytes, size, padded, len);
    if (rc == ERR_NONE) {
        memcpy(value, padded, *len);
        value[*len] = '\0';
    }
    sodium_memzero(bytes, VALUE_BYTES_MAX + PADDED_MAX);
    free(bytes);
    return rc;
}

void seal_public_format(const uint8_t node[KEYS_PUBLIC], char text[SEAL_PUBLIC_TEXT])
{
    sodium_bin2base64(text, SEAL_PUBLIC_TEXT, node, KEYS_PUBLIC, BASE64);
}

int seal_public_parse(const char *text, uint8_t node[KEYS_PUBLIC])
{
    uint8_t bytes[KEYS_PUBLIC];
    size_t len;
    int rc = decode(text, bytes, sizeof bytes, &len);

    if (rc != ERR_NONE || len != sizeof bytes)
        return ERR_INVALID;
    memcpy(node, bytes, sizeof bytes);
    return ERR_NONE;
}
