/* Cron: the ticks of an instance that runs by the clock, and whose they are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/tick.h"
#include "agent/core/node_internal.h"
#include "proto/record/value_codec.h"

#define CLAIM_WAIT_MIN_S 10 /* promises are waited for at least that long */
#define CLAIM_STORE_RETRY_MS 2000
#define REPLACED 143 /* as a shell has it: SIGTERM */
#define FORGET_S (7 * 24 * 3600)

/* What this node has claimed and promised of one CronWorkload. */
struct job {
    char name[INSTANCE_MAX];
    struct value_cron own;
    uint32_t number;   /* of the latest write */
    uint32_t promised; /* of the latest whose value binds: nothing is said or started before it is
                          durable */
    uint32_t stored;
    mono_t retry;    /* the store failed; MONO_NEVER: it has not */
    bool former;     /* its newest run is of an earlier life of the agent */
    bool unanswered; /* people were told that its claim waits */
    bool left;       /* the desired state does not name it; nothing is said of it */
};

struct jobs {
    struct job *list;
    size_t count;
    uint32_t claims; /* made in this life */
};

static struct job *find_job(const struct node *node, const char *name)
{
    for (size_t i = 0; node->jobs != NULL && i < node->jobs->count; i++)
        if (strcmp(node->jobs->list[i].name, name) == 0)
            return &node->jobs->list[i];
    return NULL;
}

static struct job *add_job(struct node *node, const char *name)
{
    struct jobs *jobs = node->jobs;
    struct job *grown;

    if (jobs == NULL)
        jobs = node->jobs = calloc(1, sizeof *jobs);
    grown = jobs != NULL ? realloc(jobs->list, (jobs->count + 1) * sizeof *grown) : NULL;
    if (grown == NULL) {
        node->no_memory = true;
        return NULL;
    }
    jobs->list = grown;
    grown = &jobs->list[jobs->count++];
    *grown = (struct job){.retry = MONO_NEVER};
    snprintf(grown->name, sizeof grown->name, "%s", name);
    return grown;
}

void node_jobs_create(struct node *node, const struct node_cron *known, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct job *job = add_job(node, known[i].workload);
        if (job == NULL)
            return;
        job->own = known[i].value;
        job->former = true;
    }
}

void node_jobs_free(struct node *node)
{
    if (node->jobs != NULL)
        free(node->jobs->list);
    free(node->jobs);
}

/* ---- what is stored, and said ---- */

static void publish(struct node *node, const struct job *job)
{
    uint8_t bytes[RECORD_VALUE_MAX];
    char key[RECORD_KEY_MAX];
    size_t len;

    snprintf(key, sizeof key, "cron/%.100s", job->name);
    if (job->left || (job->own.accepted.tick == 0 && job->own.count == 0))
        return;
    if (job->promised <= job->stored &&
        value_cron_encode(&job->own, bytes, sizeof bytes, &len) == ERR_NONE)
        node_publish(node, key, bytes, len);
}

static void store(struct node *node, struct job *job, bool binds)
{
    struct effect_cron *effect = calloc(1, sizeof *effect);

    if (effect == NULL) {
        node->no_memory = true;
        return;
    }
    job->number++;
    if (binds)
        job->promised = job->number;
    job->retry = MONO_NEVER;
    snprintf(effect->workload, sizeof effect->workload, "%s", job->name);
    effect->value = job->own;
    effect->number = job->number;
    node_keep(node, effect);
    node_effect(node, EFFECT_CRON)->cron = effect;
    publish(node, job);
}

/* What the store could not take before. */
static void retry_store(struct node *node, struct job *job)
{
    if (mono_reached(node->now, job->retry))
        store(node, job, job->promised > job->stored);
}

void node_jobs_stored(struct node *node, const struct node_event_cron *event)
{
    struct job *job = find_job(node, event->workload);

    if (job == NULL)
        return;
    if (event->failed) {
        job->retry = mono_add(node->now, CLAIM_STORE_RETRY_MS);
        return;
    }
    if (event->number > job->stored)
        job->stored = event->number;
    publish(node, job);
    node->work_dirty = true;
}

/* ---- the view of the others ---- */

struct others {
    struct tick_view view;
    struct tick_peer *peers;
    struct value_cron *values;
};

static int look_around(const struct node *node, const char *name, struct others *others)
{
    const struct voter_set *voters = &node->adopted;
    char key[RECORD_KEY_MAX];
    size_t n = 0;

    others->peers = calloc(node->peer_count + 1, sizeof *others->peers);
    others->values = calloc(node->peer_count + 1, sizeof *others->values);
    if (others->peers == NULL || others->values == NULL)
        return ERR_NOMEM;
    snprintf(key, sizeof key, "cron/%.100s", name);
    for (size_t i = 0; i < node->peer_count; i++) {
        const struct peer *peer = &node->peers[i];
        struct record_view record;
        if (peer->self)
            continue;
        others->peers[n] = (struct tick_peer){.id = peer->id,
                                              .voter = voter_set_has(voters, peer->id),
                                              .gone = !node_peer_present(peer)};
        if (records_get(node->records, peer->id, key, &record) == ERR_NONE &&
            value_cron_decode(record.value, record.value_len, &others->values[n]) == ERR_NONE)
            others->peers[n].value = &others->values[n];
        n++;
    }
    others->view = (struct tick_view){.self = node->config.self,
                                      .voter = voter_set_has(voters, node->config.self),
                                      .majority = voter_set_majority(voters),
                                      .now = node->wall,
                                      .peers = others->peers,
                                      .count = n};
    if (voters->count == 0) { /* no set yet: a node that has no peers is its own majority */
        others->view.voter = n == 0;
        others->view.majority = 1;
    }
    return ERR_NONE;
}

