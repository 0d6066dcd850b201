/* The agent's side of agent-shim: start a workload, find those that run, talk to their shims.
 *
 * Nothing here blocks for longer than it takes to start a program. A handle has a descriptor: when
 * it is readable, os_shim_read yields events until OS_SHIM_NONE. What the words mean, and which
 * files there are, stands in agent/shim/shim.h. */
#ifndef COVEY_IO_OS_SHIM_H
#define COVEY_IO_OS_SHIM_H

#include <stdint.h>

#include "agent/shim/shim.h"
#include "proto/base/err.h"
#include "proto/base/id.h"

#define OS_SHIM_FOLDER "shim" /* below run_dir */

/* Where shims live. Strings are borrowed. */
struct os_shims {
    const char *program; /* path of agent-shim */
    const char *run_dir; /* <run_dir>/shim/ holds the instances' folders; must survive the agent's
                            restart (RuntimeDirectoryPreserve=yes), need not survive a boot */
    const char *log_dir; /* <log_dir>/<name>/ holds an instance's log; NULL: no logs */
};

struct os_shim; /* a connection to one shim */

enum os_shim_event_type {
    OS_SHIM_NONE,   /* nothing more to read now */
    OS_SHIM_STATUS, /* record: starting, running (its first one: the workload has started), or
                       stopping; also the answer to each request */
    OS_SHIM_FAILED, /* record: could not be started; code and text say why. ERR_EXISTS: it runs
                       already: connect to it. */
    OS_SHIM_EXITED, /* record: the workload and all of its processes are gone; another start may
                       follow at once. With record.standby the shim waits for a word whether it
                       shall go on: os_shim_next, or os_shim_acknowledge */
    OS_SHIM_LOST    /* the shim was killed; record: the last that was known. os_shim_sweep, or a
                       new start, kills what is left of the workload. */
};

struct os_shim_event {
    enum os_shim_event_type type;
    struct shim_record record;
};

/* Makes the folders where they are missing. Errors: ERR_IO, ERR_NOSPACE. */
int os_shim_prepare(const struct os_shims *where, struct err *err);

/* Starts @spec under a shim of its own. spec->dir and spec->log_dir are filled in from @where
 * (whatever they held) and the folders are made; for a user of its own the log belongs to the agent
 * all the same. Success says only that the shim was asked: an event tells what came of it. *shim is
 * the caller's, to be closed. Errors: ERR_INVALID, ERR_LIMIT, ERR_NOTFOUND (no such program),
 * ERR_IO. */
int os_shim_start(const struct os_shims *where, const struct shim_spec *spec, struct os_shim **shim,
                  struct err *err);

/* Connects to the living shim of @instance; its present record comes as the first event. Errors:
 * ERR_NOTFOUND: none lives; ERR_IO. */
int os_shim_connect(const struct os_shims *where, const char *instance, struct os_shim **shim,
                    struct err *err);

/* Non-blocking; wait for it to be readable. Belongs to the handle. */
int os_shim_fd(const struct os_shim *shim);

/* The next event. After FAILED, EXITED and LOST the handle is of no more use but to be closed. */
void os_shim_read(struct os_shim *shim, struct os_shim_event *event);

/* The listening sockets that the shim has sent with its first record, now the caller's; returns how
 * many. */
uint32_t os_shim_take_sockets(struct os_shim *shim, int sockets[SHIM_LISTEN_MAX]);

/* Has the shim keep a process of @spec ready for the next run, in the place of an earlier one; a
 * record with its ticket in standby tells that it is. @spec as for os_shim_start; no hook before
 * its start, and no sockets. Errors: ERR_INVALID, ERR_LIMIT, ERR_IO, ERR_NOMEM, ERR_UNREACHABLE. */
int os_shim_keep_ready(const struct os_shims *where, struct os_shim *shim,
                       const struct shim_spec *spec, struct err *err);

/* After OS_SHIM_EXITED with record.standby: runs that process, if it is one of @spec, with the
 * spec's deadline. What comes of it are events, as after os_shim_start. Errors: ERR_CONFLICT: it
 * was prepared for something else; those of os_shim_keep_ready. */
int os_shim_next(const struct os_shims *where, struct os_shim *shim, const struct shim_spec *spec,
                 struct err *err);

/* Asks for the present record; it comes as an event. Errors of this and the next two:
 * ERR_UNREACHABLE: the shim is gone or does not read; an event will tell which. */
int os_shim_ask(struct os_shim *shim, struct err *err);

/* Asks to stop by @signal (0: the specification's), and to kill what is left after @timeout_ms (0:
 * at once; < 0: the specification's). */
int os_shim_stop(struct os_shim *shim, int signal, int64_t timeout_ms, struct err *err);

/* Moves the deadline (CLOCK_BOOTTIME) of a workload that was started with one. A deadline only
 * moves away, and not after it has passed: the record that answers holds the one that counts. */
int os_shim_extend(struct os_shim *shim, int64_t deadline_ms, struct err *err);

/* Closes the connection; the shim and its workload live on. NULL is allowed. */
void os_shim_close(struct os_shim *shim);

/* The agent has recorded how @instance ended (or gives a lost one up): removes its files unless a
 * shim lives. @shim may be NULL; else it is told. Harmless when done twice. */
void os_shim_acknowledge(const struct os_shims *where, const char *instance, struct os_shim *shim);

/* SIGKILL for everything that a killed shim left of @instance, and for all in @cgroups: folders,
 * NULL at the end, or NULL. Returns how many processes were there still: call again, a little
 * later, until it returns 0. 0 too while a shim lives. */
unsigned os_shim_sweep(const struct os_shims *where, const char *instance,
                       const char *const *cgroups);

enum os_shim_found {
    OS_SHIM_FOUND_ALIVE, /* connect to it */
    OS_SHIM_FOUND_ENDED, /* record: how; acknowledge it */
    OS_SHIM_FOUND_LOST   /* its shim was killed; record: the last that was known. Sweep it. */
};

typedef void os_shim_visit(void *context, enum os_shim_found found,
                           const struct shim_record *record);

/* Calls @visit for each instance in run_dir: for the start of an agent. Files that cannot be read
 * are skipped and counted in *damaged. Errors: ERR_IO. */
int os_shim_scan(const struct os_shims *where, os_shim_visit *visit, void *context,
                 unsigned *damaged, struct err *err);

#endif
