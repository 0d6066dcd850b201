/* The node: everything that one agent decides, in one pure machine.
 *
 * node_step routes an event through membership, records, leases, placement and supervision in a
 * fixed order and collects the effects. It never blocks, logs, reads a clock or touches a file; the
 * simulator (tests/sim) runs this very code. Source: DESIGN sections 2 to 7. */
#ifndef COVEY_CORE_NODE_H
#define COVEY_CORE_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/core/effect.h"
#include "agent/core/status.h"
#include "agent/core/supervise.h"
#include "agent/desired/desired.h"
#include "proto/base/err.h"
#include "proto/base/id.h"
#include "proto/base/mono.h"
#include "proto/lease/lease.h"
#include "proto/lease/voters.h"
#include "proto/record/value.h"

#define NODE_PEERS_MAX FLOCK_NODES_MAX
#define NODE_INSTANCES_MAX 512 /* instances on one node */

struct node;

/* Signs and checks what is relayed; all NULL in a simulation that trusts itself. */
struct node_crypto {
    void *context;
    void (*sign_update)(void *context, struct msg_update *update);
    bool (*verify_update)(void *context, const struct msg_update *update);
    void (*sign_record)(void *context, node_id author, struct msg_record *record);
    bool (*verify_record)(void *context, node_id author, const struct msg_record *record);
};

/* What must survive a restart of the agent within one boot of the machine: promises, held leases
 * and which addresses they are for. A plain structure, written to the runtime folder as it is. */
struct node_saved {
    struct leases_record leases;
    uint32_t address_count;
    struct {
        uint64_t lease;
        struct addr address;
    } addresses[LEASES_MAX];
};

struct node_cron { /* as EFFECT_CRON had it stored */
    char workload[INSTANCE_MAX];
    struct value_cron value;
};

struct cron_zone;

/* What is known of time zones; NULL in a simulation without any. */
struct node_zones {
    void *context;
    /* The rules of zone @name. Errors: ERR_NOTFOUND, ERR_INVALID. */
    int (*find)(void *context, const char *name, struct cron_zone *zone, struct err *err);
};

struct node_config {
    node_id self;
    struct value_head head;   /* own name, key, admission, address, version */
    struct value_facts facts; /* labels come from the desired state */
    uint32_t boot;            /* of this start; no other one had it or will */
    bool coordinator;         /* holds the cluster key: authors the voter set */
    uint64_t seed;
    mono_t now;                          /* CLOCK_BOOTTIME */
    int64_t wall;                        /* Unix seconds */
    bool streams;                        /* peers can be reached over TCP too */
    uint32_t lease_min_ms, lease_max_ms; /* as leases_config has them; 0: its defaults */
    bool first_since_boot;               /* no agent ran before since the machine booted */
    const struct node_saved *saved;      /* of an earlier life in the same boot; NULL: none */
    struct voter_set adopted;            /* as stored; number 0: none yet */
    bool register_kept;                  /* EFFECT_GATEWAY_KEEP, as stored */
    struct voters_state voters;          /* as stored by the coordinator; zero: none yet */
    const struct rollout_marks *marks;   /* as stored; borrowed for node_create; NULL: none yet */
    const struct suspension *suspended;  /* as stored; likewise */
    size_t suspended_count;
    const struct pool *pool;       /* as stored; borrowed for node_create; NULL: nothing */
    const struct node_cron *crons; /* as stored; borrowed for node_create */
    size_t cron_count;
    const char *files_dir; /* where files of workloads lie; borrowed for the node's life; or NULL */
    struct node_crypto crypto;
    struct node_zones zones;
};

