/* Finding a TCP port for a workload. */
#ifndef COVEY_IO_OS_PORT_H
#define COVEY_IO_OS_PORT_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/id.h"

#define OS_PORT_FIRST 20000 /* the range for those whose declared port is taken */
#define OS_PORT_LAST 29999

/* Picks a port that can be listened on at @address (its port is ignored; family 0: every IPv4
 * address) and is not in @exclude, the ports given away to workloads that do not listen yet:
 * @declared if that is free (0: none is declared), else the first free one of the range, beginning
 * at a place that follows from @instance, so that an instance tends to keep its port. Errors:
 * ERR_FULL: none is free. */
int os_port_pick(uint16_t declared, const struct addr *address, const char *instance,
                 const uint16_t *exclude, size_t exclude_count, uint16_t *port, struct err *err);

/* A socket that listens at @address, port @port (0: the kernel chooses). *fd is the caller's and is
 * closed by execve. Errors: ERR_EXISTS somebody else listens there, ERR_IO. */
int os_port_listen(const struct addr *address, uint16_t port, int *fd, uint16_t *bound,
                   struct err *err);

#endif
