/* Which instances this node runs: the list, what is wished of each, what happens to them. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/node_internal.h"
#include "proto/record/value_codec.h"

/* ---- what a workload wants of the machines ---- */

static struct supervise_policy policy_of(const struct desired_workload *w)
{
    static const enum supervise_restart restart[] = {
        [DESIRED_RESTART_ALWAYS] = SUPERVISE_ALWAYS,
        [DESIRED_RESTART_ON_FAILURE] = SUPERVISE_ON_FAILURE,
        [DESIRED_RESTART_NEVER] = SUPERVISE_NEVER,
    };
    struct supervise_policy policy = supervise_policy_default();

    policy.restart = restart[w->restart];
    policy.probed =
        w->startup.kind != DESIRED_PROBE_NONE || w->readiness.kind != DESIRED_PROBE_NONE;
    policy.needs_lease = w->singleton;
    policy.stop_timeout_ms = (int64_t)w->stop_grace_s * 1000;
    if (w->stop_signal != 0)
        policy.stop_signal = w->stop_signal;
    return policy;
}

/* ---- the list of instances ---- */

struct instance *node_add_instance(struct node *node, const char *name)
{
    struct instance **grown;
    struct instance *instance;

    if (node->instance_count >= NODE_INSTANCES_MAX) {
        node_event(node, EFFECT_ERROR, "node",
                   "%s is not started: this node runs %d instances already, its limit", name,
                   NODE_INSTANCES_MAX);
        return NULL;
    }
    grown = realloc(node->instances, (node->instance_count + 1) * sizeof *grown);
    instance = calloc(1, sizeof *instance);
    if (grown != NULL)
        node->instances = grown;
    if (grown == NULL || instance == NULL) {
        free(instance);
        node->no_memory = true;
        return NULL;
    }
    snprintf(instance->name, sizeof instance->name, "%s", name);
    snprintf(instance->other, sizeof instance->other, "%.*s_", INSTANCE_MAX - 2, name);
    instance->moving = MONO_NEVER;
    instance->elsewhere = MONO_NEVER;
    instance->check_at = MONO_NEVER;
    instance->since = node->wall;
    instance->placed_at = node->now;
    supervise_init(&instance->machine, node->now);
    health_init(&instance->health, (struct health_policy[HEALTH_PROBES]){0});
    node->instances[node->instance_count++] = instance;
    return instance;
}

/* No process, no wish, no desire: it leaves the list and the flock's view. */
static void remove_instance(struct node *node, size_t index)
{
    struct instance *instance = node->instances[index];
    char key[RECORD_KEY_MAX];

    snprintf(key, sizeof key, "instance/%.100s", instance->name);
    if (instance->elder == NULL)
        node_unpublish(node, key);
    if (instance->lease != 0)
        node_lease_unwant(node, instance->lease);
    node_drift_forget(node, instance);
    node_effect(node, EFFECT_FORGET)->stop.instance = node_instance_process(instance);
    node_keep(node, instance->rendering.text);
    node_keep(node, instance->rendering.env);
    node_keep(node, instance->rendering.args);
    node_keep(node, instance->rendering.files);
    free(instance->rendering.offsets);
    node_keep(node, instance); /* effects of this step may still name it */
    node->instances[index] = node->instances[--node->instance_count];
}

void node_work_free(struct node *node)
{
    for (size_t i = 0; i < node->instance_count; i++)
        node_instance_free(node->instances[i]);
    free(node->instances);
    node_turns_free(node);
    node_jobs_free(node);
}

/* ---- wishes ---- */

static bool dependencies_ready(struct node *node, struct instance *instance)
{
    const char *const *name = instance->workload->depends_on;
    const char *const *object = instance->workload->depends_objects;

    for (; object != NULL && *object != NULL; object++)
        if (!node_object_ready(node, *object, instance->reason, sizeof instance->reason))
            return false;
    for (; name != NULL && *name != NULL; name++) {
        if (node_workload_ready(node, *name))
            continue;
        snprintf(instance->reason, sizeof instance->reason, "waits for %s to be ready", *name);
        return false;
    }
    return true;
}

