/* Who holds an address: foreign hosts that do, what the flock is told, and handing it on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/node_internal.h"
#include "proto/record/value_codec.h"

#define CONFLICT_WAIT_MS 10000 /* a foreign host answered: asked again after this */
#define CHECK_MS 500           /* a foreign host has answered within that */

/* ---- what the flock is told ---- */

static void publish(struct node *node, struct held_vip *vip)
{
    uint8_t bytes[RECORD_VALUE_MAX];
    char key[RECORD_KEY_MAX];
    size_t len;

    node_vip_key(vip, key);
    if (value_vip_encode(&vip->value, bytes, sizeof bytes, &len) == ERR_NONE)
        node_publish(node, key, bytes, len);
}

/* For programs that follow the addresses: every change, once on each node. */
static void take_owner(struct node *node, struct held_vip *vip, node_id owner,
                       const struct value_vip *value)
{
    struct effect_owner *effect;

    if (node_id_equal(owner, vip->owner))
        return;
    if (!node_id_none(vip->owner))
        vip->before = vip->owner;
    vip->owner = owner;
    vip->owner_since = value->since;
    effect = calloc(1, sizeof *effect);
    if (effect == NULL) {
        node->no_memory = true;
        return;
    }
    effect->address = vip->address;
    effect->epoch = value->epoch;
    effect->here = node_id_equal(owner, node->config.self);
    snprintf(effect->name, sizeof effect->name, "%s", vip->name);
    snprintf(effect->reason, sizeof effect->reason, "%s", value->reason);
    if (!node_id_none(vip->before) && !node_id_equal(vip->before, owner))
        snprintf(effect->before, sizeof effect->before, "%s", node_name(node, vip->before));
    if (!node_id_none(owner))
        snprintf(effect->now, sizeof effect->now, "%s", node_name(node, owner));
    node_keep(node, effect);
    if (!node->no_memory)
        node_effect(node, EFFECT_OWNER)->owner = effect;
}

void node_owner_changed(struct node *node, struct held_vip *vip)
{
    struct value_vip *value = &vip->value;

    if (value->holding)
        value->before = node_id_equal(vip->owner, node->config.self) ? vip->before : vip->owner;
    if (value->holding && node_id_none(value->before))
        value->before = vip->before;
    publish(node, vip);
    take_owner(node, vip, value->holding ? node->config.self : NODE_NONE, value);
}

static void block(struct node *node, struct held_vip *vip)
{
    vip->conflict = mono_add(node->now, CONFLICT_WAIT_MS);
    vip->checked = MONO_NEVER;
    node_lease_unwant(node, vip->lease);
}

void node_owner_seen(struct node *node, const struct peer *peer, const struct record_view *record)
{
    struct held_vip *vip = node_vip_find(node, hash64_string(record->key));
    struct value_vip value;
    char subject[RECORD_KEY_MAX];

    if (vip == NULL || peer->self ||
        value_vip_decode(record->value, record->value_len, &value) != ERR_NONE)
        return;
    /* What it met, we would meet, perhaps only after having claimed the address. */
    if (value.foreign && mono_is_never(vip->conflict))
        block(node, vip);
    if (value.since < vip->owner_since || vip->value.holding || !node_peer_present(peer) ||
        (!value.holding && !node_id_equal(vip->owner, peer->id)))
        return;
    if (value.holding && !node_id_equal(vip->owner, peer->id)) {
        node_vip_key(vip, subject);
        node_event(node, EFFECT_INFO, subject, "%s is held by %s (%s; epoch %llx)", subject + 4,
                   peer->head.name, value.reason, (unsigned long long)value.epoch);
    }
    take_owner(node, vip, value.holding ? peer->id : NODE_NONE, &value);
}

/* ---- foreign hosts ---- */

