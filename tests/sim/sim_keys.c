/* sim_keys: epochs, revocations, copied cards, absences, on a virtual clock.
 *
 *   sim_keys [--scenario NAME] [--seeds A-B] [--measure] [--trace]
 *
 * Without a scenario, all of them. After the faults: everybody who is not revoked is on one epoch
 * and talks; at all times: who was revoked gets no epoch that was made after that, nothing is taken
 * twice, nothing is believed that the cluster's key has not signed. Exit status 1 and the seed when
 * that fails. Its figures stand in docs/security.md. --measure prints how long a revocation took to
 * reach everybody. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/keys_world.h"

#define SETTLE_MS 120000
#define REVOKED_MS 10000 /* the goal: a revocation is known everywhere */
#define DAY_MS (24 * 3600 * 1000LL)
#define SAMPLES_MAX 4096

struct run {
    uint64_t seed;
    bool trace;
    int64_t samples[SAMPLES_MAX]; /* revocation to everywhere */
    size_t sample_count;
};

/* From 0 to @count - 1. Of size_t, which is narrower than a seed on a Pi. */
static size_t drawn(const struct run *run, size_t count)
{
    return (size_t)(run->seed % count);
}

static struct world *make(const struct run *run, size_t nodes, size_t holders)
{
    struct world_options options = {.nodes = nodes,
                                    .seed = run->seed,
                                    .holders = holders,
                                    .ping_ms = 400,
                                    .thief = SIZE_MAX,
                                    .trace = run->trace};

    return world_create(&options);
}

/* ---- faults of all kinds ---- */

static void spoil(struct world *w, size_t nodes)
{
    struct simnet *net = world_net(w);
    struct rng *rng = world_rng(w);

    switch (rng_below(rng, 6)) {
    case 0:
        simnet_set_loss(net, 0.3 * rng_unit(rng));
        break;
    case 1:
        simnet_set_duplicate(net, 0.2 * rng_unit(rng));
        break;
    case 2:
        for (size_t i = 0; i < nodes; i++)
            simnet_set_side(net, i, (unsigned)rng_below(rng, 2));
        break;
    case 3:
        simnet_cut(net, rng_index(rng, nodes), rng_index(rng, nodes), true);
        break;
    case 4:
        simnet_set_bursts(net, 10000);
        break;
    default:
        simnet_heal(net);
        break;
    }
}

static void end_faults(struct world *w, size_t nodes)
{
    simnet_heal(world_net(w));
    for (size_t i = 0; i < nodes; i++)
        world_start(w, i);
    world_settle(w, SETTLE_MS);
    world_run(w, 10000);
}

static void play_faults(struct world *w, size_t nodes, size_t holders)
{
    struct rng *rng = world_rng(w);

    for (int i = 0; i < 60 && world_run(w, rng_range(rng, 20, 3000)); i++) {
        size_t node = rng_index(rng, nodes);
        switch (rng_below(rng, 8)) {
        case 0:
        case 1:
            spoil(w, nodes);
            break;
        case 2:
            world_stop(w, node, rng_below(rng, 2) == 0);
            break;
        case 3:
        case 4:
            world_start(w, node);
            break;
        case 5:
            if (rng_below(rng, 3) == 0)
                world_revoke(w, rng_index(rng, holders), node);
            break;
        default:
            world_rotate(w, rng_index(rng, holders));
            break;
        }
    }
    end_faults(w, nodes);
}

/* Every fault there is; somebody repeats what was on the air; one or two holders, who rotate and
 * revoke on both sides of partitions; in a third of the runs two releases side by side. */
static struct world *play_chaos(struct run *run)
{
    struct world_options options = {.nodes = 2 + drawn(run, 7),
                                    .seed = run->seed,
                                    .holders = 1 + drawn(run, 2),
                                    .ping_ms = 400,
                                    .replays = true,
                                    .releases = run->seed % 3 == 0,
                                    .thief = SIZE_MAX,
                                    .trace = run->trace};
    struct world *w = world_create(&options);

    play_faults(w, options.nodes, options.holders);
    return w;
}

/* Until everybody but itself knows that @node is a member no more, and has the new epoch. */
static void measure_revocation(struct run *run, struct world *w, size_t nodes, size_t node)
{
    uint32_t epoch = world_epoch(w, 0);
    int64_t began = world_now(w);
    size_t waiting = nodes;

    if (world_is_revoked(w, node))
        return;

    world_revoke(w, 0, node);
    while (waiting > 0 && world_run(w, 10)) {
        waiting = 0;
        for (size_t i = 0; i < nodes; i++)
            if (!world_is_revoked(w, i) &&
                (!world_knows_revoked(w, i, node) || world_epoch(w, i) <= epoch))
                waiting++;
        if (world_now(w) - began > REVOKED_MS && waiting > 0) {
            world_break(w, "%zu nodes do not know of a revocation after 10 s", waiting);
            return;
        }
    }
    if (run->sample_count < SAMPLES_MAX)
        run->samples[run->sample_count++] = world_now(w) - began;
}

