/* What a process could not do before it became a program, and how people are told. */
#ifndef COVEY_SHIM_FAILURE_H
#define COVEY_SHIM_FAILURE_H

#include "agent/shim/shim.h"

enum stage {
    STAGE_SETUP,
    STAGE_CGROUP,
    STAGE_LIMITS,
    STAGE_MOUNT,
    STAGE_USER,
    STAGE_FILTER,
    STAGE_FOLDER,
    STAGE_EXECUTE,
    STAGE_READY /* no failure: everything but execve is done */
};

struct failure {
    enum stage stage;
    int errnum;
};

/* Sets @err, for @command of @spec, and returns its code. */
int failure_explain(const struct shim_spec *spec, const char *command,
                    const struct failure *failure, struct err *err);

#endif
