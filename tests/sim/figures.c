#include "tests/sim/figures.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/replay.h"
#include "tests/sim/world.h"

#define BARE_FROM 200  /* nodes: records are left out */
#define LARGE_FROM 200 /* nodes: who has crashed stays away */
#define WARM_MS 20000
#define LEARN_MS 120000 /* estimates of loss have settled */
#define TIMES_MAX 100000
#define REST_MS 20000      /* between a return and the next crash */
#define REST_PEER_MS 60000 /* memberlist takes longer to be whole again */
#define REST_SHORT_MS 2000
#define RESTARTS_LATE_MS 3000
#define HOUR_MS 3600000.0
#define DAY_MS 86400000LL

struct times {
    size_t count;
    int64_t ms[TIMES_MAX];
};

static struct times *times_new(void)
{
    struct times *t = calloc(1, sizeof *t);

    if (t == NULL)
        abort();
    return t;
}

static void times_add(struct times *t, int64_t ms)
{
    if (t->count < TIMES_MAX)
        t->ms[t->count++] = ms;
}

static int ascending(const void *a, const void *b)
{
    const int64_t *x = a;
    const int64_t *y = b;

    return *x < *y ? -1 : *x > *y;
}

static double seconds(const struct times *t, double share)
{
    return (double)t->ms[(size_t)(share * (double)(t->count - 1) + 0.5)] / 1000;
}

/* Prints and frees. */
static void times_print(const struct figure_request *r, const char *name, struct times *t)
{
    qsort(t->ms, t->count, sizeof t->ms[0], ascending);
    if (t->count == 0)
        printf("nothing was measured\n");
    else
        printf(r->json ? "{\"figure\": \"%s\", \"system\": \"%s\", \"nodes\": %zu, \"loss\": %g, "
                         "\"count\": %zu, \"median\": %.3f, \"p99\": %.3f, \"max\": %.3f}\n"
                       : "%s, %s, %zu nodes, loss %g: %zu samples, median %.2f s, p99 %.2f s, "
                         "longest %.2f s\n",
               name, r->peer ? "memberlist" : "covey", r->nodes, r->loss, t->count, seconds(t, 0.5),
               seconds(t, 0.99), seconds(t, 1));
    free(t);
}

enum weather { LOSS, POWERSAVE, BURSTS, ONE_WAY, LAGGARDS, DATAGRAMS, HANDSHAKES };

#define BURST_GAP_MS 30000
#define LAGGARD_LOSS 0.8
#define HANDSHAKE_MS 700 /* of processes that start on a busy machine */
#define CUT_MS 60000     /* each one-way cut, then the next pair */

static struct world begin(const struct figure_request *r, uint64_t seed, enum weather weather)
{
    struct world_options options = {.nodes = r->nodes,
                                    .seed = seed,
                                    .peer = r->peer,
                                    .bare = r->nodes >= BARE_FROM,
                                    .streams = weather == DATAGRAMS,
                                    .handshake_ms = weather == HANDSHAKES ? HANDSHAKE_MS : 0,
                                    .ring_max = r->ring_max};
    struct world w = world_create(&options);

    world_run(&w, WARM_MS);
    simnet_set_loss(w.net, r->loss);
    if (weather == POWERSAVE)
        simnet_set_delay(w.net, SIMNET_POWERSAVE);
    else if (weather == BURSTS)
        simnet_set_delay(w.net, SIMNET_WIFI);
    if (weather == BURSTS)
        simnet_set_bursts(w.net, BURST_GAP_MS);
    if (weather == LAGGARDS)
        for (size_t i = 0; i < (r->nodes + 99) / 100; i++) {
            simnet_set_node_loss(w.net, i, LAGGARD_LOSS);
            world_set_sick(&w, i);
        }
    if (r->loss > 0 || weather != LOSS)
        world_run(&w, LEARN_MS);
    return w;
}

/* ---- crash to known by everyone ---- */

