/* Virtual addresses and leases: what this node campaigns for, and what it tells the flock. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/node_internal.h"
#include "proto/record/value_codec.h"

#define VOTERS_RETRY_MS 5000   /* a voter set that could not be stored is tried again after this */
#define CONFLICT_WAIT_MS 60000 /* a foreign host answered: asked again after this */

static void run_leases(struct node *node, const struct leases_event *event);

static struct held_vip *find_vip(struct node *node, uint64_t lease)
{
    for (size_t i = 0; i < node->vip_count; i++)
        if (node->vips[i].lease == lease)
            return &node->vips[i];
    return NULL;
}

static void vip_key(const struct held_vip *vip, char key[RECORD_KEY_MAX])
{
    char text[ADDR_TEXT];

    addr_format_ip(&vip->address, text);
    snprintf(key, RECORD_KEY_MAX, "vip/%s", text);
}

static void publish_vip(struct node *node, const struct held_vip *vip)
{
    uint8_t bytes[RECORD_VALUE_MAX];
    char key[RECORD_KEY_MAX];
    size_t len;

    vip_key(vip, key);
    if (value_vip_encode(&vip->value, bytes, sizeof bytes, &len) == ERR_NONE)
        node_publish(node, key, bytes, len);
}

/* ---- effects of the lease machine ---- */

struct answers { /* to be given after the machine's output has been read */
    struct leases_event events[2 * LEASES_MAX];
    size_t count;
};

static void answer(struct answers *answers, uint8_t type, const struct lease_op *op)
{
    answers->events[answers->count++] =
        (struct leases_event){.type = type, .lease = op->lease, .number = op->number};
}

static void singleton_op(struct node *node, const struct lease_op *op, struct answers *answers)
{
    node_work_lease(node, op->lease, op->type == LEASE_OPEN, op->until);
    if (op->type == LEASE_OPEN)
        answer(answers, LEASES_OPENED, op);
    /* Closed when the processes are gone: node_vip_settle. */
}

static void fence_op(struct node *node, const struct lease_op *op, struct answers *answers)
{
    struct held_vip *vip = find_vip(node, op->lease);
    struct effect *effect;

    if (vip == NULL) { /* resumed from a record, and not in the desired state any more */
        answer(answers, op->type == LEASE_OPEN ? LEASES_OPEN_FAILED : LEASES_CLOSED, op);
        return;
    }
    effect = node_effect(node, op->type == LEASE_OPEN ? EFFECT_FENCE_OPEN : EFFECT_FENCE_CLOSE);
    effect->fence.lease = op->lease;
    effect->fence.address = vip->address;
    effect->fence.until = op->until;
    effect->fence.number = op->number;
    effect->fence.epoch = vip->value.epoch;
    effect->fence.fresh = op->type == LEASE_OPEN && !vip->value.holding;
}

static void take_change(struct node *node, const struct lease_change *change)
{
    struct held_vip *vip = find_vip(node, change->lease);
    char subject[RECORD_KEY_MAX];
    char text[ADDR_TEXT];

    if (vip == NULL || change->type == LEASE_PREPARE)
        return;
    vip->value.holding = change->type == LEASE_ACQUIRED;
    vip->value.epoch = change->epoch;
    vip->value.since = node->wall;
    snprintf(vip->value.reason, sizeof vip->value.reason, "%s", lease_reason_text(change->reason));
    vip_key(vip, subject);
    addr_format_ip(&vip->address, text);
    node_event(node, EFFECT_INFO, subject, "%s %s (%s; epoch %llu)", text,
               vip->value.holding ? "is held by this node" : "is given up by this node",
               vip->value.reason, (unsigned long long)change->epoch);
    publish_vip(node, vip);
    if (vip->value.holding) {
        struct effect *effect = node_effect(node, EFFECT_ANNOUNCE);
        effect->fence.lease = vip->lease;
        effect->fence.address = vip->address;
        effect->fence.epoch = change->epoch;
    }
}

static void send_leases(struct node *node, const struct lease_send *send)
{
    for (uint8_t i = 0; i < send->to_count; i++)
        node_send(node, send->to[i], NULL, &send->msg);
}

