#include "agent/io/uv_link_inside.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_SIZE 65536

struct write { /* one uv_write with its bytes behind it */
    uv_write_t request;
    struct connection *connection;
    bool last; /* close when it has been sent */
    uint8_t bytes[];
};

/* ---- the end of a connection ---- */

static void finish_link(struct uv_link *link)
{
    if (!link->closing || link->connections != NULL || !link->listener_closed)
        return;
    link->closed(link->closed_context);
    free(link);
}

static void connection_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    struct uv_link *link = c->link;

    if (--c->handles > 0)
        return;
    for (struct connection **at = &link->connections; *at != NULL; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            link->count--;
            break;
        }
    if (c->ticket != NULL)
        c->ticket->connection = NULL;
    stream_destroy(c->stream);
    free(c->out);
    free(c->in);
    free(c->first);
    free(c->read_buffer);
    free(c);
    finish_link(link);
}

/* Ends @c; an initiator that was not answered yet is told @code and @reason. */
void link_end(struct connection *c, int code, const char *reason)
{
    if (c->closing)
        return;
    c->closing = true;
    if (c->done != NULL) {
        uint8_t *data = code == ERR_NONE ? c->in : NULL;
        size_t size = code == ERR_NONE ? c->in_size : 0;
        if (code == ERR_NONE)
            c->in = NULL;
        c->done(c->context, code, data, size, reason);
        c->done = NULL;
    }
    if (c->session && !c->open)
        link_session_failed(c, code);
    uv_close((uv_handle_t *)&c->timer, connection_closed);
    uv_close((uv_handle_t *)&c->tcp, connection_closed);
}

static void on_timeout(uv_timer_t *timer)
{
    link_end(timer->data, ERR_TIMEOUT, "the peer did not go on in time");
}

static bool is_stranger(const struct connection *c)
{
    return !c->initiator && (c->stream == NULL || !stream_authenticated(c->stream));
}

void link_progress(struct connection *c)
{
    uint64_t ms = c->link->config.timeout_ms > 0 ? c->link->config.timeout_ms : LINK_TIMEOUT_MS;

    if (is_stranger(c) && ms > LINK_STRANGER_MS)
        ms = LINK_STRANGER_MS;
    if (c->open)
        ms = LINK_SESSION_IDLE_MS;
    if (!c->closing)
        uv_timer_start(&c->timer, on_timeout, ms, 0);
}

/* ---- writing ---- */

static void on_written(uv_write_t *request, int status)
{
    struct write *write = request->data;
    struct connection *c = write->connection;
    bool last = write->last;

    free(write);
    if (status != 0) {
        link_end(c, ERR_UNREACHABLE, "the connection broke");
        return;
    }
    link_progress(c);
    if (last)
        link_end(c, ERR_NONE, "");
    else if (!c->initiator && c->out != NULL)
        link_send_answer(c);
}

static int write_bytes(struct connection *c, struct write *write, size_t size, bool last)
{
    uv_buf_t buffer = uv_buf_init((char *)write->bytes, (unsigned)size);

    write->request.data = write;
    write->connection = c;
    write->last = last;
    if (uv_write(&write->request, (uv_stream_t *)&c->tcp, &buffer, 1, on_written) == 0)
        return ERR_NONE;
    free(write);
    return ERR_IO;
}

static int write_hello(struct connection *c)
{
    struct write *write = malloc(sizeof *write + STREAM_HELLO);

    if (write == NULL)
        return ERR_NOMEM;
    stream_hello(c->stream, write->bytes);
    return write_bytes(c, write, STREAM_HELLO, false);
}

int link_write(struct connection *c, const uint8_t *data, size_t len, bool last)
{
    struct write *write = malloc(sizeof *write + len + STREAM_OVERHEAD);

    if (write == NULL)
        return ERR_NOMEM;
    if (stream_seal(c->stream, data, len, write->bytes) != ERR_NONE) {
        free(write);
        return ERR_INTERNAL;
    }
    return write_bytes(c, write, len + STREAM_OVERHEAD, last);
}

