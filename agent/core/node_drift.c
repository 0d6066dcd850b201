/* Drift: what somebody else has changed on this node. What is to be corrected is corrected where it
 * is found; here is what people are told, and of what is left as it is: a record "drift/SUBJECT"
 * that stands as long as it is so. */
#include <stdio.h>
#include <string.h>

#include "agent/core/node_internal.h"
#include "proto/record/value_codec.h"

#define SUBJECT_MAX (INSTANCE_MAX + 8)

static const char *const texts[] = {
    [DRIFT_KILLED] = "was killed by somebody",
    [DRIFT_FILES] = "has files that somebody edited",
    [DRIFT_EXTRA] = "was started by somebody, and is not in the repository",
    [DRIFT_MISSING] = "was removed from the interface by somebody",
};

enum desired_drift node_drift_mode(const struct node *node, const char *app)
{
    if (node->desired == NULL || node_suspended(node, app) != NULL)
        return DESIRED_DRIFT_CORRECT;
    return desired_drift(node->desired, app);
}

/* The workload of which @instance is, or looks like, a replica; NULL: there is none. */
static const struct desired_workload *workload_of(const struct node *node,
                                                  const struct instance *instance)
{
    char name[INSTANCE_MAX];
    char *dot;

    if (instance->workload != NULL)
        return instance->workload;
    snprintf(name, sizeof name, "%s", instance->name);
    dot = strrchr(name, '.');
    if (dot != NULL)
        *dot = '\0';
    return node->desired != NULL ? desired_workload(node->desired, name) : NULL;
}

static const char *app_of(const struct node *node, const struct instance *instance)
{
    const struct desired_workload *w = workload_of(node, instance);

    return w != NULL ? w->app : "";
}

bool node_drift_leaves_extra(const struct node *node, const struct instance *instance)
{
    return instance->extra && !instance->doomed && supervise_alive(&instance->machine) &&
           node_drift_mode(node, app_of(node, instance)) != DESIRED_DRIFT_CORRECT;
}

static const char *vip_app(const struct node *node, const struct held_vip *vip)
{
    for (size_t i = 0; node->desired != NULL && i < node->desired->vip_count; i++)
        if (strcmp(node->desired->vips[i].name, vip->name) == 0)
            return node->desired->vips[i].app;
    return "";
}

bool node_drift_leaves_vip(const struct node *node, const struct held_vip *vip)
{
    return node_drift_mode(node, vip_app(node, vip)) != DESIRED_DRIFT_CORRECT;
}

/* ---- what the executors tell ---- */

static void files_told(struct node *node, const struct node_event_drift *event)
{
    struct instance *instance = node_find_process(node, event->instance);
    char subject[SUBJECT_MAX];

    if (instance == NULL || instance->workload == NULL)
        return;
    instance->differ = event->differs && event->left;
    if (!event->differs || event->left)
        return;
    snprintf(subject, sizeof subject, "app/%s", event->instance);
    node_event(node, EFFECT_WARNING, subject,
               "the files of %s were edited; they are as the repository says again",
               event->instance);
}

static void address_told(struct node *node, const struct node_event_drift *event)
{
    for (size_t i = 0; i < node->vip_count; i++) {
        struct held_vip *vip = &node->vips[i];
        char subject[RECORD_KEY_MAX];
        if (!addr_equal(&vip->address, &event->address))
            continue;
        vip->missing = event->differs && event->left;
        node_vip_key(vip, subject);
        if (event->differs && !event->left)
            node_event(node, EFFECT_WARNING, subject, "%s %s; it is back", subject + strlen("vip/"),
                       texts[DRIFT_MISSING]);
    }
}

void node_drift_told(struct node *node, const struct node_event_drift *event)
{
    if (event->instance != NULL)
        files_told(node, event);
    else
        address_told(node, event);
}

/* ---- what people are shown ---- */

static void show(struct node *node, const char *subject, const char *app, uint8_t kind,
                 uint8_t *shown)
{
    const char *name = strchr(subject, '/') + 1;
    struct value_drift value = {.since = node->wall > 0 ? node->wall : 0};
    uint8_t bytes[RECORD_VALUE_MAX];
    char key[RECORD_KEY_MAX];
    size_t len;

    if (*shown == kind)
        return;
    *shown = kind;
    snprintf(key, sizeof key, "drift/%.137s", subject);
    if (kind == DRIFT_NONE) {
        node_event(node, EFFECT_INFO, subject, "%s has no drift any more", name);
        node_unpublish(node, key);
        return;
    }
    node_event(node, EFFECT_WARNING, subject, "%s %s; left as it is (drift: warn)", name,
               texts[kind]);
    snprintf(value.app, sizeof value.app, "%s", app);
    snprintf(value.what, sizeof value.what, "%s", texts[kind]);
    if (value_drift_encode(&value, bytes, sizeof bytes, &len) == ERR_NONE)
        node_publish(node, key, bytes, len);
}

static uint8_t drift_of(const struct node *node, const struct instance *instance)
{
    if (instance->elder != NULL ||
        node_drift_mode(node, app_of(node, instance)) != DESIRED_DRIFT_WARN)
        return DRIFT_NONE;
    if (instance->placed && supervise_left(&instance->machine))
        return DRIFT_KILLED;
    if (!instance->placed && node_drift_leaves_extra(node, instance))
        return DRIFT_EXTRA;
    return instance->placed && instance->differ && supervise_alive(&instance->machine) ? DRIFT_FILES
                                                                                       : DRIFT_NONE;
}

void node_drift_forget(struct node *node, struct instance *instance)
{
    char subject[SUBJECT_MAX];

    snprintf(subject, sizeof subject, "app/%s", instance->name);
    show(node, subject, "", DRIFT_NONE, &instance->drift);
}

void node_drift_update(struct node *node)
{
    char subject[RECORD_KEY_MAX];

    for (size_t i = 0; node->desired != NULL && i < node->instance_count; i++) {
        struct instance *instance = node->instances[i];
        snprintf(subject, sizeof subject, "app/%s", instance->name);
        show(node, subject, app_of(node, instance), drift_of(node, instance), &instance->drift);
    }
    for (size_t i = 0; node->desired != NULL && i < node->vip_count; i++) {
        struct held_vip *vip = &node->vips[i];
        const char *app = vip_app(node, vip);
        vip->missing = vip->missing && vip->value.holding;
        node_vip_key(vip, subject);
        show(node, subject, app,
             vip->missing && node_drift_mode(node, app) == DESIRED_DRIFT_WARN ? DRIFT_MISSING
                                                                              : DRIFT_NONE,
             &vip->drift);
    }
}
