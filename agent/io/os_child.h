/* Runs a program to its end: bounded time, bounded output, clean environment, no shell.
 *
 * Blocks, so it is called from a worker thread or from a command-line tool. Safe while other
 * threads run. The process must not reap children it does not know (waitpid(-1), SIGCHLD ignored).
 */
#ifndef COVEY_IO_OS_CHILD_H
#define COVEY_IO_OS_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "proto/base/err.h"

#define CHILD_ERRORS_MAX 4096 /* bytes of stderr that are kept, from its beginning */
#define CHILD_GRACE_MS 2000   /* from SIGTERM to SIGKILL when the time is up */

struct child_spec {
    const char *const *argv; /* NULL-terminated; argv[0] without '/' is looked up in CHILD_PATH */
    const char *const *env;  /* NULL-terminated, the whole environment; NULL: PATH and LC_ALL */
    const char *cwd;         /* NULL: the caller's */
    bool set_ids;            /* become @uid and @gid, no other groups; needs root */
    uid_t uid;
    gid_t gid;
    const void *input; /* @input_size bytes for stdin, which ends behind them */
    size_t input_size;
    size_t output_max; /* bytes of stdout; one more is an error */
    int timeout_ms;    /* wall-clock, > 0 */
};

#define CHILD_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct child_result {
    int status;   /* exit code 0..255, or 128 + the signal that ended it */
    char *output; /* stdout, and a zero behind it; never NULL after success */
    size_t output_size;
    char errors[CHILD_ERRORS_MAX]; /* stderr, zero-terminated */
};

/* Success means that the program ran to its end by itself; its status is the caller's to judge. Its
 * process group, where any of it is left, is killed before the call returns. On success @result is
 * freed by child_result_free. Errors: ERR_NOTFOUND (no such program), ERR_DENIED (not executable,
 * or the user could not be changed), ERR_TIMEOUT, ERR_LIMIT (too much output), ERR_IO, ERR_NOMEM.
 */
int child_run(const struct child_spec *spec, struct child_result *result, struct err *err);

void child_result_free(struct child_result *result);

/* Sets @err to "<what>: exit code 128: <first lines of stderr>" and returns @code. */
int child_failed(const struct child_result *result, int code, struct err *err, const char *what);

#endif
