/* What can be wrong with a machine that shall hold addresses and run workloads, beside the agent.
 * Each check looks at the real thing and says what is wrong, how that shows, and what to do about
 * it. Blocks for some milliseconds; needs no agent, and no root save where it says so. */
#ifndef COVEY_IO_OS_DOCTOR_H
#define COVEY_IO_OS_DOCTOR_H

#include <stddef.h>

#define DOCTOR_TEXT_MAX 256

enum doctor_result {
    DOCTOR_OK,
    DOCTOR_WARNING, /* works, but not as well or as long as it should */
    DOCTOR_BAD,     /* something will not work */
    DOCTOR_SKIPPED, /* there is no such thing here, or no right to look at it: evidence says which
                     */
};

struct doctor_where {
    const char *interface; /* where virtual addresses live */
    const char *state_dir, *run_dir;
    const char *proc, *sys; /* "/proc" and "/sys"; other folders in tests */
};

struct doctor_finding {
    enum doctor_result result;
    char cause[DOCTOR_TEXT_MAX];    /* what is wrong; "" if nothing is */
    char evidence[DOCTOR_TEXT_MAX]; /* what was seen */
    char fix[DOCTOR_TEXT_MAX];      /* what to do; "" if nothing */
};

struct doctor_check {
    const char *name;
    void (*look)(const struct doctor_where *where, struct doctor_finding *finding);
};

/* Ends with a check without a name. */
extern const struct doctor_check doctor_checks[];

const char *doctor_result_name(enum doctor_result result); /* "ok", "warning", "bad", "skipped" */

#endif
