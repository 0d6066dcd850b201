#include "tests/unit/http_bench.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "agent/web/uv_http.h"

#define BOUND_S 20 /* nothing here takes so long */
#define HANGING_MAX 8

struct bench {
    uv_loop_t loop;
    uv_async_t stop;
    uv_timer_t timer;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct uv_http *http;
    bool closed;
    struct http_request *later;
    struct http_request *timed;
    struct http_request *hanging[HANGING_MAX];
    size_t hanging_count;
    struct sockaddr_storage address;
    socklen_t address_size;
};

static void on_closed(void *context)
{
    struct bench *bench = context;

    pthread_mutex_lock(&bench->lock);
    bench->closed = true;
    pthread_cond_signal(&bench->changed);
    pthread_mutex_unlock(&bench->lock);
    for (size_t i = 0; i < bench->hanging_count; i++) { /* a job that ends after the server */
        assert_null(http_header(bench->hanging[i], "Host"));
        assert_string_equal(bench->hanging[i]->path, "/hang");
        uv_http_text(bench->hanging[i], 200, "too late");
    }
    if (bench->later != NULL)
        uv_http_text(bench->later, 200, "too late");
    uv_close((uv_handle_t *)&bench->timer, NULL);
    uv_close((uv_handle_t *)&bench->stop, NULL);
}

static void on_timer(uv_timer_t *timer)
{
    struct bench *bench = timer->data;

    uv_http_text(bench->timed, 200, "timed");
}

static void get(struct bench *bench, struct http_request *request)
{
    static const char *const cached[] = {"Cache-Control", "no-cache", "ETag", "\"1\"", NULL};
    const char *name = http_query(request, "name");

    if (strcmp(request->path, "/") == 0) {
        uv_http_text(request, 200, "hello");
    } else if (strcmp(request->path, "/later") == 0) {
        bench->later = request;
    } else if (strcmp(request->path, "/release") == 0) {
        uv_http_text(bench->later, 200, "at last");
        bench->later = NULL;
        uv_http_text(request, 200, "released");
    } else if (strcmp(request->path, "/timer") == 0) {
        bench->timed = request;
        uv_timer_start(&bench->timer, on_timer, 1, 0);
    } else if (strcmp(request->path, "/cached") == 0) {
        uv_http_reply(request, 200, "text/css", strdup("{}"), 2, cached);
    } else if (strcmp(request->path, "/who") == 0) {
        uv_http_text(request, 200, request->local ? "local %u" : "remote", (unsigned)request->uid);
    } else if (strcmp(request->path, "/args") == 0) {
        uv_http_text(request, 200, "%s", name != NULL ? name : "none");
    } else if (strcmp(request->path, "/hang") == 0) {
        assert_true(bench->hanging_count < HANGING_MAX);
        bench->hanging[bench->hanging_count++] = request;
    } else if (strcmp(request->path, "/stream") == 0) {
        uv_http_stream(request, "data: first\n\n");
    } else if (strcmp(request->path, "/streams") == 0) {
        uv_http_text(request, 200, "%zu", uv_http_streams(bench->http));
    } else {
        uv_http_text(request, 404, "nothing at %s", request->path);
    }
}

static void handle(void *context, struct http_request *request)
{
    struct bench *bench = context;
    char *copy;

    if (strcmp(request->method, "POST") != 0) {
        get(bench, request);
    } else if (strcmp(request->path, "/echo") == 0) {
        copy = malloc(request->size + 1);
        assert_non_null(copy);
        memcpy(copy, request->body, request->size + 1);
        uv_http_reply(request, 200, "text/plain", copy, request->size, NULL);
    } else if (strcmp(request->path, "/say") == 0) {
        uv_http_broadcast(bench->http, request->body);
        uv_http_text(request, 200, "said");
    } else {
        uv_http_text(request, 200, "closing");
        uv_http_close(bench->http, on_closed, bench);
        bench->http = NULL;
    }
}

static void on_stop(uv_async_t *async)
{
    struct bench *bench = async->data;

    if (bench->http != NULL)
        uv_http_close(bench->http, on_closed, bench);
    bench->http = NULL;
}

static void *serve(void *context)
{
    struct bench *bench = context;

    uv_run(&bench->loop, UV_RUN_DEFAULT);
    return NULL;
}

static int open_socket(struct bench *bench, bool unix_socket)
{
    static unsigned number;
    struct sockaddr_in ip = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(unix_socket ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    /* an abstract name: nothing is left behind */
    snprintf(un.sun_path + 1, sizeof un.sun_path - 1, "covey-http-%d-%u", (int)getpid(), number++);
    if (unix_socket)
        memcpy(&bench->address, &un, sizeof un);
    else
        memcpy(&bench->address, &ip, sizeof ip);
    bench->address_size = unix_socket ? sizeof un : sizeof ip;
    assert_int_equal(bind(fd, (struct sockaddr *)&bench->address, bench->address_size), 0);
    assert_int_equal(listen(fd, 128), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&bench->address, &bench->address_size), 0);
    return fd;
}

struct bench *bench_start(bool unix_socket)
{
    static const char *const hosts[] = {"pi1", "pi1.local", NULL};
    struct bench *bench = calloc(1, sizeof *bench);
    struct uv_http_config config = {.unix_socket = unix_socket, .hosts = hosts, .handle = handle};
    struct err err;

