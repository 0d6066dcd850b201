#include <stdio.h>

#include "agent/core/effect.h"
#include "agent/core/node_internal.h"
#include "tests/sim/scenario.h"

#define BEGIN_MS 120000  /* from nothing to everything ready */
#define SETTLE_MS 480000 /* after faults: a workload may have reached its start limit (5.5 min) */
#define LOOK_MS 20
#define NEWS_MS 1500 /* a record may be this late: lost once or twice */

const char *const measure_names[MEASURES] = {
    [MEASURE_APPLIED] = "push_to_applied_ms",
    [MEASURE_VIP_POWER] = "power_cut_to_address_ms",
    [MEASURE_VIP_AGENT] = "agent_killed_to_address_ms",
    [MEASURE_READY] = "power_cut_to_ready_ms",
    [MEASURE_GOSSIP_BARE] = "bare_gossip_bytes_per_s",
    [MEASURE_LEASE_BARE] = "bare_lease_bytes_per_s",
    [MEASURE_GOSSIP] = "idle_gossip_bytes_per_s",
    [MEASURE_LEASE] = "idle_lease_bytes_per_s",
    [MEASURE_LEASE_MANY] = "idle_lease_21_bytes_per_s",
    [MEASURE_OUT_RESTART] = "agent_killed_and_restarted_ms",
    [MEASURE_OUT_KILL] = "agent_killed_ms",
    [MEASURE_OUT_POWER] = "power_cut_ms",
    [MEASURE_OUT_CUT] = "link_cut_ms",
    [MEASURE_OUT_STOP] = "agent_stopped_60_s_ms",
    [MEASURE_OUT_DRAIN] = "drained_ms",
    [MEASURE_OUT_HEAL] = "after_partition_ms",
    [MEASURE_OUT_RETURN] = "after_access_point_ms",
    [MEASURE_MOVES] = "needless_moves",
    [MEASURE_MISLED] = "client_misled_ms",
};

static void sample(struct scenario_run *run, enum measure measure, int64_t value)
{
    struct samples *s = &run->samples[measure];

    if (s->count < SAMPLES_MAX)
        s->values[s->count++] = value;
}

bool scenario_begin(struct cluster *c)
{
    struct cluster_spec spec = spec_default(c);

    cluster_run(c, rng_range(cluster_rng(c), 500, 8000));
    cluster_push(c, rng_index(cluster_rng(c), cluster_count(c)), &spec);
    return cluster_settle(c, BEGIN_MS);
}

/* Quiet: what has settled stays as it is (news may be under way), and nothing is started anew. */
static bool stays(struct cluster *c, int64_t ms)
{
    char why[CLUSTER_TEXT_MAX];
    uint64_t starts = cluster_starts(c);
    int64_t end = cluster_now(c) + ms;
    int64_t good = cluster_now(c);

    while (cluster_now(c) < end && cluster_run(c, LOOK_MS)) {
        if (cluster_converged(c, why, sizeof why))
            good = cluster_now(c);
        else if (cluster_now(c) - good > NEWS_MS)
            cluster_break(c, "settled, and then: %s", why);
    }
    if (cluster_starts(c) != starts)
        cluster_break(c, "settled, and then processes were started");
    return cluster_broken(c)[0] == '\0';
}

static bool faults(struct scenario_run *run, unsigned kinds)
{
    struct cluster *c = run->cluster;

    faults_play(c, (int64_t)(run->hours * HOUR_MS), kinds);
    faults_end(c);
    return cluster_settle(c, SETTLE_MS) && stays(c, 20000);
}

static void play_chaos(struct scenario_run *run)
{
    if (scenario_begin(run->cluster))
        faults(run, FAULT_ALL);
}

/* ---- measured ---- */

static bool measure_applied(struct scenario_run *run, unsigned revision)
{
    struct cluster *c = run->cluster;
    struct cluster_spec spec = spec_default(c);
    int64_t began = cluster_now(c);

    spec.revision = revision;
    cluster_push(c, rng_index(cluster_rng(c), cluster_count(c)), &spec);
    while (cluster_run(c, LOOK_MS) && !cluster_applied(c)) {
        if (cluster_now(c) - began > 30000)
            cluster_break(c, "a commit is not applied everywhere after 30 s");
    }
    sample(run, MEASURE_APPLIED, cluster_now(c) - began);
    return cluster_settle(c, BEGIN_MS);
}

