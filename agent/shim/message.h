/* One message between agentd and a shim, with descriptors. */
#ifndef COVEY_SHIM_MESSAGE_H
#define COVEY_SHIM_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "agent/shim/shim.h"

/* Sends all of it without waiting, or nothing, with the @count <= SHIM_LISTEN_MAX descriptors @fds;
 * 0 is allowed. False: errno says why. */
bool shim_message_send(int socket, const char *text, size_t len, const int *fds, size_t count);

/* As recvmsg without waiting; returns the true length of what came, also where it is more than
 * @size. At most @max <= SHIM_LISTEN_MAX descriptors are received into @fds, the caller's to close;
 * *count says how many. */
ssize_t shim_message_receive(int socket, char *text, size_t size, int *fds, size_t max,
                             size_t *count);

#endif
