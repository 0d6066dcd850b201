#include "agent/io/uv_instances_inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "agent/core/node.h"
#include "agent/io/instance_env.h"
#include "agent/io/os_files.h"
#include "agent/io/uv_probe.h"

#define SWEEP_MS 50

static void on_event(uv_poll_t *poll, int status, int events);

/* ---- the list ---- */

struct run *uv_instances_run(struct uv_instances *instances, const char *name)
{
    for (struct run *run = instances->runs; run != NULL; run = run->next)
        if (!run->over && strcmp(run->name, name) == 0)
            return run;
    return NULL;
}

struct run *uv_instances_waiting(struct uv_instances *instances, const char *name)
{
    for (struct run *run = instances->runs; run != NULL; run = run->next)
        if (run->waiting && strcmp(run->name, name) == 0)
            return run;
    return NULL;
}

static void free_instances(struct uv_instances *instances)
{
    uv_instances_close_sockets(instances);
    instance_groups_close(instances);
    instance_keeper_close(&instances->keeper);
    free(instances);
}

/* Once everything of it is closed. */
static void finish_close(struct uv_instances *instances)
{
    if (instances->closed == NULL || instances->runs != NULL || instances->handles > 0)
        return;
    instances->closed(instances->closed_context);
    free_instances(instances);
}

static void handle_closed(uv_handle_t *handle)
{
    struct uv_instances *instances = handle->data;

    instances->handles--;
    finish_close(instances);
}

static void run_closed(uv_handle_t *handle)
{
    struct run *run = handle->data;
    struct uv_instances *instances = run->owner;

    if (--run->handles > 0)
        return;
    for (struct run **at = &instances->runs; *at != NULL; at = &(*at)->next)
        if (*at == run) {
            *at = run->next;
            break;
        }
    os_shim_close(run->shim);
    free(run);
    finish_close(instances);
}

/* Before the end is posted: the node may start the instance anew within that call, and it shall get
 * its ports again. @run lives on until the loop has closed its handles. */
static void close_run(struct run *run)
{
    run->over = true;
    if (uv_is_closing((uv_handle_t *)&run->sweep))
        return;
    uv_close((uv_handle_t *)&run->sweep, run_closed);
    if (run->handles > 1)
        uv_close((uv_handle_t *)&run->poll, run_closed);
}

struct run *uv_instances_add(struct uv_instances *instances, const char *name)
{
    struct run *run = calloc(1, sizeof *run);

    if (run == NULL)
        return NULL;
    run->owner = instances;
    snprintf(run->name, sizeof run->name, "%s", name);
    uv_timer_init(instances->loop, &run->sweep);
    run->sweep.data = run;
    for (int i = 0; i < HEALTH_PROBES; i++)
        run->probe_ms[i] = -1;
    run->handles = 1;
    run->next = instances->runs;
    instances->runs = run;
    return run;
}

int uv_instances_watch(struct run *run, struct err *err)
{
    int rc = uv_poll_init(run->owner->loop, &run->poll, os_shim_fd(run->shim));

    if (rc != 0)
        return err_set(err, ERR_IO, "watch the shim of %s: %s", run->name, uv_strerror(rc));
    run->handles = 2;
    run->poll.data = run;
    uv_poll_start(&run->poll, UV_READABLE, on_event);
    return ERR_NONE;
}

/* ---- what the node is told ---- */

static void post_instance(struct run *run, enum node_event_type type,
                          const struct shim_record *record, struct supervise_exit exit,
                          const char *reason)
{
    struct node_event event = {.type = type};

    event.instance.instance = run->name;
    event.instance.exit = exit;
    event.instance.reason = reason;
    event.instance.starved = run->starved;
    event.instance.port_count = run->port_count;
    event.instance.probe_port = run->probe_port;
    memcpy(event.instance.ports, run->ports, sizeof run->ports);
    if (record != NULL) {
        run->pid = (pid_t)record->pid;
        run->shim_pid = (pid_t)record->shim_pid;
        event.instance.generation = record->generation;
        event.instance.pid = record->pid;
        event.instance.started_at = (mono_t){record->started_ms};
        event.instance.stopping = record->state == SHIM_STOPPING;
    }
    run->owner->post.event(run->owner->post.context, &event);
}

static struct supervise_exit exit_of(const struct shim_record *record)
{
    struct supervise_exit exit = {.kind = SUPERVISE_EXIT_LOST};

    if (record->cause == SHIM_CAUSE_DEADLINE)
        exit.kind = SUPERVISE_EXIT_LEASE;
    else if (record->exit == SHIM_EXIT_CODE)
        exit = (struct supervise_exit){SUPERVISE_EXIT_CODE, record->exit_value};
    else if (record->exit == SHIM_EXIT_SIGNAL)
        exit = (struct supervise_exit){SUPERVISE_EXIT_SIGNAL, record->exit_value};
    return exit;
}

