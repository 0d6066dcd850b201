/* agentd's own configuration: /etc/covey/agent.yaml.
 *
 * Pure: bytes in, a struct or an error with file and line out. config.c holds the names, ranges and
 * defaults of every key; provisioning/agent.yaml shows them all. */
#ifndef COVEY_CONFIG_CONFIG_H
#define COVEY_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/id.h"

#define CONFIG_FILE_MAX (64 * 1024) /* bytes */
#define CONFIG_JOIN_MAX 32
#define CONFIG_HOSTS_MAX 32
#define CONFIG_REMOTES_MAX 8
#define CONFIG_RUN_DIR_MAX 90            /* bytes: names of sockets below it must fit sockaddr_un */
#define CONFIG_LOGS_TOTAL (512ull << 20) /* where nothing is said */
#define CONFIG_LOGS_DAYS 7
#define CONFIG_GOSSIP_PORT 8801
#define CONFIG_WEB_PORT 8800

enum config_role {
    CONFIG_AGENT,   /* runs workloads, holds addresses */
    CONFIG_WITNESS, /* only votes */
};

enum config_promiscuous {
    CONFIG_PROMISCUOUS_AUTO, /* on radios whose firmware answers ARP by itself */
    CONFIG_PROMISCUOUS_ON,
    CONFIG_PROMISCUOUS_OFF, /* left as it is */
};

enum config_arp {
    CONFIG_ARP_CHECK, /* agentctl doctor tells what is wrong */
    CONFIG_ARP_SET,   /* arp_ignore and rp_filter of the interface are set right, and kept so */
};

struct config_remote {
    const char *url;         /* https://, ssh://, git@host:path or file:// */
    const char *branch;      /* the repository's where nothing is said */
    const char *key;         /* private key of ssh, without a passphrase; NULL: none */
    const char *ca_file;     /* NULL: the system's */
    const char *known_hosts; /* NULL: a host that is new is trusted once */
};

struct config {
    const char *node;        /* a DNS label; NULL: the host's name */
    const char *interface;   /* where virtual addresses live and gossip's own address is found */
    struct addr listen;      /* UDP and TCP of gossip; 0.0.0.0: on every interface */
    struct addr advertise;   /* what peers are told; family 0: listen's, or the interface's */
    const struct addr *join; /* peers to ask first */
    size_t join_count;
    const char *state_dir, *run_dir; /* absolute */
    enum config_role role;
    uint32_t lease_min_ms, lease_max_ms; /* lengths of a lease, as proto/lease/lease.h has them */
    enum config_promiscuous promiscuous;
    enum config_arp arp_settings;
    const char *hooks; /* folder of programs that run when an address has another holder */
    bool power_save;   /* leave the radio's power save on; false: it is switched off and kept off */
    struct {
        bool enabled;
        struct addr listen;       /* unless a listening socket is handed over (LISTEN_FDS) */
        const char *const *hosts; /* further names allowed in Host headers; ends with NULL */
    } web;
    struct {
        const char *path;   /* absolute; state_dir/flock.git where nothing is said */
        const char *branch; /* main */
        const char *user;   /* git runs as this one; NULL: as the folder's owner */
        const struct config_remote *remotes; /* looked at in this order until one answers */
        size_t remote_count;
        uint32_t poll_s;                 /* 5..3600: how often */
        const char *webhook_secret_file; /* NULL: there is no webhook */
    } repository;
    struct {
        uint64_t max_total; /* bytes of all workloads' logs on this node */
        uint32_t keep_days; /* 1..3650: how long those of an instance that is gone are kept */
    } logs;
    const char *workload_path; /* PATH of workloads, and where their programs are looked up */
    const char *workload_user; /* of workloads that name none; NULL: one of its own for each */
};

/* Reads @data, the contents of @file (for messages). On success *@config owns itself and is freed
 * by config_free. Errors: ERR_INVALID, ERR_LIMIT with "file:line: what, what is expected";
 * ERR_NOMEM. The first error is in @err; further ones, one a line, in *@report (@report may be
 * NULL; *@report is freed by the caller, NULL if there are none). */
int config_parse(const char *file, const char *data, size_t size, struct config **config,
                 char **report, struct err *err);

void config_free(struct config *config); /* NULL is allowed */

#endif
