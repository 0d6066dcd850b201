#include "workloads/smartbiz-ui/upstream.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "workloads/smartbiz-ui/reply_head.h"

#define LOOK_MS 100 /* between two looks for what takes too long */
#define READ_SIZE 65536
#define HOST_MAX 256

/* Headers of a request that are handed on. */
static const char *const request_headers[] = {"Content-Type",    "If-Match", "If-None-Match",
                                              "Idempotency-Key", "X-User",   "Accept"};

enum link_state {
    LINK_CLOSED,
    LINK_CONNECTING,
    LINK_SENDING,
    LINK_READING,
    LINK_IDLE,
};

struct link {
    struct upstream *upstream;
    int fd;
    enum link_state state;
    struct request *request;
    bool used_before; /* a connection that the API may have closed meanwhile */
    bool head_read;
    int64_t deadline; /* microseconds */
    struct reply_head head;
    struct out out;
    size_t sent;
    struct out in;
    size_t body_at;
};

struct upstream {
    struct upstream_config config;
    char host[HOST_MAX + 16]; /* for the Host header */
    struct sockaddr_storage address;
    socklen_t address_len;
    int epoll_fd;
    struct link links[UPSTREAM_CONNECTIONS];
    struct request *waiting[UPSTREAM_WAITING_MAX]; /* a ring */
    unsigned waiting_head;
    unsigned waiting_count;
};

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* --- replies ------------------------------------------------------------------------------ */

static void fail(struct request *request, int status, const char *detail)
{
    reply_problem(request, status, NULL, "%s", detail);
    if (status == 503)
        reply_header(request, "Retry-After", "1");
    request_finish(request);
}

static void hand_back(struct link *link)
{
    const struct reply_head *head = &link->head;
    struct request *request = link->request;
    const char *type = head->values[REPLY_CONTENT_TYPE];
    char location[REPLY_VALUE_MAX + 32];

    link->request = NULL;
    if (link->in.len > link->body_at)
        out_bytes(reply_begin_copy(request, head->status, type), link->in.data + link->body_at,
                  link->in.len - link->body_at);
    else
        reply_empty(request, head->status);
    for (size_t i = REPLY_CONTENT_TYPE + 1; i < REPLY_HEADERS; i++) {
        const char *value = head->values[i];
        if (value[0] == '\0')
            continue;
        if (i == REPLY_LOCATION && value[0] == '/') {
            snprintf(location, sizeof location, "%s%s", link->upstream->config.prefix, value);
            value = location;
        }
        if (strlen(value) < REPLY_HEADER_VALUE_MAX)
            reply_header(request, reply_header_names[i], value);
    }
    request_finish(request);
}

/* --- connections -------------------------------------------------------------------------- */

static void watch(struct link *link, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = link};

    epoll_ctl(link->upstream->epoll_fd, EPOLL_CTL_MOD, link->fd, &event);
}

static void close_link(struct link *link)
{
    if (link->fd >= 0)
        close(link->fd); /* leaves the epoll descriptor by itself */
    link->fd = -1;
    link->state = LINK_CLOSED;
    link->used_before = false;
    out_free(&link->in);
    out_free(&link->out);
}

static void start(struct upstream *upstream);
static void assign(struct link *link, struct request *request);

static bool is_safe(const struct request *request)
{
    return strcmp(request_method(request), "GET") == 0 ||
           strcmp(request_method(request), "HEAD") == 0;
}

/* The connection ended before the reply did. One that was kept open may have been closed just when
 * it was used again: what changes nothing is asked once more. */
static void broken(struct link *link, const char *detail)
{
    struct request *request = link->request;
    bool again = request != NULL && link->used_before && link->in.len == 0 && is_safe(request);

    link->request = NULL;
    close_link(link);
    if (again)
        assign(link, request);
    else if (request != NULL)
        fail(request, 503, detail);
}

static bool open_link(struct link *link)
{
    struct upstream *upstream = link->upstream;
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = link};
    const int on = 1;

    link->fd = socket(upstream->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (link->fd < 0)
        return false;
    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(link->fd, (const struct sockaddr *)&upstream->address, upstream->address_len) !=
            0 &&
        errno != EINPROGRESS)
        return false;
    link->state = LINK_CONNECTING;
    return epoll_ctl(upstream->epoll_fd, EPOLL_CTL_ADD, link->fd, &event) == 0;
}

