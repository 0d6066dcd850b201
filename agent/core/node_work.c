/* Which instances this node runs: placement, dependencies, hand-over between nodes, cron. */
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
    return policy;
}

static void set_probe(struct health_policy *policy, const struct desired_probe *probe)
{
    *policy = health_policy_default();
    policy->present = probe->kind != DESIRED_PROBE_NONE;
    if (!policy->present)
        return;
    policy->initial_delay_ms = (int64_t)probe->initial_delay_s * 1000;
    policy->period_ms = (int64_t)probe->period_s * 1000;
    policy->timeout_ms = (int64_t)probe->timeout_s * 1000;
    policy->success_threshold = probe->success_threshold;
    policy->failure_threshold = probe->failure_threshold;
}

/* ---- the list of instances ---- */

static struct instance *add_instance(struct node *node, const char *name)
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
    instance->moving = MONO_NEVER;
    instance->since = node->wall;
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
    node_unpublish(node, key);
    if (instance->lease != 0)
        node_vip_unwant(node, instance->lease);
    node_effect(node, EFFECT_FORGET)->stop.instance = instance->name;
    node_keep(node, instance->env_text);
    node_keep(node, instance->env);
    node_keep(node, instance); /* effects of this step may still name it */
    node->instances[index] = node->instances[--node->instance_count];
}

void node_work_free(struct node *node)
{
    for (size_t i = 0; i < node->instance_count; i++)
        node_instance_free(node->instances[i]);
    free(node->instances);
}

/* ---- placement ---- */

static void bind_workload(struct node *node, struct instance *instance,
                          const struct desired_workload *w)
{
    struct health_policy probes[HEALTH_PROBES];
    struct health_out out;
    bool active = instance->health.active;
    char lease[INSTANCE_MAX + 16];

    instance->workload = w;
    set_probe(&probes[HEALTH_STARTUP], &w->startup);
    set_probe(&probes[HEALTH_READINESS], &w->readiness);
    set_probe(&probes[HEALTH_LIVENESS], &w->liveness);
    for (int i = 0; i < HEALTH_PROBES; i++)
        if (memcmp(&probes[i], &instance->health.probe[i].policy, sizeof probes[i]) != 0) {
            health_init(&instance->health, probes);
            if (active)
                health_begin(&instance->health, node->now, instance->machine.started_at, &out);
            break;
        }
    instance->lease = 0;
    if (w->singleton) {
        snprintf(lease, sizeof lease, "singleton/%s", w->name);
        instance->lease = hash64_string(lease);
    }
}

static void place_here(struct node *node, const struct desired_workload *w, uint32_t replica)
{
    char name[INSTANCE_MAX];
    struct instance *instance;

    snprintf(name, sizeof name, "%s.%u", w->name, (unsigned)replica);
    instance = node_find_instance(node, name);
    if (instance == NULL)
        instance = add_instance(node, name);
    if (instance == NULL)
        return;
    bind_workload(node, instance, w);
    instance->placed = true;
    instance->doomed = false;
    instance->moving = MONO_NEVER;
}

/* A replica that runs here and is placed on another node now. */
static void place_away(struct node *node, const struct desired_workload *w, uint32_t replica,
                       node_id owner)
{
    char name[INSTANCE_MAX];
    struct instance *instance;

    snprintf(name, sizeof name, "%s.%u", w->name, (unsigned)replica);
    instance = node_find_instance(node, name);
    if (instance == NULL)
        return;
    bind_workload(node, instance, w);
    if (mono_is_never(instance->moving))
        instance->moving = node->now;
    instance->moved_to = owner;
}

static size_t place_nodes(struct node *node, struct place_node *nodes)
{
    size_t count = 0;

    for (size_t i = 0; i < node->peer_count; i++) {
        struct peer *peer = &node->peers[i];
        if (peer->head.role == VALUE_ROLE_WITNESS)
            continue;
        nodes[count++] = (struct place_node){.id = peer->id,
                                             .name = peer->head.name,
                                             .labels = peer->labels,
                                             .usable = node_peer_usable(node, peer)};
    }
    return count;
}

