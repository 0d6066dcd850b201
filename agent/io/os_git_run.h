/* Inside of os_git: one run of git on a repository. */
#ifndef COVEY_IO_OS_GIT_RUN_H
#define COVEY_IO_OS_GIT_RUN_H

#include "agent/io/os_child.h"
#include "agent/io/os_git.h"

#define GIT_ARGS_MAX 28
#define GIT_SMALL_OUTPUT 4096 /* bytes that a command which answers in a line may print */
#define GIT_ZERO_ID "0000000000000000000000000000000000000000"

struct git_call {
    const char *args[GIT_ARGS_MAX]; /* behind "git --git-dir=PATH"; NULL-terminated */
    bool no_repository;             /* leave out --git-dir */
    const void *input;
    size_t input_size;
    size_t output_max; /* 0: GIT_SMALL_OUTPUT */
    int timeout_ms;    /* 0: GIT_TIMEOUT_MS */
};

/* Runs git to its end; its exit code is the caller's to judge. Never ERR_NOTFOUND. */
int git_run(const struct git_repo *repo, const struct git_call *call, struct child_result *result,
            struct err *err);

/* The error of a run whose exit code is not what it should be; ERR_NOSPACE where git says so. */
int git_failed(const struct child_result *result, int code, struct err *err, const char *what);

/* git_run for commands that shall exit with 0 and whose output nobody needs. */
int git_do(const struct git_repo *repo, const struct git_call *call, int code, struct err *err,
           const char *what);

/* ERR_INVALID unless @commit is 40 lower-case hexadecimal digits. */
int git_check_commit(const char *commit, struct err *err);

/* ERR_INVALID unless the branch is a plain name: letters, digits, and ".", "_", "-", "/" inside. */
int git_check_branch(const struct git_repo *repo, struct err *err);

/* Keeps @code unless the reason is that one of the commits (NULL: none) is missing; then
 * ERR_NOTFOUND and a text that says which. */
int git_or_missing(const struct git_repo *repo, const char *a, const char *b, int code,
                   struct err *err);

#endif