static void look_away(struct others *others)
{
    free(others->peers);
    free(others->values);
}

/* ---- ticks ---- */

static int find_zone(const struct node *node, const char *name, struct cron_zone *zone,
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
            find_zone(node, schedule->time_zone, &instance->cron.zone, &err) == ERR_NONE;
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
    tick_withdrawn(&job->own, node->wall);
    store(node, job, true);
}

static void claim(struct node *node, struct job *job, const struct desired_workload *w,
                  const struct tick_view *view, int64_t tick, uint8_t attempt)
{
    unsigned keep = w->schedule.history_limit > 0 ? w->schedule.history_limit + 1 : 2;
    uint64_t number = (uint64_t)node->config.boot << 32 | (node->jobs->claims + 1);

    if (job->own.count > 0 && job->own.runs[0].state == VALUE_RUN_CLAIMED)
        tick_withdrawn(&job->own, node->wall);
    if (!tick_begin(&job->own, view, tick, attempt, number,
                    keep < VALUE_RUNS_MAX ? keep : VALUE_RUNS_MAX))
        return;
    node->jobs->claims++;
    job->unanswered = false;
    store(node, job, true);
}

static void start(struct node *node, struct job *job, struct instance *instance)
{
    const struct value_run *run = &job->own.runs[0];
    uint64_t generation;

    if (node_env_render(node, instance, 0, &generation) != ERR_NONE) {
        tell(node, job, EFFECT_WARNING, instance->reason);
        withdraw(node, job);
        return;
    }
    for (size_t i = 1; i < job->own.count; i++) /* Replace: it is stopped now */
        if (job->own.runs[i].state == VALUE_RUN_RUNNING) {
            job->own.runs[i].state = VALUE_RUN_ENDED;
            job->own.runs[i].exit_code = REPLACED;
            job->own.runs[i].ended = node->wall;
        }
    instance->tick = (uint64_t)run->tick;
    tick_started(&job->own, node->wall);
    publish(node, job);
    generation = hash64_mix(generation, instance->tick);
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

/* The run of an earlier life: if it lives its end will come; if not, nobody knows how it ended. */
static void settle_former(struct node *node, struct job *job)
{
    const struct instance *instance;
    char name[INSTANCE_MAX];

    job->former = false;
    if (job->own.count == 0 || (job->own.runs[0].state != VALUE_RUN_CLAIMED &&
                                job->own.runs[0].state != VALUE_RUN_RUNNING))
        return;
    snprintf(name, sizeof name, "%.100s.0", job->name);
    instance = node_find_instance(node, name);
    if (instance != NULL && supervise_alive(&instance->machine)) {
        tick_started(&job->own, job->own.runs[0].started != 0 ? job->own.runs[0].started
                                                              : job->own.runs[0].tick);
        return;
    }
    tick_ended(&job->own, -1, node->wall);
    tell(node, job, EFFECT_WARNING,
         "a run was under way when this node went down; how it ended is unknown");
    store(node, job, false);
}

void node_cron_update(struct node *node, struct instance *instance)
{
    const struct desired_workload *w = instance->workload;
    struct job *job = find_job(node, w->name);
    struct others others = {0};
    struct cron_out due;
    int64_t tick;
    uint8_t attempt;

    if (job == NULL)
        job = add_job(node, w->name);
    if (job == NULL || look_around(node, w->name, &others) != ERR_NONE) {
        node->no_memory = true;
        goto out;
    }
    if (job->former) /* before its claim is taken for one of this life */
        settle_former(node, job);
    prepare(node, instance, tick_newest(&job->own, &others.view));
    if (!instance->cron_valid)
        goto out;
    cron_step(&instance->cron, node->wall, supervise_alive(&instance->machine), &due);
    instance->cron_due = cron_deadline(&instance->cron);
    if (due.action == CRON_START || due.action == CRON_STOP_AND_START)
        claim(node, job, w, &others.view, due.tick_s, 1);
    else if (w->schedule.retry_lost && !w->schedule.suspend &&
             !supervise_alive(&instance->machine) &&
             tick_lost(&job->own, &others.view, &tick, &attempt))
        claim(node, job, w, &others.view, tick, attempt);
    go_on(node, job, instance, &others.view);

out:
    look_away(&others);
}

/* ---- the ends of runs ---- */

void node_cron_exited(struct node *node, const struct instance *instance, int exit_code)
{
    char name[INSTANCE_MAX];
    struct job *job;
    struct value_run *run;

    snprintf(name, sizeof name, "%s", instance->name);
    if (strrchr(name, '.') != NULL)
        *strrchr(name, '.') = '\0';
    job = find_job(node, name);
    run = job != NULL && job->own.count > 0 ? &job->own.runs[0] : NULL;
    if (run == NULL ||
        (run->state != VALUE_RUN_RUNNING && !(job->former && run->state == VALUE_RUN_CLAIMED)) ||
        (instance->machine.state != SUPERVISE_COMPLETED &&
         instance->machine.state != SUPERVISE_STOPPED))
        return;
    tick_ended(&job->own, exit_code, node->wall);
    if (exit_code == 0)
        tell(node, job, EFFECT_INFO, "its run has ended well");
    else if (exit_code < 0)
        tell(node, job, EFFECT_WARNING, "how its run ended is unknown");
    store(node, job, false);
}

/* ---- what others claim ---- */

static void promise(struct node *node, struct job *job)
{
    struct others others = {0};

    if (look_around(node, job->name, &others) != ERR_NONE)
        node->no_memory = true;
    else if (tick_accept(&job->own, &others.view))
        store(node, job, true);
    look_away(&others);
}

static void drop_job(struct node *node, size_t index)
{
    struct job *job = &node->jobs->list[index];

    job->own = (struct value_cron){.count = 0};
    store(node, job, true);
    *job = node->jobs->list[--node->jobs->count];
}

/* Of a workload that left the desired state. A later commit may bring it back while one of its
 * ticks may still be made up for, so what was promised is remembered for a while. */
static void leave_job(struct node *node, size_t index)
{
    struct job *job = &node->jobs->list[index];
    char key[RECORD_KEY_MAX];
    int64_t newest = job->own.accepted.tick;

    if (!job->left) {
        snprintf(key, sizeof key, "cron/%.100s", job->name);
        node_unpublish(node, key);
        job->left = true;
    }
    retry_store(node, job);
    if (job->own.count > 0 && job->own.runs[0].tick > newest)
        newest = job->own.runs[0].tick;
    if (newest + FORGET_S < node->wall)
        drop_job(node, index);
}

void node_jobs_update(struct node *node)
{
    for (size_t i = 0; i < node->desired->workload_count; i++) {
        const struct desired_workload *w = &node->desired->workloads[i];
        struct job *job = w->cron ? find_job(node, w->name) : NULL;
        if (w->cron && job == NULL)
            job = add_job(node, w->name);
        if (job == NULL)
            continue;
        job->left = false;
        if (job->former)
            settle_former(node, job);
        retry_store(node, job);
        promise(node, job);
        publish(node, job);
    }
    for (size_t i = node->jobs != NULL ? node->jobs->count : 0; i-- > 0;) {
        const struct desired_workload *w =
            desired_workload(node->desired, node->jobs->list[i].name);
        if (w == NULL || !w->cron)
            leave_job(node, i);
    }
}

static int by_tick(const void *a, const void *b)
{
    const struct value_run *x = &((const struct status_run *)a)->value;
    const struct value_run *y = &((const struct status_run *)b)->value;

    if (x->tick != y->tick)
        return x->tick > y->tick ? -1 : 1;
    return (int)y->attempt - (int)x->attempt;
}

/* Those that were withdrawn have not run. */
static void add_runs(const struct value_cron *value, const char *name, bool gone,
                     struct status_run *runs, size_t *count)
{
    for (size_t i = 0; i < value->count; i++) {
        const struct value_run *run = &value->runs[i];
        if (run->state == VALUE_RUN_WITHDRAWN)
            continue;
        runs[(*count)++] = (struct status_run){.node_name = name,
                                               .unknown = run->state == VALUE_RUN_UNKNOWN ||
                                                          (gone && run->state != VALUE_RUN_ENDED),
                                               .value = *run};
    }
}

int node_jobs_runs(const struct node *node, const struct desired_workload *w,
                   struct status_run **runs, size_t *count)
{
    const struct job *job = find_job(node, w->name);
    struct others others = {0};
    int rc = look_around(node, w->name, &others);

    *count = 0;
    *runs = rc == ERR_NONE ? calloc((others.view.count + 1) * VALUE_RUNS_MAX, sizeof **runs) : NULL;
    if (*runs == NULL) {
        look_away(&others);
        return ERR_NOMEM;
    }
    if (job != NULL)
        add_runs(&job->own, node->config.head.name, false, *runs, count);
    for (size_t i = 0; i < others.view.count; i++)
        if (others.peers[i].value != NULL)
            add_runs(others.peers[i].value, node_name(node, others.peers[i].id),
                     others.peers[i].gone, *runs, count);
    qsort(*runs, *count, sizeof **runs, by_tick);
    if (*count > w->schedule.history_limit)
        *count = w->schedule.history_limit;
    look_away(&others);
    return ERR_NONE;
}

mono_t node_jobs_deadline(const struct node *node)
{
    mono_t next = MONO_NEVER;

    for (size_t i = 0; node->jobs != NULL && i < node->jobs->count; i++)
        next = mono_min(next, node->jobs->list[i].retry);
    return next;
}