/* A singleton stands ready on every node that may run it; the lease decides. */
static void place_singleton(struct node *node, const struct desired_workload *w,
                            const struct place_node *nodes, size_t count)
{
    char lease[INSTANCE_MAX + 16];
    uint64_t id;

    snprintf(lease, sizeof lease, "singleton/%s", w->name);
    id = hash64_string(lease);
    for (size_t i = 0; i < count; i++) {
        if (!node_id_equal(nodes[i].id, node->config.self) || !place_eligible(w, &nodes[i]))
            continue;
        if (!nodes[i].usable) {
            node_vip_unwant(node, id);
            continue;
        }
        place_here(node, w, 0);
        node_vip_want_singleton(node, id, place_rank(id, nodes, count, i));
    }
}

static void place_all(struct node *node)
{
    size_t room = node->peer_count;
    struct place_node *nodes = calloc(room, sizeof *nodes);
    uint32_t *scratch = calloc(room, sizeof *scratch);
    int *owner = calloc(DESIRED_REPLICAS_MAX, sizeof *owner);
    size_t count;

    if (nodes == NULL || scratch == NULL || owner == NULL) {
        node->no_memory = true;
        goto out;
    }
    count = place_nodes(node, nodes);
    for (size_t i = 0; i < node->instance_count; i++) {
        node->instances[i]->placed = false;
        node->instances[i]->workload = NULL;
    }
    for (size_t k = 0; k < node->desired->workload_count; k++) {
        const struct desired_workload *w = &node->desired->workloads[k];
        if (w->singleton && !w->cron) {
            place_singleton(node, w, nodes, count);
            continue;
        }
        place_workload(w, nodes, count, scratch, owner);
        for (uint32_t r = 0; r < w->replicas; r++) {
            if (owner[r] < 0)
                continue;
            if (node_id_equal(nodes[owner[r]].id, node->config.self))
                place_here(node, w, r);
            else
                place_away(node, w, r, nodes[owner[r]].id);
        }
    }

out:
    free(nodes);
    free(scratch);
    free(owner);
}

/* ---- wishes ---- */

