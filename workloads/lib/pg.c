/* The pool: queries, deadlines, the caller's loop. */
#include "workloads/lib/pg.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "workloads/lib/emit.h"
#include "workloads/lib/pg_internal.h"

#define LOOK_US 50000 /* between two looks for deadlines */
#define EVENTS_MAX 32

int64_t pg_now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* --- queues ------------------------------------------------------------------------------- */

void queue_put(struct queue *queue, struct query *query)
{
    query->next = NULL;
    *queue->end = query;
    queue->end = &query->next;
    queue->count++;
}

void queue_put_first(struct queue *queue, struct query *query)
{
    query->next = queue->first;
    if (queue->first == NULL)
        queue->end = &query->next;
    queue->first = query;
    queue->count++;
}

struct query *queue_take(struct queue *queue)
{
    struct query *query = queue->first;

    if (query == NULL)
        return NULL;
    queue->first = query->next;
    if (queue->first == NULL)
        queue->end = &queue->first;
    queue->count--;
    return query;
}

/* --- queries ------------------------------------------------------------------------------ */

void query_end(struct pg *pg, struct query *query, const struct pg_answer *answer)
{
    pg->total--;
    if (answer->code != ERR_NONE && answer->code != ERR_INVALID)
        pg->stats.failures++;
    query->done(query->context, answer);
    PQclear(query->result);
    free(query);
}

void query_fail(struct pg *pg, struct query *query, int code, bool unknown)
{
    const struct pg_answer answer = {.code = code, .unknown = unknown};

    query_end(pg, query, &answer);
}

/* Statement, parameters and their texts in one block. */
static struct query *query_new(const struct pg_statement *statement, const char *const *params,
                               size_t count)
{
    size_t size = sizeof(struct query);
    struct query *query;
    char *at;

    for (size_t i = 0; i < count; i++)
        size += params[i] != NULL ? strlen(params[i]) + 1 : 0;
    query = malloc(size);
    if (query == NULL)
        return NULL;
    memset(query, 0, sizeof *query);
    query->statement = *statement;
    query->count = count;
    at = (char *)(query + 1);
    for (size_t i = 0; i < count; i++) {
        size_t len;
        if (params[i] == NULL)
            continue;
        len = strlen(params[i]) + 1;
        query->params[i] = memcpy(at, params[i], len);
        at += len;
    }
    return query;
}

void pg_query(struct pg *pg, const struct pg_statement *statement, const char *const *params,
              size_t count, pg_done *done, void *context)
{
    struct query *query = NULL;
    struct pg_answer refusal = {.code = ERR_NONE};

    assert(count <= PG_PARAMS_MAX && statement->index < PG_STATEMENTS_MAX);
    pg->stats.queries++;
    if (!pg->connecting || pg->failed)
        refusal.code = ERR_UNREACHABLE;
    else if (pg->total >= PG_QUEUE_MAX)
        refusal.code = ERR_FULL;
    else if ((query = query_new(statement, params, count)) == NULL)
        refusal.code = ERR_NOMEM;
    if (refusal.code != ERR_NONE) {
        pg->stats.failures++;
        done(context, &refusal);
        return;
    }
    query->done = done;
    query->context = context;
    query->deadline = pg_now_us() + (int64_t)pg->config.timeout_ms * 1000;
    pg->total++;
    queue_put(&pg->waiting[statement->kind], query);
}

/* --- life --------------------------------------------------------------------------------- */

int pg_new(const struct pg_config *config, struct pg **out, struct err *err)
{
    struct pg *pg = calloc(1, sizeof *pg);

    assert(config->readers > 0 && config->readers <= PG_CONNECTIONS_MAX && config->writers > 0 &&
           config->writers <= PG_CONNECTIONS_MAX);
    if (pg == NULL)
        return err_set(err, ERR_NOMEM, "make the pool of connections");
    pg->config = *config;
    pg->link_count = config->readers + config->writers;
    pg->links = calloc(pg->link_count, sizeof *pg->links);
    pg->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (pg->links == NULL || pg->epoll_fd < 0) {
        int errnum = errno;
        if (pg->epoll_fd >= 0)
            close(pg->epoll_fd);
        free(pg->links);
        free(pg);
        return err_errno(err, ERR_IO, errnum, "make the pool of connections");
    }
    pg->waiting[PG_READ].end = &pg->waiting[PG_READ].first;
    pg->waiting[PG_WRITE].end = &pg->waiting[PG_WRITE].first;
    pg->jitter = (uint64_t)pg_now_us() ^ (uint64_t)getpid() << 20;
    for (unsigned i = 0; i < pg->link_count; i++) {
        pg->links[i].pg = pg;
        pg->links[i].fd = -1;
        pg->links[i].kind = i < config->readers ? PG_READ : PG_WRITE;
    }
    *out = pg;
    return ERR_NONE;
}

