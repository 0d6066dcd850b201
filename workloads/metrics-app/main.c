/* metrics-app: simulated web traffic as Prometheus metrics.
 *
 *     INTERVAL                    seconds between two batches (60)
 *     REQUESTS_MIN, REQUESTS_MAX  requests in a batch (10, 50)
 *
 * and the variables of workloads/lib/service.h; PORT is 8000. */
#include <stdio.h>

#include "workloads/lib/emit.h"
#include "workloads/lib/random.h"
#include "workloads/lib/service.h"
#include "workloads/lib/stop.h"

struct traffic {
    struct metric_family *requests;
    struct metric_family *duration;
    struct metric_family *errors;
    struct metric *active;
    struct rng rng;
    int64_t interval_us;
    int64_t batch_min;
    int64_t batch_max;
};

static const char *const methods[] = {"GET", "POST", "PUT", "DELETE"};
static const char *const endpoints[] = {"/", "/api/users", "/api/orders", "/api/products",
                                        "/health"};
static const struct {
    const char *status;
    unsigned percent;
    bool error;
} outcomes[] = {{"200", 75, false}, {"201", 15, false}, {"400", 6, true}, {"500", 4, true}};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void simulate_request(struct traffic *traffic)
{
    struct rng *rng = &traffic->rng;
    const char *values[] = {methods[rng_below(rng, COUNT(methods))],
                            endpoints[rng_below(rng, COUNT(endpoints))], NULL};
    unsigned draw = (unsigned)rng_below(rng, 100);
    size_t i = 0;

    while (draw >= outcomes[i].percent)
        draw -= outcomes[i++].percent;
    values[2] = outcomes[i].status;
    metric_observe(metric_with(traffic->duration, values), 0.01 + rng_unit(rng) * 1.99);
    metric_add(metric_with(traffic->requests, values), 1);
    if (outcomes[i].error)
        metric_add(metric_with(traffic->errors, values), 1);
}

static void simulate_batch(struct traffic *traffic, struct log *log)
{
    int64_t count = rng_range(&traffic->rng, traffic->batch_min, traffic->batch_max);
    int64_t active = rng_range(&traffic->rng, 1, 100);
    struct out *o;

    for (int64_t i = 0; i < count; i++)
        simulate_request(traffic);
    metric_set(traffic->active, (double)active);
    o = log_begin(log, LEVEL_INFO, "generated");
    if (o == NULL)
        return;
    emit_key_int(o, "requests", count);
    emit_key_int(o, "active_connections", active);
    log_end(log);
}

static int declare_metrics(struct traffic *traffic, struct metrics *metrics, struct err *err)
{
    static const char *const by_request[] = {"method", "endpoint", "status", NULL};
    static const char *const by_endpoint[] = {"method", "endpoint", NULL};
    const struct metric_spec specs[] = {
        {METRIC_COUNTER, "http_requests_total", "Total HTTP requests", by_request, NULL, 0},
        {METRIC_HISTOGRAM, "http_request_duration_seconds", "HTTP request duration in seconds",
         by_endpoint, metric_seconds, metric_seconds_count},
        {METRIC_GAUGE, "http_active_connections", "Number of active connections", NULL, NULL, 0},
        {METRIC_COUNTER, "http_errors_total", "Total HTTP errors", by_request, NULL, 0},
    };
    struct metric_family *active;

    if (metrics_family(metrics, &specs[0], &traffic->requests, err) != ERR_NONE ||
        metrics_family(metrics, &specs[1], &traffic->duration, err) != ERR_NONE ||
        metrics_family(metrics, &specs[2], &active, err) != ERR_NONE ||
        metrics_family(metrics, &specs[3], &traffic->errors, err) != ERR_NONE)
        return err->code;
    traffic->active = metric_of(active);
    return ERR_NONE;
}

static void configure(struct traffic *traffic, struct env *env)
{
    traffic->interval_us = (int64_t)(env_real(env, "INTERVAL", 60, 0.01, 86400) * 1e6);
    traffic->batch_min = env_int(env, "REQUESTS_MIN", 10, 0, 1000000);
    traffic->batch_max = env_int(env, "REQUESTS_MAX", 50, 0, 1000000);
    if (traffic->batch_max < traffic->batch_min)
        env_problem(env, "REQUESTS_MAX", "not less than REQUESTS_MIN, which is %lld",
                    (long long)traffic->batch_min);
}

int main(void)
{
    static const struct route routes[] = {
        {"GET", "/metrics", handle_metrics, 0},
        {"GET", "/health", handle_health, 0},
        {"GET", "/ready", handle_ready, 0},
    };
    struct traffic traffic = {0};
    struct service service;
    struct err err;
    int status = service_init(&service, "metrics-app", 8000);

    if (status != 0)
        goto out;
    configure(&traffic, &service.env);
    random_seed(&traffic.rng);
    if (declare_metrics(&traffic, service.metrics, &err) != ERR_NONE) {
        fprintf(stderr, "metrics-app: %s\n", err.text);
        status = 1;
        goto out;
    }
    status = service_start(&service, routes, COUNT(routes), NULL, false);
    if (status != 0)
        goto out;
    do
        simulate_batch(&traffic, service.log);
    while (!stop_wait(traffic.interval_us));
    status = service_stop(&service);
out:
    service_free(&service);
    return status;
}
