/* Requests, answers and the connections that they come by. */
#include "agent/web/uv_http_parts.h"

#include <assert.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "proto/base/id.h"

#define MEMORY_PER_CONNECTION 32768 /* request line and headers; more is answered by 431 */
#define TEXT_MAX 1024
#define RUNS_TO_ANSWER 4 /* of MHD_run: resumed, asked, head and body sent */

/* ---- answers ---- */

static void on_timer(uv_timer_t *timer);

void http_suspend(struct exchange *exchange)
{
    exchange->suspended = true;
    MHD_suspend_connection(exchange->connection);
}

void http_resume(struct exchange *exchange)
{
    struct uv_http *http = exchange->http;

    if (!exchange->suspended)
        return;
    exchange->suspended = false;
    MHD_resume_connection(exchange->connection);
    if (http->running)
        http->wake = true;
    else /* nothing else tells the loop: libmicrohttpd signals only to threads of its own */
        uv_timer_start(&http->timer, on_timer, 0, 0);
}

void http_add_headers(struct MHD_Response *response, const char *const *headers)
{
    static const char *const otherwise[][2] = {
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "no-referrer"},
        {"Cache-Control", "no-store"},
    };

    for (; headers != NULL && headers[0] != NULL; headers += 2)
        MHD_add_response_header(response, headers[0], headers[1]);
    for (size_t i = 0; i < sizeof otherwise / sizeof otherwise[0]; i++)
        if (MHD_get_response_header(response, otherwise[i][0]) == NULL)
            MHD_add_response_header(response, otherwise[i][0], otherwise[i][1]);
}

/* Both sides are through with it. */
static void exchange_free(struct exchange *exchange)
{
    if (exchange->response != NULL)
        MHD_destroy_response(exchange->response);
    free(exchange->method);
    free(exchange->path);
    free(exchange->body);
    free(exchange);
}

void uv_http_reply(struct http_request *request, unsigned status, const char *type, char *body,
                   size_t size, const char *const *headers)
{
    struct exchange *exchange = (struct exchange *)request;

    assert(!exchange->answered);
    exchange->answered = true;
    exchange->status = status;
    if (exchange->connection == NULL) {
        free(body);
        exchange_free(exchange);
        return;
    }
    exchange->response = MHD_create_response_from_buffer(
        size, body, body != NULL ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (exchange->response == NULL) {
        free(body);
    } else {
        MHD_add_response_header(exchange->response, "Content-Type", type);
        http_add_headers(exchange->response, headers);
    }
    http_resume(exchange);
}

void uv_http_text(struct http_request *request, unsigned status, const char *format, ...)
{
    char *text = malloc(TEXT_MAX);
    va_list args;
    int n = 0;

    va_start(args, format);
    if (text != NULL)
        n = vsnprintf(text, TEXT_MAX, format, args);
    va_end(args);
    if (n >= TEXT_MAX)
        n = TEXT_MAX - 1;
    uv_http_reply(request, status, "text/plain; charset=utf-8", text, n > 0 ? (size_t)n : 0, NULL);
}

static const char *lookup(const struct http_request *request, enum MHD_ValueKind kind,
                          const char *name)
{
    const struct exchange *exchange = (const struct exchange *)request;

    return exchange->connection != NULL
               ? MHD_lookup_connection_value(exchange->connection, kind, name)
               : NULL;
}

const char *http_query(const struct http_request *request, const char *name)
{
    return lookup(request, MHD_GET_ARGUMENT_KIND, name);
}

const char *http_header(const struct http_request *request, const char *name)
{
    return lookup(request, MHD_HEADER_KIND, name);
}

/* ---- connections ---- */

static struct link *link_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info != NULL ? info->socket_context : NULL;
}

static void on_connection(void *context, struct MHD_Connection *connection, void **slot,
                          enum MHD_ConnectionNotificationCode code)
{
    struct uv_http *http = context;
    struct link **at = &http->links;
    struct link *link = *slot;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        link = calloc(1, sizeof *link);
        if (link == NULL)
            return;
        link->connection = connection;
        link->since = uv_now(http->loop) + 1;
        link->next = http->links;
        http->links = link;
        *slot = link;
        return;
    }
    http->wake = true; /* at the limit, only the next run looks for new connections again */
    if (link == NULL)
        return;
    while (*at != link)
        at = &(*at)->next;
    *at = link->next;
    free(link);
    *slot = NULL;
}

