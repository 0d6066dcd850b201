/* Carries out what the node decides about workload instances: shims, ports, environment, probes. */
#ifndef COVEY_IO_UV_INSTANCES_H
#define COVEY_IO_UV_INSTANCES_H

#include "agent/core/effect.h"
#include "agent/io/os_cgroup.h"
#include "agent/io/post.h"
#include "proto/wire/keys.h"
#include "proto/base/err.h"

struct uv_loop_s;
struct uv_instances;

struct uv_instances_config { /* strings are borrowed for the life of the object */
    const char *shim;        /* path of agent-shim */
    const char *run_dir;
    const char *state_dir; /* <state_dir>/instances/NAME is an instance's folder, logs in
                              <state_dir>/logs/NAME */
    const char *path;      /* PATH of workloads: where their commands are looked up */
    const char *node_name; /* NODE_NAME of the workloads' environment */
    const struct keys_identity *identity; /* that secrets are sealed to */
    struct addr address; /* HOST of workloads that listen on the node's own address */
    const char *user;    /* of workloads that name none, when agentd is root; NULL: each has one of
                            its own (os_users.h) */
    const char *seccomp; /* path of agent-seccomp; NULL: no filter of system calls */
    void (*report)(void *context, const char *text); /* what this node cannot do for workloads */
    void *report_context;
};

/* Errors: ERR_NOMEM, ERR_IO. */
int uv_instances_create(struct uv_loop_s *loop, const struct uv_instances_config *config,
                        struct post post, struct uv_instances **instances, struct err *err);

/* Finds the shims of an earlier life and posts NODE_FOUND for those that live, and NODE_FOUND
 * followed by NODE_EXITED for workloads that ended meanwhile. Before any effect. */
int uv_instances_scan(struct uv_instances *instances, struct err *err);

/* EFFECT_START: picks ports (a declared one if it is free, one of 20000 to 29999 otherwise), builds
 * the environment (PATH, HOME, HOST, PORT, METRICS_PORT, PORT_<NAME>, NODE_NAME, INSTANCE,
 * CONFIG_DIR where there are files, then the effect's), starts a shim; posts NODE_STARTED with pid
 * and ports, or NODE_EXITED with SUPERVISE_EXIT_FAILED and a reason; later NODE_EXITED. */
void uv_instances_start(struct uv_instances *instances, const struct effect_start *effect);
/* EFFECT_PREPARE: lets its shim keep a process ready for the run that follows (agent/shim/shim.h);
 * a start of the very same is then its execve. Posts nothing. */
void uv_instances_prepare(struct uv_instances *instances, const struct effect_start *effect);
/* EFFECT_FILES: writes those that differ, and sends the document's signal if one of them wants it.
 */
void uv_instances_files(struct uv_instances *instances, const struct effect_files *effect);
void uv_instances_stop(struct uv_instances *instances, const struct effect_stop *effect);
void uv_instances_extend(struct uv_instances *instances, const struct effect_stop *effect);
void uv_instances_forget(struct uv_instances *instances, const struct effect_stop *effect);

/* EFFECT_PROBE: HTTP (GET, 200 to 399 is success, redirects are not followed), TCP or exec (run as
 * the workload's user: the owner of the instance's folder); bounded in time; posts NODE_PROBE with
 * a reason on failure. */
void uv_instances_probe(struct uv_instances *instances, const struct effect_probe *effect);

struct instance_stats {
    char name[INSTANCE_MAX];
    struct os_cgroup_usage usage;
    uint64_t memory_limit; /* 0: none, or not known since a restart of the agent */
    uint64_t log_lines;    /* of this run; as its shim said last */
    uint64_t log_bytes;
    uint64_t log_dropped;
    int64_t probe_ms[HEALTH_PROBES]; /* of the newest answer; −1: none yet */
};

/* What the instances on this node use. *@stats is the caller's (free), NULL where memory ran out.
 */
void uv_instances_stats(struct uv_instances *instances, struct instance_stats **stats,
                        size_t *count);

/* The node's own address has changed: HOST of workloads that start from now on. */
void uv_instances_address(struct uv_instances *instances, const struct addr *address);

/* Whether shims that somebody else starts are found at once (best effort; on from the beginning).
 * Off before this process becomes another program: execve would wait 5 to 13 ms for the kernel to
 * close the watch, whose end costs nothing. NULL is allowed. */
void uv_instances_extras(struct uv_instances *instances, bool on);

/* Closes every connection and ends the probes; the shims and their workloads live on. Posts nothing
 * any more. Calls @closed on the loop. NULL is allowed. */
void uv_instances_close(struct uv_instances *instances, void (*closed)(void *context),
                        void *context);

#endif