/* ---- reading ---- */

/* Both hellos are known: make the keys, and ask if it is ours to ask. */
static void make_keys(struct connection *c)
{
    uint8_t public_key[KEYS_PUBLIC];
    uint8_t secret[KEYS_EPOCH_SECRET];
    const struct uv_link_config *config = &c->link->config;
    node_id peer = stream_peer(c->stream);
    bool known = (!c->initiator || node_id_equal(peer, c->peer)) &&
                 config->keys(config->context, peer, stream_epoch(c->stream), public_key, secret) &&
                 stream_key(c->stream, public_key, secret) == ERR_NONE;

    keys_wipe(secret, sizeof secret);
    if (!known) {
        link_end(c, ERR_AUTH, "who answers there is not the node that was meant");
        return;
    }
    c->peer = peer;
    c->keyed = true;
    if (c->initiator && link_write(c, c->out, c->out_size, false) != ERR_NONE)
        link_end(c, ERR_IO, "the request could not be sent");
}

static void take_bytes(struct connection *c, const uint8_t *data, size_t len)
{
    while (len > 0 && !c->closing) {
        const uint8_t *frame = NULL;
        size_t frame_len = 0;
        size_t used = 0;

        switch (stream_feed(c->stream, data, len, &used, &frame, &frame_len)) {
        case STREAM_HELLO_CAME:
            make_keys(c);
            break;
        case STREAM_FRAME:
            link_progress(c);
            if (c->open)
                link_session_message(c, frame, frame_len);
            else if (c->initiator)
                link_take_answer(c, frame, frame_len);
            else
                link_take_request(c, frame, frame_len);
            break;
        case STREAM_BROKEN:
            link_end(c, ERR_AUTH, "the peer's bytes do not authenticate");
            break;
        case STREAM_MORE:
            break;
        }
        data += used;
        len -= used;
    }
}

static void give_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct connection *c = handle->data;

    (void)suggested;
    if (c->read_buffer == NULL)
        c->read_buffer = malloc(READ_SIZE);
    *buffer = uv_buf_init(c->read_buffer, c->read_buffer != NULL ? READ_SIZE : 0);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct connection *c = stream->data;

    (void)buffer;
    if (n < 0)
        link_end(c, ERR_UNREACHABLE, "the peer closed the connection");
    else if (n > 0)
        take_bytes(c, (const uint8_t *)c->read_buffer, (size_t)n);
}

static int begin(struct connection *c)
{
    uint8_t random[STREAM_RANDOM];

    keys_random(random, sizeof random);
    c->stream =
        stream_create(c->link->config.identity, c->initiator, c->link->config.epoch, random);
    if (c->stream == NULL)
        return ERR_NOMEM;
    if (uv_read_start((uv_stream_t *)&c->tcp, give_buffer, on_read) != 0)
        return ERR_IO;
    return write_hello(c);
}

/* ---- connections ---- */

/* Those who say nothing must not keep members out, nor this node from asking. */
static bool too_many_strangers(const struct uv_link *link)
{
    size_t strangers = 0;

    for (const struct connection *c = link->connections; c != NULL; c = c->next)
        strangers += is_stranger(c);
    return strangers >= LINK_STRANGERS_MAX;
}

static struct connection *new_connection(struct uv_link *link, bool initiator)
{
    struct connection *c;

    if (link->count >= LINK_CONNECTIONS_MAX)
        return NULL;
    c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->link = link;
    c->initiator = initiator;
    c->handles = 2;
    uv_tcp_init(link->loop, &c->tcp);
    uv_timer_init(link->loop, &c->timer);
    c->tcp.data = c->timer.data = c;
    c->next = link->connections;
    link->connections = c;
    link->count++;
    link_progress(c);
    return c;
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct uv_link *link = listener->data;
    struct connection *c =
        status == 0 && !too_many_strangers(link) ? new_connection(link, false) : NULL;

