/* A snapshot of what this node knows of the whole flock, for the command line, the page and tests.
 * Made from the node's machine (node_status) and rendered to JSON by agent/web/status_json.h. */
#ifndef COVEY_CORE_STATUS_H
#define COVEY_CORE_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/desired/desired.h"
#include "proto/base/id.h"
#include "proto/record/value.h"

enum status_health { STATUS_OK, STATUS_DEGRADED, STATUS_FAILED };

enum status_member_state {
    STATUS_ALIVE,
    STATUS_SUSPECT,
    STATUS_DEAD,
    STATUS_LEFT,
    STATUS_QUARANTINED, /* two machines use its identity */
};

struct status_node {
    node_id id;
    const char *name;
    bool self;
    enum status_member_state state;
    struct addr addr;
    int64_t heard_ms; /* since the last authenticated packet; −1: never, 0 for self */
    int32_t rtt_ms;   /* smoothed; −1: unknown or self */
    uint8_t role;     /* enum value_role */
    const char *version;
    struct value_facts facts;
    struct value_commit commit;
    struct value_keys keys;
    uint8_t public_key[32];
};

struct status_vote {
    const char *voter;
    int64_t granted_ms;      /* that are left of its grant; 0: none */
    const char *refused_for; /* it had promised to that node when it last refused; "" */
};

struct status_vip {
    const char *name;
    const char *app;
    struct addr address;    /* family 0: pending, the pool is exhausted */
    node_id owner;          /* NODE_NONE: nobody as far as this node knows */
    const char *owner_name; /* "" for none */
    bool here;
    uint64_t epoch;
    int64_t left_ms; /* of the lease; of another node's at most; −1: unknown */
    int64_t since;   /* Unix seconds of the last change; 0: never held */
    char reason[VALUE_REASON_MAX];
    const char *before; /* who held it before; "" for nobody */
    /* Two voters: can the gateway's ARP cache tell which of them holds it when they do not hear
     * each other? "kept", "lost", "untested"; "" where nothing depends on it. */
    const char *gateway_register;
    bool foreign; /* a host that is no member answers for it: nobody claims it */
    uint8_t foreign_mac[VALUE_MAC];
    uint8_t vote_count; /* of this node's campaign or lease */
    struct status_vote votes[MSG_VOTERS_MAX];
};

struct status_instance {
    char name[INSTANCE_MAX];
    node_id node;
    const char *node_name;
    bool node_alive;
    bool placed; /* the present desired state knows it */
    struct value_instance value;
};

struct status_run { /* a tick of a CronWorkload that was claimed */
    const char *node_name;
    bool unknown; /* its node is gone, or does not know: it may have run */
    struct value_run value;
};

struct status_app {
    const char *name;
    const char *app;
    const char *kind; /* "Workload", "CronWorkload" */
    const char *file;
    uint32_t desired; /* replicas; for cron 0 */
    uint32_t ready;
    bool off; /* nothing of it shall run (replicas: 0; suspend: true), and nothing does */
    const char *schedule;                  /* cron only, else NULL */
    int64_t next_run;                      /* Unix seconds; 0: none */
    const struct value_suspend *suspended; /* the app is; else NULL */
    const char *pending;                   /* why some of its replicas run nowhere; else NULL */
    struct status_run *runs; /* newest first, as many as historyLimit says; NULL: none */
    size_t run_count;
    size_t first; /* instances[first … first + count) */
    size_t count;
};

/* What one node has from another. */
struct status_path {
    const char *to; /* who listens, and measures */
    const char *from;
    bool hears;
    uint16_t rtt_ms; /* 0: not measured */
    uint8_t loss_pct;
    bool stream; /* over TCP: no datagram comes through */
};

/* What somebody changed on a node, and is left so by the app's drift mode. */
struct status_drift {
    char subject[RECORD_KEY_MAX]; /* "app/rest-api.0", "vip/10.77.0.210" */
    const char *node_name;
    struct value_drift value;
};

struct status {
    int64_t now;               /* Unix seconds */
    enum status_health health; /* the headline's colour */
    char headline[256];        /* one sentence: "All good: …" or the worst problem */
    const char *cluster;       /* name from cluster.yaml or "" */
    node_id self;
    const char *self_name;
    uint32_t lease_ms;         /* length of the leases that this node asks for */
    bool agreed;               /* every living agent applies the same commit */
    struct status_node *nodes; /* sorted by name */
    size_t node_count;
    struct status_vip *vips; /* sorted by name */
    size_t vip_count;
    struct status_app *apps; /* sorted by name */
    size_t app_count;
    struct status_instance *instances;
    size_t instance_count;
    struct status_path *paths; /* of living nodes, sorted by to, then from */
    size_t path_count;
    struct status_drift *drifts; /* sorted by subject */
    size_t drift_count;
    const struct desired_foreign *foreign; /* waiting for k3s */
    size_t foreign_count;
};

/* What is left changed about @subject, where it is on @node; NULL: nothing. */
const struct status_drift *status_drift_of(const struct status *status, const char *subject,
                                           const char *node);

/* Frees what node_status allocated. NULL is allowed. */
void status_free(struct status *status);

const char *status_member_state_name(enum status_member_state state); /* "alive" */
const char *status_instance_state_name(uint8_t value_instance_state); /* "ready" */

#endif
