/* covey-sim: whole nodes under faults, and the figures of membership, on a virtual clock.
 *
 *   covey-sim list
 *   covey-sim --scenario NAME [--nodes N] [--loss P] [--hours H] [--seed S | --seeds A-B|N]
 * [--json]
 *             [--trace] [--peer] [--ring NODES]
 *
 * --peer measures the model of memberlist instead; --ring sets up to how many nodes probe in a
 * ring.
 *
 * Exit status: 0 every seed held, 1 one did not (its command is printed), 2 usage. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/figures.h"
#include "tests/sim/scenario.h"

#define FIGURE_NODES_MAX 16000
#define LOSS_DEFAULT 0.01 /* of whole nodes; figures are without loss, unless it is asked for */

struct request {
    const struct scenario *scenario; /* or */
    const struct figure *figure;
    size_t nodes;
    uint32_t ring_max;
    double loss;
    double hours;
    uint64_t first, last;
    bool json;
    bool trace;
    bool peer;
};

struct totals {
    uint64_t failed;
    double virtual_hours;
    struct cluster_stats stats;
    struct samples samples[MEASURES];
};

static int usage(void)
{
    fputs(
        "usage: covey-sim list\n"
        "       covey-sim --scenario NAME [--nodes N] [--loss P] [--hours H]\n"
        "                 [--seed S | --seeds A-B|N] [--json] [--trace] [--peer] [--ring NODES]\n",
        stderr);
    return 2;
}

static int list(void)
{
    for (size_t i = 0; i < scenario_count; i++)
        printf("%-14s %3zu nodes  %5.2f h  %s\n", scenarios[i].name, scenarios[i].nodes,
               scenarios[i].hours, scenarios[i].help);
    printf("\nmembership, measured (hours: of all nodes together)\n");
    for (size_t i = 0; i < figure_count; i++)
        printf("%-14s %3zu nodes  %5.0f h  %s\n", figures[i].name, figures[i].nodes,
               figures[i].hours, figures[i].help);
    return 0;
}

static void report_failure(const struct request *request, uint64_t seed, const char *what)
{
    fprintf(stderr, "%s, seed %" PRIu64 ": %s\n", request->scenario->name, seed, what);
    fprintf(stderr,
            "  replay: covey-sim --scenario %s --nodes %zu --loss %g --hours %g --seed %" PRIu64
            " --trace\n",
            request->scenario->name, request->nodes, request->loss, request->hours, seed);
}

static void add_stats(struct totals *totals, const struct cluster_stats *stats)
{
    totals->stats.steps += stats->steps;
    totals->stats.solo_overlaps += stats->solo_overlaps;
    totals->stats.late_writes += stats->late_writes;
    totals->stats.agent_starts += stats->agent_starts;
    for (size_t i = 0; i < 3; i++)
        totals->stats.events[i] += stats->events[i];
}

static void play(const struct request *request, uint64_t seed, struct totals *totals)
{
    struct cluster_options options = {.nodes = request->nodes,
                                      .seed = seed,
                                      .loss = request->loss,
                                      .strangers = request->scenario->strangers,
                                      .trace = request->trace};
    struct cluster *c = cluster_create(&options);
    struct scenario_run run = {.cluster = c, .hours = request->hours, .samples = totals->samples};

    request->scenario->play(&run);
    if (cluster_broken(c)[0] != '\0') {
        totals->failed++;
        report_failure(request, seed, cluster_broken(c));
    }
    totals->virtual_hours += (double)cluster_now(c) / 3.6e6;
    add_stats(totals, cluster_stats(c));
    cluster_destroy(c);
}

static int by_value(const void *a, const void *b)
{
    const int64_t *x = a;
    const int64_t *y = b;

    return *x < *y ? -1 : *x > *y;
}

static void print_measures(const struct request *request, struct totals *totals)
{
    for (size_t i = 0; i < MEASURES; i++) {
        struct samples *s = &totals->samples[i];
        if (s->count == 0)
            continue;
        qsort(s->values, s->count, sizeof s->values[0], by_value);
        printf(request->json ? ", \"%s\": {\"count\": %zu, \"median\": %" PRId64
                               ", \"p95\": %" PRId64 ", \"p99\": %" PRId64 ", \"max\": %" PRId64 "}"
                             : "  %-30s %5zu samples, median %" PRId64 ", p95 %" PRId64
                               ", p99 %" PRId64 ", max %" PRId64 "\n",
               measure_names[i], s->count, s->values[s->count / 2], s->values[s->count * 95 / 100],
               s->values[s->count * 99 / 100], s->values[s->count - 1]);
    }
}