static void permit(struct node *node, struct instance *instance, bool allowed)
{
    struct supervise_event event = {.type = allowed ? SUPERVISE_PERMIT : SUPERVISE_FORBID};

    if (instance->machine.permitted != allowed)
        node_instance_step(node, instance, &event);
}

static bool same_policy(const struct supervise_policy *a, const struct supervise_policy *b)
{
    return a->restart == b->restart && a->probed == b->probed && a->needs_lease == b->needs_lease &&
           a->stop_signal == b->stop_signal && a->stop_timeout_ms == b->stop_timeout_ms &&
           a->backoff_min_ms == b->backoff_min_ms && a->backoff_max_ms == b->backoff_max_ms &&
           a->stable_ms == b->stable_ms && a->start_limit == b->start_limit &&
           a->leave_killed == b->leave_killed;
}

void node_instance_want(struct node *node, struct instance *instance, uint64_t generation)
{
    struct supervise_event event = {.type = SUPERVISE_WANT_RUN, .generation = generation};
    bool stays =
        supervise_alive(&instance->machine) && generation == instance->machine.run_generation;

    event.policy =
        policy_of(stays && instance->judge != NULL ? instance->judge : instance->workload);
    event.policy.leave_killed =
        !instance->workload->cron &&
        node_drift_mode(node, instance->workload->app) != DESIRED_DRIFT_CORRECT;
    if (!instance->outdated && !instance->succeeded) /* else it still runs the former one's */
        instance->document = instance->workload->generation;
    if (instance->machine.wanted && instance->wished == generation &&
        same_policy(&event.policy, &instance->machine.policy))
        return;
    instance->wished = generation;
    node_instance_step(node, instance, &event);
}

void node_instance_end(struct node *node, struct instance *instance)
{
    struct supervise_event event = {.type = SUPERVISE_WANT_STOP};

    if (instance->doomed)
        return;
    instance->doomed = true;
    instance->wished = 0;
    node_instance_step(node, instance, &event);
}

/* The other node has it ready, or had its time. A run of a cron is left to its end. */
static bool moved(struct node *node, struct instance *instance)
{
    const struct peer *peer = node_find_peer(node, instance->moved_to);
    char key[RECORD_KEY_MAX];
    struct record_view record;
    struct value_instance value;

    if (instance->workload->cron)
        return !supervise_alive(&instance->machine);
    if (!supervise_alive(&instance->machine) ||
        mono_reached(node->now, mono_add(instance->moving, NODE_HANDOVER_MS)))
        return true;
    snprintf(key, sizeof key, "instance/%.100s", instance->name);
    return peer != NULL && node_peer_present(peer) &&
           records_get(node->records, instance->moved_to, key, &record) == ERR_NONE &&
           value_instance_decode(record.value, record.value_len, &value) == ERR_NONE &&
           value.state == VALUE_READY;
}

/* A process whose document is the same, and whose references lead elsewhere, is left alone for a
 * while: an endpoint that comes back soon (its agent was restarted) replaces nothing. */
static uint64_t settle_references(struct node *node, struct instance *instance, uint64_t rendered)
{
    uint64_t running = instance->machine.run_generation;
    bool elsewhere =
        supervise_alive(&instance->machine) && rendered != running &&
        rendered != instance->workload->generation &&
        (instance->document == 0 || instance->document == instance->workload->generation);

    if (!elsewhere || instance->wished == rendered) {
        instance->elsewhere = MONO_NEVER;
        return rendered;
    }
    if (mono_reached(node->now, instance->elsewhere)) /* and stays so until its turn has come */
        return rendered;
    if (mono_is_never(instance->elsewhere))
        instance->elsewhere = mono_add(node->now, NODE_ELSEWHERE_MS);
    return running;
}

