/* Placement: the instances that the present members and the desired state give this node. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/node_internal.h"

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

static void bind_workload(struct node *node, struct instance *instance,
                          const struct desired_workload *w)
{
    struct health_policy probes[HEALTH_PROBES];
    bool same = true;

    instance->workload = w;
    set_probe(&probes[HEALTH_STARTUP], &w->startup);
    set_probe(&probes[HEALTH_READINESS], &w->readiness);
    set_probe(&probes[HEALTH_LIVENESS], &w->liveness);
    for (int i = 0; i < HEALTH_PROBES; i++)
        same = same && same_probe(&probes[i], &instance->health.probe[i].policy);
    if (!same)
        node_instance_probes(node, instance, probes);
    instance->lease = w->singleton ? node_singleton_lease(w->name) : 0;
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

int node_place_owners(struct node *node, const struct desired_workload *w,
                      struct place_node **nodes, int **owner)
{
    uint32_t *scratch = calloc(node->peer_count + 1, sizeof *scratch);

    *nodes = calloc(node->peer_count + 1, sizeof **nodes);
    *owner = calloc(DESIRED_REPLICAS_MAX, sizeof **owner);
    if (scratch == NULL || *nodes == NULL || *owner == NULL) {
        free(scratch);
        free(*nodes);
        free(*owner);
        *nodes = NULL;
        *owner = NULL;
        return ERR_NOMEM;
    }
    place_workload(w, *nodes, place_nodes(node, *nodes), scratch, *owner);
    free(scratch);
    return ERR_NONE;
}

/* A singleton stands ready on every node that may run it; the lease decides. */
static void place_singleton(struct node *node, const struct desired_workload *w,
                            const struct place_node *nodes, size_t count)
{
    uint64_t id = node_singleton_lease(w->name);

    for (size_t i = 0; i < count; i++) {
        if (!node_id_equal(nodes[i].id, node->config.self) || !place_eligible(w, &nodes[i]))
            continue;
        if (!nodes[i].usable) {
            node_lease_unwant(node, id);
            continue;
        }
        place_here(node, w, 0);
        node_lease_want_singleton(node, id, place_rank(id, nodes, count, i));
    }
}

void node_place_all(struct node *node)
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
