#include "agent/web/uv_http.h"

#include <microhttpd.h>
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define MEMORY_PER_CONNECTION 32768 /* request line and headers; more is answered by 431 */
#define STREAM_BLOCK 8192
#define TEXT_MAX 1024

struct exchange {                /* one request and its answer */
    struct http_request request; /* first: the public part */
    struct uv_http *http;
    struct MHD_Connection *connection;
    char *body;
    bool handled; /* given to the handler */
    bool too_large;
    bool suspended;
    struct MHD_Response *response;
    unsigned status;
    /* a stream's */
    bool stream;
    char *pending; /* to be sent: malloc; NULL: nothing */
    size_t pending_size;
    size_t pending_sent;
    char *newest; /* follows what is being sent */
    struct exchange *next;
};

struct uv_http {
    struct uv_http_config config;
    struct MHD_Daemon *daemon;
    uv_poll_t poll;
    uv_timer_t timer;
    uv_timer_t heartbeat;
    uv_check_t check;
    struct exchange *streams;
    size_t stream_count;
    bool running; /* within MHD_run */
    bool wake;    /* something was resumed: run again */
    int handles;
    void (*closed)(void *context);
    void *closed_context;
};

/* ---- answers ---- */

static void resume(struct exchange *exchange)
{
    if (!exchange->suspended)
        return;
    exchange->suspended = false;
    MHD_resume_connection(exchange->connection);
    exchange->http->wake = true;
}

static void add_headers(struct MHD_Response *response, const char *const *headers)
{
    static const char *const always[][2] = {
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "no-referrer"},
        {"Cache-Control", "no-store"},
    };

    for (size_t i = 0; i < sizeof always / sizeof always[0]; i++)
        MHD_add_response_header(response, always[i][0], always[i][1]);
    for (; headers != NULL && headers[0] != NULL; headers += 2)
        MHD_add_response_header(response, headers[0], headers[1]);
}

