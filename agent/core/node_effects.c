/* The queue of effects of one step. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/node_internal.h"

void node_effects_reset(struct node *node)
{
    for (size_t i = 0; i < node->payload_count; i++)
        free(node->payloads[i]);
    node->payload_count = 0;
    node->effect_count = 0;
}

static int grow(void **items, size_t *room, size_t used, size_t size)
{
    size_t wanted = *room == 0 ? 32 : *room * 2;
    void *grown;

    if (used < *room)
        return ERR_NONE;
    grown = realloc(*items, wanted * size);
    if (grown == NULL)
        return ERR_NOMEM;
    *items = grown;
    *room = wanted;
    return ERR_NONE;
}

struct effect *node_effect(struct node *node, enum effect_type type)
{
    struct effect *effect;
    void *items = node->effects;

    if (grow(&items, &node->effect_room, node->effect_count, sizeof *effect) != 0) {
        node->no_memory = true;
        return &node->lost;
    }
    node->effects = items;
    effect = &node->effects[node->effect_count++];
    memset(effect, 0, sizeof *effect);
    effect->type = type;
    return effect;
}

void node_keep(struct node *node, void *memory)
{
    void *items = node->payloads;

    if (memory == NULL)
        return;
    if (grow(&items, &node->payload_room, node->payload_count, sizeof *node->payloads) != 0) {
        free(memory);
        node->no_memory = true;
        return;
    }
    node->payloads = items;
    node->payloads[node->payload_count++] = memory;
}

/* The records of a delta borrow the table, which later calls of the same step may move. */
static int keep_delta(struct node *node, struct msg_delta *delta)
{
    size_t size = 1;
    uint8_t *copy;

    for (uint8_t i = 0; i < delta->count; i++)
        size += (size_t)delta->records[i].key_len + delta->records[i].value_len;
    copy = malloc(size);
    if (copy == NULL)
        return ERR_NOMEM;
    node_keep(node, copy);
    if (node->no_memory)
        return ERR_NOMEM;
    for (uint8_t i = 0; i < delta->count; i++) {
        struct msg_record *record = &delta->records[i];
        if (record->key_len > 0)
            memcpy(copy, record->key, record->key_len);
        record->key = (const char *)copy;
        copy += record->key_len;
        if (record->value_len > 0)
            memcpy(copy, record->value, record->value_len);
        record->value = copy;
        copy += record->value_len;
    }
    return ERR_NONE;
}

void node_send(struct node *node, const struct effect_send *send)
{
    struct effect_send *copy = malloc(sizeof *copy);

    if (copy == NULL)
        goto err_memory;
    *copy = *send;
    if (copy->msg.type == MSG_DELTA && keep_delta(node, &copy->msg.delta) != ERR_NONE)
        goto err_after_copy;
    node_keep(node, copy);
    if (!node->no_memory)
        node_effect(node, EFFECT_SEND)->send = copy;
    return;

err_after_copy:
    free(copy);
err_memory:
    node->no_memory = true;
}

void node_event(struct node *node, enum effect_severity severity, const char *subject,
                const char *format, ...)
{
    size_t subject_size = strlen(subject) + 1;
    struct effect_event *event = malloc(sizeof *event + subject_size);
    char *copy;
    va_list args;

    if (event == NULL) {
        node->no_memory = true;
        return;
    }
    copy = (char *)(event + 1);
    memcpy(copy, subject, subject_size);
    event->severity = severity;
    event->subject = copy;
    va_start(args, format);
    vsnprintf(event->text, sizeof event->text, format, args);
    va_end(args);
    node_keep(node, event);
    if (!node->no_memory)
        node_effect(node, EFFECT_EVENT)->event = event;
}

/* ---- effects that are left out ---- */

bool node_rests_on_leases(const struct effect *effect)
{
    switch (effect->type) {
    case EFFECT_SEND:
        return effect->send->msg.type == MSG_LEASE_REQUEST ||
               effect->send->msg.type == MSG_LEASE_REPLY ||
               effect->send->msg.type == MSG_LEASE_RELEASE ||
               effect->send->msg.type == MSG_LEASE_TRANSFER;
    case EFFECT_START:
        return !mono_is_never(effect->start.lease_until);
    case EFFECT_GATEWAY:
    case EFFECT_GATEWAY_WRITE:
    case EFFECT_GATEWAY_READ:
    case EFFECT_FENCE_OPEN:
    case EFFECT_EXTEND:
        return true;
    default:
        return false;
    }
}

bool node_refuse(const struct effect *effect, struct node_event *event)
{
    static const char reason[] = "the lease could not be recorded";

    if (effect->type == EFFECT_FENCE_OPEN) {
        *event = (struct node_event){.type = NODE_FENCE};
        event->fence.lease = effect->fence.lease;
        event->fence.number = effect->fence.number;
        event->fence.failed = true;
        event->fence.reason = reason;
        return true;
    }
    if (effect->type == EFFECT_START) {
        *event = (struct node_event){.type = NODE_EXITED};
        event->instance.instance = effect->start.instance;
        event->instance.exit.kind = SUPERVISE_EXIT_FAILED;
        event->instance.reason = reason;
        return true;
    }
    return false;
}
