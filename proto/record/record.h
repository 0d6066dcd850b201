/* Records: what each node says about itself, readable on every node.
 *
 * Each node is the only author of its records (key, value). A record carries a version (boot number
 * << 32 | count, so that it only grows), the author's floor at the time of signing, and the
 * author's signature. Records with a version at or below the floor are void: a node starts each
 * life with floor = boot number << 32, so all it said in an earlier life ends when its first new
 * record is known. Deletion is a record with an empty value; it is kept until the author raises the
 * floor above it and gives its other records new versions (compaction), so that nothing deleted can
 * come back.
 *
 * Spread: own changes are pushed at once, to all peers in a small flock, by rumour in a large one.
 * What that misses is found by comparing a root hash that rides on probes: on a difference both
 * sides exchange digests (author, version) and then deltas, gapless ranges of one author's
 * versions.
 *
 * Pure: no I/O, no clock. Messages that come in were authenticated as their sender's. */
#ifndef COVEY_RECORD_RECORD_H
#define COVEY_RECORD_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/id.h"
#include "proto/base/mono.h"
#include "proto/wire/msg.h"

#define RECORDS_AUTHORS_MAX FLOCK_NODES_MAX /* default, this node included */
#define RECORDS_PER_AUTHOR_MAX 256          /* tombstones included */
#define RECORDS_BYTES_PER_AUTHOR 65536      /* default: keys and values of one author */
#define RECORDS_TOMBSTONES_MAX 32           /* own; one more starts a compaction */
#define RECORDS_EAGER_MAX 16                /* nodes up to which own changes go to every peer */
#define RECORDS_SENDS_MAX 16                /* messages out of one step */
#define RECORDS_CHANGES_MAX 48              /* changes out of one step */

struct records_config {
    node_id self;
    uint64_t
        boot; /* boot number, 1 to 2^32 - 1; persisted before it is used, higher at each start */
    uint64_t seed;             /* of the random numbers */
    uint32_t author_max;       /* 0 is RECORDS_AUTHORS_MAX */
    uint32_t bytes_per_author; /* 0 is RECORDS_BYTES_PER_AUTHOR */

    /* Fills r->signature for an own record (author, floor, version, key and value are covered).
     * NULL leaves it zero (simulation). */
    void (*sign)(void *ctx, node_id author, struct msg_record *r);

    /* Whether a record that is about to be stored is its author's. The author may be unknown (not
     * admitted yet): then the record is the author's head (key_len 0), and true admits the author.
     * Called only for records that would change something, own ones from an earlier life included.
     * NULL accepts all (simulation). */
    bool (*verify)(void *ctx, node_id author, const struct msg_record *r);
    void *ctx; /* of both; they must not call back into the table */
};

enum records_event_type {
    RECORDS_TIMER = 1, /* the deadline has come; harmless when it has not */
    RECORDS_MESSAGE,   /* from, msg: DIGEST or DELTA of an admitted peer */
    RECORDS_ROOT,      /* from, root: seen in a probe or an answer of this peer */
    RECORDS_PEER_UP,   /* from: reachable from now on; own changes are pushed to it */
    RECORDS_PEER_DOWN, /* from */
    RECORDS_ADMIT,     /* from: its records are welcome (no head needed first); it may be a peer */
    RECORDS_GREET,  /* from: send it our head, because it may not know us; ADMIT and PEER_UP do so
                     * by themselves */
    RECORDS_REVOKE, /* from: drop its records; what verify admits again is its own affair */
};

struct records_event {
    uint8_t type; /* enum records_event_type */
    node_id from;
    const struct msg *msg; /* borrowed for the call */
    uint64_t root;
};

struct records_send {
    node_id to;
    struct msg msg; /* DIGEST or DELTA; a delta's pointers borrow the table: encode it before the
                     * next call that is not const */
};

