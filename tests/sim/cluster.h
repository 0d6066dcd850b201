/* Whole nodes on a virtual clock: the very machine that agentd runs (agent/core/node.h), an
 * executor that carries out its effects on models (network, kernel, shims, Git, store, gateway),
 * and the invariants. One seed is one run.
 *
 * A machine is what survives its agent: fences that the kernel ends by itself, workloads under
 * their shims, what was written to tmpfs and to the store, the Git repository. An agent may be
 * killed, stopped between a decision and its effect, and started again; a machine may lose power.
 */
#ifndef COVEY_TESTS_CLUSTER_H
#define COVEY_TESTS_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/desired/desired.h"
#include "proto/base/rng.h"
#include "tests/lib/simnet.h"

#define CLUSTER_NODES_MAX 100
#define CLUSTER_NEVER INT64_MAX
#define CLUSTER_TEXT_MAX 320

struct cluster_options {
    size_t nodes;
    uint64_t seed;
    double loss;    /* of every datagram, also when nothing else is wrong */
    bool strangers; /* only node 0 is admitted at first; cluster_admit takes in the others */
    bool trace;
};

/* What may go wrong by chance, besides the network. */
struct cluster_chances {
    double pause;       /* of a step: the agent stops before one of its effects, up to 9 s */
    double start_fails; /* of a start of a workload */
    double job_fails;   /* of a cron job's run */
    double fetch_fails; /* of a transfer of commits */
    double store_fails; /* of a write of a voter set */
};

/* What a commit says; the rest is the same in all of them. */
struct cluster_spec {
    unsigned revision;   /* part of rest-api's environment: a new one replaces its processes */
    unsigned replicas;   /* of rest-api */
    bool hand_over;      /* of rest-api */
    unsigned away;       /* its maxUnavailable; 0: the default */
    unsigned web;        /* replicas of web, which refers to rest-api */
    bool web_depends;    /* and waits for it */
    bool metrics;        /* there is a workload without probes, on nodes of zone a */
    bool probed;         /* rest-api has probes */
    bool ledger;         /* there is a singleton */
    bool strict_vip;     /* there is a second address, of mode strict */
    unsigned vips;       /* and so many more, of mode solo, out of the pool */
    const char *cron;    /* schedule of a job; NULL: none */
    const char *overlap; /* its concurrencyPolicy */
    unsigned hold_down_s;
    unsigned health_s; /* what a commit changes must be ready in this time; 0: nobody waits */
    bool fails;        /* rest-api of this commit never gets ready */
    bool canary;       /* cluster.yaml says that the first node applies it first */
    uint64_t first;    /* nodes, by bits, of which the commit itself says so; 0: of none */
};

struct cluster;

struct cluster *cluster_create(const struct cluster_options *options);
void cluster_destroy(struct cluster *c);

