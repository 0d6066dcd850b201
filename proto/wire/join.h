/* Joining a flock by a token, over UDP: one request, one reply, either may be repeated. Pure.
 *
 *   0       protocol version << 4 | JOIN_REQUEST or JOIN_REPLY (envelope.h)
 *   1..3    0
 *   4..11   id of the token
 *   12..35  nonce, random
 *   36..    XChaCha20-Poly1305 of the body; all before is associated data
 *
 * The request's key comes from the token's secret, the reply's from that and the request's nonce,
 * so a reply belongs to one request. Bodies are msgpack:
 *
 *   request  [public key, name, role, address, signature of the newcomer over id, nonce and these]
 *   welcome  [1, cluster key, role, serial, admission, [epoch, revocations, digest, signature],
 * box, [public key, name, role, serial, admission, address]]    the last: of the seed refusal  [2,
 * text]
 *
 * The box holds the epoch's secret under a key from the X25519 secret of seed and newcomer besides:
 * others who have the token, or find it later, do not get it.
 *
 * The issuer looks up the token by its id and is silent when there is none, or when the request
 * does not open: only who has the token gets an answer. Asking again must give the same admission
 * and take no further use of the token; its uses and their record are the store's. A request that
 * was overheard can be replayed while its token is accepted, so answer only a few per second. */
#ifndef COVEY_WIRE_JOIN_H
#define COVEY_WIRE_JOIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/id.h"
#include "proto/wire/keys.h"
#include "proto/wire/msg.h"
#include "proto/wire/reason.h"
#include "proto/wire/token.h"

#define JOIN_NONCE 24
#define JOIN_TEXT_MAX 240 /* bytes of a refusal, terminating zero included */

struct join_request {
    uint8_t public_key[KEYS_PUBLIC];
    char name[NODE_NAME_MAX + 1];
    uint8_t role;     /* enum value_role, as the newcomer is configured */
    struct addr addr; /* where the newcomer will listen; family 0: where the request comes from */
    uint8_t token[TOKEN_ID];
    uint8_t nonce[JOIN_NONCE];
};

struct join_welcome {
    struct keys_admission admission; /* of the newcomer */
    struct keys_admission seed;      /* of the node that answers */
    struct addr seed_addr;
    uint8_t cluster_key[KEYS_PUBLIC];
    struct keys_epoch epoch;
};

/* The newcomer. @nonce is random, new for each attempt; the datagram may be sent repeatedly.
 * Errors: ERR_INVALID @name is no name of a node. */
int join_request_seal(const struct token *token, const struct keys_identity *self, const char *name,
                      uint8_t role, const struct addr *addr, const uint8_t nonce[JOIN_NONCE],
                      uint8_t out[MSG_DATAGRAM_MAX], size_t *len);

/* The token that a request refers to; false if it is too short or no JOIN_REQUEST. */
bool join_token_id(const uint8_t *datagram, size_t len, uint8_t id[TOKEN_ID]);

/* The issuer, with the secret of that token. The name is valid and the signature checked when
 * WIRE_OK is returned. */
enum wire_reason join_request_open(const uint8_t secret[TOKEN_SECRET], const uint8_t *datagram,
                                   size_t len, struct join_request *request);

/* The answers; @nonce is random, new for each. @seed is the identity that welcome->seed admits.
 * Errors: ERR_INVALID the newcomer's key is not usable. A refusal's text is cut to JOIN_TEXT_MAX.
 */
int join_welcome_seal(const uint8_t secret[TOKEN_SECRET], const struct join_request *request,
                      const struct keys_identity *seed, const struct join_welcome *welcome,
                      const uint8_t nonce[JOIN_NONCE], uint8_t out[MSG_DATAGRAM_MAX], size_t *len);
void join_refusal_seal(const uint8_t secret[TOKEN_SECRET], const struct join_request *request,
                       const char *text, const uint8_t nonce[JOIN_NONCE],
                       uint8_t out[MSG_DATAGRAM_MAX], size_t *len);

/* The newcomer, with the nonce and name of its request. On success everything is checked: the
 * cluster key is the token's, both admissions and the epoch are signed by it, the newcomer's is for
 * this key and this name. Wipe @welcome when done with it.
 * Errors: ERR_AUTH not an answer to this request, or none of the flock: go on waiting; ERR_DENIED
 * refused, @err says why. */
int join_reply_open(const struct token *token, const struct keys_identity *self, const char *name,
                    const uint8_t request_nonce[JOIN_NONCE], const uint8_t *datagram, size_t len,
                    struct join_welcome *welcome, struct err *err);

#endif
