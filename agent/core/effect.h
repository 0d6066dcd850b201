/* What the node's machine wants done. Carried out in the order given: a promise is persisted before
 * the grant leaves, a fence is closed before the release is sent. */
#ifndef COVEY_CORE_EFFECT_H
#define COVEY_CORE_EFFECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "agent/core/health.h"
#include "agent/core/pool.h"
#include "agent/core/rollout.h"
#include "agent/core/suspend.h"
#include "agent/desired/desired.h"
#include "proto/base/id.h"
#include "proto/base/mono.h"
#include "proto/lease/voters.h"
#include "proto/record/value.h"
#include "proto/wire/msg.h"

#define EFFECT_TEXT_MAX 240

/* A process of an instance: its name, or that with a '_' behind it, for the second one of a
 * hand-over. Writes the instance's name to @base; true: it is such a second process. */
static inline bool effect_base(const char *process, char base[INSTANCE_MAX])
{
    size_t len = strnlen(process, INSTANCE_MAX - 1);
    bool second = len > 0 && process[len - 1] == '_';

    len -= second;
    memcpy(base, process, len);
    base[len] = '\0';
    return second;
}

enum effect_severity { EFFECT_INFO, EFFECT_WARNING, EFFECT_ERROR };

enum effect_type {
    EFFECT_SEND,          /* send: a message to a peer, by datagram or over TCP */
    EFFECT_LEASE_PERSIST, /* write node_export to the runtime folder, before any other effect of the
                           * step. If that fails it stays due, with every later step: until it
                           * succeeds, what rests on leases is left out (node_rests_on_leases) */
    EFFECT_VOTERS,        /* voters: make it durable, then NODE_VOTERS */
    EFFECT_GATEWAY,       /* ask the gateway by ARP; its answer comes back as NODE_GATEWAY */
    EFFECT_GATEWAY_WRITE, /* gateway: tell the gateway alone that the address is here, then
                           * NODE_WROTE, with a clock read after the frame has left, and
                           * NODE_WRITTEN when the gateway has answered it */
    EFFECT_GATEWAY_READ,  /* gateway: an echo request to it from the address, which works with the
                           * fence closed; its reply comes back as NODE_READ */
    EFFECT_GATEWAY_TEST, /* gateway: does it keep its ARP cache by the last writer? NODE_REGISTER */
    EFFECT_GATEWAY_KEEP, /* gateway.kept: make the verdict durable */
    EFFECT_FENCE_OPEN,   /* fence: let the address answer until the lease ends */
    EFFECT_FENCE_CLOSE,  /* fence: stop answering; acknowledged by NODE_FENCE */
    EFFECT_ANNOUNCE,     /* fence: tell the network that the address is here */
    EFFECT_CHECK,        /* fence.address: ask whether somebody answers for it; a foreign host's
                          * answer comes back as NODE_CONFLICT */
    EFFECT_OWNER,        /* owner: an address has another holder, or none, anywhere in the flock */
    EFFECT_START,        /* start: run an instance under a new shim */
    EFFECT_PREPARE,      /* start: what follows when it ends; make that start a quick one */
    EFFECT_FILES,        /* files: write those that differ and signal the process then */
    EFFECT_STOP,         /* stop */
    EFFECT_EXTEND,       /* stop.instance, stop.until: the shim of a singleton lives till then */
    EFFECT_PROBE,        /* probe */
    EFFECT_FORGET,       /* stop.instance: no longer placed here; its ended shim may be removed */
    EFFECT_FETCH,        /* fetch: get a commit from a peer, then apply it */
    EFFECT_MARKS,        /* marks: make them durable, before EFFECT_APPLY */
    EFFECT_CRON,         /* cron: make it durable, then NODE_CRON */
    EFFECT_APPLY,        /* apply: an earlier commit that the repository has; then NODE_DESIRED */
    EFFECT_SUSPENDED, /* suspensions: make them durable; apps that are suspended stay as they are */
    EFFECT_POOL,      /* pool: make it durable, without names that are not in it any more */
    EFFECT_KEEP_PEER, /* peer: remember an admitted node in the store */
    EFFECT_RAISE_BOOT, /* boot: peers know a higher boot number of ours; store at least this */
    EFFECT_EVENT,      /* event: for the journal and for people */
};

