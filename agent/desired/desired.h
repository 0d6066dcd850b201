/* The desired state: what the flock shall run, read from the documents of one commit.
 *
 * Pure: bytes in, typed objects or an error with file and line out. Everything that a document may
 * say stands here; kinds.c holds names, types, ranges and defaults of every field.
 * Source: DESIGN section 6; Kubernetes' vocabulary where it has one. */
#ifndef COVEY_DESIRED_DESIRED_H
#define COVEY_DESIRED_DESIRED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/id.h"

#define DESIRED_FILE_MAX (1024 * 1024)      /* bytes of one document file */
#define DESIRED_TREE_MAX (16 * 1024 * 1024) /* bytes of all files of a commit */
#define DESIRED_FILES_MAX 4096              /* files of a commit */
#define DESIRED_OBJECTS_MAX 4096            /* native objects of a commit */
#define DESIRED_DEPTH_MAX 32                /* nesting of a YAML document */
#define DESIRED_PATH_MAX 512                /* bytes of a path in the repository */
#define DESIRED_REPLICAS_MAX 256            /* replicas of one workload */
#define DESIRED_ARGS_MAX 64
#define DESIRED_ENV_MAX 128
#define DESIRED_ENV_VALUE_MAX 4096 /* bytes of a value, terminating zero included */
#define DESIRED_PORTS_MAX 8        /* = VALUE_PORTS_MAX: all of them fit the instance's record */
#define DESIRED_LABELS_MAX 16
#define DESIRED_DEPENDS_MAX 16
#define DESIRED_HOOK_ARGS_MAX 32
#define DESIRED_PIDS_NORMAL 1024 /* processes of an instance whose document names no limit */
#define DESIRED_HISTORY_MAX 20   /* ended runs of a CronWorkload that are remembered */
#define DESIRED_NEEDS_MAX 128    /* dependencies and references of one workload */
#define DESIRED_VIPS_MAX 64
#define DESIRED_NODES_MAX 128
#define DESIRED_HOLD_DOWN_S 10           /* where cluster.yaml says nothing */
#define DESIRED_FILES_OF_MAX 32          /* files of one workload */
#define DESIRED_CONTENT_MAX (256 * 1024) /* bytes of one of them, before it is rendered */
#define DESIRED_VARIABLES_MAX 128
#define DESIRED_SPREAD_MAX 4
#define DESIRED_ROUTES_MAX 256
#define DESIRED_HOSTS_MAX 16
#define DESIRED_SECRETS_MAX 256
#define DESIRED_SECRET_KEYS_MAX 32
#define DESIRED_APPS_MAX 128         /* apps with a policy of their own */
#define DESIRED_HEALTH_TIMEOUT_S 120 /* where cluster.yaml says nothing */

struct desired_file {
    const char *path; /* relative to the repository's root, '/' between parts */
    const char *data; /* @size bytes, not zero-terminated */
    size_t size;
};

struct desired_pair {
    const char *name;
    const char *value;
};

struct desired_map { /* labels, selectors, environment: sorted by name, names unique */
    const struct desired_pair *pairs;
    size_t count;
};

enum desired_listen {
    DESIRED_LISTEN_NODE,  /* HOST is the node's own address (default) */
    DESIRED_LISTEN_ALL,   /* 0.0.0.0: answers on virtual addresses too */
    DESIRED_LISTEN_LOCAL, /* 127.0.0.1 */
};

struct desired_port {
    const char *name; /* a DNS label of at most 15 bytes; "http" if the only port has none */
    uint16_t port;    /* wanted; 0: any free one */
};

enum desired_probe_kind {
    DESIRED_PROBE_NONE,
    DESIRED_PROBE_HTTP,
    DESIRED_PROBE_TCP,
    DESIRED_PROBE_EXEC
};

struct desired_probe {
    enum desired_probe_kind kind;
    const char *path;           /* HTTP: path and query, begins with '/' */
    const char *port;           /* HTTP, TCP: name of one of the workload's ports */
    const char *const *command; /* EXEC: NULL-terminated */
    uint32_t initial_delay_s;   /* 0..3600 */
    uint32_t period_s;          /* 1..3600 */
    uint32_t timeout_s;         /* 1..600 */
    uint32_t success_threshold; /* 1..100 */
    uint32_t failure_threshold; /* 1..100 */
};

enum desired_restart { DESIRED_RESTART_ALWAYS, DESIRED_RESTART_ON_FAILURE, DESIRED_RESTART_NEVER };
enum desired_concurrency { DESIRED_FORBID, DESIRED_ALLOW, DESIRED_REPLACE };

/* A file that agentd writes for a workload, below the folder that CONFIG_DIR names. */
enum desired_change { DESIRED_CHANGE_RESTART, DESIRED_CHANGE_SIGNAL, DESIRED_CHANGE_NOTHING };

