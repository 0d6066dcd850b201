/* How a process of a workload is kept: limits, privileges, hooks, its log. */
#include "agent/desired/formats.h"
#include "agent/desired/kinds.h"

#define PIDS_MAX 4194304
#define OPEN_FILES_MAX 1048576
#define HOOK_TIMEOUT_NORMAL_S 300
#define WRITABLE_PATHS_MAX 16

static const struct schema_field limits_fields[] = {
    {.name = "memory",
     .type = SCHEMA_TEXT,
     .format = &format_memory,
     .offset = offsetof(struct kind_limits, memory),
     .help = "memory, such as 32Mi"},
    {.name = "cpu",
     .type = SCHEMA_TEXT,
     .format = &format_cpu,
     .offset = offsetof(struct kind_limits, cpu),
     .help = "cores, such as 500m"},
    {.name = "pids",
     .type = SCHEMA_INTEGER,
     .low = 1,
     .high = PIDS_MAX,
     .normal = DESIRED_PIDS_NORMAL,
     .offset = offsetof(struct kind_limits, pids),
     .help = "processes and threads"},
    {.name = "openFiles",
     .type = SCHEMA_INTEGER,
     .high = OPEN_FILES_MAX,
     .offset = offsetof(struct kind_limits, open_files),
     .help = "open files of each process, at most as many as agentd may have; 0: as it has them"},
    {.name = NULL},
};

static const struct schema_table limits_table = {
    .help = "what an instance may use at most",
    .size = sizeof(struct kind_limits),
    .fields = limits_fields,
};

static const struct schema_field requests_fields[] = {
    {.name = "memory",
     .type = SCHEMA_TEXT,
     .format = &format_memory,
     .offset = offsetof(struct kind_requests, memory),
     .help = "memory, such as 32Mi"},
    {.name = "cpu",
     .type = SCHEMA_TEXT,
     .format = &format_cpu,
     .offset = offsetof(struct kind_requests, cpu),
     .help = "cores, such as 500m"},
    {.name = NULL},
};

static const struct schema_table requests_table = {
    .help = "what is set aside for an instance",
    .size = sizeof(struct kind_requests),
    .fields = requests_fields,
};

static const struct schema_field resources_fields[] = {
    {.name = "requests",
     .type = SCHEMA_OBJECT,
     .table = &requests_table,
     .offset = offsetof(struct kind_resources, requests),
     .help = "what is set aside for an instance: it is placed only where so much of the node's "
             "memory and cores is not set aside for others; nothing where nothing is said"},
    {.name = "limits",
     .type = SCHEMA_OBJECT,
     .table = &limits_table,
     .offset = offsetof(struct kind_resources, limits),
     .help = "what an instance may use at most"},
    {.name = NULL},
};

const struct schema_table kind_resources_table = {
    .help = "resources of an instance",
    .size = sizeof(struct kind_resources),
    .fields = resources_fields,
};

static const struct schema_field capabilities_fields[] = {
    {.name = "add",
     .type = SCHEMA_TEXTS,
     .high = 41,
     .format = &format_capability,
     .offset = offsetof(struct kind_capabilities, add),
     .help = "capabilities that it keeps, such as NET_BIND_SERVICE; none where nothing is said"},
    {.name = NULL},
};

static const struct schema_table capabilities_table = {
    .help = "capabilities of Linux",
    .size = sizeof(struct kind_capabilities),
    .fields = capabilities_fields,
};

static const char *const seccomp_types[] = {"RuntimeDefault", "Unconfined", NULL};

static const struct schema_field seccomp_fields[] = {
    {.name = "type",
     .type = SCHEMA_CHOICE,
     .choices = seccomp_types,
     .offset = offsetof(struct kind_seccomp, type),
     .help = "RuntimeDefault, or Unconfined for every system call"},
    {.name = NULL},
};

static const struct schema_table seccomp_table = {
    .help = "which system calls it may make",
    .size = sizeof(struct kind_seccomp),
    .fields = seccomp_fields,
};

