/* The lease machine under random faults: never two effective holders (docs/vip.md G1, G3), and one
 * steady holder soon after the faults end (G2).
 *
 *   sim_lease [--seeds A-B] [--shape NAME] [--trace]
 *
 * Every seed draws a flock of one of the shapes below, half a minute to a minute of faults, then
 * calm. The first failure ends the run with status 1 and says by which seed and shape it is seen
 * again. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/lease_world.h"

#define MS 1000
#define SECOND 1000000
#define SETTLE                                                                                     \
    (12 * SECOND) /* silence after a restart, a promise of the longest lease, back-off             \
                   */
#define STEADY (3 * SECOND)

/* PERFECT_LINK: two solo candidates whose frames all arrive, but who are stopped, killed and
 * rebooted: there, too, no overlap is excused. REGISTER: likewise, but with any link, where the
 * gateway keeps its ARP cache by the last writer and no frame takes longer than rule 18 allows. */
enum shape { STRICT_TWO, SOLO_TWO, PERFECT_LINK, REGISTER, WITNESS, THREE, MANY, CHANGING, SHAPES };

static const char *const shape_names[SHAPES] = {
    [STRICT_TWO] = "strict", [SOLO_TWO] = "solo", [PERFECT_LINK] = "link", [REGISTER] = "register",
    [WITNESS] = "witness",   [THREE] = "three",   [MANY] = "many",         [CHANGING] = "changing",
};

struct run {
    enum shape shape;
    int nodes;
    int candidates; /* the first of the nodes; the others only vote */
    int holders[WORLD_LEASES];
    struct world *w;
    struct voters coordinator; /* CHANGING */
    struct voters_node admitted[WORLD_NODES_MAX];
    unsigned admitted_count;
    struct voter_set published;
    char failure[256];
};

struct totals {
    uint64_t seeds;
    uint64_t sets;
    int64_t simulated;
    struct world_stats sum;
};

static int64_t between(struct run *r, int64_t low, int64_t high)
{
    return rng_range(world_rng(r->w), low, high);
}

static bool odds(struct run *r, int percent)
{
    return between(r, 0, 99) < percent;
}

static struct world_wish wish_of(struct run *r, int node, int lease)
{
    bool solo = r->shape == SOLO_TWO || r->shape == PERFECT_LINK || r->shape == REGISTER;
    struct world_wish wish = {
        .wanted = node < r->candidates,
        .kind = lease == 0 ? LEASE_VIP : LEASE_SINGLETON,
        .mode = solo && lease != 1 ? LEASE_SOLO : LEASE_STRICT,
        .rank = (uint8_t)((node + lease) % r->candidates),
    };
    return wish;
}

static void create(struct run *r, enum shape shape, uint64_t seed, bool trace)
{
    static const int nodes[SHAPES] = {2, 2, 2, 2, 3, 3, 4, 5};
    static const uint32_t terms[] = {125, 250, 500};
    struct world_config config = {.trace = trace};
    struct rng rng;

    rng_seed(&rng, seed ^ 0x5eed);
    memset(r, 0, sizeof *r);
    r->shape = shape;
    r->nodes = nodes[shape] + (shape == MANY ? (int)rng_below(&rng, 4) : 0);
    r->candidates = shape == WITNESS ? 2 : r->nodes;
    config.nodes = r->nodes;
    config.register_kept = shape == REGISTER;
    config.timers_first = rng_below(&rng, 2) == 0;
    config.stop_per_million = (int)rng_below(&rng, 300);
    config.term_min_ms = terms[rng_below(&rng, 3)];
    config.terms_differ = rng_below(&rng, 2) == 0;
    if (rng_below(&rng, 2) == 0) /* lengths that also become shorter within the run */
        config.calm_ms = LEASE_TERM_MAX + (uint32_t)rng_below(&rng, 4000);
    config.voters.number = 1;
    config.voters.count = (uint8_t)(shape == MANY && r->nodes >= 5 ? 5 : r->nodes < 3 ? 2 : 3);
    for (int i = 0; i < config.voters.count; i++)
        config.voters.voters[i] = (node_id){(uint64_t)i + 1};
    r->w = world_create(&config, seed);
    r->published = config.voters;
    for (int i = 0; i < r->nodes; i++)
        for (int lease = 0; lease < WORLD_LEASES; lease++)
            world_wish(r->w, i, lease, wish_of(r, i, lease));
    if (shape == CHANGING) {
        struct voters_state state = {.current = config.voters};
        voters_init(&r->coordinator, &state);
        for (int i = 0; i < 3; i++)
            r->admitted[r->admitted_count++].id = (node_id){(uint64_t)i + 1};
    }
}

