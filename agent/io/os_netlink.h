/* Interfaces, addresses, neighbours and the default gateway, by rtnetlink. Requests return when the
 * kernel has carried them out (microseconds). */
#ifndef COVEY_IO_OS_NETLINK_H
#define COVEY_IO_OS_NETLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/io/arp_frame.h"
#include "proto/base/err.h"
#include "proto/base/id.h"

#define OS_LINK_NAME 16         /* bytes of an interface's name, terminating zero included */
#define OS_ADDRESS_PROTOCOL 197 /* IFA_PROTO of addresses that we set (Linux 5.18 and later) */

struct os_netlink;

/* The caller ends *netlink with os_netlink_close. Errors: ERR_IO, ERR_NOMEM. */
int os_netlink_open(struct os_netlink **netlink, struct err *err);

/* NULL is allowed. */
void os_netlink_close(struct os_netlink *netlink);

struct os_link {
    unsigned int index;
    char name[OS_LINK_NAME];
    struct mac mac;
    bool up;          /* IFF_UP: somebody wants it up */
    bool carrier;     /* IFF_LOWER_UP: cable plugged, access point associated */
    bool promiscuous; /* IFF_PROMISC as an operator sets it, not as sockets ask for it */
};

/* Errors: ERR_NOTFOUND (no such interface), ERR_INVALID (not an Ethernet-like one), ERR_IO. */
int os_link_get(struct os_netlink *netlink, const char *name, struct os_link *link,
                struct err *err);

/* Sets or clears the interface's promiscuous flag, which outlives the agent: on brcmfmac it turns
 * the firmware's own ARP answers off. Errors: ERR_NOTFOUND, ERR_DENIED, ERR_IO. */
int os_link_set_promiscuous(struct os_netlink *netlink, unsigned int index, bool on,
                            struct err *err);

/* Sets @ip as /32 without a route, to be removed by the kernel @lifetime_s seconds from now (at
 * most one second later), or sets the end of one that is there anew. 1 <= @lifetime_s <= 60: the
 * second fence, behind os_fence. Errors: ERR_INVALID, ERR_NOTFOUND (no such interface), ERR_DENIED,
 * ERR_IO. */
int os_address_set(struct os_netlink *netlink, unsigned int index, const struct addr *ip,
                   uint32_t lifetime_s, struct err *err);

/* Removes @ip; no error if it is not there. Errors: ERR_INVALID, ERR_DENIED, ERR_IO. */
int os_address_delete(struct os_netlink *netlink, unsigned int index, const struct addr *ip,
                      struct err *err);

struct os_address {
    struct addr ip;
    unsigned int index; /* of its interface */
    uint8_t prefix;
    bool ours;           /* carries OS_ADDRESS_PROTOCOL */
    uint32_t lifetime_s; /* UINT32_MAX is for ever */
};

/* Lists the IPv4 addresses of interface @index (0: of all), at most @max. What is `ours` at start
 * is left over from an earlier life. Errors: ERR_LIMIT (more than @max), ERR_IO. */
int os_address_list(struct os_netlink *netlink, unsigned int index, struct os_address *addresses,
                    size_t max, size_t *count, struct err *err);

struct os_neighbour {
    struct ipv4 ip;
    struct mac mac;
};

/* Lists the neighbours on interface @index whose MAC the kernel knows and does not doubt to the
 * point of failure: who has talked with this host. More than @max are left out: an announcement to
 * some is better than to none. Errors: ERR_IO. */
int os_neighbour_list(struct os_netlink *netlink, unsigned int index,
                      struct os_neighbour *neighbours, size_t max, size_t *count, struct err *err);

/* Tells the kernel a neighbour's MAC, unless it knows one: a host that it has never heard need not
 * be asked for by broadcast. The kernel checks it by unicast when it is used. Errors: ERR_DENIED,
 * ERR_NOTFOUND, ERR_IO. */
int os_neighbour_suggest(struct os_netlink *netlink, unsigned int index,
                         const struct os_neighbour *neighbour, struct err *err);

/* The gateway of the default route by interface @index; of several the one with the lowest metric.
 * Errors: ERR_NOTFOUND (there is none), ERR_IO. */
int os_gateway_get(struct os_netlink *netlink, unsigned int index, struct ipv4 *gateway,
                   struct err *err);

#endif
