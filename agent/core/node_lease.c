/* The lease machine within the node: what it wants done becomes effects and records, what happened
 * becomes its events. What the leases are for is said by node_vip.c (addresses) and node_place.c
 * (singletons). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/node_internal.h"

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
    /* Closed when the processes are gone: node_lease_settle. */
}

static void fence_op(struct node *node, const struct lease_op *op, struct answers *answers)
{
    struct held_vip *vip = node_vip_find(node, op->lease);
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
    effect->fence.leave = node_drift_leaves_vip(node, vip);
}

static void announce(struct node *node, const struct held_vip *vip)
{
    struct effect *effect = node_effect(node, EFFECT_ANNOUNCE);

    effect->fence.lease = vip->lease;
    effect->fence.address = vip->address;
    effect->fence.epoch = vip->value.epoch;
}

static void take_change(struct node *node, const struct lease_change *change)
{
    struct held_vip *vip = node_vip_find(node, change->lease);
    char subject[RECORD_KEY_MAX];
    char text[ADDR_TEXT];

    if (vip == NULL || change->type == LEASE_PREPARE)
        return;
    if (change->type == LEASE_MET) {
        announce(node, vip);
        return;
    }
    node_vip_key(vip, subject);
    addr_format_ip(&vip->address, text);
    if (change->type == LEASE_DEFENDED) {
        node_event(node, EFFECT_WARNING, subject,
                   "%s is held by a node that this one cannot hear: does the access point isolate "
                   "its clients? A witness on the network would settle it",
                   text);
        return;
    }
    vip->value.holding = change->type == LEASE_ACQUIRED;
    vip->value.epoch = change->epoch;
    vip->value.since = node->wall;
    snprintf(vip->value.reason, sizeof vip->value.reason, "%s", lease_reason_text(change->reason));
    node_event(node, EFFECT_INFO, subject, "%s %s (%s; epoch %llx)", text,
               vip->value.holding ? "is held by this node" : "is given up by this node",
               vip->value.reason, (unsigned long long)change->epoch);
    node_owner_changed(node, vip);
    if (vip->value.holding) {
        node_balance_acquired(node, vip, change->reason == LEASE_WHY_HANDED);
        node_register_acquired(node);
        announce(node, vip);
    }
}

void node_lease_announce(struct node *node)
{
    for (size_t i = 0; i < node->vip_count; i++)
        if (node->vips[i].value.holding)
            announce(node, &node->vips[i]);
}

static void send_leases(struct node *node, const struct lease_send *send)
{
    for (uint8_t i = 0; i < send->to_count; i++)
        node_send(node, &(struct effect_send){.to = send->to[i], .msg = send->msg});
}

static void gateway_op(struct node *node, const struct lease_register *op)
{
    const struct held_vip *vip = node_vip_find(node, op->lease);
    struct effect *effect;

    if (vip == NULL)
        return; /* as if it were lost on the air */
    effect = node_effect(node, op->type == LEASE_REGISTER_WRITE ? EFFECT_GATEWAY_WRITE
                                                                : EFFECT_GATEWAY_READ);
    effect->gateway.lease = op->lease;
    effect->gateway.address = vip->address;
    effect->gateway.sent = op->sent;
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
    for (uint16_t i = 0; i < out->register_count; i++)
        gateway_op(node, &out->registers[i]);
    for (uint16_t i = 0; i < out->send_count; i++)
        send_leases(node, &out->sends[i]);
    for (uint16_t i = 0; i < out->change_count; i++)
        take_change(node, &out->changes[i]);
    for (size_t i = 0; i < answers.count; i++)
        node_lease_run(node, &answers.events[i]);
}

void node_lease_run(struct node *node, const struct leases_event *event);

void node_lease_run(struct node *node, const struct leases_event *event)
{
    int rc = leases_step(node->leases, node->now, event, &node->leases_out);

    if (rc == ERR_FULL)
        node_event(node, EFFECT_ERROR, "lease",
                   "a lease is not asked for: this node has %d already, its limit", LEASES_MAX);
    run_out(node);
}

/* ---- events ---- */

void node_lease_restarted(struct node *node, node_id from)
{
    struct leases_event step = {.type = LEASES_RESTARTED, .from = from};

    node_lease_run(node, &step);
}