/* ---- the voter set ---- */

static void coordinate(struct run *r)
{
    struct voters_state next;
    mono_t now = {world_now(r->w) / MS};

    if (r->shape != CHANGING)
        return;
    for (unsigned i = 0; i < r->admitted_count; i++) {
        uint32_t seen = world_adopted(r->w, (int)r->admitted[i].id.v - 1);
        if (seen > r->admitted[i].adopted && odds(r, 30)) /* the record takes a while */
            r->admitted[i].adopted = seen;
    }
    if (voters_next(&r->coordinator, now, r->admitted, r->admitted_count, &next)) {
        voters_init(&r->coordinator, &next);
        r->published = next.current;
        world_adopt(r->w, 0, &r->published);
    }
    for (int i = 0; i < r->nodes; i++)
        if (odds(r, 5))
            world_adopt(r->w, i, &r->published);
}

/* Admits a node that is not, or revokes one; the first, which coordinates, stays. */
static void change_flock(struct run *r)
{
    int node = (int)between(r, 1, r->nodes - 1);

    for (unsigned i = 0; i < r->admitted_count; i++)
        if ((int)r->admitted[i].id.v - 1 == node) {
            if (r->admitted_count > 2)
                r->admitted[i] = r->admitted[--r->admitted_count];
            return;
        }
    r->admitted[r->admitted_count++] = (struct voters_node){.id = {(uint64_t)node + 1}};
}

/* ---- faults ---- */

static void cut_links(struct run *r)
{
    int kind = r->shape == REGISTER && odds(r, 60) ? 2 : (int)between(r, 0, 6);
    int node = (int)between(r, 0, r->nodes - 1);

    for (int i = 0; i <= WORLD_NODES_MAX; i++)
        for (int j = 0; j <= WORLD_NODES_MAX; j++) {
            bool nodes = i < r->nodes && j < r->nodes;
            bool up = true;
            if (kind == 0) /* one direction of some links */
                up = !odds(r, 30);
            else if (kind == 1) /* one node alone */
                up = i != node && j != node;
            else if (kind == 2) /* client isolation: the gateway is reached */
                up = !nodes;
            else if (kind == 3) /* the access point is off */
                up = false;
            else if (kind == 4) /* two halves, both with the gateway */
                up = !nodes || (i <= node) == (j <= node);
            else if (kind == 5) /* a node that nobody hears, or that hears nobody */
                up = node % 2 == 0 ? i != node : j != node;
            world_link(r->w, i, j, up);
        }
}

static void heal_links(struct run *r)
{
    for (int i = 0; i <= WORLD_NODES_MAX; i++)
        for (int j = 0; j <= WORLD_NODES_MAX; j++)
            world_link(r->w, i, j, true);
}

static void change_quality(struct run *r)
{
    static const int loss[] = {0, 0, 5, 20, 40};
    static const int delay[] = {1, 3, 20, 100, 500};
    static const int tail[] = {0, 0, 1, 10};

    if (r->shape ==
        REGISTER) /* δ is 25 ms at the least, and a frame takes up to half as much again */
        world_quality(r->w, loss[between(r, 0, 4)], delay[between(r, 0, 2)] * MS * 4 / 5, 0);
    else
        world_quality(r->w, loss[between(r, 0, 4)], delay[between(r, 0, 4)] * MS,
                      tail[between(r, 0, 3)]);
}

