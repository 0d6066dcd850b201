/* One connection of the pool: connecting, sending, taking answers. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "workloads/lib/emit.h"
#include "workloads/lib/pg_internal.h"

#define CONNECT_US 5000000
#define PAUSE_FIRST_US 50000
#define PAUSE_MAX_US 1000000
#define ATTEMPTS_MAX 2 /* of a read */

/* --- connecting --------------------------------------------------------------------------- */

/* What holds on every connection. The plan of a prepared statement does not depend on its
 * parameters here, so planning it once is enough. It is kept while the tables grow, though: one
 * that was made for writing into a new database, foreign keys included, would read whole tables
 * from then on, so @writes forbids that. */
static void print_options(char *text, size_t size, unsigned timeout_ms, bool writes)
{
    snprintf(text, size,
             "-c statement_timeout=%u -c lock_timeout=%u -c timezone=UTC -c datestyle=ISO "
             "-c intervalstyle=iso_8601 -c bytea_output=hex -c client_encoding=UTF8 "
             "-c idle_in_transaction_session_timeout=60000 -c plan_cache_mode=force_generic_plan%s",
             timeout_ms, timeout_ms, writes ? " -c enable_seqscan=off" : "");
}

#define KEYS 8
static void conninfo(const struct pg_config *config, const char *options, const char *keys[KEYS],
                     const char *values[KEYS])
{
    const char *const pairs[KEYS - 1][2] = {{"dbname", config->url},
                                            {"options", options},
                                            {"fallback_application_name", config->application},
                                            {"keepalives_idle", "30"},
                                            {"keepalives_interval", "10"},
                                            {"keepalives_count", "3"},
                                            {"connect_timeout", "5"}};

    for (size_t i = 0; i + 1 < KEYS; i++) {
        keys[i] = pairs[i][0];
        values[i] = pairs[i][1];
    }
    keys[KEYS - 1] = NULL;
    values[KEYS - 1] = NULL;
}

PGconn *pg_connect_blocking(const struct pg_config *config, unsigned statement_timeout_ms)
{
    const char *keys[KEYS];
    const char *values[KEYS];
    char options[384];

    print_options(options, sizeof options, statement_timeout_ms, false);
    conninfo(config, options, keys, values);
    return PQconnectdbParams(keys, values, 1);
}

