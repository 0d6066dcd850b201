/* Whose turn a commit is: where some nodes are to try it first, the others keep it until those have
 * shown it ready.
 *
 * A node that is to try it counts whether it is here or not. Who vanishes while it tries has shown
 * nothing, and who was away when the commit came may be on the other side of a partition, with the
 * commit failing there. */
#include <stdio.h>
#include <string.h>

#include "agent/core/node_internal.h"

#define MISSED_MS 10000 /* a canary's absence before people are told; a restart is no news */

static const struct peer *find_named(const struct node *node, const char *name)
{
    for (size_t i = 0; i < node->peer_count; i++)
        if (strcmp(node->peers[i].head.name, name) == 0)
            return &node->peers[i];
    return NULL;
}

/* The next of the names in @list, "pi1, pi2"; false: there is none. */
static bool next_name(const char **list, char name[NODE_NAME_MAX + 1])
{
    size_t len;

    *list += strspn(*list, ", ");
    len = strcspn(*list, ", ");
    snprintf(name, NODE_NAME_MAX + 1, "%.*s", (int)(len < NODE_NAME_MAX ? len : NODE_NAME_MAX),
             *list);
    *list += len;
    return len > 0;
}

static bool is_named(const char *list, const char *name)
{
    char word[NODE_NAME_MAX + 1];

    while (next_name(&list, word))
        if (strcmp(word, name) == 0)
            return true;
    return false;
}

static bool names_of_commit(const struct node_event_desired *event)
{
    return event->canary != NULL && event->canary[0] != '\0';
}

/* Who is to try it first: whom the commit names, else cluster.yaml. "": nobody. */
static const char *names(const struct node_event_desired *event)
{
    const char *list = names_of_commit(event) ? event->canary : event->desired->sync.canary;

    return list != NULL ? list : "";
}

static bool shows(const struct peer *peer, const char *commit, uint8_t health)
{
    return strcmp(peer->commit.commit, commit) == 0 && peer->commit.health == health;
}

static bool good_somewhere(const struct node *node, const char *commit)
{
    for (size_t i = 0; i < node->peer_count; i++)
        if (shows(&node->peers[i], commit, VALUE_HEALTH_GOOD))
            return true;
    return false;
}

/* The first node that is to show that the commit of @event is well, and has not yet. Writes its
 * name to @name; false: this node needs to wait for none. A name in cluster.yaml of which the flock
 * has no node, any more or yet, holds nothing up; one that the commit itself asks for does. */
static bool waits_for(const struct node *node, const struct node_event_desired *event,
                      char name[NODE_NAME_MAX + 1])
{
    const char *list = names(event);
    const char *commit = event->desired->commit;

    if (is_named(list, node->config.head.name) || good_somewhere(node, commit))
        return false;
    while (next_name(&list, name)) {
        const struct peer *peer = find_named(node, name);
        if (peer == NULL ? names_of_commit(event) : !shows(peer, commit, VALUE_HEALTH_READY))
            return true;
    }
    return false;
}

void node_canary_drop(struct node *node)
{
    desired_free(node->held.desired);
    node->held.desired = NULL;
}

/* Says for whom it waits, where that is news. */
static void look_for(struct node *node, const char *canary)
{
    const struct peer *peer = find_named(node, canary);
    bool here = peer != NULL && node_peer_present(peer);

    if (strcmp(node->held_for, canary) != 0) {
        snprintf(node->held_for, sizeof node->held_for, "%s", canary);
        node->held_missed = false;
        node->held_missed_at = MONO_NEVER;
        node_event(node, EFFECT_INFO, "commit", "commit %.10s waits until %s has shown it ready",
                   node->held.desired->commit, canary);
        node_commit_publish(node);
    }
    if (here) {
        bool was_missed = node->held_missed;
        node->held_missed = false;
        node->held_missed_at = MONO_NEVER;
        if (was_missed)
            node_commit_publish(node);
    } else if (!node->held_missed && node->held_missed_at.ms == MONO_NEVER.ms) {
        node->held_missed_at = mono_add(node->now, MISSED_MS);
    } else if (mono_reached(node->now, node->held_missed_at)) {
        node->held_missed = true;
        node->held_missed_at = MONO_NEVER;
        node_event(node, EFFECT_WARNING, "commit",
                   "commit %.10s is not applied here: %s, which is to try it first, %s. To go on "
                   "without it, push with another canary (agentctl push --node)",
                   node->held.desired->commit, canary,
                   peer != NULL ? "is away" : "is no node of this flock");
        node_commit_publish(node);
    }
}

