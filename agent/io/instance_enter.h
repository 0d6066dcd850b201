/* A program beside a running instance: with its control groups, file systems, user, working
 * directory and environment.
 *
 * The environment is what the instance says it is, and programs of root's start with it: variables
 * by which a library would run other code, or read other files, are left out, as the C library does
 * for programs that change their user. */
#ifndef COVEY_IO_INSTANCE_ENTER_H
#define COVEY_IO_INSTANCE_ENTER_H

#include <sys/types.h>

#include "agent/desired/desired.h"
#include "agent/shim/shim.h"
#include "proto/base/err.h"

#define ENTER_PROGRAM "/usr/bin/nsenter" /* util-linux, which every Debian has */
#define ENTER_OWN_ARGS (20 + SHIM_CGROUPS_MAX)

struct instance_enter {
    const char *argv[DESIRED_ARGS_MAX + ENTER_OWN_ARGS + 1];
    const char **env; /* NULL-terminated */
    char *text;       /* what env borrows */
    char numbers[4][16];
};

/* Prepares @command to run beside process @pid of user @uid, @gid, in @cgroups (folders, borrowed,
 * NULL-terminated; one that cannot be entered is left out). Freed by instance_enter_free, also
 * after an error. Errors: ERR_NOTFOUND: that process is gone; ERR_NOMEM. */
int instance_enter(pid_t pid, uid_t uid, gid_t gid, const char *const *cgroups,
                   const char *const *command, struct instance_enter *enter, struct err *err);
void instance_enter_free(struct instance_enter *enter);

#endif
