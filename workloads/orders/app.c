#include "workloads/orders/app.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "workloads/lib/emit.h"
#include "workloads/lib/stop.h"

#define BUFFERS_MAPPED 65536 /* bytes */
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static int complain(const struct app *app, const struct err *err)
{
    fprintf(stderr, "%s: %s\n", app->service.name, err->text);
    return 1;
}

static void configure(struct app *app, double delay_min, double delay_max)
{
    struct env *env = &app->service.env;
    double min = env_real(env, "DELAY_MIN", delay_min, 0, 3600);
    double max = env_real(env, "DELAY_MAX", delay_max, 0, 3600);

    broker_configure(&app->broker, env);
    if (env_string(env, "HTTP_THREADS", NULL) == NULL)
        app->service.config.threads = 1; /* who asks for metrics needs no more */
    app->prefetch = (uint16_t)env_int(env, "PREFETCH", 1, 1, 1000);
    app->seed = (uint64_t)env_int(env, "SEED", 0, 0, INT64_MAX);
    app->delay_min_us = (int64_t)(min * 1e6);
    app->delay_max_us = (int64_t)(max * 1e6);
    if (max < min)
        env_problem(env, "DELAY_MAX", "not less than DELAY_MIN, which is %g", min);
}

int app_init(struct app *app, const char *name, uint16_t port, double delay_min, double delay_max)
{
    struct err err;
    int status;

    memset(app, 0, sizeof *app);
    app->stop_fd = -1;
    mallopt(M_ARENA_MAX, 1); /* the threads allocate little: one heap instead of one for each */
    /* librabbitmq's buffers, of which little is used, are mappings: no page of them before that. */
    mallopt(M_MMAP_THRESHOLD, BUFFERS_MAPPED);
    app->worker_goal = 1;
    status = service_init(&app->service, name, port);
    if (status != 0)
        return status;
    configure(app, delay_min, delay_max);
    app->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (app->stop_fd < 0) {
        perror(name);
        return 1;
    }
    if (counters_declare(&app->counters, app->service.metrics, &err) != ERR_NONE)
        return complain(app, &err);
    return 0;
}

int app_family(struct app *app, const struct metric_spec *spec, struct metric_family **family)
{
    struct err err;

    if (metrics_family(app->service.metrics, spec, family, &err) != ERR_NONE)
        return complain(app, &err);
    return 0;
}

static bool all_consume(struct app *app)
{
    size_t count = atomic_load(&app->worker_count);

    if (count < app->worker_goal)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!worker_ready(app->workers[i]))
            return false;
    return true;
}

static void show_ready(struct request *request, void *context)
{
    struct app *app = context;
    bool ready = app->ready != NULL ? app->ready(app->ready_context) : all_consume(app);

    if (ready)
        handle_ready(request, context);
    else
        reply_problem(request, 503, NULL, "there is no connection to RabbitMQ");
}

int app_start(struct app *app)
{
    static const struct route routes[] = {
        {"GET", "/health", handle_health, 0},
        {"GET", "/ready", show_ready, 0},
        {"GET", "/metrics", handle_metrics, 0},
    };

    return service_start(&app->service, routes, COUNT(routes), app, false);
}

void app_dial(struct app *app, const char *name, struct dial *dial)
{
    dial->broker = &app->broker;
    dial->name = name;
    dial->log = app->service.log;
    dial->stop_fd = app->stop_fd;
    counters_of(&app->counters, name, &dial->metrics);
}

static int declare(void *context, struct link *link, struct err *err)
{
    return topology_declare(context, link, err);
}

int app_consume(struct app *app, const char *queue, struct worker_config *config)
{
    size_t i = app->worker_count;
    struct err err;

    app_dial(app, queue, &config->dial);
    config->topology = declare;
    config->topology_context = &app->topologies[i];
    config->service = app->service.name;
    config->queue = queue;
    config->dead_exchange = EXCHANGE_DEAD;
    config->prefetch = app->prefetch;
    config->stop_ms = app->service.stop_ms / 2;
    if (worker_start(config, &app->workers[i], &err) != ERR_NONE)
        return complain(app, &err);
    app->worker_count++;
    return 0;
}

static void ask_to_stop(struct app *app)
{
    uint64_t one = 1;

    if (app->stop_fd >= 0 && write(app->stop_fd, &one, sizeof one) < 0)
        perror(app->service.name);
}

void app_wait(struct app *app)
{
    stop_wait(-1);
    ask_to_stop(app);
}

int app_finish(struct app *app)
{
    for (size_t i = 0; i < app->worker_count; i++) {
        if (worker_join(app->workers[i], app->service.stop_ms))
            continue;
        /* It waits for a broker that does not read. What it holds comes again. */
        log_line(app->service.log, LEVEL_WARNING, "stopped while RabbitMQ did not answer");
        log_flush(app->service.log);
        _exit(0);
    }
    app->joined = true;
    return service_stop(&app->service);
}

void app_free(struct app *app)
{
    if (!app->joined) /* some started, then one could not */
        ask_to_stop(app);
    for (size_t i = 0; i < app->worker_count; i++) {
        if (!app->joined && !worker_join(app->workers[i], app->service.stop_ms))
            _exit(1);
        worker_free(app->workers[i]);
    }
    if (app->stop_fd >= 0)
        close(app->stop_fd);
    service_free(&app->service);
}

int64_t app_delay_us(const struct app *app, double unit)
{
    return app->delay_min_us + (int64_t)(unit * (double)(app->delay_max_us - app->delay_min_us));
}

double app_seconds_since(int64_t started_us)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)((int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 - started_us) / 1e6;
}

struct out *app_log(struct app *app, enum log_level level, const char *message,
                    const char *order_id, const struct trace *trace)
{
    struct out *o = log_begin(app->service.log, level, message);

    if (o == NULL)
        return NULL;
    emit_key_string(o, "order_id", order_id);
    emit_key_string(o, "trace_id", trace->trace_id);
    emit_key_string(o, "span_id", trace->span_id);
    return o;
}