enum records_change_type {
    RECORDS_SET = 1,  /* a record is new or has a new value */
    RECORDS_DELETED,  /* a record is gone */
    RECORDS_ADMITTED, /* an author is new (its head follows as RECORDS_SET) */
    RECORDS_RESET,    /* author raised its floor: read again all that it has; what it had and is not
                       * there is gone */
    RECORDS_REVOKED,  /* the author and all its records are gone */
    RECORDS_REFUSED,  /* a record of this author found no room (ERR_FULL) */
    RECORDS_FORGED,   /* verify said no to a record of this author that peer sent */
    RECORDS_FUTURE, /* author is self: a peer holds an own signed record with a higher version than
                     * any of this life: the store was lost or set back, or a clone runs. The table
                     * has gone on from @version already, well above; the agent makes its boot
                     * number at least (version >> 32), so that the next start is higher, and
                     * reports ERR_CONFLICT */
};

struct records_change {
    uint8_t type; /* enum records_change_type */
    node_id author;
    node_id peer;    /* who sent it; NODE_NONE for own calls */
    const char *key; /* not zero-terminated; SET and DELETED: borrowed as in a send; REFUSED, FORGED
                      * and FUTURE: from the event's message */
    uint8_t key_len;
    const uint8_t *value; /* SET */
    uint16_t value_len;
    uint64_t version;
};

struct records_out {
    size_t send_count;
    struct records_send sends[RECORDS_SENDS_MAX];
    size_t change_count;
    struct records_change changes[RECORDS_CHANGES_MAX];
};

/* A record as stored. Pointers borrow the table until its next call that is not const. */
struct record_view {
    node_id author;
    const char *key; /* zero-terminated here */
    uint8_t key_len;
    const uint8_t *value;
    uint16_t value_len; /* > 0 */
    uint64_t version;
    uint64_t floor;
};

struct records;

/* Errors: ERR_NOMEM, ERR_INVALID. *r is set on success only; free with records_destroy. */
int records_create(const struct records_config *config, mono_t now, struct records **r);
void records_destroy(struct records *r); /* NULL is allowed */

/* As membership_step: advances to @now, borrows @event, resets and fills @out (about 35 kB). Work
 * that finds no room in @out stays due.
 * Errors, the event being ignored: ERR_FULL no room for the author; ERR_NOTFOUND a delta of an
 * author that is not admitted and whose head is not in it, or that verify refuses, or a peer event
 * about an author that is not admitted; ERR_INVALID a malformed message or event; ERR_NOMEM. */
int records_step(struct records *r, mono_t now, const struct records_event *event,
                 struct records_out *out);

/* When records_step wants to be called with RECORDS_TIMER; may lie in the past. Own changes make it
 * due at once, so that changes made together leave together. */
mono_t records_deadline(const struct records *r);

/* Sets an own record; nothing happens when it has this value already. @key is zero-terminated, ""
 * is the head, which must be set first in every life; 1 <= @len <= RECORD_VALUE_MAX. No change is
 * reported for own calls.
 * Errors: ERR_FULL (records or bytes), ERR_LIMIT (key or value too long, value empty), ERR_INVALID
 * (no head yet), ERR_NOMEM. */
int records_set(struct records *r, const char *key, const void *value, size_t len);

/* Deletes an own record. Errors: ERR_NOTFOUND, ERR_INVALID (the head), ERR_NOMEM. */
int records_delete(struct records *r, const char *key);

/* The order-independent hash over all live records: equal on two nodes whose tables are equal. */
uint64_t records_root(const struct records *r);

/* Errors: ERR_NOTFOUND (unknown author or key, or deleted). */
int records_get(const struct records *r, node_id author, const char *key, struct record_view *view);

/* Calls @visit for each live record whose key starts with @prefix ("" for all), ordered by author,
 * then key; of one author only unless @author is NODE_NONE. Stops when @visit returns false. The
 * table must not be changed meanwhile. */
void records_each(const struct records *r, node_id author, const char *prefix,
                  bool (*visit)(void *ctx, const struct record_view *view), void *ctx);

/* Admitted authors, this node included, ascending by id. */
size_t records_author_count(const struct records *r);
node_id records_author_at(const struct records *r, size_t index);

/* Up to which version this node holds all live records of the author; 0 for an unknown one. */
uint64_t records_version(const struct records *r, node_id author);

/* Whether this node and @peer have once in this life been seen to hold the same records: what that
 * one knew when this node began, this node knows. */
bool records_agreed(const struct records *r, node_id peer);

#endif
