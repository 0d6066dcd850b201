/* Virtual addresses: which of them this node campaigns for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/node_internal.h"

struct held_vip *node_vip_find(struct node *node, uint64_t lease)
{
    for (size_t i = 0; i < node->vip_count; i++)
        if (node->vips[i].lease == lease)
            return &node->vips[i];
    return NULL;
}

static struct held_vip *vip_at(struct node *node, const struct addr *address)
{
    for (size_t i = 0; i < node->vip_count; i++)
        if (addr_equal(&node->vips[i].address, address))
            return &node->vips[i];
    return NULL;
}

void node_vip_key(const struct held_vip *vip, char key[RECORD_KEY_MAX])
{
    char text[ADDR_TEXT];

    addr_format_ip(&vip->address, text);
    snprintf(key, RECORD_KEY_MAX, "vip/%s", text);
}

struct held_vip *node_vip_add(struct node *node, const struct addr *address)
{
    struct held_vip *grown = realloc(node->vips, (node->vip_count + 1) * sizeof *grown);
    struct held_vip *vip;
    char key[RECORD_KEY_MAX];

    if (grown == NULL) {
        node->no_memory = true;
        return NULL;
    }
    node->vips = grown;
    vip = &grown[node->vip_count++];
    memset(vip, 0, sizeof *vip);
    vip->address = *address;
    node_vip_key(vip, key);
    vip->lease = hash64_string(key);
    vip->conflict = MONO_NEVER;
    vip->checked = MONO_NEVER;
    return vip;
}

static void want_vip(struct node *node, struct held_vip *vip, uint32_t rank)
{
    struct leases_event step = {.type = LEASES_WANT,
                                .lease = vip->lease,
                                .kind = LEASE_VIP,
                                .mode = vip->strict ? LEASE_STRICT : LEASE_SOLO,
                                .rank = rank > UINT8_MAX ? UINT8_MAX : (uint8_t)rank};

    node_lease_run(node, &step);
}

/* ---- the desired state ---- */

void node_vip_desired(struct node *node)
{
    for (size_t i = 0; i < node->vip_count; i++)
        node->vips[i].desired = false;
    for (size_t i = 0; i < node->desired->vip_count; i++) {
        const struct desired_vip *want = &node->desired->vips[i];
        const struct addr *address = node_vip_address(node, want);
        struct held_vip *vip;
        bool fresh;
        if (address->family == 0)
            continue;
        vip = vip_at(node, address);
        fresh = vip == NULL;
        if (fresh)
            vip = node_vip_add(node, address);
        if (vip == NULL)
            return;
        vip->desired = true;
        vip->strict = want->strict;
        snprintf(vip->name, sizeof vip->name, "%s", want->name);
        if (fresh)
            node_owner_check(node, vip);
    }
    for (size_t i = 0; i < node->vip_count; i++)
        if (!node->vips[i].desired)
            node_lease_unwant(node, node->vips[i].lease);
    node_lease_drop_singletons(node);
}

void node_vip_ranks(struct node *node)
{
    struct place_node *nodes = calloc(node->peer_count, sizeof *nodes);
    size_t self = SIZE_MAX;
    size_t count = 0;

    if (nodes == NULL) {
        node->no_memory = true;
        return;
    }
    for (size_t i = 0; i < node->peer_count; i++) {
        struct peer *peer = &node->peers[i];
        if (peer->head.role == VALUE_ROLE_WITNESS)
            continue;
        if (peer->self)
            self = count;
        nodes[count++] = (struct place_node){
            .id = peer->id,
            .usable = peer->self || (node_peer_present(peer) && !peer->facts.draining)};
    }
    for (size_t i = 0; self != SIZE_MAX && i < node->vip_count; i++) {
        struct held_vip *vip = &node->vips[i];
        if (vip->desired && mono_is_never(vip->conflict) && mono_is_never(vip->checked))
            want_vip(node, vip, place_rank(vip->lease, nodes, count, self));
    }
    free(nodes);
}

/* Gives the leases away; the workloads stay where they are (an agent that is being restarted). */
void node_vip_leave(struct node *node)
{
    struct leases_event step = {.type = LEASES_DRAIN, .on = true};

    node_lease_run(node, &step);
}

void node_vip_drain(struct node *node, bool on)
{
    struct leases_event step = {.type = LEASES_DRAIN, .on = on};

    node->config.facts.draining = on;
    node_publish_facts(node);
    node->place_dirty = true;
    node->work_dirty = true;
    node_lease_run(node, &step);
}

/* ---- time ---- */

/* An address that left the desired state leaves the list when its lease is gone. */
static void drop_released(struct node *node)
{
    for (size_t i = node->vip_count; i-- > 0;) {
        struct lease_view view;
        char key[RECORD_KEY_MAX];
        if (node->vips[i].desired ||
            leases_get(node->leases, node->now, node->vips[i].lease, &view))
            continue;
        node_vip_key(&node->vips[i], key);
        node_unpublish(node, key);
        node->vips[i] = node->vips[--node->vip_count];
    }
}

void node_vip_tick(struct node *node)
{
    node_owner_tick(node);
    drop_released(node);
}

mono_t node_vip_deadline(const struct node *node)
{
    mono_t next = MONO_NEVER;

    for (size_t i = 0; i < node->vip_count; i++)
        next = mono_min(next, mono_min(node->vips[i].conflict, node->vips[i].checked));
    return next;
}
