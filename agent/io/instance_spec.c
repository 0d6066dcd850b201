#include "agent/io/instance_spec.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/io/os_child.h"
#include "agent/io/os_users.h"

#define SECCOMP_MS 10000
#define OWN_RUN_DIR "/run/covey"
#define BASE_MAX 200 /* bytes of the name of an agent's folder of control groups */

/* ---- what this node can do ---- */

static void report(const struct uv_instances_config *config, const char *text)
{
    if (config->report != NULL)
        config->report(config->report_context, text);
}

/* Agents that share a machine have groups of their own: "covey-srv-pi1-run" of /srv/pi1/run. */
static void base_name(const char *run_dir, char name[BASE_MAX])
{
    if (strcmp(run_dir, OWN_RUN_DIR) == 0)
        snprintf(name, BASE_MAX, "covey");
    else
        snprintf(name, BASE_MAX, "covey%s", run_dir);
    for (char *c = name; *c != '\0'; c++)
        if (*c == '/')
            *c = '-';
}

/* Made since the program that makes it was installed: an agent that restarts need not wait for it.
 */
static bool is_fresh(const char *filter, const char *program)
{
    struct stat made;
    struct stat maker;

    return stat(filter, &made) == 0 && stat(program, &maker) == 0 && made.st_mtime > maker.st_mtime;
}

static void make_filter(struct instance_keeper *keeper)
{
    const struct uv_instances_config *config = &keeper->config;
    const char *argv[] = {config->seccomp, keeper->seccomp, NULL};
    const struct child_spec spec = {.argv = argv, .output_max = 4096, .timeout_ms = SECCOMP_MS};
    struct child_result result;
    char text[ERR_TEXT_MAX];
    struct err err;
    int n = snprintf(keeper->seccomp, sizeof keeper->seccomp, "%s/seccomp.bpf", config->run_dir);
    int rc;

    if (n < 0 || (size_t)n >= sizeof keeper->seccomp || config->seccomp == NULL) {
        keeper->seccomp[0] = '\0';
        return;
    }
    if (is_fresh(keeper->seccomp, config->seccomp))
        return;
    rc = child_run(&spec, &result, &err);
    if (rc == ERR_NONE) {
        if (result.status != 0)
            rc = child_failed(&result, ERR_IO, &err, "agent-seccomp");
        child_result_free(&result);
    }
    if (rc == ERR_NONE)
        return;
    keeper->seccomp[0] = '\0';
    snprintf(text, sizeof text, "workloads run without a filter of system calls: %.300s", err.text);
    report(config, text);
}

int instance_keeper_open(const struct uv_instances_config *config, struct instance_keeper *keeper,
                         struct err *err)
{
    char missing[ERR_TEXT_MAX];
    char base[BASE_MAX];
    int rc;

    memset(keeper, 0, sizeof *keeper);
    keeper->config = *config;
    keeper->root = geteuid() == 0;
    base_name(config->run_dir, base);
    rc = os_cgroup_open(base, &keeper->cgroup, missing, err);
    if (rc != ERR_NONE)
        return rc;
    if (missing[0] != '\0')
        report(config, missing);
    if (!keeper->root)
        report(config, "agentd is not root: workloads run as its own user, with its privileges");
    make_filter(keeper);
    return ERR_NONE;
}

void instance_keeper_close(struct instance_keeper *keeper)
{
    os_cgroup_close(keeper->cgroup);
}

/* ---- user and folder ---- */

int instance_user(const struct instance_keeper *keeper, const struct desired_workload *workload,
                  struct os_files_owner *owner, struct err *err)
{
    const char *name = workload->user != NULL ? workload->user : keeper->config.user;
    const struct passwd *entry;
    int rc;

    *owner = (struct os_files_owner){.set = keeper->root};
    if (!keeper->root)
        return ERR_NONE;
    if (name == NULL) {
        rc = os_users_get(keeper->config.state_dir, workload->name, &owner->uid, err);
        owner->gid = owner->uid;
        return rc;
    }
    entry = getpwnam(name);
    if (entry == NULL)
        return err_set(err, ERR_NOTFOUND,
                       "there is no user %s on this node. Create it, or leave the line out: a "
                       "workload has a user of its own then",
                       name);
    owner->uid = entry->pw_uid;
    owner->gid = entry->pw_gid;
    return ERR_NONE;
}