static void fault(struct run *r)
{
    int node = (int)between(r, 0, r->nodes - 1);
    int lease = (int)between(r, 0, WORLD_LEASES - 1);
    struct world_wish wish = wish_of(r, node, lease);

    switch (between(r, r->shape == PERFECT_LINK ? 5 : 0, 13)) {
    case 0:
    case 1:
        cut_links(r);
        break;
    case 2:
    case 3:
        heal_links(r);
        break;
    case 4:
        change_quality(r);
        break;
    case 5:
        world_stop(r->w, node, between(r, 1, odds(r, 50) ? 400 : 9000) * MS);
        break;
    case 6:
    case 7:
        world_kill(r->w, node, between(r, 5, odds(r, 70) ? 600 : 6000) * MS, odds(r, 70));
        break;
    case 8:
        world_reboot(r->w, node, between(r, 0, 5000) * MS, between(r, 1000, 9000) * MS);
        break;
    case 9:
        wish.wanted = wish.wanted && odds(r, 60);
        wish.rank = (uint8_t)between(r, 0, 3);
        world_wish(r->w, node, lease, wish);
        break;
    case 10:
    case 11:
        world_move(r->w, lease, (int)between(r, 0, r->candidates - 1));
        break;
    case 12:
        world_drain(r->w, node, odds(r, 50));
        break;
    default:
        if (r->shape == REGISTER && odds(r, 70))
            world_forget(r->w, lease);
        else if (r->shape == CHANGING)
            change_flock(r);
        else
            world_persist_fails(r->w, node, odds(r, 50));
        break;
    }
}

/* ---- phases ---- */

static bool safe(struct run *r)
{
    if (world_failure(r->w)[0] == '\0')
        return true;
    snprintf(r->failure, sizeof r->failure, "%s", world_failure(r->w));
    return false;
}

static bool advance(struct run *r, int64_t span)
{
    int64_t end = world_now(r->w) + span;

    while (world_now(r->w) < end) {
        int64_t next = world_now(r->w) + 50 * MS;
        if (!world_run(r->w, next < end ? next : end))
            return safe(r);
        coordinate(r);
    }
    return true;
}

static bool faults(struct run *r)
{
    int64_t end = between(r, 30, 60) * SECOND;

    while (world_now(r->w) < end) {
        if (!advance(r, between(r, 1, odds(r, 60) ? 700 : 4000) * MS))
            return false;
        fault(r);
    }
    return true;
}

/* From calm on: one holder, the same all the time. */
static bool one_steady_holder(struct run *r)
{
    int64_t end = world_now(r->w) + STEADY;

    for (int lease = 0; lease < WORLD_LEASES; lease++)
        r->holders[lease] = world_holder(r->w, lease);
    while (world_now(r->w) < end) {
        if (!advance(r, 10 * MS))
            return false;
        for (int lease = 0; lease < WORLD_LEASES; lease++) {
            int holder = world_holder(r->w, lease);
            if (holder >= 0 && holder == r->holders[lease])
                continue;
            snprintf(r->failure, sizeof r->failure,
                     "at %.4f s, in calm: lease %d was held by n%d, is held by n%d",
                     (double)world_now(r->w) / 1e6, lease, r->holders[lease], holder);
            return false;
        }
    }
    return true;
}

static bool calm(struct run *r)
{
    heal_links(r);
    world_quality(r->w, 0, 3 * MS, 0);
    world_stops(r->w, 0);
    world_wake_all(r->w);
    for (int lease = 0; lease < WORLD_LEASES; lease++) {
        struct world_wish wish = wish_of(r, 0, lease);
        world_wish(r->w, 0, lease, wish); /* at least one candidate */
    }
    if (!advance(r, 15 * SECOND)) /* machines that are off boot */
        return false;
    /* Voters that were added or removed become effective one by one. */
    return advance(r, r->shape == CHANGING ? 40 * SECOND : SETTLE) && one_steady_holder(r);
}