static const struct schema_field security_fields[] = {
    {.name = "readOnlyRootFilesystem",
     .type = SCHEMA_BOOLEAN,
     .normal = true,
     .offset = offsetof(struct kind_security, read_only_root),
     .help = "it writes only into its own folder, /tmp and writablePaths"},
    {.name = "privateTmp",
     .type = SCHEMA_BOOLEAN,
     .normal = true,
     .offset = offsetof(struct kind_security, private_tmp),
     .help = "a /tmp, /var/tmp and /dev/shm of its own, gone when it ends"},
    {.name = "allowPrivilegeEscalation",
     .type = SCHEMA_BOOLEAN,
     .offset = offsetof(struct kind_security, may_escalate),
     .help = "programs such as sudo may gain privileges"},
    {.name = "capabilities",
     .type = SCHEMA_OBJECT,
     .table = &capabilities_table,
     .offset = offsetof(struct kind_security, capabilities),
     .help = "capabilities that it keeps"},
    {.name = "seccompProfile",
     .type = SCHEMA_OBJECT,
     .table = &seccomp_table,
     .offset = offsetof(struct kind_security, seccomp),
     .help = "which system calls it may make"},
    {.name = "writablePaths",
     .type = SCHEMA_TEXTS,
     .high = WRITABLE_PATHS_MAX,
     .format = &format_absolute_path,
     .offset = offsetof(struct kind_security, writable_paths),
     .help = "folders of the node that it may write to besides its own"},
    {.name = NULL},
};

const struct schema_table kind_security_table = {
    .help = "privileges: each is relaxed by its name",
    .size = sizeof(struct kind_security),
    .fields = security_fields,
};

static const struct schema_field hook_exec_fields[] = {
    {.name = "command",
     .type = SCHEMA_TEXTS,
     .required = true,
     .low = 1,
     .high = DESIRED_HOOK_ARGS_MAX,
     .offset = offsetof(struct kind_exec, command),
     .help = "the program and its arguments"},
    {.name = NULL},
};

static const struct schema_table hook_exec_table = {
    .help = "a program that must end with 0",
    .size = sizeof(struct kind_exec),
    .fields = hook_exec_fields,
};

static const struct schema_field hook_fields[] = {
    {.name = "exec",
     .type = SCHEMA_OBJECT,
     .required = true,
     .table = &hook_exec_table,
     .offset = offsetof(struct kind_hook, exec),
     .help = "a program, run as the workload itself is: same user, environment, folder and limits"},
    {.name = "timeoutSeconds",
     .type = SCHEMA_INTEGER,
     .low = 1,
     .high = 3600,
     .normal = HOOK_TIMEOUT_NORMAL_S,
     .offset = offsetof(struct kind_hook, timeout_s),
     .help = "it is killed, and has failed, after this"},
    {.name = NULL},
};

static const struct schema_table hook_table = {
    .help = "a program that runs before the start or after the end",
    .size = sizeof(struct kind_hook),
    .fields = hook_fields,
};

static const struct schema_field lifecycle_fields[] = {
    {.name = "preStart",
     .type = SCHEMA_OBJECT,
     .table = &hook_table,
     .offset = offsetof(struct kind_lifecycle, pre_start),
     .help = "runs to its end before each start; where it fails, the start has failed"},
    {.name = "postStop",
     .type = SCHEMA_OBJECT,
     .table = &hook_table,
     .offset = offsetof(struct kind_lifecycle, post_stop),
     .help = "runs after each end, however it came"},
    {.name = NULL},
};

const struct schema_table kind_lifecycle_table = {
    .help = "programs that run before the start and after the end",
    .size = sizeof(struct kind_lifecycle),
    .fields = lifecycle_fields,
};

static const struct schema_field logs_fields[] = {
    {.name = "maxSize",
     .type = SCHEMA_TEXT,
     .format = &format_memory,
     .offset = offsetof(struct kind_logs, max_size),
     .help = "bytes of log kept per instance, rotated files included, such as 16Mi"},
    {.name = "maxAgeSeconds",
     .type = SCHEMA_INTEGER,
     .high = 366 * 86400,
     .offset = offsetof(struct kind_logs, max_age_s),
     .help = "a log file is rotated when its first line is older than this; 0: by size alone"},
    {.name = NULL},
};

const struct schema_table kind_logs_table = {
    .help = "how much of its log is kept",
    .size = sizeof(struct kind_logs),
    .fields = logs_fields,
};

static const struct schema_field strategy_fields[] = {
    {.name = "maxUnavailable",
     .type = SCHEMA_INTEGER,
     .low = 1,
     .high = DESIRED_REPLICAS_MAX,
     .normal = 1,
     .offset = offsetof(struct kind_strategy, max_unavailable),
     .help = "replicas that may be away at a time while a new version replaces the old one"},
    {.name = "handOver",
     .type = SCHEMA_BOOLEAN,
     .offset = offsetof(struct kind_strategy, hand_over),
     .help = "agentd holds the listening sockets and passes them (LISTEN_FDS): the next process "
             "is ready before the former one ends"},
    {.name = NULL},
};

const struct schema_table kind_strategy_table = {
    .help = "how a new version replaces the old one",
    .size = sizeof(struct kind_strategy),
    .fields = strategy_fields,
};