void node_lease_message(struct node *node, const struct node_event_message *event)
{
    struct leases_event step = {.type = LEASES_MESSAGE, .from = event->from, .msg = event->msg};

    node_lease_run(node, &step);
}

void node_lease_heard(struct node *node, node_id from)
{
    struct leases_event step = {.type = LEASES_HEARD, .from = from};

    node_lease_run(node, &step);
}

void node_lease_gateway(struct node *node, mono_t sent)
{
    struct leases_event step = {.type = LEASES_GATEWAY, .sent = sent};

    if (!node->config.facts.gateway) {
        node->config.facts.gateway = true;
        node_publish_facts(node);
    }
    node_lease_run(node, &step);
}

void node_lease_reading(struct node *node, const struct node_event *event)
{
    struct leases_event step = {.lease = event->reading.lease, .sent = event->reading.sent};

    step.type = event->type == NODE_WROTE     ? LEASES_WROTE
                : event->type == NODE_WRITTEN ? LEASES_WRITTEN
                                              : LEASES_READ;

    node_lease_run(node, &step);
}

void node_lease_fence(struct node *node, const struct node_event_fence *event)
{
    struct leases_event step = {.lease = event->lease, .number = event->number};
    struct held_vip *vip = node_vip_find(node, event->lease);
    char subject[RECORD_KEY_MAX];

    if (event->failed && vip != NULL) {
        node_vip_key(vip, subject);
        node_event(node, EFFECT_ERROR, subject, "the fence of %s: %.180s", subject + 4,
                   event->reason != NULL ? event->reason : "failed");
    }
    if (event->failed && !event->open)
        step.type = LEASES_OPEN_FAILED;
    else if (event->failed)
        return; /* a close that failed: the machine waits for the fence's own end */
    else
        step.type = event->open ? LEASES_OPENED : LEASES_CLOSED;
    node_lease_run(node, &step);
}

void node_lease_tick(struct node *node)
{
    struct leases_event timer = {.type = LEASES_TIMER};

    if (mono_reached(node->now, leases_deadline(node->leases)))
        node_lease_run(node, &timer);
}

mono_t node_lease_deadline(const struct node *node)
{
    return leases_deadline(node->leases);
}

/* ---- wishes ---- */

void node_lease_unwant(struct node *node, uint64_t lease)
{
    struct leases_event step = {.type = LEASES_UNWANT, .lease = lease};

    node_lease_run(node, &step);
}

void node_lease_want_singleton(struct node *node, uint64_t lease, uint32_t rank)
{
    struct leases_event step = {.type = LEASES_WANT,
                                .lease = lease,
                                .kind = LEASE_SINGLETON,
                                .mode = LEASE_STRICT,
                                .rank = rank > UINT8_MAX ? UINT8_MAX : (uint8_t)rank};

    node_lease_run(node, &step);
}

void node_lease_drop_singletons(struct node *node)
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
            node_lease_unwant(node, views[i].lease);
    }
}

/* A singleton that is being given up: closed when none of its processes is left. */
void node_lease_settle(struct node *node)
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
            node_lease_run(node, &closed);
    }
}

/* ---- what survives the agent ---- */

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
        struct held_vip *vip = node_vip_add(node, &saved->addresses[i].address);
        if (vip == NULL)
            return;
        vip->desired = true;
    }
    leases_import(node->leases, node->now, &saved->leases, &node->leases_out);
    run_out(node);
}

int node_lease_create(struct node *node, struct err *err)
{
    const struct node_config *config = &node->config;
    struct leases_config leases = {.self = config->self,
                                   .boot = config->boot,
                                   .seed = rng_next(&node->rng),
                                   .term_min_ms = config->lease_min_ms,
                                   .term_max_ms = config->lease_max_ms,
                                   .first_since_boot = config->first_since_boot,
                                   .voters = config->adopted};

    node->leases = leases_create(&leases, config->now);
    if (node->leases == NULL)
        return err_set(err, ERR_NOMEM, "start the leases: %s", err_text(ERR_NOMEM));
    node_voters_create(node);
    node_register_create(node); /* before the leases of an earlier life are taken up */
    if (config->saved != NULL)
        resume(node, config->saved);
    return ERR_NONE;
}

void node_lease_free(struct node *node)
{
    leases_destroy(node->leases);
    free(node->vips);
}
