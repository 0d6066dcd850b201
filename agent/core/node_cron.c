/* Cron: the ticks of a CronWorkload that is placed here, and its runs.
 *
 * Each run is a process of its own, the instance WORKLOAD.N. With Forbid and Replace that is always
 * WORKLOAD.0; with Allow a tick that finds it busy takes the next free number. WORKLOAD.0 stands
 * for the workload and is there as long as that is placed here, the others are as long as their
 * run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/node_jobs.h"

#define CLAIM_WAIT_MIN_S 10 /* promises are waited for at least that long */
#define REPLACED 143        /* as a shell has it: SIGTERM */
#define NO_PROCESS VALUE_RUN_PROCESSES_MAX

/* ---- processes ---- */

static struct instance *find_process(const struct node *node, const char *workload, uint8_t process)
{
    char name[INSTANCE_MAX];

    snprintf(name, sizeof name, "%.100s.%u", workload, (unsigned)process);
    return node_find_instance(node, name);
}

static bool is_alive(const struct node *node, const char *workload, uint8_t process)
{
    const struct instance *instance = find_process(node, workload, process);

    return instance != NULL && supervise_alive(&instance->machine);
}

static bool any_alive(const struct node *node, const char *workload)
{
    bool any = false;

    for (uint8_t i = 0; i < VALUE_RUN_PROCESSES_MAX; i++)
        any = any || is_alive(node, workload, i);
    return any;
}

/* A run that has failed and will be tried again is under way too. */
static uint8_t free_process(const struct node *node, const char *workload)
{
    for (uint8_t i = 0; i < VALUE_RUN_PROCESSES_MAX; i++) {
        const struct instance *instance = find_process(node, workload, i);
        if (instance == NULL || (!instance->doomed && !supervise_alive(&instance->machine) &&
                                 instance->machine.state != SUPERVISE_BACKOFF))
            return i;
    }
    return NO_PROCESS;
}

uint8_t node_cron_process(const struct instance *instance)
{
    const char *dot = strrchr(instance->name, '.');
    long process = dot != NULL ? strtol(dot + 1, NULL, 10) : 0;

    return process >= 0 && process < VALUE_RUN_PROCESSES_MAX ? (uint8_t)process : 0;
}

/* ---- ticks ---- */

int node_cron_zone(const struct node *node, const char *name, struct cron_zone *zone,
                   struct err *err)
{
    const struct node_zones *zones = &node->config.zones;

    *zone = (struct cron_zone){0};
    if (name == NULL || strcmp(name, "UTC") == 0 || strcmp(name, "Etc/UTC") == 0)
        return ERR_NONE;
    if (zones->find == NULL)
        return err_set(err, ERR_NOTFOUND, "no time zones are known here");
    return zones->find(zones->context, name, zone, err);
}

/* @newest: the newest tick that is known to be somebody's: what came after it has been missed. */
static void prepare(struct node *node, struct instance *instance, int64_t newest)
{
    const struct desired_schedule *schedule = &instance->workload->schedule;
    static const enum cron_concurrency concurrency[] = {
        [DESIRED_FORBID] = CRON_FORBID,
        [DESIRED_ALLOW] = CRON_ALLOW,
        [DESIRED_REPLACE] = CRON_REPLACE,
    };
    uint64_t text =
        hash64_mix(hash64_string(schedule->expression),
                   schedule->time_zone != NULL ? hash64_string(schedule->time_zone) : 0);
    bool first = instance->cron_generation == 0;
    struct err err;

    if (!instance->cron_valid || instance->cron_generation != text) {
        instance->cron_valid =
            cron_parse(schedule->expression, &instance->cron.schedule, &err) == ERR_NONE &&
            node_cron_zone(node, schedule->time_zone, &instance->cron.zone, &err) == ERR_NONE;
        instance->cron_generation = text;
        instance->cron.handled_s =
            first && newest != 0 && newest < node->wall ? newest : node->wall;
        if (!instance->cron_valid)
            snprintf(instance->reason, sizeof instance->reason, "%.150s", err.text);
    }
    instance->cron.concurrency = concurrency[schedule->concurrency];
    instance->cron.starting_deadline_s = schedule->starting_deadline_s;
    instance->cron.suspended = schedule->suspend;
}

static void tell(struct node *node, const struct job *job, enum effect_severity severity,
                 const char *what)
{
    char subject[INSTANCE_MAX + 8];

    snprintf(subject, sizeof subject, "app/%s", job->name);
    node_event(node, severity, subject, "%.60s: %.150s", job->name, what);
}

static void withdraw(struct node *node, struct job *job)
{
    tick_withdrawn(&job->own.runs[0], node->wall);
    node_job_store(node, job, true);
}

