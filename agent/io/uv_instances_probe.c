/* Probes of instances. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/core/node.h"
#include "agent/io/instance_enter.h"
#include "agent/io/uv_instances_inside.h"
#include "agent/io/uv_probe.h"

static void post_probe(const struct probe_ticket *ticket, bool success, const char *reason)
{
    struct node_event event = {.type = NODE_PROBE};

    struct run *run = uv_instances_run(ticket->instances, ticket->name);

    if (run != NULL)
        run->probe_ms[ticket->which] =
            (int64_t)(uv_now(ticket->instances->loop) - ticket->began_ms);
    event.probe.instance = ticket->name;
    event.probe.which = ticket->which;
    event.probe.ticket = ticket->ticket;
    event.probe.success = success;
    event.probe.reason = reason;
    if (ticket->instances->closed == NULL)
        ticket->instances->post.event(ticket->instances->post.context, &event);
}

static void probe_done(void *context, bool success, const char *reason)
{
    struct probe_ticket *ticket = context;

    for (struct probe_ticket **at = &ticket->instances->probes; *at != NULL; at = &(*at)->next)
        if (*at == ticket) {
            *at = ticket->next;
            break;
        }
    post_probe(ticket, success, reason);
    free(ticket);
}

/* Who owns the instance's folder is its user (instance_spec.c), also after a restart of the agent.
 */
static bool find_owner(const struct uv_instances *instances, const char *process, struct stat *info)
{
    char path[PATH_SIZE], name[INSTANCE_MAX];
    int n;

    effect_base(process, name);
    n = snprintf(path, sizeof path, "%s/instances/%s", instances->config.state_dir, name);
    return n > 0 && (size_t)n < sizeof path && lstat(path, info) == 0;
}

/* An exec probe sees what its workload sees, and counts and ends with it. */
static int start_exec(struct uv_instances *instances, struct probe_ticket *ticket,
                      struct uv_probe_spec *spec)
{
    const struct run *run = uv_instances_run(instances, ticket->name);
    struct os_cgroup_place place;
    struct instance_enter enter = {0};
    struct err err = {0};
    struct stat info;
    int rc;

    if (run == NULL || run->pid == 0 || !find_owner(instances, ticket->name, &info)) {
        post_probe(ticket, false, "the instance is gone");
        return ERR_NOTFOUND;
    }
    os_cgroup_places(instances->keeper.cgroup, run->name, &place);
    rc = instance_enter(run->pid, info.st_uid, info.st_gid, place.cgroups, spec->probe->command,
                        &enter, &err);
    if (rc == ERR_NONE) {
        spec->argv = enter.argv;
        spec->env = enter.env;
        rc = uv_probe_start(instances->loop, spec, &ticket->probe);
    } else {
        post_probe(ticket, false, err.text);
    }
    instance_enter_free(&enter);
    return rc;
}

void uv_instances_probe(struct uv_instances *instances, const struct effect_probe *effect)
{
    char path[PATH_SIZE];
    const char *env[] = {path, NULL};
    struct uv_probe_spec spec = {.probe = effect->probe,
                                 .target = effect->target,
                                 .timeout_ms = effect->timeout_ms,
                                 .env = env,
                                 .done = probe_done};
    struct probe_ticket *ticket = calloc(1, sizeof *ticket);
    int rc;

    if (ticket == NULL)
        return; /* counts as failed when its time is over (core/health.h) */
    snprintf(path, sizeof path, "PATH=%s", instances->config.path);
    ticket->instances = instances;
    ticket->which = effect->which;
    ticket->ticket = effect->ticket;
    ticket->began_ms = uv_now(instances->loop);
    snprintf(ticket->name, sizeof ticket->name, "%s", effect->instance);
    spec.context = ticket;
    if (effect->probe->kind == DESIRED_PROBE_EXEC && instances->keeper.root)
        rc = start_exec(instances, ticket, &spec);
    else
        rc = uv_probe_start(instances->loop, &spec, &ticket->probe);
    if (rc != ERR_NONE) {
        free(ticket);
        return;
    }
    ticket->next = instances->probes;
    instances->probes = ticket;
}