static void measure_idle(struct scenario_run *run, int64_t ms, enum measure gossip,
                         enum measure lease)
{
    struct cluster *c = run->cluster;
    struct cluster_stats before = *cluster_stats(c);
    int64_t per = ms / 1000 * (int64_t)cluster_count(c);

    cluster_run(c, ms);
    sample(run, gossip, (int64_t)(cluster_stats(c)->gossip_bytes - before.gossip_bytes) / per);
    sample(run, lease, (int64_t)(cluster_stats(c)->lease_bytes - before.lease_bytes) / per);
}

/* The owner of the first address dies; @power: the whole machine. */
static bool measure_death(struct scenario_run *run, bool power)
{
    struct cluster *c = run->cluster;
    unsigned replicas = spec_default(c).replicas;
    int64_t began = cluster_now(c);
    int owner = cluster_vip_owner(c, 0);
    bool vip = false;
    bool ready = !power;

    if (power)
        cluster_power_cut(c, (size_t)owner, CLUSTER_NEVER);
    else
        cluster_kill(c, (size_t)owner, CLUSTER_NEVER);
    while ((!vip || !ready) && cluster_run(c, LOOK_MS)) {
        int now = cluster_vip_owner(c, 0);
        if (!vip && now >= 0 && now != owner) {
            vip = true;
            sample(run, power ? MEASURE_VIP_POWER : MEASURE_VIP_AGENT, cluster_now(c) - began);
        }
        if (!ready && cluster_ready(c, "rest-api") == replicas) {
            ready = true;
            sample(run, MEASURE_READY, cluster_now(c) - began);
        }
        if (cluster_now(c) - began > 60000)
            cluster_break(c, "a minute after a death the address or a replica is missing");
    }
    cluster_start(c, (size_t)owner);
    return cluster_settle(c, BEGIN_MS);
}

/* Every other seed the machine dies, else the agent alone. */
static void play_failover(struct scenario_run *run)
{
    struct cluster *c = run->cluster;

    if (!scenario_begin(c))
        return;
    if (measure_applied(run, 7) && measure_death(run, rng_below(cluster_rng(c), 2) == 0))
        stays(c, 60000);
}

/* With nothing to do; then with one address and one workload; then with 21 addresses. */
static void play_idle(struct scenario_run *run)
{
    struct cluster *c = run->cluster;
    struct cluster_spec spec = {.revision = 1, .replicas = 1, .hold_down_s = 5};

    if (!cluster_settle(c, BEGIN_MS))
        return;
    measure_idle(run, 120000, MEASURE_GOSSIP_BARE, MEASURE_LEASE_BARE);
    cluster_push(c, 0, &spec);
    if (!cluster_settle(c, BEGIN_MS))
        return;
    measure_idle(run, 120000, MEASURE_GOSSIP, MEASURE_LEASE);
    spec.vips = 20;
    cluster_push(c, 0, &spec);
    if (cluster_settle(c, BEGIN_MS))
        measure_idle(run, 120000, MEASURE_GOSSIP, MEASURE_LEASE_MANY);
}

/* ---- the agent may die at any time ---- */

#define STORM_LOOK_MS 10

/* An agent that is killed again before it has probed its workloads anew vouches for none of them.
 * Who uses one that nobody has vouched for in NODE_ELSEWHERE_MS is led elsewhere, and replaced for
 * that, rightly: once for each such gap. */
struct storm {
    int64_t silent[CLUSTER_NODES_MAX]; /* ms for which rest-api was not vouched for */
    unsigned gaps;
};

