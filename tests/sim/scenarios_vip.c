/* What a client sees of an address when things fail. */
#include "tests/sim/scenario.h"

#define LOOK_MS 5
#define MISLED_MAX_MS 1000
#define DAY_H 24.0

static void sample(struct scenario_run *run, enum measure measure, int64_t value)
{
    struct samples *s = &run->samples[measure];

    if (s->count < SAMPLES_MAX)
        s->values[s->count++] = value;
}

/* Runs for @ms; returns how long of it the client had no answer. */
static int64_t unserved(struct cluster *c, int64_t ms)
{
    int64_t end = cluster_now(c) + ms;
    int64_t out = 0;

    while (cluster_now(c) < end && cluster_run(c, LOOK_MS))
        out += cluster_served(c, 0) ? 0 : LOOK_MS;
    return out;
}

static bool begin(struct cluster *c)
{
    struct cluster_spec spec = spec_default(c);

    spec.ledger = false;
    cluster_run(c, rng_range(cluster_rng(c), 500, 8000));
    cluster_push(c, 0, &spec);
    return cluster_settle(c, 240000) && cluster_run(c, rng_range(cluster_rng(c), 40000, 60000));
}

/* Nobody hears anybody: the access point is off. */
static void cut_all(struct cluster *c, bool cut)
{
    for (size_t a = 0; a <= cluster_count(c); a++)
        for (size_t b = 0; b <= cluster_count(c); b++)
            cluster_cut(c, a, b, cut);
}

static void dies(struct scenario_run *run, size_t owner)
{
    struct cluster *c = run->cluster;

    switch (rng_below(cluster_rng(c), 5)) {
    case 0:
        cluster_kill(c, owner, rng_range(cluster_rng(c), 80, 250));
        sample(run, MEASURE_OUT_RESTART, unserved(c, 8000));
        break;
    case 1:
        cluster_kill(c, owner, CLUSTER_NEVER);
        sample(run, MEASURE_OUT_KILL, unserved(c, 15000));
        break;
    case 2:
        cluster_power_cut(c, owner, CLUSTER_NEVER);
        sample(run, MEASURE_OUT_POWER, unserved(c, 15000));
        break;
    case 3:
        cluster_partition(c, (uint64_t)1 << owner, 1);
        sample(run, MEASURE_OUT_CUT, unserved(c, 15000));
        break;
    default:
        cluster_stop(c, owner, 60000);
        sample(run, MEASURE_OUT_STOP, unserved(c, 62000));
        break;
    }
}

static void is_cut_off(struct scenario_run *run, size_t owner)
{
    struct cluster *c = run->cluster;

    switch (rng_below(cluster_rng(c), 3)) {
    case 0:
        cluster_drain(c, owner, true);
        sample(run, MEASURE_OUT_DRAIN, unserved(c, 5000));
        break;
    case 1: /* a partition that leaves both with the client; then it heals */
        cluster_partition(c, (uint64_t)1 << owner, 3);
        cluster_run(c, 20000);
        cluster_heal(c);
        sample(run, MEASURE_OUT_HEAL, unserved(c, 10000));
        break;
    default:
        cut_all(c, true);
        cluster_run(c, 60000);
        cut_all(c, false);
        sample(run, MEASURE_OUT_RETURN, unserved(c, 20000));
        break;
    }
}

void play_outage(struct scenario_run *run)
{
    struct cluster *c = run->cluster;
    int owner;

    if (!begin(c))
        return;
    owner = cluster_vip_owner(c, 0);
    if (owner < 0 || !cluster_served(c, 0)) {
        cluster_break(c, "the client has no answer before anything went wrong");
        return;
    }
    if (rng_below(cluster_rng(c), 2) == 0)
        dies(run, (size_t)owner);
    else
        is_cut_off(run, (size_t)owner);
    if (!cluster_served(c, 0))
        cluster_break(c, "the client has no answer in the end");
}

