/* Starting a workload and finding every process of it. */
#ifndef COVEY_SHIM_PROCESSES_H
#define COVEY_SHIM_PROCESSES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/shim/shim.h"

/* Starts @argv, the program or a hook of @spec, in a session and process group of its own, with
 * /dev/null as its input and @output and @error as its other streams. On success its program is
 * running (execve has succeeded). Errors: ERR_NOTFOUND, ERR_DENIED, ERR_INVALID, ERR_IO; *errnum is
 * the cause. */
int shim_process_start(const struct shim_spec *spec, const char *const *argv, int output, int error,
                       pid_t *pid, int *errnum, struct err *err);

/* The start time of @pid in clock ticks since boot; 0: there is no such process. */
uint64_t shim_process_ticks(pid_t pid);

/* Sends @signal to every descendant of this process, which must be a child subreaper; returns how
 * many were there. Processes that are dead already and wait to be reaped do not count. */
unsigned shim_processes_signal(int signal);

/* SIGKILL for what an instance has left after its shim was killed: members of the session @record
 * names, and processes that carry the mark of @dir. Returns how many lived still. */
unsigned shim_processes_sweep(const struct shim_record *record, const char *dir);

#endif