struct effect_send {
    node_id to;
    struct addr addr; /* family 0: where the peer was last heard */
    bool stream;      /* over TCP, by a session that is kept; dropped if none can be had */
    struct msg msg;
};

struct effect_fence {
    uint64_t lease;
    struct addr address; /* the virtual address; port 0 */
    mono_t until;        /* OPEN: end of the lease */
    uint64_t epoch;
    uint32_t number; /* OPEN, CLOSE: comes back in NODE_FENCE */
    bool fresh;      /* OPEN: it was not held before this */
    bool leave;      /* OPEN: if somebody has removed the address, it stays away; NODE_DRIFT */
};

struct effect_gateway {
    uint64_t lease;
    struct addr address; /* the virtual address; port 0 */
    mono_t sent;         /* READ: comes back in NODE_READ */
    bool kept;
};

struct effect_start {
    const char *instance;          /* here and below: a process, as effect_base has it */
    const struct desired *desired; /* whose secrets the texts may still name */
    const struct desired_workload *workload;
    uint64_t generation;     /* with the rendered environment in it */
    struct desired_map env;  /* rendered; PORT… and HOST are added by the executor, and secrets */
    const char *const *args; /* the command, rendered; ends with NULL */
    const struct desired_content *files; /* rendered, but for secrets */
    size_t file_count;
    mono_t lease_until; /* MONO_NEVER: no singleton */
};

struct effect_files { /* of a process that runs */
    const char *instance;
    bool all;    /* those with DESIRED_CHANGE_RESTART too: the process has been started with them */
    bool check;  /* nothing has changed: what differs was edited, and NODE_DRIFT tells of it */
    bool leave;  /* only tell */
    bool differ; /* as was told last; NODE_DRIFT comes when that has changed, and after each
                  * correction */
    const struct desired *desired;
    const struct desired_workload *workload;
    const struct desired_content *files; /* rendered, but for secrets */
    size_t count;
};

struct effect_stop {
    const char *instance;
    int signal;         /* 0: kill everything at once */
    int64_t timeout_ms; /* then everything left is killed */
    mono_t until;       /* EXTEND */
};

struct effect_probe {
    const char *instance;
    const struct desired_probe *probe;
    enum health_probe which;
    uint32_t ticket; /* comes back in NODE_PROBE */
    int64_t timeout_ms;
    struct addr target; /* HTTP, TCP */
};

struct effect_fetch {
    node_id from;
    char commit[COMMIT_TEXT];
};

struct effect_marks { /* good and bad commits */
    struct rollout_marks marks;
    char reason[VALUE_REASON_MAX]; /* why marks.bad[0] is bad; "" if it is not new */
};

struct effect_cron { /* what this node has claimed and promised of a CronWorkload */
    char workload[INSTANCE_MAX];
    struct value_cron value; /* nothing in it: it may be forgotten */
    uint32_t number;         /* comes back in NODE_CRON */
};

struct effect_peer {
    node_id id;
    const struct value_head *head;
    bool revoked;
};

struct effect_owner {
    struct addr address;
    char name[NODE_NAME_MAX + 1];                           /* of the VirtualIP */
    char before[NODE_NAME_MAX + 1], now[NODE_NAME_MAX + 1]; /* nodes; "" for nobody */
    char reason[VALUE_REASON_MAX];
    uint64_t epoch;
    bool here; /* this node is the one that holds it now */
};

struct effect_event {
    enum effect_severity severity;
    const char *subject; /* "vip/10.77.0.210", "node/pi2", "app/rest-api" */
    char text[EFFECT_TEXT_MAX];
};

struct effect {
    enum effect_type type;
    union {
        const struct effect_send *send;
        struct effect_fence fence;
        struct effect_gateway gateway;
        struct effect_start start;
        struct effect_files files;
        struct effect_stop stop;
        struct effect_probe probe;
        struct effect_fetch fetch;
        const struct effect_marks *marks;
        const struct suspensions *suspensions;
        const struct pool *pool;
        const struct effect_cron *cron;
        struct {
            char commit[COMMIT_TEXT];
        } apply;
        struct effect_peer peer;
        const struct effect_event *event;
        const struct effect_owner *owner;
        struct voters_state voters;
        uint32_t boot;
    };
};

#endif
