/* Join tokens: what a person carries from a node of the flock to a newcomer.
 *
 * "covey1-" and base64url (RFC 4648 section 5, no padding) of
 *
 *   0      1, the version
 *   1..8   id of the token: its issuer finds the secret by it
 *   9..40  secret: proves that the newcomer was invited, and seals the join
 *   41..72 cluster's public key: whoever signs with another one is not the flock
 *   73     number of addresses, 1 to 4; of each: 4 or 6, the IP address, the port
 *   ...    first 4 bytes of the BLAKE2b-256 hash of all before: tells a damaged token from a wrong
 *          one
 *
 * A token is a secret for as long as its issuer accepts it. Time to live and uses are kept by the
 * issuer, not in the token. */
#ifndef COVEY_WIRE_TOKEN_H
#define COVEY_WIRE_TOKEN_H

#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/id.h"
#include "proto/wire/keys.h"

#define TOKEN_PREFIX "covey1-"
#define TOKEN_ID 8
#define TOKEN_SECRET 32
#define TOKEN_ADDRS_MAX 4
#define TOKEN_TEXT_MAX 256   /* bytes of a token's text, terminating zero included */
#define TOKEN_ID_TEXT_MAX 17 /* 16 hexadecimal digits and the terminating zero */

struct token {
    uint8_t id[TOKEN_ID];
    uint8_t secret[TOKEN_SECRET];
    uint8_t cluster_key[KEYS_PUBLIC];
    uint8_t addr_count;
    struct addr addrs[TOKEN_ADDRS_MAX]; /* of nodes that admit, best first */
};

/* The id as the store and people name the token. */
void token_id_format(const uint8_t id[TOKEN_ID], char text[TOKEN_ID_TEXT_MAX]);

/* Errors: ERR_INVALID no address, or too many, or one of no family. */
int token_format(const struct token *token, char text[TOKEN_TEXT_MAX]);

/* Reads a token; blanks around it are ignored. Errors: ERR_INVALID, ERR_VERSION (made by a newer
 * release), with a text that says what to do. */
int token_parse(const char *text, struct token *token, struct err *err);

#endif
