#include <signal.h>

#include "agent/desired/formats.h"
#include "agent/desired/kinds.h"

#define STOP_GRACE_NORMAL_S 30 /* Kubernetes' */
#define STARTING_DEADLINE_NORMAL_S 3600
#define WEEK_S (7 * 24 * 3600)

/* What Workload and CronWorkload share. */

static const struct schema_field env_fields[] = {
    {.name = "name",
     .type = SCHEMA_TEXT,
     .required = true,
     .format = &format_env_name,
     .offset = offsetof(struct kind_env, name),
     .help = "name of the variable"},
    {.name = "value",
     .type = SCHEMA_TEXT,
     .verbatim = true,
     .format = &format_env_value,
     .offset = offsetof(struct kind_env, value),
     .help = "its value; ${service:NAME/PORT}, ${secret:NAME/KEY} and others are filled in"},
    {.name = NULL},
};

static const struct schema_table env_table = {
    .help = "a variable of the environment",
    .size = sizeof(struct kind_env),
    .fields = env_fields,
};

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
    {.name = NULL},
};

static const struct schema_table limits_table = {
    .help = "what an instance may use at most",
    .size = sizeof(struct kind_limits),
    .fields = limits_fields,
};

static const struct schema_field resources_fields[] = {
    {.name = "limits",
     .type = SCHEMA_OBJECT,
     .table = &limits_table,
     .offset = offsetof(struct kind_resources, limits),
     .help = "what an instance may use at most"},
    {.name = NULL},
};

static const struct schema_table resources_table = {
    .help = "resources of an instance",
    .size = sizeof(struct kind_resources),
    .fields = resources_fields,
};

static const char *const changes[] = {
    [DESIRED_CHANGE_RESTART] = "Restart",
    [DESIRED_CHANGE_SIGNAL] = "Signal",
    [DESIRED_CHANGE_NOTHING] = "Nothing",
    NULL,
};

static const struct schema_field file_fields[] = {
    {.name = "path",
     .type = SCHEMA_TEXT,
     .required = true,
     .format = &format_relative_path,
     .offset = offsetof(struct kind_file, path),
     .help = "where it is written, below the folder that CONFIG_DIR names"},
    {.name = "content",
     .type = SCHEMA_TEXT,
     .verbatim = true,
     .offset = offsetof(struct kind_file, content),
     .help = "what it holds; references such as ${service:NAME/PORT} are filled in"},
    {.name = "source",
     .type = SCHEMA_TEXT,
     .format = &format_relative_path,
     .offset = offsetof(struct kind_file, source),
     .help = "the file of the repository that holds it instead, below the app's files/"},
    {.name = "mode",
     .type = SCHEMA_TEXT,
     .format = &format_mode,
     .offset = offsetof(struct kind_file, mode),
     .help = "octal permissions; 0440 where nothing is said"},
    {.name = "template",
     .type = SCHEMA_BOOLEAN,
     .normal = true,
     .offset = offsetof(struct kind_file, template),
     .help = "false: what it holds is written as it is, without looking for references"},
    {.name = "onChange",
     .type = SCHEMA_CHOICE,
     .choices = changes,
     .normal = DESIRED_CHANGE_RESTART,
     .offset = offsetof(struct kind_file, change),
     .help = "what happens to the program when the file becomes another"},
    {.name = NULL},
};

static const struct schema_table file_table = {
    .help = "a file that is written for the program",
    .size = sizeof(struct kind_file),
    .fields = file_fields,
};

static const char *const signals[] = {"SIGHUP", "SIGUSR1",  "SIGUSR2", "SIGTERM",
                                      "SIGINT", "SIGWINCH", NULL};
const int kind_signals[] = {SIGHUP, SIGUSR1, SIGUSR2, SIGTERM, SIGINT, SIGWINCH};

