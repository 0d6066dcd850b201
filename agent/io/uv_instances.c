#include "agent/io/uv_instances_inside.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "agent/core/node.h"
#include "agent/io/instance_env.h"
#include "agent/io/instance_secret.h"
#include "agent/io/os_files.h"
#include "agent/io/os_port.h"
#include "agent/io/uv_probe.h"

#define SWEEP_MS 50
#define PORTS_USED_MAX 1024

static void on_event(uv_poll_t *poll, int status, int events);

/* ---- the list ---- */

struct run *uv_instances_run(struct uv_instances *instances, const char *name)
{
    for (struct run *run = instances->runs; run != NULL; run = run->next)
        if (!run->over && strcmp(run->name, name) == 0)
            return run;
    return NULL;
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
    if (instances->closed != NULL && instances->runs == NULL) {
        instances->closed(instances->closed_context);
        instance_keeper_close(&instances->keeper);
        free(instances);
    }
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

static struct run *add_run(struct uv_instances *instances, const char *name)
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

static int watch_shim(struct run *run, struct err *err)
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
    event.instance.port_count = run->port_count;
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

/* Why it ended, where its control group knows more than its exit status. */
static const char *explain_end(struct run *run, char *text, size_t size)
{
    struct os_cgroup_usage now;
    uint64_t limit = run->memory_limit >> 20;

    os_cgroup_usage(run->owner->keeper.cgroup, run->name, &now);
    if (now.oom_kills > run->before.oom_kills && limit > 0)
        snprintf(text, size, "for want of memory, at its limit of %" PRIu64 " MiB", limit);
    else if (now.oom_kills > run->before.oom_kills)
        snprintf(text, size, "for want of memory");
    else if (now.pids_refused > run->before.pids_refused)
        snprintf(text, size, "after %" PRIu64 " forks were refused, at its limit of processes",
                 now.pids_refused - run->before.pids_refused);
    else
        return NULL;
    return text;
}

static void post_exited(struct run *run, const struct shim_record *record)
{
    char text[128];

    post_instance(run, NODE_EXITED, record, exit_of(record), explain_end(run, text, sizeof text));
}

static void post_failed(struct run *run, int errnum, const char *reason)
{
    struct supervise_exit exit = {SUPERVISE_EXIT_FAILED, errnum};

    close_run(run);
    post_instance(run, NODE_EXITED, NULL, exit, reason);
}

static void on_sweep(uv_timer_t *timer)
{
    struct run *run = timer->data;
    struct supervise_exit lost = {.kind = SUPERVISE_EXIT_LOST};

    if (os_shim_sweep(&run->owner->where, run->name) > 0) {
        uv_timer_start(timer, on_sweep, SWEEP_MS, 0);
        return;
    }
    os_shim_acknowledge(&run->owner->where, run->name, NULL);
    close_run(run);
    post_instance(run, NODE_EXITED, NULL, lost, NULL);
}

/* The shim was killed: what it left of the workload must be gone before another may start. */
static void begin_sweep(struct run *run)
{
    if (run->handles > 1)
        uv_poll_stop(&run->poll);
    uv_timer_start(&run->sweep, on_sweep, 0, 0);
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
    while (!run->over) {
        os_shim_read(run->shim, &event);
        switch (event.type) {
        case OS_SHIM_NONE:
            return;
        case OS_SHIM_STATUS:
            run->log_lines = event.record.log_lines;
            run->log_dropped = event.record.log_dropped;
            take_status(run, &event.record);
            break;
        case OS_SHIM_FAILED:
            os_shim_acknowledge(&run->owner->where, run->name, run->shim);
            if (run->found && !run->wanted)
                close_run(run); /* nobody knows of it yet */
            else
                post_failed(run, event.record.errnum, event.record.text);
            return;
        case OS_SHIM_EXITED:
            take_status(run, &event.record);
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

/* ---- starting ---- */

static int pick_ports(struct uv_instances *instances, struct run *run,
                      const struct desired_workload *workload, struct err *err)
{
    uint16_t used[PORTS_USED_MAX];
    size_t count = 0;
    struct addr address = instances->config.address;

    if (workload->listen == DESIRED_LISTEN_ALL)
        address = (struct addr){0};
    else if (workload->listen == DESIRED_LISTEN_LOCAL)
        address = (struct addr){.family = 4, .ip = {127, 0, 0, 1}};
    for (const struct run *other = instances->runs; other != NULL; other = other->next)
        for (uint8_t i = 0; !other->over && i < other->port_count && count < PORTS_USED_MAX; i++)
            used[count++] = other->ports[i].port;
    for (size_t i = 0; i < workload->port_count && i < VALUE_PORTS_MAX; i++) {
        struct value_port *port = &run->ports[i];
        int rc = os_port_pick(workload->ports[i].port, &address, run->name, used, count,
                              &port->port, err);
        if (rc != ERR_NONE)
            return rc;
        snprintf(port->name, sizeof port->name, "%s", workload->ports[i].name);
        if (count < PORTS_USED_MAX)
            used[count++] = port->port;
        run->port_count++;
    }
    return ERR_NONE;
}

static int fill_spec(struct run *run, const struct effect_start *effect, struct instance_spec *spec,
                     struct instance_env **env, struct err *err)
{
    struct uv_instances *instances = run->owner;
    const struct desired_workload *workload = effect->workload;
    const char *run_dir = instances->config.run_dir;
    struct instance_secret_files opened = {0};
    int rc = instance_spec_make(&instances->keeper, effect, spec, err);

    if (rc == ERR_NONE)
        rc = instance_secret_files(instances->config.identity, effect->desired, run_dir,
                                   effect->files, effect->file_count, &opened, err);
    if (rc == ERR_NONE)
        rc = os_files_write(
            run_dir, run->name, opened.files, effect->file_count, true, false,
            &(struct os_files_owner){spec->shim.switch_user, spec->shim.uid, spec->shim.gid}, NULL,
            err);
    instance_secret_files_free(&opened);
    if (rc == ERR_NONE)
        rc = pick_ports(instances, run, workload, err);
    if (rc == ERR_NONE)
        rc = instance_env_build(&instances->config, effect, run->ports, run->port_count,
                                spec->folder, env, err);
    if (rc != ERR_NONE)
        return rc;
    instance_note_write(run->ports, run->port_count, spec->note, sizeof spec->note);
    spec->shim.note = spec->note;
    for (size_t n = 0; effect->args[n] != NULL && n < SHIM_ARGS_MAX; n++)
        spec->shim.argv[n] = effect->args[n];
    instance_env_copy(*env, spec->shim.env, SHIM_ENV_MAX);
    return ERR_NONE;
}

static int start_shim(struct run *run, const struct effect_start *effect, struct err *err)
{
    struct uv_instances *instances = run->owner;
    struct instance_spec *spec = calloc(1, sizeof *spec);
    struct instance_env *env = NULL;
    int rc;

    if (spec == NULL)
        return err_set(err, ERR_NOMEM, "start %s: %s", run->name, err_text(ERR_NOMEM));
    rc = fill_spec(run, effect, spec, &env, err);
    if (rc == ERR_NONE) {
        os_cgroup_usage(instances->keeper.cgroup, run->name, &run->before);
        run->memory_limit = effect->workload->memory_limit;
        rc = os_shim_start(&instances->where, &spec->shim, &run->shim, err);
    }
    if (rc == ERR_NONE) {
        rc = watch_shim(run, err);
        if (rc != ERR_NONE) /* nobody would hear how it ends */
            (void)os_shim_stop(run->shim, 0, 0, NULL);
    }
    instance_env_free(env);
    instance_spec_free(spec);
    free(spec);
    return rc;
}

void uv_instances_start(struct uv_instances *instances, const struct effect_start *effect)
{
    struct run *run = uv_instances_run(instances, effect->instance);
    struct err err = {0};

    if (run != NULL && run->found && !run->started) { /* under way since an earlier life */
        run->wanted = true;
        return;
    }
    run = add_run(instances, effect->instance);
    if (run == NULL) {
        struct node_event event = {.type = NODE_EXITED};
        event.instance.instance = effect->instance;
        event.instance.exit = (struct supervise_exit){SUPERVISE_EXIT_FAILED, ENOMEM};
        event.instance.reason = err_text(ERR_NOMEM);
        instances->post.event(instances->post.context, &event);
        return;
    }
    if (start_shim(run, effect, &err) != ERR_NONE)
        post_failed(run, 0, err.text);
}

void uv_instances_files(struct uv_instances *instances, const struct effect_files *effect)
{
    struct run *run = uv_instances_run(instances, effect->instance);
    const char *run_dir = instances->config.run_dir;
    struct instance_secret_files opened = {0};
    struct os_files_owner owner = {0};
    struct os_files_found found;
    struct err err;
    int rc;

    if (run == NULL || run->pid <= 0 ||
        instance_user(&instances->keeper, effect->workload, &owner, &err) != ERR_NONE)
        return;
    rc = instance_secret_files(instances->config.identity, effect->desired, run_dir, effect->files,
                               effect->count, &opened, &err);
    if (rc == ERR_NONE)
        rc = os_files_write(run_dir, effect->instance, opened.files, effect->count, effect->all,
                            effect->leave, &owner, &found, &err);
    instance_secret_files_free(&opened);
    if (rc != ERR_NONE)
        return;
    if (found.signal)
        os_child_signal(run->pid, run->shim_pid, effect->workload->reload_signal);
    if (effect->check && found.differs) {
        struct node_event event = {.type = NODE_DRIFT};
        event.instance.instance = run->name;
        instances->post.event(instances->post.context, &event);
    }
}

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
    os_shim_acknowledge(&instances->where, effect->instance, NULL);
    os_files_remove(instances->config.run_dir, effect->instance);
    os_cgroup_remove(instances->keeper.cgroup, effect->instance);
}

/* Of the main process and what it has waited for, where no control group counts. */
static void count_process(pid_t pid, struct os_cgroup_usage *usage)
{
    unsigned long long ticks[4] = {0};
    char text[1024];
    char path[32];
    char *after;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return;
    after = fgets(text, sizeof text, file) != NULL ? strrchr(text, ')') : NULL;
    fclose(file);
    if (after == NULL ||
        sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %llu %llu",
               &ticks[0], &ticks[1], &ticks[2], &ticks[3]) != 4)
        return;
    usage->known[OS_CGROUP_CPU] = true;
    usage->cpu_us = (ticks[0] + ticks[1] + ticks[2] + ticks[3]) * 1000000 /
                    (unsigned long long)sysconf(_SC_CLK_TCK);
}

void uv_instances_stats(struct uv_instances *instances, struct instance_stats **stats,
                        size_t *count)
{
    size_t room = 0;

    for (const struct run *run = instances->runs; run != NULL; run = run->next)
        room++;
    *count = 0;
    *stats = calloc(room + 1, sizeof **stats);
    if (*stats == NULL)
        return;
    for (struct run *run = instances->runs; run != NULL; run = run->next) {
        struct instance_stats *s = &(*stats)[*count];
        if (run->over || run->shim == NULL)
            continue;
        memcpy(s->name, run->name, sizeof s->name);
        os_cgroup_usage(instances->keeper.cgroup, run->name, &s->usage);
        if (!s->usage.known[OS_CGROUP_CPU] && run->pid > 0)
            count_process(run->pid, &s->usage);
        s->memory_limit = run->memory_limit;
        s->log_lines = run->log_lines;
        s->log_dropped = run->log_dropped;
        memcpy(s->probe_ms, run->probe_ms, sizeof s->probe_ms);
        ++*count;
        (void)os_shim_ask(run->shim, NULL); /* its counts, for the next time */
    }
}

void uv_instances_address(struct uv_instances *instances, const struct addr *address)
{
    instances->config.address = *address;
}

/* ---- start and end ---- */

static void found(void *context, enum os_shim_found kind, const struct shim_record *record)
{
    struct uv_instances *instances = context;
    struct supervise_exit none = {.kind = SUPERVISE_EXIT_NONE};
    struct run *run = add_run(instances, record->instance);
    struct err err;

    if (run == NULL)
        return;
    run->port_count = instance_note_read(record->note, run->ports);
    os_cgroup_usage(instances->keeper.cgroup, run->name, &run->before);
    run->found = true;
    run->started = record->pid != 0;
    if (run->started)
        post_instance(run, NODE_FOUND, record, none, NULL);
    if (kind == OS_SHIM_FOUND_ENDED) {
        os_shim_acknowledge(&instances->where, run->name, NULL);
        close_run(run);
        post_exited(run, record);
        return;
    }
    if (kind == OS_SHIM_FOUND_ALIVE &&
        os_shim_connect(&instances->where, run->name, &run->shim, &err) == ERR_NONE &&
        watch_shim(run, &err) == ERR_NONE)
        return;
    begin_sweep(run);
}

int uv_instances_scan(struct uv_instances *instances, struct err *err)
{
    unsigned damaged = 0;

    return os_shim_scan(&instances->where, found, instances, &damaged, err);
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
    if (instances->runs == NULL) {
        closed(context);
        instance_keeper_close(&instances->keeper);
        free(instances);
        return;
    }
    for (struct run *run = instances->runs; run != NULL; run = run->next)
        close_run(run);
}
