/* One request's way through the server: libmicrohttpd's callbacks. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "workloads/lib/emit.h"
#include "workloads/lib/http_internal.h"

/* --- metrics and log ---------------------------------------------------------------------- */

int metrics_prepare(struct http *http, struct err *err)
{
    static const char *const by_request[] = {"method", "endpoint", "status", NULL};
    static const char *const by_route[] = {"method", "endpoint", NULL};
    const struct http_config *config = &http->config;
    struct metric_family *in_flight = NULL;
    const struct metric_spec specs[] = {
        {METRIC_COUNTER, "http_requests_total", "Requests answered", by_request, NULL, 0},
        {METRIC_HISTOGRAM, "http_request_duration_seconds",
         "Time from a request's headers to the end of its reply", by_route, metric_seconds,
         metric_seconds_count},
        {METRIC_GAUGE, "http_requests_in_flight", "Requests being answered", NULL, NULL, 0},
    };
    int rc;

    http->series = calloc(config->route_count + 1, sizeof *http->series);
    if (http->series == NULL)
        return err_set(err, ERR_NOMEM, "prepare the metrics of the HTTP server");
    if (!config->count_requests)
        return ERR_NONE;
    rc = metrics_family(config->metrics, &specs[0], &http->requests, err);
    if (rc == ERR_NONE)
        rc = metrics_family(config->metrics, &specs[1], &http->durations, err);
    if (rc == ERR_NONE)
        rc = metrics_family(config->metrics, &specs[2], &in_flight, err);
    if (rc != ERR_NONE)
        return rc;
    http->in_flight_gauge = metric_of(in_flight);
    return ERR_NONE;
}

/* The series behind @slot, looked up when it is first needed. */
static struct metric *cached(_Atomic(struct metric *) *slot, struct metric_family *family,
                             const struct route *route, int code)
{
    struct metric *metric = atomic_load_explicit(slot, memory_order_acquire);

    if (metric == NULL) {
        char status[12];
        const char *const values[] = {route != NULL ? route->method : "other",
                                      route != NULL ? route->pattern : "other", status};
        snprintf(status, sizeof status, "%d", code);
        metric = metric_with(family, values);
        atomic_store_explicit(slot, metric, memory_order_release);
    }
    return metric;
}

static void count_request(struct request *request, int64_t elapsed)
{
    struct http *http = request->http;
    const struct route *route = request->match.route;
    struct route_series *series;

    if (http->requests == NULL)
        return;
    series = &http->series[route != NULL ? (size_t)(route - http->config.routes)
                                         : http->config.route_count];
    metric_add(cached(&series->by_status[request->status - STATUS_MIN], http->requests, route,
                      request->status),
               1);
    metric_observe(cached(&series->duration, http->durations, route, 0), (double)elapsed / 1e6);
}

static void log_request(struct request *request, int64_t elapsed, bool complete)
{
    struct log *log = request->http->config.log;
    bool refused = request->status == 0;
    struct out *o = log_begin(log, request->status >= 500 ? LEVEL_ERROR : LEVEL_INFO, "request");

    if (o == NULL)
        return;
    emit_key_string(o, "request_id", request->id);
    emit_key_string(o, "method", request->method);
    emit_key_string(o, "path", request->path);
    if (!refused)
        emit_key_int(o, "status", request->status);
    emit_key_decimal(o, "duration_ms", elapsed, 3);
    emit_key_string(o, "remote_addr", request->peer);
    if (!complete)
        emit_key_bool(o, "aborted", true);
    log_end(log);
}

/* --- the way in --------------------------------------------------------------------------- */

/* The client's request id, when it is one that can stand in logs and headers. */
static bool take_id(struct request *request)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    const char *id = request_header(request, "X-Request-Id");
    size_t len;

    if (id == NULL)
        return false;
    len = strspn(id, good);
    if (len == 0 || len > HTTP_ID_MAX || id[len] != '\0')
        return false;
    memcpy(request->id, id, len + 1);
    return true;
}

static void make_id(struct request *request)
{
    static const char hex[] = "0123456789abcdef";
    uint64_t random = rng_next(&request->rng);

    for (unsigned i = 0; i < 16; i++)
        request->id[i] = hex[random >> (4 * i) & 15];
    request->id[16] = '\0';
}

/* A body that is announced to be so long that reading it to the end would be a waste. */
static bool hopeless(const struct request *request)
{
    const char *length = request_header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
    int64_t bytes;

    return length != NULL && read_int(length, &bytes) && bytes > (int64_t)HTTP_BODY_DRAIN;
}

static bool header_too_large(const struct request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

    return info != NULL && info->header_size > HTTP_HEADER_MAX;
}

static void start(struct request *request, const char *url, const char *method)
{
    const struct http_config *config = &request->http->config;
    size_t cut = strnlen(url, sizeof request->path - 1);

    atomic_fetch_add_explicit(&request->http->in_flight, 1, memory_order_relaxed);
    request->stage = STAGE_READING;
    atomic_store(&request->used, true);
    request->started = now_us();
    request->method = method;
    request->url = url;
    memcpy(request->path, url, cut);
    request->path[cut] = '\0';
    if (!take_id(request))
        make_id(request);
    request->status = 0;
    request->header_count = 0;
    request->body_seen = 0;
    request->header_too_large = header_too_large(request);
    request->found = route_find(config->routes, config->route_count, method, url, &request->match);
    request->body_too_large = hopeless(request);
    out_init(&request->body, NULL, 0,
             request->found == ROUTE_FOUND ? request->match.route->body_max : 0);
}