enum node_event_type {
    NODE_TIMER,      /* node_deadline has come */
    NODE_MESSAGE,    /* message: authenticated and decoded */
    NODE_HEARD,      /* message.from: authenticated traffic that is no message */
    NODE_ADMIT,      /* peer: admitted by join, or known from the store */
    NODE_REVOKE,     /* peer.id */
    NODE_QUARANTINE, /* quarantine: whether two machines use the identity of a node */
    NODE_KEYS,       /* keys: the newest epoch of this node, to be told the others */
    NODE_ADDRESS,    /* address: own gossip address has changed */
    NODE_DESIRED,    /* desired: a new commit was stored; the node takes ownership */
    NODE_COMMIT,     /* commit: what became of a commit that is not applied */
    NODE_VOTERS,     /* voters: EFFECT_VOTERS is on the disk; number 0: it failed */
    NODE_CRON,       /* cron: EFFECT_CRON is on the disk, or failed */
    NODE_GATEWAY,    /* gateway: it answered the request that was sent at gateway.sent */
    NODE_WROTE,      /* reading.lease: the frame of an EFFECT_GATEWAY_WRITE has left */
    NODE_WRITTEN,    /* reading.lease: the gateway has answered that frame */
    NODE_READ,       /* reading: the gateway's reply to an EFFECT_GATEWAY_READ came here */
    NODE_REGISTER,   /* kept: result of EFFECT_GATEWAY_TEST */
    NODE_FENCE,      /* fence: result of EFFECT_FENCE_OPEN or _CLOSE */
    NODE_CONFLICT,   /* conflict: a foreign host answers for a virtual address */
    NODE_CLIENTS,    /* clients: whom this node talks with, while it holds an address */
    NODE_MOVE,       /* move: hand an address that is held here to another node */
    NODE_FOUND,      /* instance: a living shim was found at start */
    NODE_STARTED,    /* instance: pid and ports */
    NODE_EXITED,     /* instance: exit; SUPERVISE_EXIT_FAILED: it could not be started */
    NODE_PROBE,      /* probe */
    NODE_NOTE,       /* instance: reason: what is wrong with one that runs; "": nothing any more */
    NODE_DRIFT,      /* drift: somebody else edited files of a process, or removed an address */
    NODE_SUSPEND,    /* suspend: commits shall not reach an app, or shall again */
    NODE_DRAIN,      /* drain: give leases away, take no work (true), or take part again (false) */
    NODE_LEAVE,      /* goodbye: releases leases, tells the peers */
};

struct node_event_message {
    node_id from;
    struct addr addr;
    bool stream;    /* it came over TCP */
    bool restarted; /* the sender's agent has started again since it was last heard */
    const struct msg *msg;
};

struct node_event_peer {
    node_id id;
    struct value_head head;
};

enum node_commit_result {
    NODE_COMMIT_FAILED,      /* it was refused: reason */
    NODE_COMMIT_OLDER,       /* an ancestor of what is applied: the peer will follow */
    NODE_COMMIT_DIVERGED,    /* neither descends from the other: reason */
    NODE_COMMIT_UNREACHABLE, /* could not be fetched now: try again later */
    NODE_COMMIT_BLOCKED,     /* this node cannot take it in now, as on a full disk: reason */
};

struct node_event_commit {
    char commit[COMMIT_TEXT];
    enum node_commit_result result;
    const char *reason;
};

struct node_event_cron {
    const char *workload;
    uint32_t number;
    bool failed;
};

struct node_event_quarantine {
    node_id id; /* may be this node's own */
    bool on;
};

struct node_event_desired {
    struct desired *desired;
    const char *subject; /* first line of the commit's message */
    int64_t applied;     /* Unix seconds */
    const char *canary;  /* "pi1, pi2": the nodes that try it first; NULL or "": cluster.yaml's */
    const char *instead; /* the branch's commit, which was given up; NULL: this is it */
};

struct node_event_fence {
    uint64_t lease;
    uint32_t number; /* of the effect that is answered */
    bool open;       /* what the kernel has acknowledged last */
    bool failed;     /* it could not be brought into the state asked for: reason */
    const char *reason;
};

struct node_event_conflict {
    struct addr address;
    uint8_t mac[6];
};

struct node_event_move {
    struct addr address;
    node_id to;
};

struct node_event_instance {
    const char *instance;
    uint64_t generation; /* FOUND */
    int32_t pid;
    mono_t started_at;
    uint16_t
        probe_port; /* FOUND, STARTED: of 127.0.0.1, this process alone listens there; 0: none */
    bool stopping;  /* FOUND: it was told to end before this agent began */
    uint8_t port_count;
    struct value_port ports[VALUE_PORTS_MAX];
    struct supervise_exit exit; /* EXITED */
    bool starved;               /* EXITED: for want of memory */
    const char *reason;         /* EXITED: why it did not start, or more about its end, or NULL */
};

