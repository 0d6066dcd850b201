/* Sessions: connections that are kept, for messages in both directions. Either side opens one when
 * it has something to say; both use whichever there is, the newest first. */
#include <stdlib.h>
#include <string.h>

#include "agent/io/os_udp.h"
#include "agent/io/uv_link_inside.h"

#define QUEUE_MAX 16384     /* bytes that wait for a peer which takes nothing */
#define RETRY_MS 10000      /* after a session that could not be opened */
#define REFUSED_MS 600000   /* the peer is of a release without sessions */
#define UNANSWERED_MS 10000 /* without an acknowledgement of what was sent: it ends */

static const char request[] = "session";

bool link_session_asked(const struct connection *c, const uint8_t *frame, size_t len)
{
    return c->link->config.message != NULL && len == strlen(request) &&
           memcmp(frame, request, len) == 0;
}

/* One that came replaces the one that came before; too many cost the one that was used last. */
static void make_room(const struct connection *newest)
{
    struct connection *oldest = NULL;
    size_t count = 0;

    for (struct connection *c = newest->link->connections; c != NULL; c = c->next) {
        if (!c->session || c->closing || c == newest)
            continue;
        if (!newest->initiator && !c->initiator && node_id_equal(c->peer, newest->peer)) {
            link_end(c, ERR_CONFLICT, "a newer session came");
            continue;
        }
        count++;
        if (oldest == NULL || c->used < oldest->used)
            oldest = c;
    }
    if (count >= LINK_SESSIONS_MAX)
        link_end(oldest, ERR_BUSY, "too many sessions");
}

static void opened(struct connection *c)
{
    uv_os_fd_t fd;

    c->session = c->open = true;
    c->used = uv_now(c->link->loop);
    if (uv_fileno((uv_handle_t *)&c->tcp, &fd) == 0)
        os_tcp_session(fd, UNANSWERED_MS);
    make_room(c);
    link_progress(c);
}

void link_session_accept(struct connection *c)
{
    opened(c);
    if (link_write_head(c, ERR_NONE, 0, NULL, false) != ERR_NONE)
        link_end(c, ERR_IO, "the session could not be opened");
}

static void send_message(struct connection *c, const void *body, size_t len)
{
    c->used = uv_now(c->link->loop);
    if (uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp) > QUEUE_MAX)
        return;
    if (link_write(c, body, len, false) != ERR_NONE)
        link_end(c, ERR_IO, "the message could not be sent");
}

void link_session_accepted(struct connection *c)
{
    opened(c);
    free(c->out);
    c->out = NULL;
    if (c->first != NULL)
        send_message(c, c->first, c->first_size);
    free(c->first);
    c->first = NULL;
}

void link_session_message(struct connection *c, const uint8_t *frame, size_t len)
{
    c->used = uv_now(c->link->loop);
    if (len > LINK_MESSAGE_MAX)
        link_end(c, ERR_LIMIT, "the peer's message is too long");
    else
        c->link->config.message(c->link->config.context, c->peer, frame, len);
}

static struct link_failure *failure_of(struct uv_link *link, node_id peer)
{
    for (size_t i = 0; i < LINK_FAILURES_MAX; i++)
        if (node_id_equal(link->failures[i].peer, peer))
            return &link->failures[i];
    return NULL;
}

void link_session_failed(const struct connection *c, int code)
{
    struct uv_link *link = c->link;
    struct link_failure *failure = failure_of(link, c->peer);

    if (failure == NULL)
        failure = &link->failures[link->failure_next++ % LINK_FAILURES_MAX];
    failure->peer = c->peer;
    failure->until = uv_now(link->loop) + (code == ERR_INVALID ? REFUSED_MS : RETRY_MS);
}

static struct connection *session_of(const struct uv_link *link, node_id peer, bool open)
{
    for (struct connection *c = link->connections; c != NULL; c = c->next)
        if (c->session && c->open == open && !c->closing && node_id_equal(c->peer, peer))
            return c;
    return NULL;
}

/* The newest message is worth most: of those that wait for a session it alone is kept. */
static void keep_first(struct connection *c, const void *body, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);

    if (copy == NULL)
        return;
    memcpy(copy, body, len);
    free(c->first);
    c->first = copy;
    c->first_size = len;
}

void uv_link_send(struct uv_link *link, node_id peer, const struct addr *at, const void *body,
                  size_t len)
{
    const struct link_failure *failure = failure_of(link, peer);
    struct connection *c = session_of(link, peer, true);

    if (link->closing || len > LINK_MESSAGE_MAX)
        return;
    if (c != NULL) {
        send_message(c, body, len);
        return;
    }
    c = session_of(link, peer, false);
    if (c == NULL) {
        if (at->family == 0 || (failure != NULL && uv_now(link->loop) < failure->until) ||
            link_connect(link, peer, at, request, strlen(request), &c) != ERR_NONE)
            return;
        c->session = true;
    }
    keep_first(c, body, len);
}
