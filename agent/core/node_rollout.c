/* The applied commit: whose turn it is, whether what it changed is ready, and the way back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/node_internal.h"

#define APPLY_RETRY_MS 5000

/* ---- what the commit changed ---- */

static uint64_t baseline_of(const struct node *node, const char *name)
{
    uint64_t key = hash64_string(name);

    for (size_t i = 0; i < node->baseline_count; i++)
        if (node->baseline[2 * i] == key)
            return node->baseline[2 * i + 1];
    return 0;
}

/* The state that is good now is what the next one is compared with. */
static void keep_baseline(struct node *node)
{
    size_t count = node->desired->workload_count;
    uint64_t *baseline = malloc((2 * count + 1) * sizeof *baseline);

    if (baseline == NULL) {
        node->no_memory = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        baseline[2 * i] = hash64_string(node->desired->workloads[i].name);
        baseline[2 * i + 1] = node->desired->workloads[i].digest;
    }
    free(node->baseline);
    node->baseline = baseline;
    node->baseline_count = count;
}

static bool is_ready(const struct instance *instance)
{
    const struct supervise *m = &instance->machine;

    if (m->policy.needs_lease && !m->leased) /* another node has it, or will */
        return true;
    return m->run_generation == instance->wished && !instance->outdated && !instance->succeeded &&
           (m->state == SUPERVISE_READY || (m->state == SUPERVISE_COMPLETED && !supervise_left(m)));
}

static void view_instances(const struct node *node, struct rollout_view *view)
{
    view->ready = true;
    view->blocked = true;
    for (size_t i = 0; i < node->instance_count; i++) {
        const struct instance *instance = node->instances[i];
        const struct desired_workload *w = instance->workload;
        if (!instance->placed || w == NULL || w->cron || baseline_of(node, w->name) == w->digest ||
            is_ready(instance))
            continue;
        view->ready = false;
        if (instance->machine.permitted && !instance->outdated)
            view->blocked = false;
        if (instance->outdated && node_turn_needed(w) && !node_turn_come(node, instance))
            view->waits = true;
    }
    view->blocked = view->blocked && !view->ready;
}

static void view_peers(const struct node *node, struct rollout_view *view)
{
    const char *commit = node->rollout.commit;

    view->peers_ready = true;
    for (size_t i = 0; i < node->peer_count; i++) {
        const struct peer *peer = &node->peers[i];
        uint8_t health = peer->commit.health;
        bool has_it = strcmp(peer->commit.commit, commit) == 0;
        bool has_tried = health == VALUE_HEALTH_READY || health == VALUE_HEALTH_GOOD;
        if (peer->self || peer->head.role == VALUE_ROLE_WITNESS)
            continue;
        if (!node_peer_present(peer)) {
            view->peers_away = true;
            /* Who went away over it leaves the question to whoever takes its work over: time tells.
             */
            view->peers_ready = view->peers_ready && (!has_it || has_tried);
            continue;
        }
        /* Who waits for its turn has not tried it yet. */
        view->peers_ready = view->peers_ready && has_it && has_tried;
        view->peers_trying = view->peers_trying || (has_it && health == VALUE_HEALTH_TRYING);
        view->peers_wait = view->peers_wait || (has_it && node_turn_awaited(node, peer));
        view->peers_good = view->peers_good || (has_it && health == VALUE_HEALTH_GOOD);
    }
}

/* ---- marks ---- */

static void persist(struct node *node, const char *reason)
{
    struct effect_marks *marks = calloc(1, sizeof *marks);

    if (marks == NULL) {
        node->no_memory = true;
        return;
    }
    marks->marks = node->rollout.marks;
    snprintf(marks->reason, sizeof marks->reason, "%s", reason);
    node_effect(node, EFFECT_MARKS)->marks = marks;
    node_keep(node, marks);
}

