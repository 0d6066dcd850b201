/* A child under way, shared by os_child*.c alone. */
#ifndef COVEY_IO_OS_CHILD_INSIDE_H
#define COVEY_IO_OS_CHILD_INSIDE_H

#include "agent/io/os_child.h"

/* Descriptors are -1 once they are closed. */
struct child {
    const struct child_spec *spec;
    pid_t pid;
    int pidfd;  /* readable when the child has ended */
    int in;     /* we write its stdin */
    int out;    /* we read its stdout */
    int errors; /* we read its stderr */
    size_t written;
    char *output;
    size_t size, capacity;
    size_t errors_size;
    struct child_result *result;
};

/* Starts the program of child->spec: pid and descriptors are set. Errors: as child_run. */
int child_start(struct child *child, struct err *err);
void child_reap(struct child *child, int *status);
void child_close_fd(int *fd);

#endif
