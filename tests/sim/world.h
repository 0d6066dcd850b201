/* A flock of ours, or a cluster of the model of memberlist: the same questions to both, so that
 * what is measured of one is measured of the other in the same way. */
#ifndef COVEY_TESTS_WORLD_H
#define COVEY_TESTS_WORLD_H

#include "tests/sim/flock.h"
#include "tests/sim/memberlist.h"

struct world {
    struct flock *flock; /* exactly one of both */
    struct memberlists *peer;
    struct simnet *net;
    size_t count;
};

struct world_options {
    size_t nodes;
    uint64_t seed;
    bool peer;            /* memberlist's model */
    bool streams;         /* covey: there is TCP between the nodes */
    int64_t handshake_ms; /* of ours, as in flock_options */
    bool bare;            /* of ours: membership without records */
    bool strangers;       /* of ours, as in flock_options; else all know each other */
    uint32_t ring_max;
};

struct world_counts {
    uint64_t deaths; /* wrong ones, without those that concern sick nodes */
    uint64_t deaths_sick;
    uint64_t suspicions;
    uint64_t bytes; /* sent by all, Ethernet headers included */
    uint64_t packets;
};

struct world world_create(const struct world_options *options);
void world_destroy(struct world *w);
/* False: an invariant failed, and was told. */
bool world_run(struct world *w, int64_t ms);
void world_crash(struct world *w, size_t node);
void world_restart(struct world *w, size_t node);
void world_set_sick(struct world *w, size_t node);
bool world_dead(const struct world *w, size_t observer, size_t subject);
mono_t world_since(const struct world *w, size_t observer, size_t subject);
bool world_whole(const struct world *w);
struct world_counts world_counts(const struct world *w); /* since the beginning */

#endif
