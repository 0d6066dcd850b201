/* Placement: the instances that the present members and the desired state give this node. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/node_internal.h"

/* Of a singleton on this node; else its rank. */
#define PLACE_NOT_HERE (-1)
#define PLACE_NOT_NOW (-2) /* the node is not usable, or full */

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

uint64_t node_singleton_lease(const char *workload)
{
    char name[INSTANCE_MAX + 16];

    snprintf(name, sizeof name, "singleton/%s", workload);
    return hash64_string(name);
}

static bool same_probe(const struct health_policy *a, const struct health_policy *b)
{
    return a->present == b->present && a->initial_delay_ms == b->initial_delay_ms &&
           a->period_ms == b->period_ms && a->timeout_ms == b->timeout_ms &&
           a->success_threshold == b->success_threshold &&
           a->failure_threshold == b->failure_threshold;
}

void node_instance_judge(struct node *node, struct instance *instance)
{
    const struct desired_workload *w = instance->workload;
    struct health_policy probes[HEALTH_PROBES];
    bool same = true;

    instance->judge = w;
    instance->judge_state = node->desired;
    set_probe(&probes[HEALTH_STARTUP], &w->startup);
    set_probe(&probes[HEALTH_READINESS], &w->readiness);
    set_probe(&probes[HEALTH_LIVENESS], &w->liveness);
    for (int i = 0; i < HEALTH_PROBES; i++)
        same = same && same_probe(&probes[i], &instance->health.probe[i].policy);
    if (!same)
        node_instance_probes(node, instance, probes);
}

static void bind_workload(struct node *node, struct instance *instance,
                          const struct desired_workload *w)
{
    bool older = supervise_alive(&instance->machine) && instance->judge_generation != 0 &&
                 instance->judge_generation != w->generation;

    instance->workload = w;
    instance->lease = w->singleton ? node_singleton_lease(w->name) : 0;
    if (!older) /* what is to be replaced is judged by what it was started with */
        node_instance_judge(node, instance);
}

/* Who is to take the place of an instance is where that is. */
void node_place_heir(struct node *node, struct instance *heir)
{
    heir->placed = heir->elder->placed;
    if (heir->elder->workload != NULL)
        bind_workload(node, heir, heir->elder->workload);
}

void node_place_beside(struct node *node, struct instance *instance, const struct instance *first)
{
    bind_workload(node, instance, first->workload);
    instance->placed = first->placed;
}

static void place_here(struct node *node, const struct desired_workload *w, uint32_t replica)
{
    char name[INSTANCE_MAX];
    struct instance *instance;

    snprintf(name, sizeof name, "%s.%u", w->name, (unsigned)replica);
    instance = node_find_instance(node, name);
    if (instance == NULL)
        instance = node_add_instance(node, name);
    if (instance == NULL)
        return;
    bind_workload(node, instance, w);
    if (instance->doomed)
        instance->placed_at = node->now;
    instance->placed = true;
    instance->doomed = false;
    instance->extra = false;
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

/* Runs of a cron beside the first one: here they go on, and are left to their ends elsewhere. */
static void place_runs(struct node *node, const struct desired_workload *w, node_id owner)
{
    bool here = node_id_equal(owner, node->config.self);
    char name[INSTANCE_MAX];

    for (uint32_t i = 1; i < VALUE_RUN_PROCESSES_MAX; i++) {
        struct instance *instance;
        if (!here)
            place_away(node, w, i, owner);
        snprintf(name, sizeof name, "%s.%u", w->name, (unsigned)i);
        instance = here ? node_find_instance(node, name) : NULL;
        if (instance == NULL)
            continue;
        bind_workload(node, instance, w);
        instance->placed = true;
        instance->moving = MONO_NEVER;
    }
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
                                             .memory = (uint64_t)peer->facts.memory_mib << 20,
                                             .cpu_milli = peer->facts.cpus * 1000,
                                             .usable = node_peer_usable(node, peer)};
    }
    return count;
}

