#include "agent/core/node.h"

#include <stdlib.h>
#include <string.h>

#include "agent/core/node_internal.h"

int node_create(const struct node_config *config, struct node **out, struct err *err)
{
    struct node *node;
    int rc;

    if (!name_valid(config->head.name))
        return err_set(err, ERR_INVALID,
                       "\"%s\" is no node name: expected 1 to 63 of a-z, 0-9 and \"-\"",
                       config->head.name);
    node = calloc(1, sizeof *node);
    if (node == NULL)
        return err_set(err, ERR_NOMEM, "create the node: %s", err_text(ERR_NOMEM));
    node->config = *config;
    node->config.saved = NULL; /* the caller's; used here only */
    node->now = config->now;
    node->wall = config->wall;
    node->place_at = MONO_NEVER;
    node->apply_retry = MONO_NEVER;
    rollout_init(&node->rollout, config->marks);
    node->config.marks = NULL; /* likewise */
    node_jobs_create(node, config->crons, config->cron_count);
    node->config.crons = NULL; /* likewise */
    node->balance_at = MONO_NEVER;
    node->suspend_at = MONO_NEVER;
    rng_seed(&node->rng, config->seed);
    rc = node_peers_create(node, err);
    if (rc != ERR_NONE)
        goto err_after_node;
    node_suspend_create(node, config->suspended, config->suspended_count);
    node->config.suspended = NULL;
    node_pool_create(node, config->pool);
    node->config.pool = NULL; /* likewise */
    node->config.saved = config->saved;
    rc = node_lease_create(node, err);
    node->config.saved = NULL;
    if (rc != ERR_NONE)
        goto err_after_node;
    *out = node;
    return ERR_NONE;

err_after_node:
    node_free(node);
    return rc;
}

void node_free(struct node *node)
{
    if (node == NULL)
        return;
    node_work_free(node);
    node_rollout_free(node);
    node_lease_free(node);
    node_peers_free(node);
    node_effects_reset(node);
    desired_free(node->desired);
    for (size_t i = 0; i < node->retired_count; i++)
        desired_free(node->retired[i]);
    free(node->retired);
    free(node->effects);
    suspend_free(&node->suspensions);
    node_placement_free(&node->placement);
    free(node->payloads);
    free(node);
}

static bool is_named(const struct node *node, const struct desired *state)
{
    for (size_t i = 0; i < node->instance_count; i++)
        if (node->instances[i]->judge_state == state)
            return true;
    return false;
}

/* Those that nothing names any more are freed. */
static void free_retired(struct node *node)
{
    size_t kept = 0;

    for (size_t i = 0; i < node->retired_count; i++)
        if (is_named(node, node->retired[i]))
            node->retired[kept++] = node->retired[i];
        else
            desired_free(node->retired[i]);
    node->retired_count = kept;
}

static void retire(struct node *node, struct desired *old)
{
    struct desired **grown;

    if (old == NULL)
        return;
    grown = realloc(node->retired, (node->retired_count + 1) * sizeof *grown);
    if (grown == NULL) { /* the process ends; what names it shall not read freed memory first */
        node->no_memory = true;
        return;
    }
    node->retired = grown;
    node->retired[node->retired_count++] = old;
}

void node_take_desired(struct node *node, const struct node_event_desired *event)
{
    struct desired *old = node->desired;

    if (node_rollout_refuse(node, event) || node_canary_hold(node, event))
        return;
    node_canary_passed(node, event);
    node_rollout_desired(node, event);
    node->desired = event->desired;
    node->desired_number++;
    node_commit_applied(node, event);
    node_peers_labels(node);
    (void)node_pool_assign(node);
    node_vip_desired(node);
    node_work_desired(node);
    node_work_update(node); /* every instance is bound to the new objects from here on */
    retire(node, old);
}

static void take_message(struct node *node, const struct node_event_message *event)
{
    node_peers_message(node, event);
    if (event->restarted)
        node_lease_restarted(node, event->from);
    switch (event->msg->type) {
    case MSG_LEASE_REQUEST:
    case MSG_LEASE_REPLY:
    case MSG_LEASE_RELEASE:
    case MSG_LEASE_TRANSFER:
        node_lease_message(node, event);
        break;
    default:
        node_lease_heard(node, event->from);
        break;
    }
}

