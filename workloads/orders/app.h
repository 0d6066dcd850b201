/* What the services of the pipeline have in common: the environment, the pages /health, /ready and
 * /metrics, the threads that consume, and the stop.
 *
 *     PREFETCH              deliveries that are worked on at once, 1 to 1000 (1)
 *     DELAY_MIN, DELAY_MAX  seconds that work takes (per program); 0: none
 *     SEED                  outcomes are drawn from it and the order's id (0)
 *
 * beside the variables of workloads/lib/service.h and workloads/lib/amqp/broker.h. */
#ifndef COVEY_WORKLOADS_ORDERS_APP_H
#define COVEY_WORKLOADS_ORDERS_APP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "workloads/lib/amqp/broker.h"
#include "workloads/lib/amqp/counters.h"
#include "workloads/lib/amqp/worker.h"
#include "workloads/lib/service.h"
#include "workloads/orders/order.h"
#include "workloads/orders/topology.h"

#define APP_WORKERS_MAX 3

struct app {
    struct service service;
    struct broker broker;
    struct counters counters;
    struct topology topologies[APP_WORKERS_MAX];
    struct worker *workers[APP_WORKERS_MAX];
    atomic_size_t worker_count; /* that were started ... */
    size_t worker_goal;         /* ... of those that there will be: set before app_start (1) */
    /* Says whether the program can work, for /ready; NULL: when all workers consume. */
    bool (*ready)(void *context);
    void *ready_context;
    int stop_fd;
    bool joined; /* the workers have ended */
    uint16_t prefetch;
    uint64_t seed;
    int64_t delay_min_us;
    int64_t delay_max_us;
};

/* As service_init, with the variables above; @delay_min and @delay_max are defaults. Returns 0 or
 * an exit code. */
int app_init(struct app *app, const char *name, uint16_t port, double delay_min, double delay_max);

/* Checks the environment, starts log and server. */
int app_start(struct app *app);

/* Adds a worker on @queue: @config needs no dial, topology, service, prefetch or stop. */
int app_consume(struct app *app, const char *queue, struct worker_config *config);

/* Fills a dial for connection @name, without prepare. */
void app_dial(struct app *app, const char *name, struct dial *dial);

/* Waits for SIGTERM or SIGINT, then makes stop_fd readable. */
void app_wait(struct app *app);

/* Stops the workers and the server. Returns the exit code. */
int app_finish(struct app *app);

void app_free(struct app *app);

/* A duration between DELAY_MIN and DELAY_MAX. */
int64_t app_delay_us(const struct app *app, double unit);

/* Seconds since @started_us, a job's. */
double app_seconds_since(int64_t started_us);

/* Writes a line about an order, of a trace; returns where further members go, or NULL. To be ended
 * with log_end(app->service.log). */
struct out *app_log(struct app *app, enum log_level level, const char *message,
                    const char *order_id, const struct trace *trace);

/* Declares a family, or says on stderr what is wrong and returns an exit code. */
int app_family(struct app *app, const struct metric_spec *spec, struct metric_family **family);

#endif