static void post_exited(struct run *run, const struct shim_record *record)
{
    char text[128];
    const char *why = instance_explain_end(run, record, text, sizeof text, &run->starved);

    post_instance(run, NODE_EXITED, record, exit_of(record), why);
}

void uv_instances_failed(struct run *run, int errnum, const char *reason)
{
    struct supervise_exit exit = {SUPERVISE_EXIT_FAILED, errnum};

    close_run(run);
    post_instance(run, NODE_EXITED, NULL, exit, reason);
}

static void on_sweep(uv_timer_t *timer)
{
    struct run *run = timer->data;
    struct supervise_exit lost = {.kind = SUPERVISE_EXIT_LOST};
    struct os_cgroup_place place;

    os_cgroup_places(run->owner->keeper.cgroup, run->name, &place);
    if (os_shim_sweep(&run->owner->where, run->name, place.cgroups) > 0) {
        uv_timer_start(timer, on_sweep, SWEEP_MS, 0);
        return;
    }
    os_shim_acknowledge(&run->owner->where, run->name, NULL);
    close_run(run);
    post_instance(run, NODE_EXITED, NULL, lost,
                  "ended with its shim, which was killed: how is not known");
}

/* The shim was killed: what it left of the workload must be gone before another may start. */
static void begin_sweep(struct run *run)
{
    if (run->handles > 1)
        uv_poll_stop(&run->poll);
    os_cgroup_stop_forks(run->owner->keeper.cgroup, run->name);
    uv_timer_start(&run->sweep, on_sweep, 0, 0);
}

void uv_instances_dismiss(struct run *run)
{
    run->waiting = false;
    run->leaving = true;
    os_shim_acknowledge(&run->owner->where, run->name, run->shim);
}

/* A dismissed shim has left, or was killed: what it leaves is a next one's, if there is one. */
static void has_left(struct run *run)
{
    struct uv_instances *instances = run->owner;

    run->leaving = false;
    if (uv_instances_run(instances, run->name) == NULL) {
        os_shim_acknowledge(&instances->where, run->name, NULL);
        if (run->forgotten)
            instance_groups_remove(instances, run->name);
    }
    close_run(run);
}

static void read_leaving(struct run *run)
{
    struct os_shim_event event;

    do
        os_shim_read(run->shim, &event);
    while (event.type == OS_SHIM_STATUS ||
           (event.type == OS_SHIM_EXITED && event.record.standby != 0));
    if (event.type != OS_SHIM_NONE)
        has_left(run);
}

void uv_instances_revive(struct run *run)
{
    run->waiting = run->over = run->started = run->found = run->seen = false;
    run->note[0] = '\0';
    for (int i = 0; i < HEALTH_PROBES; i++)
        run->probe_ms[i] = -1;
}

/* Its end is posted while its shim waits: the node may want it anew within that call. */
static void end_waiting(struct run *run, const struct shim_record *record)
{
    run->over = run->waiting = true;
    post_exited(run, record);
    if (run->waiting)
        uv_instances_dismiss(run);
}

static void take_status(struct run *run, const struct shim_record *record)
{
    struct supervise_exit none = {.kind = SUPERVISE_EXIT_NONE};

    if (run->started || record->pid == 0)
        return;
    run->started = true;
    post_instance(run, run->found ? NODE_FOUND : NODE_STARTED, record, none, NULL);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct run *run = poll->data;
    struct os_shim_event event;

    (void)status;
    (void)events;
    if (run->leaving) {
        read_leaving(run);
        return;
    }
    while (!run->over) {
        os_shim_read(run->shim, &event);
        switch (event.type) {
        case OS_SHIM_NONE:
            return;
        case OS_SHIM_STATUS:
            run->counts = event.record;
            uv_instances_keep_sockets(run);
            take_status(run, &event.record);
            break;
        case OS_SHIM_FAILED:
            os_shim_acknowledge(&run->owner->where, run->name, run->shim);
            if (run->found && !run->wanted)
                close_run(run); /* nobody knows of it yet */
            else
                uv_instances_failed(run, event.record.errnum, event.record.text);
            return;
        case OS_SHIM_EXITED:
            take_status(run, &event.record);
            if (event.record.standby != 0) {
                end_waiting(run, &event.record);
                break;
            }
            os_shim_acknowledge(&run->owner->where, run->name, run->shim);
            close_run(run);
            post_exited(run, &event.record);
            return;
        case OS_SHIM_LOST:
            begin_sweep(run);
            return;
        }
    }
}

/* ---- effects ---- */

