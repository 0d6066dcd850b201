/* The kernel's rtnetlink messages as our structs. Private to os_netlink and os_watch. Every length
 * is checked: a kernel older or newer than the headers may leave attributes out or make them
 * longer. */
#ifndef COVEY_IO_OS_RTNL_H
#define COVEY_IO_OS_RTNL_H

#include <stdbool.h>
#include <stdint.h>

#include <libmnl/libmnl.h>

#include "agent/io/os_netlink.h"

/* Each returns false when the message is not of its kind or lacks what the struct must hold; the
 * struct is then undefined for all but os_rtnl_parse_link, which leaves it untouched. */
bool os_rtnl_parse_link(const struct nlmsghdr *message, struct os_link *link);
bool os_rtnl_parse_address(const struct nlmsghdr *message, struct os_address *address);
bool os_rtnl_parse_neighbour(const struct nlmsghdr *message, unsigned int *index,
                             struct os_neighbour *neighbour);

/* A default route of the main table that has an IPv4 gateway. */
bool os_rtnl_parse_default_route(const struct nlmsghdr *message, unsigned int *index,
                                 struct ipv4 *gateway, uint32_t *metric);

#endif
