/* The voter set: whose grants make a lease, and how the set changes (rule 11 of docs/vip.md).
 *
 * Sets are numbered from 1. One node, the coordinator (it holds the cluster key), decides the next
 * set and publishes it as a record; each voter adopts it, stores the number durably, and publishes
 * the number. Two sets that follow each other differ in one voter, so that any two majorities of
 * them meet; sets further apart never have leases at the same time, because set n+1 appears only B
 * after so many voters of set n-1 have adopted n that the others are no majority of it. Pure. */
#ifndef COVEY_LEASE_VOTERS_H
#define COVEY_LEASE_VOTERS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/id.h"
#include "proto/base/mono.h"
#include "proto/wire/msg.h"

struct voter_set {
    uint32_t number; /* 0: no set */
    uint8_t count;
    node_id voters[MSG_VOTERS_MAX];
};

/* Number, count and distinct, real voters. */
bool voter_set_valid(const struct voter_set *set);
bool voter_set_has(const struct voter_set *set, node_id node);
unsigned voter_set_majority(const struct voter_set *set);

/* Whether @seen, which the coordinator has signed, is to be adopted by a node that has @mine. It
 * must be stored durably before it is given to the leases (LEASES_VOTERS) and before its number is
 * published. A node that missed sets may go to the newest at once: by the rule above no lease of a
 * set that it skips can still live when the newest appears. */
bool voters_adopt(const struct voter_set *mine, const struct voter_set *seen);

/* The coordinator's memory, a plain structure that it must store durably before it publishes
 * @current. Zero is a flock without voters. */
struct voters_state {
    struct voter_set current;
    struct voter_set
        previous; /* count 0: not known (lost); then all of current must have adopted */
};

struct voters_node { /* an admitted node */
    node_id id;
    uint32_t adopted; /* the number it has published; 0 for none */
};

struct voters {
    struct voters_state state;
    mono_t settled; /* since when no lease of previous can begin; MONO_NEVER: it still can */
    mono_t due;
};

/* After a start, or after a new @state was stored. */
void voters_init(struct voters *v, const struct voters_state *state);

/* Looks at the admitted nodes, in the order of their admission, and says whether a next set is due:
 * then it stands in @next with its predecessor, to be stored, given to voters_init, adopted by the
 * coordinator itself, and published, in this order. At most five voters, an odd number of them
 * except for two; they change one by one. To be called when a node is admitted or revoked, when an
 * adopted number changes, and at voters_deadline(). */
bool voters_next(struct voters *v, mono_t now, const struct voters_node *nodes, unsigned count,
                 struct voters_state *next);

/* When voters_next may have a new answer without any other event; MONO_NEVER: not before one. */
mono_t voters_deadline(const struct voters *v);

#endif
