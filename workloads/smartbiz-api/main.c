/* smartbiz-api: articles, customers and orders on PostgreSQL.
 *
 *     DATABASE_URL  postgresql://user:password@host:port/database; without: libpq's own variables
 *     DB_READERS    connections for reading, each for many queries at a time (2)
 *     DB_WRITERS    connections for writing, each for one transaction at a time (8)
 *     DB_TIMEOUT    seconds that a query may take, waiting included (5)
 *
 * and the variables of workloads/lib/service.h without HTTP_THREADS; PORT is 8000. One thread
 * serves requests and database alike; another one connects first and brings the schema up to date,
 * until when requests get a 503. openapi.json describes the interface; /docs shows it. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "workloads/lib/emit.h"
#include "workloads/lib/service.h"
#include "workloads/lib/stop.h"
#include "workloads/smartbiz-api/api.h"

#define EXPIRE_US (INT64_C(3600) * 1000000) /* between two looks for old idempotency keys */
#define MIGRATE_PAUSE_US 500000

extern const char smartbiz_openapi[];
extern const size_t smartbiz_openapi_len;
extern const char smartbiz_docs[];
extern const size_t smartbiz_docs_len;

struct program {
    struct api api; /* first: the handlers' context */
    struct service service;
    struct pg_config database;
    int stop_fd;
    int wake_fd; /* the migrator has come to an end */
    pthread_t migrator;
    int64_t expire_at;
    int status; /* exit code */
    bool stopping;
    atomic_bool migrating;
    atomic_bool migrator_failed;
    struct err migrator_err;
};

static void openapi(struct request *request, void *context)
{
    (void)context;
    reply_constant(request, 200, "application/json", smartbiz_openapi, smartbiz_openapi_len);
}

static void docs(struct request *request, void *context)
{
    (void)context;
    reply_constant(request, 200, "text/html; charset=utf-8", smartbiz_docs, smartbiz_docs_len);
    reply_header(request, "Content-Security-Policy",
                 "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
                 "connect-src 'self'");
}

static const struct route routes[] = {
    {"GET", "/articles/{id}", articles_get, 0}, /* the most frequent first */
    {"GET", "/articles", list_articles, 0},
    {"POST", "/orders", orders_create, BODY_MAX},
    {"POST", "/articles", articles_create, BODY_MAX},
    {"POST", "/articles/import", import_articles, IMPORT_BODY_MAX},
    {"PUT", "/articles/{id}", articles_replace, BODY_MAX},
    {"PATCH", "/articles/{id}", articles_patch, BODY_MAX},
    {"DELETE", "/articles/{id}", articles_delete, 0},
    {"POST", "/articles/{id}/stock", stock_adjust, BODY_MAX},
    {"GET", "/articles/{id}/movements", list_article_movements, 0},
    {"GET", "/low-stock", list_low_stock, 0},
    {"GET", "/movements", list_movements, 0},
    {"GET", "/customers", list_customers, 0},
    {"POST", "/customers", customers_create, BODY_MAX},
    {"GET", "/customers/{id}", customers_get, 0},
    {"PUT", "/customers/{id}", customers_replace, BODY_MAX},
    {"PATCH", "/customers/{id}", customers_patch, BODY_MAX},
    {"DELETE", "/customers/{id}", customers_delete, 0},
    {"GET", "/orders", list_orders, 0},
    {"GET", "/orders/{id}", orders_get, 0},
    {"PUT", "/orders/{id}", orders_replace, BODY_MAX},
    {"POST", "/orders/{id}/confirm", orders_confirm, BODY_MAX},
    {"POST", "/orders/{id}/ship", orders_ship, BODY_MAX},
    {"POST", "/orders/{id}/cancel", orders_cancel, BODY_MAX},
    {"GET", "/audit", list_audit, 0},
    {"GET", "/dashboard", show_dashboard, 0},
    {"GET", "/export/articles.csv", export_articles, 0},
    {"GET", "/export/customers.csv", export_customers, 0},
    {"GET", "/export/orders.csv", export_orders, 0},
    {"GET", "/export/movements.csv", export_movements, 0},
    {"GET", "/health", handle_health, 0},
    {"GET", "/ready", show_ready, 0},
    {"GET", "/metrics", show_metrics, 0},
    {"GET", "/openapi.json", openapi, 0},
    {"GET", "/docs", docs, 0},
};

/* --- the schema, in a thread of its own ----------------------------------------------------- */

static void log_migrator(struct program *program, const char *message)
{
    struct out *o = log_begin(program->service.log, LEVEL_WARNING, message);

    if (o == NULL)
        return;
    emit_key_string(o, "detail", program->migrator_err.text);
    log_end(program->service.log);
}

/* Tries until the database answers. Ends the program when the schema cannot be used. */
static void *run_migrator(void *arg)
{
    struct program *program = arg;
    bool told = false;
    int rc;

    while ((rc = migrate(&program->database, &program->migrator_err)) == ERR_UNREACHABLE) {
        const struct timespec pause = {.tv_nsec = MIGRATE_PAUSE_US * 1000L};
        if (!told)
            log_migrator(program, "database not reachable yet");
        told = true;
        nanosleep(&pause, NULL);
    }
    if (rc == ERR_NONE)
        atomic_store(&program->api.migrated, true);
    else
        atomic_store(&program->migrator_failed, true);
    if (eventfd_write(program->wake_fd, 1) != 0)
        log_migrator(program, "the loop was not woken");
    atomic_store(&program->migrating, false);
    return NULL;
}

