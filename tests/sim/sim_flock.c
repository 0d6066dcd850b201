/* Membership and records under faults: sim_flock [--seeds A-B] [--verbose]
 *
 * One seed is one run: a flock of 2 to 50 nodes lives through two minutes of loss, delays,
 * duplicates, bursts, cuts, partitions, crashes, restarts (some with the store lost), pauses,
 * changes of address, good-byes and a revocation, while its nodes write and delete. Then the
 * network heals, and within a minute all views must be whole and all tables equal. Invariants
 * (flock.c) are checked after every step. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/flock.h"

#define FAULTS_MS 120000
#define SETTLE_MS 60000
#define STEP_MS 500 /* between looks at a flock that settles */

enum script { SCRIPT_FAULT = 1, SCRIPT_WRITE };

static size_t pick_size(struct rng *rng)
{
    static const size_t sizes[] = {2, 2, 2, 3, 3, 3, 5, 5, 16, 16, 50};

    return sizes[rng_below(rng, sizeof sizes / sizeof *sizes)];
}

static size_t running(const struct flock *f)
{
    size_t n = 0;

    for (size_t i = 0; i < f->count; i++)
        n += simnet_up(f->net, i) && !f->nodes[i].revoked;
    return n;
}

static void network_fault(struct flock *f, struct rng *rng)
{
    size_t a = rng_index(rng, f->count);
    size_t b = rng_index(rng, f->count);

    switch (rng_below(rng, 8)) {
    case 0:
        simnet_set_loss(f->net, 0.05 * (double)rng_below(rng, 9));
        break;
    case 1:
        simnet_set_delay(f->net, (enum simnet_delay)rng_below(rng, 3));
        break;
    case 2:
        simnet_set_duplicate(f->net, 0.2 * rng_unit(rng));
        break;
    case 3:
        simnet_set_bursts(f->net, 10000);
        break;
    case 4:
        simnet_cut(f->net, a, b, true);
        break;
    case 5:
        for (size_t i = 0; i < f->count; i++)
            simnet_set_side(f->net, i, (unsigned)rng_below(rng, 2));
        break;
    case 6:
        simnet_cut_datagrams(f->net, a, b, true);
        break;
    default:
        simnet_heal(f->net);
        break;
    }
}

static void node_fault(struct flock *f, struct rng *rng)
{
    size_t a = rng_index(rng, f->count);

    switch (rng_below(rng, 8)) {
    case 0:
    case 1:
        flock_crash(f, a);
        break;
    case 2:
    case 3:
        if (!f->nodes[a].revoked)
            flock_restart(f, a, rng_below(rng, 5) == 0);
        break;
    case 4:
        simnet_pause(f->net, a, mono_add(simnet_now(f->net), rng_range(rng, 100, 8000)));
        break;
    case 5:
        flock_move(f, a);
        break;
    case 6:
        flock_leave(f, a);
        flock_crash(f, a);
        break;
    default:
        if (f->count >= 5 && running(f) > 3 && rng_below(rng, 4) == 0)
            for (size_t i = 0; i < f->count; i++)
                flock_revoke_at(f, i, a);
        break;
    }
}

static void script(struct flock *f, uint64_t tag, void *ctx)
{
    struct rng *rng = ctx;
    mono_t now = simnet_now(f->net);
    size_t busy = 1 + f->count / 8;

    if (mono_diff(now, SIMNET_START) > FAULTS_MS)
        return;
    if (tag == SCRIPT_FAULT) {
        if (rng_below(rng, 2) == 0)
            network_fault(f, rng);
        else
            node_fault(f, rng);
        simnet_script(f->net, mono_add(now, rng_range(rng, 100, 6000)), tag);
        return;
    }
    for (size_t i = 0; i < busy; i++)
        flock_write(f, rng_index(rng, f->count));
    simnet_script(f->net, mono_add(now, rng_range(rng, 1, 600)), tag);
}

/* The network heals; who crashed comes back, save some. */
static void heal(struct flock *f, struct rng *rng)
{
    simnet_heal(f->net);
    simnet_set_delay(f->net, SIMNET_WIFI);
    for (size_t i = 0; i < f->count; i++)
        if (!f->nodes[i].revoked && rng_below(rng, 4) != 0)
            flock_restart(f, i, false);
    /* Where both of a pair have moved meanwhile, nobody knows where to look. */
    for (size_t i = 0; i < f->count; i++)
        flock_discover(f, i, (i + 1) % f->count);
}

static bool run_seed(uint64_t seed, bool verbose)
{
    struct flock_options options = {.seed = seed, .streams = seed % 2 == 0};
    struct flock *f;
    struct rng rng;
    mono_t end = mono_add(SIMNET_START, FAULTS_MS + SETTLE_MS);
    bool whole = false;

    rng_seed(&rng, seed);
    options.nodes = pick_size(&rng);
    f = flock_create(&options);
    simnet_script(f->net, mono_add(SIMNET_START, rng_range(&rng, 0, 5000)), SCRIPT_FAULT);
    simnet_script(f->net, mono_add(SIMNET_START, 1000), SCRIPT_WRITE);
    if (flock_run(f, mono_add(SIMNET_START, FAULTS_MS), script, &rng)) {
        heal(f, &rng);
        while (!whole && f->broken == NULL && mono_before(simnet_now(f->net), end)) {
            flock_run(f, mono_add(simnet_now(f->net), STEP_MS), script, &rng);
            whole = flock_views_whole(f) && flock_records_equal(f);
        }
    }
    if (f->broken != NULL)
        printf("seed %" PRIu64 " (%zu nodes) at %" PRId64 " ms: not true: %s\n", seed, f->count,
               mono_diff(simnet_now(f->net), SIMNET_START), f->broken);
    else if (!whole)
        printf("seed %" PRIu64 " (%zu nodes): not settled a minute after the faults\n", seed,
               f->count);
    else if (verbose)
        printf("seed %" PRIu64 " (%zu nodes): settled after %" PRId64 " ms\n", seed, f->count,
               mono_diff(simnet_now(f->net), SIMNET_START) - FAULTS_MS);
    if (f->broken == NULL && !whole)
        flock_explain(f);
    whole = whole && f->broken == NULL;
    flock_destroy(f);
    return whole;
}

static int usage(void)
{
    fprintf(stderr, "usage: sim_flock [--seeds A-B] [--verbose]\n");
    return 2;
}

int main(int argc, char **argv)
{
    uint64_t first = 1;
    uint64_t last = 100;
    bool verbose = false;
    unsigned failed = 0;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0)
            verbose = true;
        else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc &&
                 sscanf(argv[++i], "%" SCNu64 "-%" SCNu64, &first, &last) == 2)
            continue;
        else
            return usage();
    }
    for (uint64_t seed = first; seed <= last; seed++)
        failed += !run_seed(seed, verbose);
    printf("%" PRIu64 " seeds, %u failed\n", last - first + 1, failed);
    return failed == 0 ? 0 : 1;
}
