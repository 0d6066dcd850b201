/* What agents say to each other, decoded: plain structures with fixed bounds.
 *
 * One datagram carries one message; a probe or an answer carries membership updates besides
 * (piggyback, SWIM section 4). On the wire a message is a msgpack array whose first element is its
 * type (codec.h); an array with more elements than its type has is refused, not skipped. */
#ifndef COVEY_WIRE_MSG_H
#define COVEY_WIRE_MSG_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/id.h"

#define MSG_DATAGRAM_MAX 1200  /* bytes of a sealed datagram: no IP fragments on any path */
#define MSG_UPDATES_MAX 8      /* membership updates in one datagram */
#define MSG_DIGEST_MAX 48      /* authors in one digest */
#define MSG_RECORDS_MAX 16     /* records in one delta */
#define MSG_LEASE_ITEMS_MAX 40 /* leases in one lease message */
#define MSG_VOTERS_MAX 5       /* voters of leases (vip-protocol: a majority of at most five) */
#define MSG_SIGNATURE 64       /* bytes of an Ed25519 signature */

#define RECORD_KEY_MAX 144   /* bytes of a record's key, terminating zero included */
#define RECORD_VALUE_MAX 720 /* bytes of a record's value: one record always fits a datagram */

enum msg_type {
    MSG_PING = 1, /* probe: answered by MSG_ACK with the same sequence number */
    MSG_ACK = 2,
    MSG_PING_REQ = 3, /* "probe @target for me": answered by MSG_ACK or MSG_NACK */
    MSG_NACK = 4,     /* Lifeguard: the relay lives, its probe of the target has no answer yet */
    MSG_GOSSIP = 5,   /* updates alone */
    MSG_DIGEST = 6,   /* "this is what I know of the authors from first to last" */
    MSG_DELTA = 7,    /* records of one author, a gapless range of versions */
    MSG_LEASE_REQUEST = 8,
    MSG_LEASE_REPLY = 9,
    MSG_LEASE_RELEASE = 10,
    MSG_LEASE_TRANSFER = 11,
};

/* A statement about a member, signed by its author, so that a relay can neither forge nor alter it.
 * MSG_ALIVE is signed by its subject. */
enum msg_update_kind { MSG_ALIVE = 1, MSG_SUSPECT = 2, MSG_DEAD = 3, MSG_LEFT = 4 };

struct msg_update {
    uint8_t kind; /* enum msg_update_kind */
    node_id subject;
    node_id author;
    uint64_t incarnation; /* boot number << 32 | count: higher after every start */
    struct addr addr;     /* MSG_ALIVE: where the subject listens */
    uint8_t signature[MSG_SIGNATURE];
};

struct msg_probe { /* PING, ACK, PING_REQ, NACK; GOSSIP uses the updates alone */
    uint32_t sequence;
    node_id target;       /* PING_REQ: whom to probe; ACK, NACK of a relay: who was probed; else
                           * none */
    struct addr address;  /* PING_REQ: where the target was last seen; else family 0 */
    uint64_t root;        /* hash over all records that the sender holds */
    uint8_t update_count; /* <= MSG_UPDATES_MAX */
    struct msg_update updates[MSG_UPDATES_MAX];
};

struct msg_digest_entry {
    node_id author;
    uint64_t version; /* the sender holds every live record of the author up to this one */
};

struct msg_digest {
    bool reply;    /* the receiver shall answer with its own digest of the same range */
    node_id first; /* the digest is complete for authors in [first, last] */
    node_id last;
    uint8_t count;
    struct msg_digest_entry entries[MSG_DIGEST_MAX]; /* ascending by author */
};

/* One record. The signature covers author, floor, version, key and value (record.h). An empty value
 * is a tombstone. Pointers borrow the buffer that was decoded, or the record table. */
struct msg_record {
    const char *key; /* key_len bytes, no zero inside, not zero-terminated */
    uint8_t key_len; /* 0 is the author's head record */
    const uint8_t *value;
    uint16_t value_len; /* <= RECORD_VALUE_MAX */
    uint64_t version;   /* boot number << 32 | count */
    uint64_t floor;     /* records of this author at or below this version are void */
    uint8_t signature[MSG_SIGNATURE];
};

struct msg_delta {
    node_id author;
    uint64_t from; /* the delta holds every live record with from < version <= to */
    uint64_t to;
    uint8_t count;
    struct msg_record records[MSG_RECORDS_MAX]; /* ascending by version; the author's head may come
                                                 * last, above @to, to introduce the author */
};

enum msg_verdict {
    MSG_ASK = 0,    /* REQUEST: the candidate asks, or holds by the voters' grants */
    MSG_GRANT = 1,  /* REPLY, TRANSFER: to the receiver's session */
    MSG_REFUSE = 2, /* REPLY */
    MSG_SOLO = 3,   /* REQUEST: the candidate holds the lease on the gateway's word */
    MSG_INVITE = 4, /* TRANSFER: the holder bids the receiver to ask for the lease */
    MSG_FREE = 5,   /* RELEASE, TRANSFER: the sender's session is over */
    MSG_DEFEND = 6, /* RELEASE: the sender has touched the gateway's register; write it anew */
};
#define MSG_VERDICT_MAX MSG_DEFEND

struct msg_lease_item {
    uint64_t lease;   /* hash64 of the lease's name ("vip/10.77.0.210", "singleton/app/name") */
    uint64_t session; /* of whom the lease is asked for, granted to, or released by */
    uint8_t verdict;  /* enum msg_verdict */
    uint32_t left;    /* REPLY, refused: milliseconds that the standing promise has left; else 0 */
    node_id to;       /* REPLY, refused: to whom it was given (none: other reasons); else none */
};

struct msg_lease {
    uint32_t sequence; /* of the request; a reply or transfer echoes it */
    uint32_t set;      /* number of the voter set that the sender has adopted */
    uint16_t lease_ms; /* T of the request */
    uint16_t fence_ms; /* F of the request */
    /* REQUEST: "renew all that you have promised me", named by a digest over it; 0: nothing. */
    uint64_t digest;
    /* REPLY: to such a digest, MSG_GRANT, or MSG_REFUSE where the promises are others: the list
     * itself has to be sent. 0: the request had none. */
    uint8_t renewed;
    uint8_t item_count; /* 0, in a request without digest, is a bare sign of life that wants no
                         * reply */
    struct msg_lease_item items[MSG_LEASE_ITEMS_MAX];
};

struct msg {
    uint8_t type; /* enum msg_type */
    union {
        struct msg_probe probe;
        struct msg_digest digest;
        struct msg_delta delta;
        struct msg_lease lease;
    };
};

#endif
