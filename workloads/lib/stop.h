/* SIGTERM and SIGINT as something that a program waits for. */
#ifndef COVEY_WORKLOADS_STOP_H
#define COVEY_WORKLOADS_STOP_H

#include <stdbool.h>
#include <stdint.h>

/* Blocks SIGTERM and SIGINT and ignores SIGPIPE: call it first, before any thread is started. */
void stop_prepare(void);

/* Waits for at most @us microseconds; negative: for ever; 0: only looks. True: asked to stop. */
bool stop_wait(int64_t us);

/* A descriptor that is readable when the program was asked to stop; -1 with errno. */
int stop_fd(void);

#endif
