/* log-generator: structured JSON logs on stdout, of all levels.
 *
 *     LOG_SCENARIO                        mixed (default), web, shop or incident
 *     LOG_INTERVAL_MIN, LOG_INTERVAL_MAX  seconds between two lines (0.5, 3); 0: as fast as
 * possible LOG_RATE                            lines a second instead, evenly; 0 (default): the
 * interval LOG_COUNT                           lines before it ends; 0 (default): until SIGTERM
 *     LOG_LEVEL                           the lowest level that is written (debug)
 */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "workloads/lib/env.h"
#include "workloads/lib/log.h"
#include "workloads/lib/random.h"
#include "workloads/lib/stop.h"
#include "workloads/log-generator/scenarios.h"

#define LOOK_EVERY 1024 /* lines between two looks for a signal when nothing is waited for */

struct generator {
    size_t scenario;
    int64_t interval_min_us;
    int64_t interval_max_us;
    int64_t rate;
    int64_t count;
    enum log_level level;
    struct rng rng;
    int64_t start_us;
    int64_t written;
};

static int64_t monotonic_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int configure(struct generator *g)
{
    struct env env;
    double min;
    double max;

    env_init(&env);
    g->scenario = env_choice(&env, "LOG_SCENARIO", scenario_names, 0);
    max = env_real(&env, "LOG_INTERVAL_MAX", 3, 0, 86400);
    min = env_real(&env, "LOG_INTERVAL_MIN", max < 0.5 ? max : 0.5, 0, 86400);
    g->rate = env_int(&env, "LOG_RATE", 0, 0, 1000000);
    g->count = env_int(&env, "LOG_COUNT", 0, 0, INT64_MAX);
    g->level = (enum log_level)env_choice(&env, "LOG_LEVEL", log_level_names, LEVEL_DEBUG);
    if (max < min)
        env_problem(&env, "LOG_INTERVAL_MAX", "not less than LOG_INTERVAL_MIN, which is %g", min);
    g->interval_min_us = (int64_t)(min * 1e6);
    g->interval_max_us = (int64_t)(max * 1e6);
    random_seed(&g->rng);
    return env_check(&env, "log-generator");
}

/* When the next line is due, in microseconds from now. A rate counts from the start, so that a
 * pause is caught up. */
static int64_t pause_us(struct generator *g)
{
    if (g->rate == 0)
        return rng_range(&g->rng, g->interval_min_us, g->interval_max_us);
    return g->start_us + g->written / g->rate * 1000000 + g->written % g->rate * 1000000 / g->rate -
           monotonic_us();
}

/* Waits for the next line. False: asked to stop. */
static bool wait_for_turn(struct generator *g, struct log *log)
{
    bool flat_out = g->rate == 0 && g->interval_max_us == 0;
    int64_t pause = flat_out ? 0 : pause_us(g);

    if (pause <= 0)
        return g->written % LOOK_EVERY != 0 || !stop_wait(0);
    log_flush(log);
    return !stop_wait(pause);
}

int main(void)
{
    struct generator g = {0};
    struct log *log;
    struct err err;
    int status;

    stop_prepare();
    status = configure(&g);
    if (status != 0)
        return status;
    if (log_open(&log, STDOUT_FILENO, "logger", "log-generator", g.level, &err) != ERR_NONE) {
        fprintf(stderr, "log-generator: %s\n", err.text);
        return 1;
    }
    g.start_us = monotonic_us();
    do {
        scenario_write(g.scenario, &g.rng, log);
        g.written++;
    } while ((g.count == 0 || g.written < g.count) && wait_for_turn(&g, log));
    log_flush(log);
    if (log_lost(log) > 0) {
        fprintf(stderr, "log-generator: lines were lost: stdout could not be written\n");
        status = 1;
    }
    log_close(log);
    return status;
}
