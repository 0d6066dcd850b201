/* An HTTP server in the agent's loop, by libmicrohttpd: the control socket and the status page.
 *
 * A request is handed over when it is complete and within its limits; it is answered at once or
 * later. A stream (server-sent events, HTML standard section 9.2) stays open and gets what
 * uv_http_broadcast says. */
#ifndef COVEY_WEB_UV_HTTP_H
#define COVEY_WEB_UV_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "proto/base/err.h"

#define HTTP_BODY_MAX 65536 /* bytes of a request's body; more is answered by 413 */
#define HTTP_DRAIN_MAX                                                                             \
    (1024 * 1024) /* bytes of a body read to be able to answer; then it is cut                     \
                   */
#define HTTP_CONNECTIONS_MAX 64
#define HTTP_CONNECTIONS_PER_ADDRESS 40 /* one neighbour cannot take all */
#define HTTP_STREAMS_MAX 16             /* open streams; one more is refused with 503 */
#define HTTP_TIMEOUT_S 15               /* a connection that does nothing */
#define HTTP_REQUEST_MS                                                                            \
    30000 /* a request that is not complete by then is cut, drop by drop or not */
#define HTTP_HEARTBEAT_MS 15000 /* a comment to each stream, so that a dead one is noticed */

struct uv_loop_s;
struct uv_http;

struct http_request {
    const char *method; /* the answer to HEAD is that to GET: its body is left out */
    const char *path;   /* decoded, without the query */
    const char *body;   /* @size bytes and a terminating zero */
    size_t size;
    bool local; /* came by the unix socket, from a process of user @uid */
    uid_t uid;
};

struct uv_http_config {
    int fd; /* listening socket; owned by the server from then on */
    bool unix_socket;
    /* Host headers that are served, without a port; any other name is answered by 421. Ignored for
     * a unix socket. "localhost" and every IP address are served too: a name can be rebound to this
     * host by whoever owns it, an address cannot (RFC 9110 section 7.4). */
    const char *const *hosts; /* NULL-terminated, may be NULL, borrowed */
    void (*handle)(void *context, struct http_request *request);
    void *context;
};

/* Errors: ERR_NOMEM, ERR_IO; config->fd is closed then. */
int uv_http_create(struct uv_loop_s *loop, const struct uv_http_config *config,
                   struct uv_http **http, struct err *err);

/* NULL: there is none, or the connection ended. Borrowed until the request is answered. */
const char *http_query(const struct http_request *request, const char *name);
const char *http_header(const struct http_request *request, const char *name);

/* Answers @request, exactly once, in the handler or later; @request must not be used afterwards. It
 * may be answered when the connection, and even the server, ended meanwhile: nothing is sent then.
 * @body (malloc; NULL: empty) is the server's from then on; @type and @headers (names and values in
 * turn, NULL-terminated, may be NULL) are copied. Every answer has nosniff, no-referrer and, unless
 * @headers say otherwise, "Cache-Control: no-store". */
void uv_http_reply(struct http_request *request, unsigned status, const char *type, char *body,
                   size_t size, const char *const *headers);

/* As uv_http_reply with a text that is formatted. */
void uv_http_text(struct http_request *request, unsigned status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Answers @request by a stream, which begins with @first ("event: …\ndata: …\n\n"; copied), or by
 * 503 if there are HTTP_STREAMS_MAX. */
void uv_http_stream(struct http_request *request, const char *first);

/* Says @text to all streams. One that has not read the last yet gets only the newest. */
void uv_http_broadcast(struct uv_http *http, const char *text);
size_t uv_http_streams(const struct uv_http *http);

/* Ends all connections and calls @closed on the loop; allowed in a handler too. Requests without an
 * answer get 503; whoever has them still answers them. NULL is allowed: @closed is called at once.
 */
void uv_http_close(struct uv_http *http, void (*closed)(void *context), void *context);

#endif