void pg_cancel(struct pg *pg)
{
    struct query *query;

    for (unsigned i = 0; i < pg->link_count; i++)
        if (pg->links[i].state != LINK_DOWN)
            link_close(&pg->links[i], ERR_UNREACHABLE);
    for (unsigned kind = 0; kind < 2; kind++)
        while ((query = queue_take(&pg->waiting[kind])) != NULL)
            query_fail(pg, query, ERR_UNREACHABLE, false);
}

void pg_free(struct pg *pg)
{
    if (pg == NULL)
        return;
    pg->connecting = false;
    pg_cancel(pg);
    close(pg->epoll_fd);
    free(pg->links);
    free(pg);
}

void pg_connect(struct pg *pg, bool first)
{
    pg->connecting = true;
    pg->link_count = first ? 1 : pg->config.readers + pg->config.writers;
    for (unsigned i = 0; i < pg->link_count; i++)
        if (pg->links[i].state == LINK_DOWN)
            link_open(&pg->links[i]);
}

bool pg_is_up(const struct pg *pg)
{
    bool up[2] = {false, false};

    for (unsigned i = 0; i < pg->link_count; i++)
        if (pg->links[i].state == LINK_READY)
            up[pg->links[i].kind] = true;
    return up[PG_READ] && up[PG_WRITE];
}

struct pg_stats pg_stats(const struct pg *pg)
{
    struct pg_stats stats = pg->stats;

    for (unsigned i = 0; i < pg->link_count; i++)
        stats.connected += pg->links[i].state == LINK_READY;
    stats.waiting = pg->waiting[PG_READ].count + pg->waiting[PG_WRITE].count;
    return stats;
}

/* --- the caller's loop -------------------------------------------------------------------- */

int pg_fd(const struct pg *pg)
{
    return pg->epoll_fd;
}

int pg_wait_ms(const struct pg *pg)
{
    if (!pg->connecting)
        return -1;
    if (pg->total > 0)
        return LOOK_US / 1000;
    for (unsigned i = 0; i < pg->link_count; i++)
        if (pg->links[i].state != LINK_READY)
            return LOOK_US / 1000;
    return -1;
}

/* Queries that nobody has taken in time, or that nobody can take. */
static void give_up_waiting(struct pg *pg, int64_t now)
{
    for (unsigned kind = 0; kind < 2; kind++) {
        struct queue *queue = &pg->waiting[kind];
        while (queue->first != NULL && (pg->failed || queue->first->deadline <= now))
            query_fail(pg, queue_take(queue), pg->failed ? ERR_UNREACHABLE : ERR_TIMEOUT, false);
    }
}

static bool is_overdue(const struct link *link, int64_t now)
{
    if (link->committing != NULL)
        return link->committing->deadline <= now;
    for (unsigned i = 0; i < link->count; i++) {
        const struct entry *entry = &link->entries[(link->head + i) % ENTRIES_MAX];
        if (entry->query != NULL)
            return entry->query->deadline <= now; /* the oldest */
    }
    return false;
}

static void look(struct pg *pg, int64_t now)
{
    pg->look_at = now + LOOK_US;
    for (unsigned i = 0; i < pg->link_count; i++) {
        struct link *link = &pg->links[i];
        if (link->state == LINK_DOWN && link->retry_at <= now)
            link_open(link);
        else if (link->state == LINK_CONNECTING && link->retry_at <= now)
            link_close(link, ERR_TIMEOUT);
        else if (link->state == LINK_READY && is_overdue(link, now))
            link_close(link, ERR_TIMEOUT);
    }
    give_up_waiting(pg, now);
}

void pg_run(struct pg *pg)
{
    struct epoll_event events[EVENTS_MAX];
    int64_t now;
    int n;

    if (!pg->connecting)
        return;
    n = epoll_wait(pg->epoll_fd, events, EVENTS_MAX, 0);
    for (int i = 0; i < n; i++)
        link_ready(events[i].data.ptr, events[i].events);
    now = pg_now_us();
    if (now >= pg->look_at)
        look(pg, now);
}

static bool has_room(const struct link *link)
{
    return link->kind == PG_WRITE
               ? link->count == 0
               : link->queries < PG_PIPELINE_MAX && link->count + 3 <= ENTRIES_MAX;
}

/* The reader with the least to do gets the next query; so do the writers, which take one each. */
void pg_send(struct pg *pg)
{
    for (unsigned kind = 0; kind < 2; kind++) {
        while (pg->waiting[kind].count > 0) {
            struct link *best = NULL;
            for (unsigned i = 0; i < pg->link_count; i++) {
                struct link *link = &pg->links[i];
                if (link->kind == kind && link->state == LINK_READY && has_room(link) &&
                    (best == NULL || link->queries < best->queries))
                    best = link;
            }
            if (best == NULL)
                break;
            link_send(best);
        }
    }
}