/* Who sends a request drop by drop holds a connection, but not for ever. */
static void cut_slow(struct uv_http *http)
{
    uint64_t now = uv_now(http->loop);

    for (struct link *link = http->links; link != NULL; link = link->next) {
        const union MHD_ConnectionInfo *info;
        if (link->since == 0 || now < link->since + HTTP_REQUEST_MS)
            continue;
        info = MHD_get_connection_info(link->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        if (info != NULL)
            shutdown(info->connect_fd, SHUT_RDWR);
    }
}

static void on_heartbeat(uv_timer_t *timer)
{
    struct uv_http *http = timer->data;

    http_say(http, ": still here\n\n", true);
    cut_slow(http);
}

/* ---- requests ---- */

static void on_ended(void *context, struct MHD_Connection *connection, void **slot,
                     enum MHD_RequestTerminationCode code)
{
    struct uv_http *http = context;
    struct exchange *exchange = *slot;
    struct link *link = link_of(connection);
    struct exchange **at = &http->exchanges;

    (void)code;
    if (link != NULL)
        link->since = uv_now(http->loop) + 1;
    if (exchange == NULL)
        return;
    *slot = NULL;
    while (*at != exchange)
        at = &(*at)->next;
    *at = exchange->next;
    if (exchange->stream != NULL) {
        http->stream_count--;
        http_stream_end(exchange->stream);
    }
    exchange->connection = NULL;
    exchange->http = NULL;
    exchange->suspended = false;
    if (exchange->answered || !exchange->handled)
        exchange_free(exchange);
}

/* The Host header names something of ours: a page of another site that made a browser resolve its
 * own name to this address is refused. */
static bool host_allowed(const struct uv_http *http, const char *host)
{
    const char *const *allowed = http->config.hosts;
    struct addr addr;
    size_t len;

    if (host == NULL)
        return false;
    if (addr_parse(host, 0, &addr, NULL) == ERR_NONE)
        return true;
    len = strcspn(host, ":");
    if (host[len] == ':' && strspn(host + len + 1, "0123456789") != strlen(host + len + 1))
        return false;
    if (len == strlen("localhost") && strncasecmp(host, "localhost", len) == 0)
        return true;
    for (; allowed != NULL && *allowed != NULL; allowed++)
        if (strlen(*allowed) == len && strncasecmp(host, *allowed, len) == 0)
            return true;
    return false;
}

static void identify(struct exchange *exchange)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct ucred peer;
    socklen_t size = sizeof peer;

    exchange->request.uid = (uid_t)-1;
    if (!exchange->http->config.unix_socket || info == NULL)
        return;
    exchange->request.local = true;
    if (getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0)
        exchange->request.uid = peer.uid;
}

static enum MHD_Result take_body(struct exchange *exchange, const char *data, size_t *size)
{
    char *grown;

    if (exchange->drained > 0 || exchange->request.size + *size > HTTP_BODY_MAX) {
        exchange->drained += *size;
        if (exchange->drained > HTTP_DRAIN_MAX)
            return MHD_NO;
    } else {
        grown = realloc(exchange->body, exchange->request.size + *size + 1);
        if (grown == NULL)
            return MHD_NO;
        memcpy(grown + exchange->request.size, data, *size);
        exchange->request.size += *size;
        grown[exchange->request.size] = '\0';
        exchange->body = grown;
    }
    *size = 0;
    return MHD_YES;
}

static void handle(struct exchange *exchange)
{
    struct uv_http *http = exchange->http;
    struct link *link = link_of(exchange->connection);

    if (link != NULL)
        link->since = 0;
    exchange->handled = true;
    exchange->request.body = exchange->body != NULL ? exchange->body : "";
    identify(exchange);
    if (exchange->drained > 0)
        uv_http_text(&exchange->request, 413, "the body is larger than %d bytes\n", HTTP_BODY_MAX);
    else if (!http->config.unix_socket &&
             !host_allowed(http, http_header(&exchange->request, "Host")))
        uv_http_text(&exchange->request, 421,
                     "this agent does not serve that host name: use its address, or add the name "
                     "to web.hosts in agent.yaml\n");
    else
        http->config.handle(http->config.context, &exchange->request);
}

static struct exchange *begin(struct uv_http *http, struct MHD_Connection *connection,
                              const char *method, const char *path)
{
    struct exchange *exchange = calloc(1, sizeof *exchange);

    if (exchange == NULL)
        return NULL;
    exchange->method = strdup(method);
    exchange->path = strdup(path);
    if (exchange->method == NULL || exchange->path == NULL) {
        exchange_free(exchange);
        return NULL;
    }
    exchange->request.method = exchange->method;
    exchange->request.path = exchange->path;
    exchange->http = http;
    exchange->connection = connection;
    exchange->next = http->exchanges;
    http->exchanges = exchange;
    return exchange;
}

/* The server ends, and nobody answers any more. */
static enum MHD_Result refuse(struct MHD_Connection *connection)
{
    static char text[] = "this agent is ending\n";
    struct MHD_Response *response =
        MHD_create_response_from_buffer(sizeof text - 1, text, MHD_RESPMEM_PERSISTENT);
    enum MHD_Result rc = MHD_NO;

