/* The inside of the HTTP server; only uv_http*.c see it. */
#ifndef COVEY_WEB_UV_HTTP_PARTS_H
#define COVEY_WEB_UV_HTTP_PARTS_H

#include <microhttpd.h>
#include <uv.h>

#include "agent/web/uv_http.h"

/* One request and its answer. It lives until both are through with it: the connection (on_ended)
 * and, once the handler was given it, the handler (by its answer). */
struct exchange {
    struct http_request request; /* first: the public part */
    struct uv_http *http;
    struct MHD_Connection *connection; /* NULL: ended */
    char *method;
    char *path;
    char *body;
    size_t drained; /* bytes of a body that is too large */
    bool handled;   /* given to the handler */
    bool answered;
    bool suspended;
    struct MHD_Response *response;
    unsigned status;
    struct stream *stream; /* NULL: a plain answer */
    struct exchange *next;
};

struct stream {
    uv_poll_t
        hangup; /* says when the client goes away: nothing else reads a suspended connection */
    struct exchange *exchange;
    bool gone;
    char *pending; /* being sent: malloc; NULL: nothing */
    size_t pending_size;
    size_t pending_sent;
    char *newest; /* follows what is being sent */
};

struct link { /* a connection */
    struct MHD_Connection *connection;
    uint64_t since; /* loop time: when the request began that is not complete yet; 0: it is */
    struct link *next;
};

struct uv_http {
    struct uv_http_config config;
    uv_loop_t *loop;
    struct MHD_Daemon *daemon;
    uv_poll_t poll;
    uv_timer_t timer;
    uv_timer_t heartbeat;
    struct exchange *exchanges;
    struct link *links;
    size_t stream_count;
    bool running; /* within MHD_run */
    bool wake;    /* something was resumed: run again */
    bool closing;
    int handles;
    void (*closed)(void *context);
    void *closed_context;
};

void http_suspend(struct exchange *exchange);
void http_resume(struct exchange *exchange); /* nothing if it is not suspended */
void http_add_headers(struct MHD_Response *response, const char *const *headers);

/* Says @text to all streams, or only to those that have nothing to say. */
void http_say(struct uv_http *http, const char *text, bool idle_only);
void http_stream_end(struct stream *stream); /* its connection ended: frees it */

#endif
