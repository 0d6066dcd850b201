/* Members: who is here, and who answers. */
#include <stdio.h>
#include <string.h>

#include "agent/core/node_internal.h"

static void report_state(struct node *node, const struct peer *peer, uint8_t old_state)
{
    char subject[NODE_NAME_MAX + 8];

    snprintf(subject, sizeof subject, "node/%s", node_name(node, peer->id));
    if (peer->state == MEMBER_DEAD)
        node_event(node, EFFECT_WARNING, subject, "%s is dead: it answers nobody",
                   node_name(node, peer->id));
    else if (peer->state == MEMBER_LEFT)
        node_event(node, EFFECT_INFO, subject, "%s has left", node_name(node, peer->id));
    else if (peer->state == MEMBER_ALIVE && old_state != MEMBER_SUSPECT)
        node_event(node, EFFECT_INFO, subject, "%s is alive", node_name(node, peer->id));
}

static void apply_member(struct node *node, const struct membership_change *change)
{
    struct records_event event = {.from = change->id};
    struct peer *peer;
    bool was;
    bool is;

    if (change->new_state == 0)
        return;
    peer = node_add_peer(node, change->id);
    if (peer == NULL)
        return;
    was = node_peer_present(peer);
    if (peer->state != change->new_state) {
        uint8_t old_state = peer->state;
        peer->state = change->new_state;
        is = node_peer_present(peer);
        if (was != is || peer->state == MEMBER_LEFT)
            peer->since = node->now;
        report_state(node, peer, old_state);
        if (peer->state == MEMBER_ALIVE && old_state != 0)
            node_lease_announce(node);
        node->place_dirty = true;
        node->work_dirty = true;
    }
    is = node_peer_present(peer);
    if (is == was && change->old_state != 0)
        return;
    event.type = is ? RECORDS_PEER_UP : RECORDS_PEER_DOWN;
    node_records_step(node, &event);
}

void node_members_step(struct node *node, const struct membership_event *event)
{
    struct membership_out *out = &node->members_out;
    struct membership_change changes[MEMBERSHIP_CHANGES_MAX];
    size_t count;

    membership_step(node->members, node->now, event, out);
    for (size_t i = 0; i < out->send_count; i++)
        node_send(node, &(struct effect_send){.to = out->sends[i].to,
                                              .addr = out->sends[i].addr,
                                              .stream = out->sends[i].stream,
                                              .msg = out->sends[i].msg});
    if (out->conflict != 0)
        node_effect(node, EFFECT_RAISE_BOOT)->boot = (uint32_t)(out->conflict >> 32) + 1;
    count = out->change_count;
    memcpy(changes, out->changes, count * sizeof changes[0]);
    for (size_t i = 0; i < count; i++)
        apply_member(node, &changes[i]);
}

/* What is relayed counts only if its author signed it. */
static void keep_verified(struct node *node, struct msg_probe *probe)
{
    const struct node_crypto *crypto = &node->config.crypto;
    uint8_t kept = 0;

    for (uint8_t i = 0; i < probe->update_count; i++)
        if (crypto->verify_update == NULL ||
            crypto->verify_update(crypto->context, &probe->updates[i]))
            probe->updates[kept++] = probe->updates[i];
    probe->update_count = kept;
}

static void probe_message(struct node *node, const struct node_event_message *event)
{
    struct membership_event step = {.type = MEMBERSHIP_MESSAGE,
                                    .from = event->from,
                                    .addr = event->addr,
                                    .stream = event->stream};
    struct records_event root = {
        .type = RECORDS_ROOT, .from = event->from, .root = event->msg->probe.root};
    struct msg checked = *event->msg;

    keep_verified(node, &checked.probe);
    step.msg = &checked;
    node_members_step(node, &step);
    if (checked.type == MSG_PING || checked.type == MSG_ACK)
        node_records_step(node, &root);
}

void node_peers_message(struct node *node, const struct node_event_message *event)
{
    struct membership_event heard = {.type = MEMBERSHIP_HEARD,
                                     .from = event->from,
                                     .addr = event->addr,
                                     .stream = event->stream};
    struct records_event records = {
        .type = RECORDS_MESSAGE, .from = event->from, .msg = event->msg};

    switch (event->msg->type) {
    case MSG_PING:
    case MSG_ACK:
    case MSG_PING_REQ:
    case MSG_NACK:
    case MSG_GOSSIP:
        probe_message(node, event);
        break;
    case MSG_DIGEST:
    case MSG_DELTA:
        node_members_step(node, &heard);
        node_records_step(node, &records);
        break;
    default:
        node_members_step(node, &heard);
        break;
    }
}

void node_peers_heard(struct node *node, const struct node_event_message *event)
{
    struct membership_event heard = {.type = MEMBERSHIP_HEARD,
                                     .from = event->from,
                                     .addr = event->addr,
                                     .stream = event->stream};

    node_members_step(node, &heard);
}

void node_peers_leave(struct node *node)
{
    struct membership_event event = {.type = MEMBERSHIP_LEAVE};

    node_members_step(node, &event);
}

void node_peers_tick(struct node *node)
{
    struct membership_event members = {.type = MEMBERSHIP_TIMER};
    struct records_event records = {.type = RECORDS_TIMER};

    if (mono_reached(node->now, membership_deadline(node->members)))
        node_members_step(node, &members);
    if (mono_reached(node->now, records_deadline(node->records)))
        node_records_step(node, &records);
    node_paths_tick(node);
    if (mono_reached(node->now, node->place_at)) {
        node->place_at = MONO_NEVER;
        node->place_dirty = true;
        node->work_dirty = true;
    }
}

/* After a step: the probes carry the hash of what the records have become. */
void node_peers_settle(struct node *node)
{
    struct membership_event event = {.type = MEMBERSHIP_ROOT, .root = records_root(node->records)};

    if (event.root == node->root)
        return;
    node->root = event.root;
    node_members_step(node, &event);
}

bool node_streams(const struct node *node, node_id peer)
{
    struct member_view view;

    return membership_find(node->members, peer, &view) == ERR_NONE && view.stream;
}