    if (response != NULL)
        rc = MHD_queue_response(connection, MHD_HTTP_SERVICE_UNAVAILABLE, response);
    if (response != NULL)
        MHD_destroy_response(response);
    return rc;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **slot)
{
    struct uv_http *http = context;
    struct exchange *exchange = *slot;
    enum MHD_Result rc;

    (void)version;
    if (exchange == NULL) { /* an answer queued now would close the connection */
        *slot = begin(http, connection, method, url);
        return *slot != NULL ? MHD_YES : MHD_NO;
    }
    if (*size > 0)
        return take_body(exchange, data, size);
    if (!exchange->handled && !http->closing)
        handle(exchange);
    if (!exchange->answered) {
        if (http->closing)
            return refuse(connection);
        http_suspend(exchange);
        return MHD_YES;
    }
    if (exchange->response == NULL) /* memory ran out */
        return MHD_NO;
    rc = MHD_queue_response(connection, exchange->status, exchange->response);
    MHD_destroy_response(exchange->response);
    exchange->response = NULL;
    return rc;
}

/* ---- the loop ---- */

static void finish(struct uv_http *http);

static void on_timer(uv_timer_t *timer);

/* Whatever is resumed outside of a run makes the descriptor readable, so that the loop comes here.
 */
static void run(struct uv_http *http)
{
    unsigned long long wait;

    http->running = true;
    do {
        http->wake = false;
        MHD_run(http->daemon);
    } while (http->wake);
    http->running = false;
    if (http->closing)
        finish(http);
    else if (MHD_get_timeout(http->daemon, &wait) == MHD_YES)
        uv_timer_start(&http->timer, on_timer, wait, 0);
    else
        uv_timer_stop(&http->timer);
}

static void on_timer(uv_timer_t *timer)
{
    run(timer->data);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run(poll->data);
}

int uv_http_create(struct uv_loop_s *loop, const struct uv_http_config *config,
                   struct uv_http **out, struct err *err)
{
    struct uv_http *http = calloc(1, sizeof *http);
    const union MHD_DaemonInfo *info;

    if (http == NULL) {
        close(config->fd);
        return err_set(err, ERR_NOMEM, "start the HTTP server: %s", err_text(ERR_NOMEM));
    }
    http->config = *config;
    http->loop = loop;
    http->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, http,
        MHD_OPTION_LISTEN_SOCKET, config->fd, MHD_OPTION_NOTIFY_COMPLETED, on_ended, http,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)HTTP_CONNECTIONS_MAX, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        (unsigned)HTTP_CONNECTIONS_PER_ADDRESS, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)HTTP_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_PER_CONNECTION,
        MHD_OPTION_END);
    if (http->daemon == NULL) {
        close(config->fd);
        goto err_after_alloc;
    }
    info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL || uv_poll_init(loop, &http->poll, info->epoll_fd) != 0)
        goto err_after_start;
    uv_timer_init(loop, &http->timer);
    uv_timer_init(loop, &http->heartbeat);
    http->poll.data = http->timer.data = http->heartbeat.data = http;
    uv_poll_start(&http->poll, UV_READABLE, on_readable);
    uv_timer_start(&http->heartbeat, on_heartbeat, HTTP_HEARTBEAT_MS, HTTP_HEARTBEAT_MS);
    *out = http;
    return ERR_NONE;

err_after_start:
    MHD_stop_daemon(http->daemon);
err_after_alloc:
    free(http);
    return err_set(err, ERR_IO, "start the HTTP server: libmicrohttpd refuses the socket");
}

/* ---- the end ---- */

static void handle_closed(uv_handle_t *handle)
{
    struct uv_http *http = handle->data;

    if (--http->handles > 0)
        return;
    http->closed(http->closed_context);
    free(http);
}

/* Streams end and requests are refused as they are resumed; libmicrohttpd aborts if one is left
 * suspended. A resumed connection is served by the next runs. */
static void finish(struct uv_http *http)
{
    http->running = true;
    for (struct exchange *e = http->exchanges; e != NULL; e = e->next)
        http_resume(e);
    for (int i = 0; i < RUNS_TO_ANSWER; i++)
        MHD_run(http->daemon);
    http->handles = 3;
    uv_close((uv_handle_t *)&http->poll, handle_closed);
    uv_close((uv_handle_t *)&http->timer, handle_closed);
    uv_close((uv_handle_t *)&http->heartbeat, handle_closed);
    MHD_stop_daemon(http->daemon);
}

void uv_http_close(struct uv_http *http, void (*closed)(void *context), void *context)
{
    if (http == NULL) {
        closed(context);
        return;
    }
    http->closing = true;
    http->closed = closed;
    http->closed_context = context;
    if (!http->running)
        finish(http);
}
