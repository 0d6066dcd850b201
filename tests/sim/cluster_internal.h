/* The inside of the cluster: cluster.c (events, network, lives), cluster_agent.c (the agent's loop
 * and its effects), cluster_machine.c (fences and processes), cluster_git.c (repositories, and what
 * commits say), cluster_check.c (what must hold when faults are over). */
#ifndef COVEY_TESTS_CLUSTER_INTERNAL_H
#define COVEY_TESTS_CLUSTER_INTERNAL_H

#include "agent/core/node.h"
#include "agent/core/node_internal.h"
#include "proto/wire/codec.h"
#include "tests/sim/cluster.h"

#define PROCESSES_MAX 64
#define COMMITS_MAX 128
#define VIPS_MAX 21
#define SYNC_WAITING_MAX 8 /* as in agent/io/uv_sync.h */
#define CRONS_MAX 4
#define STARTED_MAX 4096
#define FOREVER INT64_MAX
#define CLUSTER_ARP_BYTES 42

enum packet_kind { PACKET_MESSAGE, PACKET_GATEWAY, PACKET_WRITE, PACKET_READ };

struct packet {
    uint64_t life;
    int64_t sent;
    uint8_t kind; /* enum packet_kind */
    uint8_t body[CODEC_BODY_MAX];
};

enum process_state { PROCESS_NONE, PROCESS_STARTING, PROCESS_RUNNING, PROCESS_ENDED };

/* One workload under its shim: nothing that happens to the agent changes it. */
#define PROCESS_SICK "sick-" /* REVISION of a process that never gets ready begins with it */

struct process {
    enum process_state state; /* ENDED: the agent has not taken note of it yet */
    char name[INSTANCE_MAX];
    uint64_t serial; /* of this run */
    uint64_t generation;
    int32_t pid;
    mono_t started_at; /* by the machine's clock */
    bool singleton, cron;
    bool orphan; /* was starting when the agent that asked for it ended */
    bool stop_wanted;
    bool stopping;
    bool sick;          /* until the faults end */
    bool fails;         /* as its commit wants it */
    int64_t deadline;   /* of a singleton's shim, by the machine's clock */
    int64_t healthy_at; /* true time from which its probes succeed */
    struct value_port ports[VALUE_PORTS_MAX];
    uint8_t port_count;
    uint16_t probe_port;
    char endpoint[64]; /* what it was told about rest-api */
    struct supervise_exit exit;
};

struct fence {             /* in the kernel */
    int64_t open_until;    /* true time; <= now: closed */
    int64_t granted_until; /* true time: end of the latest lease that was no solo lease */
    bool solo;
    bool claimed; /* the solo lease behind it followed a silence of P */
    uint32_t set; /* number of the voter set under which it was opened */
};

struct commit {
    char canary[DESIRED_CANARY_MAX]; /* its trailer; "" for none */
    char id[COMMIT_TEXT];
    int parents[2]; /* -1: none */
    struct cluster_spec spec;
};

enum sync_phase { SYNC_BRANCH, SYNC_CHECK, SYNC_ASK, SYNC_STORE };

/* As agent/io/uv_sync.c does it. */
struct sync {
    bool busy;
    bool branch_waits;
    enum sync_phase phase;
    int commit;
    size_t from;
    int applied;
    int apply; /* an earlier commit to go back to; -1: none */
    int instead;
    struct effect_fetch waiting[SYNC_WAITING_MAX];
    size_t waiting_count;
};

struct posted { /* an event of the agent's own, waiting for its turn */
    struct posted *next;
    struct node_event event;
    char name[INSTANCE_MAX];
};

struct machine {
    struct cluster *cluster;
    size_t index;
    node_id id;
    unsigned moves;
    int64_t born; /* true time of BOOTTIME 0 */

    /* The store. */
    bool member;
    uint32_t boot;
    struct voters_state voters;
    bool register_kept;
    bool *known; /* by index: admitted */
    struct value_head *heads;
    bool repo[COMMITS_MAX];
    struct rollout_marks marks;
    struct node_cron crons[CRONS_MAX];
    size_t cron_count;
    struct pool pool;
    int64_t applied_at[COMMITS_MAX]; /* true time, of each commit's latest application; 0: never */
    bool given_up[COMMITS_MAX];
    bool tried[COMMITS_MAX], shown[COMMITS_MAX], good[COMMITS_MAX]; /* its own record said so */
    int runs; /* the commit of its record, of this life; -1: none yet */
    uint8_t health;
    unsigned sick_starts;
    int head;

    /* tmpfs. */
    bool saved_valid;
    bool agent_ran;
    bool persist_fails;
    struct node_saved saved;

    /* Kernel and shims. */
    bool powered;
    int64_t off_at; /* true time when it lost power */
    struct fence fences[VIPS_MAX];
    struct process processes[PROCESSES_MAX];

    /* The agent. */
    struct node *node; /* NULL: it does not run */
    uint64_t life;     /* counted up at each start and end */
    struct node_out out;
    size_t next;      /* effect to be carried out */
    bool busy;        /* effects are left */
    bool working;     /* inside agent_work */
    bool persist_due; /* not written yet, or it failed */
    size_t pause_at;  /* effect before which it stops; SIZE_MAX: none */
    int64_t pause_ms;
    bool clock_read; /* of the fence that is being opened */
    int64_t clock;
    int64_t paused_until;
    bool solo[VIPS_MAX]; /* of the latest open that the node asked for */
    bool claimed[VIPS_MAX];
    struct posted *first, *last;
    struct addr *addrs; /* where each node was last heard */
    int64_t *heard;     /* true time */
    struct sync sync;
    bool drained;
    int64_t timer_ms, timer_second; /* when timer steps were counted last, and how many */
    unsigned timers_now, timers_second;
};

