/* The list of peers, and what everybody says about itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/node_internal.h"
#include "proto/record/value_codec.h"

#define HOLD_DOWN_S 5 /* before the first desired state says otherwise */

/* ---- the list of peers ---- */

static size_t peer_position(const struct node *node, node_id id)
{
    size_t low = 0;
    size_t high = node->peer_count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (node->peers[middle].id.v < id.v)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct peer *node_find_peer(const struct node *node, node_id id)
{
    size_t at = peer_position(node, id);

    return at < node->peer_count && node_id_equal(node->peers[at].id, id) ? &node->peers[at] : NULL;
}

const char *node_name(const struct node *node, node_id id)
{
    const struct peer *peer = node_find_peer(node, id);

    return peer != NULL && peer->head.name[0] != '\0' ? peer->head.name : "an unknown node";
}

struct peer *node_add_peer(struct node *node, node_id id)
{
    size_t at = peer_position(node, id);
    struct peer *peers;

    if (at < node->peer_count && node_id_equal(node->peers[at].id, id))
        return &node->peers[at];
    peers = realloc(node->peers, (node->peer_count + 1) * sizeof *peers);
    if (peers == NULL) {
        node->no_memory = true;
        return NULL;
    }
    node->peers = peers;
    memmove(&peers[at + 1], &peers[at], (node->peer_count - at) * sizeof *peers);
    node->peer_count++;
    memset(&peers[at], 0, sizeof peers[at]);
    peers[at].id = id;
    peers[at].state = MEMBER_UNKNOWN;
    peers[at].since = node->now;
    node->place_dirty = true;
    return &peers[at];
}

bool node_peer_present(const struct peer *peer)
{
    return peer->state == MEMBER_ALIVE || peer->state == MEMBER_SUSPECT;
}

static void wake_placement(struct node *node, mono_t at)
{
    node->place_at = mono_min(node->place_at, at);
}

bool node_peer_usable(struct node *node, struct peer *peer)
{
    uint32_t hold_down_s = node->desired != NULL ? node->desired->hold_down_s : HOLD_DOWN_S;
    mono_t at;

    if (peer->facts.draining || peer->quarantined)
        return false;
    if (peer->self)
        return true;
    if (node_peer_present(peer)) {
        at = mono_add(peer->since, NODE_SETTLED_MS);
        if (peer->was_gone && !mono_reached(node->now, at)) {
            wake_placement(node, at);
            return false;
        }
        peer->was_gone = false;
        return true;
    }
    at = mono_add(peer->since, (int64_t)hold_down_s * 1000);
    /* Who has left gets the same time: an agent that is restarted in order keeps its workloads. */
    if (mono_reached(node->now, at)) {
        peer->was_gone = true;
        return false;
    }
    wake_placement(node, at);
    return true;
}

void node_peers_labels(struct node *node)
{
    for (size_t i = 0; i < node->peer_count; i++) {
        struct peer *peer = &node->peers[i];
        const struct desired_node *known =
            node->desired != NULL ? desired_node(node->desired, peer->head.name) : NULL;
        peer->labels = known != NULL ? &known->labels : NULL;
    }
}

/* ---- what records say ---- */

/* The list of peers may move within this step: the effect has its own copy. */
static void keep_peer(struct node *node, node_id id, const struct value_head *head)
{
    struct value_head *copy = malloc(sizeof *copy);

    if (copy == NULL) {
        node->no_memory = true;
        return;
    }
    *copy = *head;
    node_keep(node, copy);
    if (!node->no_memory)
        node_effect(node, EFFECT_KEEP_PEER)->peer = (struct effect_peer){.id = id, .head = copy};
}

static bool same_head(const struct value_head *a, const struct value_head *b)
{
    return memcmp(a->public_key, b->public_key, sizeof a->public_key) == 0 &&
           strcmp(a->name, b->name) == 0 && a->role == b->role && a->serial == b->serial &&
           memcmp(a->admission, b->admission, sizeof a->admission) == 0 &&
           addr_equal(&a->addr, &b->addr) && strcmp(a->version, b->version) == 0;
}

static void take_head(struct node *node, struct peer *peer, const struct value_head *head)
{
    struct membership_event admit = {
        .type = MEMBERSHIP_ADMIT, .from = peer->id, .addr = head->addr};
    bool same = same_head(&peer->head, head);

    peer->head = *head;
    if (peer->self || same)
        return;
    node_peers_labels(node);
    node->place_dirty = true;
    node->work_dirty = true;
    node_members_step(node, &admit);
    keep_peer(node, admit.from, head);
}

static void take_record(struct node *node, const struct record_view *record)
{
    struct peer *peer = node_add_peer(node, record->author);
    struct value_head head;
    struct value_node machine;
    struct value_commit commit;
    struct value_keys keys;

    if (peer == NULL)
        return;
    if (record->key_len == 0) {
        if (value_head_decode(record->value, record->value_len, &head) == ERR_NONE)
            take_head(node, peer, &head);
    } else if (strcmp(record->key, "node") == 0) {
        if (value_node_decode(record->value, record->value_len, &machine) != ERR_NONE)
            return;
        node->place_dirty = node->place_dirty || machine.facts.draining != peer->facts.draining;
        peer->facts = machine.facts;
    } else if (strcmp(record->key, "keys") == 0) {
        if (value_keys_decode(record->value, record->value_len, &keys) == ERR_NONE)
            peer->keys = keys;
    } else if (strcmp(record->key, "commit") == 0) {
        if (value_commit_decode(record->value, record->value_len, &commit) != ERR_NONE)
            return;
        peer->commit = commit;
        node_commit_seen(node, peer);
    } else if (strncmp(record->key, "vip/", strlen("vip/")) == 0) {
        node_owner_seen(node, peer, record);
    } else if (strncmp(record->key, "suspend/", strlen("suspend/")) == 0) {
        node_suspend_seen(node, record);
    } else if (strncmp(record->key, "pool/", strlen("pool/")) == 0) {
        node_pool_seen(node, record);
    } else if (strcmp(record->key, "voters") == 0 || strcmp(record->key, "adopted") == 0) {
        node_voters_seen(node);
    } else if (strcmp(record->key, "register") == 0) {
        node_register_seen(node);
    } else if (strncmp(record->key, "instance/", strlen("instance/")) == 0 ||
               strncmp(record->key, "turn/", strlen("turn/")) == 0 ||
               strncmp(record->key, "cron/", strlen("cron/")) == 0) {
        node->work_dirty = true;
    }
}

struct change { /* a copy: the table moves when it is called again */
    uint8_t type;
    node_id author;
    node_id peer;
    uint64_t version;
    char key[RECORD_KEY_MAX];
};

struct key_list {
    struct node *node;
    node_id author;
    char (*keys)[RECORD_KEY_MAX];
    size_t count;
};

static bool list_key(void *context, const struct record_view *view)
{
    struct key_list *list = context;

    if (list->count < RECORDS_PER_AUTHOR_MAX)
        snprintf(list->keys[list->count++], RECORD_KEY_MAX, "%s", view->key);
    return true;
}

/* The author began a new life: read all that it says now. */
static void reread(struct node *node, node_id author)
{
    struct key_list list = {.node = node, .author = author};
    struct record_view view;

    list.keys = malloc(RECORDS_PER_AUTHOR_MAX * sizeof *list.keys);
    if (list.keys == NULL) {
        node->no_memory = true;
        return;
    }
    records_each(node->records, author, "", list_key, &list);
    for (size_t i = 0; i < list.count; i++)
        if (records_get(node->records, author, list.keys[i], &view) == ERR_NONE)
            take_record(node, &view);
    free(list.keys);
    node->work_dirty = true;
}

static void forget_peer(struct node *node, node_id id)
{
    struct peer *peer = node_find_peer(node, id);

    if (peer == NULL || peer->self)
        return;
    memmove(peer, peer + 1, (size_t)(&node->peers[node->peer_count] - (peer + 1)) * sizeof *peer);
    node->peer_count--;
    node->place_dirty = true;
    node->work_dirty = true;
}

static void apply_change(struct node *node, const struct change *change)
{
    struct record_view view;
    uint32_t boot = (uint32_t)(change->version >> 32);

    switch (change->type) {
    case RECORDS_SET:
        if (records_get(node->records, change->author, change->key, &view) == ERR_NONE)
            take_record(node, &view);
        break;
    case RECORDS_ADMITTED:
        node_add_peer(node, change->author);
        break;
    case RECORDS_RESET:
        reread(node, change->author);
        break;
    case RECORDS_DELETED:
        node->work_dirty = true;
        break;
    case RECORDS_REFUSED:
        node_event(node, EFFECT_WARNING, "records",
                   "a record of %s (%.64s) was refused: the table is full. Run fewer instances on "
                   "that node",
                   node_name(node, change->author), change->key);
        break;
    case RECORDS_FORGED:
        node_event(node, EFFECT_WARNING, "records",
                   "%s sent a record of %s (%.64s) whose signature is wrong; dropped",
                   node_name(node, change->peer), node_name(node, change->author), change->key);
        break;
    case RECORDS_FUTURE:
        node_effect(node, EFFECT_RAISE_BOOT)->boot = boot + 1;
        node_event(node, EFFECT_WARNING, "node",
                   "%s knows records of this node from a later life (start %u): the store was set "
                   "back, or a copy of this card runs elsewhere",
                   node_name(node, change->peer), (unsigned)boot);
        break;
    default:
        break;
    }
}

void node_records_step(struct node *node, const struct records_event *event)
{
    struct records_out *out = &node->records_out;
    struct change changes[RECORDS_CHANGES_MAX];
    size_t count;

    records_step(node->records, node->now, event, out);
    for (size_t i = 0; i < out->send_count; i++)
        node_send(node, &(struct effect_send){.to = out->sends[i].to,
                                              .stream = node_streams(node, out->sends[i].to),
                                              .msg = out->sends[i].msg});
    count = out->change_count;
    for (size_t i = 0; i < count; i++) {
        const struct records_change *from = &out->changes[i];
        changes[i] = (struct change){.type = from->type,
                                     .author = from->author,
                                     .peer = from->peer,
                                     .version = from->version};
        if (from->key != NULL)
            memcpy(changes[i].key, from->key, from->key_len);
    }
    for (size_t i = 0; i < count; i++)
        apply_change(node, &changes[i]);
}

void node_publish(struct node *node, const char *key, const uint8_t *value, size_t len)
{
    int rc = records_set(node->records, key, value, len);

    if (rc == ERR_NOMEM)
        node->no_memory = true;
    else if (rc != ERR_NONE)
        node_event(node, EFFECT_ERROR, "records", "the record %.100s cannot be published: %s", key,
                   err_text(rc));
}

void node_unpublish(struct node *node, const char *key)
{
    if (records_delete(node->records, key) == ERR_NOMEM)
        node->no_memory = true;
}

void node_publish_facts(struct node *node)
{
    struct peer *self = node_find_peer(node, node->config.self);
    uint8_t bytes[RECORD_VALUE_MAX];
    size_t len;

    self->facts = node->config.facts;
    if (value_node_encode(&(struct value_node){.facts = self->facts}, bytes, sizeof bytes, &len) ==
        ERR_NONE)
        node_publish(node, "node", bytes, len);
}

static void publish_head(struct node *node)
{
    struct peer *self = node_find_peer(node, node->config.self);
    uint8_t bytes[RECORD_VALUE_MAX];
    size_t len;

    self->head = node->config.head;
    if (value_head_encode(&self->head, bytes, sizeof bytes, &len) == ERR_NONE)
        node_publish(node, "", bytes, len);
}

/* ---- membership ---- */

void node_peers_admit(struct node *node, const struct node_event_peer *event)
{
    struct records_event admit = {.type = RECORDS_ADMIT, .from = event->id};
    struct peer *peer;

    if (node_id_equal(event->id, node->config.self))
        return;
    if (node->peer_count >= NODE_PEERS_MAX) {
        node_event(node, EFFECT_ERROR, "node",
                   "%s is not taken in: this node knows %d members already, its limit",
                   event->head.name, NODE_PEERS_MAX);
        return;
    }
    node_records_step(node, &admit);
    peer = node_add_peer(node, event->id);
    if (peer != NULL && event->head.serial >= peer->head.serial)
        take_head(node, peer, &event->head);
    node_voters_seen(node);
}

void node_peers_revoke(struct node *node, node_id id)
{
    struct records_event records = {.type = RECORDS_REVOKE, .from = id};
    struct membership_event members = {.type = MEMBERSHIP_REVOKE, .from = id};

    node_members_step(node, &members);
    node_records_step(node, &records);
    forget_peer(node, id);
    node_voters_seen(node);
}

void node_peers_address(struct node *node, const struct addr *addr)
{
    struct membership_event event = {.type = MEMBERSHIP_ADDRESS, .addr = *addr};

    node->config.head.addr = *addr;
    node_members_step(node, &event);
    publish_head(node);
    node->work_dirty = true;
}

int node_peers_create(struct node *node, struct err *err)
{
    const struct node_config *config = &node->config;
    struct membership_config members = {.self = config->self,
                                        .addr = config->head.addr,
                                        .incarnation = (uint64_t)config->boot << 32,
                                        .seed = rng_next(&node->rng),
                                        .member_max = NODE_PEERS_MAX,
                                        .streams = config->streams,
                                        .sign = config->crypto.sign_update,
                                        .sign_ctx = config->crypto.context};
    struct records_config records = {.self = config->self,
                                     .boot = config->boot,
                                     .seed = rng_next(&node->rng),
                                     .author_max = NODE_PEERS_MAX,
                                     .sign = config->crypto.sign_record,
                                     .verify = config->crypto.verify_record,
                                     .ctx = config->crypto.context};
    int rc = membership_create(&members, config->now, &node->members);
    struct peer *self;

    if (rc == ERR_NONE)
        rc = records_create(&records, config->now, &node->records);
    self = rc == ERR_NONE ? node_add_peer(node, config->self) : NULL;
    if (self == NULL)
        return err_set(err, rc != ERR_NONE ? rc : ERR_NOMEM, "start membership: %s",
                       err_text(rc != ERR_NONE ? rc : ERR_NOMEM));
    self->self = true;
    self->state = MEMBER_ALIVE;
    node_paths_begin(node);
    publish_head(node);
    node_publish_facts(node);
    node_commit_publish(node);
    return ERR_NONE;
}

void node_peers_free(struct node *node)
{
    membership_destroy(node->members);
    records_destroy(node->records);
    free(node->peers);
}
