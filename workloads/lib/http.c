/* The HTTP server's life: opening, connections, stopping. */
#include "workloads/lib/http.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "workloads/lib/emit.h"
#include "workloads/lib/http_internal.h"
#include "workloads/lib/inherit.h"
#include "workloads/lib/random.h"
#include "workloads/lib/when.h"

#define FRESH_US 1000000 /* a client that was accepted sends its first request within this */

#define BACKLOG 511
/* Per connection; half of it is the first read buffer, which the headers must fit into. */
#define CONNECTION_MEMORY (2 * HTTP_HEADER_MAX + 4096)
#define STACK_SIZE (256u << 10)
#define STOP_LOOK_MS 5
#define STOP_CUT_MS 500 /* for the 503s of requests that were cut */

uint16_t http_port(const struct http *http)
{
    return http->port;
}

bool http_accepting(const struct http *http)
{
    return !atomic_load_explicit(&http->draining, memory_order_relaxed);
}

void handle_health(struct request *request, void *context)
{
    struct http *http = request_server(request);
    char text[WHEN_TEXT];
    struct timespec now;
    struct out *o;
    (void)context;

    clock_gettime(CLOCK_REALTIME, &now);
    when_format((int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000, text);
    o = reply_json(request, 200);
    emit_object(o);
    emit_key_string(o, "status", "healthy");
    emit_key_string(o, "service", http->config.service);
    emit_key_string(o, "timestamp", text);
    emit_object_end(o);
}

void handle_ready(struct request *request, void *context)
{
    struct out *o;
    (void)context;

    if (!http_accepting(request_server(request))) {
        reply_problem(request, 503, NULL, "the service is stopping");
        return;
    }
    o = reply_json(request, 200);
    emit_object(o);
    emit_key_string(o, "status", "ready");
    emit_object_end(o);
}

void handle_metrics(struct request *request, void *context)
{
    struct http *http = request_server(request);
    (void)context;

    metric_set(http->in_flight_gauge, atomic_load(&http->in_flight));
    metrics_render(http->config.metrics, reply_begin(request, 200, METRICS_CONTENT_TYPE));
}

/* --- connections -------------------------------------------------------------------------- */

static void print_peer(struct MHD_Connection *connection, char text[INET6_ADDRSTRLEN])
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info != NULL ? info->client_addr : NULL;

    text[0] = '\0';
    if (address != NULL && address->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr, text,
                  INET6_ADDRSTRLEN);
    else if (address != NULL && address->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, text,
                  INET6_ADDRSTRLEN);
}

/* NULL when memory is out: on_request then closes the connection. */
static struct request *connection_new(struct http *http, struct MHD_Connection *connection)
{
    struct request *request = calloc(1, sizeof *request);
    int64_t deadline = now_us() + (int64_t)http->config.timeout_s * 1000000;

    if (request == NULL)
        return NULL;
    request->http = http;
    request->connection = connection;
    request->fd =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    request->resume_at = NEVER;
    atomic_init(&request->deadline, deadline);
    out_init(&request->reply, request->storage, sizeof request->storage, HTTP_REPLY_MAX);
    print_peer(connection, request->peer);
    pthread_mutex_lock(&http->lock);
    rng_seed(&request->rng, rng_next(&http->seeds));
    request->link = &http->first;
    request->next = http->first;
    if (request->next != NULL)
        request->next->link = &request->next;
    http->first = request;
    clock_expect(http, deadline);
    pthread_mutex_unlock(&http->lock);
    return request;
}

static void connection_free(struct http *http, struct request *request)
{
    pthread_mutex_lock(&http->lock);
    *request->link = request->next;
    if (request->next != NULL)
        request->next->link = request->link;
    pthread_mutex_unlock(&http->lock);
    out_free(&request->body);
    out_free(&request->reply);
    free(request);
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        *socket_context = connection_new(cls, connection);
    else if (*socket_context != NULL)
        connection_free(cls, *socket_context);
}

/* Leaves paths and queries as they came: route.c decodes segment by segment. */
static size_t keep_escapes(void *cls, struct MHD_Connection *connection, char *text)
{
    (void)cls;
    (void)connection;
    return strlen(text);
}

