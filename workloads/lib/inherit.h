/* Listening sockets that were passed to the process (sd_listen_fds(3)): from descriptor 3 on, as
 * many as LISTEN_FDS says, if LISTEN_PID is this process. agentd passes those of a workload with
 * handOver, and behind them one that only this process listens on, for its probes; LISTEN_FDNAMES
 * has "probe" for it. */
#ifndef COVEY_WORKLOADS_INHERIT_H
#define COVEY_WORKLOADS_INHERIT_H

#include <stdbool.h>
#include <stdint.h>

/* The socket for @port, or -1. Each is given once and is the caller's then: non-blocking (another
 * process may accept from it too) and closed by execve. */
int inherit_socket(uint16_t port);

/* The one for probes, likewise. */
int inherit_probe(void);

#endif