struct node_event_drift {
    const char *instance; /* NULL: it is about the address */
    struct addr address;
    bool differs; /* false: it is as it should be again */
    bool left;    /* and was left so; false: it was corrected */
};

struct node_event_probe {
    const char *instance;
    enum health_probe which;
    uint32_t ticket;
    bool success;
    const char *reason; /* of a failure */
};

struct node_event_suspend {
    const char *app;
    bool on;
    const char *reason; /* where it is on */
    int64_t until;      /* Unix seconds; 0: until it is resumed */
};

struct node_event {
    enum node_event_type type;
    int64_t wall; /* Unix seconds; in every event */
    union {
        struct node_event_message message;
        struct node_event_peer peer;
        struct node_event_quarantine quarantine;
        struct value_keys keys;
        struct addr address;
        struct node_event_desired desired;
        struct node_event_commit commit;
        struct voters_state voters;
        struct node_event_cron cron;
        struct {
            mono_t sent;
        } gateway;
        struct {
            uint64_t lease;
            mono_t sent;
        } reading;
        bool kept;
        struct node_event_fence fence;
        struct node_event_conflict conflict;
        struct value_clients clients;
        struct node_event_move move;
        struct node_event_instance instance;
        struct node_event_probe probe;
        struct node_event_drift drift;
        struct node_event_suspend suspend;
        bool drain;
    };
};

/* The effects of one step, in order. Owned by the node, valid until its next step. */
struct node_out {
    const struct effect *effects;
    size_t count;
};

/* @config is copied. Errors: ERR_NOMEM; ERR_INVALID: a name or address that cannot be. */
int node_create(const struct node_config *config, struct node **node, struct err *err);
void node_free(struct node *node);

/* Advances the machine to @now. Borrows @event for the call, except NODE_DESIRED's object, which it
 * owns from then on, also on failure.
 * Errors: ERR_NOMEM: effects may be missing; the caller ends the process, for a restarted agent
 * loses nothing. */
int node_step(struct node *node, mono_t now, const struct node_event *event, struct node_out *out);

/* When NODE_TIMER is wanted. */
mono_t node_deadline(const struct node *node);

/* Fills @saved for EFFECT_LEASE_PERSIST. */
void node_export(const struct node *node, mono_t now, struct node_saved *saved);

/* Whether @effect rests on what EFFECT_LEASE_PERSIST writes, so that it is left out as long as that
 * could not be written. */
bool node_rests_on_leases(const struct effect *effect);

/* The event that answers @effect, which was left out; false: it needs none. Borrows @effect. */
bool node_refuse(const struct effect *effect, struct node_event *event);

/* Allocates a snapshot (status_free). Its strings borrow the node until the next step. ERR_NOMEM.
 */
int node_status(const struct node *node, mono_t now, int64_t wall, struct status **status);

/* The head of an admitted node (address, name, key), or NULL. Valid until the next step. */
const struct value_head *node_peer(const struct node *node, node_id id);

/* The clients of whoever holds or held an address, as the records tell; at most @max, each once. */
size_t node_clients(const struct node *node, struct value_client *clients, size_t max);

/* May the address be handed by this node to @to? Errors: ERR_NOTFOUND it is none of the desired
 * state, or there is no such node; ERR_CONFLICT somebody else holds it (*owner; NODE_NONE: nobody),
 * or @to cannot hold it now. */
int node_may_move(const struct node *node, mono_t now, const struct addr *address, node_id to,
                  node_id *owner, struct err *err);

/* What is known of @app being suspended; NULL: it is not. Valid until the next step. */
const struct suspension *node_suspended(const struct node *node, const char *app);

/* The addresses of the desired state's VirtualIPs that have one; at most @max. */
size_t node_addresses(const struct node *node, struct addr *addresses, size_t max);

/* The address of a VirtualIP of the applied desired state; family 0: none yet. */
const struct addr *node_vip_address(const struct node *node, const struct desired_vip *vip);

/* Whether a commit waits here until another node has shown it ready, which, and for whom. Valid
 * until the next step. */
bool node_held(const struct node *node, const char **commit, const char **canary);

/* The desired state that is applied, or NULL. Owned by the node, valid until the next step. */
const struct desired *node_desired(const struct node *node);

#endif
