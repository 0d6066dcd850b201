/* What covey-sim can play. Each scenario is a function that drives a cluster and breaks it where
 * something does not hold. */
#ifndef COVEY_TESTS_SCENARIO_H
#define COVEY_TESTS_SCENARIO_H

#include "tests/sim/cluster.h"

enum measure {
    MEASURE_APPLIED,     /* ms from a push to its commit applied on every node */
    MEASURE_VIP_POWER,   /* ms from the owner's power cut to the address answering elsewhere */
    MEASURE_VIP_AGENT,   /* ms from kill -9 of its agent, likewise */
    MEASURE_READY,       /* ms from a power cut to all replicas ready elsewhere */
    MEASURE_GOSSIP_BARE, /* bytes per second and node that has nothing to do */
    MEASURE_LEASE_BARE,
    MEASURE_GOSSIP,      /* likewise with an address that is held, lease messages not counted */
    MEASURE_LEASE,       /* lease messages alone, likewise */
    MEASURE_LEASE_MANY,  /* likewise, with 21 addresses */
    MEASURE_OUT_RESTART, /* ms without an answer for a client, by what happens to the holder */
    MEASURE_OUT_KILL,
    MEASURE_OUT_POWER,
    MEASURE_OUT_CUT,
    MEASURE_OUT_STOP,
    MEASURE_OUT_DRAIN,
    MEASURE_OUT_HEAL,   /* after a partition has healed */
    MEASURE_OUT_RETURN, /* after the access point is back */
    MEASURE_MOVES,      /* of an address that should stay */
    MEASURE_MISLED,     /* ms in a row for which a client believed the wrong host */
    MEASURES
};

extern const char *const measure_names[MEASURES];

#define SAMPLES_MAX 8192

struct samples {
    int64_t values[SAMPLES_MAX];
    size_t count;
};

struct scenario_run {
    struct cluster *cluster;
    double hours;            /* of faults */
    struct samples *samples; /* MEASURES of them */
};

struct scenario {
    const char *name;
    const char *help;
    size_t nodes;
    double hours;
    bool strangers;
    void (*play)(struct scenario_run *run);
};

extern const struct scenario scenarios[];
extern const size_t scenario_count;

#define HOUR_MS 3600000

/* From nothing to everything ready; false: the cluster is broken. */
bool scenario_begin(struct cluster *c);

/* scenarios_rollout.c */
void play_rollout(struct scenario_run *run);
void play_canary(struct scenario_run *run);

/* scenarios_vip.c */
void play_outage(struct scenario_run *run);
void play_power_save(struct scenario_run *run);
void play_loss(struct scenario_run *run);
void play_gaps(struct scenario_run *run);
void play_isolated(struct scenario_run *run);

/* faults.c: what happens to a flock at random. */
struct cluster_spec spec_default(const struct cluster *c);
struct cluster_spec spec_random(struct cluster *c, unsigned revision);
void faults_play(struct cluster *c, int64_t ms, unsigned kinds);
void faults_end(struct cluster *c); /* everything runs, and nothing goes wrong from here on */

#define FAULT_NETWORK 1u
#define FAULT_AGENTS 2u
#define FAULT_POWER 4u
#define FAULT_PAUSES 8u
#define FAULT_PROCESSES 16u
#define FAULT_PUSHES 32u
#define FAULT_MACHINES 64u /* addresses, full disks, drains */
#define FAULT_ALL 127u

#endif