/* What others count on stays until it is this node's turn. */
static uint64_t await_turn(struct node *node, struct instance *instance, uint64_t generation)
{
    bool counted = instance->machine.state == SUPERVISE_READY ||
                   (instance->machine.state == SUPERVISE_RUNNING && instance->unprobed);

    if (generation == instance->machine.run_generation || !counted ||
        !node_turn_needed(instance->workload) || node_turn_come(node, instance))
        return generation;
    instance->outdated = true;
    return instance->machine.run_generation;
}

/* The generation to be wished now, where @generation is what is wanted in the end. */
static uint64_t replace(struct node *node, struct instance *instance, uint64_t generation)
{
    if (instance->elder != NULL)
        return generation;
    if (node_handover(node, instance, generation))
        return instance->machine.run_generation;
    return await_turn(node, instance, generation);
}

static void update_service(struct node *node, struct instance *instance)
{
    bool alive = supervise_alive(&instance->machine);
    uint64_t generation;
    int rc =
        node_env_render(node, instance, alive ? instance->machine.run_generation : 0, &generation);
    bool ready = rc == ERR_NONE && dependencies_ready(node, instance);

    if (rc == ERR_NOMEM) {
        node->no_memory = true;
        return;
    }
    /* A run whose endpoints are gone for the moment goes on: it has its own retries. */
    if (rc != ERR_NONE) {
        instance->elsewhere = MONO_NEVER;
        generation = alive ? instance->machine.run_generation : instance->workload->generation;
    } else {
        generation = settle_references(node, instance, generation);
        generation = replace(node, instance, generation);
        node_env_deliver(node, instance);
    }
    /* The wish comes before the permission: what may start now starts as it is wished. */
    if (!ready)
        permit(node, instance, false);
    node_instance_want(node, instance, generation);
    if (ready)
        permit(node, instance, true);
    node_instance_publish(node, instance);
}

static void update_heir(struct node *node, struct instance *heir)
{
    const struct instance *elder = heir->elder;

    if (elder->doomed || !elder->placed || elder->workload == NULL)
        node_instance_end(node, heir);
    else if (!heir->doomed)
        update_service(node, heir);
}

static void update_instance(struct node *node, struct instance *instance)
{
    instance->outdated = false;
    instance->succeeded = false;
    if (instance->elder != NULL)
        update_heir(node, instance);
    else if (!instance->placed && node_drift_leaves_extra(node, instance))
        node_instance_publish(node, instance);
    else if (instance->workload == NULL)
        node_instance_end(node, instance);
    else if (instance->placed && instance->workload->cron)
        node_cron_update(node, instance);
    else if (instance->placed)
        update_service(node, instance);
    else if (mono_is_never(instance->moving) || moved(node, instance))
        node_instance_end(node, instance);
}

void node_work_update(struct node *node)
{
    if (node->desired == NULL || node->left)
        return;
    if (node->place_dirty) {
        node->place_dirty = false;
        node->work_dirty = true;
        node_place_all(node);
        node_vip_ranks(node);
    }
    /* What one instance publishes another may wait for: bounded by the depth of dependencies. */
    for (int round = 0; round < DESIRED_DEPENDS_MAX && node->work_dirty; round++) {
        node->work_dirty = false;
        for (size_t i = 0; i < node->instance_count; i++)
            update_instance(node, node->instances[i]);
        node_turns_update(node);
        node_jobs_update(node);
    }
    for (size_t i = node->instance_count; i-- > 0;)
        if (node->instances[i]->doomed && !supervise_alive(&node->instances[i]->machine) &&
            !node_handover_has_heir(node, node->instances[i]))
            remove_instance(node, i);
}

void node_work_desired(struct node *node)
{
    node->place_dirty = true;
    node->work_dirty = true;
}

/* A singleton whose lease was taken up again lives on before the desired state is known. */
static void find_lease(struct node *node, struct instance *instance)
{
    struct supervise_event gained = {.type = SUPERVISE_LEASE_GAINED};
    char name[INSTANCE_MAX];
    struct lease_view view;

    snprintf(name, sizeof name, "%s", instance->name);
    if (strrchr(name, '.') != NULL)
        *strrchr(name, '.') = '\0';
    if (!leases_get(node->leases, node->now, node_singleton_lease(name), &view) ||
        view.kind != LEASE_SINGLETON || view.state != LEASE_HELD)
        return;
    instance->lease = view.lease;
    node_instance_step(node, instance, &gained);
    node_instance_extend(node, instance, view.end);
}