void uv_instances_stop(struct uv_instances *instances, const struct effect_stop *effect)
{
    struct run *run = uv_instances_run(instances, effect->instance);
    struct err err;

    /* A shim that cannot be asked is gone, and its end is on the way as an event. */
    if (run != NULL && run->shim != NULL)
        (void)os_shim_stop(run->shim, effect->signal, effect->signal == 0 ? 0 : effect->timeout_ms,
                           &err);
}

void uv_instances_extend(struct uv_instances *instances, const struct effect_stop *effect)
{
    struct run *run = uv_instances_run(instances, effect->instance);
    struct err err;

    if (run != NULL && run->shim != NULL)
        (void)os_shim_extend(run->shim, effect->until.ms, &err);
}

void uv_instances_forget(struct uv_instances *instances, const struct effect_stop *effect)
{
    if (uv_instances_run(instances, effect->instance) != NULL)
        return;
    for (struct run *run = instances->runs; run != NULL; run = run->next)
        if ((run->waiting || run->leaving) && strcmp(run->name, effect->instance) == 0)
            run->forgotten = true;
    os_shim_acknowledge(&instances->where, effect->instance, NULL);
    os_files_remove(instances->config.run_dir, effect->instance);
    instance_groups_remove(instances, effect->instance);
    uv_instances_forget_sockets(instances, effect->instance);
}

void uv_instances_address(struct uv_instances *instances, const struct addr *address)
{
    instances->config.address = *address;
}

/* ---- start and end ---- */

void uv_instances_found(struct uv_instances *instances, enum os_shim_found kind,
                        const struct shim_record *record)
{
    struct supervise_exit none = {.kind = SUPERVISE_EXIT_NONE};
    struct run *run = uv_instances_add(instances, record->instance);
    struct err err;
    bool watched;

    if (run == NULL)
        return;
    run->port_count = instance_note_read(record->note, run->ports, &run->probe_port);
    os_cgroup_refused(instances->keeper.cgroup, run->name, &run->before);
    run->found = true;
    run->started = record->pid != 0;
    /* Before the node hears of it: that may want it stopped within that call. */
    watched = kind == OS_SHIM_FOUND_ALIVE &&
              os_shim_connect(&instances->where, run->name, &run->shim, &err) == ERR_NONE &&
              uv_instances_watch(run, &err) == ERR_NONE;
    if (run->started)
        post_instance(run, NODE_FOUND, record, none, NULL);
    if (kind == OS_SHIM_FOUND_ENDED) {
        os_shim_acknowledge(&instances->where, run->name, NULL);
        close_run(run);
        post_exited(run, record);
    } else if (!watched) {
        begin_sweep(run);
    }
}

static void found(void *context, enum os_shim_found kind, const struct shim_record *record)
{
    uv_instances_found(context, kind, record);
}

int uv_instances_scan(struct uv_instances *instances, struct err *err)
{
    unsigned damaged = 0;
    int rc = os_shim_scan(&instances->where, found, instances, &damaged, err);

    instance_extras_begin(instances);
    return rc;
}

int uv_instances_create(uv_loop_t *loop, const struct uv_instances_config *config, struct post post,
                        struct uv_instances **out, struct err *err)
{
    struct uv_instances *instances = calloc(1, sizeof *instances);
    int rc;

    if (instances == NULL)
        return err_set(err, ERR_NOMEM, "prepare for workloads: %s", err_text(ERR_NOMEM));
    instances->loop = loop;
    instances->config = *config;
    instances->post = post;
    snprintf(instances->log_dir, sizeof instances->log_dir, "%s/logs", config->state_dir);
    instances->where = (struct os_shims){
        .program = config->shim, .run_dir = config->run_dir, .log_dir = instances->log_dir};
    rc = os_shim_prepare(&instances->where, err);
    if (rc == ERR_NONE)
        rc = instance_keeper_open(&instances->config, &instances->keeper, err);
    if (rc != ERR_NONE) {
        free(instances);
        return rc;
    }
    instance_notes_begin(instances);
    *out = instances;
    return ERR_NONE;
}

void uv_instances_close(struct uv_instances *instances, void (*closed)(void *context),
                        void *context)
{
    if (instances == NULL) {
        closed(context);
        return;
    }
    instances->closed = closed;
    instances->closed_context = context;
    while (instances->probes != NULL)
        uv_probe_cancel(instances->probes->probe);
    uv_close((uv_handle_t *)&instances->look, handle_closed);
    if (instances->handles > 1) {
        uv_close((uv_handle_t *)&instances->folder, handle_closed);
        uv_close((uv_handle_t *)&instances->extra, handle_closed);
    }
    for (struct run *run = instances->runs; run != NULL; run = run->next)
        close_run(run);
}
