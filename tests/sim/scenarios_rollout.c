/* Commits that are good, that fail, and that some nodes are to try first. */
#include "agent/core/effect.h"
#include "tests/sim/scenario.h"

static bool rollout_of_a_good_one(struct cluster *c, size_t node, const struct cluster_spec *spec)
{
    cluster_push(c, node, spec);
    for (int s = 0; s < 120 && !(cluster_applied(c) && cluster_all_good(c)); s++)
        cluster_run(c, 1000);
    if (!cluster_applied(c) || !cluster_all_good(c))
        cluster_break(c, "a commit that is well is not called good within 120 s");
    return cluster_settle(c, 60000);
}

static void rollout_of_a_bad_one(struct cluster *c, const struct cluster_spec *spec, bool calm)
{
    unsigned before = cluster_sick_starts(c, 0);

    cluster_push(c, rng_index(cluster_rng(c), cluster_count(c)), spec);
    cluster_expect_back(c);
    for (int s = 0; s < 40 && cluster_broken(c)[0] == '\0'; s++) {
        if (calm)
            cluster_run(c, 1000);
        else
            faults_play(c, 1000, FAULT_NETWORK | FAULT_AGENTS | FAULT_POWER | FAULT_PROCESSES);
        cluster_check_rollout(c, calm);
    }
    faults_end(c);
    for (int s = 0; s < 90 && cluster_broken(c)[0] == '\0'; s++) {
        cluster_run(c, 1000);
        cluster_check_rollout(c, calm);
    }
    /* A canary shows only what runs on it. */
    if (calm && spec->canary && cluster_sick_starts(c, 0) > before && cluster_tried(c) > 1)
        cluster_break(c, "%u nodes tried what failed on the canary", cluster_tried(c));
}

/* Commits that fail: given up in time, on every node, and never applied again. */
void play_rollout(struct scenario_run *run)
{
    struct cluster *c = run->cluster;
    struct rng *rng = cluster_rng(c);
    struct cluster_spec spec = spec_default(c);
    int64_t end = cluster_now(c) + (int64_t)(run->hours * HOUR_MS);

    if (!scenario_begin(c))
        return;
    spec.health_s = 20;
    spec.ledger = rng_below(rng, 2) == 0;
    for (unsigned round = 1; cluster_now(c) < end && cluster_broken(c)[0] == '\0'; round++) {
        spec.revision = 2 * round;
        spec.fails = false;
        spec.canary = rng_below(rng, 2) == 0;
        if (!rollout_of_a_good_one(c, rng_index(rng, cluster_count(c)), &spec))
            return;
        spec.revision++;
        spec.fails = true;
        rollout_of_a_bad_one(c, &spec, rng_below(rng, 3) == 0);
        if (!cluster_settle(c, 120000))
            return;
    }
}

/* Some nodes try each commit first, whatever dies meanwhile, they too and for long. Nobody else
 * applies it before they have shown it ready (cluster_canary.c); in the end everybody does, or
 * nobody. */
void play_canary(struct scenario_run *run)
{
    struct cluster *c = run->cluster;
    struct rng *rng = cluster_rng(c);
    struct cluster_spec spec = spec_default(c);
    int64_t end = cluster_now(c) + (int64_t)(run->hours * HOUR_MS);

    if (!scenario_begin(c))
        return;
    spec.health_s = 20;
    spec.replicas = (unsigned)cluster_count(c);
    for (unsigned round = 1; cluster_now(c) < end && cluster_broken(c)[0] == '\0'; round++) {
        size_t gone = rng_index(rng, cluster_count(c));
        bool vanishes = rng_below(rng, 2) == 0;
        spec.revision = round + 1;
        spec.canary = rng_below(rng, 2) == 0;
        spec.first = spec.canary ? 0 : 1 + rng_below(rng, (1u << cluster_count(c)) - 1);
        spec.fails = rng_below(rng, 3) == 0;
        cluster_push(c, rng_index(rng, cluster_count(c)), &spec);
        if (vanishes) {
            cluster_run(c, rng_range(rng, 0, 6000));
            cluster_power_cut(c, gone, CLUSTER_NEVER);
        }
        faults_play(c, rng_range(rng, 0, 60000), FAULT_NETWORK | FAULT_AGENTS | FAULT_PROCESSES);
        faults_end(c);
        cluster_start(c, gone);
        for (int s = 0; s < 240 && cluster_outcome(c) == CLUSTER_UNDECIDED; s++)
            cluster_run(c, 1000);
        if (cluster_outcome(c) == CLUSTER_GIVEN_UP) /* some of those that are well are, by faults */
            cluster_expect_back(c);
        else if (cluster_outcome(c) == CLUSTER_UNDECIDED || spec.fails)
            cluster_break(c, "a commit that %s is %s", spec.fails ? "fails" : "is well",
                          spec.fails ? "not given up within 240 s" : "neither good nor given up");
        if (!cluster_settle(c, 120000))
            return;
    }
}
