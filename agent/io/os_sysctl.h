/* The IPv4 settings of one interface, /proc/sys/net/ipv4/conf/INTERFACE/NAME. Those that a holder
 * of addresses cares for: arp_ignore=1 (with two interfaces in one network, only the right one
 * answers), rp_filter=2 or 0 (answers may leave by the other), arp_announce=0. */
#ifndef COVEY_IO_OS_SYSCTL_H
#define COVEY_IO_OS_SYSCTL_H

#include "proto/base/err.h"

/* The kernel uses the greater of what `all` and the interface say for arp_ignore and rp_filter; ask
 * for both. Errors: ERR_INVALID (a name with a slash or a leading dot, or not a number),
 * ERR_NOTFOUND, ERR_IO. */
int os_sysctl_get(const char *interface, const char *name, int *value, struct err *err);

/* Errors: as above, and ERR_DENIED. */
int os_sysctl_set(const char *interface, const char *name, int value, struct err *err);

#endif