/* libpq may change its socket while it connects. */
static void watch(struct link *link, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = link};
    int fd = PQsocket(link->db);

    if (fd == link->fd && events == link->events && link->state == LINK_READY)
        return;
    if (link->fd >= 0)
        epoll_ctl(link->pg->epoll_fd, EPOLL_CTL_DEL, link->fd, NULL);
    link->fd = fd;
    link->events = events;
    if (fd >= 0 && epoll_ctl(link->pg->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        link->fd = -1;
}

static void tell(struct pg *pg, enum log_level level, const char *message, const char *detail)
{
    struct out *o = log_begin(pg->config.log, level, message);

    if (o == NULL)
        return;
    if (detail != NULL)
        emit_string_n((emit_key(o, "detail"), o), detail, strcspn(detail, "\n"));
    log_end(pg->config.log);
}

static bool is_any_ready(const struct pg *pg)
{
    for (unsigned i = 0; i < pg->link_count; i++)
        if (pg->links[i].state == LINK_READY)
            return true;
    return false;
}

void link_open(struct link *link)
{
    const char *keys[KEYS];
    const char *values[KEYS];
    char options[384];

    /* The server gives up a little before the query's own time is over. */
    print_options(options, sizeof options, link->pg->config.timeout_ms * 4 / 5,
                  link->kind == PG_WRITE);
    conninfo(&link->pg->config, options, keys, values);
    link->state = LINK_CONNECTING;
    link->retry_at = pg_now_us() + CONNECT_US;
    link->db = PQconnectStartParams(keys, values, 1);
    if (link->db == NULL || PQstatus(link->db) == CONNECTION_BAD) {
        link_close(link, ERR_UNREACHABLE);
        return;
    }
    watch(link, EPOLLOUT);
}

static void connected(struct link *link)
{
    struct pg *pg = link->pg;

    if (PQsetnonblocking(link->db, 1) != 0 || PQenterPipelineMode(link->db) != 1) {
        link_close(link, ERR_UNREACHABLE);
        return;
    }
    if (pg->failed)
        tell(pg, LEVEL_INFO, "database reachable again", NULL);
    pg->failed = false;
    link->state = LINK_READY;
    link->pause_us = 0;
    link->lost = false;
    memset(link->prepared, 0, sizeof link->prepared);
    link->events = 0;
    watch(link, EPOLLIN);
}

static void go_on_connecting(struct link *link)
{
    switch (PQconnectPoll(link->db)) {
    case PGRES_POLLING_READING:
        watch(link, EPOLLIN);
        break;
    case PGRES_POLLING_WRITING:
        watch(link, EPOLLOUT);
        break;
    case PGRES_POLLING_OK:
        connected(link);
        break;
    default:
        link_close(link, ERR_UNREACHABLE);
    }
}

static struct entry *head(struct link *link)
{
    return &link->entries[link->head];
}

static void pop(struct link *link)
{
    if (head(link)->kind == ENTRY_QUERY)
        link->queries--;
    link->head = (link->head + 1) % ENTRIES_MAX;
    link->count--;
}

static void push(struct link *link, enum entry_kind kind, struct query *query, unsigned statement)
{
    struct entry *entry = &link->entries[(link->head + link->count) % ENTRIES_MAX];

    assert(link->count < ENTRIES_MAX);
    *entry = (struct entry){.kind = kind, .statement = statement, .query = query};
    link->count++;
    if (kind == ENTRY_QUERY)
        link->queries++;
}

/* A query whose connection or batch broke before it was answered. */
static void interrupted(struct pg *pg, struct query *query, int code)
{
    if (query->statement.kind == PG_WRITE) {
        query_fail(pg, query, code, true);
    } else if (code == ERR_TIMEOUT || query->attempts >= ATTEMPTS_MAX || !pg->connecting) {
        query_fail(pg, query, code, false);
    } else {
        queue_put_first(&pg->waiting[PG_READ], query);
    }
}

void link_close(struct link *link, int code)
{
    struct pg *pg = link->pg;
    bool was_ready = link->state == LINK_READY;
    char detail[256];

    snprintf(detail, sizeof detail, "%s",
             link->db != NULL ? PQerrorMessage(link->db) : "no memory");
    link->state = LINK_DOWN;
    if (link->fd >= 0)
        epoll_ctl(pg->epoll_fd, EPOLL_CTL_DEL, link->fd, NULL);
    link->fd = -1;
    PQfinish(link->db);
    link->db = NULL;
    link->pause_us = was_ready                           ? PAUSE_FIRST_US
                     : link->pause_us * 2 > PAUSE_MAX_US ? PAUSE_MAX_US
                     : link->pause_us == 0               ? PAUSE_FIRST_US
                                                         : link->pause_us * 2;
    /* Spread, so that a server that starts is not asked by all at once. */
    pg->jitter = pg->jitter * UINT64_C(6364136223846793005) + 1442695040888963407;
    link->retry_at =
        pg_now_us() + link->pause_us / 2 + (int64_t)((pg->jitter >> 33) % (uint64_t)link->pause_us);
    pg->stats.reconnects++;
    if (!was_ready && !pg->failed && !is_any_ready(pg)) {
        pg->failed = true;
        if (pg->connecting)
            tell(pg, LEVEL_ERROR, "database not reachable", detail);
    }
    if (link->committing != NULL)
        interrupted(pg, link->committing, code);
    link->committing = NULL;
    while (link->count > 0) {
        struct entry entry = *head(link);
        pop(link);
        if (entry.query != NULL)
            interrupted(pg, entry.query, code);
    }
}

/* --- sending ------------------------------------------------------------------------------ */

static bool is_prepared(const struct link *link, unsigned statement)
{
    return (link->prepared[statement / 64] >> (statement % 64) & 1) != 0;
}

static void set_prepared(struct link *link, unsigned statement, bool prepared)
{
    uint64_t bit = UINT64_C(1) << (statement % 64);

    if (prepared)
        link->prepared[statement / 64] |= bit;
    else
        link->prepared[statement / 64] &= ~bit;
}

static bool send_query(struct link *link, struct query *query)
{
    unsigned index = query->statement.index;
    char name[16];

    snprintf(name, sizeof name, "s%u", index);
    if (!is_prepared(link, index)) {
        if (PQsendPrepare(link->db, name, query->statement.text, (int)query->count, NULL) != 1)
            return false;
        push(link, ENTRY_PREPARE, NULL, index);
        set_prepared(link, index, true);
    }
    if (PQsendQueryPrepared(link->db, name, (int)query->count, query->params, NULL, NULL,
                            query->statement.binary) != 1)
        return false;
    query->attempts++;
    push(link, ENTRY_QUERY, query, index);
    return true;
}

static void flush(struct link *link)
{
    int rc = PQflush(link->db);

    if (rc < 0)
        link_close(link, ERR_UNREACHABLE);
    else
        watch(link, rc > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void link_send(struct link *link)
{
    struct pg *pg = link->pg;
    struct queue *queue = &pg->waiting[link->kind];
    /* Readers share what waits; a batch is not larger than each one's part. */
    unsigned readers = pg->config.readers;
    unsigned batch = link->kind == PG_WRITE ? 1 : (queue->count + readers - 1) / readers;
    bool ok = true;

    while (ok && batch-- > 0 && queue->count > 0 && link->queries < PG_PIPELINE_MAX &&
           link->count + 3 <= ENTRIES_MAX) {
        struct query *query = queue_take(queue);
        ok = send_query(link, query);
        if (!ok)
            queue_put_first(queue, query);
    }
    if (ok)
        ok = PQpipelineSync(link->db) == 1;
    if (!ok) {
        link_close(link, ERR_UNREACHABLE);
        return;
    }
    push(link, ENTRY_SYNC, NULL, 0);
    flush(link);
}

/* --- answers ------------------------------------------------------------------------------ */

static void answer_error(struct pg *pg, struct query *query, const PGresult *result)
{
    struct pg_answer answer = {.code = ERR_INVALID};
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *constraint = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);
    struct out *o;

    snprintf(answer.sqlstate, sizeof answer.sqlstate, "%s", state != NULL ? state : "");
    snprintf(answer.constraint, sizeof answer.constraint, "%s",
             constraint != NULL ? constraint : "");
    /* 57014 query_canceled (the server's own time-out), 55P03 lock_not_available. */
    if (strcmp(answer.sqlstate, "57014") == 0 || strcmp(answer.sqlstate, "55P03") == 0)
        answer.code = ERR_TIMEOUT;
    if (answer.code == ERR_TIMEOUT || constraint == NULL) {
        o = log_begin(pg->config.log, LEVEL_WARNING, "query failed");
        if (o != NULL) {
            const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
            emit_key_string(o, "sqlstate", answer.sqlstate);
            emit_key_string(o, "detail", text != NULL ? text : "");
            log_end(pg->config.log);
        }
    }
    query_end(pg, query, &answer);
}

/* True for an error that is the connection's end: none of the server's, or class 57P (shutdown). */
static bool ends_connection(const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    return state == NULL || strncmp(state, "57P", 3) == 0;
}

static void take_query(struct link *link, struct entry *entry, PGresult *result)
{
    struct pg *pg = link->pg;
    struct query *query = entry->query;

    switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
        if (query->statement.kind == PG_WRITE) {
            query->result = result; /* committed when the sync is answered */
            entry->query = NULL;
            link->committing = query;
            return;
        } else {
            const struct pg_answer answer = {.code = ERR_NONE, .result = result};
            entry->query = NULL;
            query_end(pg, query, &answer);
        }
        break;
    case PGRES_PIPELINE_ABORTED:
        entry->query = NULL;
        if (query->statement.kind == PG_WRITE) /* its own preparation failed: nothing was done */
            query_fail(pg, query, ERR_INVALID, false);
        else
            interrupted(pg, query, ERR_INVALID);
        break;
    default:
        if (ends_connection(result)) {
            link->lost = true;
        } else {
            entry->query = NULL;
            answer_error(pg, query, result);
        }
    }
    PQclear(result);
}

static void take_prepare(struct link *link, const struct entry *entry, PGresult *result)
{
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        set_prepared(link, entry->statement, false);
        if (PQresultStatus(result) != PGRES_PIPELINE_ABORTED && ends_connection(result))
            link->lost = true;
        else if (PQresultStatus(result) != PGRES_PIPELINE_ABORTED)
            tell(link->pg, LEVEL_ERROR, "statement not accepted", PQresultErrorMessage(result));
    }
    PQclear(result);
}