/* The same with one node that forges all it can. It is revoked in the end. */
static struct world *play_thief(struct run *run)
{
    struct world_options options = {.nodes = 3 + drawn(run, 6),
                                    .seed = run->seed,
                                    .holders = 1,
                                    .ping_ms = 400,
                                    .thief = 1,
                                    .trace = run->trace};
    struct world *w = world_create(&options);

    if (world_settle(w, SETTLE_MS) < 0)
        return w;
    play_faults(w, options.nodes, options.holders);
    measure_revocation(run, w, options.nodes, options.thief);
    world_settle(w, SETTLE_MS);
    world_run(w, 60000);
    return w;
}

/* ---- rotation under load ---- */

static struct world *play_rotate(struct run *run)
{
    struct world *w = make(run, 2 + drawn(run, 7), 1);
    uint64_t first, lost;

    if (world_settle(w, SETTLE_MS) < 0)
        return w;
    world_set_ping(w, 5);
    world_run(w, 3000); /* everybody hears everybody by now */
    first = world_counts(w)->sent;
    for (int i = 0; i < 30 && world_run(w, rng_range(world_rng(w), 200, 800)); i++)
        world_rotate(w, 0);
    world_run(w, 1000);
    world_set_ping(w, DAY_MS); /* what is under way arrives */
    if (!world_run(w, 10000))
        return w;
    lost = world_lost(w, first);
    if (lost > 0)
        world_break(w, "%llu of %llu messages were lost over 30 rotations",
                    (unsigned long long)lost, (unsigned long long)(world_counts(w)->sent - first));
    if (world_epoch(w, 0) != 31)
        world_break(w, "30 rotations have led to epoch %u", (unsigned)world_epoch(w, 0));
    return w;
}

/* ---- revocation ---- */

static struct world *revocations(struct run *run, size_t nodes, double loss, bool ring)
{
    struct world_options options = {.nodes = nodes,
                                    .seed = run->seed,
                                    .holders = 1,
                                    .ping_ms = ring ? 500 : 400,
                                    .ring = ring,
                                    .thief = SIZE_MAX,
                                    .trace = run->trace};
    struct world *w = world_create(&options);

    simnet_set_loss(world_net(w), loss);
    world_run(w, 20000);
    for (size_t node = nodes - 1; node > nodes / 2; node -= 1 + nodes / 8) {
        measure_revocation(run, w, nodes, node);
        if (!world_run(w, rng_range(world_rng(w), 0, 5000)))
            break;
    }
    world_settle(w, SETTLE_MS);
    return w;
}

static struct world *play_revoke(struct run *run)
{
    return revocations(run, 2 + drawn(run, 15), run->seed % 2 == 0 ? 0 : 0.2, false);
}

static struct world *play_revoke_many(struct run *run)
{
    return revocations(run, 100, run->seed % 2 == 0 ? 0 : 0.2, true);
}

/* ---- away for 30 days ---- */

static struct world *play_away(struct run *run)
{
    size_t nodes = 2 + drawn(run, 5);
    size_t away = 1 + drawn(run, nodes - 1);
    size_t other = nodes > 3 ? 1 + away % (nodes - 1) : away;
    struct world *w = make(run, nodes, 1);
    int64_t began;

    if (world_settle(w, SETTLE_MS) < 0)
        return w;
    world_stop(w, away, run->seed % 3 == 0);
    world_set_ping(w, 3600 * 1000);
    for (int day = 0; day < 30 && world_run(w, DAY_MS); day++) {
        world_rotate(w, 0);
        if (day == 10 && other != away)
            world_revoke(w, 0, other);
        if (run->seed % 2 == 0 && day % 7 == 0) { /* the others restart meanwhile */
            world_stop(w, 0, true);
            world_start(w, 0);
        }
    }
    world_set_ping(w, 400);
    world_start(w, away);
    for (began = world_now(w); world_epoch(w, away) != world_epoch(w, 0) && world_run(w, 10);)
        if (world_now(w) - began > 10000)
            world_break(w, "after 10 s who was away still has epoch %u",
                        (unsigned)world_epoch(w, away));
    world_settle(w, SETTLE_MS);
    return w;
}

/* ---- a card that was copied ---- */

