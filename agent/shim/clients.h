/* The shim's socket and those who are connected to it. */
#ifndef COVEY_SHIM_CLIENTS_H
#define COVEY_SHIM_CLIENTS_H

#include "agent/shim/shim.h"

struct shim_clients {
    int listener;
    int fd[SHIM_CLIENTS_MAX];
    size_t count;     /* fd[0] is the longest connected */
    uint32_t sockets; /* the workload's, from SHIM_FD_LISTEN on: who connects gets them */
};

/* Listens on SHIM_SOCKET in the working directory, in the place of a former socket. Errors: ERR_IO.
 */
int shim_clients_listen(struct shim_clients *c, struct err *err);

/* Accepts who waits, if it is of this user or root, and sends it @record. If there is no room, the
 * longest connected must go: a restarted agent must get in. */
void shim_clients_accept(struct shim_clients *c, const struct shim_record *record);

/* Adds a client that is connected already. */
void shim_clients_add(struct shim_clients *c, int fd);

/* Sends @record to all. A client that does not read is disconnected. */
void shim_clients_push(struct shim_clients *c, const struct shim_record *record);

/* Reads a request of client @i. ERR_NONE: *request is set, and *fd to the descriptor that came with
 * it, the caller's, or -1; ERR_BUSY: nothing there; any other: the client is disconnected, with
 * ERR_INVALID and ERR_VERSION because of what it sent. */
int shim_clients_read(struct shim_clients *c, size_t i, struct shim_request *request, int *fd);

#endif
