/* ARP over Ethernet for IPv4 (RFC 826): what a frame says, and its bytes. Pure. */
#ifndef COVEY_IO_ARP_FRAME_H
#define COVEY_IO_ARP_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/id.h"

#define ARP_MAC_LEN 6
#define ARP_FRAME_LEN 42 /* Ethernet header and ARP packet, without padding */

struct mac {
    uint8_t byte[ARP_MAC_LEN];
};

struct ipv4 {
    uint8_t byte[4]; /* network order */
};

#define ARP_MAC_TEXT 18 /* "b8:27:eb:00:00:01" and the terminating zero */
#define ARP_BROADCAST ((struct mac){{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}})

enum arp_operation { ARP_REQUEST = 1, ARP_REPLY = 2 };

struct arp_frame {
    struct mac to;   /* Ethernet destination */
    struct mac from; /* Ethernet source */
    enum arp_operation operation;
    struct mac sender_mac;
    struct ipv4 sender_ip;
    struct mac target_mac;
    struct ipv4 target_ip;
};

/* The frames that a holder of addresses sends. @own is the MAC of its interface.
 *
 * probe: asks who has @ip without claiming it (RFC 5227 section 2.1.1).
 * announce_request, announce_reply: broadcast claims of @vip. The reply names ourselves as target
 *   (RFC 5944 section 4.6): Linux ignores one for ff:ff:ff:ff:ff:ff when its entry is fresh.
 * notify_request: unicast to one neighbour, sender @vip; it enters @vip in its cache, fresh entry
 * or none, and answers, which is our acknowledgement. notify_reply: unicast, for a neighbour whose
 * radio answers requests without telling the kernel. ask: an ordinary request for @target from
 * @own_ip; by broadcast when @target_mac is NULL. */
void arp_probe(struct arp_frame *f, struct mac own, struct ipv4 ip);
void arp_announce_request(struct arp_frame *f, struct mac own, struct ipv4 vip);
void arp_announce_reply(struct arp_frame *f, struct mac own, struct ipv4 vip);
void arp_notify_request(struct arp_frame *f, struct mac own, struct ipv4 vip, struct mac to,
                        struct ipv4 to_ip);
void arp_notify_reply(struct arp_frame *f, struct mac own, struct ipv4 vip, struct mac to,
                      struct ipv4 to_ip);
void arp_ask(struct arp_frame *f, struct mac own, struct ipv4 own_ip, struct ipv4 target,
             const struct mac *target_mac);

/* Writes the frame's bytes. */
void arp_encode(const struct arp_frame *f, uint8_t bytes[ARP_FRAME_LEN]);

/* Reads a frame of @len bytes; padding behind it is ignored. False when it is truncated, is not ARP
 * of IPv4 over Ethernet, is neither request nor reply, or names a sender with a group address
 * (RFC 1812 section 3.3.2: not to be believed). */
bool arp_decode(const uint8_t *bytes, size_t len, struct arp_frame *f);

/* What a received frame means to a node with MAC @own that holds or wants @vip. */
enum arp_meaning {
    ARP_NOTHING, /* of no concern */
    ARP_CLAIM,   /* sender_mac, not ours, says that it has @vip */
    ARP_RIVAL,   /* sender_mac, not ours, probes for @vip: wants it, has it not yet */
    ARP_ANSWER   /* sender_ip has answered our notify_request */
};

enum arp_meaning arp_meaning(const struct arp_frame *f, struct mac own, struct ipv4 vip);

bool mac_equal(struct mac a, struct mac b);
bool ipv4_equal(struct ipv4 a, struct ipv4 b);

/* False, and @ip is untouched, when @a is not of family 4. */
bool ipv4_from_addr(const struct addr *a, struct ipv4 *ip);
struct addr ipv4_to_addr(struct ipv4 ip);

void mac_format(struct mac m, char text[ARP_MAC_TEXT]);

#endif