static void run_out(struct node *node)
{
    const struct leases_out *out = &node->leases_out;
    struct answers answers;

    answers.count = 0;
    if (out->persist)
        node_effect(node, EFFECT_LEASE_PERSIST);
    for (uint16_t i = 0; i < out->op_count; i++) {
        if (out->ops[i].kind == LEASE_SINGLETON)
            singleton_op(node, &out->ops[i], &answers);
        else
            fence_op(node, &out->ops[i], &answers);
    }
    if (out->probe)
        node_effect(node, EFFECT_GATEWAY);
    for (uint16_t i = 0; i < out->send_count; i++)
        send_leases(node, &out->sends[i]);
    for (uint16_t i = 0; i < out->change_count; i++)
        take_change(node, &out->changes[i]);
    for (size_t i = 0; i < answers.count; i++)
        run_leases(node, &answers.events[i]);
}

static void run_leases(struct node *node, const struct leases_event *event)
{
    int rc = leases_step(node->leases, node->now, event, &node->leases_out);

    if (rc == ERR_FULL)
        node_event(node, EFFECT_ERROR, "lease",
                   "a lease is not asked for: this node has %d already, its limit", LEASES_MAX);
    run_out(node);
}

/* ---- events ---- */

void node_vip_restarted(struct node *node, node_id from)
{
    struct leases_event step = {.type = LEASES_RESTARTED, .from = from};

    run_leases(node, &step);
}

void node_vip_message(struct node *node, const struct node_event_message *event)
{
    struct leases_event step = {.type = LEASES_MESSAGE, .from = event->from, .msg = event->msg};

    run_leases(node, &step);
}

void node_vip_heard(struct node *node, node_id from)
{
    struct leases_event step = {.type = LEASES_HEARD, .from = from};

    run_leases(node, &step);
}

void node_vip_gateway(struct node *node, mono_t sent)
{
    struct leases_event step = {.type = LEASES_GATEWAY, .sent = sent};

    if (!node->config.facts.gateway) {
        node->config.facts.gateway = true;
        node_publish_facts(node);
    }
    run_leases(node, &step);
}

void node_vip_fence(struct node *node, const struct node_event_fence *event)
{
    struct leases_event step = {.lease = event->lease, .number = event->number};
    struct held_vip *vip = find_vip(node, event->lease);
    char subject[RECORD_KEY_MAX];

    if (event->failed && vip != NULL) {
        vip_key(vip, subject);
        node_event(node, EFFECT_ERROR, subject, "the fence of %s: %.180s", subject + 4,
                   event->reason != NULL ? event->reason : "failed");
    }
    if (event->failed && !event->open)
        step.type = LEASES_OPEN_FAILED;
    else if (event->failed)
        return; /* a close that failed: the machine waits for the fence's own end */
    else
        step.type = event->open ? LEASES_OPENED : LEASES_CLOSED;
    run_leases(node, &step);
}

static void want_vip(struct node *node, struct held_vip *vip, uint32_t rank)
{
    struct leases_event step = {.type = LEASES_WANT,
                                .lease = vip->lease,
                                .kind = LEASE_VIP,
                                .mode = vip->strict ? LEASE_STRICT : LEASE_SOLO,
                                .rank = rank > UINT8_MAX ? UINT8_MAX : (uint8_t)rank};

    run_leases(node, &step);
}

void node_vip_unwant(struct node *node, uint64_t lease)
{
    struct leases_event step = {.type = LEASES_UNWANT, .lease = lease};

    run_leases(node, &step);
}

void node_vip_want_singleton(struct node *node, uint64_t lease, uint32_t rank)
{
    struct leases_event step = {.type = LEASES_WANT,
                                .lease = lease,
                                .kind = LEASE_SINGLETON,
                                .mode = LEASE_STRICT,
                                .rank = rank > UINT8_MAX ? UINT8_MAX : (uint8_t)rank};

    run_leases(node, &step);
}

