#include "agent/core/place.h"

#include <stdio.h>
#include <string.h>

static bool opens_secrets(const struct desired_workload *workload, const struct place_node *node)
{
    const char *const *name = workload->sealed_for;

    while (name != NULL && *name != NULL && strcmp(*name, node->name) != 0)
        name++;
    return name == NULL || *name != NULL;
}

bool place_eligible(const struct desired_workload *workload, const struct place_node *node)
{
    const struct desired_map *want = &workload->node_selector;

    if (!opens_secrets(workload, node))
        return false;
    for (size_t i = 0; i < want->count; i++) {
        const char *value = NULL;
        if (strcmp(want->pairs[i].name, "covey.dev/node") == 0)
            value = node->name;
        else if (node->labels != NULL)
            value = desired_map_get(node->labels, want->pairs[i].name);
        if (value == NULL || strcmp(value, want->pairs[i].value) != 0)
            return false;
    }
    return true;
}

bool place_fits(const struct desired_workload *workload, const struct place_node *node)
{
    return (node->memory == 0 || node->memory_set + workload->memory_request <= node->memory) &&
           (node->cpu_milli == 0 || node->cpu_set + workload->cpu_request_milli <= node->cpu_milli);
}

void place_set_aside(const struct desired_workload *workload, struct place_node *node)
{
    node->memory_set += workload->memory_request;
    node->cpu_set += workload->cpu_request_milli;
}

/* "pi1 has 100 of 512 MiB and 0.50 of 4 cores left" */
static int put_room(const struct place_node *node, char *text, size_t size)
{
    uint64_t memory = node->memory > node->memory_set ? node->memory - node->memory_set : 0;
    uint64_t cpu = node->cpu_milli > node->cpu_set ? node->cpu_milli - node->cpu_set : 0;

    return snprintf(text, size, "%s has %llu of %llu MiB and %llu.%02llu of %u cores left",
                    node->name, (unsigned long long)(memory >> 20),
                    (unsigned long long)(node->memory >> 20), (unsigned long long)(cpu / 1000),
                    (unsigned long long)(cpu % 1000 / 10), (unsigned)(node->cpu_milli / 1000));
}

void place_why(const struct desired_workload *workload, const struct place_node *nodes,
               size_t count, char *text, size_t size)
{
    size_t eligible = 0, usable = 0, full = 0, used = 0;

    for (size_t i = 0; i < count; i++) {
        bool fit = place_eligible(workload, &nodes[i]);
        eligible += fit;
        usable += fit && nodes[i].usable;
        full += fit && nodes[i].usable && !place_fits(workload, &nodes[i]);
    }
    if (eligible == 0) {
        snprintf(text, size, "no node has the labels of its nodeSelector%s",
                 workload->sealed_for != NULL ? " and can open its secrets" : "");
        return;
    }
    if (usable == 0) {
        snprintf(text, size, "the node%s that it may run on %s away", eligible == 1 ? "" : "s",
                 eligible == 1 ? "is" : "are");
        return;
    }
    if (full < usable) {
        snprintf(text, size, "its topologySpreadConstraints leave no node for it");
        return;
    }
    used = (size_t)snprintf(text, size, "no room for its requests (%llu MiB, %u.%02u cores): ",
                            (unsigned long long)(workload->memory_request >> 20),
                            (unsigned)(workload->cpu_request_milli / 1000),
                            (unsigned)(workload->cpu_request_milli % 1000 / 10));
    for (size_t i = 0; i < count && used + 1 < size; i++)
        if (place_eligible(workload, &nodes[i]) && nodes[i].usable)
            used += (size_t)put_room(&nodes[i], text + used, size - used) +
                    (size_t)(used < size ? snprintf(text + strlen(text), size - strlen(text), "; ")
                                         : 0);
    used = strlen(text);
    if (used > 2 && strcmp(text + used - 2, "; ") == 0)
        text[used - 2] = '\0';
}

static uint64_t weight(const struct desired_workload *workload, uint32_t replica, node_id node)
{
    return hash64_mix(hash64_mix(hash64_string(workload->name), replica), node.v);
}

static const char *label_of(const struct place_node *node, const char *key)
{
    if (strcmp(key, "covey.dev/node") == 0)
        return node->name;
    return node->labels != NULL ? desired_map_get(node->labels, key) : NULL;
}

/* Whether two nodes are in the same place by the label @key. */
static bool together(const struct place_node *a, const struct place_node *b, const char *key)
{
    const char *x = label_of(a, key), *y = label_of(b, key);

    return a == b || (x != NULL && y != NULL && strcmp(x, y) == 0);
}

