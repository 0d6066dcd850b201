/* Channels and keyrings of many nodes on a virtual clock: the very code that agentd runs, with real
 * keys, over a network that loses, delays, repeats and is cut. Disks, crashes, copied cards, and
 * people who rotate and revoke. One seed is one run. */
#ifndef COVEY_TESTS_KEYS_WORLD_H
#define COVEY_TESTS_KEYS_WORLD_H

#include "proto/keys/keyring.h"
#include "tests/lib/simnet.h"

#define WORLD_NODES_MAX 128
#define WORLD_PINGS_MAX 2000000

struct world_options {
    size_t nodes;
    uint64_t seed;
    size_t holders;  /* of the cluster key: the first ones */
    int64_t ping_ms; /* a node says something to a random peer about so often */
    bool ring;       /* ... to its neighbours, as a large flock does, and to others now and then */
    bool replays;    /* somebody sends old datagrams again, from anywhere */
    bool releases;   /* some speak one more protocol version than others */
    size_t thief;    /* this node's software forges what it can; SIZE_MAX: none */
    bool trace;
};

struct world;

struct world *world_create(const struct world_options *options);
void world_destroy(struct world *w);

/* False when an invariant is broken. */
bool world_run(struct world *w, int64_t ms);
const char *world_broken(const struct world *w); /* "" for nothing */
void world_break(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
int64_t world_now(const struct world *w);
struct simnet *world_net(struct world *w);
struct rng *world_rng(struct world *w);

void world_set_ping(struct world *w, int64_t ping_ms);
void world_rotate(struct world *w, size_t holder);
void world_revoke(struct world *w, size_t holder, size_t node);
bool world_is_revoked(const struct world *w, size_t node); /* somebody has said so */
void world_stop(struct world *w, size_t node,
                bool power); /* @power: what is not written yet is lost */
void world_start(struct world *w, size_t node);
bool world_is_up(const struct world *w, size_t node);
/* A machine with a copy of @node's disk starts; returns its number. */
size_t world_clone(struct world *w, size_t node);

bool world_knows_revoked(const struct world *w, size_t node, size_t revoked);
bool world_says_cloned(const struct world *w, size_t node);
bool world_quarantines(const struct world *w, size_t node, size_t clone);
uint32_t world_epoch(const struct world *w, size_t node);
/* All that run and are not revoked have one epoch and one list of revocations, and all pairs of
 * them (in a ring: all neighbours) have heard each other under it. Else @why. */
bool world_converged(struct world *w, char *why, size_t size);
/* Runs until that is so; the time that it took, or -1 (and it is broken) after @limit_ms. */
int64_t world_settle(struct world *w, int64_t limit_ms);

struct world_counts {
    uint64_t sent, received; /* pings that were sealed (or wait for it), and that arrived */
    uint64_t replayed;
    uint64_t key_bytes; /* of traffic about keys, IPv4 and UDP headers included */
};
const struct world_counts *world_counts(const struct world *w);
/* Of all pings but the @first ones, those that did not arrive. */
uint64_t world_lost(const struct world *w, uint64_t first);

#endif