bool node_canary_hold(struct node *node, const struct node_event_desired *event)
{
    const struct rollout_marks *marks = &node->rollout.marks;
    const char *commit = event->desired->commit;
    char canary[NODE_NAME_MAX + 1];
    bool first = node->desired == NULL; /* in this life */

    if (strcmp(commit, marks->good[0]) == 0 || strcmp(commit, marks->before) == 0)
        return false; /* what is held is still to come */
    if (node->held.desired == NULL || strcmp(node->held.desired->commit, commit) != 0)
        node->held_for[0] = '\0';
    node_canary_drop(node); /* a newer one takes its place */
    if (event->instead != NULL || strcmp(commit, node->commit.commit) == 0 ||
        strcmp(commit, marks->passed) == 0 || !waits_for(node, event, canary))
        return false;
    node->held = *event;
    snprintf(node->held_subject, sizeof node->held_subject, "%s",
             event->subject != NULL ? event->subject : "");
    snprintf(node->held_canary, sizeof node->held_canary, "%s",
             event->canary != NULL ? event->canary : "");
    node->held.subject = node->held_subject;
    node->held.canary = node->held_canary;
    if (first) /* it was stored before it was held: what ran then is to run on */
        node->held_early = node_rollout_resume(node);
    else
        node_rollout_before(node, node->commit.commit);
    look_for(node, canary);
    return true;
}

void node_canary_passed(struct node *node, const struct node_event_desired *event)
{
    if (names(event)[0] != '\0' && !is_named(names(event), node->config.head.name))
        node_rollout_passed(node, event->desired->commit);
    else if (node->held.desired == NULL)
        node_rollout_before(node, "");
}

void node_canary_update(struct node *node)
{
    struct node_event event = {.type = NODE_DESIRED, .desired = node->held};
    char canary[NODE_NAME_MAX + 1];

    if (node->held.desired == NULL)
        return;
    if (waits_for(node, &node->held, canary)) {
        look_for(node, canary);
        return;
    }
    node->held.desired = NULL;
    node->held_for[0] = '\0';
    if (node->held_early) /* what ran before is stored as applied */
        node_rollout_go(node, event.desired.desired->commit);
    node->held_early = false;
    node_take_desired(node, &event.desired);
}

void node_canary_fill(const struct node *node, struct value_commit *commit)
{
    commit->next[0] = '\0';
    if (commit->state == VALUE_COMMIT_APPLIED || commit->state == VALUE_COMMIT_NONE)
        commit->reason[0] = '\0';
    if (node->held.desired == NULL)
        return;
    commit->health = VALUE_HEALTH_HELD;
    snprintf(commit->next, sizeof commit->next, "%s", node->held.desired->commit);
    if (commit->state == VALUE_COMMIT_APPLIED || commit->state == VALUE_COMMIT_NONE)
        snprintf(commit->reason, sizeof commit->reason, "%.10s waits until %s has shown it ready%s",
                 commit->next, node->held_for, node->held_missed ? ", which is not here" : "");
}

mono_t node_canary_deadline(const struct node *node)
{
    return node->held.desired != NULL ? node->held_missed_at : MONO_NEVER;
}

bool node_canary_holds(const struct peer *peer, const char *commit)
{
    return peer->commit.health == VALUE_HEALTH_HELD && strcmp(peer->commit.next, commit) == 0;
}

bool node_held(const struct node *node, const char **commit, const char **canary)
{
    if (node->held.desired == NULL)
        return false;
    *commit = node->held.desired->commit;
    *canary = node->held_for;
    return true;
}
