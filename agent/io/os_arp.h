/* A raw socket for ARP on one interface. It works beside the kernel's own ARP and below the fence
 * (os_fence), so that a node may probe for an address that it must not answer for. */
#ifndef COVEY_IO_OS_ARP_H
#define COVEY_IO_OS_ARP_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/io/arp_frame.h"
#include "proto/base/err.h"

struct os_arp;

/* Binds to the interface with @index. Only well-formed ARP requests and replies for IPv4 over
 * Ethernet wake the socket: a filter in the kernel drops the rest. An interface that goes down
 * keeps its socket; one that is deleted and made anew needs a new one. The caller ends *arp with
 * os_arp_close. Errors: ERR_DENIED (needs CAP_NET_RAW), ERR_NOTFOUND, ERR_NOMEM, ERR_IO. */
int os_arp_open(unsigned int index, struct os_arp **arp, struct err *err);

/* NULL is allowed. */
void os_arp_close(struct os_arp *arp);

/* Readable when os_arp_receive has something; to be polled, not to be read. */
int os_arp_fd(const struct os_arp *arp);

/* Hands one frame to the interface; does not block. Errors: ERR_UNREACHABLE (the interface is down
 * or gone), ERR_BUSY (its queue is full), ERR_IO. */
int os_arp_send(struct os_arp *arp, const struct arp_frame *frame, struct err *err);

/* Reads at most @max frames that wait and returns how many of them can be believed; does not block.
 * What is left makes os_arp_fd readable again. */
size_t os_arp_receive(struct os_arp *arp, struct arp_frame *frames, size_t max);

#endif