/* The groups of a user that /etc/group knows, as a login would give them. */
static void find_groups(const char *name, struct shim_spec *spec)
{
    gid_t groups[SHIM_GROUPS_MAX];
    int count = SHIM_GROUPS_MAX;

    if (name == NULL || getgrouplist(name, spec->gid, groups, &count) < 0)
        return;
    for (int i = 0; i < count; i++)
        spec->groups[spec->group_count++] = groups[i];
}

/* Makes everything in the folder @path @uid's. Links are not followed. */
static int give_tree(char *path, uid_t uid, gid_t gid)
{
    char *roots[] = {path, NULL};
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, NULL);
    FTSENT *entry;
    int rc = walk != NULL ? 0 : -1;

    while (rc == 0 && (entry = fts_read(walk)) != NULL)
        if (entry->fts_info != FTS_D)
            rc = lchown(entry->fts_accpath, uid, gid);
    if (walk != NULL)
        fts_close(walk);
    return rc;
}

/* Both processes of a hand-over have the same. */
static int make_folder(const struct instance_keeper *keeper, const char *process,
                       struct instance_spec *spec, struct err *err)
{
    char *path = spec->folder;
    char name[INSTANCE_MAX];
    int n = snprintf(path, INSTANCE_PATH_MAX, "%s/instances", keeper->config.state_dir);
    struct stat info;

    effect_base(process, name);
    if (n < 0 || n >= INSTANCE_PATH_MAX - INSTANCE_MAX - 1)
        return err_set(err, ERR_LIMIT, "state_dir is too long");
    if (mkdir(path, 0711) != 0 && errno != EEXIST)
        return err_errno(err, ERR_IO, errno, "make the folder %s", path);
    snprintf(path + n, INSTANCE_PATH_MAX - (size_t)n, "/%s", name);
    if (mkdir(path, 0750) != 0 && errno != EEXIST)
        return err_errno(err, ERR_IO, errno, "make the folder %s", path);
    if (!spec->shim.switch_user)
        return ERR_NONE;
    if (lstat(path, &info) != 0)
        return err_errno(err, ERR_IO, errno, "look at the folder %s", path);
    if (info.st_uid == spec->shim.uid && info.st_gid == spec->shim.gid)
        return ERR_NONE;
    /* New, or its workload has another user than before: all that is in it goes along. */
    if (give_tree(path, spec->shim.uid, spec->shim.gid) != 0)
        return err_errno(err, ERR_IO, errno, "give the folder %s to its user", path);
    return ERR_NONE;
}

/* ---- privileges ---- */

static bool in_tmp(const char *path)
{
    return strncmp(path, "/tmp/", 5) == 0 || strncmp(path, "/var/tmp/", 9) == 0 ||
           strncmp(path, "/dev/shm/", 9) == 0;
}

static void add_path(struct shim_sandbox *sandbox, const char *path)
{
    size_t n = 0;

    while (sandbox->paths[n] != NULL)
        n++;
    if (n < SHIM_PATHS_MAX)
        sandbox->paths[n] = path;
}

/* A private /tmp covers what lies in the node's: programs and files of agentd's are still found
 * there.
 */
static int add_covered(const struct instance_keeper *keeper, struct instance_spec *spec,
                       struct err *err)
{
    char *rest = NULL;
    int rc = os_files_dir(keeper->config.run_dir, spec->shim.instance, spec->files,
                          sizeof spec->files, err);

    if (rc != ERR_NONE)
        return rc;
    if (in_tmp(spec->files))
        add_path(&spec->shim.sandbox, spec->files);
    spec->tmp_paths = strdup(keeper->config.path);
    if (spec->tmp_paths == NULL)
        return err_set(err, ERR_NOMEM, "start: %s", err_text(ERR_NOMEM));
    for (char *part = strtok_r(spec->tmp_paths, ":", &rest); part != NULL;
         part = strtok_r(NULL, ":", &rest))
        if (in_tmp(part))
            add_path(&spec->shim.sandbox, part);
    return ERR_NONE;
}

static int set_privileges(const struct instance_keeper *keeper,
                          const struct desired_workload *workload, struct instance_spec *spec,
                          struct err *err)
{
    static const char *const shared[] = {"/tmp", "/var/tmp", "/dev/shm"};
    const struct desired_security *security = &workload->security;
    struct shim_sandbox *sandbox = &spec->shim.sandbox;

