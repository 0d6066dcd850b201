/* A new agentd on trial: the running program becomes another one (execve, same process), which must
 * come up healthy within a time; if it does not, crashes, or ends, the process becomes the former
 * program again, of which it holds a descriptor. Only SIGKILL is beyond that: then whoever starts
 * agentd starts the new one again. */
#ifndef COVEY_IO_OS_TRIAL_H
#define COVEY_IO_OS_TRIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"

#define OS_TRIAL_S 30 /* a program on trial that has not passed by then has failed */
#define OS_TRIAL_TEXT 192
#define OS_TRIAL_LEFT_MAX 4

struct os_trial {
    enum {
        OS_TRIAL_NONE,
        OS_TRIAL_RUNNING,    /* this program is on trial */
        OS_TRIAL_ROLLED_BACK /* the other one failed: reason */
    } state;
    char from[32];    /* version of the program before, or of the one that failed */
    int64_t began_us; /* CLOCK_BOOTTIME at which the former program ended its work */
    char reason[OS_TRIAL_TEXT];
    int left[OS_TRIAL_LEFT_MAX]; /* RUNNING: descriptors of the former program, to be closed */
    size_t left_count;
};

/* First thing in main: what this process was before, if anything. From then on a failure leads back
 * to that. @argv is borrowed for the life of the process. */
void os_trial_begin(char **argv, struct os_trial *trial);

/* Becomes @program, on trial, with the arguments of this one. Returns only when that failed:
 * nothing has changed then. @version is this program's. The descriptors @left, at most
 * OS_TRIAL_LEFT_MAX, stay open for the new program to close when it has time: with a raw socket
 * execve would wait for 8 to 20 ms, a grace period of the kernel's. */
int os_trial_start(const char *program, char **argv, const char *version, const int *left,
                   size_t left_count, struct err *err);

/* It is healthy: there is no way back any more. */
void os_trial_pass(void);

/* Back to the former program; returns if this one is not on trial. */
void os_trial_fail(const char *reason);

#endif
