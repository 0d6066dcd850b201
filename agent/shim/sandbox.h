/* What a workload is kept from: the steps between fork and execve. */
#ifndef COVEY_SHIM_SANDBOX_H
#define COVEY_SHIM_SANDBOX_H

#include "agent/shim/shim.h"

/* A file system view of its own. Errors: -1 and errno; ENOSYS: the kernel is older than 5.12. */
int sandbox_mount(const struct shim_sandbox *sandbox);

/* Gives up capabilities for ever. Before the change of user; keeps what sandbox_keep needs. */
int sandbox_bound(const struct shim_sandbox *sandbox);

/* After the change of user, which has taken them away: the capabilities that it keeps. */
int sandbox_keep(const struct shim_sandbox *sandbox);

#define SANDBOX_FILTER_MAX 32768 /* BPF_MAXINSNS instructions of 8 bytes */

struct sandbox_filter {
    _Alignas(8) unsigned char text[SANDBOX_FILTER_MAX];
    size_t size; /* 0: none */
};

/* Reads the filter of system calls: before its file may be out of sight. */
int sandbox_read_filter(const struct shim_sandbox *sandbox, struct sandbox_filter *filter);

/* Loads it. Needs no_new_privs or CAP_SYS_ADMIN. */
int sandbox_filter(struct sandbox_filter *filter);

#endif
