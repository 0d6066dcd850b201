/* The inside of the TCP link, for its own files: uv_link.c has the connections, uv_link_request.c a
 * question and its answer, uv_link_session.c the sessions that are kept. */
#ifndef COVEY_IO_UV_LINK_INSIDE_H
#define COVEY_IO_UV_LINK_INSIDE_H

#include <uv.h>

#include "agent/io/uv_link.h"
#include "proto/wire/stream.h"

#define LINK_REASON_MAX 512
#define LINK_ANSWER_HEAD 12 /* code, size of what follows, size of the reason; big endian */
#define LINK_FAILURES_MAX 16

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
    char reason[LINK_REASON_MAX];
    uint8_t *in;
    size_t in_size;
    size_t in_used;

    void (*done)(void *context, int code, uint8_t *data, size_t size, const char *reason);
    void *context;
    struct link_request *ticket; /* a request that is being served */

    bool session;   /* it is kept, and carries messages both ways */
    bool open;      /* a session: both sides know it for one */
    uint64_t used;  /* a session: when a message went or came, of the loop's clock */
    uint8_t *first; /* a session that is not open yet: the message that goes then */
    size_t first_size;
};

struct link_request {
    struct connection *connection; /* NULL: the peer has gone */
};

/* A session that could not be opened: not tried again before. */
struct link_failure {
    node_id peer;
    uint64_t until;
};

struct uv_link {
    uv_loop_t *loop;
    struct uv_link_config config;
    uv_tcp_t listener;
    struct connection *connections;
    size_t count;
    struct link_failure failures[LINK_FAILURES_MAX];
    size_t failure_next;
    bool closing;
    bool listener_closed;
    void (*closed)(void *context);
    void *closed_context;
};

/* uv_link.c. Ends @c; an initiator that was not answered yet is told @code and @reason. */
void link_end(struct connection *c, int code, const char *reason);
int link_write(struct connection *c, const uint8_t *data, size_t len, bool last);
/* A connection to @peer that asks for @request, a copy of which is made. @c is set also when it
 * fails, which is then reported from the loop. Errors: ERR_BUSY too many connections. */
int link_connect(struct uv_link *link, node_id peer, const struct addr *at, const void *request,
                 size_t len, struct connection **c);
void link_progress(struct connection *c); /* the time for the next step begins anew */

/* uv_link_request.c */
void link_take_request(struct connection *c, const uint8_t *frame, size_t len);
void link_take_answer(struct connection *c, const uint8_t *frame, size_t len);
void link_send_answer(struct connection *c); /* its next part */
int link_write_head(struct connection *c, int code, size_t size, const char *reason, bool last);

/* uv_link_session.c */
bool link_session_asked(const struct connection *c, const uint8_t *frame, size_t len);
void link_session_accept(struct connection *c);
void link_session_accepted(struct connection *c);
void link_session_message(struct connection *c, const uint8_t *frame, size_t len);
void link_session_failed(const struct connection *c, int code); /* before it was open */

#endif
