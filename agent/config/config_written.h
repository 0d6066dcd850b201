/* agent.yaml as its table fills it. For config*.c only. */
#ifndef COVEY_CONFIG_WRITTEN_H
#define COVEY_CONFIG_WRITTEN_H

#include "agent/config/config.h"
#include "agent/desired/schema.h"

struct written_web {
    bool enabled;
    const char *listen;
    const char *const *hosts;
};

struct written_remote {
    const char *url, *branch, *key, *known_hosts, *ca_file;
};

struct written_repository {
    const char *path, *branch, *user;
    struct schema_list remotes; /* struct written_remote */
    uint32_t poll_s;
    const char *webhook_secret_file;
};

struct written_logs {
    const char *max_total;
    uint32_t keep_days;
};

/* The file as its table fills it. */
struct written {
    const char *node, *interface, *listen, *advertise;
    const char *const *join;
    const char *state_dir, *run_dir, *workload_path, *workload_user;
    uint32_t role, promiscuous, arp_settings;
    uint32_t lease_min, lease_max; /* indices of config_lease_milliseconds */
    bool power_save;
    const char *hooks;
    const struct written_web *web;
    const struct written_repository *repository;
    const struct written_logs *logs;
};

extern const struct schema_table config_table; /* fills a struct written */
extern const uint32_t config_lease_milliseconds[];
extern const char *const config_lease_lengths[]; /* the same as people write them */

#endif