static void go_back(struct node *node)
{
    struct effect *effect = node_effect(node, EFFECT_APPLY);

    snprintf(effect->apply.commit, sizeof effect->apply.commit, "%s", node->rollout.marks.good[0]);
    node->apply_retry = mono_add(node->now, APPLY_RETRY_MS);
}

/* The first thing that is not ready, for people. */
static void describe(const struct node *node, char *text, size_t size)
{
    for (size_t i = 0; i < node->instance_count; i++) {
        const struct instance *instance = node->instances[i];
        const struct desired_workload *w = instance->workload;
        if (!instance->placed || w == NULL || w->cron || baseline_of(node, w->name) == w->digest ||
            is_ready(instance))
            continue;
        snprintf(text, size, "%.60s on %.30s is not ready (%.40s)", instance->name,
                 node->config.head.name,
                 instance->reason[0] != '\0' ? instance->reason : "no reason known");
        return;
    }
    snprintf(text, size, "it was not ready in time");
}

static void act(struct node *node, enum rollout_verdict verdict)
{
    struct rollout *r = &node->rollout;
    char why[VALUE_REASON_MAX];

    switch (verdict) {
    case ROLLOUT_NO_CHANGE:
        return;
    case ROLLOUT_BECOMES_GOOD:
        persist(node, "");
        keep_baseline(node);
        break;
    case ROLLOUT_BECOMES_BAD:
        describe(node, why, sizeof why);
        node_event(
            node, EFFECT_ERROR, "commit",
            "commit %.10s is given up after %lld s: %s. Going back to %.10s; it is not tried "
            "again: push another commit",
            r->commit, (long long)r->timeout_ms / 1000, why, r->marks.good[0]);
        persist(node, why);
        go_back(node);
        break;
    case ROLLOUT_BECOMES_UNHEALTHY:
        describe(node, why, sizeof why);
        node_event(
            node, EFFECT_ERROR, "commit",
            "commit %.10s is not healthy after %lld s: %s. It stays, for there is nothing to "
            "go back to",
            r->commit, (long long)r->timeout_ms / 1000, why);
        break;
    default:
        break;
    }
    node_commit_publish(node);
}

/* ---- the canary ---- */

static const struct peer *find_named(const struct node *node, const char *name)
{
    for (size_t i = 0; i < node->peer_count; i++)
        if (strcmp(node->peers[i].head.name, name) == 0)
            return &node->peers[i];
    return NULL;
}

/* The node that @desired names as the first, if it is another one that is here and has not shown
 * yet that the commit is well. */
static const struct peer *canary_of(const struct node *node, const struct desired *desired)
{
    const char *name = desired->sync.canary;
    const struct peer *peer = name != NULL ? find_named(node, name) : NULL;

    if (peer == NULL || peer->self || !node_peer_present(peer))
        return NULL;
    if (strcmp(peer->commit.commit, desired->commit) == 0 &&
        (peer->commit.health == VALUE_HEALTH_READY || peer->commit.health == VALUE_HEALTH_GOOD))
        return NULL;
    return peer;
}

static void drop_held(struct node *node)
{
    desired_free(node->held.desired);
    node->held.desired = NULL;
}

bool node_rollout_hold(struct node *node, const struct node_event_desired *event)
{
    const struct peer *canary;

    drop_held(node); /* a newer one takes its place */
    if (node->desired == NULL || event->instead != NULL ||
        strcmp(event->desired->commit, node->commit.commit) == 0 ||
        strcmp(event->desired->commit, node->rollout.marks.good[0]) == 0)
        return false;
    canary = canary_of(node, event->desired);
    if (canary == NULL)
        return false;
    node->held = *event;
    snprintf(node->held_subject, sizeof node->held_subject, "%s",
             event->subject != NULL ? event->subject : "");
    node->held.subject = node->held_subject;
    node_event(node, EFFECT_INFO, "commit", "commit %.10s waits until %s has tried it",
               event->desired->commit, canary->head.name);
    node_commit_publish(node);
    return true;
}

