/* What the records of a node say, decoded. The keys are a vocabulary shared by all agents:
 *
 *   ""                the head: who the author is, where it listens (struct value_head)
 *   "node"            facts about the machine and its labels (struct value_node)
 *   "commit"          the commit that the node applies (struct value_commit)
 *   "instance/NAME"   one workload instance that the node runs or wants to (struct value_instance)
 *   "vip/ADDRESS"     a virtual address that the node holds, or last held (struct value_vip)
 *   "clients"         the neighbours of a node that holds an address (struct value_clients)
 *   "voters"          the voter set, by the node that holds the cluster key (struct value_voters)
 *   "adopted"         the number of the voter set that the node has adopted (struct value_adopted)
 *   "register"        whether the gateway keeps its ARP cache by the last writer, as the node has
 *                     tested it (struct value_register)
 *   "keys"            the newest key epoch that the node has (struct value_keys)
 *   "paths"           which nodes it hears, and how well (struct value_paths)
 *   "turn/WORKLOAD"   which replicas it replaces or wants to, and whom it lets (struct value_turn)
 *   "cron/WORKLOAD"   ticks that it has claimed, and whose claim it has accepted (struct
 * value_cron)
 *   "suspend/APP"     what was said last of whether commits reach the app (struct value_suspend)
 *   "pool/NAME"       the address that a VirtualIP was given (struct value_pool)
 *   "drift/SUBJECT"   what is not as the repository says on the node, and is left so (struct
 *                     value_drift); the subject as in events: "app/rest-api.0", "vip/ADDRESS"
 *
 * An agent keeps and passes on keys that it does not know. Codec: value_codec.h. */
#ifndef COVEY_RECORD_VALUE_H
#define COVEY_RECORD_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/id.h"
#include "proto/wire/msg.h"

#define VALUE_LABELS_MAX 16
#define VALUE_LABEL_MAX 64 /* bytes of a label's key or value, terminating zero included */
#define VALUE_PORTS_MAX 8
#define VALUE_PORT_NAME_MAX 16
#define VALUE_REASON_MAX 160 /* bytes of a sentence for people, terminating zero included */
#define VALUE_VERSION_MAX 24
#define VALUE_MAC 6
#define VALUE_CLIENTS_MAX 64

/* An admission: the cluster key's signature on a node's key and name (wire/keys.h makes and checks
 * it). Carried in the head, so that whoever receives the head can admit the node. */
struct value_head {
    uint8_t public_key[32];
    char name[NODE_NAME_MAX + 1];
    uint8_t role;                     /* enum value_role */
    uint32_t serial;                  /* of the admission; higher replaces lower for one key */
    uint8_t admission[MSG_SIGNATURE]; /* by the cluster key */
    struct addr addr;                 /* gossip address */
    char version[VALUE_VERSION_MAX];  /* agentd's */
};

enum value_role { VALUE_ROLE_AGENT = 1, VALUE_ROLE_WITNESS = 2 };

struct value_label {
    char key[VALUE_LABEL_MAX];
    char value[VALUE_LABEL_MAX];
};

struct value_facts {
    int64_t started; /* Unix seconds: start of agentd */
    uint32_t cpus;
    uint32_t memory_mib;
    bool draining; /* takes no new work, gives its leases away */
    bool gateway;  /* the gateway answered lately */
};

struct value_node {
    struct value_facts facts;
    uint8_t label_count;
    struct value_label labels[VALUE_LABELS_MAX];
};

enum value_commit_state {
    VALUE_COMMIT_NONE = 0,
    VALUE_COMMIT_APPLIED = 1,
    VALUE_COMMIT_FAILED = 2,   /* the newest commit could not be applied: reason says why */
    VALUE_COMMIT_DIVERGED = 3, /* a peer's history is no continuation of ours, nor ours of it */
};

/* How what the applied commit changed is doing here. */
enum value_commit_health {
    VALUE_HEALTH_NONE = 0,
    VALUE_HEALTH_TRYING = 1,    /* not all of it is ready yet */
    VALUE_HEALTH_READY = 2,     /* it is, here */
    VALUE_HEALTH_GOOD = 3,      /* and on the other nodes */
    VALUE_HEALTH_UNHEALTHY = 4, /* not in its time, and it stays all the same */
    VALUE_HEALTH_BACK = 5,      /* the commit "bad" was given up; "commit" is the last good one */
    VALUE_HEALTH_HELD = 6,      /* the commit "next" waits until another node has tried it */
};

struct value_commit {
    char commit[COMMIT_TEXT]; /* applied; "" for none */
    uint8_t state;            /* enum value_commit_state */
    uint8_t health;           /* enum value_commit_health */
    char bad[COMMIT_TEXT];    /* the latest that was given up; "" for none */
    char next[COMMIT_TEXT];   /* accepted but not applied; "" for none */
    int64_t applied;          /* Unix seconds */
    char subject[VALUE_REASON_MAX];
    char reason[VALUE_REASON_MAX];
};

/* States as people see them; core/supervise.h has the finer machine. */
enum value_instance_state {
    VALUE_WAITING = 1, /* for a dependency, a lease or a free port */
    VALUE_STARTING = 2,
    VALUE_RUNNING = 3, /* not ready yet */
    VALUE_READY = 4,
    VALUE_STOPPING = 5,
    VALUE_BACKOFF = 6,
    VALUE_FAILED = 7,
    VALUE_COMPLETED = 8, /* a cron run that ended well */
};

struct value_port {
    char name[VALUE_PORT_NAME_MAX];
    uint16_t port;
};

