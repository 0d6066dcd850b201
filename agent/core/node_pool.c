/* The addresses of the pool: what the peers and the store know of them, and what is given anew. */
#include <stdio.h>
#include <string.h>

#include "agent/core/node_internal.h"
#include "proto/record/value_codec.h"

#define KEY "pool/"
#define ALONE_MS 10000 /* nobody was heard of in this long: nobody knows of other addresses */

static void publish(struct node *node, const struct pool_entry *entry)
{
    uint8_t bytes[RECORD_VALUE_MAX];
    char key[RECORD_KEY_MAX];
    size_t len;

    snprintf(key, sizeof key, KEY "%s", entry->name);
    if (value_pool_encode(&entry->value, bytes, sizeof bytes, &len) == ERR_NONE)
        node_publish(node, key, bytes, len);
}

void node_pool_create(struct node *node, const struct pool *stored)
{
    for (size_t i = 0; stored != NULL && i < stored->count; i++)
        if (name_valid(stored->entries[i].name))
            (void)pool_merge(&node->pool, stored->entries[i].name, &stored->entries[i].value);
    for (size_t i = 0; i < node->pool.count; i++) {
        publish(node, &node->pool.entries[i]);
        node->pool.entries[i].changed = false;
    }
    node->pool_alone = mono_add(node->now, ALONE_MS);
}

void node_pool_seen(struct node *node, const struct record_view *record)
{
    const char *name = record->key + strlen(KEY);
    struct value_pool value;

    if (name_valid(name) &&
        value_pool_decode(record->value, record->value_len, &value) == ERR_NONE &&
        pool_merge(&node->pool, name, &value) == ERR_NONE)
        node->pool_dirty = true;
}

/* May names be given new addresses? Not by a node whose memory was lost before it has heard what
 * the others know. */
static bool is_informed(const struct node *node)
{
    bool others = false;

    for (size_t i = 0; i < node->peer_count; i++) {
        const struct peer *peer = &node->peers[i];
        if (peer->self || peer->head.role == VALUE_ROLE_WITNESS)
            continue;
        others = true;
        if (node_peer_present(peer) && records_agreed(node->records, peer->id))
            return true;
    }
    return !others || mono_reached(node->now, node->pool_alone);
}

static void tell(struct node *node, const struct desired_vip *vip, const struct addr *address)
{
    char text[ADDR_TEXT], old[ADDR_TEXT], subject[RECORD_KEY_MAX];

    for (size_t i = 0; i < node->vip_count; i++) {
        const struct held_vip *had = &node->vips[i];
        if (!had->desired || strcmp(had->name, vip->name) != 0 ||
            addr_equal(&had->address, address))
            continue;
        addr_format_ip(&had->address, old);
        addr_format_ip(address, text);
        snprintf(subject, sizeof subject, "vip/%s", text);
        node_event(node, EFFECT_WARNING, subject, "%s has the address %s now, and no more %s",
                   vip->name, text, old);
    }
}

static void tell_pending(struct node *node, size_t pending)
{
    char first[ADDR_TEXT], last[ADDR_TEXT];

    if (pending <= node->pool_pending)
        return;
    addr_format_ip(&node->desired->pool_first, first);
    addr_format_ip(&node->desired->pool_last, last);
    node_event(node, EFFECT_WARNING, "commit",
               "%zu virtual IP%s for an address: the pool %s-%s has no free one. Enlarge spec.pool "
               "in cluster.yaml",
               pending, pending == 1 ? " waits" : "s wait", first, last);
}

/* What is no longer kept in any case. */
static void trim(struct node *node)
{
    char name[NODE_NAME_MAX + 1], key[RECORD_KEY_MAX];

    while (pool_trim(&node->pool, node->desired, name)) {
        snprintf(key, sizeof key, KEY "%s", name);
        node_unpublish(node, key);
        node->pool_unsaved = true;
    }
}

bool node_pool_assign(struct node *node)
{
    struct addr addresses[DESIRED_VIPS_MAX];
    bool same = node->pool_number == node->desired_number;
    size_t pending = 0;

    memset(addresses, 0, sizeof addresses);
    node->pool_dirty = false;
    node->pool_waits = !is_informed(node);
    pool_assign(&node->pool, node->desired, node->wall, !node->pool_waits, addresses);
    for (size_t i = 0; i < node->desired->vip_count; i++) {
        same = same && addr_equal(&addresses[i], &node->vip_addresses[i]);
        pending += addresses[i].family == 0;
        if (addresses[i].family != 0)
            tell(node, &node->desired->vips[i], &addresses[i]);
    }
    if (!node->pool_waits) {
        tell_pending(node, pending);
        node->pool_pending = pending;
    }
    node->pool_waits = node->pool_waits && pending > 0;
    memcpy(node->vip_addresses, addresses, sizeof addresses);
    node->pool_number = node->desired_number;
    return !same;
}

void node_pool_update(struct node *node)
{
    if (node->desired != NULL && (node->pool_dirty || node->pool_waits) && !node->left &&
        node_pool_assign(node)) {
        node_vip_desired(node);
        node->place_dirty = true;
    }
    trim(node);
    for (size_t i = 0; i < node->pool.count; i++) {
        struct pool_entry *entry = &node->pool.entries[i];
        if (!entry->changed)
            continue;
        entry->changed = false;
        publish(node, entry);
        node->pool_unsaved = true;
    }
    if (node->pool_unsaved)
        node_effect(node, EFFECT_POOL)->pool = &node->pool;
    node->pool_unsaved = false;
}

mono_t node_pool_deadline(const struct node *node)
{
    return node->pool_waits ? node->pool_alone : MONO_NEVER;
}

const struct addr *node_vip_address(const struct node *node, const struct desired_vip *vip)
{
    return &node->vip_addresses[vip - node->desired->vips];
}

size_t node_addresses(const struct node *node, struct addr *addresses, size_t max)
{
    size_t count = 0;

    for (size_t i = 0; node->desired != NULL && i < node->desired->vip_count && count < max; i++)
        if (node->vip_addresses[i].family != 0)
            addresses[count++] = node->vip_addresses[i];
    return count;
}