    if (c == NULL) {
        /* Too many: taken and closed, so that it does not wait in the kernel for ever. */
        uv_tcp_t *refused = status == 0 ? malloc(sizeof *refused) : NULL;
        if (refused == NULL)
            return;
        uv_tcp_init(link->loop, refused);
        (void)uv_accept(listener, (uv_stream_t *)refused);
        uv_close((uv_handle_t *)refused, (uv_close_cb)free);
        return;
    }
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0 || begin(c) != ERR_NONE)
        link_end(c, ERR_IO, "the connection could not be taken");
}

static void on_connect(uv_connect_t *connect, int status)
{
    struct connection *c = connect->data;

    if (c->closing)
        return;
    if (status != 0)
        link_end(c, ERR_UNREACHABLE, uv_strerror(status));
    else if (begin(c) != ERR_NONE)
        link_end(c, ERR_IO, "the connection could not be used");
}

/* A start that failed is reported from the loop, not from within uv_link_ask. */
static void on_failed(uv_timer_t *timer)
{
    link_end(timer->data, ERR_UNREACHABLE, "no connection could be made");
}

int link_connect(struct uv_link *link, node_id peer, const struct addr *at, const void *request,
                 size_t len, struct connection **out)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(at->port)};
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(at->port)};
    const struct sockaddr *address =
        at->family == 6 ? (const struct sockaddr *)&in6 : (const struct sockaddr *)&in4;
    struct connection *c = new_connection(link, true);

    if (c == NULL)
        return ERR_BUSY;
    memcpy(&in4.sin_addr, at->ip, 4);
    memcpy(&in6.sin6_addr, at->ip, 16);
    c->peer = peer;
    c->out = malloc(len + 1);
    c->out_size = len;
    c->connect.data = c;
    if (c->out != NULL)
        memcpy(c->out, request, len);
    if (c->out == NULL || uv_tcp_connect(&c->connect, &c->tcp, address, on_connect) != 0)
        uv_timer_start(&c->timer, on_failed, 0, 0);
    *out = c;
    return ERR_NONE;
}

/* ---- the link ---- */

int uv_link_create(uv_loop_t *loop, const struct uv_link_config *config, struct uv_link **out,
                   struct err *err)
{
    struct uv_link *link = calloc(1, sizeof *link);
    int rc;

    if (link == NULL) {
        close(config->fd);
        return err_set(err, ERR_NOMEM, "start the link to peers: %s", err_text(ERR_NOMEM));
    }
    link->loop = loop;
    link->config = *config;
    uv_tcp_init(loop, &link->listener);
    link->listener.data = link;
    rc = uv_tcp_open(&link->listener, config->fd);
    if (rc != 0)
        close(config->fd); /* the handle did not take it */
    else
        rc = uv_listen((uv_stream_t *)&link->listener, LINK_CONNECTIONS_MAX, on_connection);
    *out = link; /* to be closed even if this failed: its handle belongs to the loop */
    if (rc != 0)
        return err_set(err, ERR_IO, "start the link to peers: %s", uv_strerror(rc));
    return ERR_NONE;
}

void uv_link_drop(struct uv_link *link, node_id peer)
{
    for (struct connection *c = link->connections; c != NULL; c = c->next)
        if (node_id_equal(c->peer, peer))
            link_end(c, ERR_AUTH, "it is no member any more");
}

void uv_link_set_epoch(struct uv_link *link, uint32_t epoch)
{
    link->config.epoch = epoch;
}

static void listener_closed(uv_handle_t *handle)
{
    struct uv_link *link = handle->data;

    link->listener_closed = true;
    finish_link(link);
}

void uv_link_close(struct uv_link *link, void (*closed)(void *context), void *context)
{
    if (link == NULL) {
        closed(context);
        return;
    }
    link->closing = true;
    link->closed = closed;
    link->closed_context = context;
    for (struct connection *c = link->connections; c != NULL; c = c->next)
        link_end(c, ERR_UNREACHABLE, "the agent is ending");
    uv_close((uv_handle_t *)&link->listener, listener_closed);
}
