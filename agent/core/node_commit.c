/* Commits: what this node applies, and which commits of others it fetches. Whether a commit is
 * newer, older or of another history is for Git to say: the executor reports it (NODE_COMMIT). */
#include <stdio.h>
#include <string.h>

#include "agent/core/node_internal.h"
#include "proto/record/value_codec.h"

void node_commit_publish(struct node *node)
{
    struct peer *self = node_find_peer(node, node->config.self);
    uint8_t bytes[RECORD_VALUE_MAX];
    size_t len;

    node_rollout_fill(node, &node->commit);
    self->commit = node->commit;
    if (value_commit_encode(&node->commit, bytes, sizeof bytes, &len) == ERR_NONE)
        node_publish(node, "commit", bytes, len);
}

static struct foreign_commit *find_commit(struct node *node, const char *commit)
{
    for (size_t i = 0; i < NODE_COMMITS_MAX; i++)
        if (strcmp(node->commits[i].commit, commit) == 0)
            return &node->commits[i];
    return NULL;
}

/* Whoever is here and has it; false: nobody shows it any more. */
static bool find_source(const struct node *node, struct foreign_commit *known)
{
    const struct peer *source = NULL;

    for (size_t i = 0; i < node->peer_count; i++) {
        const struct peer *peer = &node->peers[i];
        if (peer->self || (strcmp(peer->commit.commit, known->commit) != 0 &&
                           strcmp(peer->commit.next, known->commit) != 0))
            continue;
        if (source == NULL || (node_peer_present(peer) && !node_peer_present(source)) ||
            (node_peer_present(peer) && node_id_equal(peer->id, known->from)))
            source = peer;
    }
    if (source != NULL)
        known->from = source->id;
    return source != NULL;
}

static void fetch(struct node *node, struct foreign_commit *known)
{
    struct effect *effect = node_effect(node, EFFECT_FETCH);

    effect->fetch.from = known->from;
    snprintf(effect->fetch.commit, sizeof effect->fetch.commit, "%s", known->commit);
    known->retry = MONO_NEVER;
}

static void look_at(struct node *node, const struct peer *peer, const char *commit)
{
    struct foreign_commit *known;

    if (commit[0] == '\0' || strcmp(commit, node->commit.commit) == 0 ||
        strcmp(commit, node->commit.next) == 0 || rollout_is_bad(&node->rollout, commit))
        return;
    known = find_commit(node, commit);
    if (known != NULL) {
        known->from = peer->id; /* for the next try, if one is due */
        return;
    }
    known = &node->commits[node->commit_next++ % NODE_COMMITS_MAX];
    memset(known, 0, sizeof *known);
    snprintf(known->commit, sizeof known->commit, "%s", commit);
    known->from = peer->id;
    fetch(node, known);
}

void node_commit_seen(struct node *node, const struct peer *peer)
{
    if (peer->self)
        return;
    node_rollout_seen(node, peer);
    look_at(node, peer, peer->commit.commit);
    look_at(node, peer, peer->commit.next);
}

static void retry_later(struct node *node, struct foreign_commit *known)
{
    known->delay_ms = known->delay_ms == 0 ? NODE_FETCH_RETRY_MS : known->delay_ms * 2;
    if (known->delay_ms > NODE_FETCH_RETRY_MAX_MS)
        known->delay_ms = NODE_FETCH_RETRY_MAX_MS;
    known->retry =
        mono_add(node->now, known->delay_ms / 2 + rng_range(&node->rng, 0, known->delay_ms / 2));
}

/* One event per reason, however often it is tried again. */
static void refuse(struct node *node, const char *commit, uint8_t state, const char *reason)
{
    char text[VALUE_REASON_MAX];

    snprintf(text, sizeof text, "%.10s: %.140s", commit, reason);
    if (node->commit.state == state && strcmp(node->commit.reason, text) == 0)
        return;
    node->commit.state = state;
    snprintf(node->commit.reason, sizeof node->commit.reason, "%s", text);
    node_event(node, EFFECT_ERROR, "commit",
               state == VALUE_COMMIT_FAILED ? "commit %.10s is not applied: %.180s"
                                            : "commit %.10s has another history: %.180s",
               commit, reason);
    node_commit_publish(node);
}

void node_commit_result(struct node *node, const struct node_event_commit *event)
{
    struct foreign_commit *known = find_commit(node, event->commit);
    const char *reason = event->reason != NULL ? event->reason : "";

    if (known != NULL &&
        (event->result == NODE_COMMIT_UNREACHABLE || event->result == NODE_COMMIT_BLOCKED))
        retry_later(node, known);
    switch (event->result) {
    case NODE_COMMIT_UNREACHABLE:
    case NODE_COMMIT_OLDER:
        break;
    case NODE_COMMIT_FAILED:
    case NODE_COMMIT_BLOCKED:
        refuse(node, event->commit, VALUE_COMMIT_FAILED, reason);
        break;
    case NODE_COMMIT_DIVERGED:
        refuse(node, event->commit, VALUE_COMMIT_DIVERGED, reason);
        break;
    }
}

void node_commit_applied(struct node *node, const struct node_event_desired *event)
{
    struct value_commit *commit = &node->commit;

    memset(commit, 0, sizeof *commit);
    snprintf(commit->commit, sizeof commit->commit, "%s", event->desired->commit);
    snprintf(commit->subject, sizeof commit->subject, "%.150s",
             event->subject != NULL ? event->subject : "");
    commit->state = VALUE_COMMIT_APPLIED;
    commit->applied = event->applied;
    node_commit_publish(node);
    /* A peer's commit that was waiting for this one may be of interest now. */
    for (size_t i = 0; i < node->peer_count; i++)
        node_commit_seen(node, &node->peers[i]);
}

void node_commit_tick(struct node *node)
{
    for (size_t i = 0; i < NODE_COMMITS_MAX; i++)
        if (node->commits[i].commit[0] != '\0' && mono_reached(node->now, node->commits[i].retry)) {
            if (find_source(node, &node->commits[i]))
                fetch(node, &node->commits[i]);
            else
                node->commits[i] = (struct foreign_commit){.retry = MONO_NEVER};
        }
}

mono_t node_commit_deadline(const struct node *node)
{
    mono_t next = MONO_NEVER;

    for (size_t i = 0; i < NODE_COMMITS_MAX; i++)
        if (node->commits[i].commit[0] != '\0')
            next = mono_min(next, node->commits[i].retry);
    return next;
}
