/* The native kinds as they are written: one table each, and the structs that the tables fill.
 * workload.c and cluster.c turn them into the objects of desired.h. */
#ifndef COVEY_DESIRED_KINDS_H
#define COVEY_DESIRED_KINDS_H

#include "agent/desired/desired.h"
#include "agent/desired/schema.h"

#define KIND_API_VERSION "covey.dev/v1"
#define KIND_API_GROUP "covey.dev/"

enum kind {
    KIND_CLUSTER,
    KIND_WORKLOAD,
    KIND_CRON_WORKLOAD,
    KIND_VIRTUAL_IP,
    KIND_ROUTE,
    KIND_K3S,
    KIND_SEALED_SECRET,
    KIND_COUNT
};

struct kind_metadata {
    const char *name;
    struct desired_map labels;
};

/* Every document. */
struct kind_document {
    const struct kind_metadata *metadata;
    const void *spec; /* struct kind_cluster, kind_workload, …; NULL where not given */
};

struct kind_cluster_node {
    const char *name;
    struct desired_map labels;
};

struct kind_sync_app {
    const char *name;
    uint32_t drift; /* enum desired_drift */
};

struct kind_sync {
    uint32_t health_timeout_s;
    bool rollback;
    const char *canary;
    uint32_t drift;          /* enum desired_drift */
    struct schema_list apps; /* struct kind_sync_app */
};

struct kind_cluster {
    const char *pool;
    uint32_t hold_down_s;
    struct schema_list nodes; /* struct kind_cluster_node */
    const struct kind_sync *sync;
    struct desired_map variables;
};

struct kind_env {
    const char *name, *value;
};

struct kind_file {
    const char *path, *content, *source, *mode;
    bool template;
    uint32_t change; /* enum desired_change */
};

struct kind_spread {
    const char *key;
    uint32_t max_skew;
    uint32_t unsatisfiable; /* 0 DoNotSchedule, 1 ScheduleAnyway */
};

struct kind_port {
    const char *name;
    uint32_t port;
};

struct kind_http {
    const char *path, *port;
};

struct kind_tcp {
    const char *port;
};

struct kind_exec {
    const char *const *command;
};

struct kind_probe {
    const struct kind_http *http;
    const struct kind_tcp *tcp;
    const struct kind_exec *exec;
    uint32_t initial_delay_s, period_s, timeout_s, success_threshold, failure_threshold;
};

struct kind_limits {
    const char *memory, *cpu;
    uint32_t pids, open_files;
};

struct kind_requests {
    const char *memory, *cpu;
};

struct kind_resources {
    const struct kind_requests *requests;
    const struct kind_limits *limits;
};

struct kind_capabilities {
    const char *const *add;
};

struct kind_seccomp {
    uint32_t type; /* 0 RuntimeDefault, 1 Unconfined */
};

struct kind_security {
    bool read_only_root, private_tmp, may_escalate;
    const struct kind_capabilities *capabilities;
    const struct kind_seccomp *seccomp;
    const char *const *writable_paths;
};

struct kind_hook {
    const struct kind_exec *exec;
    uint32_t timeout_s;
};

struct kind_lifecycle {
    const struct kind_hook *pre_start, *post_stop;
};

struct kind_logs {
    const char *max_size;
    uint32_t max_age_s;
};

struct kind_strategy {
    uint32_t max_unavailable;
    bool hand_over;
};

/* Workload and CronWorkload; fields of the other kind keep their zeroes. */
struct kind_workload {
    const char *const *command, *const *args;
    struct schema_list env; /* struct kind_env */
    const char *working_dir, *user;
    const struct kind_resources *resources;
    struct schema_list files; /* struct kind_file */
    struct desired_map variables;
    uint32_t reload_signal; /* index in the choices */
    struct desired_map node_selector;
    const char *const *depends_on;
    uint32_t restart; /* enum desired_restart */
    uint32_t stop_grace_s;
    const char *stop_signal, *oom_score;
    const struct kind_security *security;
    const struct kind_lifecycle *lifecycle;
    const struct kind_logs *logs;

    uint32_t replicas;
    bool singleton;
    struct schema_list spread; /* struct kind_spread */
    uint32_t listen;           /* enum desired_listen */
    struct schema_list ports;  /* struct kind_port */
    const struct kind_probe *startup, *readiness, *liveness;
    const struct kind_strategy *strategy;

    const char *schedule;
    uint32_t concurrency; /* enum desired_concurrency */
    uint32_t starting_deadline_s;
    bool suspend;
    const char *time_zone;
    bool retry_lost;
    uint32_t history_limit;
};

struct kind_vip {
    const char *address;
    uint32_t mode; /* 0 solo, 1 strict */
};

struct kind_service {
    const char *name, *port;
};

struct kind_route {
    const char *const *hosts;
    const char *path;
    const struct kind_service *service;
    const char *vip;
};

struct kind_k3s {
    const char *const *servers;
    struct desired_map agents;
    const char *version, *interface;
    const char *const *disable, *const *args;
};

struct kind_recipient {
    const char *node, *key;
};

struct kind_secret {
    struct schema_list recipients; /* struct kind_recipient */
    struct desired_map data;
};

struct kind_row {
    const char *name;
    const struct schema_table *table; /* fills a struct kind_document */
};

extern const struct kind_row kinds[KIND_COUNT];

/* Their specs; each fills a struct kind_workload. */
extern const struct schema_table kind_workload_table, kind_cron_table;

/* Of the others: struct kind_cluster, kind_vip, kind_route, kind_k3s, kind_secret. */
extern const struct schema_table kind_cluster_table, kind_vip_table, kind_route_table,
    kind_k3s_table, kind_secret_table;

/* The signals that reloadSignal may name, in the order of its choices. */
extern const int kind_signals[];

/* Parts of them that say how a process is kept: kinds_process.c. */
extern const struct schema_table kind_resources_table, kind_security_table, kind_lifecycle_table,
    kind_logs_table, kind_strategy_table;

#endif