static const struct schema_field process_fields[] = {
    {.name = "command",
     .type = SCHEMA_TEXTS,
     .required = true,
     .low = 1,
     .high = DESIRED_ARGS_MAX,
     .offset = offsetof(struct kind_workload, command),
     .help = "the program, looked up in PATH, and its first arguments"},
    {.name = "args",
     .type = SCHEMA_TEXTS,
     .high = DESIRED_ARGS_MAX,
     .offset = offsetof(struct kind_workload, args),
     .help = "further arguments"},
    {.name = "env",
     .type = SCHEMA_LIST,
     .high = DESIRED_ENV_MAX,
     .table = &env_table,
     .offset = offsetof(struct kind_workload, env),
     .help = "environment: name and value each"},
    {.name = "files",
     .type = SCHEMA_LIST,
     .high = DESIRED_FILES_OF_MAX,
     .table = &file_table,
     .offset = offsetof(struct kind_workload, files),
     .help = "files that are written for the program"},
    {.name = "variables",
     .type = SCHEMA_MAP,
     .high = DESIRED_VARIABLES_MAX,
     .keys = &format_env_name,
     .format = &format_env_value,
     .offset = offsetof(struct kind_workload, variables),
     .help = "texts that ${var:NAME} stands for in env, args and files"},
    {.name = "reloadSignal",
     .type = SCHEMA_CHOICE,
     .choices = signals,
     .offset = offsetof(struct kind_workload, reload_signal),
     .help = "sent when a file with onChange: Signal becomes another"},
    {.name = "workingDir",
     .type = SCHEMA_TEXT,
     .format = &format_absolute_path,
     .offset = offsetof(struct kind_workload, working_dir),
     .help = "where it is started; the instance's own folder where nothing is said"},
    {.name = "user",
     .type = SCHEMA_TEXT,
     .format = &format_user,
     .offset = offsetof(struct kind_workload, user),
     .help = "system user; an unprivileged one where nothing is said"},
    {.name = "resources",
     .type = SCHEMA_OBJECT,
     .table = &resources_table,
     .offset = offsetof(struct kind_workload, resources),
     .help = "limits of an instance"},
    {.name = "nodeSelector",
     .type = SCHEMA_MAP,
     .high = DESIRED_LABELS_MAX,
     .keys = &format_label_key,
     .format = &format_label_value,
     .offset = offsetof(struct kind_workload, node_selector),
     .help = "labels that a node must have"},
    {.name = "dependsOn",
     .type = SCHEMA_TEXTS,
     .high = DESIRED_DEPENDS_MAX,
     .format = &format_object,
     .offset = offsetof(struct kind_workload, depends_on),
     .help = "what must be ready before this one starts: workloads, or Kind/name"},
    {.name = "terminationGracePeriodSeconds",
     .type = SCHEMA_INTEGER,
     .high = 3600,
     .normal = STOP_GRACE_NORMAL_S,
     .offset = offsetof(struct kind_workload, stop_grace_s),
     .help = "time between SIGTERM and SIGKILL"},
    {.name = NULL},
};

static const struct schema_table process_table = {
    .size = sizeof(struct kind_workload),
    .fields = process_fields,
};

/* Workload */

static const struct schema_field port_fields[] = {
    {.name = "name",
     .type = SCHEMA_TEXT,
     .format = &format_port_name,
     .offset = offsetof(struct kind_port, name),
     .help = "name of the port; \"http\" where the only one has none"},
    {.name = "port",
     .type = SCHEMA_INTEGER,
     .high = 65535,
     .offset = offsetof(struct kind_port, port),
     .help = "wanted number; any free one where it is taken, or 0"},
    {.name = NULL},
};

static const struct schema_table port_table = {
    .help = "a TCP port that the workload listens on",
    .size = sizeof(struct kind_port),
    .fields = port_fields,
};

static const struct schema_field http_fields[] = {
    {.name = "path",
     .type = SCHEMA_TEXT,
     .format = &format_url_path,
     .offset = offsetof(struct kind_http, path),
     .help = "path; / where nothing is said"},
    {.name = "port",
     .type = SCHEMA_TEXT,
     .format = &format_probe_port,
     .offset = offsetof(struct kind_http, port),
     .help = "name or number of a port; the only one where nothing is said"},
    {.name = NULL},
};

static const struct schema_table http_table = {
    .help = "an HTTP GET that must answer 200 to 399",
    .size = sizeof(struct kind_http),
    .fields = http_fields,
};

static const struct schema_field tcp_fields[] = {
    {.name = "port",
     .type = SCHEMA_TEXT,
     .format = &format_probe_port,
     .offset = offsetof(struct kind_tcp, port),
     .help = "name or number of a port; the only one where nothing is said"},
    {.name = NULL},
};

