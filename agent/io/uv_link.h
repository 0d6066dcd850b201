/* The agents' TCP link, encrypted and authenticated (proto/wire/stream.h). For what is too large
 * for datagrams: one request and one answer a connection. For messages where datagrams do not come
 * through: sessions, which are connections that are kept, each opened by the request "session".
 * Nothing of a connection is believed, and no memory is spent on it beyond one frame, before its
 * first frame has authenticated the peer. */
#ifndef COVEY_IO_UV_LINK_H
#define COVEY_IO_UV_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/id.h"
#include "proto/wire/keys.h"

struct uv_loop_s;
struct uv_link;
struct link_request; /* one that came in and waits for its answer */

#define LINK_REQUEST_MAX 4096              /* bytes of a request */
#define LINK_ANSWER_MAX (64 * 1024 * 1024) /* bytes of an answer */
#define LINK_CONNECTIONS_MAX 32            /* at a time, both directions together */
#define LINK_TIMEOUT_MS 20000              /* without progress */
#define LINK_STRANGERS_MAX 16              /* of those, that came and have not authenticated yet */
#define LINK_STRANGER_MS 3000              /* and how long they may take for it */
#define LINK_MESSAGE_MAX 4096              /* bytes of a message */
#define LINK_SESSIONS_MAX 12               /* the one that was not used for longest makes room */
#define LINK_SESSION_IDLE_MS 1800000       /* then an unused one ends */

struct uv_link_config {
    int fd;                               /* listening socket, owned by the link from then on */
    const struct keys_identity *identity; /* borrowed */
    uint32_t epoch;                       /* the highest key epoch that this node has */
    /* The public key of @peer and the secret of @epoch; false: not admitted, or no such epoch. */
    bool (*keys)(void *context, node_id peer, uint32_t epoch, uint8_t public_key[KEYS_PUBLIC],
                 uint8_t secret[KEYS_EPOCH_SECRET]);
    uint32_t timeout_ms; /* 0: LINK_TIMEOUT_MS */
    /* A peer asks. Answer now or later, by uv_link_answer, exactly once. */
    void (*serve)(void *context, node_id peer, const uint8_t *request, size_t len,
                  struct link_request *ticket);
    /* A message came over a session. Borrowed for the call. NULL: sessions are refused. */
    void (*message)(void *context, node_id peer, const uint8_t *body, size_t len);
    void *context;
};

/* Errors: ERR_NOMEM; ERR_IO: *link is set all the same, and to be closed. */
int uv_link_create(struct uv_loop_s *loop, const struct uv_link_config *config,
                   struct uv_link **link, struct err *err);

/* Connections that begin from now on name this one as the highest key epoch. */
void uv_link_set_epoch(struct uv_link *link, uint32_t epoch);

/* @code ERR_NONE: @data (malloc, owned by the link from then on) is the answer; else @reason is
 * sent to the peer, whose uv_link_ask ends with that code. The peer may be gone: then nothing
 * happens. */
void uv_link_answer(struct link_request *ticket, int code, uint8_t *data, size_t size,
                    const char *reason);

/* Asks @peer at @at. @done is called exactly once, also at uv_link_close (at once if there are too
 * many connections, the request is too long, or the link is being closed); @data is its. */
void uv_link_ask(struct uv_link *link, node_id peer, const struct addr *at, const void *request,
                 size_t len,
                 void (*done)(void *context, int code, uint8_t *data, size_t size,
                              const char *reason),
                 void *context);

/* Sends a message over the session with @peer, which is opened to @at if there is none. Calls
 * nobody back: the message is dropped when it is too long, when the session cannot be opened (which
 * is tried every ten seconds at most), or when the peer does not take what was sent before. */
void uv_link_send(struct uv_link *link, node_id peer, const struct addr *at, const void *body,
                  size_t len);

/* Ends all connections with @peer, which was revoked. */
void uv_link_drop(struct uv_link *link, node_id peer);

/* Ends all connections and calls @closed on the loop. NULL is allowed: @closed is called at once.
 */
void uv_link_close(struct uv_link *link, void (*closed)(void *context), void *context);

#endif