    assert_non_null(bench);
    pthread_mutex_init(&bench->lock, NULL);
    pthread_cond_init(&bench->changed, NULL);
    config.fd = open_socket(bench, unix_socket);
    config.context = bench;
    assert_int_equal(uv_loop_init(&bench->loop), 0);
    assert_int_equal(uv_async_init(&bench->loop, &bench->stop, on_stop), 0);
    assert_int_equal(uv_timer_init(&bench->loop, &bench->timer), 0);
    bench->stop.data = bench->timer.data = bench;
    assert_int_equal(uv_http_create(&bench->loop, &config, &bench->http, &err), ERR_NONE);
    assert_int_equal(pthread_create(&bench->thread, NULL, serve, bench), 0);
    return bench;
}

bool bench_closed(struct bench *bench)
{
    struct timespec end;
    int rc = 0;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += BOUND_S;
    pthread_mutex_lock(&bench->lock);
    while (!bench->closed && rc == 0)
        rc = pthread_cond_timedwait(&bench->changed, &bench->lock, &end);
    pthread_mutex_unlock(&bench->lock);
    return rc == 0;
}

void bench_stop(struct bench *bench)
{
    if (!bench->closed)
        uv_async_send(&bench->stop);
    assert_true(bench_closed(bench));
    pthread_join(bench->thread, NULL);
    assert_int_equal(uv_loop_close(&bench->loop), 0);
    pthread_cond_destroy(&bench->changed);
    pthread_mutex_destroy(&bench->lock);
    free(bench);
}

/* libuv's ring of this thread's loop may interrupt any call that has a time limit (seen with 1.50).
 * A connect goes on all the same, and must not be called again. */
static bool connected(int fd, const struct bench *bench)
{
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t size = sizeof error;
    int n;

    if (connect(fd, (const struct sockaddr *)&bench->address, bench->address_size) == 0)
        return true;
    if (errno != EINTR)
        return false;
    do
        n = poll(&ready, 1, BOUND_S * 1000);
    while (n < 0 && errno == EINTR);
    return n == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

int bench_connect(struct bench *bench, uint8_t source)
{
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr = {htonl(INADDR_LOOPBACK - 1u + source)}};
    struct timeval bound = {.tv_sec = BOUND_S};
    int fd = socket(bench->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof bound);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof bound);
    if (bench->address.ss_family == AF_INET)
        assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
    if (connected(fd, bench))
        return fd;
    close(fd);
    return -1;
}

void bench_send(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
            return; /* the answer says why, if there is one */
        assert_true(n > 0);
        data += n;
        size -= (size_t)n;
    }
}

void bench_ask(int fd, const char *request)
{
    bench_send(fd, request, strlen(request));
}

size_t bench_read(int fd, char *data, size_t size)
{
    size_t have = 0;

    while (have < size) {
        ssize_t n = recv(fd, data + have, size - have, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            break;
        assert_true(n > 0); /* else the bound passed */
        have += (size_t)n;
    }
    return have;
}

void bench_reply(int fd, bool head_only, struct reply *reply)
{
    const char *length;
    size_t have = 0;

    memset(reply, 0, sizeof *reply);
    while (have < sizeof reply->head - 1 && strstr(reply->head, "\r\n\r\n") == NULL)
        if (bench_read(fd, reply->head + have++, 1) == 0)
            return;
    assert_int_equal(sscanf(reply->head, "HTTP/1.1 %u", &reply->status), 1);
    length = strcasestr(reply->head, "\r\nContent-Length:");
    if (length != NULL)
        reply->size = (size_t)strtoul(length + strlen("\r\nContent-Length:"), NULL, 10);
    reply->body = calloc(1, reply->size + 1);
    assert_non_null(reply->body);
    if (!head_only)
        assert_int_equal(bench_read(fd, reply->body, reply->size), reply->size);
}

void bench_expect(struct bench *bench, const char *what, unsigned status, const char *body)
{
    char request[512];
    struct reply reply;
    int fd = bench_connect(bench, 1);

    assert_true(fd >= 0);
    snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
             what);
    bench_ask(fd, request);
    bench_reply(fd, false, &reply);
    assert_int_equal(reply.status, status);
    if (body != NULL)
        assert_string_equal(reply.body, body);
    free(reply.body);
    close(fd);
}

void bench_until(int fd, const char *text)
{
    char block[4096];
    char line[256]; /* the beginning of it */
    size_t have = 0;

    for (;;) {
        ssize_t n = recv(fd, block, sizeof block, MSG_PEEK);
        if (n < 0 && errno == EINTR)
            continue;
        const char *end = n > 0 ? memchr(block, '\n', (size_t)n) : NULL;
        size_t part;
        assert_true(n > 0); /* else it ended, or the bound passed */
        if (end != NULL)
            n = end - block + 1;
        part = sizeof line - 1 - have < (size_t)n ? sizeof line - 1 - have : (size_t)n;
        memcpy(line + have, block, part);
        have += part;
        assert_int_equal(bench_read(fd, block, (size_t)n), n);
        line[have] = '\0';
        if (end != NULL && strstr(line, text) != NULL)
            return;
        if (end != NULL)
            have = 0;
    }
}
