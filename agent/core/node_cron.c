/* Cron: the ticks of an instance that runs by the clock. */
#include <stdio.h>
#include <string.h>

#include "agent/core/node_internal.h"

static int find_zone(const struct node *node, const char *name, struct cron_zone *zone,
                     struct err *err)
{
    const struct node_zones *zones = &node->config.zones;

    *zone = (struct cron_zone){0};
    if (name == NULL || strcmp(name, "UTC") == 0 || strcmp(name, "Etc/UTC") == 0)
        return ERR_NONE;
    if (zones->find == NULL)
        return err_set(err, ERR_NOTFOUND, "no time zones are known here");
    return zones->find(zones->context, name, zone, err);
}

static void prepare(struct node *node, struct instance *instance)
{
    const struct desired_schedule *schedule = &instance->workload->schedule;
    static const enum cron_concurrency concurrency[] = {
        [DESIRED_FORBID] = CRON_FORBID,
        [DESIRED_ALLOW] = CRON_ALLOW,
        [DESIRED_REPLACE] = CRON_REPLACE,
    };
    uint64_t text =
        hash64_mix(hash64_string(schedule->expression),
                   schedule->time_zone != NULL ? hash64_string(schedule->time_zone) : 0);
    struct err err;

    if (!instance->cron_valid || instance->cron_generation != text) {
        instance->cron_valid =
            cron_parse(schedule->expression, &instance->cron.schedule, &err) == ERR_NONE &&
            find_zone(node, schedule->time_zone, &instance->cron.zone, &err) == ERR_NONE;
        instance->cron_generation = text;
        instance->cron.handled_s = node->wall;
        if (!instance->cron_valid)
            snprintf(instance->reason, sizeof instance->reason, "%.150s", err.text);
    }
    instance->cron.concurrency = concurrency[schedule->concurrency];
    instance->cron.starting_deadline_s = schedule->starting_deadline_s;
    instance->cron.suspended = schedule->suspend;
}

void node_cron_update(struct node *node, struct instance *instance)
{
    struct cron_out due;
    uint64_t generation;

    prepare(node, instance);
    if (!instance->cron_valid)
        return;
    cron_step(&instance->cron, node->wall, supervise_alive(&instance->machine), &due);
    instance->cron_due = cron_deadline(&instance->cron);
    if (due.action != CRON_START && due.action != CRON_STOP_AND_START)
        return;
    if (node_env_render(node, instance, 0, &generation) != ERR_NONE) {
        char subject[INSTANCE_MAX + 8];
        snprintf(subject, sizeof subject, "app/%s", instance->workload->name);
        node_event(node, EFFECT_WARNING, subject, "the run of %s that was due is left out: %s",
                   instance->workload->name, instance->reason);
        return;
    }
    instance->tick = (uint64_t)due.tick_s;
    node_instance_want(node, instance, hash64_mix(generation, instance->tick));
}
