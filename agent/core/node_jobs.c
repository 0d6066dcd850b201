/* What this node has claimed and promised of the ticks of CronWorkloads: kept, published, and the
 * claims of others that it promises. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/node_jobs.h"
#include "proto/record/value_codec.h"

#define CLAIM_STORE_RETRY_MS 2000
#define FORGET_S (7 * 24 * 3600)

struct job *node_job(const struct node *node, const char *name)
{
    for (size_t i = 0; node->jobs != NULL && i < node->jobs->count; i++)
        if (strcmp(node->jobs->list[i].name, name) == 0)
            return &node->jobs->list[i];
    return NULL;
}

struct job *node_job_add(struct node *node, const char *name)
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
        struct job *job = node_job_add(node, known[i].workload);
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

void node_job_publish(struct node *node, const struct job *job)
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

void node_job_store(struct node *node, struct job *job, bool binds)
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
    node_job_publish(node, job);
}

/* What the store could not take before. */
static void retry_store(struct node *node, struct job *job)
{
    if (mono_reached(node->now, job->retry))
        node_job_store(node, job, job->promised > job->stored);
}

void node_jobs_stored(struct node *node, const struct node_event_cron *event)
{
    struct job *job = node_job(node, event->workload);

    if (job == NULL)
        return;
    if (event->failed) {
        job->retry = mono_add(node->now, CLAIM_STORE_RETRY_MS);
        return;
    }
    if (event->number > job->stored)
        job->stored = event->number;
    node_job_publish(node, job);
    node->work_dirty = true;
}

/* ---- the view of the others ---- */

int node_job_look(const struct node *node, const char *name, struct job_view *others)
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

void node_job_look_end(struct job_view *others)
{
    free(others->peers);
    free(others->values);
}

/* ---- what others claim ---- */

static void promise(struct node *node, struct job *job)
{
    struct job_view others = {0};

    if (node_job_look(node, job->name, &others) != ERR_NONE)
        node->no_memory = true;
    else if (tick_accept(&job->own, &others.view))
        node_job_store(node, job, true);
    node_job_look_end(&others);
}

static void drop_job(struct node *node, size_t index)
{
    struct job *job = &node->jobs->list[index];

    job->own = (struct value_cron){.count = 0};
    node_job_store(node, job, true);
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
        struct job *job = w->cron ? node_job(node, w->name) : NULL;
        if (w->cron && job == NULL)
            job = node_job_add(node, w->name);
        if (job == NULL)
            continue;
        job->left = false;
        if (job->former)
            node_cron_settle(node, job);
        retry_store(node, job);
        promise(node, job);
        node_job_publish(node, job);
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
    const struct job *job = node_job(node, w->name);
    struct job_view others = {0};
    int rc = node_job_look(node, w->name, &others);

    *count = 0;
    *runs = rc == ERR_NONE ? calloc((others.view.count + 1) * VALUE_RUNS_MAX, sizeof **runs) : NULL;
    if (*runs == NULL) {
        node_job_look_end(&others);
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
    node_job_look_end(&others);
    return ERR_NONE;
}

mono_t node_jobs_deadline(const struct node *node)
{
    mono_t next = MONO_NEVER;

    for (size_t i = 0; node->jobs != NULL && i < node->jobs->count; i++)
        next = mono_min(next, node->jobs->list[i].retry);
    return next;
}
