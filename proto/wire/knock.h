/* Joining without a token. A newcomer knocks at the holder of the cluster key, and gets to know
 * which flock that claims to be; people compare the fingerprint of both keys (keys_fingerprint),
 * which is another one as soon as either key is not the true one, and approve it. From then on it
 * is a join as by a token (join.h), whose secret only the two of them can compute. Of fixed form,
 * for ever; no byte is looked at before its signature has verified.
 *
 *   KNOCK        0 form, kind; 1..3 zero; 4..35 public key; 36..59 nonce; 60 4, 6 or 0, 61..76 IP
 * and 77..78 port of where it listens; 79..142 length of the name, name, zeros; zeros up to 320, so
 * that no answer is longer; the last 64: signature by that key KNOCK_REPLY  0 form, kind; 1..3
 * zero; 4..27 nonce of the knock; 28..59 cluster key; then of the holder: 60..91 public key, 92
 * role, 93..96 serial, 97..160 name, 161..224 admission; the last 64: signature by the holder's key
 */
#ifndef COVEY_WIRE_KNOCK_H
#define COVEY_WIRE_KNOCK_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/wire/keys.h"
#include "proto/wire/reason.h"
#include "proto/wire/token.h"

#define KNOCK_NONCE 24
#define KNOCK_SIZE 320
#define KNOCK_REPLY_SIZE 289

struct knock {
    uint8_t public_key[KEYS_PUBLIC];
    uint8_t nonce[KNOCK_NONCE]; /* random, one for all attempts of one join */
    struct addr addr;           /* family 0: where it comes from */
    char name[NODE_NAME_MAX + 1];
};

struct knock_reply {
    uint8_t nonce[KNOCK_NONCE];
    uint8_t cluster_key[KEYS_PUBLIC];
    struct keys_admission holder;
};

/* @knock->public_key is set to that of @self. Errors: ERR_INVALID the name is none. */
int knock_seal(const struct keys_identity *self, struct knock *knock, uint8_t out[KNOCK_SIZE]);
void knock_reply_seal(const struct keys_identity *holder, const struct knock_reply *reply,
                      uint8_t out[KNOCK_REPLY_SIZE]);

/* WIRE_OK: signed by the key that it names; of a reply also: the cluster key that it names has
 * admitted that one. Else WIRE_TRUNCATED, WIRE_OVERSIZED, WIRE_KIND, WIRE_AUTHENTICATION,
 * WIRE_BODY_VALUE. */
enum wire_reason knock_open(const uint8_t *datagram, size_t len, struct knock *knock);
enum wire_reason knock_reply_open(const uint8_t *datagram, size_t len, struct knock_reply *reply);

/* The token of this one join, the same on both sides: without addresses on the holder's. Errors:
 * ERR_INVALID the other's key is not usable. */
int knock_token(const struct keys_identity *self, const uint8_t other[KEYS_PUBLIC],
                const uint8_t nonce[KNOCK_NONCE], const uint8_t cluster_key[KEYS_PUBLIC],
                struct token *token);

#endif
