/* A question over the link, and its answer. */
#include <stdlib.h>
#include <string.h>

#include "agent/io/uv_link_inside.h"

#define CHUNK 65000 /* bytes of an answer in one frame */

/* The next part of the answer; the last one closes the connection. */
void link_send_answer(struct connection *c)
{
    size_t n = c->out_size - c->out_sent;

    if (n > CHUNK)
        n = CHUNK;
    if (n == 0)
        return;
    c->out_sent += n;
    if (link_write(c, c->out + c->out_sent - n, n, c->out_sent == c->out_size) != ERR_NONE)
        link_end(c, ERR_IO, "the answer could not be sent");
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

int link_write_head(struct connection *c, int code, size_t size, const char *reason, bool last)
{
    uint8_t head[LINK_ANSWER_HEAD + LINK_REASON_MAX];
    size_t reason_len = reason != NULL ? strnlen(reason, LINK_REASON_MAX - 1) : 0;

    put32(head, (uint32_t)code);
    put32(head + 4, (uint32_t)size);
    put32(head + 8, (uint32_t)reason_len);
    if (reason_len > 0)
        memcpy(head + LINK_ANSWER_HEAD, reason, reason_len);
    return link_write(c, head, LINK_ANSWER_HEAD + reason_len, last);
}

void uv_link_answer(struct link_request *ticket, int code, uint8_t *data, size_t size,
                    const char *reason)
{
    struct connection *c = ticket->connection;

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
    }
    c->out = data;
    c->out_size = size;
    if (size == 0) {
        free(c->out);
        c->out = NULL;
    }
    /* Its completion sends the rest. */
    if (link_write_head(c, code, size, code != ERR_NONE ? reason : NULL, size == 0) != ERR_NONE)
        link_end(c, ERR_IO, "the answer could not be sent");
}

/* ---- reading ---- */

void link_take_request(struct connection *c, const uint8_t *frame, size_t len)
{
    struct link_request *ticket;

    if (c->head_came || len > LINK_REQUEST_MAX) {
        link_end(c, ERR_INVALID, "one request a connection");
        return;
    }
    if (link_session_asked(c, frame, len)) {
        c->head_came = true;
        link_session_accept(c);
        return;
    }
    ticket = malloc(sizeof *ticket);
    if (ticket == NULL) {
        link_end(c, ERR_NOMEM, err_text(ERR_NOMEM));
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

    if (len < LINK_ANSWER_HEAD || (reason_len = get32(frame + 8)) != len - LINK_ANSWER_HEAD ||
        reason_len >= LINK_REASON_MAX) {
        link_end(c, ERR_INVALID, "the peer's answer is malformed");
        return;
    }
    c->head_came = true;
    c->code = (int)get32(frame);
    c->in_size = get32(frame + 4);
    memcpy(c->reason, frame + LINK_ANSWER_HEAD, reason_len);
    c->reason[reason_len] = '\0';
    if (c->code != ERR_NONE) {
        link_end(c, c->code > 0 && c->code < ERR_CODES ? c->code : ERR_INTERNAL, c->reason);
        return;
    }
    if (c->session) {
        link_session_accepted(c);
        return;
    }
    if (c->in_size > LINK_ANSWER_MAX) {
        link_end(c, ERR_LIMIT, "the peer's answer is too large");
        return;
    }
    c->in = malloc(c->in_size + 1);
    if (c->in == NULL)
        link_end(c, ERR_NOMEM, err_text(ERR_NOMEM));
    else if (c->in_size == 0)
        link_end(c, ERR_NONE, "");
}

void link_take_answer(struct connection *c, const uint8_t *frame, size_t len)
{
    if (!c->head_came) {
        take_head(c, frame, len);
        return;
    }
    if (len > c->in_size - c->in_used) {
        link_end(c, ERR_INVALID, "the peer sent more than it said");
        return;
    }
    memcpy(c->in + c->in_used, frame, len);
    c->in_used += len;
    if (c->in_used == c->in_size)
        link_end(c, ERR_NONE, "");
}

void uv_link_ask(struct uv_link *link, node_id peer, const struct addr *at, const void *request,
                 size_t len,
                 void (*done)(void *context, int code, uint8_t *data, size_t size,
                              const char *reason),
                 void *context)
{
    struct connection *c;

    if (link->closing || len > LINK_REQUEST_MAX) {
        done(context, link->closing ? ERR_UNREACHABLE : ERR_LIMIT, NULL, 0,
             link->closing ? "the agent is ending" : "the request is too long");
        return;
    }
    if (link_connect(link, peer, at, request, len, &c) != ERR_NONE) {
        done(context, ERR_BUSY, NULL, 0, "too many connections to peers are open");
        return;
    }
    c->done = done;
    c->context = context;
}
