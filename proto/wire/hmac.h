/* HMAC-SHA-256 (RFC 2104) as lower-case hexadecimal digits: what webhooks are signed with. */
#ifndef COVEY_WIRE_HMAC_H
#define COVEY_WIRE_HMAC_H

#include <stdbool.h>
#include <stddef.h>

#define HMAC_SHA256_TEXT 65 /* bytes, terminating zero included */

void hmac_sha256_text(const void *key, size_t key_len, const void *data, size_t size,
                      char text[HMAC_SHA256_TEXT]);

/* Whether both texts are the same, in a time that depends on their lengths alone. */
bool hmac_same_text(const char *a, const char *b);

#endif