static void write_request(struct link *link)
{
    struct request *request = link->request;
    const char *path = request_path(request) + strlen(link->upstream->config.prefix);
    struct out *o = &link->out;
    size_t len;
    const char *body = request_body(request, &len);

    out_init(o, NULL, 0, HTTP_REPLY_MAX);
    out_init(&link->in, NULL, 0, HTTP_REPLY_MAX + REPLY_HEAD_MAX);
    out_text(o, request_method(request));
    out_char(o, ' ');
    out_text(o, path);
    request_query_write(request, o);
    out_text(o, " HTTP/1.1\r\nHost: ");
    out_text(o, link->upstream->host);
    out_text(o, "\r\nX-Request-Id: ");
    out_text(o, request_id(request));
    for (size_t i = 0; i < sizeof request_headers / sizeof request_headers[0]; i++) {
        const char *value = request_header(request, request_headers[i]);
        if (value == NULL)
            continue;
        out_text(o, "\r\n");
        out_text(o, request_headers[i]);
        out_text(o, ": ");
        out_text(o, value);
    }
    out_text(o, "\r\nContent-Length: ");
    out_uint(o, len);
    out_text(o, "\r\n\r\n");
    out_bytes(o, body, len);
    link->sent = 0;
    link->head_read = false;
}

static void assign(struct link *link, struct request *request)
{
    link->request = request;
    link->deadline = now_us() + (int64_t)link->upstream->config.timeout_ms * 1000;
    write_request(link);
    if (link->out.failed) {
        broken(link, "out of memory");
        return;
    }
    if (link->state == LINK_IDLE) {
        link->state = LINK_SENDING;
        watch(link, EPOLLOUT | EPOLLIN);
    } else if (!open_link(link)) {
        broken(link, "the API is not reachable");
    }
}

static void send_more(struct link *link)
{
    while (link->sent < link->out.len) {
        ssize_t n =
            send(link->fd, link->out.data + link->sent, link->out.len - link->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0 && errno != EINTR) {
            broken(link, "the API went away; it may have done this: look, or repeat it with the "
                         "same Idempotency-Key");
            return;
        }
        link->sent += n > 0 ? (size_t)n : 0;
    }
    link->state = LINK_READING;
    watch(link, EPOLLIN);
}

static void connected(struct link *link)
{
    int errnum = 0;
    socklen_t len = sizeof errnum;

    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &errnum, &len) != 0 || errnum != 0) {
        broken(link, "the API is not reachable");
        return;
    }
    link->state = LINK_SENDING;
    send_more(link);
}

static bool has_body(const struct link *link)
{
    return link->head.status != 204 && link->head.status != 304 &&
           strcmp(request_method(link->request), "HEAD") != 0;
}

/* The reply is here: the connection is kept, or not. */
static void done(struct link *link)
{
    bool keep = link->head.keep_alive;

    hand_back(link);
    out_free(&link->in);
    out_free(&link->out);
    if (!keep) {
        close_link(link);
        return;
    }
    link->state = LINK_IDLE;
    link->used_before = true;
}

static void look_at_input(struct link *link)
{
    enum reply_head_result result;
    uint64_t length;

    if (!link->head_read) {
        result = reply_head_read(link->in.data, link->in.len, &link->head, &link->body_at);
        if (result == REPLY_HEAD_MORE)
            return;
        link->head_read = result == REPLY_HEAD_DONE && (link->head.has_length || !has_body(link)) &&
                          link->head.length <= HTTP_REPLY_MAX;
        if (!link->head_read) {
            struct request *request = link->request;
            link->request = NULL;
            close_link(link);
            fail(request, 502, "the API's answer was not understood");
            return;
        }
    }
    length = has_body(link) ? link->head.length : 0;
    if (link->in.len - link->body_at < length)
        return;
    if (link->in.len - link->body_at > length)
        link->head.keep_alive = false; /* it said more than it should */
    link->in.len = link->body_at + (size_t)length;
    done(link);
}

static void receive(struct link *link)
{
    char bytes[READ_SIZE];
    ssize_t n = recv(link->fd, bytes, sizeof bytes, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || link->state == LINK_IDLE) {
        broken(link, "the API went away; it may have done this: look, or repeat it with the same "
                     "Idempotency-Key");
        return;
    }
    out_bytes(&link->in, bytes, (size_t)n);
    if (link->in.failed) {
        broken(link, "the API's answer is too long");
        return;
    }
    look_at_input(link);
}

/* --- asking ------------------------------------------------------------------------------- */

static struct link *find_link(struct upstream *upstream)
{
    struct link *closed = NULL;

    for (size_t i = 0; i < UPSTREAM_CONNECTIONS; i++) {
        struct link *link = &upstream->links[i];
        if (link->state == LINK_IDLE)
            return link;
        if (link->state == LINK_CLOSED && closed == NULL)
            closed = link;
    }
    return closed;
}

static void start(struct upstream *upstream)
{
    while (upstream->waiting_count > 0) {
        struct link *link = find_link(upstream);
        struct request *request = upstream->waiting[upstream->waiting_head];
        if (link == NULL)
            return;
        upstream->waiting_head = (upstream->waiting_head + 1) % UPSTREAM_WAITING_MAX;
        upstream->waiting_count--;
        assign(link, request);
    }
}

