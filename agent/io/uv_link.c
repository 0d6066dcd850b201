#include "agent/io/uv_link.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "proto/wire/stream.h"

#define READ_SIZE 65536
#define CHUNK 65000 /* bytes of an answer in one frame */

/* The first frame of an answer: code, size of what follows (both big endian), then the reason. */
#define ANSWER_HEAD 12
#define REASON_MAX 512

struct connection {
    struct uv_link *link;
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_connect_t connect;
    struct stream *stream;
    bool initiator;
    bool keyed;
    bool closing;
    int handles;
    node_id peer; /* initiator: whom we ask */
    struct connection *next;

    /* what is asked (initiator), or the answer that is being sent: owned */
    uint8_t *out;
    size_t out_size;
    size_t out_sent;
    char *read_buffer;

    /* the answer that is being received (initiator) */
    bool head_came;
    int code;
    char reason[REASON_MAX];
    uint8_t *in;
    size_t in_size;
    size_t in_used;

    void (*done)(void *context, int code, uint8_t *data, size_t size, const char *reason);
    void *context;
    struct link_request *ticket; /* a request that is being served */
};

struct link_request {
    struct connection *connection; /* NULL: the peer has gone */
};

struct uv_link {
    uv_loop_t *loop;
    struct uv_link_config config;
    uv_tcp_t listener;
    struct connection *connections;
    size_t count;
    bool closing;
    bool listener_closed;
    void (*closed)(void *context);
    void *closed_context;
};

struct write { /* one uv_write with its bytes behind it */
    uv_write_t request;
    struct connection *connection;
    bool last; /* close when it has been sent */
    uint8_t bytes[];
};

static void send_answer(struct connection *c);

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
    free(c->read_buffer);
    free(c);
    finish_link(link);
}

/* Ends @c; an initiator that was not answered yet is told @code and @reason. */
static void end(struct connection *c, int code, const char *reason)
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
    uv_close((uv_handle_t *)&c->timer, connection_closed);
    uv_close((uv_handle_t *)&c->tcp, connection_closed);
}

static void on_timeout(uv_timer_t *timer)
{
    end(timer->data, ERR_TIMEOUT, "the peer did not go on in time");
}

static bool is_stranger(const struct connection *c)
{
    return !c->initiator && (c->stream == NULL || !stream_authenticated(c->stream));
}

static void progress(struct connection *c)
{
    uint64_t ms = c->link->config.timeout_ms > 0 ? c->link->config.timeout_ms : LINK_TIMEOUT_MS;

    if (is_stranger(c) && ms > LINK_STRANGER_MS)
        ms = LINK_STRANGER_MS;
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
        end(c, ERR_UNREACHABLE, "the connection broke");
        return;
    }
    progress(c);
    if (last)
        end(c, ERR_NONE, "");
    else if (!c->initiator && c->out != NULL)
        send_answer(c);
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

static int write_frame(struct connection *c, const uint8_t *data, size_t len, bool last)
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

/* The next part of the answer; the last one closes the connection. */
static void send_answer(struct connection *c)
{
    size_t n = c->out_size - c->out_sent;

    if (n > CHUNK)
        n = CHUNK;
    if (n == 0)
        return;
    c->out_sent += n;
    if (write_frame(c, c->out + c->out_sent - n, n, c->out_sent == c->out_size) != ERR_NONE)
        end(c, ERR_IO, "the answer could not be sent");
}

