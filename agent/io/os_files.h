/* Files that agentd writes for a workload instance: <run_dir>/files/<instance>/, on a tmpfs,
 * because they may hold secrets. */
#ifndef COVEY_IO_OS_FILES_H
#define COVEY_IO_OS_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "agent/desired/desired.h"
#include "proto/base/err.h"

struct os_files_owner {
    bool set; /* give them to uid and gid; else they are the agent's */
    uid_t uid;
    gid_t gid;
};

/* The folder of @instance, for CONFIG_DIR. */
int os_files_dir(const char *run_dir, const char *instance, char *path, size_t size,
                 struct err *err);

struct os_files_found {
    bool differs; /* something was not as it should be, a strange file left out */
    bool signal;  /* one with DESIRED_CHANGE_SIGNAL was written */
};

/* Writes those of @files that differ from what lies there, each by a rename, so that a reader finds
 * the old or the new one as a whole. @all: files that are not in the list are removed; without it
 * those with DESIRED_CHANGE_RESTART are left alone. @leave: nothing is written, only compared.
 * @found may be NULL.
 * Errors: ERR_NOSPACE, ERR_IO, ERR_LIMIT (a path that is too long). */
int os_files_write(const char *run_dir, const char *instance, const struct desired_content *files,
                   size_t count, bool all, bool leave, const struct os_files_owner *owner,
                   struct os_files_found *found, struct err *err);

/* Errors: ERR_DENIED @run_dir is on no tmpfs, so that a file with a secret would be written to a
 * disk; ERR_IO. */
int os_files_in_memory(const char *run_dir, struct err *err);

/* Sends @signal to the process @pid if it is a child of @parent: a stranger who has the number of a
 * process that has just ended does not get it. Best effort. */
void os_child_signal(pid_t pid, pid_t parent, int signal);

/* Removes all files of @instance; best effort. */
void os_files_remove(const char *run_dir, const char *instance);

#endif