void upstream_ask(struct upstream *upstream, struct request *request)
{
    unsigned at = (upstream->waiting_head + upstream->waiting_count) % UPSTREAM_WAITING_MAX;

    request_wait(request);
    if (upstream->waiting_count == UPSTREAM_WAITING_MAX) {
        fail(request, 503, "too many requests at once");
        return;
    }
    upstream->waiting[at] = request;
    upstream->waiting_count++;
    start(upstream);
}

/* --- the caller's loop -------------------------------------------------------------------- */

int upstream_fd(const struct upstream *upstream)
{
    return upstream->epoll_fd;
}

int upstream_wait_ms(const struct upstream *upstream)
{
    for (size_t i = 0; i < UPSTREAM_CONNECTIONS; i++)
        if (upstream->links[i].request != NULL)
            return LOOK_MS;
    return -1;
}

void upstream_run(struct upstream *upstream)
{
    struct epoll_event events[UPSTREAM_CONNECTIONS];
    int n = epoll_wait(upstream->epoll_fd, events, UPSTREAM_CONNECTIONS, 0);
    int64_t now;

    for (int i = 0; i < n; i++) {
        struct link *link = events[i].data.ptr;
        if (link->state == LINK_CONNECTING)
            connected(link);
        else if (link->state == LINK_SENDING && (events[i].events & EPOLLIN) == 0)
            send_more(link);
        else if (link->state != LINK_CLOSED)
            receive(link);
    }
    now = now_us();
    for (size_t i = 0; i < UPSTREAM_CONNECTIONS; i++) {
        struct link *link = &upstream->links[i];
        if (link->request != NULL && link->deadline <= now) {
            struct request *request = link->request;
            link->request = NULL;
            close_link(link);
            fail(request, 504, "the API took too long; it may have done this");
        }
    }
    start(upstream);
}

void upstream_cancel(struct upstream *upstream)
{
    for (; upstream->waiting_count > 0; upstream->waiting_count--) {
        fail(upstream->waiting[upstream->waiting_head], 503, "the service is stopping");
        upstream->waiting_head = (upstream->waiting_head + 1) % UPSTREAM_WAITING_MAX;
    }
    for (size_t i = 0; i < UPSTREAM_CONNECTIONS; i++) {
        struct link *link = &upstream->links[i];
        struct request *request = link->request;
        link->request = NULL;
        close_link(link);
        if (request != NULL)
            fail(request, 503, "the service is stopping");
    }
}

/* --- life --------------------------------------------------------------------------------- */

/* "http://host:port" or "host:port"; an IPv6 address stands in brackets. */
static int look_up(struct upstream *upstream, struct err *err)
{
    const char *url = upstream->config.url;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found;
    char host[HOST_MAX];
    const char *start_of_host = strncmp(url, "http://", 7) == 0 ? url + 7 : url;
    size_t len = strcspn(start_of_host, "/");
    char *colon;
    char *name = host;
    int rc;

    if (len == 0 || len >= sizeof host || strlen(start_of_host) > len + 1)
        return err_set(err, ERR_INVALID, "API_URL=\"%s\": expected http://host:port", url);
    memcpy(host, start_of_host, len);
    host[len] = '\0';
    snprintf(upstream->host, sizeof upstream->host, "%s", host);
    colon = strrchr(host, ':');
    if (colon == NULL || strchr(colon, ']') != NULL)
        return err_set(err, ERR_INVALID, "API_URL=\"%s\": expected http://host:port", url);
    *colon = '\0';
    if (host[0] == '[' && colon[-1] == ']') {
        colon[-1] = '\0';
        name++;
    }
    rc = getaddrinfo(name, colon + 1, &hints, &found);
    if (rc != 0)
        return err_set(err, ERR_UNREACHABLE, "API_URL=\"%s\": %s", url, gai_strerror(rc));
    memcpy(&upstream->address, found->ai_addr, found->ai_addrlen);
    upstream->address_len = found->ai_addrlen;
    freeaddrinfo(found);
    return ERR_NONE;
}

int upstream_new(const struct upstream_config *config, struct upstream **out, struct err *err)
{
    struct upstream *upstream = calloc(1, sizeof *upstream);
    int rc;

    if (upstream == NULL)
        return err_set(err, ERR_NOMEM, "make the connections to the API");
    upstream->config = *config;
    for (size_t i = 0; i < UPSTREAM_CONNECTIONS; i++) {
        upstream->links[i].upstream = upstream;
        upstream->links[i].fd = -1;
    }
    rc = look_up(upstream, err);
    if (rc == ERR_NONE) {
        upstream->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (upstream->epoll_fd < 0)
            rc = err_errno(err, ERR_IO, errno, "make the connections to the API");
    }
    if (rc != ERR_NONE) {
        free(upstream);
        return rc;
    }
    *out = upstream;
    return ERR_NONE;
}

void upstream_free(struct upstream *upstream)
{
    if (upstream == NULL)
        return;
    upstream_cancel(upstream);
    close(upstream->epoll_fd);
    free(upstream);
}
