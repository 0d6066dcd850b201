/* Shims that somebody else starts while this agent lives: the node is to know what runs here. */
#include "agent/io/uv_instances_inside.h"

#include <stdio.h>
#include <string.h>

#define LOOK_MS 200 /* after a folder was made: its shim starts the workload meanwhile */

static void look_later(struct uv_instances *instances);

/* Its shim is one of ours, or still is: what has ended goes on with the next run, or leaves. */
static bool is_known(const struct uv_instances *instances, const char *name)
{
    for (const struct run *run = instances->runs; run != NULL; run = run->next)
        if ((!run->over || run->waiting || run->leaving) && strcmp(run->name, name) == 0)
            return true;
    return false;
}

static void found(void *context, enum os_shim_found kind, const struct shim_record *record)
{
    struct uv_instances *instances = context;

    if (kind != OS_SHIM_FOUND_ALIVE || is_known(instances, record->instance))
        return;
    if (record->pid == 0)
        look_later(instances); /* not yet, or never: then its shim ends */
    else
        uv_instances_found(instances, kind, record);
}

void instance_extras_look(struct uv_instances *instances)
{
    unsigned damaged;

    (void)os_shim_scan(&instances->where, found, instances, &damaged, NULL);
}

static void on_extra(uv_timer_t *timer)
{
    instance_extras_look(timer->data);
}

static void look_later(struct uv_instances *instances)
{
    uv_timer_start(&instances->extra, on_extra, LOOK_MS, 0);
}

static void on_folder(uv_fs_event_t *event, const char *name, int events, int status)
{
    (void)name;
    (void)events;
    if (status == 0)
        look_later(event->data);
}

void uv_instances_extras(struct uv_instances *instances, bool on)
{
    char path[PATH_SIZE];

    if (instances == NULL)
        return;
    snprintf(path, sizeof path, "%.3800s/" OS_SHIM_FOLDER, instances->config.run_dir);
    if (on)
        (void)uv_fs_event_start(&instances->folder, on_folder, path, 0);
    else
        (void)uv_fs_event_stop(&instances->folder);
}

void instance_extras_begin(struct uv_instances *instances)
{
    uv_fs_event_init(instances->loop, &instances->folder);
    uv_timer_init(instances->loop, &instances->extra);
    instances->folder.data = instances;
    instances->extra.data = instances;
    instances->handles += 2;
    uv_instances_extras(instances, true);
}
