#include <stdio.h>
#include <string.h>

#include "tests/sim/scenario.h"

struct cluster_spec spec_default(const struct cluster *c)
{
    return (struct cluster_spec){.revision = 1,
                                 .replicas = cluster_count(c) > 4 ? 4 : 2,
                                 .web = 1,
                                 .metrics = true,
                                 .probed = true,
                                 .ledger = true,
                                 .hold_down_s = 5};
}

struct cluster_spec spec_random(struct cluster *c, unsigned revision)
{
    static const char *const overlaps[] = {"Replace", "Forbid", "Allow"};
    struct rng *rng = cluster_rng(c);
    struct cluster_spec spec = spec_default(c);

    spec.revision = revision / 2; /* now and then a commit changes nothing that runs */
    spec.replicas = (unsigned)rng_range(rng, 1, 2 + (int64_t)cluster_count(c) / 2);
    spec.web = (unsigned)rng_range(rng, 0, 2);
    spec.web_depends = rng_below(rng, 2) == 0;
    spec.metrics = rng_below(rng, 2) == 0;
    spec.probed = rng_below(rng, 3) > 0;
    spec.ledger = rng_below(rng, 3) > 0;
    spec.strict_vip = rng_below(rng, 2) == 0;
    spec.vips = (unsigned)rng_below(rng, 4);
    if (rng_below(rng, 2) == 0)
        spec.cron = "* * * * *";
    spec.overlap = overlaps[rng_below(rng, 3)];
    if (spec.cron != NULL && strcmp(spec.overlap, "Allow") == 0 && rng_below(rng, 2) == 0)
        spec.cron = "@every 5s"; /* its runs may last longer */
    spec.hold_down_s = (unsigned)rng_range(rng, 5, 15);
    return spec;
}

static void network_fault(struct cluster *c, struct rng *rng)
{
    size_t n = cluster_count(c);
    struct simnet *net = cluster_net(c);

    cluster_disturb(c);
    switch (rng_below(rng, 8)) {
    case 0:
        simnet_set_loss(net, 0.05 * (double)rng_below(rng, 9));
        break;
    case 1:
        simnet_set_delay(net, (enum simnet_delay)rng_below(rng, 3));
        break;
    case 2:
        simnet_set_duplicate(net, 0.2 * rng_unit(rng));
        break;
    case 3:
        simnet_set_bursts(net, 10000);
        break;
    case 4:
        cluster_cut(c, rng_index(rng, n + 1), rng_index(rng, n + 1), true);
        break;
    case 5:
    case 6:
        cluster_partition(c, rng_next(rng), (unsigned)rng_below(rng, 4));
        break;
    default:
        cluster_partition(c, 0, 3);
        break;
    }
}

static void machine_fault(struct cluster *c, struct rng *rng, size_t node)
{
    switch (rng_below(rng, 3)) {
    case 0:
        if (node > 0) /* two that move while they are apart find each other no more */
            cluster_move(c, node);
        break;
    case 1:
        cluster_persist_fails(c, node, rng_below(rng, 2) == 0);
        break;
    default:
        cluster_drain(c, node, rng_below(rng, 2) == 0);
        break;
    }
}

static void one_fault(struct cluster *c, struct rng *rng, unsigned kinds, unsigned *revision)
{
    size_t node = rng_index(rng, cluster_count(c));
    unsigned kind = 1u << rng_below(rng, 7);
    struct cluster_spec spec;

    switch (kind & kinds) {
    case FAULT_NETWORK:
        network_fault(c, rng);
        break;
    case FAULT_AGENTS:
        cluster_kill(c, node, rng_range(rng, 20, rng_below(rng, 3) == 0 ? 20000 : 2500));
        break;
    case FAULT_POWER:
        cluster_power_cut(c, node, rng_range(rng, 500, 40000));
        break;
    case FAULT_PAUSES:
        cluster_stop(c, node, rng_range(rng, 20, rng_below(rng, 3) == 0 ? 20000 : 1500));
        break;
    case FAULT_PROCESSES:
        if (rng_below(rng, 3) > 0)
            cluster_crash_process(c, node);
        else
            cluster_sicken_process(c, node);
        break;
    case FAULT_PUSHES:
        spec = spec_random(c, ++*revision);
        if (*revision < 100)
            cluster_push(c, node, &spec);
        break;
    case FAULT_MACHINES:
        machine_fault(c, rng, node);
        break;
    default:
        break;
    }
}

void faults_play(struct cluster *c, int64_t ms, unsigned kinds)
{
    struct rng *rng = cluster_rng(c);
    int64_t end = cluster_now(c) + ms;
    unsigned revision = 1;

    cluster_set_chances(
        c, &(struct cluster_chances){.pause = (kinds & FAULT_PAUSES) != 0 ? 0.002 : 0,
                                     .start_fails = (kinds & FAULT_PROCESSES) != 0 ? 0.1 : 0,
                                     .job_fails = (kinds & FAULT_PROCESSES) != 0 ? 0.1 : 0,
                                     .fetch_fails = (kinds & FAULT_NETWORK) != 0 ? 0.2 : 0,
                                     .store_fails = (kinds & FAULT_MACHINES) != 0 ? 0.1 : 0});
    while (cluster_now(c) < end && cluster_run(c, rng_range(rng, 100, 9000)))
        one_fault(c, rng, kinds, &revision);
}

void faults_end(struct cluster *c)
{
    cluster_heal(c);
    for (size_t i = 0; i < cluster_count(c); i++) {
        cluster_start(c, i);
        cluster_drain(c, i, false);
    }
}