static void on_library_message(void *cls, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void on_library_message(void *cls, const char *format, va_list args)
{
    struct http *http = cls;
    char text[256];
    struct out *o;

    if (vsnprintf(text, sizeof text, format, args) < 0)
        return;
    text[strcspn(text, "\n")] = '\0';
    o = log_begin(http->config.log, LEVEL_DEBUG, "libmicrohttpd");
    if (o == NULL)
        return;
    emit_key_string(o, "detail", text);
    log_end(http->config.log);
}

/* --- start -------------------------------------------------------------------------------- */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static bool parse_host(const char *host, uint16_t port, union address *address, socklen_t *len)
{
    memset(address, 0, sizeof *address);
    if (inet_pton(AF_INET, host, &address->v4.sin_addr) == 1) {
        address->v4.sin_family = AF_INET;
        address->v4.sin_port = htons(port);
        *len = sizeof address->v4;
        return true;
    }
    if (inet_pton(AF_INET6, host, &address->v6.sin6_addr) == 1) {
        address->v6.sin6_family = AF_INET6;
        address->v6.sin6_port = htons(port);
        *len = sizeof address->v6;
        return true;
    }
    return false;
}

bool http_host_valid(const char *host)
{
    union address address;
    socklen_t len;

    return parse_host(host, 0, &address, &len);
}

static int open_socket(struct http *http, struct err *err)
{
    const struct http_config *config = &http->config;
    union address address;
    socklen_t len;
    const int on = 1;

    if (!parse_host(config->host, config->port, &address, &len))
        return err_set(err, ERR_INVALID, "HOST=\"%s\" is no IPv4 or IPv6 address", config->host);
    http->listen_fd = inherit_socket(config->port);
    if (http->listen_fd >= 0) {
        http->port = config->port;
        http->probe_fd = inherit_probe();
        http->inherited = true;
        return ERR_NONE;
    }
    http->listen_fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (http->listen_fd < 0)
        return err_errno(err, ERR_IO, errno, "open a socket for %s", config->host);
    if (setsockopt(http->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(http->listen_fd, &address.any, len) != 0 || listen(http->listen_fd, BACKLOG) != 0 ||
        getsockname(http->listen_fd, &address.any, &len) != 0) {
        err_errno(err, ERR_IO, errno, "listen on %s port %u", config->host, config->port);
        close(http->listen_fd);
        return err != NULL ? err->code : ERR_IO;
    }
    http->port =
        ntohs(address.any.sa_family == AF_INET ? address.v4.sin_port : address.v6.sin6_port);
    return ERR_NONE;
}

static struct MHD_Daemon *start_daemon(struct http *http, int fd, unsigned threads)
{
    const struct http_config *config = &http->config;
    unsigned pool = config->turn == NULL && threads > 1 ? threads : 0;
    unsigned mode = config->turn == NULL ? MHD_USE_EPOLL_INTERNAL_THREAD : MHD_USE_EPOLL;

    return MHD_start_daemon(
        mode | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, http,
        MHD_OPTION_EXTERNAL_LOGGER, on_library_message, http, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_THREAD_POOL_SIZE, pool, MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_SIZE,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_CONNECTION_LIMIT,
        config->connections, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, http, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, http, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
}

/* One descriptor that is readable when one of both daemons has something to do. */
static bool join_daemons(struct http *http)
{
    struct MHD_Daemon *daemons[] = {http->daemon, http->probe_daemon};

    http->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < 2 && http->epoll_fd >= 0; i++) {
        int fd = MHD_get_daemon_info(daemons[i], MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
        struct epoll_event event = {.events = EPOLLIN};
        if (epoll_ctl(http->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
            return false;
    }
    return http->epoll_fd >= 0;
}

static int start_daemons(struct http *http, struct err *err)
{
    http->daemon = start_daemon(http, http->listen_fd, http->config.threads);
    if (http->daemon != NULL && http->probe_fd >= 0)
        http->probe_daemon = start_daemon(http, http->probe_fd, 1);
    if (http->daemon != NULL && (http->probe_fd < 0 || http->probe_daemon != NULL) &&
        (http->probe_fd < 0 || http->config.turn == NULL || join_daemons(http)))
        return ERR_NONE;
    err_set(err, ERR_IO, "start libmicrohttpd on %s port %u", http->config.host, http->port);
    if (http->probe_daemon != NULL)
        MHD_stop_daemon(http->probe_daemon);
    if (http->daemon != NULL)
        MHD_stop_daemon(http->daemon);
    return ERR_IO;
}

static void free_all(struct http *http)
{
    if (http->epoll_fd >= 0)
        close(http->epoll_fd);
    pthread_mutex_destroy(&http->lock);
    free(http->series);
    free(http);
}

int http_start(const struct http_config *config, struct http **out, struct err *err)
{
    struct http *http = calloc(1, sizeof *http);
    int rc;

    assert(config->route_count <= ROUTES_MAX && config->threads > 0);
    if (http == NULL)
        return err_set(err, ERR_NOMEM, "start the HTTP server");
    http->config = *config;
    http->probe_fd = -1;
    http->epoll_fd = -1;
    pthread_mutex_init(&http->lock, NULL);
    random_seed(&http->seeds);
    rc = metrics_prepare(http, err);
    if (rc != ERR_NONE)
        goto err_after_alloc;
    rc = open_socket(http, err);
    if (rc != ERR_NONE)
        goto err_after_alloc;
    rc = clock_start(http, err);
    if (rc != ERR_NONE)
        goto err_after_socket;
    rc = start_daemons(http, err);
    if (rc != ERR_NONE)
        goto err_after_clock;
    *out = http;
    return ERR_NONE;

err_after_clock:
    clock_end(http);
err_after_socket:
    close(http->listen_fd);
    if (http->probe_fd >= 0)
        close(http->probe_fd);
err_after_alloc:
    free_all(http);
    return rc;
}

/* --- a loop of the caller's --------------------------------------------------------------- */

int http_fd(const struct http *http)
{
    if (http->epoll_fd >= 0)
        return http->epoll_fd;
    return MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
}

void http_run(struct http *http)
{
    MHD_run(http->daemon);
    if (http->probe_daemon != NULL)
        MHD_run(http->probe_daemon);
}

static int daemon_wait_ms(struct MHD_Daemon *daemon)
{
    MHD_UNSIGNED_LONG_LONG ms;

    if (daemon == NULL || MHD_get_timeout(daemon, &ms) != MHD_YES)
        return -1;
    return ms > 1000 ? 1000 : (int)ms;
}

int http_wait_ms(const struct http *http)
{
    int wait = daemon_wait_ms(http->daemon);
    int probe = daemon_wait_ms(http->probe_daemon);

    return wait < 0 || (probe >= 0 && probe < wait) ? probe : wait;
}

/* --- stop --------------------------------------------------------------------------------- */

/* Takes in the clients that the kernel has already accepted for us: closing the listening socket
 * would reset them, unless another process has it too. */
static void accept_last(const struct http *http, struct MHD_Daemon *daemon)
{
    MHD_socket fd = MHD_quiesce_daemon(daemon);

    if (fd == MHD_INVALID_SOCKET)
        return;
    while (!http->inherited) {
        union address peer;
        socklen_t len = sizeof peer;
        int client = accept4(fd, &peer.any, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        /* MHD_add_connection closes the socket when it fails. */
        if (client < 0 || MHD_add_connection(daemon, client, &peer.any, len) != MHD_YES)
            break;
    }
    close(fd);
}

/* Nothing is being answered and no bytes wait to be read. */
static bool quiet(struct http *http)
{
    bool result = atomic_load(&http->in_flight) == 0;

    pthread_mutex_lock(&http->lock);
    for (struct request *r = http->first; r != NULL && result; r = r->next) {
        int waiting = 0;
        if (now_us() < http->fresh_until && !atomic_load(&r->used)) {
            result = false;
            break;
        }
        result = ioctl(r->fd, FIONREAD, &waiting) != 0 || waiting == 0;
    }
    pthread_mutex_unlock(&http->lock);
    return result;
}

/* Waits for two quiet looks in a row: between reading and answering lies a moment that neither of
 * quiet's questions sees. */
static bool wait_quiet(struct http *http, unsigned limit_ms)
{
    const struct timespec pause = {.tv_nsec = STOP_LOOK_MS * 1000000L};
    int64_t end = now_us() + (int64_t)limit_ms * 1000;
    unsigned looks = 0;

    while (looks < 2) {
        looks = quiet(http) ? looks + 1 : 0;
        if (looks < 2 && now_us() >= end)
            return false;
        if (looks < 2 && http->config.turn != NULL)
            http->config.turn(http->config.context, STOP_LOOK_MS);
        else if (looks < 2)
            nanosleep(&pause, NULL);
    }
    return true;
}

unsigned http_stop(struct http *http, unsigned grace_ms)
{
    unsigned cut = 0;

    atomic_store(&http->draining, true);
    if (http->inherited)
        http->fresh_until = now_us() + FRESH_US;
    accept_last(http, http->daemon);
    if (http->probe_daemon != NULL)
        accept_last(http, http->probe_daemon);
    if (!wait_quiet(http, grace_ms))
        cut = atomic_load(&http->in_flight);
    /* libmicrohttpd must not be stopped while a connection is suspended. */
    pthread_mutex_lock(&http->lock);
    http->cancelled = true;
    clock_look(http);
    pthread_mutex_unlock(&http->lock);
    if (cut > 0 && http->config.cancel != NULL)
        http->config.cancel(http->config.context);
    if (cut > 0)
        wait_quiet(http, STOP_CUT_MS);
    MHD_stop_daemon(http->daemon);
    if (http->probe_daemon != NULL)
        MHD_stop_daemon(http->probe_daemon);
    clock_end(http);
    free_all(http);
    return cut;
}
