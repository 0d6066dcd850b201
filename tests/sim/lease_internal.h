/* The inside of the world of leases: lease_world.c (events, network, lives), lease_agent.c (the
 * agent's loop, its effects, the kernel's fences and the invariant). */
#ifndef COVEY_SIM_LEASE_INTERNAL_H
#define COVEY_SIM_LEASE_INTERNAL_H

#include "tests/sim/lease_world.h"

#define MS 1000
#define INBOX_MAX 96    /* datagrams that a socket holds */
#define EVENTS_MAX 8192 /* in flight */
#define RESULTS_MAX 512

enum event_kind { EVENT_RUN, EVENT_ARRIVE, EVENT_START, EVENT_GATEWAY, EVENT_GOSSIP };

struct packet {
    int from;       /* WORLD_GATEWAY: the gateway's reply */
    uint64_t life;  /* of the sender's agent */
    int64_t left;   /* true time when it was sent */
    uint8_t access; /* enum lease_register_type: of the gateway's cache, or its echo; 0: a probe */
    int lease;
    int64_t sent;   /* which says to a request of what local time, in milliseconds */
    struct msg msg; /* type 0: some other frame of the agent */
};

struct event {
    int64_t at;
    uint64_t order; /* equal times keep the order in which they were made */
    enum event_kind kind;
    int node;
    uint64_t life; /* of the agent that it is meant for */
    struct packet *packet;
};

struct fence {             /* in the kernel: nothing that happens to the agent changes it */
    int64_t open_until;    /* true time, lateness of the kernel included; <= now: closed */
    int64_t granted_until; /* true time: end of the latest lease that was no solo lease */
    bool stale;            /* written by a clock that is not re-read yet */
    bool solo;
    bool claimed; /* the solo lease behind it followed a silence of P */
};

/* What an agent is doing between two calls of its machine. */
struct doing {
    bool busy;
    bool persisted;
    bool probed;
    int access;
    bool failed; /* to persist: only closes and changes are carried out */
    int op;
    int phase; /* of the open that is being carried out */
    int send;
    int64_t read; /* clock reading of that open */
};

struct node {
    int index;
    bool running; /* the agent exists */
    bool booted;  /* no agent has started since the machine booted */
    bool drained;
    bool persist_fails;
    bool persist_due;                /* asked for, not done yet */
    uint64_t life;                   /* of the agent, counted up at each start and end */
    int64_t started;                 /* true time of the start of this life */
    uint64_t lives[WORLD_NODES_MAX]; /* of the others, as far as their frames have told this life */
    uint32_t boot;
    int64_t born; /* true time of BOOTTIME 0 */
    int64_t ppm;
    int64_t stopped_until;
    int64_t run_at; /* of the pending EVENT_RUN; INT64_MAX: none */
    struct leases *leases;
    struct leases_out out;
    struct doing doing;
    struct leases_event results[RESULTS_MAX]; /* events of the agent's own, before the socket */
    int result_first;
    int result_count;
    struct packet *inbox[INBOX_MAX];
    int inbox_first;
    int inbox_count;
    struct packet *taken; /* off the socket, not given to the machine yet */
    bool clock_read;
    int64_t clock;
    int64_t clock_at; /* true time of that reading: the frame had been received by then */
    int64_t heard;    /* true time: when a frame was last received */
    struct voter_set disk_voters;
    bool have_record;
    struct leases_record record;
    struct fence fences[WORLD_LEASES];
    struct world_wish wishes[WORLD_LEASES];
    bool solo[WORLD_LEASES];    /* of the latest open that the machine asked for */
    bool claimed[WORLD_LEASES]; /* in this stretch of solo leases */
};

struct world {
    struct world_config config;
    struct rng rng;
    int64_t now;
    uint64_t order;
    bool links[WORLD_NODES_MAX + 1][WORLD_NODES_MAX + 1];
    int loss_percent;
    int64_t delay_us;
    int tail_percent;
    struct node nodes[WORLD_NODES_MAX];
    struct event heap[EVENTS_MAX];
    int events;
    int named[WORLD_LEASES]; /* by the gateway's ARP cache; -1: nobody */
    struct world_stats stats;
    char failure[256];
};

/* lease_world.c */
void world_trace(const struct world *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int64_t world_local_us(const struct world *w, const struct node *n);
int64_t world_true_span(const struct node *n, int64_t us);
void world_transmit(struct world *w, int from, int to, int64_t sent, const struct msg *msg);
/* An access of @n to the gateway's cache. */
void world_access(struct world *w, const struct node *n, const struct lease_register *access);
void world_run_at(struct world *w, struct node *n, int64_t at);
void world_tell(struct world *w, struct node *n, struct leases_event ev);

/* lease_agent.c */
void agent_run(struct world *w, struct node *n);
void agent_imported(struct world *w, struct node *n); /* n->out holds the effects */
bool agent_may_stop(const struct node *n);

static inline node_id id_of(int node)
{
    return (node_id){(uint64_t)node + 1};
}

static inline uint64_t lease_id(int lease)
{
    return 0x1000u + (uint64_t)lease;
}

static inline int lease_index(uint64_t id)
{
    return (int)(id - 0x1000u);
}

static inline mono_t to_mono(int64_t us)
{
    return (mono_t){us / MS};
}

#endif
