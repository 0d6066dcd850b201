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

/* A process that has all of that behind it but execve, and waits. While it does, waitpid(-1) does
 * not see it, nor is there a signal of its end; once it runs, it is a child like any other. */
struct shim_standby {
    pid_t pid;  /* 0: none */
    int report; /* readable when it is ready or has ended */
    int go;
};

/* Forks one for spec->argv. Errors: ERR_IO. */
int shim_standby_fork(const struct shim_spec *spec, int output, int error,
                      struct shim_standby *standby, struct err *err);

/* Its report is readable: whether it is ready, and not at its end. */
bool shim_standby_ready(const struct shim_standby *standby);

/* Its program is running when this returns. On an error, an errno, it is gone. *@standby is none
 * then. */
int shim_standby_run(struct shim_standby *standby);

/* Ends it. Harmless where there is none. */
void shim_standby_end(struct shim_standby *standby);

/* The start time of @pid in clock ticks since boot; 0: there is no such process. */
uint64_t shim_process_ticks(pid_t pid);

/* Sends @signal to every descendant of this process, which must be a child subreaper, except @but;
 * returns how many were there. Processes that are dead already and wait to be reaped do not count.
 */
unsigned shim_processes_signal(int signal, pid_t but);

/* SIGKILL for what an instance has left after its shim was killed: members of the session @record
 * names, and processes that carry the mark of @dir. Returns how many lived still. */
unsigned shim_processes_sweep(const struct shim_record *record, const char *dir);

/* SIGKILL for all in the control group whose folder @group is; -1 is allowed. Returns how many
 * there were. */
unsigned shim_processes_kill_group(int group);

#endif
