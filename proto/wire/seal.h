/* Sealed values: what people put into Git, and only some nodes can read.
 *
 * A SealedSecret has a data key, drawn when it is sealed, and its values encrypted with that. The
 * data key is sealed to each node that shall read it, by libsodium's sealed box to the X25519 form
 * of the node's identity: whoever seals needs public keys alone, and no node gets another key than
 * the one it has.
 *
 *   recipient's key   base64 of: 1 | crypto_box_seal(data key)
 *   value             base64 of: 1 | nonce, 24 bytes | XChaCha20-Poly1305-IETF of the padded value
 *
 * The name of the secret and that of the value are authenticated with each value: a value that
 * stands in another secret, or under another name, does not open. Values are padded to multiples
 * of SEAL_BLOCK (ISO/IEC 7816-4), so that lengths tell little. Call keys_start() first. */
#ifndef COVEY_WIRE_SEAL_H
#define COVEY_WIRE_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/wire/keys.h"

#define SEAL_KEY 32          /* bytes of a data key */
#define SEAL_VALUE_MAX 32768 /* bytes of a value */
#define SEAL_BLOCK 32        /* values are padded to a multiple of it */
#define SEAL_KEY_TEXT 109    /* bytes of a recipient's key as text, terminating zero included */
#define SEAL_VALUE_TEXT_MAX 43793 /* of the longest value as text, likewise */
#define SEAL_PUBLIC_TEXT 45       /* of a node's public key as text, likewise */

/* A fresh data key. Wipe it with keys_wipe. */
void seal_new_key(uint8_t key[SEAL_KEY]);

/* Seals @key to the node with the identity @node. Errors: ERR_INVALID: @node is no public key. */
int seal_key(const uint8_t node[KEYS_PUBLIC], const uint8_t key[SEAL_KEY],
             char text[SEAL_KEY_TEXT]);

/* Errors: ERR_INVALID @text is damaged; ERR_VERSION it is of a newer release; ERR_DENIED it was
 * sealed to another identity. @key is then unchanged. */
int seal_open_key(const struct keys_identity *node, const char *text, uint8_t key[SEAL_KEY]);

/* Encrypts the @len bytes at @value, the value @part of the secret @name. Errors: ERR_LIMIT (more
 * than SEAL_VALUE_MAX), ERR_INVALID (a zero byte: values are texts). */
int seal_value(const uint8_t key[SEAL_KEY], const char *name, const char *part, const void *value,
               size_t len, char text[SEAL_VALUE_TEXT_MAX]);

/* @value has room for SEAL_VALUE_MAX + 1 bytes and ends with a zero then. Errors: ERR_INVALID
 * damaged; ERR_VERSION; ERR_DENIED encrypted with another key, or for another name. */
int seal_open_value(const uint8_t key[SEAL_KEY], const char *name, const char *part,
                    const char *text, char value[SEAL_VALUE_MAX + 1], size_t *len);

/* A node's public key as people hand it around. Reading: ERR_INVALID. */
void seal_public_format(const uint8_t node[KEYS_PUBLIC], char text[SEAL_PUBLIC_TEXT]);
int seal_public_parse(const char *text, uint8_t node[KEYS_PUBLIC]);

#endif
