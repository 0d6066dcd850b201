/* Whose turn it is to take replicas away: rolling replacement over the flock.
 *
 * Of a workload with R replicas and maxUnavailable U no node takes a ready replica away while fewer
 * than R - U others are ready. Nodes agree without a leader: who wants to replace says so first
 * (its record "turn/WORKLOAD" names the wish and the replicas), and every node that runs some says
 * in its own which wishes of others it has seen. A replica elsewhere counts as ready only if its
 * node says so, has seen this wish, and has no wish of its own about that replica that goes first
 * (the smaller node id) or whose turn has come. So of two wishes at least one knows the other
 * before either acts, and the one that knows counts the other's replicas as away: what Ricart and
 * Agrawala (1981) do with messages, done with records. A node that is not present counts for
 * nothing; its replicas are placed elsewhere after the hold-down. What is not ready is replaced
 * without a turn, for nobody counts on it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/node_internal.h"
#include "proto/record/value_codec.h"

struct turn {
    char workload[INSTANCE_MAX];
    struct value_turn value; /* as it is to be published */
    bool published;
};

struct turns {
    struct turn *list;
    size_t count;
    uint32_t numbers; /* given out in this life */
};

/* What a look at one workload needs. */
struct look {
    struct node *node;
    const struct desired_workload *workload;
    struct turn *turn;
    struct place_node *nodes;
    int *owner; /* of each replica: index into nodes, or -1 */
};

static struct turn *find_turn(const struct node *node, const char *workload)
{
    for (size_t i = 0; node->turns != NULL && i < node->turns->count; i++)
        if (strcmp(node->turns->list[i].workload, workload) == 0)
            return &node->turns->list[i];
    return NULL;
}

static struct turn *add_turn(struct node *node, const char *workload)
{
    struct turns *turns = node->turns;
    struct turn *grown;

    if (turns == NULL)
        turns = node->turns = calloc(1, sizeof *turns);
    grown = turns != NULL ? realloc(turns->list, (turns->count + 1) * sizeof *grown) : NULL;
    if (grown == NULL) {
        node->no_memory = true;
        return NULL;
    }
    turns->list = grown;
    grown = &turns->list[turns->count++];
    *grown = (struct turn){.published = false};
    snprintf(grown->workload, sizeof grown->workload, "%s", workload);
    return grown;
}

void node_turns_free(struct node *node)
{
    if (node->turns != NULL)
        free(node->turns->list);
    free(node->turns);
}

static const struct instance *find_replica(const struct node *node, const char *workload,
                                           uint32_t replica)
{
    char name[INSTANCE_MAX];

    snprintf(name, sizeof name, "%.100s.%u", workload, (unsigned)replica);
    return node_find_instance(node, name);
}

static bool record_of(const struct node *node, const struct peer *peer, const char *workload,
                      struct value_turn *value)
{
    char key[RECORD_KEY_MAX];
    struct record_view record;

    snprintf(key, sizeof key, "turn/%.100s", workload);
    return !peer->self && node_peer_present(peer) &&
           records_get(node->records, peer->id, key, &record) == ERR_NONE &&
           value_turn_decode(record.value, record.value_len, value) == ERR_NONE;
}

static bool names(const struct value_turn *value, uint32_t replica)
{
    for (uint8_t i = 0; i < value->count; i++)
        if (value->replicas[i] == replica)
            return true;
    return false;
}

static bool has_seen(const struct value_turn *value, node_id node, uint64_t number)
{
    for (uint8_t i = 0; i < value->seen_count; i++)
        if (node_id_equal(value->seen[i].node, node))
            return value->seen[i].number == number;
    return false;
}

/* ---- what counts as ready ---- */

static bool ready_here(const struct look *look, uint32_t replica)
{
    const struct instance *instance = find_replica(look->node, look->workload->name, replica);

    return instance != NULL && instance->placed && !instance->doomed &&
           instance->machine.state == SUPERVISE_READY;
}