    spec->shim.no_new_privileges = !security->may_escalate;
    if (!security->unfiltered && keeper->seccomp[0] != '\0' &&
        (keeper->root || spec->shim.no_new_privileges))
        sandbox->seccomp = keeper->seccomp;
    if (!keeper->root)
        return ERR_NONE;
    sandbox->private_tmp = !security->shared_tmp;
    sandbox->read_only = !security->writable_root;
    sandbox->bound = !security->may_escalate;
    sandbox->capability = security->capabilities;
    for (size_t i = 0; security->shared_tmp && i < sizeof shared / sizeof shared[0]; i++)
        add_path(sandbox, shared[i]);
    add_path(sandbox, spec->folder);
    for (const char *const *path = security->writable_paths; path != NULL && *path != NULL; path++)
        add_path(sandbox, *path);
    return sandbox->private_tmp ? add_covered(keeper, spec, err) : ERR_NONE;
}

static void set_hook(const struct desired_hook *from, struct shim_hook *to)
{
    for (size_t i = 0; from->command != NULL && from->command[i] != NULL; i++)
        if (i < SHIM_HOOK_ARGS_MAX)
            to->argv[i] = from->command[i];
    to->timeout_ms = (int64_t)from->timeout_s * 1000;
}

static struct os_cgroup_limits limits_of(const struct desired_workload *workload)
{
    return (struct os_cgroup_limits){.memory = workload->memory_limit,
                                     .cpu_milli = workload->cpu_limit_milli,
                                     .pids = workload->pids_limit != 0 ? workload->pids_limit
                                                                       : INSTANCE_PIDS};
}

int instance_limit(const struct instance_keeper *keeper, const struct desired_workload *workload,
                   const char *instance, bool one_more, struct err *err)
{
    struct os_cgroup_limits limits = limits_of(workload);

    limits.pids += one_more;
    return os_cgroup_make(keeper->cgroup, instance, &limits, err);
}

int instance_spec_make(const struct instance_keeper *keeper, const struct effect_start *effect,
                       struct instance_spec *spec, struct err *err)
{
    const struct desired_workload *workload = effect->workload;
    const struct os_cgroup_limits limits = limits_of(workload);
    uint64_t log_bytes = workload->log_bytes != 0 ? workload->log_bytes : INSTANCE_LOG_BYTES;
    struct shim_spec *shim = &spec->shim;
    struct os_files_owner owner;
    int rc;

    memset(spec, 0, sizeof *spec);
    shim->instance = effect->instance;
    shim->generation = effect->generation;
    shim->log_file_bytes = log_bytes / (INSTANCE_LOG_FILES + 1);
    shim->log_files = INSTANCE_LOG_FILES;
    shim->log_age_s = workload->log_age_s;
    shim->nofile = workload->open_files_limit;
    shim->oom_score = workload->oom_score_adjust;
    shim->stop_signal = workload->stop_signal != 0 ? workload->stop_signal : SIGTERM;
    shim->stop_timeout_ms = (int64_t)workload->stop_grace_s * 1000;
    shim->deadline_ms = mono_is_never(effect->lease_until) ? 0 : effect->lease_until.ms;
    set_hook(&workload->pre_start, &shim->pre_start);
    set_hook(&workload->post_stop, &shim->post_stop);
    rc = instance_user(keeper, workload, &owner, err);
    if (rc != ERR_NONE)
        return rc;
    shim->switch_user = owner.set;
    shim->uid = owner.uid;
    shim->gid = owner.gid;
    if (keeper->root)
        find_groups(workload->user, shim);
    rc = make_folder(keeper, effect->instance, spec, err);
    if (rc != ERR_NONE)
        return rc;
    os_cgroup_place(keeper->cgroup, effect->instance, &limits, &spec->cgroups);
    memcpy(shim->cgroups, spec->cgroups.cgroups, sizeof shim->cgroups);
    shim->working_dir = workload->working_dir != NULL ? workload->working_dir : spec->folder;
    return set_privileges(keeper, workload, spec, err);
}

void instance_spec_free(struct instance_spec *spec)
{
    free(spec->tmp_paths);
}
