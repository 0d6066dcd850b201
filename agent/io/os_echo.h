/* A raw socket for echo requests on one interface, whose source may be an address that is not set
 * there: it works beside the kernel's own IP and below the fence (os_fence). */
#ifndef COVEY_IO_OS_ECHO_H
#define COVEY_IO_OS_ECHO_H

#include <stddef.h>
#include <stdint.h>

#include "agent/io/echo_frame.h"
#include "proto/base/err.h"

struct os_echo;

/* Binds to the interface with @index. Only echo replies with @identifier wake the socket: a filter
 * in the kernel drops the rest. The caller ends *echo with os_echo_close. Errors: ERR_DENIED (needs
 * CAP_NET_RAW), ERR_NOTFOUND, ERR_NOMEM, ERR_IO. */
int os_echo_open(unsigned int index, uint16_t identifier, struct os_echo **echo, struct err *err);
void os_echo_close(struct os_echo *echo); /* NULL is allowed */

/* Readable when os_echo_receive has something; to be polled, not to be read. */
int os_echo_fd(const struct os_echo *echo);

/* Hands one request to the interface; does not block. Errors: ERR_UNREACHABLE, ERR_BUSY, ERR_IO. */
int os_echo_send(struct os_echo *echo, const struct echo_frame *frame, struct err *err);

/* Reads at most @max frames that wait and returns how many of them are well-formed replies; does
 * not block. Frames for other hosts are among them where the interface hears such. */
size_t os_echo_receive(struct os_echo *echo, struct echo_frame *frames, size_t max);

#endif