static const struct schema_table tcp_table = {
    .help = "a TCP connection that must succeed",
    .size = sizeof(struct kind_tcp),
    .fields = tcp_fields,
};

static const struct schema_field exec_fields[] = {
    {.name = "command",
     .type = SCHEMA_TEXTS,
     .required = true,
     .low = 1,
     .high = DESIRED_ARGS_MAX,
     .offset = offsetof(struct kind_exec, command),
     .help = "the program and its arguments"},
    {.name = NULL},
};

static const struct schema_table exec_table = {
    .help = "a program that must end with 0",
    .size = sizeof(struct kind_exec),
    .fields = exec_fields,
};

static const struct schema_field probe_fields[] = {
    {.name = "httpGet",
     .type = SCHEMA_OBJECT,
     .table = &http_table,
     .offset = offsetof(struct kind_probe, http),
     .help = "ask by HTTP"},
    {.name = "tcpSocket",
     .type = SCHEMA_OBJECT,
     .table = &tcp_table,
     .offset = offsetof(struct kind_probe, tcp),
     .help = "connect by TCP"},
    {.name = "exec",
     .type = SCHEMA_OBJECT,
     .table = &exec_table,
     .offset = offsetof(struct kind_probe, exec),
     .help = "run a program"},
    {.name = "initialDelaySeconds",
     .type = SCHEMA_INTEGER,
     .high = 3600,
     .offset = offsetof(struct kind_probe, initial_delay_s),
     .help = "wait after the start before the first probe"},
    {.name = "periodSeconds",
     .type = SCHEMA_INTEGER,
     .low = 1,
     .high = 3600,
     .normal = 10,
     .offset = offsetof(struct kind_probe, period_s),
     .help = "time between probes"},
    {.name = "timeoutSeconds",
     .type = SCHEMA_INTEGER,
     .low = 1,
     .high = 600,
     .normal = 1,
     .offset = offsetof(struct kind_probe, timeout_s),
     .help = "a slower answer is a failure"},
    {.name = "successThreshold",
     .type = SCHEMA_INTEGER,
     .low = 1,
     .high = 100,
     .normal = 1,
     .offset = offsetof(struct kind_probe, success_threshold),
     .help = "successes in a row that make it healthy; 1 except for readiness"},
    {.name = "failureThreshold",
     .type = SCHEMA_INTEGER,
     .low = 1,
     .high = 100,
     .normal = 3,
     .offset = offsetof(struct kind_probe, failure_threshold),
     .help = "failures in a row that make it unhealthy"},
    {.name = NULL},
};

static const struct schema_table probe_table = {
    .help = "how to find out whether an instance is well: httpGet, tcpSocket or exec",
    .size = sizeof(struct kind_probe),
    .fields = probe_fields,
};

static const char *const listens[] = {
    [DESIRED_LISTEN_NODE] = "node",
    [DESIRED_LISTEN_ALL] = "all",
    [DESIRED_LISTEN_LOCAL] = "local",
    NULL,
};
static const char *const restarts[] = {
    [DESIRED_RESTART_ALWAYS] = "Always",
    [DESIRED_RESTART_ON_FAILURE] = "OnFailure",
    [DESIRED_RESTART_NEVER] = "Never",
    NULL,
};

static const char *const unsatisfiables[] = {"DoNotSchedule", "ScheduleAnyway", NULL};

static const struct schema_field spread_fields[] = {
    {.name = "topologyKey",
     .type = SCHEMA_TEXT,
     .required = true,
     .format = &format_label_key,
     .offset = offsetof(struct kind_spread, key),
     .help = "label whose values are the places to spread over, such as zone"},
    {.name = "maxSkew",
     .type = SCHEMA_INTEGER,
     .low = 1,
     .high = 16,
     .normal = 1,
     .offset = offsetof(struct kind_spread, max_skew),
     .help = "how many more instances one place may have than another"},
    {.name = "whenUnsatisfiable",
     .type = SCHEMA_CHOICE,
     .choices = unsatisfiables,
     .offset = offsetof(struct kind_spread, unsatisfiable),
     .help = "whether an instance that would break it runs all the same"},
    {.name = NULL},
};

static const struct schema_table spread_table = {
    .help = "how the instances are spread over nodes with a label",
    .size = sizeof(struct kind_spread),
    .fields = spread_fields,
};

