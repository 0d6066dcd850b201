/* What nodes tell each other about keys, in the channel's traffic for that (channel_in.keys). Only
 * bytes that the channel has authenticated may come here.
 *
 *   STATE    [1, number and mark of the newest epoch, number and digest of the revocations, reply]
 *   EPOCH    [2, number, secret, revocations, digest, signature]
 *   REVOKED  [3, [[public key, name, time, signature]...]]
 *   CLONED   [4]   "two machines use your identity"
 *
 * Strict as codec.h: one message has one form. */
#ifndef COVEY_KEYS_KEYMSG_H
#define COVEY_KEYS_KEYMSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/wire/envelope.h"
#include "proto/wire/keys.h"
#include "proto/wire/reason.h"

#define KEYMSG_BODY_MAX ENVELOPE_BODY_MAX
#define KEYMSG_REVOCATIONS_MAX 6 /* in one message: they always fit */

enum keymsg_type { KEYMSG_STATE = 1, KEYMSG_EPOCH = 2, KEYMSG_REVOKED = 3, KEYMSG_CLONED = 4 };

struct keymsg_state {
    uint32_t epoch;
    uint64_t mark; /* keys_epoch_mark */
    uint16_t revoked;
    uint64_t digest; /* keys_revoked_digest */
    bool reply;      /* the receiver shall tell its own state */
};

struct keymsg {
    uint8_t type; /* enum keymsg_type */
    union {
        struct keymsg_state state;
        struct keys_epoch epoch;
        struct {
            uint8_t count;
            struct keys_revocation list[KEYMSG_REVOCATIONS_MAX];
        } revoked;
    };
};

/* Up to KEYMSG_BODY_MAX bytes. Errors: ERR_INVALID what keymsg_decode would refuse; @len is 0 then.
 */
int keymsg_encode(const struct keymsg *m, uint8_t out[KEYMSG_BODY_MAX], size_t *len);

/* Signatures are not checked. @m is unspecified unless WIRE_OK is returned; wipe it: it may hold a
 * secret. */
enum wire_reason keymsg_decode(const uint8_t *body, size_t len, struct keymsg *m);

#endif
