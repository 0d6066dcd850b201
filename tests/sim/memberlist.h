/* A model of memberlist, the library under serf and Consul, for comparison on the same simulated
 * network: its algorithm and constants as its source has them (state.go, suspicion.go, queue.go,
 * net.go of v0.2.2, the one in Debian's serf), written anew. It speaks no wire format; each packet
 * counts for as many bytes as serf's encrypted one has, TCP and Ethernet headers included.
 * tests/bench/gossip --model holds it against live serf. */
#ifndef COVEY_TESTS_MEMBERLIST_H
#define COVEY_TESTS_MEMBERLIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/lib/simnet.h"

struct memberlist_options {
    size_t nodes;
    uint64_t seed;
    bool exhaustive; /* choose random nodes as memberlist 0.6 does: never fewer than there are */
};

struct memberlists; /* a cluster of them */

struct memberlists *memberlists_create(const struct memberlist_options *options);
void memberlists_destroy(struct memberlists *c);
struct simnet *memberlists_net(struct memberlists *c);
void memberlists_run(struct memberlists *c, mono_t until);
void memberlists_crash(struct memberlists *c, size_t node);
void memberlists_restart(struct memberlists *c, size_t node);
void memberlists_set_sick(struct memberlists *c, size_t node);

bool memberlists_dead(const struct memberlists *c, size_t observer, size_t subject);
mono_t memberlists_since(const struct memberlists *c, size_t observer, size_t subject);
bool memberlists_whole(const struct memberlists *c);

/* As in struct flock. */
struct memberlist_counts {
    uint64_t deaths_false;
    uint64_t deaths_sick;
    uint64_t suspicions_false;
};
void memberlists_reset_counts(struct memberlists *c);
struct memberlist_counts memberlists_counts(const struct memberlists *c);

#endif