void uv_http_reply(struct http_request *request, unsigned status, const char *type, char *body,
                   size_t size, const char *const *headers)
{
    struct exchange *exchange = (struct exchange *)request;

    exchange->status = status;
    exchange->response = MHD_create_response_from_buffer(
        size, body, body != NULL ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (exchange->response == NULL) {
        free(body);
    } else {
        MHD_add_response_header(exchange->response, "Content-Type", type);
        add_headers(exchange->response, headers);
    }
    resume(exchange);
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

const char *http_query(const struct http_request *request, const char *name)
{
    const struct exchange *exchange = (const struct exchange *)request;

    return MHD_lookup_connection_value(exchange->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *http_header(const struct http_request *request, const char *name)
{
    const struct exchange *exchange = (const struct exchange *)request;

    return MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, name);
}

/* ---- streams ---- */

static ssize_t read_stream(void *context, uint64_t position, char *buffer, size_t room)
{
    struct exchange *exchange = context;
    size_t n;

    (void)position;
    if (exchange->http->closed != NULL)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (exchange->pending == NULL) {
        exchange->pending = exchange->newest;
        exchange->newest = NULL;
        exchange->pending_sent = 0;
        exchange->pending_size = exchange->pending != NULL ? strlen(exchange->pending) : 0;
    }
    if (exchange->pending == NULL) { /* until the next broadcast */
        exchange->suspended = true;
        MHD_suspend_connection(exchange->connection);
        return 0;
    }
    n = exchange->pending_size - exchange->pending_sent;
    if (n > room)
        n = room;
    memcpy(buffer, exchange->pending + exchange->pending_sent, n);
    exchange->pending_sent += n;
    if (exchange->pending_sent == exchange->pending_size) {
        free(exchange->pending);
        exchange->pending = NULL;
    }
    return (ssize_t)n;
}

void uv_http_stream(struct http_request *request, const char *first)
{
    struct exchange *exchange = (struct exchange *)request;
    struct uv_http *http = exchange->http;

    if (http->stream_count >= HTTP_STREAMS_MAX) {
        uv_http_text(request, 503, "%d pages watch already, which is the limit: close one\n",
                     HTTP_STREAMS_MAX);
        return;
    }
    exchange->status = MHD_HTTP_OK;
    exchange->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK,
                                                           read_stream, exchange, NULL);
    if (exchange->response == NULL)
        return;
    MHD_add_response_header(exchange->response, "Content-Type", "text/event-stream");
    add_headers(exchange->response, NULL);
    exchange->newest = strdup(first);
    exchange->stream = true;
    exchange->next = http->streams;
    http->streams = exchange;
    http->stream_count++;
}

size_t uv_http_streams(const struct uv_http *http)
{
    return http->stream_count;
}

static void run(struct uv_http *http);

void uv_http_broadcast(struct uv_http *http, const char *text)
{
    for (struct exchange *e = http->streams; e != NULL; e = e->next) {
        char *copy = strdup(text);
        if (copy == NULL)
            continue;
        free(e->newest);
        e->newest = copy;
        resume(e);
    }
    if (http->wake && !http->running)
        run(http);
}

static void on_heartbeat(uv_timer_t *timer)
{
    struct uv_http *http = timer->data;

    for (struct exchange *e = http->streams; e != NULL; e = e->next) {
        if (e->newest != NULL || e->pending != NULL)
            continue;
        e->newest = strdup(": still here\n\n");
        resume(e);
    }
    if (http->wake)
        run(http);
}

/* ---- requests ---- */

static void end_exchange(void *context, struct MHD_Connection *connection, void **slot,
                         enum MHD_RequestTerminationCode code)
{
    struct exchange *exchange = *slot;
    struct uv_http *http = context;

    (void)connection;
    (void)code;
    if (exchange == NULL)
        return;
    for (struct exchange **at = &http->streams; *at != NULL; at = &(*at)->next)
        if (*at == exchange) {
            *at = exchange->next;
            http->stream_count--;
            break;
        }
    free(exchange->pending);
    free(exchange->newest);
    free(exchange->body);
    free(exchange);
    *slot = NULL;
}

/* The Host header names something of ours: a page of another site that made a browser resolve its
 * own name to this address is refused. */
static bool host_allowed(const struct uv_http *http, struct MHD_Connection *connection)
{
    const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
    const char *const *allowed = http->config.hosts;
    struct in_addr ip4;
    struct in6_addr ip6;
    char name[256];
    char *colon;

    if (host == NULL || strlen(host) >= sizeof name)
        return false;
    snprintf(name, sizeof name, "%s", host[0] == '[' ? host + 1 : host);
    colon = host[0] == '[' ? strchr(name, ']') : strrchr(name, ':');
    if (colon != NULL)
        *colon = '\0';
    if (inet_pton(AF_INET, name, &ip4) == 1 || inet_pton(AF_INET6, name, &ip6) == 1)
        return true;
    for (; allowed != NULL && *allowed != NULL; allowed++)
        if (strcasecmp(name, *allowed) == 0)
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

    if (exchange->request.size + *size > HTTP_BODY_MAX) {
        exchange->too_large = true;
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

    exchange->handled = true;
    exchange->request.body = exchange->body != NULL ? exchange->body : "";
    identify(exchange);
    if (exchange->too_large)
        uv_http_text(&exchange->request, 413, "the body is larger than %d bytes\n", HTTP_BODY_MAX);
    else if (!http->config.unix_socket && !host_allowed(http, exchange->connection))
        uv_http_text(&exchange->request, 421,
                     "this agent does not serve that host name: use its address, or add the name "
                     "to web.hosts in agent.yaml\n");
    else
        http->config.handle(http->config.context, &exchange->request);
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **slot)
{
    struct exchange *exchange = *slot;
    enum MHD_Result rc;

    (void)version;
    if (exchange == NULL) {
        exchange = calloc(1, sizeof *exchange);
        if (exchange == NULL)
            return MHD_NO;
        exchange->http = context;
        exchange->connection = connection;
        exchange->request.method = method;
        exchange->request.path = url;
        *slot = exchange;
        return MHD_YES; /* an answer queued now would close the connection */
    }
    if (*size > 0)
        return take_body(exchange, data, size);
    if (!exchange->handled)
        handle(exchange);
    if (exchange->response == NULL) {
        exchange->suspended = true;
        MHD_suspend_connection(connection);
        return MHD_YES;
    }
    rc = MHD_queue_response(connection, exchange->status, exchange->response);
    MHD_destroy_response(exchange->response);
    exchange->response = NULL;
    return rc;
}

/* ---- the loop ---- */

static void on_timer(uv_timer_t *timer)
{
    run(timer->data);
}

static void run(struct uv_http *http)
{
    MHD_UNSIGNED_LONG_LONG wait;

    http->running = true;
    do {
        http->wake = false;
        MHD_run(http->daemon);
    } while (http->wake);
    http->running = false;
    if (MHD_get_timeout(http->daemon, &wait) == MHD_YES)
        uv_timer_start(&http->timer, on_timer, wait, 0);
    else
        uv_timer_stop(&http->timer);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run(poll->data);
}

/* What was answered outside of a run (a job that ended) goes out before the loop sleeps. */
static void on_check(uv_check_t *check)
{
    struct uv_http *http = check->data;

    if (http->wake)
        run(http);
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
    http->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, http,
        MHD_OPTION_LISTEN_SOCKET, config->fd, MHD_OPTION_NOTIFY_COMPLETED, end_exchange, http,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)HTTP_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_PER_CONNECTION,
        MHD_OPTION_END);
    info =
        http->daemon != NULL ? MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (info == NULL) {
        if (http->daemon != NULL)
            MHD_stop_daemon(http->daemon);
        else
            close(config->fd);
        free(http);
        return err_set(err, ERR_IO, "start the HTTP server: libmicrohttpd refuses the socket");
    }
    uv_poll_init(loop, &http->poll, info->epoll_fd);
    uv_timer_init(loop, &http->timer);
    uv_timer_init(loop, &http->heartbeat);
    uv_check_init(loop, &http->check);
    http->poll.data = http->timer.data = http->heartbeat.data = http->check.data = http;
    uv_poll_start(&http->poll, UV_READABLE, on_readable);
    uv_timer_start(&http->heartbeat, on_heartbeat, HTTP_HEARTBEAT_MS, HTTP_HEARTBEAT_MS);
    uv_check_start(&http->check, on_check);
    *out = http;
    return ERR_NONE;
}

static void handle_closed(uv_handle_t *handle)
{
    struct uv_http *http = handle->data;

    if (--http->handles > 0)
        return;
    http->closed(http->closed_context);
    free(http);
}

void uv_http_close(struct uv_http *http, void (*closed)(void *context), void *context)
{
    if (http == NULL) {
        closed(context);
        return;
    }
    http->closed = closed;
    http->closed_context = context;
    for (struct exchange *e = http->streams; e != NULL; e = e->next)
        resume(e);
    run(http);
    http->handles = 4;
    uv_close((uv_handle_t *)&http->poll, handle_closed);
    uv_close((uv_handle_t *)&http->timer, handle_closed);
    uv_close((uv_handle_t *)&http->heartbeat, handle_closed);
    uv_close((uv_handle_t *)&http->check, handle_closed);
    MHD_stop_daemon(http->daemon);
}