static void dispatch(struct node *node, const struct node_event *event)
{
    switch (event->type) {
    case NODE_TIMER:
        break;
    case NODE_MESSAGE:
        take_message(node, &event->message);
        break;
    case NODE_HEARD:
        node_peers_heard(node, &event->message);
        if (event->message.restarted)
            node_lease_restarted(node, event->message.from);
        node_lease_heard(node, event->message.from);
        break;
    case NODE_ADMIT:
        node_peers_admit(node, &event->peer);
        break;
    case NODE_REVOKE:
        node_peers_revoke(node, event->peer.id);
        break;
    case NODE_QUARANTINE:
        node_peers_quarantine(node, &event->quarantine);
        break;
    case NODE_KEYS:
        node_peers_keys(node, &event->keys);
        break;
    case NODE_ADDRESS:
        node_peers_address(node, &event->address);
        break;
    case NODE_DESIRED:
        node_take_desired(node, &event->desired);
        break;
    case NODE_COMMIT:
        node_commit_result(node, &event->commit);
        break;
    case NODE_VOTERS:
        node_voters_stored(node, &event->voters);
        break;
    case NODE_CRON:
        node_jobs_stored(node, &event->cron);
        break;
    case NODE_GATEWAY:
        node_lease_gateway(node, event->gateway.sent);
        break;
    case NODE_WROTE:
    case NODE_WRITTEN:
    case NODE_READ:
        node_lease_reading(node, event);
        break;
    case NODE_REGISTER:
        node_register_tested(node, event->kept);
        break;
    case NODE_FENCE:
        node_lease_fence(node, &event->fence);
        break;
    case NODE_CONFLICT:
        node_owner_conflict(node, &event->conflict);
        break;
    case NODE_CLIENTS:
        node_owner_clients(node, &event->clients);
        break;
    case NODE_MOVE:
        node_owner_move(node, &event->move);
        break;
    case NODE_FOUND:
        node_work_found(node, &event->instance);
        break;
    case NODE_STARTED:
        node_work_started(node, &event->instance);
        break;
    case NODE_EXITED:
        node_work_exited(node, &event->instance);
        break;
    case NODE_NOTE:
        node_work_note(node, &event->instance);
        break;
    case NODE_DRIFT:
        node_drift_told(node, &event->drift);
        break;
    case NODE_PROBE:
        node_work_probe(node, &event->probe);
        break;
    case NODE_SUSPEND:
        node_suspend_said(node, &event->suspend);
        break;
    case NODE_DRAIN:
        node_vip_drain(node, event->drain);
        break;
    case NODE_LEAVE:
        node->left = true;
        node_vip_leave(node);
        node_peers_leave(node);
        break;
    }
}

int node_step(struct node *node, mono_t now, const struct node_event *event, struct node_out *out)
{
    node->now = mono_max(node->now, now);
    node->wall = event->wall;
    /* What node_create left is carried out with the first step. */
    if (node->stepped)
        node_effects_reset(node);
    node->stepped = true;
    free_retired(node);
    dispatch(node, event);
    /* Timers after the event: an answer that has come counts before its absence is judged. */
    if (event->type == NODE_TIMER) {
        node_peers_tick(node);
        node_lease_tick(node);
        node_vip_tick(node);
        node_balance_tick(node);
        node_register_tick(node);
        node_voters_tick(node);
        node_commit_tick(node);
        node_work_tick(node);
    }
    node_suspend_update(node);
    node_pool_update(node);
    node_work_update(node);
    node_lease_settle(node);
    node_drift_update(node);
    node_rollout_update(node);
    node_peers_settle(node);
    out->effects = node->effects;
    out->count = node->effect_count;
    return node->no_memory ? ERR_NOMEM : ERR_NONE;
}

mono_t node_deadline(const struct node *node)
{
    mono_t next = membership_deadline(node->members);

    next = mono_min(next, records_deadline(node->records));
    next = mono_min(next, node_paths_deadline(node));
    next = mono_min(next, node_lease_deadline(node));
    next = mono_min(next, node_vip_deadline(node));
    next = mono_min(next, node_balance_deadline(node));
    next = mono_min(next, node_register_deadline(node));
    next = mono_min(next, node_voters_deadline(node));
    next = mono_min(next, node_commit_deadline(node));
    next = mono_min(next, node_rollout_deadline(node));
    next = mono_min(next, node_suspend_deadline(node));
    next = mono_min(next, node_pool_deadline(node));
    return mono_min(next, node_work_deadline(node));
}

const struct value_head *node_peer(const struct node *node, node_id id)
{
    const struct peer *peer = node_find_peer(node, id);

    return peer != NULL && peer->head.name[0] != '\0' ? &peer->head : NULL;
}

const struct desired *node_desired(const struct node *node)
{
    return node->desired;
}
