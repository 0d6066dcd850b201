/* The agents' datagram socket: non-blocking, many datagrams a call. */
#ifndef COVEY_IO_OS_UDP_H
#define COVEY_IO_OS_UDP_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/id.h"
#include "proto/wire/msg.h"

#define OS_UDP_BATCH 16 /* datagrams of one os_udp_receive */

struct os_udp_datagram {
    struct addr from;
    size_t len; /* more than MSG_DATAGRAM_MAX: it was longer, and is cut to one byte more */
    uint8_t data[MSG_DATAGRAM_MAX + 1];
};

/* Binds to @listen (family 4 or 6; all zero bytes are every address) and returns the descriptor in
 * *fd, to be closed by the caller. Errors: ERR_EXISTS (the port is taken), ERR_IO. */
int os_udp_open(const struct addr *listen, int *fd, struct err *err);

/* Takes what waits, at most OS_UDP_BATCH; 0 when nothing does. */
size_t os_udp_receive(int fd, struct os_udp_datagram batch[OS_UDP_BATCH]);

/* ERR_BUSY (the queue is full), ERR_UNREACHABLE (no route), ERR_IO. A datagram that is not sent is
 * like one that was lost: the protocols live with it. */
int os_udp_send(int fd, const struct addr *to, const uint8_t *data, size_t len);

/* A listening TCP socket on @listen, non-blocking, and likewise one on a unix path with @mode (an
 * old one at that path is removed). Errors as os_udp_open. */
int os_tcp_listen(const struct addr *listen, int *fd, struct err *err);
int os_unix_listen(const char *path, unsigned mode, int *fd, struct err *err);

/* For a connection that carries short messages: each leaves at once, and what the peer does not
 * acknowledge within @unanswered_ms ends it. */
void os_tcp_session(int fd, unsigned unanswered_ms);

#endif