/* Replies where no handler can. */
static bool refuse(struct request *request)
{
    if (request->header_too_large) {
        reply_problem(request, 431, NULL, "request line and headers are longer than %d bytes",
                      HTTP_HEADER_MAX);
    } else if (request->found == ROUTE_BAD_PATH) {
        reply_problem(request, 400, NULL,
                      "the path is not valid: dot segments, control "
                      "characters, bad escapes and bytes that are not UTF-8 "
                      "are refused");
    } else if (request->found == ROUTE_TOO_LONG) {
        reply_problem(request, 414, NULL, "the path is longer than %d bytes or %d segments",
                      ROUTE_PATH_MAX, ROUTE_SEGMENTS_MAX);
    } else if (request->found == ROUTE_NO_PATH) {
        reply_problem(request, 404, NULL, "there is nothing at this path");
    } else if (request->found == ROUTE_NO_METHOD) {
        reply_problem(request, 405, NULL, "the methods of this resource are %s",
                      request->match.allowed);
        reply_header(request, MHD_HTTP_HEADER_ALLOW, request->match.allowed);
    } else if (request->body_too_large) {
        reply_problem(request, 413, NULL, "the body is longer than %zu bytes",
                      request->match.route->body_max);
    }
    return request->status != 0;
}

/* Keeps the body up to the route's limit. False: it does not end in reasonable length. */
static bool take_body(struct request *request, const char *bytes, size_t len)
{
    request->body_seen += len;
    if (request->found != ROUTE_FOUND || request->match.route->body_max == 0)
        return request->body_seen <= HTTP_BODY_DRAIN;
    out_bytes(&request->body, bytes, len);
    if (request->body.failed)
        request->body_too_large = true;
    return request->body_seen <= HTTP_BODY_DRAIN;
}

static enum MHD_Result reply_stopping(struct request *request)
{
    reply_problem(request, 503, NULL, "the service is stopping");
    reply_header(request, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    return reply_send(request);
}

/* Hands the request to the clock thread, unless the server is stopping: libmicrohttpd must not be
 * stopped while a connection is suspended. */
static enum MHD_Result suspend(struct request *request)
{
    struct http *http = request->http;
    bool cancelled;

    pthread_mutex_lock(&http->lock);
    cancelled = http->cancelled;
    if (!cancelled) {
        atomic_store_explicit(&request->deadline, NEVER, memory_order_relaxed);
        MHD_suspend_connection(request->connection);
        request->resume_at = request->wants_resume;
        clock_expect(http, request->resume_at);
    }
    pthread_mutex_unlock(&http->lock);
    return cancelled ? reply_stopping(request) : MHD_YES;
}

static bool is_cancelled(struct http *http)
{
    bool cancelled;

    pthread_mutex_lock(&http->lock);
    cancelled = http->cancelled;
    pthread_mutex_unlock(&http->lock);
    return cancelled;
}

static enum MHD_Result run(struct request *request)
{
    struct http *http = request->http;
    route_handler *handle;

    if (request->stage == STAGE_WAITING)
        return reply_send(request);
    if (request->stage == STAGE_DEFERRED) {
        if (is_cancelled(http))
            return reply_stopping(request);
        request->stage = STAGE_READING;
        handle = request->resume;
    } else {
        if (refuse(request))
            return reply_send(request);
        handle = request->match.route->handle;
    }
    handle(request, http->config.context);
    if (request->stage == STAGE_DEFERRED)
        return suspend(request);
    if (request->stage == STAGE_WAITING && !request->finished) {
        atomic_store_explicit(&request->deadline, NEVER, memory_order_relaxed);
        request->suspended = true;
        MHD_suspend_connection(request->connection);
        return MHD_YES;
    }
    assert(request->status != 0);
    return reply_send(request);
}

enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                           const char *method, const char *version, const char *upload,
                           size_t *upload_len, void **request_context)
{
    struct request *request = *request_context;
    (void)cls;
    (void)version;

    if (request == NULL) {
        request =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
        if (request == NULL)
            return MHD_NO;
        *request_context = request;
        start(request, url, method);
        /* Answering in this first call closes the connection, so it is kept for bodies that are
         * not worth reading. */
        if (request->body_too_large && refuse(request))
            return reply_send(request);
        return MHD_YES;
    }
    if (*upload_len > 0) {
        bool bearable = take_body(request, upload, *upload_len);
        *upload_len = 0;
        return bearable ? MHD_YES : MHD_NO;
    }
    return run(request);
}

void on_completed(void *cls, struct MHD_Connection *connection, void **request_context,
                  enum MHD_RequestTerminationCode code)
{
    struct http *http = cls;
    struct request *request = *request_context;
    int64_t now;
    (void)connection;

    if (request == NULL)
        return;
    now = now_us();
    log_request(request, now - request->started, code == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    if (request->status != 0)
        count_request(request, now - request->started);
    out_free(&request->body);
    if (request->reply.heap) {
        out_free(&request->reply);
        out_init(&request->reply, request->storage, sizeof request->storage, HTTP_REPLY_MAX);
    }
    request->stage = STAGE_IDLE;
    request->match.route = NULL;
    atomic_store_explicit(&request->deadline, now + (int64_t)http->config.timeout_s * 1000000,
                          memory_order_relaxed);
    *request_context = NULL;
    atomic_fetch_sub_explicit(&http->in_flight, 1, memory_order_relaxed);
}
