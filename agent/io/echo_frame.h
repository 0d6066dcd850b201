/* Echo requests over Ethernet and IPv4 (RFC 792, RFC 791), whole frames: what a node sends that may
 * not use the address yet from which it asks. Pure. */
#ifndef COVEY_IO_ECHO_FRAME_H
#define COVEY_IO_ECHO_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/io/arp_frame.h"

#define ECHO_DATA_LEN 32
#define ECHO_FRAME_LEN (14 + 20 + 8 + ECHO_DATA_LEN) /* Ethernet, IP, ICMP, data */

struct echo_frame {
    struct mac to, from;
    struct ipv4 source, target;
    uint16_t identifier, sequence;
    uint8_t data[ECHO_DATA_LEN];
};

/* Writes a request. It may cross no router: its time to live is 1. */
void echo_encode(const struct echo_frame *f, uint8_t bytes[ECHO_FRAME_LEN]);

/* Reads a reply of @len bytes; padding behind it is ignored. False when it is truncated, is no echo
 * reply, a fragment, has IP options or another amount of data, or a checksum is wrong. */
bool echo_decode(const uint8_t *bytes, size_t len, struct echo_frame *f);

#endif