void node_owner_conflict(struct node *node, const struct node_event_conflict *event)
{
    const uint8_t *mac = event->mac;
    char subject[RECORD_KEY_MAX];

    for (size_t i = 0; i < node->vip_count; i++) {
        struct held_vip *vip = &node->vips[i];
        bool known = vip->value.foreign && memcmp(vip->value.foreign_mac, mac, VALUE_MAC) == 0;
        if (!addr_equal(&vip->address, &event->address))
            continue;
        node_vip_key(vip, subject);
        if (!known)
            node_event(node, EFFECT_ERROR, subject,
                       "%s is not claimed: the host with MAC %02x:%02x:%02x:%02x:%02x:%02x, which "
                       "is no member, answers for it. Take it off that host or change the pool",
                       subject + 4, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
        vip->value.foreign = true;
        memcpy(vip->value.foreign_mac, mac, VALUE_MAC);
        block(node, vip);
        if (!known)
            publish(node, vip);
    }
}

void node_owner_check(struct node *node, struct held_vip *vip)
{
    vip->checked = mono_add(node->now, CHECK_MS);
    node_effect(node, EFFECT_CHECK)->fence.address = vip->address;
}

static void check_done(struct node *node, struct held_vip *vip)
{
    vip->checked = MONO_NEVER;
    if (!vip->value.foreign)
        return;
    vip->value.foreign = false;
    memset(vip->value.foreign_mac, 0, VALUE_MAC);
    publish(node, vip);
}

void node_owner_tick(struct node *node)
{
    bool free_to_claim = false;

    for (size_t i = 0; i < node->vip_count; i++) {
        struct held_vip *vip = &node->vips[i];
        if (mono_reached(node->now, vip->conflict)) {
            vip->conflict = MONO_NEVER;
            node_owner_check(node, vip);
        } else if (mono_reached(node->now, vip->checked)) {
            check_done(node, vip);
            free_to_claim = true;
        }
    }
    if (free_to_claim)
        node_vip_ranks(node);
}

/* ---- clients ---- */

void node_owner_clients(struct node *node, const struct value_clients *clients)
{
    uint8_t bytes[RECORD_VALUE_MAX];
    size_t len;

    if (value_clients_encode(clients, bytes, sizeof bytes, &len) == ERR_NONE)
        node_publish(node, "clients", bytes, len);
}

size_t node_clients(const struct node *node, struct value_client *clients, size_t max)
{
    size_t count = 0;

    for (size_t i = 0; i < node->peer_count; i++) {
        struct value_clients theirs;
        struct record_view view;
        if (records_get(node->records, node->peers[i].id, "clients", &view) != ERR_NONE ||
            value_clients_decode(view.value, view.value_len, &theirs) != ERR_NONE)
            continue;
        for (size_t k = 0; k < theirs.count && count < max; k++) {
            size_t at = 0;
            while (at < count && memcmp(clients[at].ip, theirs.clients[k].ip, 4) != 0)
                at++;
            if (at == count)
                clients[count++] = theirs.clients[k];
        }
    }
    return count;
}

/* ---- handing on ---- */

static const struct held_vip *desired_at(const struct node *node, const struct addr *address)
{
    for (size_t i = 0; i < node->vip_count; i++)
        if (node->vips[i].desired && addr_equal(&node->vips[i].address, address))
            return &node->vips[i];
    return NULL;
}

int node_may_move(const struct node *node, mono_t now, const struct addr *address, node_id to,
                  node_id *owner, struct err *err)
{
    const struct held_vip *vip = desired_at(node, address);
    const struct peer *peer = node_find_peer(node, to);
    struct lease_view view;
    char text[ADDR_TEXT];

    addr_format_ip(address, text);
    *owner = NODE_NONE;
    if (vip == NULL)
        return err_set(err, ERR_NOTFOUND,
                       "the desired state has no virtual address %s: see agentctl vip", text);
    if (peer == NULL)
        return err_set(err, ERR_NOTFOUND, "there is no such node: see agentctl members");
    if (peer->head.role == VALUE_ROLE_WITNESS)
        return err_set(err, ERR_CONFLICT, "%s is a witness: it holds no address", peer->head.name);
    if (!peer->self && !node_peer_present(peer))
        return err_set(err, ERR_CONFLICT, "%s does not answer: see agentctl members",
                       peer->head.name);
    if (peer->self ? node->config.facts.draining : peer->facts.draining)
        return err_set(err, ERR_CONFLICT, "%s is drained: agentctl undrain there first",
                       peer->head.name);
    if (leases_get(node->leases, now, vip->lease, &view) && view.state == LEASE_HELD) {
        *owner = node->config.self;
        return peer->self ? err_set(err, ERR_CONFLICT, "%s holds %s already", peer->head.name, text)
                          : ERR_NONE;
    }
    *owner = vip->owner;
    return err_set(err, ERR_CONFLICT, "%s is held by %s", text,
                   node_id_none(vip->owner) ? "nobody" : node_name(node, vip->owner));
}

void node_owner_move(struct node *node, const struct node_event_move *event)
{
    const struct held_vip *vip = desired_at(node, &event->address);
    struct leases_event move = {.type = LEASES_MOVE, .to = event->to};

    if (vip == NULL)
        return; /* it left the desired state meanwhile */
    move.lease = vip->lease;
    node_lease_run(node, &move);
}