struct desired_content {
    const char *path;           /* relative, without ".." */
    const char *text;           /* may hold references: reference.h */
    uint32_t mode;              /* permissions, such as 0440 */
    enum desired_change change; /* what happens to the process when the rendered file differs */
    bool references;
};

/* topologySpreadConstraints, Kubernetes' meaning. */
struct desired_spread {
    const char *key;   /* a node label, or "covey.dev/node" */
    uint32_t max_skew; /* 1..16 */
    bool strict;       /* DoNotSchedule */
};

struct desired_schedule { /* CronWorkload */
    const char *expression;
    enum desired_concurrency concurrency;
    uint32_t starting_deadline_s; /* a tick missed by less than this is made up for */
    bool suspend;
    const char *time_zone; /* a name of the tz database; NULL: UTC */
    bool retry_lost;       /* a run whose end nobody knows is made up for */
    uint32_t history_limit;
};

struct desired_security { /* all zero is the strictest, and the default */
    bool writable_root;
    bool shared_tmp;
    bool may_escalate;
    bool unfiltered;                   /* no filter of system calls */
    uint64_t capabilities;             /* bit n: Linux' capability n is kept */
    const char *const *writable_paths; /* NULL-terminated, or NULL */
};

struct desired_hook {
    const char *const *command; /* NULL: no hook */
    uint32_t timeout_s;
};

/* Workload and CronWorkload. */
struct desired_workload {
    const char *app;  /* folder below apps/ */
    const char *name; /* unique in the whole repository */
    const char *file; /* where it stands, for people */
    int line;
    uint64_t generation; /* hash of all that a restart is needed for; equal on every node */
    uint64_t digest;     /* hash of all that may make a difference to whether it is ready */
    struct desired_map labels;
    uint32_t replicas; /* 0..DESIRED_REPLICAS_MAX; CronWorkload: 1 */
    bool singleton;    /* at most one, ever: takes a lease; replicas is 1 */
    bool cron;
    struct desired_schedule schedule; /* cron only */
    const char *const *command;       /* NULL-terminated; command[0] is looked up in PATH */
    const char *working_dir;          /* NULL: the instance's own state folder */
    const char *user;                 /* NULL: the default unprivileged user */
    struct desired_map env;           /* values may hold references: reference.h */
    enum desired_listen listen;
    const struct desired_port *ports;
    size_t port_count;
    struct desired_probe startup, readiness, liveness;
    enum desired_restart restart;
    uint32_t stop_grace_s; /* terminationGracePeriodSeconds, 0..3600 */
    struct desired_map node_selector;
    const char *const *depends_on;      /* NULL-terminated names of workloads; acyclic */
    const char *const *depends_objects; /* likewise "Kind/name" of the other kinds */
    bool references;                    /* the command, env or files hold references */
    const char *const *sealed_for; /* NULL-terminated names of the nodes that can open every secret
                                      that it names; NULL: it names none */
    const struct desired_content *files;
    size_t file_count;
    int reload_signal; /* for files whose change is a signal */
    const struct desired_spread *spread;
    size_t spread_count;
    uint64_t memory_request; /* bytes that are set aside for an instance */
    uint32_t cpu_request_milli;
    uint64_t memory_limit;     /* bytes; 0: none */
    uint32_t cpu_limit_milli;  /* thousandths of a core; 0: none */
    uint32_t pids_limit;       /* processes and threads */
    uint32_t open_files_limit; /* 0: agentd's own */
    int32_t oom_score_adjust;  /* -1000..1000 */
    int32_t stop_signal;       /* 0: SIGTERM */
    struct desired_security security;
    struct desired_hook pre_start, post_stop;
    uint64_t log_bytes;       /* kept per instance; 0: the agent's default */
    uint32_t log_age_s;       /* a file is rotated at this age; 0: never for its age */
    uint32_t max_unavailable; /* replicas away at a time while they are replaced */
    bool hand_over;           /* listening sockets are passed from one process to the next */
};

struct desired_vip {
    const char *app, *name, *file;
    int line;
    struct addr address; /* as the document names it; family 0: one of the pool */
    bool strict;         /* mode: strict (never solo) instead of solo */
};

/* What the front door does with a request: the longest path of its host wins. */
struct desired_route {
    const char *app, *name, *file;
    int line;
    const char *const *hosts; /* NULL-terminated, lower case; at least one */
    const char *path;         /* prefix, begins with '/' */
    const char *workload;     /* behind it */
    const char *port;         /* name of one of its ports */
    const char *vip;          /* the VirtualIP that it listens on; NULL: every one */
};