/* Until every survivor says that the victim is dead, or a minute. */
static int64_t crash(struct world *w, size_t victim)
{
    mono_t crashed = simnet_now(w->net);
    mono_t last = crashed;
    bool all = false;

    world_crash(w, victim);
    for (int k = 0; k < 240 && !all; k++) {
        all = true;
        if (!world_run(w, 250))
            break;
        for (size_t i = 0; i < w->count && all; i++)
            all = !simnet_up(w->net, i) || world_dead(w, i, victim);
    }
    if (!all)
        return 60000;
    for (size_t i = 0; i < w->count; i++)
        if (simnet_up(w->net, i))
            last = mono_max(last, world_since(w, i, victim));
    return mono_diff(last, crashed);
}

/* Of another node each time, who comes back @rest_ms before the next one. */
static void detect(const struct figure_request *r, struct world *w, int crashes, size_t first,
                   int64_t rest_ms, struct times *t)
{
    for (int n = 0; n < crashes; n++) {
        struct rng *rng = simnet_rng(w->net);
        size_t victim = first + rng_index(rng, w->count - first);
        world_run(w, rng_range(rng, 0, 3000));
        if (!simnet_up(w->net, victim))
            continue;
        times_add(t, crash(w, victim));
        if (r->nodes >= LARGE_FROM)
            continue;
        world_restart(w, victim);
        world_run(w, rest_ms);
    }
}

static int64_t rest_of(const struct figure_request *r)
{
    return r->peer ? REST_PEER_MS : REST_MS;
}

static bool play_detect(const struct figure_request *r)
{
    struct times *t = times_new();

    for (uint64_t seed = r->first; seed <= r->last; seed++) {
        struct world w = begin(r, seed, LOSS);
        detect(r, &w, 20, 0, rest_of(r), t);
        world_destroy(&w);
    }
    times_print(r, "detect", t);
    return true;
}

/* Each crash soon after the return of another node. Held: but for one in a hundred they are known
 * in time. */
static bool play_restarts(const struct figure_request *r)
{
    struct times *t = times_new();
    size_t late = 0;
    size_t count;

    for (uint64_t seed = r->first; seed <= r->last; seed++) {
        struct world w = begin(r, seed, HANDSHAKES);
        detect(r, &w, 20, 0, REST_SHORT_MS, t);
        world_destroy(&w);
    }
    count = t->count;
    for (size_t i = 0; i < count; i++)
        late += t->ms[i] > RESTARTS_LATE_MS;
    times_print(r, "restarts", t);
    return r->peer || late * 100 <= count;
}

/* ---- no crash, and who is called dead all the same ---- */

static void subtract(struct world_counts *a, const struct world_counts *b)
{
    a->deaths -= b->deaths;
    a->deaths_sick -= b->deaths_sick;
    a->suspicions -= b->suspicions;
    a->bytes -= b->bytes;
    a->packets -= b->packets;
}

static void calm_print(const struct figure_request *r, const char *name, double hours,
                       const struct world_counts *c)
{
    printf(r->json ? "{\"figure\": \"%s\", \"system\": \"%s\", \"nodes\": %zu, \"loss\": %g, "
                     "\"node_hours\": %.0f, \"deaths\": %" PRIu64 ", \"deaths_per_hour\": %.5f, "
                     "\"deaths_of_or_by_sick\": %" PRIu64 ", \"suspicions_per_hour\": %.3f, "
                     "\"bytes_per_s\": %.1f, \"packets_per_s\": %.2f}\n"
                   : "%s, %s, %zu nodes, loss %g: %.0f node-hours, %" PRIu64
                     " wrong deaths (%.5f per node-hour; %" PRIu64
                     " by or of sick nodes), %.2f suspicions per node-hour, %.1f B/s, %.2f "
                     "packets/s\n",
           name, r->peer ? "memberlist" : "covey", r->nodes, r->loss, hours, c->deaths,
           (double)c->deaths / hours, c->deaths_sick, (double)c->suspicions / hours,
           (double)c->bytes / (hours * 3600), (double)c->packets / (hours * 3600));
}

/* One pair at a time hears each other in one direction only. */
static bool run_cuts(struct world *w, int64_t ms)
{
    for (int64_t past = 0; past < ms; past += CUT_MS) {
        size_t a = rng_index(simnet_rng(w->net), w->count);
        size_t b = (a + 1 + rng_index(simnet_rng(w->net), w->count - 1)) % w->count;
        simnet_cut(w->net, a, b, true);
        if (!world_run(w, CUT_MS))
            return false;
        simnet_cut(w->net, a, b, false);
    }
    return true;
}

