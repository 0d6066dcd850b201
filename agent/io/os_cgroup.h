/* Control groups of workloads: limits that hold, and what is used.
 *
 * One group per instance, <hierarchy>/<base>/<instance>, made before its first start and removed
 * when it is forgotten. cgroup v2 where it has the controllers, else v1, controller by controller.
 * agentd makes its groups at the root of the hierarchy, as container engines do that do not ask
 * systemd: below its own unit's group no process could join it any more once a controller is handed
 * down. */
#ifndef COVEY_IO_OS_CGROUP_H
#define COVEY_IO_OS_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/shim/shim.h"
#include "proto/base/err.h"

struct os_cgroup;

enum os_cgroup_controller {
    OS_CGROUP_MEMORY,
    OS_CGROUP_CPU,
    OS_CGROUP_PIDS,
    OS_CGROUP_CONTROLLERS
};

struct os_cgroup_limits { /* 0: none */
    uint64_t memory;      /* bytes */
    uint32_t cpu_milli;   /* thousandths of a core */
    uint32_t pids;
};

struct os_cgroup_usage {
    bool known[OS_CGROUP_CONTROLLERS];
    uint64_t memory;       /* bytes */
    uint64_t cpu_us;       /* since the group was made */
    uint64_t pids;         /* now */
    uint64_t oom_kills;    /* processes killed at the memory limit, since the group was made */
    uint64_t pids_refused; /* forks refused, since the group was made */
};

struct os_cgroup_place { /* of one instance; cgroups as in struct shim_spec */
    char path[SHIM_CGROUPS_MAX][512];
    const char *cgroups[SHIM_CGROUPS_MAX + 1];
};

/* Finds out what this machine has. @base is the name of the agent's folder in every hierarchy.
 * @missing says for people what cannot be limited and what to do; empty: nothing is missing. Always
 * succeeds save for ERR_NOMEM. */
int os_cgroup_open(const char *base, struct os_cgroup **cgroup, char missing[ERR_TEXT_MAX],
                   struct err *err);
/* NULL is allowed. Instances' groups stay; the agent's own goes if it has none. */
void os_cgroup_close(struct os_cgroup *cgroup);

/* 2, 1, or 0 where neither version can be used. */
int os_cgroup_version(const struct os_cgroup *cgroup);
bool os_cgroup_has(const struct os_cgroup *cgroup, enum os_cgroup_controller controller);

/* Of an instance that lost its shim: no process in its groups can make another, until
 * os_cgroup_make. */
void os_cgroup_stop_forks(const struct os_cgroup *cgroup, const char *instance);

/* Fills @place with all groups that an instance may have. */
void os_cgroup_places(const struct os_cgroup *cgroup, const char *instance,
                      struct os_cgroup_place *place);

/* Fills @place with the groups that an instance with @limits enters, whether they are there or not.
 */
void os_cgroup_place(const struct os_cgroup *cgroup, const char *instance,
                     const struct os_cgroup_limits *limits, struct os_cgroup_place *place);

/* Makes the instance's groups, or takes those that are there, and sets @limits. Controllers that
 * are missing are left out. Errors: ERR_IO. */
int os_cgroup_make(const struct os_cgroup *cgroup, const char *instance,
                   const struct os_cgroup_limits *limits, struct err *err);

void os_cgroup_usage(const struct os_cgroup *cgroup, const char *instance,
                     struct os_cgroup_usage *usage);
/* Only what was refused and killed. */
void os_cgroup_refused(const struct os_cgroup *cgroup, const char *instance,
                       struct os_cgroup_usage *usage);

/* Removes the instance's groups. False: processes are left in one, which stays. */
bool os_cgroup_remove(const struct os_cgroup *cgroup, const char *instance);

#endif
