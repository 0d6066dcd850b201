/* Placement: which node runs which replica. Pure, and the same on every node that has the same
 * commit and the same view of the members.
 *
 * Rendezvous hashing (Thaler and Ravishankar 1998) with spread: a replica goes to the eligible node
 * that has the fewest replicas of the workload so far; among those the highest hash of (workload,
 * replica, node) wins. First over all admitted nodes, dead ones too; then only the replicas of
 * nodes that are gone move, so that a death or a return moves nothing else.
 *
 * What a workload requests is set aside: place_home is called for all workloads in the order of
 * their names, on one array of nodes, then place_move for all of them likewise. */
#ifndef COVEY_CORE_PLACE_H
#define COVEY_CORE_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/desired/desired.h"
#include "proto/base/id.h"

struct place_node {
    node_id id;
    const char *name;
    const struct desired_map *labels; /* from cluster.yaml; NULL: none */
    bool usable;         /* alive (or dead for less than the hold-down), not draining */
    uint64_t memory;     /* bytes that it has; 0: not known, and not counted */
    uint32_t cpu_milli;  /* likewise, thousandths of a core */
    uint64_t memory_set; /* aside, for what is placed on it */
    uint64_t cpu_set;
};

/* Fills @owner[0 … replicas) with indices into @nodes, −1 for "nowhere". @scratch has room for
 * @count numbers. @nodes may be in any order. */
void place_home(const struct desired_workload *workload, struct place_node *nodes, size_t count,
                uint32_t *scratch, int *owner);
/* @owner as place_home left it: replicas of nodes that are not usable go elsewhere. */
void place_move(const struct desired_workload *workload, struct place_node *nodes, size_t count,
                uint32_t *scratch, int *owner);

/* @node has room for one more instance; and sets it aside. */
bool place_fits(const struct desired_workload *workload, const struct place_node *node);
void place_set_aside(const struct desired_workload *workload, struct place_node *node);

/* Why a replica runs nowhere, for people: "no room: pi1 has 100 of 512 MiB left, …". */
void place_why(const struct desired_workload *workload, const struct place_node *nodes,
               size_t count, char *text, size_t size);

/* The node's labels satisfy the workload's nodeSelector ("covey.dev/node" is the node's name), and
 * the secrets that it names were sealed to the node. */
bool place_eligible(const struct desired_workload *workload, const struct place_node *node);

/* The rank of @nodes[index] for @key among usable nodes: 0 is the preferred owner of a lease. */
uint32_t place_rank(uint64_t key, const struct place_node *nodes, size_t count, size_t index);

#endif