/* One pair at a time hears each other over TCP alone, or one of them the other. */
static bool run_datagram_cuts(struct world *w, int64_t ms)
{
    for (int64_t past = 0; past < ms; past += CUT_MS) {
        size_t a = rng_index(simnet_rng(w->net), w->count);
        size_t b = (a + 1 + rng_index(simnet_rng(w->net), w->count - 1)) % w->count;
        simnet_cut_datagrams(w->net, a, b, true);
        simnet_cut_datagrams(w->net, b, a, rng_below(simnet_rng(w->net), 2) == 0);
        if (!world_run(w, CUT_MS))
            return false;
        simnet_cut_datagrams(w->net, a, b, false);
        simnet_cut_datagrams(w->net, b, a, false);
    }
    return true;
}

static bool run_weather(struct world *w, enum weather kind, int64_t ms)
{
    if (kind == ONE_WAY)
        return run_cuts(w, ms);
    return kind == DATAGRAMS ? run_datagram_cuts(w, ms) : world_run(w, ms);
}

/* Each seed takes its share of the hours; then, but for plain loss, crashes. */
static bool weather(const struct figure_request *r, const char *name, enum weather kind)
{
    struct world_counts sum = {0};
    struct times *t = times_new();
    double share = r->hours / (double)(r->last - r->first + 1);
    int64_t ms = (int64_t)(share * HOUR_MS / (double)r->nodes);
    bool held = true;

    for (uint64_t seed = r->first; seed <= r->last; seed++) {
        struct world w = begin(r, seed, kind);
        struct world_counts before = world_counts(&w);
        struct world_counts after;
        held = run_weather(&w, kind, ms) && held;
        after = world_counts(&w);
        subtract(&after, &before);
        sum.deaths += after.deaths;
        sum.deaths_sick += after.deaths_sick;
        sum.suspicions += after.suspicions;
        sum.bytes += after.bytes;
        sum.packets += after.packets;
        if (kind != LOSS)
            detect(r, &w, 20, kind == LAGGARDS ? (r->nodes + 99) / 100 : 0, rest_of(r), t);
        world_destroy(&w);
    }
    calm_print(r, name, r->hours, &sum);
    if (kind == DATAGRAMS && sum.suspicions > 0)
        held = false;
    if (kind == LOSS)
        free(t);
    else
        times_print(r, name, t);
    return held;
}

static bool play_calm(const struct figure_request *r)
{
    return weather(r, "calm", LOSS);
}

static bool play_power_save(const struct figure_request *r)
{
    return weather(r, "power-save", POWERSAVE);
}

static bool play_bursts(const struct figure_request *r)
{
    return weather(r, "bursts", BURSTS);
}

static bool play_one_way(const struct figure_request *r)
{
    return weather(r, "one-way", ONE_WAY);
}

static bool play_datagrams(const struct figure_request *r)
{
    return weather(r, "datagrams", DATAGRAMS); /* held: nobody was even suspected */
}

static bool play_laggards(const struct figure_request *r)
{
    return weather(r, "laggards", LAGGARDS);
}

/* ---- ours alone ---- */

/* Runs until it is true, in small steps; -1 when it never was. */
static int64_t until(struct world *w, bool (*holds)(const struct world *w, size_t node),
                     size_t node, int64_t step, int64_t limit)
{
    mono_t start = simnet_now(w->net);

    while (!holds(w, node)) {
        if (mono_diff(simnet_now(w->net), start) > limit || !world_run(w, step))
            return -1;
    }
    return mono_diff(simnet_now(w->net), start);
}

static bool heard(const struct world *w, size_t node)
{
    return flock_heard(w->flock, node);
}

static bool located(const struct world *w, size_t node)
{
    return flock_located(w->flock, node);
}

static bool complete(const struct world *w, size_t node)
{
    (void)node;
    return flock_views_whole(w->flock) && flock_records_equal(w->flock);
}

static bool whole(const struct world *w, size_t node)
{
    (void)node;
    return world_whole(w);
}

static bool own_only(const struct figure_request *r)
{
    if (r->peer)
        fprintf(stderr, "this figure is of ours alone\n");
    return !r->peer;
}