static bool dependencies_ready(struct node *node, struct instance *instance)
{
    const char *const *name = instance->workload->depends_on;

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

static void want(struct node *node, struct instance *instance, uint64_t generation)
{
    struct supervise_event event = {.type = SUPERVISE_WANT_RUN, .generation = generation};

    event.policy = policy_of(instance->workload);
    if (instance->machine.wanted && instance->wished == generation &&
        memcmp(&event.policy, &instance->machine.policy, sizeof event.policy) == 0)
        return;
    instance->wished = generation;
    node_instance_step(node, instance, &event);
}

static void stop_for_good(struct node *node, struct instance *instance)
{
    struct supervise_event event = {.type = SUPERVISE_WANT_STOP};

    if (instance->doomed)
        return;
    instance->doomed = true;
    instance->wished = 0;
    node_instance_step(node, instance, &event);
}

/* The other node has it ready, or had its time. */
static bool moved(struct node *node, struct instance *instance)
{
    char key[RECORD_KEY_MAX];
    struct record_view record;
    struct value_instance value;

    if (!supervise_alive(&instance->machine) ||
        mono_reached(node->now, mono_add(instance->moving, NODE_HANDOVER_MS)))
        return true;
    snprintf(key, sizeof key, "instance/%.100s", instance->name);
    return records_get(node->records, instance->moved_to, key, &record) == ERR_NONE &&
           value_instance_decode(record.value, record.value_len, &value) == ERR_NONE &&
           value.state == VALUE_READY;
}

static void update_service(struct node *node, struct instance *instance)
{
    uint64_t generation = instance->wished;
    int rc = node_env_render(node, instance, &generation);
    bool ready = rc == ERR_NONE && dependencies_ready(node, instance);

    if (rc == ERR_NOMEM) {
        node->no_memory = true;
        return;
    }
    /* A run whose endpoints are gone for the moment goes on: it has its own retries. */
    if (rc != ERR_NONE && supervise_alive(&instance->machine))
        generation = instance->machine.run_generation;
    else if (rc != ERR_NONE)
        generation = instance->workload->generation;
    permit(node, instance, ready);
    want(node, instance, generation);
    node_instance_publish(node, instance);
}

/* ---- cron ---- */

static void cron_prepare(struct node *node, struct instance *instance)
{
    const struct desired_schedule *schedule = &instance->workload->schedule;
    static const enum cron_concurrency concurrency[] = {
        [DESIRED_FORBID] = CRON_FORBID,
        [DESIRED_ALLOW] = CRON_ALLOW,
        [DESIRED_REPLACE] = CRON_REPLACE,
    };
    uint64_t text = hash64_string(schedule->expression);
    struct err err;

    if (!instance->cron_valid || instance->cron_generation != text) {
        instance->cron_valid =
            cron_parse(schedule->expression, &instance->cron.schedule, &err) == ERR_NONE;
        instance->cron_generation = text;
        instance->cron.handled_s = node->wall;
        if (!instance->cron_valid)
            snprintf(instance->reason, sizeof instance->reason, "%.150s", err.text);
    }
    instance->cron.concurrency = concurrency[schedule->concurrency];
    instance->cron.starting_deadline_s = schedule->starting_deadline_s;
    instance->cron.suspended = schedule->suspend;
}

static void update_cron(struct node *node, struct instance *instance)
{
    struct cron_out due;
    uint64_t generation;

    cron_prepare(node, instance);
    if (!instance->cron_valid)
        return;
    cron_step(&instance->cron, node->wall, supervise_alive(&instance->machine), &due);
    if (due.action != CRON_START && due.action != CRON_STOP_AND_START)
        return;
    if (node_env_render(node, instance, &generation) != ERR_NONE) {
        char subject[INSTANCE_MAX + 8];
        snprintf(subject, sizeof subject, "app/%s", instance->workload->name);
        node_event(node, EFFECT_WARNING, subject, "the run of %s that was due is left out: %s",
                   instance->workload->name, instance->reason);
        return;
    }
    instance->tick = (uint64_t)due.tick_s;
    want(node, instance, hash64_mix(generation, instance->tick));
}

static void update_instance(struct node *node, struct instance *instance)
{
    if (instance->workload == NULL)
        stop_for_good(node, instance);
    else if (instance->placed && instance->workload->cron)
        update_cron(node, instance);
    else if (instance->placed)
        update_service(node, instance);
    else if (mono_is_never(instance->moving) || moved(node, instance))
        stop_for_good(node, instance);
}

void node_work_update(struct node *node)
{
    if (node->desired == NULL || node->left)
        return;
    if (node->place_dirty) {
        node->place_dirty = false;
        place_all(node);
        node_vip_ranks(node);
    }
    /* What one instance publishes another may wait for: bounded by the depth of dependencies. */
    for (int round = 0; round < DESIRED_DEPENDS_MAX && node->work_dirty; round++) {
        node->work_dirty = false;
        for (size_t i = 0; i < node->instance_count; i++)
            update_instance(node, node->instances[i]);
    }
    for (size_t i = node->instance_count; i-- > 0;)
        if (node->instances[i]->doomed && !supervise_alive(&node->instances[i]->machine))
            remove_instance(node, i);
}

void node_work_desired(struct node *node)
{
    node->place_dirty = true;
    node->work_dirty = true;
}

void node_work_found(struct node *node, const struct node_event_instance *event)
{
    struct instance *instance = node_find_instance(node, event->instance);
    struct supervise_event found = {.type = SUPERVISE_FOUND,
                                    .generation = event->generation,
                                    .pid = event->pid,
                                    .started_at = event->started_at};

    if (instance == NULL)
        instance = add_instance(node, event->instance);
    if (instance == NULL)
        return;
    instance->port_count = event->port_count;
    memcpy(instance->ports, event->ports, sizeof instance->ports);
    instance->wished = event->generation;
    node_instance_step(node, instance, &found);
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
        if (held && supervise_alive(&instance->machine)) {
            struct effect *effect = node_effect(node, EFFECT_EXTEND);
            effect->stop.instance = instance->name;
            effect->stop.until = until;
        }
    }
}

void node_work_tick(struct node *node)
{
    for (size_t i = 0; i < node->instance_count; i++) {
        struct instance *instance = node->instances[i];
        node_instance_tick(node, instance);
        if (!mono_is_never(instance->moving) || instance->cron_valid)
            node->work_dirty = true;
    }
}

mono_t node_work_deadline(const struct node *node)
{
    mono_t next = node->place_at;

    for (size_t i = 0; i < node->instance_count; i++) {
        const struct instance *instance = node->instances[i];
        next = mono_min(next, supervise_deadline(&instance->machine));
        next = mono_min(next, health_deadline(&instance->health));
        if (!mono_is_never(instance->moving))
            next = mono_min(next, mono_add(instance->moving, NODE_HANDOVER_MS));
        if (instance->cron_valid && instance->placed) {
            int64_t due = cron_deadline(&instance->cron);
            if (due != CRON_NEVER)
                next = mono_min(next, mono_add(node->now, (due - node->wall) * 1000));
        }
    }
    return next;
}