static void claim(struct node *node, struct job *job, const struct desired_workload *w,
                  const struct tick_view *view, int64_t tick, uint8_t attempt)
{
    unsigned keep = w->schedule.history_limit > 0 ? w->schedule.history_limit + 1 : 2;
    struct tick_claim wanted = {
        .tick = tick,
        .attempt = attempt,
        .process = w->schedule.concurrency == DESIRED_ALLOW ? free_process(node, w->name) : 0,
        .number = (uint64_t)node->config.boot << 32 | (node->jobs->claims + 1)};

    if (wanted.process == NO_PROCESS) {
        if (!job->crowded)
            tell(node, job, EFFECT_WARNING,
                 "runs that are due are left out: 8 of them are under way, the limit");
        job->crowded = true;
        return;
    }
    job->crowded = false;
    if (job->own.count > 0 && job->own.runs[0].state == VALUE_RUN_CLAIMED)
        tick_withdrawn(&job->own.runs[0], node->wall);
    if (!tick_begin(&job->own, view, &wanted, keep < VALUE_RUNS_MAX ? keep : VALUE_RUNS_MAX))
        return;
    node->jobs->claims++;
    job->unanswered = false;
    node_job_store(node, job, true);
}

/* Where several may not run side by side the new one takes the place of all. */
static void replace(struct node *node, struct job *job, bool beside)
{
    uint8_t process = job->own.runs[0].process;

    for (size_t i = 1; i < job->own.count; i++)
        if (job->own.runs[i].state == VALUE_RUN_RUNNING &&
            (!beside || job->own.runs[i].process == process))
            tick_ended(&job->own.runs[i], REPLACED, node->wall);
    for (uint8_t i = 0; !beside && i < VALUE_RUN_PROCESSES_MAX; i++) {
        struct instance *instance = find_process(node, job->name, i);
        if (i != process && instance != NULL)
            node_instance_end(node, instance);
    }
}

/* The instance of the claim; NULL: there is no room for another. */
static struct instance *take_process(struct node *node, const struct job *job,
                                     struct instance *first)
{
    uint8_t process = job->own.runs[0].process;
    struct instance *instance = process > 0 ? find_process(node, job->name, process) : first;
    char name[INSTANCE_MAX];

    if (instance != NULL)
        return instance;
    snprintf(name, sizeof name, "%.100s.%u", job->name, (unsigned)process);
    instance = node_add_instance(node, name);
    if (instance != NULL)
        node_place_beside(node, instance, first);
    return instance;
}

static void start(struct node *node, struct job *job, struct instance *first)
{
    const struct value_run *run = &job->own.runs[0];
    struct instance *instance = take_process(node, job, first);
    uint64_t generation;

    if (instance == NULL || node_env_render(node, instance, 0, &generation) != ERR_NONE) {
        tell(node, job, EFFECT_WARNING,
             instance != NULL ? instance->reason : "no other instance can run on this node");
        withdraw(node, job);
        return;
    }
    replace(node, job, instance->workload->schedule.concurrency == DESIRED_ALLOW);
    tick_started(&job->own.runs[0], node->wall);
    node_job_publish(node, job);
    generation = hash64_mix(generation, (uint64_t)run->tick);
    node_instance_want(node, instance,
                       run->attempt > 1 ? hash64_mix(generation, run->attempt) : generation);
}

/* Until when promises are waited for. */
static int64_t patience(const struct job *job, const struct instance *instance)
{
    int64_t limit = instance->cron.starting_deadline_s;

    return job->own.runs[0].tick + (limit > CLAIM_WAIT_MIN_S ? limit : CLAIM_WAIT_MIN_S);
}

static void go_on(struct node *node, struct job *job, struct instance *instance,
                  const struct tick_view *view)
{
    if (job->promised > job->stored)
        return;
    switch (tick_look(&job->own, view)) {
    case TICK_START:
        start(node, job, instance);
        break;
    case TICK_WITHDRAW:
        withdraw(node, job);
        break;
    case TICK_WAIT:
        if (!job->unanswered && node->wall > job->own.runs[0].tick + 1) {
            job->unanswered = true;
            snprintf(instance->reason, sizeof instance->reason,
                     "waits until another node acknowledges its claim of this tick");
        }
        if (node->wall > patience(job, instance)) {
            tell(node, job, EFFECT_WARNING,
                 "a run that was due is left out: no other node has acknowledged it in time");
            withdraw(node, job);
        } else {
            instance->cron_due = patience(job, instance) + 1 < instance->cron_due
                                     ? patience(job, instance) + 1
                                     : instance->cron_due;
        }
        break;
    case TICK_NONE:
        break;
    }
}

static bool is_open(const struct value_run *run)
{
    return run->state == VALUE_RUN_CLAIMED || run->state == VALUE_RUN_RUNNING;
}

/* The run of an earlier life that the process of @instance is, or was: the newest that was due when
 * it began. Where the clock was set since, that may be none, and it is the newest of all. */