static bool watch_storm(struct cluster *c, struct storm *storm, int64_t ms)
{
    int64_t end = cluster_now(c) + ms;

    while (cluster_now(c) < end && cluster_run(c, STORM_LOOK_MS))
        for (size_t i = 0; i < cluster_count(c); i++) {
            int64_t before = storm->silent[i];
            storm->silent[i] =
                cluster_vouches(c, i, "rest-api") ? 0 : storm->silent[i] + STORM_LOOK_MS;
            storm->gaps += before < NODE_ELSEWHERE_MS && storm->silent[i] >= NODE_ELSEWHERE_MS;
        }
    return cluster_now(c) >= end;
}

static void play_restart_storm(struct scenario_run *run)
{
    struct cluster *c = run->cluster;
    struct rng *rng = cluster_rng(c);
    struct cluster_spec spec = spec_default(c);
    struct storm storm = {.gaps = 0};
    int64_t end;
    uint64_t starts;

    spec.ledger = false; /* a singleton does not outlive its lease */
    spec.hold_down_s = 15;
    cluster_run(c, 3000);
    cluster_push(c, 0, &spec);
    if (!cluster_settle(c, BEGIN_MS))
        return;
    starts = cluster_starts(c);
    end = cluster_now(c) + (int64_t)(run->hours * HOUR_MS);
    while (cluster_now(c) < end && watch_storm(c, &storm, rng_range(rng, 10, 3000)))
        cluster_kill(c, rng_index(rng, cluster_count(c)), rng_range(rng, 10, 2500));
    faults_end(c);
    watch_storm(c, &storm, NODE_ELSEWHERE_MS);
    if (cluster_settle(c, SETTLE_MS) && cluster_starts(c) > starts + storm.gaps)
        cluster_break(c, "restarts of agents have restarted %llu workloads, of which %u were right",
                      (unsigned long long)(cluster_starts(c) - starts), storm.gaps);
    stays(c, 20000);
}

/* ---- updates ---- */

/* New revisions again and again: whatever happens to agents and network, nobody takes away what the
 * others need. */
static void play_updates(struct scenario_run *run)
{
    struct cluster *c = run->cluster;
    struct rng *rng = cluster_rng(c);
    struct cluster_spec spec = spec_default(c);
    int64_t end;

    spec.replicas = (unsigned)rng_range(rng, 2, 6);
    spec.away = (unsigned)rng_range(rng, 1, spec.replicas - 1);
    spec.web = 0;
    spec.hand_over = rng_below(rng, 2) == 0;
    cluster_run(c, 3000);
    cluster_push(c, 0, &spec);
    if (!cluster_settle(c, BEGIN_MS))
        return;
    cluster_require(c, spec.replicas - (spec.hand_over ? 0 : spec.away));
    end = cluster_now(c) + (int64_t)(run->hours * HOUR_MS);
    while (cluster_now(c) < end && cluster_broken(c)[0] == '\0') {
        spec.revision++;
        if (spec.revision < 100)
            cluster_push(c, rng_index(rng, cluster_count(c)), &spec);
        faults_play(c, rng_range(rng, 500, 30000), FAULT_NETWORK | FAULT_AGENTS | FAULT_PAUSES);
        if (rng_below(rng, 3) > 0)
            continue;
        faults_end(c);
        if (!cluster_settle(c, SETTLE_MS))
            return;
    }
    faults_end(c);
    if (cluster_settle(c, SETTLE_MS))
        stays(c, 20000);
}

/* ---- cron ---- */

/* Every tick of a job that may run beside itself runs, though the runs before it have not ended. */
static void play_beside(struct scenario_run *run, struct cluster_spec spec)
{
    struct cluster *c = run->cluster;
    uint64_t jobs = cluster_jobs(c);
    int64_t began = cluster_now(c);
    unsigned most = 0;

    spec.cron = "@every 5s";
    spec.overlap = "Allow";
    cluster_push(c, 0, &spec);
    while (cluster_now(c) < began + 600000 && cluster_run(c, LOOK_MS)) {
        unsigned beside = cluster_ready(c, "job");
        most = beside > most ? beside : most;
    }
    jobs = cluster_jobs(c) - jobs;
    if (jobs < 110 || jobs > 121 || most < 2)
        cluster_break(c, "%llu runs of a job that was due 120 times, %u at most side by side",
                      (unsigned long long)jobs, most);
    spec.cron = NULL;
    spec.revision++;
    cluster_push(c, 0, &spec); /* what runs is ended */
    cluster_settle(c, BEGIN_MS);
}

