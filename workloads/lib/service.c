#include "workloads/lib/service.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "workloads/lib/emit.h"
#include "workloads/lib/process.h"
#include "workloads/lib/stop.h"

#define DEFAULT_CONNECTIONS 256
#define DEFAULT_TIMEOUT_S 30
#define DEFAULT_STOP_S 10

static int64_t default_threads(void)
{
    return sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 2 : 1;
}

static int complain(const struct service *service, const struct err *err)
{
    fprintf(stderr, "%s: %s\n", service->name, err->text);
    return 1;
}

int service_init(struct service *service, const char *name, uint16_t default_port)
{
    struct http_config *config = &service->config;
    struct env *env = &service->env;
    struct err err;

    memset(service, 0, sizeof *service);
    service->name = name;
    stop_prepare();
    env_init(env);
    config->service = name;
    config->host = env_string(env, "HOST", "127.0.0.1");
    config->port = (uint16_t)env_int(env, "PORT", default_port, 0, UINT16_MAX);
    config->threads = (unsigned)env_int(env, "HTTP_THREADS", default_threads(), 1, 16);
    config->connections = (unsigned)env_int(env, "HTTP_CONNECTIONS", DEFAULT_CONNECTIONS, 1, 65536);
    config->timeout_s = (unsigned)env_int(env, "HTTP_TIMEOUT", DEFAULT_TIMEOUT_S, 1, 3600);
    service->stop_ms = (unsigned)env_int(env, "SHUTDOWN_TIMEOUT", DEFAULT_STOP_S, 0, 3600) * 1000;
    service->log_level = (enum log_level)env_choice(env, "LOG_LEVEL", log_level_names, LEVEL_INFO);
    if (!http_host_valid(config->host))
        env_problem(env, "HOST", "an IPv4 or IPv6 address");
    if (metrics_new(&service->metrics, &err) != ERR_NONE ||
        process_metrics(service->metrics, &err) != ERR_NONE)
        return complain(service, &err);
    return 0;
}

int service_open_log(struct service *service, struct err *err)
{
    int rc =
        log_open(&service->log, STDOUT_FILENO, "service", service->name, service->log_level, err);

    return rc == ERR_NONE ? log_start_flusher(service->log, err) : rc;
}

static void log_started(struct service *service)
{
    struct out *o = log_begin(service->log, LEVEL_INFO, "started");

    if (o == NULL)
        return;
    emit_key_string(o, "version", COVEY_VERSION);
    emit_key_string(o, "host", service->config.host);
    emit_key_int(o, "port", http_port(service->http));
    log_end(service->log);
}

int service_start(struct service *service, const struct route *routes, size_t route_count,
                  void *context, bool count_requests)
{
    struct http_config *config = &service->config;
    int status = env_check(&service->env, service->name);
    struct err err;

    if (status != 0)
        return status;
    if (service->log == NULL && service_open_log(service, &err) != ERR_NONE)
        return complain(service, &err);
    config->routes = routes;
    config->route_count = route_count;
    config->context = context;
    config->log = service->log;
    config->metrics = service->metrics;
    config->count_requests = count_requests;
    if (http_start(config, &service->http, &err) != ERR_NONE)
        return complain(service, &err);
    log_started(service);
    return 0;
}

int service_stop(struct service *service)
{
    unsigned cut;
    struct out *o;

    log_line(service->log, LEVEL_INFO, "stopping");
    cut = http_stop(service->http, service->stop_ms);
    service->http = NULL;
    o = log_begin(service->log, cut > 0 ? LEVEL_WARNING : LEVEL_INFO, "stopped");
    if (o != NULL) {
        emit_key_int(o, "requests_cut", cut);
        log_end(service->log);
    }
    return 0;
}

void service_free(struct service *service)
{
    log_close(service->log);
    metrics_free(service->metrics);
    service->log = NULL;
    service->metrics = NULL;
}