static void print_totals(const struct request *request, struct totals *totals)
{
    uint64_t seeds = request->last - request->first + 1;

    if (request->json)
        printf("{\"scenario\": \"%s\", \"nodes\": %zu, \"seeds\": %" PRIu64 ", \"failed\": %" PRIu64
               ", \"virtual_hours\": %.2f, \"steps\": %" PRIu64 ", \"agent_starts\": %" PRIu64
               ", \"solo_overlaps\": %" PRIu64 ", \"late_fence_writes\": %" PRIu64,
               request->scenario->name, request->nodes, seeds, totals->failed,
               totals->virtual_hours, totals->stats.steps, totals->stats.agent_starts,
               totals->stats.solo_overlaps, totals->stats.late_writes);
    else
        printf("%s: %" PRIu64 " of %" PRIu64
               " seeds held; %.1f virtual hours of %zu nodes, %" PRIu64 " steps, %" PRIu64
               " agent starts\n",
               request->scenario->name, seeds - totals->failed, seeds, totals->virtual_hours,
               request->nodes, totals->stats.steps, totals->stats.agent_starts);
    print_measures(request, totals);
    if (request->json)
        printf("}\n");
}

/* "A-B", or a number: that one seed, or so @many of them from 1 on. */
static bool parse_seeds(const char *text, bool many, struct request *request)
{
    char *end;

    errno = 0;
    request->first = strtoull(text, &end, 10);
    request->last = request->first;
    if (end == text)
        return false;
    if (*end == '-')
        request->last = strtoull(end + 1, &end, 10);
    else if (many)
        request->first = 1;
    return errno == 0 && *end == '\0' && request->last >= request->first;
}

static bool parse_real(const char *text, double max, double *value)
{
    char *end;

    *value = strtod(text, &end);
    return end != text && *end == '\0' && *value >= 0 && *value <= max;
}

static bool find_scenario(const char *name, struct request *request)
{
    for (size_t i = 0; i < scenario_count; i++)
        if (strcmp(scenarios[i].name, name) == 0)
            request->scenario = &scenarios[i];
    for (size_t i = 0; i < figure_count; i++)
        if (strcmp(figures[i].name, name) == 0)
            request->figure = &figures[i];
    if (request->scenario != NULL || request->figure != NULL)
        return true;
    fprintf(stderr, "covey-sim: there is no scenario \"%s\"; see covey-sim list\n", name);
    return false;
}

/* Negative and zero values of @request mean "as the scenario has it". */
static bool parse(int argc, char **argv, struct request *request)
{
    static const struct option options[] = {{"scenario", required_argument, NULL, 's'},
                                            {"nodes", required_argument, NULL, 'n'},
                                            {"loss", required_argument, NULL, 'l'},
                                            {"hours", required_argument, NULL, 'h'},
                                            {"seed", required_argument, NULL, 'e'},
                                            {"seeds", required_argument, NULL, 'a'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"trace", no_argument, NULL, 't'},
                                            {"peer", no_argument, NULL, 'p'},
                                            {"ring", required_argument, NULL, 'r'},
                                            {NULL, 0, NULL, 0}};
    bool good = true;
    int option;

    while (good && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 's':
            good = find_scenario(optarg, request);
            break;
        case 'n':
            request->nodes = strtoul(optarg, NULL, 10);
            good = request->nodes >= 2 && request->nodes <= FIGURE_NODES_MAX;
            break;
        case 'l':
            good = parse_real(optarg, 1, &request->loss);
            break;
        case 'h':
            good = parse_real(optarg, 1000000, &request->hours);
            break;
        case 'e':
        case 'a':
            good = parse_seeds(optarg, option == 'a', request);
            break;
        case 'j':
            request->json = true;
            break;
        case 't':
            request->trace = true;
            break;
        case 'p':
            request->peer = true;
            break;
        case 'r':
            request->ring_max = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        default:
            good = false;
            break;
        }
    }
    if (!good || optind != argc)
        return false;
    return request->figure != NULL ||
           (request->scenario != NULL && request->nodes <= CLUSTER_NODES_MAX && !request->peer);
}

static int measure(const struct request *request)
{
    const struct figure *figure = request->figure;
    struct figure_request f = {.nodes = request->nodes != 0 ? request->nodes : figure->nodes,
                               .loss = request->loss < 0 ? 0 : request->loss,
                               .hours = request->hours < 0 ? figure->hours : request->hours,
                               .first = request->first,
                               .last = request->last,
                               .ring_max = request->ring_max,
                               .peer = request->peer,
                               .json = request->json};

    setvbuf(stdout, NULL, _IOLBF, 0);
    return figure->play(&f) ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct request request = {.loss = -1, .hours = -1, .first = 1, .last = 1};
    struct totals *totals;
    int status;

    if (argc == 2 && strcmp(argv[1], "list") == 0)
        return list();
    if (!parse(argc, argv, &request))
        return usage();
    if (request.figure != NULL)
        return measure(&request);
    if (request.loss < 0)
        request.loss = LOSS_DEFAULT;
    if (request.nodes == 0)
        request.nodes = request.scenario->nodes;
    if (request.hours < 0)
        request.hours = request.scenario->hours;
    totals = calloc(1, sizeof *totals);
    if (totals == NULL)
        return 1;
    for (uint64_t seed = request.first; seed <= request.last; seed++)
        play(&request, seed, totals);
    print_totals(&request, totals);
    status = totals->failed > 0;
    free(totals);
    return status;
}