static void play_cron(struct scenario_run *run)
{
    struct cluster *c = run->cluster;
    struct cluster_spec spec = {.revision = 1, .replicas = 1, .hold_down_s = 5};
    uint64_t jobs;
    int64_t began;
    int64_t due;

    cluster_run(c, 3000);
    play_beside(run, spec);
    spec.revision += 2;
    spec.cron = "*/10 * * * *";
    cluster_push(c, 0, &spec);
    if (!cluster_settle(c, BEGIN_MS))
        return;
    began = cluster_now(c);
    jobs = cluster_jobs(c);
    if (!cluster_run(c, (int64_t)(run->hours * HOUR_MS) / 2))
        return;
    due = (cluster_now(c) - began) / 600000;
    jobs = cluster_jobs(c) - jobs;
    if ((int64_t)jobs < due || (int64_t)jobs > due + 1)
        cluster_break(c, "%llu runs of a job that was due %lld times", (unsigned long long)jobs,
                      (long long)due);
    for (int64_t end = cluster_now(c) + (int64_t)(run->hours * HOUR_MS) / 2; cluster_now(c) < end;)
        if (!cluster_run(c, rng_range(cluster_rng(c), 60000, 3600000)))
            return;
        else
            faults_play(c, 60000,
                        FAULT_NETWORK | FAULT_AGENTS | FAULT_POWER | FAULT_PAUSES |
                            FAULT_PROCESSES);
    faults_end(c);
    cluster_settle(c, SETTLE_MS);
}

/* ---- drain, leave, join ---- */

static void play_drain(struct scenario_run *run)
{
    struct cluster *c = run->cluster;
    struct rng *rng = cluster_rng(c);
    int64_t end;

    if (!scenario_begin(c))
        return;
    end = cluster_now(c) + (int64_t)(run->hours * HOUR_MS);
    while (cluster_now(c) < end) {
        size_t node = rng_index(rng, cluster_count(c));
        int64_t drained = cluster_now(c);
        cluster_drain(c, node, true);
        while (cluster_now(c) - drained < 90000 && cluster_run(c, LOOK_MS))
            if (cluster_ready(c, "rest-api") == 0) /* make before break */
                cluster_break(c, "no rest-api is ready while a node drains");
        if (!cluster_settle(c, BEGIN_MS))
            return;
        if (rng_below(rng, 2) == 0) {
            cluster_leave(c, node);
            if (!cluster_run(c, 1000) || !cluster_settle(c, BEGIN_MS))
                return;
            cluster_start(c, node);
        }
        cluster_drain(c, node, false);
        if (!cluster_settle(c, BEGIN_MS))
            return;
    }
}

static void play_join(struct scenario_run *run)
{
    struct cluster *c = run->cluster;
    struct rng *rng = cluster_rng(c);
    struct cluster_spec spec = spec_default(c);

    spec.replicas = 2;
    cluster_run(c, 3000);
    cluster_push(c, 0, &spec);
    if (!cluster_settle(c, BEGIN_MS))
        return;
    for (size_t i = 1; i < cluster_count(c); i++) {
        if (!cluster_run(c, rng_range(rng, 100, 20000)))
            return;
        cluster_admit(c, i);
        if (rng_below(rng, 3) == 0)
            cluster_kill(c, rng_index(rng, i + 1), rng_range(rng, 10, 3000));
        if (rng_below(rng, 2) == 0 && !cluster_settle(c, SETTLE_MS))
            return;
    }
    for (size_t i = 1; i < cluster_count(c); i++) /* whom node 0 did not hear */
        cluster_admit(c, i);
    faults_end(c);
    if (cluster_settle(c, SETTLE_MS))
        stays(c, 20000);
}

/* The last node forges. While it speaks for others alone nobody even suspects one of them; what it
 * says in its own name may cost a question, and no more. */
