/* An HTTP/1.1 server for small services, on libmicrohttpd.
 *
 * A few event threads read requests, find their route, and call its handler, which must not block:
 * it replies, or defers (request_defer). Every request gets an id (X-Request-Id, the client's own
 * when that is well-formed), one log line when its reply has been sent, and counts in the metrics.
 * What is wrong with a request is told by an RFC 9457 problem document; only bytes that are no HTTP
 * at all are answered by libmicrohttpd itself, with a short text.
 *
 * Limits: connections, bytes of headers (HTTP_HEADER_MAX), of body (per route), of path and query,
 * and time: from the end of one reply (or the opening) to the end of the next request, and from
 * there to the end of its reply, timeout_s each. Who is slower is disconnected, however busy. */
#ifndef COVEY_WORKLOADS_HTTP_H
#define COVEY_WORKLOADS_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "workloads/lib/body.h"
#include "workloads/lib/log.h"
#include "workloads/lib/metrics.h"
#include "workloads/lib/out.h"
#include "workloads/lib/route.h"

#define HTTP_HEADER_MAX 8192       /* bytes of request line and headers */
#define HTTP_BODY_DRAIN (2u << 20) /* a refused body up to this long is read to its end first */
#define HTTP_REPLY_MAX (16u << 20) /* bytes of a reply */
#define HTTP_QUERY_MAX 16          /* parameters in a query */
#define HTTP_ID_MAX 64             /* bytes of a request id */
#define HTTP_QUERY_VALUE_MAX 256   /* bytes of a text in a query, decoded, its end included */

struct http;

struct http_config {
    const char *service; /* the name that /health tells */
    const char *host;    /* an IPv4 or IPv6 address; no names */
    uint16_t port;       /* 0: the kernel chooses, http_port tells */
    unsigned threads;
    unsigned connections;
    unsigned timeout_s;
    const struct route *routes; /* all pointers are borrowed until http_stop */
    size_t route_count;
    void *context; /* handed to the handlers */
    struct log *log;
    struct metrics *metrics; /* what /metrics shows; NULL: nothing */
    bool count_requests;     /* in metrics, as http_requests_total and so on */
    /* NULL: `threads` event threads serve. Else none does: the caller's loop calls http_run, in
     * which everything happens, and http_stop calls this to let the loop turn once, for at most
     * @ms. Only such a server has request_wait. */
    void (*turn)(void *context, unsigned ms);
    /* With `turn`, or NULL: finishes every request that waits, because the server is stopping. */
    void (*cancel)(void *context);
};

/* True for what `host` accepts. */
bool http_host_valid(const char *host);

/* Opens the address and starts answering. Call it with SIGTERM, SIGINT and SIGPIPE blocked or
 * ignored: the threads inherit that. Errors name the address. */
int http_start(const struct http_config *config, struct http **out, struct err *err);

uint16_t http_port(const struct http *http);

/* Stops accepting, lets requests in flight finish for at most @grace_ms, then cuts what is left and
 * frees everything. Returns how many requests were cut. */
unsigned http_stop(struct http *http, unsigned grace_ms);

/* For a server with `turn`: readable when there is something to do; does it; milliseconds until
 * there is something even if nothing becomes readable (-1: never). */
int http_fd(const struct http *http);
void http_run(struct http *http);
int http_wait_ms(const struct http *http);

/* True between http_start and http_stop: what /ready reports. */
bool http_accepting(const struct http *http);

/* --- In a handler ------------------------------------------------------------------------- */

struct http *request_server(const struct request *request);
const char *request_id(const struct request *request);
const char *request_method(const struct request *request);
/* As it was sent, without the query. */
const char *request_path(const struct request *request);
/* Microseconds since the headers were read. */
int64_t request_elapsed_us(const struct request *request);

/* The path's parameter @index, from 0, decoded. */
const char *request_param(const struct request *request, size_t index);

/* NULL when there is no such header. */
const char *request_header(const struct request *request, const char *name);

/* The whole body, not terminated; *len is 0 when there is none. */
const char *request_body(const struct request *request, size_t *len);

/* The generator of this request's connection. Not for secrets. */
struct rng *request_rng(struct request *request);

/* Refuses, by a reply, a query with parameters other than @names (ended by NULL), with duplicates
 * or bad escapes. False: the reply is made, return. */
bool request_query_only(struct request *request, const char *const *names);

/* Reads a parameter of the query, or takes @fallback when there is none. False: replied, return. */
bool request_query_int(struct request *request, const char *name, int64_t fallback, int64_t min,
                       int64_t max, int64_t *value);

/* The text of a parameter of the query, decoded, or "" when there is none. False: replied, return.
 */
bool request_query_text(struct request *request, const char *name, char text[HTTP_QUERY_VALUE_MAX]);

/* Appends the query as it was sent, with its "?", or nothing when there is none. */
void request_query_write(const struct request *request, struct out *o);

/* The value of a parameter as it was sent, or NULL. */
const char *request_query_raw(const struct request *request, const char *name);

/* body_read on the request's body. NULL: replied, return. */
json_t *request_fields(struct request *request, const struct field *fields, size_t count,
                       struct field_value *values);

/* Begins a reply of this type and returns where its body is written. The reply is sent when the
 * handler returns. A body that grows beyond HTTP_REPLY_MAX is replaced by a 500. */
struct out *reply_begin(struct request *request, int status, const char *content_type);
struct out *reply_json(struct request *request, int status);
/* As reply_begin, for a type that does not live as long as the request: it is copied; "": none. */
struct out *reply_begin_copy(struct request *request, int status, const char *content_type);
/* Where the body of a reply that was begun goes on. */
struct out *reply_body(struct request *request);

/* A reply with a body that is constant for the program's life, and one without body. */
void reply_constant(struct request *request, int status, const char *content_type, const char *body,
                    size_t len);
void reply_empty(struct request *request, int status);

/* A problem document. @field may be NULL. */
void reply_problem(struct request *request, int status, const char *field, const char *detail, ...)
    __attribute__((format(printf, 4, 5)));

/* Adds a header to the reply; copies of name and value are kept. At most REPLY_HEADERS_MAX. */
#define REPLY_HEADERS_MAX 12
#define REPLY_HEADER_VALUE_MAX 256
void reply_header(struct request *request, const char *name, const char *value);

/* Instead of a reply: calls @resume in @delay_ms, which replies or defers again. The thread goes on
 * to other requests meanwhile. When the server stops in between, the request gets a 503. */
void request_defer(struct request *request, unsigned delay_ms, route_handler *resume);

/* Instead of a reply: the request waits until somebody in the same thread has made its reply and
 * calls request_finish, be it before the handler returns. The request stays valid until then, also
 * when its client has gone. Only with http_config.turn. */
void request_wait(struct request *request);
void request_finish(struct request *request);
bool request_is_replied(const struct request *request);

/* Ready-made handlers: /health, /ready (503 while stopping) and /metrics (context unused). */
void handle_health(struct request *request, void *context);
void handle_ready(struct request *request, void *context);
void handle_metrics(struct request *request, void *context);

#endif