static bool repeated(const struct figure_request *r, const char *name,
                     void (*change)(struct flock *f, size_t node),
                     bool (*holds)(const struct world *w, size_t node), int64_t step)
{
    struct times *t = times_new();
    bool held = own_only(r);

    for (uint64_t seed = r->first; held && seed <= r->last; seed++) {
        struct world w = begin(r, seed, LOSS);
        for (int n = 0; n < 100 && held; n++) {
            size_t node = rng_index(simnet_rng(w.net), w.count);
            int64_t ms;
            change(w.flock, node);
            ms = until(&w, holds, node, step, 60000);
            held = ms >= 0;
            times_add(t, held ? ms : 60000);
            world_run(&w, rng_range(simnet_rng(w.net), 4000, 8000));
        }
        world_destroy(&w);
    }
    times_print(r, name, t);
    return held;
}

static bool play_update(const struct figure_request *r)
{
    return repeated(r, "update", flock_write, heard, 5);
}

static bool play_move(const struct figure_request *r)
{
    return repeated(r, "move", flock_move, located, 10);
}

/* All start at once and know one of them. */
static bool play_join(const struct figure_request *r)
{
    struct times *t = times_new();
    bool held = own_only(r);

    for (uint64_t seed = r->first; held && seed <= r->last; seed++) {
        struct world_options options = {.nodes = r->nodes, .seed = seed, .strangers = true};
        struct world w = world_create(&options);
        int64_t ms;
        simnet_set_loss(w.net, r->loss);
        ms = until(&w, complete, 0, 20, 600000);
        held = ms >= 0;
        if (!held)
            flock_explain(w.flock);
        times_add(t, held ? ms : 600000);
        world_destroy(&w);
    }
    times_print(r, "cold-join", t);
    return held;
}

/* Two halves that do not hear each other for thirty days; one of each is crashed meanwhile. */
static bool play_partition(const struct figure_request *r)
{
    struct times *t = times_new();
    bool held = true;

    for (uint64_t seed = r->first; held && seed <= r->last; seed++) {
        struct world w = begin(r, seed, LOSS);
        int64_t ms;
        for (size_t i = 0; i < w.count / 2; i++)
            simnet_set_side(w.net, i, 1);
        for (int day = 0; day < 30 && held; day++)
            held = world_run(&w, DAY_MS);
        for (size_t i = 0; i < w.count; i++)
            simnet_set_side(w.net, i, 0);
        ms = until(&w, whole, 0, 100, DAY_MS / 24);
        times_add(t, ms >= 0 ? ms : DAY_MS / 24);
        held = held && (ms >= 0 || r->peer);
        world_destroy(&w);
    }
    times_print(r, "partition", t);
    return held;
}

static bool play_replay(const struct figure_request *r)
{
    bool held = own_only(r);

    for (uint64_t seed = r->first; held && seed <= r->last; seed++)
        held = replay_run(seed, r->json);
    return held;
}

const struct figure figures[] = {
    {"detect", "crash until every survivor knows; 20 crashes per seed", 5, 0, play_detect},
    {"restarts", "likewise, each within 5 s of another's restart, while sessions are being made",
     16, 0, play_restarts},
    {"calm", "nobody crashes: wrong deaths, and bytes", 5, 300, play_calm},
    {"power-save", "likewise with the round trips of power save; then crashes", 5, 300,
     play_power_save},
    {"bursts", "likewise with radios that fall silent for 0.2 to 1 s; then crashes", 5, 300,
     play_bursts},
    {"one-way", "likewise while one pair hears each other in one direction only", 5, 300,
     play_one_way},
    {"datagrams", "likewise while of one pair nothing but TCP comes through", 5, 300,
     play_datagrams},
    {"laggards", "likewise while one node in a hundred loses 80 %", 100, 300, play_laggards},
    {"update", "change of a record until every node holds it; 100 per seed", 100, 0, play_update},
    {"move", "new address until every node has it; 100 per seed", 100, 0, play_move},
    {"cold-join", "nodes that know one of them until all know all", 100, 0, play_join},
    {"partition", "two halves apart for 30 days: from the end until all is whole", 4, 0,
     play_partition},
    {"replay", "1,000,000 recorded datagrams once more, also after a restart", 2, 0, play_replay},
};
const size_t figure_count = sizeof figures / sizeof *figures;
