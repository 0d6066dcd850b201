/* The voter set within the node: the coordinator decides the next one, everybody adopts it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/node_internal.h"
#include "proto/record/value_codec.h"

#define VOTERS_RETRY_MS 5000 /* a voter set that could not be stored is tried again after this */

static void publish_number(struct node *node)
{
    struct value_adopted value = {.number = node->adopted.number};
    uint8_t bytes[RECORD_VALUE_MAX];
    size_t len;

    if (value_adopted_encode(&value, bytes, sizeof bytes, &len) == ERR_NONE)
        node_publish(node, "adopted", bytes, len);
}

static void publish_set(struct node *node)
{
    const struct voter_set *set = &node->voters.state.current;
    struct value_voters value = {.number = set->number, .count = set->count};
    uint8_t bytes[RECORD_VALUE_MAX];
    size_t len;

    if (set->number == 0)
        return;
    memcpy(value.voters, set->voters, sizeof value.voters);
    if (value_voters_encode(&value, bytes, sizeof bytes, &len) == ERR_NONE)
        node_publish(node, "voters", bytes, len);
}

static uint32_t adopted_by(const struct node *node, node_id id)
{
    struct record_view view;
    struct value_adopted value;

    if (node_id_equal(id, node->config.self))
        return node->adopted.number;
    if (records_get(node->records, id, "adopted", &view) != ERR_NONE ||
        value_adopted_decode(view.value, view.value_len, &value) != ERR_NONE)
        return 0;
    return value.number;
}

static int by_admission(const void *a, const void *b)
{
    const struct peer *const *x = a;
    const struct peer *const *y = b;

    if ((*x)->head.serial != (*y)->head.serial)
        return (*x)->head.serial < (*y)->head.serial ? -1 : 1;
    return (*x)->id.v < (*y)->id.v ? -1 : (*x)->id.v > (*y)->id.v;
}

static void store_voters(struct node *node, const struct voters_state *state)
{
    node->voters_storing = true;
    node->voters_retry = MONO_NEVER;
    node_effect(node, EFFECT_VOTERS)->voters = *state;
}

/* The coordinator: is a next set due? */
static void coordinate(struct node *node)
{
    const struct peer **order = calloc(node->peer_count, sizeof *order);
    struct voters_node *nodes = calloc(node->peer_count, sizeof *nodes);
    struct voters_state next;
    unsigned count = 0;

    if (order == NULL || nodes == NULL) {
        node->no_memory = true;
        goto out;
    }
    for (size_t i = 0; i < node->peer_count; i++)
        if (node->peers[i].head.serial != 0)
            order[count++] = &node->peers[i];
    qsort(order, count, sizeof *order, by_admission);
    for (unsigned i = 0; i < count; i++)
        nodes[i] =
            (struct voters_node){.id = order[i]->id, .adopted = adopted_by(node, order[i]->id)};
    if (voters_next(&node->voters, node->now, nodes, count, &next))
        store_voters(node, &next);

out:
    free(order);
    free(nodes);
}

struct newest {
    const struct node *node;
    struct voter_set set;
};

static bool find_newest(void *context, const struct record_view *view)
{
    struct newest *newest = context;
    struct value_voters value;

    if (strcmp(view->key, "voters") == 0 &&
        value_voters_decode(view->value, view->value_len, &value) == ERR_NONE &&
        value.number > newest->set.number) {
        newest->set = (struct voter_set){.number = value.number, .count = value.count};
        memcpy(newest->set.voters, value.voters, sizeof newest->set.voters);
    }
    return true;
}

void node_voters_seen(struct node *node)
{
    struct newest newest = {.node = node};
    struct voters_state state = {0};

    if (node->voters_storing)
        return;
    if (node->config.coordinator) {
        coordinate(node);
        return;
    }
    records_each(node->records, NODE_NONE, "voters", find_newest, &newest);
    if (!voters_adopt(&node->adopted, &newest.set))
        return;
    state.current = newest.set;
    store_voters(node, &state);
}

void node_voters_stored(struct node *node, const struct voters_state *stored)
{
    struct leases_event step = {.type = LEASES_VOTERS, .voters = &stored->current};

    if (stored->current.number == 0) { /* it could not be stored */
        node->voters_retry = mono_add(node->now, VOTERS_RETRY_MS);
        return;
    }
    node->voters_storing = false;
    if (node->config.coordinator)
        voters_init(&node->voters, stored);
    node->adopted = stored->current;
    node_lease_run(node, &step);
    if (node->config.coordinator)
        publish_set(node);
    publish_number(node);
    node_voters_seen(node);
    node_register_seen(node);
}

/* ---- time ---- */

void node_voters_tick(struct node *node)
{
    if (node->voters_storing && mono_reached(node->now, node->voters_retry)) {
        node->voters_storing = false;
        node_voters_seen(node);
    }
    if (!node->voters_storing && node->config.coordinator &&
        mono_reached(node->now, voters_deadline(&node->voters)))
        node_voters_seen(node);
}

mono_t node_voters_deadline(const struct node *node)
{
    if (node->voters_storing)
        return node->voters_retry;
    return node->config.coordinator ? voters_deadline(&node->voters) : MONO_NEVER;
}

void node_voters_create(struct node *node)
{
    node->adopted = node->config.adopted;
    voters_init(&node->voters, &node->config.voters);
    publish_number(node);
    if (node->config.coordinator)
        publish_set(node);
}