/* The transaction of the batch has ended: a write behind it was kept until now. */
static void take_sync(struct link *link, PGresult *result)
{
    struct query *query = link->committing;

    if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
        const struct pg_answer answer = {.code = ERR_NONE,
                                         .result = query != NULL ? query->result : NULL};
        link->committing = NULL;
        pop(link);
        if (query != NULL)
            query_end(link->pg, query, &answer);
    } else if (ends_connection(result)) {
        link->lost = true;
    } else if (query != NULL) { /* the commit itself failed */
        link->committing = NULL;
        answer_error(link->pg, query, result);
    }
    PQclear(result);
}

static void take(struct link *link, PGresult *result)
{
    struct entry *entry = head(link);

    entry->answered = true;
    if (entry->kind == ENTRY_SYNC)
        take_sync(link, result);
    else if (entry->kind == ENTRY_PREPARE)
        take_prepare(link, entry, result);
    else
        take_query(link, entry, result);
}

static void receive(struct link *link)
{
    bool open = PQconsumeInput(link->db) == 1;

    while (link->count > 0 && !link->lost && !PQisBusy(link->db)) {
        PGresult *result = PQgetResult(link->db);
        if (result != NULL)
            take(link, result);
        else if (head(link)->answered) /* the end of one command's results */
            pop(link);
        else
            break;
    }
    if (link->lost || !open || PQstatus(link->db) != CONNECTION_OK)
        link_close(link, ERR_UNREACHABLE);
}

void link_ready(struct link *link, uint32_t events)
{
    if (link->state == LINK_CONNECTING) {
        go_on_connecting(link);
        return;
    }
    if (link->state != LINK_READY)
        return;
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        receive(link);
    if (link->state == LINK_READY && (events & EPOLLOUT))
        flush(link);
}