void node_vip_conflict(struct node *node, const struct node_event_conflict *event)
{
    const uint8_t *mac = event->mac;
    char subject[RECORD_KEY_MAX];

    for (size_t i = 0; i < node->vip_count; i++) {
        struct held_vip *vip = &node->vips[i];
        if (!addr_equal(&vip->address, &event->address))
            continue;
        vip_key(vip, subject);
        if (mono_is_never(vip->conflict))
            node_event(node, EFFECT_ERROR, subject,
                       "%s is not claimed: the host with MAC %02x:%02x:%02x:%02x:%02x:%02x, which "
                       "is no member, answers for it. Take it off that host or change the pool",
                       subject + 4, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
        vip->conflict = mono_add(node->now, CONFLICT_WAIT_MS);
        node_vip_unwant(node, vip->lease);
    }
}

/* ---- the desired state ---- */

static struct held_vip *add_vip(struct node *node, const struct addr *address)
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
    vip_key(vip, key);
    vip->lease = hash64_string(key);
    vip->conflict = MONO_NEVER;
    return vip;
}

static struct held_vip *vip_at(struct node *node, const struct addr *address)
{
    for (size_t i = 0; i < node->vip_count; i++)
        if (addr_equal(&node->vips[i].address, address))
            return &node->vips[i];
    return NULL;
}

/* A lease that was taken up again, of a singleton that left the desired state while no agent ran.
 */
static void drop_singletons(struct node *node)
{
    struct lease_view views[LEASES_MAX];
    unsigned count = leases_list(node->leases, node->now, views, LEASES_MAX);

    for (unsigned i = 0; i < count; i++) {
        bool known = views[i].kind != LEASE_SINGLETON;
        for (size_t k = 0; k < node->desired->workload_count; k++)
            known =
                known || (node->desired->workloads[k].singleton &&
                          node_singleton_lease(node->desired->workloads[k].name) == views[i].lease);
        for (size_t k = 0; k < node->instance_count; k++) /* it ends first, and then its lease */
            known = known || node->instances[k]->lease == views[i].lease;
        if (!known)
            node_vip_unwant(node, views[i].lease);
    }
}

void node_vip_desired(struct node *node)
{
    for (size_t i = 0; i < node->vip_count; i++)
        node->vips[i].desired = false;
    for (size_t i = 0; i < node->desired->vip_count; i++) {
        const struct desired_vip *want = &node->desired->vips[i];
        struct held_vip *vip;
        if (want->address.family == 0)
            continue;
        vip = vip_at(node, &want->address);
        if (vip == NULL)
            vip = add_vip(node, &want->address);
        if (vip == NULL)
            return;
        vip->desired = true;
        vip->strict = want->strict;
        snprintf(vip->name, sizeof vip->name, "%s", want->name);
    }
    for (size_t i = 0; i < node->vip_count; i++)
        if (!node->vips[i].desired)
            node_vip_unwant(node, node->vips[i].lease);
    drop_singletons(node);
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
        if (vip->desired && mono_is_never(vip->conflict))
            want_vip(node, vip, place_rank(vip->lease, nodes, count, self));
    }
    free(nodes);
}

/* Gives the leases away; the workloads stay where they are (an agent that is being restarted). */
void node_vip_leave(struct node *node)
{
    struct leases_event step = {.type = LEASES_DRAIN, .on = true};

    run_leases(node, &step);
}

void node_vip_drain(struct node *node, bool on)
{
    struct leases_event step = {.type = LEASES_DRAIN, .on = on};

    node->config.facts.draining = on;
    node_publish_facts(node);
    node->place_dirty = true;
    node->work_dirty = true;
    run_leases(node, &step);
}

/* ---- voters ---- */

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

void node_vip_voters_seen(struct node *node)
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

void node_vip_voters_stored(struct node *node, const struct voters_state *stored)
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
    run_leases(node, &step);
    if (node->config.coordinator)
        publish_set(node);
    publish_number(node);
    node_vip_voters_seen(node);
}

/* ---- time ---- */

