#include "proto/wire/hmac.h"

#include <sodium.h>
#include <string.h>

void hmac_sha256_text(const void *key, size_t key_len, const void *data, size_t size,
                      char text[HMAC_SHA256_TEXT])
{
    crypto_auth_hmacsha256_state state;
    unsigned char sum[crypto_auth_hmacsha256_BYTES];

    crypto_auth_hmacsha256_init(&state, key, key_len);
    crypto_auth_hmacsha256_update(&state, data, size);
    crypto_auth_hmacsha256_final(&state, sum);
    sodium_bin2hex(text, HMAC_SHA256_TEXT, sum, sizeof sum);
}

bool hmac_same_text(const char *a, const char *b)
{
    size_t len = strlen(a);

    return strlen(b) == len && sodium_memcmp(a, b, len) == 0;
}