/* --- the loop ------------------------------------------------------------------------------- */

static void forget(void *context, const struct pg_answer *answer)
{
    (void)context;
    (void)answer;
}

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void expire_keys(struct program *program)
{
    const struct pg_statement statement = api_statement(ST_KEYS_EXPIRE);
    int64_t us = now_us();

    if (us < program->expire_at)
        return;
    program->expire_at = us + EXPIRE_US;
    pg_query(program->api.pg, &statement, NULL, 0, forget, NULL);
}

static void migrator_ended(struct program *program)
{
    eventfd_t ignored;

    if (eventfd_read(program->wake_fd, &ignored) != 0)
        return;
    if (atomic_load(&program->api.migrated)) {
        program->api.ready = true;
        pg_connect(program->api.pg, false);
    }
    if (atomic_load(&program->migrator_failed)) {
        fprintf(stderr, "smartbiz-api: %s\n", program->migrator_err.text);
        program->status = 1;
        program->stopping = true;
    }
}

static int shorter(int one, int other)
{
    return one < 0 ? other : other < 0 || one < other ? one : other;
}

/* One turn of the loop, of at most @ms milliseconds (-1: no limit). */
static void turn(void *context, unsigned ms)
{
    struct program *program = context;
    struct http *http = program->api.http;
    struct pg *pg = program->api.pg;
    struct pollfd fds[] = {{.fd = http_fd(http), .events = POLLIN},
                           {.fd = pg_fd(pg), .events = POLLIN},
                           {.fd = program->wake_fd, .events = POLLIN},
                           {.fd = program->stop_fd, .events = POLLIN}};
    int wait = shorter(shorter(http_wait_ms(http), pg_wait_ms(pg)), (int)ms);

    if (poll(fds, program->stopping ? 3 : 4, wait) < 0 && errno != EINTR)
        return;
    if (fds[2].revents != 0)
        migrator_ended(program);
    if (fds[3].revents != 0)
        program->stopping = true;
    pg_run(pg);
    http_run(http);
    pg_send(pg);
}

static void cancel(void *context)
{
    struct program *program = context;

    pg_cancel(program->api.pg);
}

/* --- life ----------------------------------------------------------------------------------- */

static void configure(struct program *program)
{
    struct env *env = &program->service.env;
    struct pg_config *database = &program->database;

    database->application = "smartbiz-api";
    database->url = env_string(env, "DATABASE_URL", "");
    database->readers = (unsigned)env_int(env, "DB_READERS", 2, 1, 16);
    database->writers = (unsigned)env_int(env, "DB_WRITERS", 8, 1, 64);
    database->timeout_ms = (unsigned)env_int(env, "DB_TIMEOUT", 5, 1, 300) * 1000;
    program->service.config.turn = turn;
    program->service.config.cancel = cancel;
}

static int prepare(struct program *program, struct err *err)
{
    struct api *api = &program->api;
    int rc;

    api->metrics = program->service.metrics;
    rc = business_new(api, err);
    if (rc == ERR_NONE)
        rc = lists_new(&api->lists, err);
    if (rc == ERR_NONE)
        rc = pg_new(&program->database, &api->pg, err);
    if (rc != ERR_NONE)
        return rc;
    program->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    program->stop_fd = stop_fd();
    if (program->wake_fd < 0 || program->stop_fd < 0)
        return err_errno(err, ERR_IO, errno, "make descriptors for the loop");
    return ERR_NONE;
}

static int complain(const char *text)
{
    fprintf(stderr, "smartbiz-api: %s\n", text);
    return 1;
}

static void serve(struct program *program)
{
    program->api.http = program->service.http;
    program->api.log = program->service.log;
    pg_connect(program->api.pg, true);
    atomic_store(&program->migrating, true);
    if (pthread_create(&program->migrator, NULL, run_migrator, program) != 0) {
        atomic_store(&program->migrating, false);
        program->status = complain("cannot start a thread");
        return;
    }
    pthread_detach(program->migrator);
    while (!program->stopping) {
        turn(program, 1000);
        if (program->api.ready)
            expire_keys(program);
    }
}

int main(void)
{
    static struct program program; /* outlives a migrator that still waits for its connection */
    struct err err;

    program.wake_fd = program.stop_fd = -1;
    program.status = service_init(&program.service, "smartbiz-api", 8000);
    if (program.status != 0)
        goto out;
    configure(&program);
    program.status = env_check(&program.service.env, "smartbiz-api");
    if (program.status != 0)
        goto out;
    if (service_open_log(&program.service, &err) != ERR_NONE) {
        program.status = complain(err.text);
        goto out;
    }
    program.database.log = program.service.log;
    if (prepare(&program, &err) != ERR_NONE) {
        program.status = complain(err.text);
        goto out;
    }
    program.status =
        service_start(&program.service, routes, sizeof routes / sizeof routes[0], &program, true);
    if (program.status != 0)
        goto out;
    serve(&program);
    service_stop(&program.service);
out:
    pg_free(program.api.pg);
    lists_free(program.api.lists);
    free(program.api.business);
    /* A migrator that still waits for the database may write to the log: the process's end ends
     * both. */
    if (!atomic_load(&program.migrating))
        service_free(&program.service);
    return program.status;
}
