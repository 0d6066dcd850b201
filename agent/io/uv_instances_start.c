/* The start of an instance, and its files. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/core/node.h"
#include "agent/io/instance_env.h"
#include "agent/io/instance_secret.h"
#include "agent/io/os_child.h"
#include "agent/io/os_files.h"
#include "agent/io/uv_instances_inside.h"

static int fill_files(struct run *run, const struct effect_start *effect,
                      const struct instance_spec *spec, struct err *err)
{
    struct uv_instances *instances = run->owner;
    const char *run_dir = instances->config.run_dir;
    struct instance_secret_files opened = {0};
    int rc = instance_secret_files(instances->config.identity, effect->desired, run_dir,
                                   effect->files, effect->file_count, &opened, err);

    if (rc == ERR_NONE)
        rc = os_files_write(
            run_dir, run->name, opened.files, effect->file_count, true, false,
            &(struct os_files_owner){spec->shim.switch_user, spec->shim.uid, spec->shim.gid}, NULL,
            err);
    instance_secret_files_free(&opened);
    return rc;
}

/* What is said to the program, once its ports are known. */
static int fill_words(const struct run *run, const struct effect_start *effect,
                      struct instance_spec *spec, struct instance_env **env, struct err *err)
{
    int rc = instance_env_build(&run->owner->config, effect, run->ports, run->port_count,
                                spec->shim.listen > 0, spec->folder, env, err);

    if (rc != ERR_NONE)
        return rc;
    instance_note_write(run->ports, run->port_count, run->probe_port, spec->note,
                        sizeof spec->note);
    spec->shim.note = spec->note;
    for (size_t n = 0; effect->args[n] != NULL && n < SHIM_ARGS_MAX; n++)
        spec->shim.argv[n] = effect->args[n];
    instance_env_copy(*env, spec->shim.env, SHIM_ENV_MAX);
    return ERR_NONE;
}

/* What the end is explained by. */
static void note_limits(struct run *run, const struct effect_start *effect)
{
    os_cgroup_refused(run->owner->keeper.cgroup, run->name, &run->before);
    run->memory_limit = effect->workload->memory_limit;
    run->open_files = effect->workload->open_files_limit;
}

static int start_shim(struct run *run, const struct effect_start *effect, struct err *err)
{
    struct uv_instances *instances = run->owner;
    struct instance_spec *spec = calloc(1, sizeof *spec);
    struct instance_env *env = NULL;
    int rc;

    if (spec == NULL)
        return err_set(err, ERR_NOMEM, "start %s: %s", run->name, err_text(ERR_NOMEM));
    rc = instance_spec_make(&instances->keeper, effect, spec, err);
    if (rc == ERR_NONE)
        rc = instance_limit(&instances->keeper, effect->workload, run->name, false, err);
    if (rc == ERR_NONE)
        rc = fill_files(run, effect, spec, err);
    if (rc == ERR_NONE)
        rc = uv_instances_ports(run, effect->workload, &spec->shim, err);
    if (rc == ERR_NONE)
        rc = fill_words(run, effect, spec, &env, err);
    if (rc == ERR_NONE) {
        note_limits(run, effect);
        rc = os_shim_start(&instances->where, &spec->shim, &run->shim, err);
    }
    if (spec->shim.listen > 0) /* the one that it alone listens on; the others are kept */
        close(spec->shim.sockets[spec->shim.listen - 1]);
    if (rc == ERR_NONE) {
        rc = uv_instances_watch(run, err);
        if (rc != ERR_NONE) /* nobody would hear how it ends */
            (void)os_shim_stop(run->shim, 0, 0, NULL);
    }
    instance_env_free(env);
    instance_spec_free(spec);
    free(spec);
    return rc;
}

/* ---- the run that follows ---- */

typedef int with_spec(const struct os_shims *where, struct os_shim *shim,
                      const struct shim_spec *spec, struct err *err);

/* Calls @use with the specification of the next run of @run: its ports stay. */
static int for_next(struct run *run, const struct effect_start *effect, bool files, with_spec *use,
                    struct err *err)
{
    struct uv_instances *instances = run->owner;
    struct instance_spec *spec = calloc(1, sizeof *spec);
    struct instance_env *env = NULL;
    int rc;

    if (spec == NULL)
        return err_set(err, ERR_NOMEM, "prepare %s: %s", run->name, err_text(ERR_NOMEM));
    rc = instance_spec_make(&instances->keeper, effect, spec, err);
    if (rc == ERR_NONE && files)
        rc = fill_files(run, effect, spec, err);
    if (rc == ERR_NONE)
        rc = fill_words(run, effect, spec, &env, err);
    if (rc == ERR_NONE)
        rc = use(&instances->where, run->shim, &spec->shim, err);
    instance_env_free(env);
    instance_spec_free(spec);
    free(spec);
    return rc;
}

void uv_instances_prepare(struct uv_instances *instances, const struct effect_start *effect)
{
    struct run *run = uv_instances_run(instances, effect->instance);
    const struct desired_workload *workload = effect->workload;
    struct err err;

    if (run == NULL || run->shim == NULL || !run->started || run->counts.standby != 0 ||
        workload->pre_start.command != NULL || workload->hand_over)
        return;
    /* Without it the next start is as long as the first: nothing to report. */
    if (for_next(run, effect, false, os_shim_keep_ready, &err) == ERR_NONE)
        (void)instance_limit(&instances->keeper, workload, run->name, true, &err);
}

static bool go_on(struct run *run, const struct effect_start *effect)
{
    struct err err;

    if (for_next(run, effect, true, os_shim_next, &err) != ERR_NONE)
        return false;
    uv_instances_revive(run);
    (void)instance_limit(&run->owner->keeper, effect->workload, run->name, false, &err);
    note_limits(run, effect);
    return true;
}

/* ---- effects ---- */

void uv_instances_start(struct uv_instances *instances, const struct effect_start *effect)
{
    struct run *run = uv_instances_run(instances, effect->instance);
    struct run *waiting = uv_instances_waiting(instances, effect->instance);
    struct err err = {0};

    if (run != NULL && run->found && !run->started) { /* under way since an earlier life */
        run->wanted = true;
        return;
    }
    if (waiting != NULL && go_on(waiting, effect))
        return;
    if (waiting != NULL)
        uv_instances_dismiss(waiting); /* the new shim waits for this one to leave */
    run = uv_instances_add(instances, effect->instance);
    if (run == NULL) {
        struct node_event event = {.type = NODE_EXITED};
        event.instance.instance = effect->instance;
        event.instance.exit = (struct supervise_exit){SUPERVISE_EXIT_FAILED, ENOMEM};
        event.instance.reason = err_text(ERR_NOMEM);
        instances->post.event(instances->post.context, &event);
        return;
    }
    if (start_shim(run, effect, &err) != ERR_NONE)
        uv_instances_failed(run, 0, err.text);
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
    if (effect->check && (effect->leave ? found.differs != effect->differ : found.differs)) {
        struct node_event event = {.type = NODE_DRIFT};
        event.drift = (struct node_event_drift){
            .instance = run->name, .differs = found.differs, .left = effect->leave};
        instances->post.event(instances->post.context, &event);
    }
}
