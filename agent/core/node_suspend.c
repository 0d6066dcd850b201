/* Suspended apps: taken from people, from the store and from the peers; told to all of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/node_internal.h"
#include "proto/record/value_codec.h"

#define KEY "suspend/"
#define LOOK_MS 60000 /* the wall clock may be set: ends are looked at so often at least */

static void publish(struct node *node, const struct suspension *item)
{
    uint8_t bytes[RECORD_VALUE_MAX];
    char key[RECORD_KEY_MAX];
    size_t len;

    snprintf(key, sizeof key, KEY "%s", item->app);
    if (value_suspend_encode(&item->value, bytes, sizeof bytes, &len) == ERR_NONE)
        node_publish(node, key, bytes, len);
}

static int take(struct node *node, const char *app, const struct value_suspend *value)
{
    int rc = suspend_merge(&node->suspensions, app, value);

    if (rc == ERR_NOMEM)
        node->no_memory = true;
    if (rc != ERR_NONE)
        return rc;
    publish(node, suspend_find(&node->suspensions, app));
    node->suspend_dirty = true;
    return rc;
}

void node_suspend_create(struct node *node, const struct suspension *stored, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct suspension *item;
        if (!name_valid(stored[i].app) || take(node, stored[i].app, &stored[i].value) != ERR_NONE)
            continue;
        item = suspend_find(&node->suspensions, stored[i].app);
        item->active = suspend_on(item, node->wall); /* known to people already */
    }
    node->suspend_dirty = false;
}

void node_suspend_seen(struct node *node, const struct record_view *record)
{
    const char *app = record->key + strlen(KEY);
    struct value_suspend value;

    if (name_valid(app) &&
        value_suspend_decode(record->value, record->value_len, &value) == ERR_NONE)
        (void)take(node, app, &value);
}

void node_suspend_said(struct node *node, const struct node_event_suspend *event)
{
    struct value_suspend value = {.on = event->on, .until = event->on ? event->until : 0};

    value.stamp = suspend_stamp(&node->suspensions, event->app, node->wall * 1000);
    snprintf(value.by, sizeof value.by, "%s", node->config.head.name);
    snprintf(value.commit, sizeof value.commit, "%s", event->on ? node->commit.commit : "");
    snprintf(value.reason, sizeof value.reason, "%s", event->on ? event->reason : "");
    if (take(node, event->app, &value) == ERR_FULL)
        node_event(node, EFFECT_ERROR, "commit",
                   "%.63s is not suspended: %d apps were suspended once, the limit", event->app,
                   SUSPEND_MAX);
}

static void tell(struct node *node, const struct suspension *item)
{
    char subject[INSTANCE_MAX + 8];

    snprintf(subject, sizeof subject, "app/%s", item->app);
    if (item->active)
        node_event(node, EFFECT_INFO, subject,
                   "%s is suspended by %s: %.140s. What runs goes on; commits do not reach it",
                   item->app, item->value.by, item->value.reason);
    else if (item->value.on)
        node_event(node, EFFECT_INFO, subject, "%s is suspended no more: its time is over",
                   item->app);
    else
        node_event(node, EFFECT_INFO, subject, "%s is resumed by %s", item->app, item->value.by);
}

void node_suspend_update(struct node *node)
{
    int64_t end;

    for (size_t i = 0; i < node->suspensions.count; i++) {
        struct suspension *item = &node->suspensions.items[i];
        bool on = suspend_on(item, node->wall);
        if (on == item->active)
            continue;
        item->active = on;
        node->suspend_dirty = true;
        tell(node, item);
    }
    if (node->suspend_dirty)
        node_effect(node, EFFECT_SUSPENDED)->suspensions = &node->suspensions;
    node->suspend_dirty = false;
    end = suspend_end(&node->suspensions, node->wall);
    node->suspend_at = MONO_NEVER;
    if (end != INT64_MAX)
        node->suspend_at = mono_add(
            node->now, end - node->wall < LOOK_MS / 1000 ? (end - node->wall) * 1000 : LOOK_MS);
}

mono_t node_suspend_deadline(const struct node *node)
{
    return node->suspend_at;
}

const struct suspension *node_suspended(const struct node *node, const char *app)
{
    const struct suspension *item = suspend_find(&node->suspensions, app);

    return item != NULL && item->active ? item : NULL;
}