static bool everywhere(struct world *w, size_t nodes, size_t clone, bool quarantined)
{
    for (size_t i = 0; i < nodes; i++)
        if (i != clone && world_quarantines(w, i, clone) != quarantined)
            return false;
    return true;
}

static struct world *play_clone(struct run *run)
{
    size_t nodes = 2 + drawn(run, 4);
    size_t node = drawn(run, nodes);
    struct world *w = make(run, nodes, 1);
    int64_t began, end;
    size_t copy;

    world_settle(w, SETTLE_MS);
    copy = world_clone(w, node);
    began = world_now(w);
    while (world_run(w, 100) && !(everywhere(w, nodes, node, true) && world_says_cloned(w, node) &&
                                  world_says_cloned(w, copy)))
        if (world_now(w) - began > 90000)
            world_break(w,
                        "after 90 s a copied card is not in quarantine everywhere, or does not "
                        "know it (%d %d)",
                        world_says_cloned(w, node), world_says_cloned(w, copy));
    /* And so it stays as long as both run. */
    for (end = world_now(w) + 300000; world_now(w) < end && world_run(w, 1000);)
        if (!everywhere(w, nodes, node, true) || !world_says_cloned(w, node) ||
            !world_says_cloned(w, copy))
            world_break(w, "a copied card has left its quarantine, and both machines run");
    world_stop(w, copy, true);
    for (began = world_now(w); world_run(w, 100);) {
        if (everywhere(w, nodes, node, false) && !world_says_cloned(w, node))
            break;
        if (world_now(w) - began > 240000)
            world_break(w, "the copy is off for 240 s, and the card is still in quarantine");
    }
    if (world_broken(w)[0] == '\0')
        world_settle(w, SETTLE_MS);
    return w;
}

/* ---- */

static const struct scenario {
    const char *name;
    struct world *(*play)(struct run *run);
    unsigned share; /* of the seeds: one in so many */
} scenarios[] = {
    {"chaos", play_chaos, 1},
    {"thief", play_thief, 2},
    {"rotate", play_rotate, 4},
    {"revoke", play_revoke, 4},
    {"revoke-many", play_revoke_many, 50},
    {"away", play_away, 2},
    {"clone", play_clone, 4},
};

#define SCENARIOS (sizeof scenarios / sizeof *scenarios)

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void print_samples(struct run *run, const char *name)
{
    if (run->sample_count == 0)
        return;
    qsort(run->samples, run->sample_count, sizeof run->samples[0], by_value);
    printf("%s: revocation known by all, with the new epoch: median %lld ms, p99 %lld ms, longest "
           "%lld ms (%zu revocations)\n",
           name, (long long)run->samples[run->sample_count / 2],
           (long long)run->samples[run->sample_count * 99 / 100],
           (long long)run->samples[run->sample_count - 1], run->sample_count);
}

static bool play(struct run *run, const struct scenario *scenario)
{
    struct world *w = scenario->play(run);
    bool good = world_broken(w)[0] == '\0';

    if (!good)
        printf("%s, seed %llu: %s\n", scenario->name, (unsigned long long)run->seed,
               world_broken(w));
    world_destroy(w);
    return good;
}

int main(int argc, char **argv)
{
    static struct run run;
    unsigned long long first = 1, last = 20;
    const char *wanted = NULL;
    bool measure = false;
    size_t failed = 0;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--scenario") == 0 && i + 1 < argc)
            wanted = argv[++i];
        else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc &&
                 sscanf(argv[++i], "%llu-%llu", &first, &last) >= 1)
            last = strchr(argv[i], '-') != NULL ? last : first;
        else if (strcmp(argv[i], "--measure") == 0)
            measure = true;
        else if (strcmp(argv[i], "--trace") == 0)
            run.trace = true;
        else {
            fprintf(stderr,
                    "usage: sim_keys [--scenario NAME] [--seeds A-B] [--measure] [--trace]\n");
            return 2;
        }
    }
    if (keys_start(NULL) != ERR_NONE)
        return 1;
    for (size_t s = 0; s < SCENARIOS; s++) {
        size_t runs = 0;
        if (wanted != NULL && strcmp(wanted, scenarios[s].name) != 0)
            continue;
        run.sample_count = 0;
        for (run.seed = first; run.seed <= last; run.seed++)
            if (wanted != NULL || run.seed % scenarios[s].share == 0) {
                runs++;
                failed += !play(&run, &scenarios[s]);
            }
        printf("%s: %zu seeds\n", scenarios[s].name, runs);
        if (measure)
            print_samples(&run, scenarios[s].name);
    }
    return failed > 0;
}
