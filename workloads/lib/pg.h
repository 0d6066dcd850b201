/* PostgreSQL for a program with one loop: many queries at once over a few connections, no threads.
 *
 * Readers take any number of queries at a time: what was asked for in one turn of the loop leaves
 * in one packet (libpq's pipeline mode) and comes back in one. Writers take one query at a time,
 * each a transaction of its own, whose answer is given when it is committed. Statements are
 * prepared on a connection when it first needs them.
 *
 * A restart of the server: connections come back by themselves with growing pauses. Reads in flight
 * are asked again elsewhere, once; writes in flight end with ERR_UNREACHABLE and `unknown`, since
 * nobody can tell whether they were committed. While nothing is connected every query ends at once
 * with ERR_UNREACHABLE. No query takes longer than the configured time. */
#ifndef COVEY_WORKLOADS_PG_H
#define COVEY_WORKLOADS_PG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libpq-fe.h>

#include "proto/base/err.h"
#include "workloads/lib/log.h"

#define PG_PARAMS_MAX 16
#define PG_STATEMENTS_MAX 320
#define PG_CONNECTIONS_MAX 64 /* readers and writers, each */
#define PG_QUEUE_MAX 4096     /* queries that wait or are in flight */
#define PG_PIPELINE_MAX 64    /* queries in flight on one reader */

struct pg;

struct pg_config {
    const char *url; /* postgresql://user:password@host/database, borrowed */
    const char *application;
    unsigned readers;
    unsigned writers;
    unsigned
        timeout_ms; /* for a query, waiting included; the server itself gives up a bit earlier */
    struct log *log;
};

enum pg_kind {
    PG_READ, /* may be asked twice */
    PG_WRITE,
};

struct pg_statement {
    unsigned index; /* below PG_STATEMENTS_MAX; always the same for one text */
    enum pg_kind kind;
    const char *text; /* one statement with $1, $2, ...; borrowed until pg_free */
    bool binary;      /* the rows in PostgreSQL's binary form: cheaper for both sides */
};

struct pg_answer {
    int code; /* ERR_NONE; ERR_UNREACHABLE; ERR_TIMEOUT; ERR_FULL; ERR_NOMEM; ERR_INVALID: SQL error
               */
    bool unknown;           /* a write that may have been committed */
    const PGresult *result; /* rows, when code is ERR_NONE */
    char sqlstate[6];       /* of an SQL error */
    char constraint[64];    /* that was violated, or empty */
};

/* @answer lives until this returns. */
typedef void pg_done(void *context, const struct pg_answer *answer);

/* Opens nothing yet but an epoll descriptor; pg_connect does. */
int pg_new(const struct pg_config *config, struct pg **out, struct err *err);
void pg_free(struct pg *pg); /* ends every query with ERR_UNREACHABLE first; NULL is allowed */

/* Begins to connect; until then every query ends with ERR_UNREACHABLE. @first: only one reader for
 * now, so that a program that starts is not kept from its first answer by all the others. */
void pg_connect(struct pg *pg, bool first);

/* For the caller's loop: readable when pg_run has something to do; how long to wait at most (-1:
 * for ever). pg_send hands over what was asked for since; call it before waiting. */
int pg_fd(const struct pg *pg);
int pg_wait_ms(const struct pg *pg);
void pg_run(struct pg *pg);
void pg_send(struct pg *pg);

/* Asks; @done is called exactly once, maybe before this returns. The parameters are texts (NULL:
 * SQL's null) and copied. */
void pg_query(struct pg *pg, const struct pg_statement *statement, const char *const *params,
              size_t count, pg_done *done, void *context);

/* Ends every query that waits or is in flight with ERR_UNREACHABLE. */
void pg_cancel(struct pg *pg);

/* True when a reader and a writer are connected. */
bool pg_is_up(const struct pg *pg);

struct pg_stats {
    unsigned connected;
    unsigned waiting; /* queries that no connection has yet */
    uint64_t queries;
    uint64_t failures; /* other than SQL errors */
    uint64_t reconnects;
};
struct pg_stats pg_stats(const struct pg *pg);

/* The options that every connection of @config gets, for a blocking one too; NULL on failure or a
 * connection that PQstatus calls bad. The caller ends it by PQfinish. */
PGconn *pg_connect_blocking(const struct pg_config *config, unsigned statement_timeout_ms);

#endif