/* ---- what runs nowhere ---- */

static const struct pending *find_pending(const struct placement *p, const char *workload)
{
    for (size_t i = 0; i < p->pending_count; i++)
        if (strcmp(p->pending[i].workload, workload) == 0)
            return &p->pending[i];
    return NULL;
}

const char *node_pending(const struct node *node, const char *workload)
{
    const struct pending *pending = find_pending(&node->placement, workload);

    return pending != NULL ? pending->reason : NULL;
}

/* People are told once of each. */
static void add_pending(struct node *node, struct placement *p, const struct desired_workload *w,
                        uint32_t replicas, const struct place_node *nodes, size_t count)
{
    const struct pending *before = find_pending(&node->placement, w->name);
    struct pending *grown = realloc(p->pending, (p->pending_count + 1) * sizeof *grown);
    char subject[INSTANCE_MAX + 8];

    if (grown == NULL) {
        node->no_memory = true;
        return;
    }
    p->pending = grown;
    grown = &p->pending[p->pending_count++];
    *grown = (struct pending){.replicas = replicas};
    snprintf(grown->workload, sizeof grown->workload, "%s", w->name);
    place_why(w, nodes, count, grown->reason, sizeof grown->reason);
    if (before != NULL && before->replicas == replicas)
        return;
    snprintf(subject, sizeof subject, "app/%s", w->name);
    node_event(node, EFFECT_WARNING, subject, "%u of %u replicas of %s run nowhere: %.140s",
               (unsigned)replicas, (unsigned)w->replicas, w->name, grown->reason);
}

/* ---- the placement of all workloads ---- */

void node_placement_free(struct placement *p)
{
    free(p->owner);
    free(p->first);
    free(p->pending);
    *p = (struct placement){0};
}

static bool by_lease(const struct desired_workload *w)
{
    return w->singleton && !w->cron;
}

/* A singleton stands ready on every node that may run it and has the room; the lease decides which
 * one it is, so the room is set aside on all of them. */
static bool place_singleton(const struct node *node, const struct desired_workload *w,
                            struct place_node *nodes, size_t count, int *standing)
{
    bool somewhere = false;

    *standing = PLACE_NOT_HERE;
    for (size_t i = 0; i < count; i++) {
        bool self = node_id_equal(nodes[i].id, node->config.self);
        if (!place_eligible(w, &nodes[i]))
            continue;
        if (self)
            *standing = PLACE_NOT_NOW;
        if (!nodes[i].usable || !place_fits(w, &nodes[i]))
            continue;
        if (self)
            *standing = (int)place_rank(node_singleton_lease(w->name), nodes, count, i);
        place_set_aside(w, &nodes[i]);
        somewhere = true;
    }
    return somewhere;
}

/* Workloads whose replicas have a node of their own, then singletons. */
static void move_all(struct node *node, struct placement *p, struct place_node *nodes,
                     uint32_t *scratch)
{
    for (int singletons = 0; singletons <= 1; singletons++)
        for (size_t k = 0; k < p->workload_count; k++) {
            const struct desired_workload *w = &node->desired->workloads[k];
            int *owner = p->owner + p->first[k];
            uint32_t nowhere = 0;
            if (by_lease(w) != (singletons == 1))
                continue;
            if (singletons == 1)
                nowhere = !place_singleton(node, w, nodes, p->node_count, owner);
            else
                place_move(w, nodes, p->node_count, scratch, owner);
            for (uint32_t r = 0; singletons == 0 && r < w->replicas; r++)
                nowhere += owner[r] < 0;
            if (nowhere > 0 && w->replicas > 0 && !(w->cron && w->schedule.suspend))
                add_pending(node, p, w, nowhere, nodes, p->node_count);
        }
}

