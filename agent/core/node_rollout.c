/* The applied commit: whether what it changed is ready, and the way back. */
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
        view->since = mono_max(view->since, instance->placed_at);
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
    bool held = false;

    view->peers_ready = true;
    for (size_t i = 0; i < node->peer_count; i++) {
        const struct peer *peer = &node->peers[i];
        uint8_t health = peer->commit.health;
        bool has_it = strcmp(peer->commit.commit, commit) == 0;
        bool has_tried = health == VALUE_HEALTH_READY || health == VALUE_HEALTH_GOOD;
        if (peer->self || peer->head.role == VALUE_ROLE_WITNESS)
            continue;
        if (!node_peer_present(peer)) {
            /* After a restart nobody who is away has been heard: it may have gone over it. */
            bool unknown = peer->commit.commit[0] == '\0' && node->desired_number == 1;
            view->peers_away = true;
            /* Who went away over it leaves the question to whoever takes its work over: time tells.
             */
            view->peers_ready = view->peers_ready && !unknown && (!has_it || has_tried);
            continue;
        }
        /* Who waits for its turn has not tried it yet. */
        view->peers_ready = view->peers_ready && has_it && has_tried;
        held = held || node_canary_holds(peer, commit);
        /* An agent that has just started shows no commit before it has read its branch. */
        view->peers_trying = view->peers_trying || peer->commit.commit[0] == '\0' ||
                             (has_it && health == VALUE_HEALTH_TRYING);
        view->peers_wait = view->peers_wait || (has_it && node_turn_awaited(node, peer));
        view->peers_good = view->peers_good || (has_it && health == VALUE_HEALTH_GOOD);
    }
    /* What waits for something on a node that waits for this one cannot be tried before it has. */
    view->ready = view->ready || (view->blocked && held);
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

void node_rollout_go(struct node *node, const char *commit)
{
    struct effect *effect = node_effect(node, EFFECT_APPLY);

    snprintf(effect->apply.commit, sizeof effect->apply.commit, "%s", commit);
    snprintf(node->apply_commit, sizeof node->apply_commit, "%s", commit);
    node->apply_retry = mono_add(node->now, APPLY_RETRY_MS);
}

static void go_back(struct node *node)
{
    node_rollout_go(node, node->rollout.marks.good[0]);
}

/* ---- marks of the canary ---- */

void node_rollout_passed(struct node *node, const char *commit)
{
    struct rollout_marks *marks = &node->rollout.marks;

    if (strcmp(marks->passed, commit) == 0 && marks->before[0] == '\0')
        return;
    snprintf(marks->passed, sizeof marks->passed, "%s", commit);
    marks->before[0] = '\0';
    persist(node, "");
}

void node_rollout_before(struct node *node, const char *commit)
{
    struct rollout_marks *marks = &node->rollout.marks;

    if (strcmp(marks->before, commit) == 0)
        return;
    snprintf(marks->before, sizeof marks->before, "%s", commit);
    persist(node, "");
}

bool node_rollout_resume(struct node *node)
{
    const struct rollout_marks *marks = &node->rollout.marks;
    const char *commit = marks->before[0] != '\0' ? marks->before : marks->good[0];

    if (commit[0] != '\0')
        node_rollout_go(node, commit);
    return commit[0] != '\0';
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
        node_canary_drop(node);
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
    node_canary_fill(node, commit);
}

void node_rollout_update(struct node *node)
{
    struct rollout *r = &node->rollout;
    struct rollout_view view = {0};

    if (node->left)
        return;
    node_canary_update(node);
    if (mono_reached(node->now, node->apply_retry))
        node_rollout_go(node, node->apply_commit);
    if (node->desired == NULL)
        return;
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
    next = mono_min(next, node_canary_deadline(node));
    return mono_min(next, node->apply_retry);
}

void node_rollout_free(struct node *node)
{
    node_canary_drop(node);
    free(node->baseline);
}