struct value_instance {
    uint8_t state;       /* enum value_instance_state */
    uint64_t generation; /* hash of the specification that it runs */
    uint32_t pid;
    uint32_t restarts;
    int64_t since;     /* Unix seconds: since when in this state */
    int32_t exit_code; /* of the last run: 0..255, or 128 + signal; -1 for none yet */
    uint8_t port_count;
    struct value_port ports[VALUE_PORTS_MAX];
    char reason[VALUE_REASON_MAX];
};

struct value_vip {
    bool holding;
    uint64_t epoch;
    int64_t since; /* Unix seconds */
    char reason[VALUE_REASON_MAX];
    node_id before; /* who held it before this change, as far as is known; NODE_NONE: nobody */
    bool foreign;   /* a host that is no member answers for it: nobody claims it */
    uint8_t foreign_mac[VALUE_MAC]; /* zero unless foreign */
};

struct value_client {
    uint8_t ip[4];
    uint8_t mac[VALUE_MAC];
};

/* Whom the holder of an address talks with: the next one, who has never heard of them, tells each
 * of them where the address is. */
struct value_clients {
    uint8_t count;
    struct value_client clients[VALUE_CLIENTS_MAX];
};

struct value_voters {
    uint32_t number;
    uint8_t count;
    node_id voters[MSG_VOTERS_MAX];
};

struct value_adopted {
    uint32_t number;
};

struct value_register {
    bool kept;
};

struct value_keys {
    uint32_t epoch;
    bool holder; /* of the cluster key */
};

/* Every node publishes the newest that it knows of an app. */
struct value_suspend {
    bool on;                    /* false: resumed */
    int64_t stamp;              /* milliseconds since 1970, and later than what was said before */
    int64_t until;              /* Unix seconds; 0: until it is resumed */
    char commit[COMMIT_TEXT];   /* whose documents the app keeps; "": none was applied */
    char by[NODE_NAME_MAX + 1]; /* node on which it was said */
    char reason[VALUE_REASON_MAX];
};

/* Every node publishes what it knows of each name, of those that left the desired state too: a name
 * that comes back gets its address again. */
struct value_pool {
    uint8_t ip[4];
    uint64_t number; /* from 1: a higher one replaces lower ones, of the name and of the address */
    int64_t stamp;   /* Unix seconds; of two with one number the earlier counts */
};

struct value_drift {
    int64_t since;               /* Unix seconds */
    char app[NODE_NAME_MAX + 1]; /* whose drift mode says that it is left; "": of none */
    char what[VALUE_REASON_MAX];
};

#define VALUE_PATHS_MAX 32

#define VALUE_PATH_STREAM 100 /* per cent: no datagram comes through */

/* What comes to the author from one node, or does not. */
struct value_path {
    node_id from;
    bool hears; /* false: it answers others, or nobody, but not the author */
    uint16_t rtt_ms;
    uint8_t loss_pct; /* of round trips by datagram; 100, and it hears: over TCP alone */
};

static inline bool value_path_streams(const struct value_path *path)
{
    return path->hears && path->loss_pct == VALUE_PATH_STREAM;
}

struct value_paths {
    uint8_t count;
    struct value_path paths[VALUE_PATHS_MAX]; /* ascending by node */
};

#define VALUE_TURN_REPLICAS_MAX 8
#define VALUE_TURN_SEEN_MAX 16

struct value_seen {
    node_id node;
    uint64_t number;
};

/* The author wants to take these replicas of a workload away for a while (core/node_turn.c). */
struct value_turn {
    uint64_t number; /* of this wish, never used twice; 0: none */
    bool inside;     /* its turn has come */
    uint8_t count;
    uint16_t replicas[VALUE_TURN_REPLICAS_MAX]; /* ascending */
    uint8_t seen_count;
    struct value_seen seen[VALUE_TURN_SEEN_MAX]; /* wishes of others it knows; ascending by node */
};

#define VALUE_RUNS_MAX 20
#define VALUE_RUN_PROCESSES_MAX 8 /* runs of one CronWorkload side by side */

enum value_run_state {
    VALUE_RUN_CLAIMED = 1,   /* waits for others to accept the claim */
    VALUE_RUN_RUNNING = 2,   /* was accepted, and started */
    VALUE_RUN_ENDED = 3,     /* exit_code says how */
    VALUE_RUN_WITHDRAWN = 4, /* was not started, and never will be */
    VALUE_RUN_UNKNOWN = 5,   /* may have been started; how it ended nobody knows */
};

/* A tick of a CronWorkload that the author has claimed. */
struct value_run {
    int64_t tick;           /* Unix seconds */
    uint64_t number;        /* of the claim, never used twice */
    uint8_t state;          /* enum value_run_state */
    uint8_t attempt;        /* from 1; higher ones are made of ticks whose end nobody knows */
    uint8_t process;        /* it runs as the instance WORKLOAD.process */
    int16_t exit_code;      /* 0..255, or 128 + signal; -1 for none yet */
    int64_t started, ended; /* Unix seconds; 0: not yet */
};

/* The promise: nobody else's claim of that tick, nor of an earlier one, is accepted by the author.
 * Made durable before it is published. */
struct value_claim {
    int64_t tick; /* 0: none so far */
    node_id node;
    uint64_t number;
    uint8_t attempt;
};

struct value_cron {
    struct value_claim accepted;
    uint8_t count;
    struct value_run runs[VALUE_RUNS_MAX]; /* newest first */
};

#endif