/* Fills node->placement; false: no memory. */
static bool compute(struct node *node)
{
    const struct desired *d = node->desired;
    struct placement p = {.workload_count = d->workload_count, .number = node->desired_number};
    struct place_node *nodes = calloc(node->peer_count + 1, sizeof *nodes);
    uint32_t *scratch = calloc(node->peer_count + 1, sizeof *scratch);
    size_t replicas = 0;

    p.first = calloc(d->workload_count + 1, sizeof *p.first);
    for (size_t k = 0; p.first != NULL && k < d->workload_count; k++) {
        p.first[k] = replicas;
        replicas += d->workloads[k].replicas + by_lease(&d->workloads[k]);
    }
    p.owner = calloc(replicas + 1, sizeof *p.owner);
    if (nodes == NULL || scratch == NULL || p.first == NULL || p.owner == NULL) {
        free(nodes);
        free(scratch);
        node_placement_free(&p);
        node->no_memory = true;
        return false;
    }
    p.node_count = place_nodes(node, nodes);
    for (size_t k = 0; k < d->workload_count; k++)
        if (!by_lease(&d->workloads[k]))
            place_home(&d->workloads[k], nodes, p.node_count, scratch, p.owner + p.first[k]);
    move_all(node, &p, nodes, scratch);
    node_placement_free(&node->placement);
    node->placement = p;
    free(nodes);
    free(scratch);
    return true;
}

int node_place_owners(struct node *node, const struct desired_workload *w,
                      struct place_node **nodes, int **owner)
{
    size_t index = (size_t)(w - node->desired->workloads);
    struct placement *p = &node->placement;

    *nodes = calloc(node->peer_count + 1, sizeof **nodes);
    *owner = calloc(DESIRED_REPLICAS_MAX, sizeof **owner);
    if (*nodes == NULL || *owner == NULL ||
        ((p->number != node->desired_number || p->node_count != place_nodes(node, *nodes)) &&
         !compute(node))) {
        free(*nodes);
        free(*owner);
        *nodes = NULL;
        *owner = NULL;
        return ERR_NOMEM;
    }
    (void)place_nodes(node, *nodes);
    memcpy(*owner, p->owner + p->first[index], w->replicas * sizeof **owner);
    return ERR_NONE;
}

static void apply_singleton(struct node *node, const struct desired_workload *w, int standing)
{
    uint64_t id = node_singleton_lease(w->name);

    if (standing == PLACE_NOT_NOW)
        node_lease_unwant(node, id);
    if (standing < 0)
        return;
    place_here(node, w, 0);
    node_lease_want_singleton(node, id, (uint32_t)standing);
}

static void apply(struct node *node, const struct place_node *nodes)
{
    const struct placement *p = &node->placement;

    for (size_t k = 0; k < p->workload_count; k++) {
        const struct desired_workload *w = &node->desired->workloads[k];
        const int *owner = p->owner + p->first[k];
        if (by_lease(w)) {
            apply_singleton(node, w, owner[0]);
            continue;
        }
        for (uint32_t r = 0; r < w->replicas; r++) {
            if (owner[r] < 0)
                continue;
            if (node_id_equal(nodes[owner[r]].id, node->config.self))
                place_here(node, w, r);
            else
                place_away(node, w, r, nodes[owner[r]].id);
        }
        if (w->cron && owner[0] >= 0)
            place_runs(node, w, nodes[owner[0]].id);
    }
}

void node_place_all(struct node *node)
{
    struct place_node *nodes = calloc(node->peer_count + 1, sizeof *nodes);

    if (nodes == NULL || !compute(node)) {
        node->no_memory = true;
        free(nodes);
        return;
    }
    for (size_t i = 0; i < node->instance_count; i++) {
        node->instances[i]->placed = false;
        node->instances[i]->workload = NULL;
    }
    (void)place_nodes(node, nodes);
    apply(node, nodes);
    for (size_t i = 0; i < node->instance_count; i++)
        if (node->instances[i]->elder != NULL)
            node_place_heir(node, node->instances[i]);
    free(nodes);
}
