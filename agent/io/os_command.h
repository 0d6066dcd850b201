/* Runs a short helper program to its end, with a bound on its time. It blocks: only for start-up
 * and rare repairs, never from the loop's daily work. */
#ifndef COVEY_IO_OS_COMMAND_H
#define COVEY_IO_OS_COMMAND_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/base/err.h"

/* Runs argv[0] (looked up in PATH) with @input on its standard input, and waits at most
 * @timeout_ms, after which it is killed. Succeeds when it exits with 0; otherwise the error carries
 * what it wrote. Errors: ERR_NOTFOUND (no such program), ERR_IO (it failed or could not be
 * started), ERR_TIMEOUT. */
int os_command_run(const char *const argv[], const char *input, int timeout_ms, struct err *err);

/* The same in two steps, with something else to do between them. */
struct os_command {
    const char *name; /* argv[0], borrowed */
    pid_t pid;
    int in;
    int out;
};

int os_command_begin(const char *const argv[], const char *input, struct os_command *command,
                     struct err *err);
/* After a begin that succeeded, once. */
int os_command_end(struct os_command *command, int timeout_ms, struct err *err);

#endif
