/* What an instance is started with: its user, its folder, its control groups, its privileges. */
#ifndef COVEY_IO_INSTANCE_SPEC_H
#define COVEY_IO_INSTANCE_SPEC_H

#include <stdbool.h>

#include "agent/core/effect.h"
#include "agent/io/os_cgroup.h"
#include "agent/io/os_files.h"
#include "agent/io/uv_instances.h"
#include "agent/shim/shim.h"

#define INSTANCE_PATH_MAX 4096
/* Of a workload that says nothing: bytes of its log, rotated files included; */
#define INSTANCE_LOG_BYTES (16u << 20)
/* processes and threads: no bomb goes further; */
#define INSTANCE_PIDS 1024
/* and rotated files of its log: each has a quarter of the bytes. */
#define INSTANCE_LOG_FILES 3

/* What this node can do to keep workloads in their place. */
struct instance_keeper {
    struct uv_instances_config config;
    struct os_cgroup *cgroup;
    bool root;                       /* only then users, file systems and capabilities */
    char seccomp[INSTANCE_PATH_MAX]; /* the default filter; "": there is none */
};

struct instance_spec {
    struct shim_spec shim; /* dir and log_dir are filled in by os_shim_start */
    char folder[INSTANCE_PATH_MAX];
    char note[SHIM_NOTE_MAX];
    struct os_cgroup_place cgroups;
    char files[INSTANCE_PATH_MAX]; /* CONFIG_DIR */
    char *tmp_paths;               /* PATH, cut into what lies in a private /tmp */
};

/* Finds out what this node can do. What is missing goes to config->report, in sentences. Errors:
 * ERR_NOMEM. */
int instance_keeper_open(const struct uv_instances_config *config, struct instance_keeper *keeper,
                         struct err *err);
void instance_keeper_close(struct instance_keeper *keeper);

/* Whom an instance of @workload runs as, and its files belong to. Errors: ERR_NOTFOUND, ERR_IO. */
int instance_user(const struct instance_keeper *keeper, const struct desired_workload *workload,
                  struct os_files_owner *owner, struct err *err);

/* Makes its control groups, or sets the limits of those that are there; with @one_more process than
 * the document allows, for one that is kept ready. Errors: ERR_IO. */
int instance_limit(const struct instance_keeper *keeper, const struct desired_workload *workload,
                   const char *instance, bool one_more, struct err *err);

/* Fills everything but command, environment and note, and makes the folder. Freed by
 * instance_spec_free, also after an error. Errors: ERR_NOTFOUND (its user), ERR_IO, ERR_LIMIT. */
int instance_spec_make(const struct instance_keeper *keeper, const struct effect_start *effect,
                       struct instance_spec *spec, struct err *err);
void instance_spec_free(struct instance_spec *spec);

#endif