struct desired_k3s {
    const char *app, *name, *file;
    int line;
    uint64_t generation;
    const char *const *servers; /* NULL-terminated names of nodes; at least one */
    struct desired_map agents;  /* labels of the nodes that are agents; empty: all others */
    const char *version;        /* NULL: whichever is installed */
    const char *interface;      /* flannel's; NULL: the node's own */
    const char *const *disable; /* NULL-terminated; may be NULL */
    const char *const *args;    /* likewise */
};

struct desired_recipient {
    const char *node; /* name, for people */
    const char *key;  /* base64: the data key, sealed to that node */
};

/* Values that only some nodes can open: seal.h. */
struct desired_secret {
    const char *app, *name, *file;
    int line;
    uint64_t digest; /* of the ciphertexts: changes when a value or a recipient does */
    const struct desired_recipient *recipients;
    size_t recipient_count;
    struct desired_map data; /* base64, encrypted with the data key */
};

#define DESIRED_CANARY_MAX 256 /* bytes of the names of nodes that go first */

enum desired_drift { DESIRED_DRIFT_CORRECT, DESIRED_DRIFT_WARN, DESIRED_DRIFT_OFF };

/* How commits are applied: cluster.yaml's sync. */
struct desired_sync {
    uint32_t health_timeout_s; /* 0: nobody waits, and nothing is rolled back */
    bool rollback;             /* to the last good commit when the timeout passes */
    const char *canary;        /* the node that goes first; NULL: all at once */
    enum desired_drift drift;  /* of apps that say nothing else */
};

struct desired_app { /* a policy of its own */
    const char *name;
    enum desired_drift drift;
};

struct desired_node { /* nodes of cluster.yaml: labels by name */
    const char *name;
    struct desired_map labels;
};

/* A document of another apiVersion, or a folder with a kustomization.yaml: kept for k3s. */
struct desired_foreign {
    const char *file;
    int line;
    const char *api_version, *kind, *name; /* a folder: "", "Kustomization", its path */
    uint64_t digest;                       /* changes with what it says */
    const char *const *depends_on; /* "Kind/name" of its annotation covey.dev/depends-on; or NULL */
    unsigned rank;                 /* what is applied earlier has a lower one */
};

struct desired {
    char commit[COMMIT_TEXT];
    const char *cluster_name;          /* "flock" where there is no cluster.yaml */
    struct addr pool_first, pool_last; /* family 0: no pool */
    uint32_t hold_down_s;              /* a dead node's replicas move after this */
    const struct desired_node *nodes;
    size_t node_count;
    const struct desired_workload *workloads; /* sorted by name */
    size_t workload_count;
    const struct desired_vip *vips; /* sorted by name */
    size_t vip_count;
    const struct desired_route *routes; /* sorted by name */
    size_t route_count;
    const struct desired_k3s *k3s; /* sorted by name */
    size_t k3s_count;
    const struct desired_secret *secrets; /* sorted by name */
    size_t secret_count;
    const struct desired_foreign *foreign; /* in the order in which they are to be applied */
    size_t foreign_count;
    struct desired_sync sync;
    const struct desired_app *apps; /* with a policy of their own, sorted by name */
    size_t app_count;
};

/* The file @path of the repository is read by desired_parse: cluster.yaml, what ends in .yaml, .yml
 * or is called Kustomization below apps/, and all of apps/APP/files/. Other files may be handed
 * over; they are ignored. */
bool desired_wants(const char *path);

/* Reads and validates. @files are borrowed for the call. On success *@desired owns
 * itself and is freed by desired_free; it is immutable and may be read by several threads.
 * The result depends on nothing but @commit and @files: every node comes to the same.
 * Errors: ERR_INVALID, ERR_LIMIT with "file:line: what, why, what next"; ERR_NOMEM. Where a
 * commit has several errors the first is in @err and the rest, one a line, in *@report (@report may
 * be NULL; *@report is freed by the caller, and NULL where there are no more). */
int desired_parse(const char *commit, const struct desired_file *files, size_t count,
                  struct desired **desired, char **report, struct err *err);

void desired_free(struct desired *desired); /* NULL is allowed */

/* NULL if there is none of that name. */
const struct desired_workload *desired_workload(const struct desired *desired, const char *name);
const struct desired_node *desired_node(const struct desired *desired, const char *name);

const struct desired_secret *desired_secret(const struct desired *desired, const char *name);

/* How drift of @app is treated. */
enum desired_drift desired_drift(const struct desired *desired, const char *app);

/* What @foreign waits for: "k3s". */
void desired_waiting(const struct desired_foreign *foreign, char *text, size_t size);

/* The value of @name in @map, or NULL. */
const char *desired_map_get(const struct desired_map *map, const char *name);

/* What changed from @old (NULL: nothing was there) to @new, one line each for people:
 * "+ Workload rest-api", "~ Workload metrics-app (env)", "- VirtualIP front". Freed by the caller;
 * NULL only when memory ran out. */
char *desired_diff(const struct desired *old, const struct desired *new);

#endif
