/* The datagram between agents: a clear header, then ChaCha20-Poly1305 (IETF, RFC 8439) over the
 * body with the header as associated data. Big endian.
 *
 *   0       version << 4 | kind
 *   1..3    number of the cluster's key epoch; in DATA and FIRST 0: traffic about keys (channel.h)
 *   4..7    session tag: which of the sessions between the two nodes (0 in HELLO and ACCEPT)
 *   8..15   sender
 *   16..23  counter: the nonce, never used twice under one key
 *
 * and in HELLO, ACCEPT and FIRST, which speak of sessions that the receiver may not know yet:
 *
 *   24..31  boot session of the sender
 *   32..35  handshake number of the initiator
 *   36..39  handshake number of the responder (0 in HELLO)
 *
 * The nonce is 4 zero bytes and the counter. Keys are those of channel.h. JOIN_REQUEST and
 * JOIN_REPLY (join.h), KNOCK and KNOCK_REPLY (knock.h), INTRODUCE and NOTICE (notice.h) share byte
 * 0 only; kinds 7 and 12 to 15 are reserved.
 *
 * Versions: DATA and FIRST carry the protocol version that the two nodes agreed on in their
 * handshake. All other kinds carry ENVELOPE_FORM and keep their form for ever, so that any two
 * releases can tell each other which versions they speak. A release speaks its own version and the
 * one before it. */
#ifndef COVEY_WIRE_ENVELOPE_H
#define COVEY_WIRE_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/id.h"
#include "proto/wire/msg.h"
#include "proto/wire/reason.h"

#define ENVELOPE_FORM 1 /* of handshakes, joins, introductions: final */
/* Lowest and highest protocol version that this release speaks. The next release that changes
 * messages sets 1 and 2, the one after it 2 and 3; tests/lab builds them as such already. */
#ifndef ENVELOPE_VERSION_MAX
#define ENVELOPE_VERSION_MIN 1
#define ENVELOPE_VERSION_MAX 1
#endif
#define ENVELOPE_VERSION_LIMIT 15
#define ENVELOPE_SHORT 24
#define ENVELOPE_LONG 40
#define ENVELOPE_TAG 16
#define ENVELOPE_KEY 32
#define ENVELOPE_EPOCH_MAX 0xffffff

/* The longest body that always fits, whichever header it gets. */
#define ENVELOPE_BODY_MAX (MSG_DATAGRAM_MAX - ENVELOPE_LONG - ENVELOPE_TAG)

enum envelope_kind {
    ENVELOPE_DATA = 1,   /* short header; body: a message (codec.h) */
    ENVELOPE_HELLO = 2,  /* body: lowest and highest version spoken; more is ignored */
    ENVELOPE_ACCEPT = 3, /* the same */
    ENVELOPE_FIRST = 4,  /* data of a session that the receiver has not answered in yet */
    ENVELOPE_INTRODUCE = 5,
    ENVELOPE_NOTICE = 6,
    ENVELOPE_JOIN_REQUEST = 8,
    ENVELOPE_JOIN_REPLY = 9,
    ENVELOPE_KNOCK = 10,
    ENVELOPE_KNOCK_REPLY = 11,
};

struct envelope {
    uint8_t kind;    /* enum envelope_kind */
    uint8_t version; /* 1 to ENVELOPE_VERSION_LIMIT; of a handshake ENVELOPE_FORM */
    uint32_t epoch;
    uint32_t tag;
    node_id sender;
    uint64_t counter;
    uint64_t boot; /* this and the following: HELLO, ACCEPT, FIRST; else 0 */
    uint32_t initiator;
    uint32_t responder;
};

/* Which kind a datagram claims to be, or 0: empty, or neither of a form nor of a version that can
 * be told from here. DATA and FIRST may be of any version. */
uint8_t envelope_kind(const uint8_t *datagram, size_t len);

/* Reads the header of a DATA, HELLO, ACCEPT or FIRST datagram; nothing of it is proven yet. Which
 * version a session speaks is the channel's to check.
 * Returns WIRE_OK, WIRE_TRUNCATED, WIRE_OVERSIZED, WIRE_VERSION or WIRE_KIND. */
enum wire_reason envelope_parse(const uint8_t *datagram, size_t len, struct envelope *e);

/* Writes the datagram and returns its size, at most MSG_DATAGRAM_MAX. @len <= ENVELOPE_BODY_MAX
 * and the ranges of the header's fields are asserted. */
size_t envelope_seal(const struct envelope *e, const uint8_t key[ENVELOPE_KEY], const uint8_t *body,
                     size_t len, uint8_t out[MSG_DATAGRAM_MAX]);

/* Decrypts the body of a datagram that envelope_parse accepted. False: the tag is wrong, and @body
 * holds nothing. */
bool envelope_open(const struct envelope *e, const uint8_t key[ENVELOPE_KEY],
                   const uint8_t *datagram, size_t len, uint8_t body[MSG_DATAGRAM_MAX],
                   size_t *body_len);

/* Which counters were received (RFC 6479). Zero is an empty window; counter 0 is never used. */
#define REPLAY_WORDS 17
#define REPLAY_WINDOW (64 * (REPLAY_WORDS - 1)) /* counters this far behind are refused */

struct replay {
    uint64_t highest;
    uint64_t seen[REPLAY_WORDS];
};

/* Whether @counter is new. */
bool replay_fresh(const struct replay *r, uint64_t counter);

/* Marks a fresh counter as received: to be called after the tag has verified, never before. */
void replay_mark(struct replay *r, uint64_t counter);

#endif