/* Runs for @ms of virtual time. False when an invariant is broken (cluster_broken says which). */
bool cluster_run(struct cluster *c, int64_t ms);
const char *cluster_broken(const struct cluster *c); /* "" for nothing */
void cluster_break(struct cluster *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int64_t cluster_now(const struct cluster *c); /* milliseconds since the beginning */
struct rng *cluster_rng(struct cluster *c);
size_t cluster_count(const struct cluster *c);

/* The network. The gateway is node cluster_count(). */
struct simnet *cluster_net(struct cluster *c);
void cluster_disturb(struct cluster *c); /* something is wrong with it, until cluster_heal */
void cluster_cut(struct cluster *c, size_t from, size_t to, bool cut);
/* Nodes on different sides (bits of @sides) do not hear each other; a side hears the gateway if its
 * bit of @gateway (1: side 0, 2: side 1) is set. */
void cluster_partition(struct cluster *c, uint64_t sides, unsigned gateway);
void cluster_heal(struct cluster *c); /* nothing is wrong with network, disks and processes */
void cluster_set_chances(struct cluster *c, const struct cluster_chances *chances);

/* Agents and machines; CLUSTER_NEVER: until cluster_start. */
void cluster_kill(struct cluster *c, size_t node, int64_t restart_ms);
void cluster_power_cut(struct cluster *c, size_t node, int64_t off_ms);
void cluster_start(struct cluster *c, size_t node);            /* now, if no agent runs */
void cluster_stop(struct cluster *c, size_t node, int64_t ms); /* SIGSTOP, then SIGCONT */
void cluster_move(struct cluster *c, size_t node);             /* it gets another address */
void cluster_persist_fails(struct cluster *c, size_t node, bool fails);
bool cluster_running(const struct cluster *c, size_t node);

/* What people do. */
void cluster_admit(struct cluster *c, size_t node); /* join by a token of node 0 */
void cluster_drain(struct cluster *c, size_t node, bool on);
void cluster_leave(struct cluster *c, size_t node); /* good-bye; the agent ends 500 ms later */
void cluster_push(struct cluster *c, size_t node, const struct cluster_spec *spec);
/* As cluster_push, but on top of what that node has alone: histories may diverge. */
void cluster_push_own(struct cluster *c, size_t node, const struct cluster_spec *spec);
/* The newest commit will be given up: what was wanted before it is what shall run. */
void cluster_expect_back(struct cluster *c);
bool cluster_all_good(const struct cluster *c); /* every running node calls its commit good */
/* What has become of the newest commit: every running node calls it good, or has given it up. */
enum cluster_outcome { CLUSTER_UNDECIDED, CLUSTER_GOOD, CLUSTER_GIVEN_UP };
enum cluster_outcome cluster_outcome(const struct cluster *c);
unsigned cluster_tried(const struct cluster *c); /* nodes that have ever run the newest commit */
unsigned cluster_sick_starts(const struct cluster *c, size_t node); /* of a commit that fails */
/* Breaks the cluster where a node runs a commit that fails beyond its time. */
void cluster_check_rollout(struct cluster *c, bool calm);
void cluster_push_merge(struct cluster *c, size_t node, const struct cluster_spec *spec);

/* Workloads. */
void cluster_crash_process(struct cluster *c, size_t node); /* a random one ends */
void cluster_sicken_process(struct cluster *c, size_t node);
uint64_t cluster_starts(const struct cluster *c); /* processes started so far, cron jobs not */
uint64_t cluster_jobs(const struct cluster *c);   /* cron jobs that ended well */

/* cluster_check.c. What the world looks like, by its kernels and processes. */
int cluster_vip_owner(const struct cluster *c, size_t vip); /* -1 nobody; address pool first + n */
/* Whether the node's agent runs and tells of every process of @workload there that it is ready;
 * true where there is none. */
bool cluster_vouches(const struct cluster *c, size_t node, const char *workload);
unsigned cluster_ready(const struct cluster *c, const char *workload); /* ready processes */
/* No agent ends a process of rest-api that is well while fewer than @least others are; 0: it may.
 */
void cluster_require(struct cluster *c, unsigned least);
bool cluster_applied(const struct cluster *c); /* the newest commit, by every running node */
bool cluster_diverged(const struct cluster *c, size_t node); /* shown by that node's own record */
/* Everything is as the newest commit wants it, and all running nodes agree on it. Else @why. */
bool cluster_converged(struct cluster *c, char *why, size_t size);
/* Runs until cluster_converged has held for 3 s; breaks the cluster if that takes over @limit_ms.
 */
bool cluster_settle(struct cluster *c, int64_t limit_ms);

/* cluster_thief.c. From now on the last node forges what it sends in the others' names; and says
 * untrue things of them in its own, too, to which it is entitled. */
enum cluster_thief { CLUSTER_HONEST, CLUSTER_FORGES, CLUSTER_FORGES_AND_LIES };
void cluster_forge(struct cluster *c, enum cluster_thief thief);
/* Breaks the cluster where one of the others believes what was forged. */
void cluster_check_forged(struct cluster *c);

/* cluster_client.c. A client that believes announcements: it gets answers; it believes another than
 * the holder, though it could reach the holder. */
bool cluster_served(const struct cluster *c, size_t vip);
bool cluster_misled(const struct cluster *c, size_t vip);
double cluster_loss(const struct cluster *c); /* of every datagram, as created */

struct cluster_stats {
    uint64_t steps;
    uint64_t gossip_bytes; /* of all nodes, IPv4, UDP and envelope included */
    uint64_t lease_bytes;
    uint64_t solo_overlaps; /* of those that docs/vip.md allows */
    uint64_t late_writes;   /* of a fence, undone by the second look at the clock */
    uint64_t agent_starts;
    uint64_t events[3]; /* by severity */
};
const struct cluster_stats *cluster_stats(const struct cluster *c);

#endif