static bool ready_there(const struct look *look, const struct peer *peer, uint32_t replica)
{
    struct value_turn theirs;
    struct value_instance value;
    struct record_view record;
    char key[RECORD_KEY_MAX];

    snprintf(key, sizeof key, "instance/%.100s.%u", look->workload->name, (unsigned)replica);
    return peer != NULL && record_of(look->node, peer, look->workload->name, &theirs) &&
           has_seen(&theirs, look->node->config.self, look->turn->value.number) &&
           records_get(look->node->records, peer->id, key, &record) == ERR_NONE &&
           value_instance_decode(record.value, record.value_len, &value) == ERR_NONE &&
           value.state == VALUE_READY;
}

/* Another node takes it away, or will do so first. */
static bool taken(const struct look *look, uint32_t replica)
{
    const struct node *node = look->node;

    for (size_t i = 0; i < node->peer_count; i++) {
        const struct peer *peer = &node->peers[i];
        struct value_turn theirs;
        if (record_of(node, peer, look->workload->name, &theirs) && names(&theirs, replica) &&
            (theirs.inside || peer->id.v < node->config.self.v))
            return true;
    }
    return false;
}

/* The commit brings this replica to a node that keeps it back until others have tried it: it is
 * nowhere yet, and nobody counts on it. */
static bool held_back(const struct look *look, const struct peer *peer, uint32_t replica)
{
    struct record_view record;
    char key[RECORD_KEY_MAX];

    snprintf(key, sizeof key, "instance/%.100s.%u", look->workload->name, (unsigned)replica);
    return peer != NULL && node_peer_present(peer) &&
           node_canary_holds(peer, look->node->commit.commit) &&
           records_get(look->node->records, peer->id, key, &record) != ERR_NONE;
}

/* Its turn has come: enough others are ready. */
static bool may_enter(const struct look *look)
{
    const struct desired_workload *w = look->workload;
    uint32_t needed = w->replicas - w->max_unavailable;
    uint32_t ready = 0;

    for (uint32_t r = 0; r < w->replicas && ready < needed; r++) {
        const struct peer *peer;
        node_id owner;
        if (names(&look->turn->value, r) || look->owner[r] < 0 || taken(look, r))
            continue;
        owner = look->nodes[look->owner[r]].id;
        peer = node_find_peer(look->node, owner);
        if (node_id_equal(owner, look->node->config.self))
            ready += ready_here(look, r);
        else if (ready_there(look, peer, r) || held_back(look, peer, r))
            ready++;
    }
    return ready >= needed;
}

/* ---- this node's wishes ---- */

/* Waiting for a turn, being handed over, or replaced and not ready again. */
static bool is_open(const struct node *node, const struct turn *turn, uint32_t replica)
{
    const struct instance *instance = find_replica(node, turn->workload, replica);

    if (instance == NULL || !instance->placed || instance->doomed)
        return false;
    return instance->outdated || instance->succeeded ||
           (turn->value.inside && instance->machine.wanted &&
            instance->machine.state != SUPERVISE_READY &&
            instance->machine.state != SUPERVISE_COMPLETED);
}

static void close_turn(struct node *node, struct turn *turn)
{
    for (uint8_t i = 0; i < turn->value.count; i++)
        if (is_open(node, turn, turn->value.replicas[i]))
            return;
    turn->value.number = 0;
    turn->value.inside = false;
    turn->value.count = 0;
}

static void open_turn(struct look *look)
{
    const struct desired_workload *w = look->workload;
    struct node *node = look->node;
    struct value_turn *value;

    if (look->turn == NULL)
        look->turn = add_turn(node, w->name);
    if (look->turn == NULL)
        return;
    value = &look->turn->value;
    for (uint32_t r = 0; r < w->replicas && value->count < w->max_unavailable &&
                         value->count < VALUE_TURN_REPLICAS_MAX;
         r++) {
        const struct instance *instance = find_replica(node, w->name, r);
        if (instance != NULL && instance->placed && instance->outdated)
            value->replicas[value->count++] = (uint16_t)r;
    }
    if (value->count > 0)
        value->number = (uint64_t)node->config.boot << 32 | ++node->turns->numbers;
}

/* ---- what it says of others ---- */