static void add(struct totals *t, struct run *r)
{
    const struct world_stats *s = world_stats(r->w);

    t->seeds++;
    t->sets += r->published.number;
    t->simulated += world_now(r->w);
    t->sum.steps += s->steps;
    t->sum.acquired += s->acquired;
    t->sum.resumed += s->resumed;
    t->sum.solo_overlaps += s->solo_overlaps;
    t->sum.blinks += s->blinks;
    t->sum.defended += s->defended;
    for (int i = 0; i < 16; i++)
        t->sum.lost[i] += s->lost[i];
}

static bool run_seed(enum shape shape, uint64_t seed, bool trace, struct totals *t)
{
    struct run r;
    bool ok;

    create(&r, shape, seed, trace);
    ok = faults(&r) && calm(&r);
    if (ok && shape != SOLO_TWO && world_stats(r.w)->solo_overlaps > 0) {
        snprintf(r.failure, sizeof r.failure, "solo leases where there can be none");
        ok = false;
    }
    if (!ok)
        printf("FAILED: seed %" PRIu64 ", shape %s: %s\n"
               "again: sim_lease --seeds %" PRIu64 "-%" PRIu64 " --shape %s --trace\n",
               seed, shape_names[shape], r.failure, seed, seed, shape_names[shape]);
    add(t, &r);
    world_destroy(r.w);
    return ok;
}

static void print_totals(enum shape shape, const struct totals *t)
{
    const uint64_t *lost = t->sum.lost;

    if (t->seeds == 0)
        return;
    printf("%-8s %5" PRIu64 " seeds, %.1f h: %" PRIu64 " steps; acquired %" PRIu64
           " (resumed %" PRIu64 "); lost: expired %" PRIu64 ", isolated %" PRIu64
           ", released %" PRIu64 ", moved %" PRIu64 ", conflict %" PRIu64 ", fence %" PRIu64
           "; defended %" PRIu64 "; solo overlaps %" PRIu64 ", blinks %" PRIu64 "; sets %" PRIu64
           "\n",
           shape_names[shape], t->seeds, (double)t->simulated / 3.6e9, t->sum.steps,
           t->sum.acquired, t->sum.resumed, lost[LEASE_WHY_EXPIRED], lost[LEASE_WHY_ISOLATED],
           lost[LEASE_WHY_RELEASED], lost[LEASE_WHY_MOVED], lost[LEASE_WHY_CONFLICT],
           lost[LEASE_WHY_FENCE], t->sum.defended, t->sum.solo_overlaps, t->sum.blinks, t->sets);
}

static int usage(void)
{
    fprintf(stderr,
            "usage: sim_lease [--seeds A-B] [--shape strict|solo|link|register|witness|three|many|"
            "changing] [--trace]\n");
    return 2;
}

int main(int argc, char **argv)
{
    static struct totals totals[SHAPES];
    uint64_t first = 1;
    uint64_t last = 300;
    int only = -1;
    bool trace = false;
    bool ok = true;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--trace") == 0) {
            trace = true;
        } else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) {
            if (sscanf(argv[++i], "%" SCNu64 "-%" SCNu64, &first, &last) != 2 || last < first)
                return usage();
        } else if (strcmp(argv[i], "--shape") == 0 && i + 1 < argc) {
            i++;
            for (only = 0; only < SHAPES && strcmp(argv[i], shape_names[only]) != 0; only++)
                ;
            if (only == SHAPES)
                return usage();
        } else {
            return usage();
        }
    }
    for (uint64_t seed = first; ok && seed <= last; seed++) {
        enum shape shape = only >= 0 ? (enum shape)only : (enum shape)(seed % SHAPES);
        ok = run_seed(shape, seed, trace, &totals[shape]);
    }
    for (int i = 0; i < SHAPES; i++)
        print_totals((enum shape)i, &totals[i]);
    return ok ? 0 : 1;
}
