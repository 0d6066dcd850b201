/* The inside of the keyring, for keyring.c (what it holds) and keyring_sync.c (how it travels)
 * only.
 */
#ifndef COVEY_KEYS_KEYRING_INSIDE_H
#define COVEY_KEYS_KEYRING_INSIDE_H

#include "proto/base/rng.h"
#include "proto/keys/keyring.h"

struct keyring_node { /* a peer */
    node_id id;
    bool known;
    struct keymsg_state state; /* as it has said */
    mono_t next;               /* attempt to bring it up to date */
    mono_t sent;               /* the last one */
    mono_t heard;
    mono_t doubted;
    mono_t told_clone; /* when we told it that it is one, */
    mono_t says_clone; /* and when it told us so */
    uint8_t tries;
};

struct keyring {
    node_id self;
    uint8_t cluster_key[KEYS_PUBLIC];
    struct keys_identity cluster;
    bool holder;
    struct rng rng;
    mono_t now;
    struct keyring_out *out; /* during a step */

    struct keys_epoch epochs[KEYRING_EPOCHS]; /* newest first */
    size_t epoch_count;
    struct keys_revocation *revoked; /* ascending by id */
    node_id *revoked_ids;
    size_t revoked_count;
    struct keymsg_state state; /* of this node, as peers are told */

    struct keyring_node **peers; /* ascending by id */
    size_t peer_count;
    mono_t due;
    bool cloned;
    mono_t cloned_until; /* when keyring_cloned may change by itself; MONO_NEVER: not */
};

/* keyring.c */
struct keyring_node *keyring_node_of(const struct keyring *ring, node_id id);
int keyring_learn_epoch(struct keyring *ring, const struct keys_epoch *epoch);
int keyring_learn_revocation(struct keyring *ring, const struct keys_revocation *revocation);

/* keyring_sync.c */
void keyring_news(struct keyring *ring); /* this node has got something that its peers may lack */
void keyring_wake(struct keyring *ring, struct keyring_node *peer, mono_t at);
int keyring_receive(struct keyring *ring, struct keyring_node *peer, const struct keymsg *msg);
void keyring_heard(struct keyring *ring, struct keyring_node *peer, bool restarted);
void keyring_doubt(struct keyring *ring, struct keyring_node *peer);
void keyring_tell_clone(struct keyring *ring, struct keyring_node *peer);
void keyring_tick(struct keyring *ring);
bool keyring_in_sync(const struct keyring *ring, const struct keyring_node *peer);

#endif
