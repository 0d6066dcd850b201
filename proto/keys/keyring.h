/* The keys of the flock as one node has them: epochs and revocations, and how they reach everybody.
 *
 * Two kinds of facts, both signed by the cluster's key, both only ever added to: revocations, and
 * epochs of rising numbers. The holder of the cluster key makes them; every node keeps them and
 * brings them to its peers, pairwise, in the channel's traffic about keys, which needs no epoch.
 * Of two epochs of one number (two holders that did not hear each other) the one with the higher
 * mark is the flock's; the other is given up where both are known.
 *
 * Each node knows of each peer which epoch and which revocations that has said to have. Who lacks
 * some is told until it says that it has them: the revocations first. An epoch is handed on only by
 * who has exactly the revocations that it was made with, and only to who has said the same. So
 * whoever has an epoch that a revocation has caused knows the revocation too, and does not hand it
 * to the one that was revoked; that one is no peer of his any more.
 *
 * Nothing expires. A node that was away for years has its own identity and the keys of its peers:
 * with those it opens a session, and the first peer that is heard gives it all that it missed.
 *
 * News go at once to everybody in a small flock, to a few random ones in a large one, and to
 * whoever is heard besides. A step of a holder that has a revocation which its newest epoch does
 * not know of asks for a rotation (keyring_out.rotate). Pure. */
#ifndef COVEY_KEYS_KEYRING_H
#define COVEY_KEYS_KEYRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/id.h"
#include "proto/base/mono.h"
#include "proto/keys/keymsg.h"
#include "proto/wire/channel.h"
#include "proto/wire/keys.h"

#define KEYRING_PEERS_MAX CHANNEL_PEERS_MAX
#define KEYRING_REVOKED_MAX 256 /* of a flock, for ever */
#define KEYRING_EPOCHS CHANNEL_EPOCHS
#define KEYRING_EAGER_MAX 16 /* nodes up to which news go to every peer at once */
#define KEYRING_FANOUT 4     /* beyond that: to so many */
#define KEYRING_SENDS_MAX 16 /* messages out of one step */

#define KEYRING_RETRY_MS 300      /* until a peer has said that it has everything; then doubled, */
#define KEYRING_RETRY_MAX_MS 5000 /* up to this */
#define KEYRING_PRESENT_MS 15000  /* who was not heard for so long is not told until it is */
#define KEYRING_DOUBT_MS 2000     /* between two questions to who speaks under an unknown epoch */
#define KEYRING_CLONED_MS (CHANNEL_CLONE_MS + 15000) /* for so long a peer's word counts */

struct keyring_config {
    node_id self;
    uint8_t cluster_key[KEYS_PUBLIC];
    const struct keys_identity *cluster; /* of a holder, copied; else NULL */
    uint64_t seed;                       /* of the random numbers */
};

enum keyring_event_type {
    KEYRING_TIMER = 1, /* the deadline has come; harmless when it has not */
    KEYRING_HEARD,     /* from, restarted: something authentic came from a peer */
    KEYRING_MESSAGE,   /* from, msg: likewise, and about keys */
    KEYRING_DOUBT,     /* from: it speaks under keys that this node has not; it is asked */
    KEYRING_CLONE,     /* from: two machines use its identity; it is told */
    KEYRING_ROTATE,    /* secret: make an epoch of it (holder) */
    KEYRING_REVOKE,    /* revocation, without a signature (holder) */
    KEYRING_NOTICE,    /* revocation, signed, that came some other way (wire/notice.h) */
};

struct keyring_event {
    uint8_t type; /* enum keyring_event_type */
    node_id from;
    bool restarted;
    const struct keymsg *msg; /* borrowed for the call */
    uint8_t secret[KEYS_EPOCH_SECRET];
    struct keys_revocation revocation;
};

struct keyring_send {
    node_id to;
    struct keymsg msg;
};

struct keyring_out {
    size_t send_count;
    struct keyring_send sends[KEYRING_SENDS_MAX];
    bool epochs;          /* keyring_epochs has changed: give them to the channel, and keep them */
    size_t revoked_count; /* new ones: keep them, and forget these nodes; the ring has done so */
    struct keys_revocation revoked[KEYMSG_REVOCATIONS_MAX];
    bool self_revoked; /* this node is one of them */
    bool rotate;       /* step again with KEYRING_ROTATE and a fresh secret */
    bool has;          /* @from has said that its newest epoch is... */
    uint32_t has_epoch;
    bool cloned_changed; /* keyring_cloned has */
};

struct keyring;

/* Errors: ERR_NOMEM. The caller frees with keyring_destroy, which wipes; NULL is allowed there. */
int keyring_create(const struct keyring_config *config, mono_t now, struct keyring **ring);
void keyring_destroy(struct keyring *ring);

/* What was kept, before the first step. Errors: ERR_AUTH not signed by the cluster's key; ERR_FULL.
 */
int keyring_load_epoch(struct keyring *ring, const struct keys_epoch *epoch);
int keyring_load_revocation(struct keyring *ring, const struct keys_revocation *revocation);

/* An admitted node. Nothing happens if it is known. Errors: ERR_DENIED it was revoked; ERR_FULL;
 * ERR_NOMEM. */
int keyring_add_peer(struct keyring *ring, node_id id);

/* What channel_open says of a peer, as the event KEYRING_HEARD, _DOUBT or _CLONE. False: it says of
 * none. A message about keys is decoded first, and is an event of its own. */
bool keyring_event_of(const struct channel_in *in, struct keyring_event *event);

/* Advances to @now (never earlier than at the last call), resets and fills @out (about 20 kB; wipe
 * it, it may hold secrets). Work that finds no room stays due.
 * Errors, the event being ignored: ERR_NOTFOUND no such peer; ERR_DENIED not a holder, or the node
 * that is to be revoked is this one; ERR_AUTH a message that the cluster's key has not signed;
 * ERR_EXISTS revoked already; ERR_FULL; ERR_LIMIT numbers are used up. */
int keyring_step(struct keyring *ring, mono_t now, const struct keyring_event *event,
                 struct keyring_out *out);
mono_t keyring_deadline(const struct keyring *ring); /* MONO_NEVER: nothing waits */

/* Newest first; borrowed until the next step. */
const struct keys_epoch *keyring_epochs(const struct keyring *ring, size_t *count);
bool keyring_is_holder(const struct keyring *ring);
/* Whether it may hand its newest epoch on: it has the revocations that this was made with. */
bool keyring_is_complete(const struct keyring *ring);
/* Most of the peers say that this node's identity is used by another machine besides. */
bool keyring_cloned(const struct keyring *ring);

/* Ascending by id. */
size_t keyring_revoked_count(const struct keyring *ring);
const struct keys_revocation *keyring_revoked_at(const struct keyring *ring, size_t index);
/* NULL: not revoked. */
const struct keys_revocation *keyring_revoked(const struct keyring *ring, node_id id);

struct keyring_peer {
    bool known;     /* it has said what it has since this node started */
    uint32_t epoch; /* that */
    bool current;   /* it has all that this node has */
};
int keyring_find_peer(const struct keyring *ring, node_id id, struct keyring_peer *peer);

#endif
