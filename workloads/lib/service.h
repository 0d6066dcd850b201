/* What the HTTP workloads have in common: configuration, log, metrics, server, stop.
 *
 *     HOST              address to listen on (127.0.0.1)
 *     PORT              port; 0 lets the kernel choose, the "started" line tells (per program)
 *     LOG_LEVEL         debug, info, warning, error, critical or off (info)
 *     HTTP_THREADS      1 to 16 (one for each processor, at most 2)
 *     HTTP_CONNECTIONS  open connections at most (256)
 *     HTTP_TIMEOUT      seconds that a client may take for a request (30)
 *     SHUTDOWN_TIMEOUT  seconds that requests in flight get after SIGTERM (10)
 */
#ifndef COVEY_WORKLOADS_SERVICE_H
#define COVEY_WORKLOADS_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "workloads/lib/env.h"
#include "workloads/lib/http.h"
#include "workloads/lib/log.h"
#include "workloads/lib/metrics.h"

struct service {
    const char *name;
    struct env env; /* the program reads its own variables between init and start */
    struct log *log;
    struct metrics *metrics;
    struct http *http;
    struct http_config config;
    enum log_level log_level;
    unsigned stop_ms;
};

/* Prepares signals, reads the variables above, makes the registry with the process's own metrics.
 * Like the functions below it returns 0 or the program's exit code, with the reason on stderr. */
int service_init(struct service *service, const char *name, uint16_t default_port);

/* Opens the log, for a program that needs it before service_start, which does it otherwise. */
int service_open_log(struct service *service, struct err *err);

/* Checks the environment, opens the log, starts the server and logs "started" with the address.
 * @count_requests: the server counts its requests in service->metrics. */
int service_start(struct service *service, const struct route *routes, size_t route_count,
                  void *context, bool count_requests);

/* Stops gracefully and logs "stopped"; to be called after stop_wait has said so. */
int service_stop(struct service *service);

/* Frees what is left, after a failure too. */
void service_free(struct service *service);

#endif
