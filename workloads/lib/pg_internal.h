/* What the files of the PostgreSQL pool share: see pg.h. */
#ifndef COVEY_WORKLOADS_PG_INTERNAL_H
#define COVEY_WORKLOADS_PG_INTERNAL_H

#include "workloads/lib/pg.h"

/* A query from pg_query to its answer; its parameters lie behind it. */
struct query {
    struct query *next;
    struct pg_statement statement;
    pg_done *done;
    void *context;
    int64_t deadline; /* microseconds */
    unsigned attempts;
    PGresult *result; /* of a write, until it is committed */
    size_t count;
    const char *params[PG_PARAMS_MAX];
};

struct queue {
    struct query *first;
    struct query **end;
    unsigned count;
};

enum entry_kind {
    ENTRY_PREPARE,
    ENTRY_QUERY,
    ENTRY_SYNC,
};

/* Something that was sent and is not answered yet. */
struct entry {
    enum entry_kind kind;
    bool answered; /* its result was seen, its end was not */
    unsigned statement;
    struct query *query; /* ENTRY_QUERY, until it is answered */
};

/* For each query a preparation, and a sync for each batch. */
#define ENTRIES_MAX (3 * PG_PIPELINE_MAX)

enum link_state {
    LINK_DOWN,
    LINK_CONNECTING,
    LINK_READY,
};

struct link {
    struct pg *pg;
    PGconn *db;
    enum pg_kind kind;
    enum link_state state;
    int fd; /* registered with the epoll descriptor; -1: none */
    uint32_t events;
    int64_t retry_at; /* LINK_DOWN: when to connect; LINK_CONNECTING: when to give up */
    int64_t pause_us;
    bool lost;                /* found while its answers were read */
    struct query *committing; /* a write that is done but for the end of its transaction */
    unsigned queries;         /* in flight */
    unsigned head;
    unsigned count;
    struct entry entries[ENTRIES_MAX];
    uint64_t prepared[PG_STATEMENTS_MAX / 64];
};

struct pg {
    struct pg_config config;
    char options[256];
    int epoll_fd;
    bool connecting; /* pg_connect was called */
    bool failed;     /* the last attempt to connect failed, and nothing is connected */
    struct link *links;
    unsigned link_count;
    struct queue waiting[2]; /* by enum pg_kind */
    unsigned total;
    int64_t look_at; /* when to look for deadlines */
    uint64_t jitter;
    struct pg_stats stats;
};

int64_t pg_now_us(void);

/* pg.c */
void query_end(struct pg *pg, struct query *query, const struct pg_answer *answer);
void query_fail(struct pg *pg, struct query *query, int code, bool unknown);
void queue_put(struct queue *queue, struct query *query);
void queue_put_first(struct queue *queue, struct query *query);
struct query *queue_take(struct queue *queue);

/* pg_link.c: connections. */
void link_open(struct link *link);
void link_close(struct link *link, int code); /* ends or hands back what is in flight */
void link_ready(struct link *link, uint32_t events);
/* Sends what waits and fits. */
void link_send(struct link *link);

#endif