static void play_thief(struct scenario_run *run)
{
    struct cluster *c = run->cluster;
    int64_t end = cluster_now(c) + (int64_t)(run->hours * HOUR_MS);
    unsigned rounds = 0;

    if (!scenario_begin(c))
        return;
    cluster_forge(c, CLUSTER_FORGES);
    while (cluster_now(c) < end && cluster_run(c, LOOK_MS)) {
        cluster_check_forged(c);
        if (++rounds % 500 == 0)
            cluster_crash_process(c, rng_index(cluster_rng(c), cluster_count(c) - 1));
        if (cluster_now(c) > end / 2)
            cluster_forge(c, CLUSTER_FORGES_AND_LIES);
    }
    if (cluster_stats(c)->events[EFFECT_WARNING] == 0)
        cluster_break(c, "nobody was told of the forged records");
}

/* ---- two heads ---- */

static void play_divergence(struct scenario_run *run)
{
    struct cluster *c = run->cluster;
    size_t last = cluster_count(c) - 1;
    struct cluster_spec spec = spec_default(c);

    if (!scenario_begin(c))
        return;
    cluster_partition(c, 1, (unsigned)rng_below(cluster_rng(c), 4));
    cluster_run(c, rng_range(cluster_rng(c), 0, 20000));
    spec.revision = 2;
    cluster_push_own(c, 0, &spec);
    spec.revision = 3;
    cluster_push_own(c, last, &spec);
    cluster_run(c, rng_range(cluster_rng(c), 0, 20000));
    cluster_heal(c);
    if (!cluster_run(c, 60000))
        return;
    if (!cluster_diverged(c, 0) || !cluster_diverged(c, last))
        cluster_break(c, "two heads, and they are not shown as diverged");
    spec.revision = 4;
    cluster_push_merge(c, rng_below(cluster_rng(c), 2) == 0 ? 0 : last, &spec);
    if (cluster_settle(c, BEGIN_MS))
        stays(c, 20000);
}

const struct scenario scenarios[] = {
    {"vip-outage", "what a client sees of an address when its holder fails", 2, 0, false,
     play_outage},
    {"vip-power-save", "a power cut of the holder, on radios that sleep", 2, 0, false,
     play_power_save},
    {"vip-loss", "an address stays where it is on a link with --loss", 2, 24, false, play_loss},
    {"vip-gaps", "nothing gets through for a second of each minute, for an hour", 2, 0, false,
     play_gaps},
    {"vip-isolated", "two nodes reach the gateway and not each other: one holds the address", 2, 0,
     false, play_isolated},
    {"pair", "two nodes and every fault there is", 2, 0.05, false, play_chaos},
    {"trio", "three nodes, likewise", 3, 0.05, false, play_chaos},
    {"five", "five nodes, likewise", 5, 0.05, false, play_chaos},
    {"many", "twenty nodes or more, likewise", 20, 0.02, false, play_chaos},
    {"failover", "two nodes: deaths of the owner of an address, measured", 2, 0, false,
     play_failover},
    {"idle", "two nodes that have nothing to do, measured", 2, 0, false, play_idle},
    {"restart-storm", "agents are killed and started, workloads notice nothing", 2, 0.05, false,
     play_restart_storm},
    {"updates", "replicas are replaced in turns, never too many at a time", 3, 0.1, false,
     play_updates},
    {"cron", "a job every ten minutes, half of the time with deaths", 2, 24, false, play_cron},
    {"drain", "nodes are drained, leave and come back", 3, 0.1, false, play_drain},
    {"join", "a flock grows one by one", 5, 0, true, play_join},
    {"rollout", "commits that fail are given up, whatever dies meanwhile", 3, 0.1, false,
     play_rollout},
    {"canary", "some nodes try each commit first, whatever dies meanwhile", 3, 0.1, false,
     play_canary},
    {"thief", "one member speaks in the others' names, and is not believed", 4, 0.05, false,
     play_thief},
    {"divergence", "pushes to both sides of a partition, then a merge", 2, 0, false,
     play_divergence},
};
const size_t scenario_count = sizeof scenarios / sizeof *scenarios;
