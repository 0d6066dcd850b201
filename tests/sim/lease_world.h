/* A world for the lease machine: agents that may be stopped between any two of their steps, killed
 * and restarted; machines with clocks of their own that reboot; a kernel that ends fences by
 * itself; a network that loses, delays, doubles and reorders; a gateway. Virtual time, one seed, no
 * I/O.
 *
 * The world checks safety itself at each fence that is written: what counts is not what a node
 * believes but what its kernel would still answer for. */
#ifndef COVEY_SIM_LEASE_WORLD_H
#define COVEY_SIM_LEASE_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/rng.h"
#include "proto/lease/lease.h"

#define WORLD_NODES_MAX 8
#define WORLD_LEASES 3
#define WORLD_GATEWAY WORLD_NODES_MAX /* its index among the links */

struct world_wish {
    bool wanted;
    uint8_t kind;
    uint8_t mode;
    uint8_t rank;
};

struct world_config {
    int nodes;
    struct voter_set voters; /* node ids are 1 + index */
    bool timers_first;    /* the loop runs due timers before it reads its socket, as libuv does */
    int stop_per_million; /* chance that a step of an agent is its last for a while */
    uint32_t term_min_ms;
    bool terms_differ;  /* each life of an agent draws a term_min_ms of its own */
    uint32_t calm_ms;   /* as in struct leases_config */
    bool register_kept; /* the gateway keeps its ARP cache by the last writer, and the nodes know */
    bool trace;
};

struct world;

struct world *world_create(const struct world_config *config, uint64_t seed);
void world_destroy(struct world *w);

/* Runs until the true time @until (microseconds). False when safety was violated; world_failure()
 * then says how. */
bool world_run(struct world *w, int64_t until);
const char *world_failure(const struct world *w);
int64_t world_now(const struct world *w);
struct rng *world_rng(struct world *w);

/* The network: [from][to], WORLD_GATEWAY is one of them. What is under way still arrives. */
void world_link(struct world *w, int from, int to, bool up);
void world_quality(struct world *w, int loss_percent, int64_t delay_us, int tail_percent);

void world_forget(struct world *w, int lease); /* the gateway does, its ARP cache's entry */

/* Agents and machines. */
void world_stop(struct world *w, int node, int64_t us);
void world_kill(struct world *w, int node, int64_t restart_after_us, bool keep_record);
void world_reboot(struct world *w, int node, int64_t off_us, int64_t boot_us);
void world_wake_all(struct world *w); /* continues what is stopped, ends drains and full disks */
void world_persist_fails(struct world *w, int node, bool fails);
void world_stops(struct world *w, int per_million);

/* What people want. */
void world_wish(struct world *w, int node, int lease, struct world_wish wish);
void world_move(struct world *w, int lease, int to);
void world_drain(struct world *w, int node, bool on);
void world_adopt(struct world *w, int node,
                 const struct voter_set *set); /* stores it, then tells */
uint32_t world_adopted(const struct world *w, int node);

/* Who answers for the lease now: -1 nobody, else the index of the node. */
int world_holder(const struct world *w, int lease);

struct world_stats {
    uint64_t steps;
    uint64_t acquired;
    uint64_t resumed;
    uint64_t lost[16]; /* by enum lease_reason */
    uint64_t solo_overlaps;
    uint64_t defended; /* challenges that a living holder met */
    uint64_t blinks;   /* a stale fence write that the second read of the clock took back */
};
const struct world_stats *world_stats(const struct world *w);

#endif