/* With the radio's power save on: its delays, as measured, from long before. */
void play_power_save(struct scenario_run *run)
{
    struct cluster *c = run->cluster;

    if (!begin(c))
        return;
    simnet_set_delay(cluster_net(c), SIMNET_POWERSAVE);
    cluster_run(c, 300000);
    if (cluster_vip_owner(c, 0) < 0)
        return;
    cluster_power_cut(c, (size_t)cluster_vip_owner(c, 0), CLUSTER_NEVER);
    sample(run, MEASURE_OUT_POWER, unserved(c, 20000));
}

struct watch {
    int owner;
    unsigned moves;
    int64_t misled, misled_max; /* milliseconds in a row */
};

static void watch(struct cluster *c, struct watch *w, int64_t ms)
{
    int64_t end = cluster_now(c) + ms;

    while (cluster_now(c) < end && cluster_run(c, 20)) {
        int owner = cluster_vip_owner(c, 0);
        w->moves += owner >= 0 && w->owner >= 0 && owner != w->owner;
        w->owner = owner >= 0 ? owner : w->owner;
        w->misled = cluster_misled(c, 0) ? w->misled + 20 : 0;
        w->misled_max = w->misled > w->misled_max ? w->misled : w->misled_max;
    }
}

/* A day on a link that loses what --loss says: needless moves, and a client on the wrong host. */
void play_loss(struct scenario_run *run)
{
    struct cluster *c = run->cluster;
    struct watch w = {.owner = -1};
    unsigned allowed = cluster_loss(c) > 0.25 ? 1 : 0;

    if (!begin(c))
        return;
    watch(c, &w, (int64_t)(run->hours * 3600000));
    sample(run, MEASURE_MOVES, w.moves);
    sample(run, MEASURE_MISLED, w.misled_max);
    if (w.moves > allowed * (run->hours / DAY_H > 1 ? run->hours / DAY_H : 1))
        cluster_break(c, "the address moved %u times in %g hours", w.moves, run->hours);
    if (w.misled_max > MISLED_MAX_MS)
        cluster_break(c, "the client believed the wrong host for %lld ms", (long long)w.misled_max);
}

/* Nothing gets through for one second of each minute. */
void play_gaps(struct scenario_run *run)
{
    struct cluster *c = run->cluster;
    struct watch w = {.owner = -1};
    unsigned half;

    if (!begin(c))
        return;
    half = 0;
    for (int minute = 0; minute < 60; minute++) {
        cut_all(c, true);
        watch(c, &w, 1000);
        cut_all(c, false);
        watch(c, &w, 59000);
        half = minute == 29 ? w.moves : half;
    }
    sample(run, MEASURE_MOVES, w.moves);
    if (w.moves > 2 || w.moves > half)
        cluster_break(c, "the address moved %u times, %u of them in the second half hour", w.moves,
                      w.moves - half);
}

/* The access point isolates its clients: each node reaches the gateway, and not the other. The
 * holder stays alive, or it dies meanwhile, or its agent stops for a while. */
void play_isolated(struct scenario_run *run)
{
    struct cluster *c = run->cluster;
    size_t owner;
    int64_t out;
    bool lives = false;

    if (!begin(c))
        return;
    owner = (size_t)cluster_vip_owner(c, 0);
    cluster_partition(c, (uint64_t)1 << owner, 3);
    cluster_run(c, rng_range(cluster_rng(c), 0, 1000));
    switch (rng_below(cluster_rng(c), 4)) {
    case 0:
        cluster_power_cut(c, owner, CLUSTER_NEVER);
        break;
    case 1:
        cluster_kill(c, owner, rng_range(cluster_rng(c), 80, 9000));
        break;
    case 2:
        cluster_stop(c, owner, rng_range(cluster_rng(c), 100, 9000));
        break;
    default:
        lives = true;
        break;
    }
    cluster_run(c, 3 * 60000); /* a challenge that failed is tried again after a minute */
    if (!cluster_served(c, 0))
        cluster_break(c, "the client has no answer after three minutes");
    if (cluster_stats(c)->solo_overlaps > 0)
        cluster_break(c, "both held the address while they were isolated");
    cluster_heal(c);
    cluster_start(c, owner);
    out = unserved(c, 10000);
    if (lives)
        sample(run, MEASURE_OUT_HEAL, out);
    cluster_settle(c, 120000);
}