static void put32(uint8_t *out, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint32_t get32(const uint8_t *in)
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

void uv_link_answer(struct link_request *ticket, int code, uint8_t *data, size_t size,
                    const char *reason)
{
    struct connection *c = ticket->connection;
    uint8_t head[ANSWER_HEAD + REASON_MAX];
    size_t reason_len = 0;

    free(ticket);
    if (c != NULL)
        c->ticket = NULL;
    if (c == NULL || c->closing) {
        free(data);
        return;
    }
    if (code == ERR_NONE && size > LINK_ANSWER_MAX)
        code = ERR_LIMIT;
    if (code != ERR_NONE) {
        free(data);
        data = NULL;
        size = 0;
        reason_len = reason != NULL ? strnlen(reason, REASON_MAX - 1) : 0;
    }
    put32(head, (uint32_t)code);
    put32(head + 4, (uint32_t)size);
    put32(head + 8, (uint32_t)reason_len);
    if (reason_len > 0)
        memcpy(head + ANSWER_HEAD, reason, reason_len);
    c->out = data;
    c->out_size = size;
    if (size == 0) {
        free(c->out);
        c->out = NULL;
    }
    /* Its completion sends the rest. */
    if (write_frame(c, head, ANSWER_HEAD + reason_len, size == 0) != ERR_NONE)
        end(c, ERR_IO, "the answer could not be sent");
}

/* ---- reading ---- */

static void take_request(struct connection *c, const uint8_t *frame, size_t len)
{
    struct link_request *ticket;

    if (c->head_came || len > LINK_REQUEST_MAX) {
        end(c, ERR_INVALID, "one request a connection");
        return;
    }
    ticket = malloc(sizeof *ticket);
    if (ticket == NULL) {
        end(c, ERR_NOMEM, err_text(ERR_NOMEM));
        return;
    }
    c->head_came = true;
    ticket->connection = c;
    c->ticket = ticket;
    c->link->config.serve(c->link->config.context, c->peer, frame, len, ticket);
}

static void take_head(struct connection *c, const uint8_t *frame, size_t len)
{
    size_t reason_len;

    if (len < ANSWER_HEAD || (reason_len = get32(frame + 8)) != len - ANSWER_HEAD ||
        reason_len >= REASON_MAX) {
        end(c, ERR_INVALID, "the peer's answer is malformed");
        return;
    }
    c->head_came = true;
    c->code = (int)get32(frame);
    c->in_size = get32(frame + 4);
    memcpy(c->reason, frame + ANSWER_HEAD, reason_len);
    c->reason[reason_len] = '\0';
    if (c->code != ERR_NONE) {
        end(c, c->code > 0 && c->code < ERR_CODES ? c->code : ERR_INTERNAL, c->reason);
        return;
    }
    if (c->in_size > LINK_ANSWER_MAX) {
        end(c, ERR_LIMIT, "the peer's answer is too large");
        return;
    }
    c->in = malloc(c->in_size + 1);
    if (c->in == NULL)
        end(c, ERR_NOMEM, err_text(ERR_NOMEM));
    else if (c->in_size == 0)
        end(c, ERR_NONE, "");
}

static void take_answer(struct connection *c, const uint8_t *frame, size_t len)
{
    if (!c->head_came) {
        take_head(c, frame, len);
        return;
    }
    if (len > c->in_size - c->in_used) {
        end(c, ERR_INVALID, "the peer sent more than it said");
        return;
    }
    memcpy(c->in + c->in_used, frame, len);
    c->in_used += len;
    if (c->in_used == c->in_size)
        end(c, ERR_NONE, "");
}

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
        end(c, ERR_AUTH, "who answers there is not the node that was meant");
        return;
    }
    c->peer = peer;
    c->keyed = true;
    if (c->initiator && write_frame(c, c->out, c->out_size, false) != ERR_NONE)
        end(c, ERR_IO, "the request could not be sent");
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
            progress(c);
            if (c->initiator)
                take_answer(c, frame, frame_len);
            else
                take_request(c, frame, frame_len);
            break;
        case STREAM_BROKEN:
            end(c, ERR_AUTH, "the peer's bytes do not authenticate");
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
        end(c, ERR_UNREACHABLE, "the peer closed the connection");
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
    progress(c);
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
        end(c, ERR_IO, "the connection could not be taken");
}

static void on_connect(uv_connect_t *connect, int status)
{
    struct connection *c = connect->data;

    if (c->closing)
        return;
    if (status != 0)
        end(c, ERR_UNREACHABLE, uv_strerror(status));
    else if (begin(c) != ERR_NONE)
        end(c, ERR_IO, "the connection could not be used");
}

/* A start that failed is reported from the loop, not from within uv_link_ask. */
static void on_failed(uv_timer_t *timer)
{
    end(timer->data, ERR_UNREACHABLE, "no connection could be made");
}

void uv_link_ask(struct uv_link *link, node_id peer, const struct addr *at, const void *request,
                 size_t len,
                 void (*done)(void *context, int code, uint8_t *data, size_t size,
                              const char *reason),
                 void *context)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(at->port)};
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(at->port)};
    const struct sockaddr *address =
        at->family == 6 ? (const struct sockaddr *)&in6 : (const struct sockaddr *)&in4;
    struct connection *c;

    if (link->closing || len > LINK_REQUEST_MAX) {
        done(context, link->closing ? ERR_UNREACHABLE : ERR_LIMIT, NULL, 0,
             link->closing ? "the agent is ending" : "the request is too long");
        return;
    }
    c = new_connection(link, true);
    if (c == NULL) {
        done(context, ERR_BUSY, NULL, 0, "too many connections to peers are open");
        return;
    }
    memcpy(&in4.sin_addr, at->ip, 4);
    memcpy(&in6.sin6_addr, at->ip, 16);
    c->peer = peer;
    c->done = done;
    c->context = context;
    c->out = malloc(len + 1);
    c->out_size = len;
    c->connect.data = c;
    if (c->out != NULL)
        memcpy(c->out, request, len);
    if (c->out == NULL || uv_tcp_connect(&c->connect, &c->tcp, address, on_connect) != 0)
        uv_timer_start(&c->timer, on_failed, 0, 0);
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
        end(c, ERR_UNREACHABLE, "the agent is ending");
    uv_close((uv_handle_t *)&link->listener, listener_closed);
}
