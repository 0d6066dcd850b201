#include "tests/sim/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/flock.h"

#define LINK_HEADER 14 /* Ethernet */
#define WARM_MS 20000
#define SAMPLES_MAX 100000

static const double losses[] = {0, 0.05, 0.2, 0.3};
#define LOSSES (sizeof losses / sizeof *losses)

struct samples {
    size_t count;
    int64_t ms[SAMPLES_MAX];
};

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static double quantile(const struct samples *s, double q)
{
    size_t at = (size_t)(q * (double)(s->count - 1) + 0.5);

    return s->count == 0 ? -1 : (double)s->ms[at] / 1000.0;
}

static void no_script(struct flock *f, uint64_t tag, void *ctx)
{
    (void)f;
    (void)tag;
    (void)ctx;
}

static void run_for(struct flock *f, int64_t ms)
{
    if (!flock_run(f, mono_add(simnet_now(f->net), ms), no_script, NULL))
        printf("  not true: %s\n", f->broken);
}

static struct flock *warm_flock(size_t nodes, uint64_t seed, uint32_t ring_max, double loss,
                                enum simnet_delay delay)
{
    struct flock_options options = {.nodes = nodes, .seed = seed, .ring_max = ring_max};
    struct flock *f = flock_create(&options);

    simnet_set_loss(f->net, loss);
    simnet_set_delay(f->net, delay);
    /* Long enough for the estimates of loss to have settled. */
    run_for(f, WARM_MS + (loss > 0 ? 120000 : 0));
    flock_reset_counts(f);
    return f;
}

/* Crashes one node after the other; one sample is one crash: until the last survivor knows. */
static void detect(size_t nodes, uint64_t seed, uint32_t ring_max, double loss,
                   enum simnet_delay delay, int crashes, struct samples *s)
{
    struct flock *f = warm_flock(nodes, seed, ring_max, loss, delay);

    for (int n = 0; n < crashes; n++) {
        size_t victim = rng_index(simnet_rng(f->net), nodes);
        mono_t last = MONO_ZERO;
        run_for(f, rng_range(simnet_rng(f->net), 0, 3000));
        mono_t crashed = simnet_now(f->net);
        flock_crash(f, victim);
        for (int k = 0; k < 60; k++) {
            bool all = true;
            run_for(f, 1000);
            for (size_t i = 0; i < nodes; i++)
                all = all && (i == victim || flock_sees(f, i, victim, MEMBER_DEAD));
            if (all)
                break;
        }
        for (size_t i = 0; i < nodes; i++)
            if (i != victim)
                last = mono_max(last, f->nodes[i].opinions[victim].since);
        s->ms[s->count++] = mono_diff(last, crashed);
        flock_restart(f, victim, false);
        run_for(f, 20000);
    }
    flock_destroy(f);
}

static void report_detection(uint64_t seed, uint32_t ring_max)
{
    static const size_t sizes[] = {2, 3, 5, 10, 16, 50, 100};
    struct samples *s = calloc(1, sizeof *s);

    if (s == NULL)
        return;
    printf("crash until known by every survivor, s: median / p99 / worst (LAN delays)\n%6s", "N");
    for (size_t k = 0; k < LOSSES; k++)
        printf("   loss %3.0f %%         ", losses[k] * 100);
    printf("\n");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        printf("%6zu", sizes[i]);
        for (size_t k = 0; k < LOSSES; k++) {
            s->count = 0;
            for (uint64_t n = 0; n < (sizes[i] > 20 ? 4 : 20); n++)
                detect(sizes[i], seed + n, ring_max, losses[k], SIMNET_LAN, 10, s);
            qsort(s->ms, s->count, sizeof *s->ms, ascending);
            printf("   %5.2f %5.2f %6.2f", quantile(s, 0.5), quantile(s, 0.99), quantile(s, 1));
            fflush(stdout);
        }
        printf("\n");
    }
    free(s);
}

static void false_line(const char *name, size_t nodes, uint64_t seed, uint32_t ring_max,
                       double hours, double loss, enum simnet_delay delay, int64_t bursts)
{
    struct flock *f = warm_flock(nodes, seed, ring_max, loss, delay);
    double span = hours / (double)nodes;
    uint64_t bytes = 0;
    uint64_t packets = 0;

    simnet_set_bursts(f->net, bursts);
    for (size_t i = 0; i < nodes; i++) {
        bytes -= simnet_sent(f->net, i).bytes;
        packets -= simnet_sent(f->net, i).packets;
    }
    run_for(f, (int64_t)(span * 3600000.0));
    for (size_t i = 0; i < nodes; i++) {
        bytes += simnet_sent(f->net, i).bytes;
        packets += simnet_sent(f->net, i).packets;
    }
    printf("%-12s %5zu %10.0f %8" PRIu64 " %10.4f %12.2f %9.1f %9.1f\n", name, nodes, hours,
           f->deaths_false, (double)f->deaths_false / hours, (double)f->suspicions_false / hours,
           (double)bytes / (hours * 3600.0),
           (double)(bytes + LINK_HEADER * packets) / (hours * 3600.0));
    fflush(stdout);
    flock_destroy(f);
}

static void report_false(uint64_t seed, uint32_t ring_max, double hours)
{
    static const size_t sizes[] = {2, 3, 5, 16, 50};

    printf("\nno faults but the network: declared dead, each by one observer, per node-hour;\n"
           "bytes sent per node and second, IP and UDP included, and with Ethernet\n"
           "%-12s %5s %10s %8s %10s %12s %9s %9s\n",
           "network", "N", "node-hours", "dead", "dead/h", "suspect/h", "B/s", "link B/s");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        static const char *const names[] = {"0 %", "5 %", "20 %", "30 %"};
        for (size_t k = 0; k < LOSSES; k++)
            false_line(names[k], sizes[i], seed, ring_max, k == 0 ? (double)sizes[i] / 4 : hours,
                       losses[k], SIMNET_LAN, 0);
        false_line("power save", sizes[i], seed, ring_max, hours, 0, SIMNET_POWERSAVE, 0);
        false_line("bursts", sizes[i], seed, ring_max, hours, 0, SIMNET_WIFI, 30000);
    }
}

/* A change of one record until every node has it. */
static void report_update(uint64_t seed)
{
    static const size_t sizes[] = {2, 5, 16, 50, 100};
    struct samples *s = calloc(1, sizeof *s);

    if (s == NULL)
        return;
    printf("\nchange of a record until every node holds it, s: median / p99\n");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        printf("%6zu", sizes[i]);
        for (size_t k = 0; k < LOSSES; k++) {
            struct flock *f = warm_flock(sizes[i], seed, 0, losses[k], SIMNET_LAN);
            s->count = 0;
            run_for(f, 30000);
            for (int n = 0; n < 100; n++) {
                mono_t start = simnet_now(f->net);
                flock_write(f, rng_index(simnet_rng(f->net), sizes[i]));
                while (!flock_records_equal(f))
                    run_for(f, 5);
                s->ms[s->count++] = mono_diff(simnet_now(f->net), start);
                run_for(f, rng_range(simnet_rng(f->net), 2000, 4000));
            }
            qsort(s->ms, s->count, sizeof *s->ms, ascending);
            printf("   %3.0f %%: %5.2f %5.2f", losses[k] * 100, quantile(s, 0.5),
                   quantile(s, 0.99));
            fflush(stdout);
            flock_destroy(f);
        }
        printf("\n");
    }
    free(s);
}

int report_run(uint64_t seed, double hours, uint32_t ring_max)
{
    report_detection(seed, ring_max);
    report_false(seed, ring_max, hours);
    report_update(seed);
    return 0;
}