static struct value_run *former_run(const struct node *node, struct job *job,
                                    const struct instance *instance)
{
    int64_t ago_ms = mono_diff(node->now, instance->machine.started_at);
    int64_t began = node->wall - ago_ms / 1000 + 1;
    uint8_t process = node_cron_process(instance);
    struct value_run *newest = NULL;

    for (size_t i = 0; i < job->own.count; i++) {
        struct value_run *run = &job->own.runs[i];
        if (!is_open(run) || run->process != process)
            continue;
        if (run->tick <= began)
            return run;
        if (newest == NULL)
            newest = run;
    }
    return newest;
}

/* A run that lives comes to its end; of the others nobody knows how they ended. */
void node_cron_settle(struct node *node, struct job *job)
{
    bool lives[VALUE_RUNS_MAX] = {false};
    bool lost = false;

    for (uint8_t process = 0; process < VALUE_RUN_PROCESSES_MAX; process++) {
        struct value_run *run = is_alive(node, job->name, process)
                                    ? former_run(node, job, find_process(node, job->name, process))
                                    : NULL;
        if (run == NULL)
            continue;
        lives[run - job->own.runs] = true;
        tick_started(run, run->started != 0 ? run->started : run->tick);
    }
    job->former = false;
    for (size_t i = 0; i < job->own.count; i++) {
        if (!is_open(&job->own.runs[i]) || lives[i])
            continue;
        tick_ended(&job->own.runs[i], -1, node->wall);
        lost = true;
    }
    if (!lost)
        return;
    tell(node, job, EFFECT_WARNING,
         "a run was under way when this node went down; how it ended is unknown");
    node_job_store(node, job, false);
}

/* One that runs beside the first goes with its run. */
static void update_beside(struct node *node, struct instance *instance)
{
    if (!supervise_alive(&instance->machine) && instance->machine.state != SUPERVISE_BACKOFF)
        node_instance_end(node, instance);
}

static void update_ticks(struct node *node, struct instance *instance, struct job *job,
                         const struct tick_view *view)
{
    const struct desired_workload *w = instance->workload;
    bool busy = w->schedule.concurrency != DESIRED_ALLOW && any_alive(node, w->name);
    struct cron_out due;
    int64_t tick;
    uint8_t attempt;

    cron_step(&instance->cron, node->wall, busy, &due);
    instance->cron_due = cron_deadline(&instance->cron);
    if (due.action == CRON_START || due.action == CRON_STOP_AND_START)
        claim(node, job, w, view, due.tick_s, 1);
    else if (w->schedule.retry_lost && !w->schedule.suspend && !busy &&
             tick_lost(&job->own, view, &tick, &attempt))
        claim(node, job, w, view, tick, attempt);
    go_on(node, job, instance, view);
}

void node_cron_update(struct node *node, struct instance *instance)
{
    struct job *job = node_job(node, instance->workload->name);
    struct job_view others = {0};

    if (node_cron_process(instance) > 0) {
        update_beside(node, instance);
        return;
    }
    if (job == NULL)
        job = node_job_add(node, instance->workload->name);
    if (job == NULL || node_job_look(node, job->name, &others) != ERR_NONE) {
        node->no_memory = true;
        node_job_look_end(&others);
        return;
    }
    if (job->former) /* before its claim is taken for one of this life */
        node_cron_settle(node, job);
    prepare(node, instance, tick_newest(&job->own, &others.view));
    if (instance->cron_valid)
        update_ticks(node, instance, job, &others.view);
    node_job_look_end(&others);
}

/* ---- the ends of runs ---- */

static struct value_run *run_of(const struct node *node, struct job *job,
                                const struct instance *instance)
{
    uint8_t process = node_cron_process(instance);

    if (job->former)
        return former_run(node, job, instance);
    for (size_t i = 0; i < job->own.count; i++)
        if (job->own.runs[i].process == process && job->own.runs[i].state == VALUE_RUN_RUNNING)
            return &job->own.runs[i];
    return NULL;
}

void node_cron_exited(struct node *node, const struct instance *instance, int exit_code)
{
    char name[INSTANCE_MAX];
    struct value_run *run;
    struct job *job;

    snprintf(name, sizeof name, "%s", instance->name);
    if (strrchr(name, '.') != NULL)
        *strrchr(name, '.') = '\0';
    job = node_job(node, name);
    run = job != NULL ? run_of(node, job, instance) : NULL;
    if (run == NULL || (instance->machine.state != SUPERVISE_COMPLETED &&
                        instance->machine.state != SUPERVISE_STOPPED))
        return;
    tick_ended(run, exit_code, node->wall);
    if (exit_code == 0)
        tell(node, job, EFFECT_INFO, "its run has ended well");
    else if (exit_code < 0)
        tell(node, job, EFFECT_WARNING, "how its run ended is unknown");
    node_job_store(node, job, false);
}
