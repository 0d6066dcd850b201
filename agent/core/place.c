#include "agent/core/place.h"

#include <string.h>

bool place_eligible(const struct desired_workload *workload, const struct place_node *node)
{
    const struct desired_map *want = &workload->node_selector;

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

static uint64_t weight(const struct desired_workload *workload, uint32_t replica, node_id node)
{
    return hash64_mix(hash64_mix(hash64_string(workload->name), replica), node.v);
}

/* The best node for @replica, or −1. @load counts the replicas that each node has. */
static int choose(const struct desired_workload *workload, uint32_t replica,
                  const struct place_node *nodes, size_t count, const uint32_t *load,
                  bool only_usable)
{
    int best = -1;
    uint64_t best_weight = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t w;
        if ((only_usable && !nodes[i].usable) || !place_eligible(workload, &nodes[i]))
            continue;
        w = weight(workload, replica, nodes[i].id);
        if (best < 0 || load[i] < load[best] ||
            (load[i] == load[best] &&
             (w > best_weight || (w == best_weight && nodes[i].id.v > nodes[best].id.v)))) {
            best = (int)i;
            best_weight = w;
        }
    }
    return best;
}

void place_workload(const struct desired_workload *workload, const struct place_node *nodes,
                    size_t count, uint32_t *scratch, int *owner)
{
    memset(scratch, 0, count * sizeof *scratch);
    for (uint32_t r = 0; r < workload->replicas; r++) {
        owner[r] = choose(workload, r, nodes, count, scratch, false);
        if (owner[r] >= 0)
            scratch[owner[r]]++;
    }
    for (uint32_t r = 0; r < workload->replicas; r++) {
        if (owner[r] < 0 || nodes[owner[r]].usable)
            continue;
        scratch[owner[r]]--;
        owner[r] = choose(workload, r, nodes, count, scratch, true);
        if (owner[r] >= 0)
            scratch[owner[r]]++;
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