enum task_kind {
    TASK_START,    /* the agent */
    TASK_END,      /* the agent, after its good-bye */
    TASK_RESUME,   /* the agent, after SIGCONT */
    TASK_FORK,     /* process */
    TASK_EXIT,     /* process: exit */
    TASK_DEADLINE, /* process */
    TASK_PROBE,    /* event.probe */
    TASK_SYNC,
    TASK_PEER,     /* a peer is in the store */
    TASK_CRON,     /* claims and promises are in the store */
    TASK_VOTERS,   /* a voter set is in the store */
    TASK_ANNOUNCE, /* serial: the address; one try */
};

struct task {
    enum task_kind kind;
    size_t node;
    uint64_t life;   /* of the agent that it is for; 0: the machine's own */
    uint64_t serial; /* of the process */
    struct supervise_exit exit;
    struct node_event event;
    char name[INSTANCE_MAX];
    size_t peer;
    struct value_head head;
    bool revoked;
    bool fails;
    struct voters_state voters;
    struct effect_cron cron;
    size_t next_free;
};

struct cluster {
    enum cluster_thief thief;
    struct cluster_options options;
    struct simnet *net;
    struct rng *rng;
    struct machine *machines;
    bool *cuts; /* as simnet's, which does not tell */
    struct commit commits[COMMITS_MAX];
    int commit_count;
    int tip;                 /* the newest commit of the line that everybody follows */
    int former;              /* the tip before the latest push */
    struct desired *desired; /* of the tip */
    int newest;              /* the newest commit, though it may be given up */
    struct cluster_chances chances;
    bool disturbed; /* something is wrong with the network */
    struct task *tasks;
    size_t task_room, task_free;
    uint64_t serials;
    uint64_t starts, jobs;
    struct started { /* runs of crons */
        uint64_t generation;
        size_t node;
        uint64_t life;
        bool well; /* it has ended so */
    } started[STARTED_MAX];
    size_t started_count;
    unsigned least_ready; /* cluster_require */
    struct cluster_stats stats;
    int gateway_at[VIPS_MAX];    /* whom the gateway's ARP cache names; -1: nobody */
    int client_at[VIPS_MAX];     /* whom the client believes to have the address; -1: nobody */
    struct addr given[VIPS_MAX]; /* to pooled-NN, when the flock was at rest; family 0: never */
    char broken[CLUSTER_TEXT_MAX];
};

/* cluster.c */
void world_trace(const struct cluster *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int64_t world_now(const struct cluster *c);
mono_t world_local(const struct machine *m);
int64_t world_wall(const struct cluster *c);
bool world_chance(struct cluster *c, double probability);
int64_t world_range(struct cluster *c, int64_t low, int64_t high);
/* The caller fills what belongs to @kind. Valid until the next call. */
struct task *world_task(struct machine *m, enum task_kind kind, int64_t delay_ms, uint64_t life);
size_t world_index(const struct cluster *c, node_id id);
struct addr world_addr(const struct machine *m);
bool world_linked(const struct cluster *c, size_t a, size_t b); /* both ways */
void *world_must(void *p);

/* cluster_agent.c */
void agent_begin(struct machine *m);
void agent_end(struct machine *m);
void agent_post(struct machine *m, const struct node_event *event);
void agent_work(struct machine *m); /* effects that are left, then what was posted */
void agent_wake(struct machine *m);
void agent_receive(struct machine *m, size_t from, const void *data, size_t len);
void agent_task(struct machine *m, struct task *task);

/* cluster_machine.c */
void machine_open_fence(struct machine *m, const struct effect_fence *fence);
void machine_shut_fence(struct machine *m, const struct effect_fence *fence);
bool machine_fence_open(const struct machine *m, size_t vip);
size_t machine_vip(const struct addr *address); /* its index */
struct process *machine_process(struct machine *m, const char *name);
void machine_start(struct machine *m, const struct effect_start *start);
void machine_stop(struct machine *m, const struct effect_stop *stop);
void machine_extend(struct machine *m, const struct effect_stop *extend);
void machine_probe(struct machine *m, const struct effect_probe *probe);
void machine_end_process(struct machine *m, struct process *p, struct supervise_exit exit);
void machine_scan(struct machine *m); /* what a starting agent finds */
void machine_task(struct machine *m, struct task *task);
bool process_healthy(const struct machine *m, const struct process *p);

/* cluster_client.c */
void client_create(struct cluster *c);
void client_announce(struct machine *m, size_t vip);
void client_task(struct machine *m, size_t vip);
bool client_hears(struct cluster *c, size_t from, const void *data, size_t len);
void gateway_access(struct machine *m, const struct effect *effect);
void gateway_hears(struct cluster *c, size_t from, const void *data, size_t len);
void gateway_replied(struct machine *m, const struct packet *packet);

/* cluster_git.c */
void git_branch(struct machine *m);
void git_fetch(struct machine *m, const struct effect_fetch *fetch);
void git_marked(struct machine *m);
void git_apply(struct machine *m, const char *commit);
void git_task(struct machine *m);
int git_find(const struct cluster *c, const char *id);            /* -1: none */
bool git_descends(const struct cluster *c, int commit, int from); /* or is the same */
struct desired *git_desired(struct cluster *c, int commit);

/* cluster_canary.c */
void canary_name(const struct cluster *c, struct commit *commit); /* writes its trailer */
void canary_look(struct machine *m);                              /* after each step */

/* cluster_thief.c */
void thief_crypto(struct machine *m, struct node_crypto *crypto);
/* Changes what the thief is about to send; @bytes: room for a record's value. */
void thief_forge(struct machine *m, struct msg *msg, uint8_t *bytes, size_t room);

#endif
