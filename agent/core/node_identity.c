/* Identities and keys, as far as the node's machine is concerned: who is in quarantine, which epoch
 * this node has. What is decided about them is decided in proto/keys. */
#include <stdio.h>

#include "agent/core/node_internal.h"
#include "proto/record/value_codec.h"

void node_peers_quarantine(struct node *node, const struct node_event_quarantine *event)
{
    struct peer *peer = node_find_peer(node, event->id);
    char subject[NODE_NAME_MAX + 8];

    if (peer == NULL || peer->quarantined == event->on)
        return;
    peer->quarantined = event->on;
    node->place_dirty = true;
    node->work_dirty = true;
    snprintf(subject, sizeof subject, "node/%s", node_name(node, event->id));
    if (!event->on)
        node_event(node, EFFECT_INFO, subject, "the identity of %s is used by one machine again",
                   node_name(node, event->id));
    else if (peer->self)
        node_event(node, EFFECT_ERROR, subject,
                   "another machine uses the identity of this node: its card was copied. Both get "
                   "nothing to do until one is stopped; there, remove the state directory and join "
                   "anew");
    else
        node_event(node, EFFECT_ERROR, subject,
                   "two machines use the identity of %s: its card was copied. Both are in "
                   "quarantine until one is stopped; there, remove the state directory and join "
                   "anew. If a card was stolen: agentctl node revoke %s",
                   node_name(node, event->id), node_name(node, event->id));
}

void node_peers_keys(struct node *node, const struct value_keys *keys)
{
    struct peer *self = node_find_peer(node, node->config.self);
    uint8_t bytes[RECORD_VALUE_MAX];
    size_t len;

    self->keys = *keys;
    if (value_keys_encode(keys, bytes, sizeof bytes, &len) == ERR_NONE)
        node_publish(node, "keys", bytes, len);
}
