/* The spread of addresses: one that is held here goes to the node that rendezvous hashing prefers
 * once that node has been fit for it for a while. The holder hands it over; nobody takes it. */
#include <stdlib.h>
#include <string.h>

#include "agent/core/node_internal.h"

#define BALANCE_LOOK_MS 1000
#define BALANCE_STEADY_MS 30000

/* A node that has not applied our commit may not know the address. */
static bool fit(const struct node *node, const struct peer *peer)
{
    if (peer->facts.draining || peer->head.role == VALUE_ROLE_WITNESS)
        return false;
    return peer->self ||
           (node_peer_present(peer) && strcmp(peer->commit.commit, node->commit.commit) == 0);
}

/* @nodes has room for all peers. */
static node_id preferred(const struct node *node, const struct held_vip *vip,
                         struct place_node *nodes)
{
    size_t count = 0;

    for (size_t i = 0; i < node->peer_count; i++)
        if (fit(node, &node->peers[i]))
            nodes[count++] = (struct place_node){.id = node->peers[i].id, .usable = true};
    for (size_t i = 0; i < count; i++)
        if (place_rank(vip->lease, nodes, count, i) == 0)
            return nodes[i].id;
    return NODE_NONE;
}

static void look(struct node *node, struct held_vip *vip, struct place_node *nodes)
{
    node_id best = preferred(node, vip, nodes);
    struct leases_event move = {.type = LEASES_MOVE, .lease = vip->lease, .to = best};

    if (!node_id_equal(best, vip->preferred)) {
        vip->preferred = best;
        vip->steady = node->now;
        vip->handed = false;
    }
    if (vip->handed || node_id_none(best) || node_id_equal(best, node->config.self) ||
        mono_diff(node->now, vip->steady) < BALANCE_STEADY_MS)
        return;
    vip->steady = node->now; /* if it does not come to take it, it is asked again */
    node_lease_run(node, &move);
}

void node_balance_acquired(struct node *node, struct held_vip *vip, bool handed)
{
    struct place_node *nodes = calloc(node->peer_count, sizeof *nodes);

    if (nodes == NULL) {
        node->no_memory = true;
        return;
    }
    vip->handed = handed;
    vip->preferred = preferred(node, vip, nodes);
    vip->steady = node->now;
    free(nodes);
    if (mono_is_never(node->balance_at))
        node->balance_at = mono_add(node->now, BALANCE_LOOK_MS);
}

void node_balance_tick(struct node *node)
{
    struct place_node *nodes;
    bool any = false;

    if (!mono_reached(node->now, node->balance_at))
        return;
    node->balance_at = MONO_NEVER;
    nodes = calloc(node->peer_count, sizeof *nodes);
    if (nodes == NULL) {
        node->no_memory = true;
        return;
    }
    for (size_t i = 0; i < node->vip_count; i++)
        if (node->vips[i].value.holding) {
            any = true;
            look(node, &node->vips[i], nodes);
        }
    free(nodes);
    if (any)
        node->balance_at = mono_add(node->now, BALANCE_LOOK_MS);
}

mono_t node_balance_deadline(const struct node *node)
{
    return node->balance_at;
}