void node_work_adopt(struct node *node, struct instance *instance,
                     const struct node_event_instance *event)
{
    struct supervise_event found = {.type = SUPERVISE_FOUND,
                                    .generation = event->generation,
                                    .pid = event->pid,
                                    .started_at = event->started_at,
                                    .stopping = event->stopping};

    instance->port_count = event->port_count;
    memcpy(instance->ports, event->ports, sizeof instance->ports);
    instance->probe_port = event->probe_port;
    instance->wished = event->generation;
    instance->unprobed = true;
    node_instance_step(node, instance, &found);
    if (instance->lease == 0)
        find_lease(node, instance);
}

void node_work_found(struct node *node, const struct node_event_instance *event)
{
    struct instance *instance = node_find_process(node, event->instance);
    char base[INSTANCE_MAX];
    bool second = effect_base(event->instance, base);

    if (instance == NULL && node_find_instance(node, base) != NULL) {
        node_handover_found(node, event, node_find_instance(node, base));
        return;
    }
    if (instance == NULL)
        instance = node_add_instance(node, base);
    if (instance == NULL)
        return;
    instance->extra = node->desired != NULL;
    instance->second = second;
    node_work_adopt(node, instance, event);
}

void node_work_lease(struct node *node, uint64_t lease, bool held, mono_t until)
{
    for (size_t i = 0; i < node->instance_count; i++) {
        struct instance *instance = node->instances[i];
        struct supervise_event event = {.type =
                                            held ? SUPERVISE_LEASE_GAINED : SUPERVISE_LEASE_LOST};
        if (instance->lease != lease)
            continue;
        if (instance->machine.leased != held)
            node_instance_step(node, instance, &event);
        if (held)
            node_instance_extend(node, instance, until);
    }
}

/* When its wishes want to be looked at again, though nothing happened. */
static mono_t wishes_deadline(const struct node *node, const struct instance *instance)
{
    mono_t next = MONO_NEVER;

    if (node->desired == NULL || node->left || instance->doomed)
        return next;
    if (!instance->placed && !mono_is_never(instance->moving) && instance->workload != NULL &&
        !instance->workload->cron)
        next = mono_add(instance->moving, NODE_HANDOVER_MS);
    if (instance->placed && !mono_reached(node->now, instance->elsewhere))
        next = mono_min(next, instance->elsewhere);
    if (instance->placed && instance->cron_valid && instance->cron_due != CRON_NEVER)
        next = mono_min(next, mono_add(node->now, (instance->cron_due - node->wall) * 1000));
    return next;
}

void node_work_tick(struct node *node)
{
    if (mono_reached(node->now, node_jobs_deadline(node)))
        node->work_dirty = true;
    for (size_t i = 0; i < node->instance_count; i++) {
        struct instance *instance = node->instances[i];
        node_instance_tick(node, instance);
        if (mono_reached(node->now, instance->check_at))
            node_env_check(node, instance);
        if (mono_reached(node->now, wishes_deadline(node, instance)) ||
            (instance->placed && !instance->outdated &&
             mono_reached(node->now, instance->elsewhere)))
            node->work_dirty = true;
    }
}

mono_t node_work_deadline(const struct node *node)
{
    mono_t next = mono_min(node->place_at, node_jobs_deadline(node));

    for (size_t i = 0; i < node->instance_count; i++) {
        const struct instance *instance = node->instances[i];
        next = mono_min(next, supervise_deadline(&instance->machine));
        next = mono_min(next, health_deadline(&instance->health));
        next = mono_min(next, wishes_deadline(node, instance));
        next = mono_min(next, instance->check_at);
    }
    return next;
}
