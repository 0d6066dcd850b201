/* Raw sockets on one interface, for whole Ethernet frames of one type: what os_arp and os_echo have
 * in common. */
#ifndef COVEY_IO_OS_PACKET_H
#define COVEY_IO_OS_PACKET_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/filter.h>

#include "agent/io/arp_frame.h"
#include "proto/base/err.h"

#define PACKET_MAX 128 /* bytes read of a frame; a filter returns this for what it lets in */

/* Opens a socket that hears frames of @type which @filter (of @len instructions) lets in; the
 * caller closes *fd. @what names it in messages: "ARP". Errors: ERR_DENIED (needs CAP_NET_RAW),
 * ERR_NOTFOUND (no such interface), ERR_IO. */
int os_packet_open(unsigned int index, uint16_t type, const struct sock_filter *filter, size_t len,
                   const char *what, int *fd, struct err *err);

/* Hands one frame to the interface; does not block. Errors: ERR_UNREACHABLE (the interface is down
 * or gone), ERR_BUSY (its queue is full), ERR_IO. */
int os_packet_send(int fd, unsigned int index, uint16_t type, const uint8_t *bytes, size_t len,
                   const char *what, struct err *err);

/* Reads one frame into @bytes; does not block. -1: none waits; 0: there was none to be had this
 * time, and others may wait behind it. */
ssize_t os_packet_receive(int fd, uint8_t bytes[PACKET_MAX]);

#endif