/* A singleton that is being given up: closed when none of its processes is left. */
void node_vip_settle(struct node *node)
{
    struct lease_view views[LEASES_MAX];
    unsigned count = leases_list(node->leases, node->now, views, LEASES_MAX);

    for (unsigned i = 0; i < count; i++) {
        struct leases_event closed = {
            .type = LEASES_CLOSED, .lease = views[i].lease, .number = views[i].close_number};
        bool alive = false;
        if (views[i].kind != LEASE_SINGLETON || views[i].state != LEASE_CLOSING)
            continue;
        for (size_t k = 0; k < node->instance_count; k++)
            alive = alive || (node->instances[k]->lease == views[i].lease &&
                              supervise_alive(&node->instances[k]->machine));
        if (!alive)
            run_leases(node, &closed);
    }
}

/* An address that left the desired state leaves the list when its lease is gone. */
static void drop_released(struct node *node)
{
    for (size_t i = node->vip_count; i-- > 0;) {
        struct lease_view view;
        char key[RECORD_KEY_MAX];
        if (node->vips[i].desired ||
            leases_get(node->leases, node->now, node->vips[i].lease, &view))
            continue;
        vip_key(&node->vips[i], key);
        node_unpublish(node, key);
        node->vips[i] = node->vips[--node->vip_count];
    }
}

void node_vip_tick(struct node *node)
{
    struct leases_event timer = {.type = LEASES_TIMER};

    if (mono_reached(node->now, leases_deadline(node->leases)))
        run_leases(node, &timer);
    for (size_t i = 0; i < node->vip_count; i++)
        if (mono_reached(node->now, node->vips[i].conflict)) {
            node->vips[i].conflict = MONO_NEVER;
            node->place_dirty = true;
        }
    drop_released(node);
    if (node->voters_storing && mono_reached(node->now, node->voters_retry)) {
        node->voters_storing = false;
        node_vip_voters_seen(node);
    }
    if (!node->voters_storing && node->config.coordinator &&
        mono_reached(node->now, voters_deadline(&node->voters)))
        node_vip_voters_seen(node);
}

mono_t node_vip_deadline(const struct node *node)
{
    mono_t next = leases_deadline(node->leases);

    if (node->voters_storing)
        next = mono_min(next, node->voters_retry);
    else if (node->config.coordinator)
        next = mono_min(next, voters_deadline(&node->voters));
    for (size_t i = 0; i < node->vip_count; i++)
        next = mono_min(next, node->vips[i].conflict);
    return next;
}

void node_export(const struct node *node, mono_t now, struct node_saved *saved)
{
    memset(saved, 0, sizeof *saved);
    leases_export(node->leases, now, &saved->leases);
    for (size_t i = 0; i < node->vip_count && saved->address_count < LEASES_MAX; i++) {
        saved->addresses[saved->address_count].lease = node->vips[i].lease;
        saved->addresses[saved->address_count].address = node->vips[i].address;
        saved->address_count++;
    }
}

/* Takes up what an earlier life held. Its addresses count as desired until the desired state is
 * known: a lease that is resumed may not lapse for want of a document that is being read. */
static void resume(struct node *node, const struct node_saved *saved)
{
    for (uint32_t i = 0; i < saved->address_count && i < LEASES_MAX; i++) {
        struct held_vip *vip = add_vip(node, &saved->addresses[i].address);
        if (vip == NULL)
            return;
        vip->desired = true;
    }
    leases_import(node->leases, node->now, &saved->leases, &node->leases_out);
    run_out(node);
}

int node_vip_create(struct node *node, struct err *err)
{
    const struct node_config *config = &node->config;
    struct leases_config leases = {.self = config->self,
                                   .boot = config->boot,
                                   .seed = rng_next(&node->rng),
                                   .first_since_boot = config->first_since_boot,
                                   .voters = config->adopted};

    node->leases = leases_create(&leases, config->now);
    if (node->leases == NULL)
        return err_set(err, ERR_NOMEM, "start the leases: %s", err_text(ERR_NOMEM));
    node->adopted = config->adopted;
    voters_init(&node->voters, &config->voters);
    publish_number(node);
    if (config->coordinator)
        publish_set(node);
    if (config->saved != NULL)
        resume(node, config->saved);
    return ERR_NONE;
}

void node_vip_free(struct node *node)
{
    leases_destroy(node->leases);
    free(node->vips);
}