/* ---- interface ---- */

bool node_rollout_refuse(struct node *node, const struct node_event_desired *event)
{
    if (!rollout_is_bad(&node->rollout, event->desired->commit))
        return false;
    desired_free(event->desired);
    if (node->rollout.marks.good[0][0] != '\0') /* what is stored as applied is to be what runs */
        go_back(node);
    return true;
}

void node_rollout_desired(struct node *node, const struct node_event_desired *event)
{
    const struct desired_sync *sync = &event->desired->sync;

    node->apply_retry = MONO_NEVER;
    if (event->instead != NULL && node->rollout.state == ROLLOUT_NONE) { /* after a restart */
        node->rollout.state = ROLLOUT_BACK;
        snprintf(node->rollout.commit, sizeof node->rollout.commit, "%s", event->instead);
        return;
    }
    rollout_applied(&node->rollout, node->now, event->desired->commit,
                    (int64_t)sync->health_timeout_s * 1000, sync->rollback);
    if (node->rollout.state == ROLLOUT_GOOD) { /* without a wait: a new baseline with this step */
        free(node->baseline);
        node->baseline = NULL;
        node->baseline_count = 0;
    }
}

void node_rollout_seen(struct node *node, const struct peer *peer)
{
    const char *bad = peer->commit.bad;
    bool back;

    if (node->held.desired != NULL && strcmp(node->held.desired->commit, bad) == 0)
        drop_held(node);
    if (!rollout_given_up(&node->rollout, bad, &back))
        return;
    persist(node, "another node has given it up");
    if (back) {
        node_event(node, EFFECT_ERROR, "commit",
                   "commit %.10s was given up by %s: going back to %.10s", bad, peer->head.name,
                   node->rollout.marks.good[0]);
        go_back(node);
    }
    node_commit_publish(node);
}

void node_rollout_fill(const struct node *node, struct value_commit *commit)
{
    commit->health = rollout_health(&node->rollout, node->now);
    snprintf(commit->bad, sizeof commit->bad, "%s", node->rollout.marks.bad[0]);
    commit->next[0] = '\0';
    if (node->held.desired == NULL)
        return;
    commit->health = VALUE_HEALTH_HELD;
    snprintf(commit->next, sizeof commit->next, "%s", node->held.desired->commit);
}

static void release_held(struct node *node)
{
    struct node_event event = {.type = NODE_DESIRED, .desired = node->held};

    if (node->held.desired == NULL || canary_of(node, node->held.desired) != NULL)
        return;
    node->held.desired = NULL;
    node_take_desired(node, &event.desired);
}

void node_rollout_update(struct node *node)
{
    struct rollout *r = &node->rollout;
    struct rollout_view view = {0};

    if (node->desired == NULL || node->left)
        return;
    release_held(node);
    if (mono_reached(node->now, node->apply_retry))
        go_back(node);
    if (node->baseline == NULL &&
        (r->state == ROLLOUT_GOOD ||
         (r->state == ROLLOUT_BACK && strcmp(node->commit.commit, r->marks.good[0]) == 0))) {
        keep_baseline(node);
        persist(node, "");
    }
    if (r->state != ROLLOUT_WAITING && r->state != ROLLOUT_UNHEALTHY)
        return;
    view_instances(node, &view);
    view_peers(node, &view);
    act(node, rollout_look(r, node->now, &view));
    if (node->held.desired == NULL && rollout_health(r, node->now) != node->commit.health)
        node_commit_publish(node);
}

mono_t node_rollout_deadline(const struct node *node)
{
    mono_t next = MONO_NEVER;

    if (node->desired != NULL)
        next = rollout_deadline(&node->rollout, node->now);
    return mono_min(next, node->apply_retry);
}

void node_rollout_free(struct node *node)
{
    drop_held(node);
    free(node->baseline);
}