static const struct schema_field workload_spec_fields[] = {
    {.name = "replicas",
     .type = SCHEMA_INTEGER,
     .high = DESIRED_REPLICAS_MAX,
     .normal = 1,
     .offset = offsetof(struct kind_workload, replicas),
     .help = "how many instances run"},
    {.name = "singleton",
     .type = SCHEMA_BOOLEAN,
     .offset = offsetof(struct kind_workload, singleton),
     .help = "at most one instance, ever: it takes a lease, and rather none runs than two"},
    {.name = "topologySpreadConstraints",
     .type = SCHEMA_LIST,
     .high = DESIRED_SPREAD_MAX,
     .table = &spread_table,
     .offset = offsetof(struct kind_workload, spread),
     .help = "how the instances are spread over the nodes"},
    {.name = "listen",
     .type = SCHEMA_CHOICE,
     .choices = listens,
     .normal = DESIRED_LISTEN_NODE,
     .offset = offsetof(struct kind_workload, listen),
     .help = "address given as HOST: node (the node's own), all (virtual IPs too) or local"},
    {.name = "ports",
     .type = SCHEMA_LIST,
     .high = DESIRED_PORTS_MAX,
     .table = &port_table,
     .offset = offsetof(struct kind_workload, ports),
     .help = "ports, given to the program as PORT and PORT_<NAME>"},
    {.name = "startupProbe",
     .type = SCHEMA_OBJECT,
     .table = &probe_table,
     .offset = offsetof(struct kind_workload, startup),
     .help = "holds the other probes back"},
    {.name = "readinessProbe",
     .type = SCHEMA_OBJECT,
     .table = &probe_table,
     .offset = offsetof(struct kind_workload, readiness),
     .help = "is it ready for requests?"},
    {.name = "livenessProbe",
     .type = SCHEMA_OBJECT,
     .table = &probe_table,
     .offset = offsetof(struct kind_workload, liveness),
     .help = "must it be restarted?"},
    {.name = "restartPolicy",
     .type = SCHEMA_CHOICE,
     .choices = restarts,
     .normal = DESIRED_RESTART_ALWAYS,
     .offset = offsetof(struct kind_workload, restart),
     .help = "when an instance that ended is started again"},
    {.name = NULL},
};

const struct schema_table kind_workload_table = {
    .help = "a program that runs all the time",
    .size = sizeof(struct kind_workload),
    .base = &process_table,
    .fields = workload_spec_fields,
};

/* CronWorkload */

static const char *const concurrencies[] = {
    [DESIRED_FORBID] = "Forbid",
    [DESIRED_ALLOW] = "Allow",
    [DESIRED_REPLACE] = "Replace",
    NULL,
};

static const struct schema_field cron_spec_fields[] = {
    {.name = "schedule",
     .type = SCHEMA_TEXT,
     .required = true,
     .format = &format_not_empty,
     .offset = offsetof(struct kind_workload, schedule),
     .help = "five cron fields, such as \"*/5 * * * *\", or @hourly"},
    {.name = "concurrencyPolicy",
     .type = SCHEMA_CHOICE,
     .choices = concurrencies,
     .normal = DESIRED_FORBID,
     .offset = offsetof(struct kind_workload, concurrency),
     .help = "what a tick does while an earlier run lives"},
    {.name = "startingDeadlineSeconds",
     .type = SCHEMA_INTEGER,
     .high = WEEK_S,
     .normal = STARTING_DEADLINE_NORMAL_S,
     .offset = offsetof(struct kind_workload, starting_deadline_s),
     .help = "a tick missed by less than this is made up for"},
    {.name = "suspend",
     .type = SCHEMA_BOOLEAN,
     .offset = offsetof(struct kind_workload, suspend),
     .help = "ticks pass without a start"},
    {.name = "restartPolicy",
     .type = SCHEMA_CHOICE,
     .choices = &restarts[DESIRED_RESTART_ON_FAILURE],
     .low = DESIRED_RESTART_ON_FAILURE,
     .normal = DESIRED_RESTART_NEVER,
     .offset = offsetof(struct kind_workload, restart),
     .help = "whether a run that failed is started again before the next tick"},
    {.name = NULL},
};

const struct schema_table kind_cron_table = {
    .help = "a program that runs at set times",
    .size = sizeof(struct kind_workload),
    .base = &process_table,
    .fields = cron_spec_fields,
};