static void see_others(struct look *look)
{
    struct node *node = look->node;
    struct value_seen seen[VALUE_TURN_SEEN_MAX];
    uint8_t count = 0;

    for (size_t i = 0; i < node->peer_count && count < VALUE_TURN_SEEN_MAX; i++) {
        struct value_turn theirs;
        if (record_of(node, &node->peers[i], look->workload->name, &theirs) && theirs.number != 0)
            seen[count++] = (struct value_seen){node->peers[i].id, theirs.number};
    }
    if (look->turn == NULL && count > 0)
        look->turn = add_turn(node, look->workload->name);
    if (look->turn == NULL)
        return;
    memcpy(look->turn->value.seen, seen, count * sizeof *seen);
    look->turn->value.seen_count = count;
}

static void publish(struct node *node, struct turn *turn)
{
    bool empty = turn->value.number == 0 && turn->value.seen_count == 0;
    uint8_t bytes[RECORD_VALUE_MAX];
    char key[RECORD_KEY_MAX];
    size_t len;

    snprintf(key, sizeof key, "turn/%.100s", turn->workload);
    if (empty && turn->published)
        node_unpublish(node, key);
    if (!empty && value_turn_encode(&turn->value, bytes, sizeof bytes, &len) == ERR_NONE)
        node_publish(node, key, bytes, len);
    turn->published = !empty;
}

static bool runs_here(const struct node *node, const struct desired_workload *w)
{
    for (size_t i = 0; i < node->instance_count; i++)
        if (node->instances[i]->workload == w && node->instances[i]->placed)
            return true;
    return false;
}

static bool is_outdated(const struct node *node, const struct desired_workload *w)
{
    for (size_t i = 0; i < node->instance_count; i++)
        if (node->instances[i]->workload == w && node->instances[i]->outdated)
            return true;
    return false;
}

static int enter(struct look *look)
{
    struct node *node = look->node;
    int rc = node_place_owners(node, look->workload, &look->nodes, &look->owner);

    if (rc == ERR_NONE && may_enter(look)) {
        look->turn->value.inside = true;
        node->work_dirty = true;
    }
    free(look->nodes);
    free(look->owner);
    return rc;
}

static void update_workload(struct node *node, const struct desired_workload *w)
{
    struct look look = {.node = node, .workload = w, .turn = find_turn(node, w->name)};

    if (look.turn == NULL && !runs_here(node, w))
        return;
    if (look.turn != NULL && look.turn->value.number != 0)
        close_turn(node, look.turn);
    if ((look.turn == NULL || look.turn->value.number == 0) && is_outdated(node, w))
        open_turn(&look);
    see_others(&look);
    if (look.turn == NULL)
        return;
    if (look.turn->value.number != 0 && !look.turn->value.inside && enter(&look) != ERR_NONE)
        node->no_memory = true;
    publish(node, look.turn);
}

/* Of a workload that is gone, or that needs no turns any more. */
static void drop_strangers(struct node *node)
{
    for (size_t i = 0; node->turns != NULL && i < node->turns->count; i++) {
        struct turn *turn = &node->turns->list[i];
        const struct desired_workload *w = desired_workload(node->desired, turn->workload);
        if (w != NULL && node_turn_needed(w))
            continue;
        turn->value = (struct value_turn){.number = 0};
        publish(node, turn);
        *turn = node->turns->list[--node->turns->count];
        i--;
    }
}

bool node_turn_needed(const struct desired_workload *w)
{
    return !w->cron && !w->singleton && w->replicas > w->max_unavailable;
}

bool node_turn_come(const struct node *node, const struct instance *instance)
{
    const struct turn *turn = find_turn(node, instance->workload->name);
    const char *dot = strrchr(instance->name, '.');

    return turn != NULL && turn->value.inside && dot != NULL &&
           names(&turn->value, (uint32_t)strtoul(dot + 1, NULL, 10));
}

bool node_turn_awaited(const struct node *node, const struct peer *peer)
{
    for (size_t i = 0; node->desired != NULL && i < node->desired->workload_count; i++) {
        const struct desired_workload *w = &node->desired->workloads[i];
        struct value_turn theirs;
        if (node_turn_needed(w) && record_of(node, peer, w->name, &theirs) && theirs.number != 0 &&
            !theirs.inside)
            return true;
    }
    return false;
}

void node_turns_update(struct node *node)
{
    for (size_t i = 0; i < node->desired->workload_count; i++)
        if (node_turn_needed(&node->desired->workloads[i]))
            update_workload(node, &node->desired->workloads[i]);
    drop_strangers(node);
}