struct placing {
    const struct desired_workload *workload;
    const struct place_node *nodes;
    size_t count;
    const uint32_t *load; /* replicas that each node has */
    bool only_usable;
};

static bool candidate(const struct placing *p, size_t index)
{
    return (!p->only_usable || p->nodes[index].usable) &&
           place_eligible(p->workload, &p->nodes[index]) &&
           place_fits(p->workload, &p->nodes[index]);
}

static uint32_t load_of_place(const struct placing *p, size_t index, const char *key)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < p->count; i++)
        if (together(&p->nodes[i], &p->nodes[index], key))
            sum += p->load[i];
    return sum;
}

/* Whether one more replica on node @index keeps to @spread: its place must have the label, and may
 * not be more than max_skew ahead of the emptiest. */
static bool keeps_to(const struct placing *p, size_t index, const struct desired_spread *spread)
{
    uint32_t least = UINT32_MAX;

    if (label_of(&p->nodes[index], spread->key) == NULL)
        return false;
    for (size_t i = 0; i < p->count; i++) {
        uint32_t here;
        if (!candidate(p, i) || label_of(&p->nodes[i], spread->key) == NULL)
            continue;
        here = load_of_place(p, i, spread->key);
        least = here < least ? here : least;
    }
    return load_of_place(p, index, spread->key) + 1 <= least + spread->max_skew;
}

/* How many of the soft constraints node @index breaks; UINT32_MAX for a strict one. */
static uint32_t broken(const struct placing *p, size_t index)
{
    uint32_t count = 0;

    for (size_t i = 0; i < p->workload->spread_count; i++) {
        const struct desired_spread *spread = &p->workload->spread[i];
        if (keeps_to(p, index, spread))
            continue;
        if (spread->strict)
            return UINT32_MAX;
        count++;
    }
    return count;
}

/* The best node for @replica, or −1: fewest broken constraints, then least load, then weight. */
static int choose(const struct placing *p, uint32_t replica)
{
    uint32_t best_broken = 0;
    uint64_t best_weight = 0;
    int best = -1;

    for (size_t i = 0; i < p->count; i++) {
        uint32_t breaks;
        uint64_t w;
        bool better;
        if (!candidate(p, i) || (breaks = broken(p, i)) == UINT32_MAX)
            continue;
        w = weight(p->workload, replica, p->nodes[i].id);
        better = best < 0 || breaks < best_broken;
        if (!better && breaks == best_broken)
            better =
                p->load[i] < p->load[best] ||
                (p->load[i] == p->load[best] &&
                 (w > best_weight || (w == best_weight && p->nodes[i].id.v > p->nodes[best].id.v)));
        if (!better)
            continue;
        best = (int)i;
        best_broken = breaks;
        best_weight = w;
    }
    return best;
}

void place_home(const struct desired_workload *workload, struct place_node *nodes, size_t count,
                uint32_t *scratch, int *owner)
{
    struct placing p = {.workload = workload, .nodes = nodes, .count = count, .load = scratch};

    memset(scratch, 0, count * sizeof *scratch);
    for (uint32_t r = 0; r < workload->replicas; r++) {
        owner[r] = choose(&p, r);
        if (owner[r] < 0)
            continue;
        scratch[owner[r]]++;
        place_set_aside(workload, &nodes[owner[r]]);
    }
}

void place_move(const struct desired_workload *workload, struct place_node *nodes, size_t count,
                uint32_t *scratch, int *owner)
{
    struct placing p = {
        .workload = workload, .nodes = nodes, .count = count, .load = scratch, .only_usable = true};

    memset(scratch, 0, count * sizeof *scratch);
    for (uint32_t r = 0; r < workload->replicas; r++)
        if (owner[r] >= 0)
            scratch[owner[r]]++;
    for (uint32_t r = 0; r < workload->replicas; r++) {
        if (owner[r] >= 0 && nodes[owner[r]].usable)
            continue;
        if (owner[r] >= 0)
            scratch[owner[r]]--;
        owner[r] = choose(&p, r);
        if (owner[r] < 0)
            continue;
        scratch[owner[r]]++;
        place_set_aside(workload, &nodes[owner[r]]);
    }
}

uint32_t place_rank(uint64_t key, const struct place_node *nodes, size_t count, size_t index)
{
    uint64_t own = hash64_mix(key, nodes[index].id.v);
    uint32_t rank = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t other = hash64_mix(key, nodes[i].id.v);
        if (i != index && nodes[i].usable &&
            (other > own || (other == own && nodes[i].id.v > nodes[index].id.v)))
            rank++;
    }
    return rank;
}
