/* A thread for what blocks, beside a libuv loop: it runs jobs one after the other and gives them
 * back to the loop. One worker owns the store; another, without a store, runs git. */
#ifndef COVEY_IO_UV_WORKER_H
#define COVEY_IO_UV_WORKER_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/base/err.h"
#include "store/store.h"

#define WORKER_QUEUE_MAX 128 /* jobs submitted and not yet done */

struct uv_loop_s;
struct worker;

/* Embedded in what the job works on. The job belongs to the worker from worker_submit until @done
 * is called; @done may free it or submit it again. */
struct worker_job {
    void (*run)(struct worker_job *job, struct store *store); /* on the worker's thread */
    void (*done)(struct worker_job *job);                     /* on the loop's thread */
    struct worker_job *next;                                  /* the worker's */
};

/* @store (may be NULL) belongs to the worker's thread from now on, which closes it at the end; on
 * failure it stays the caller's (and the loop must run once more before it can be closed). The
 * worker keeps the loop alive until worker_stop has finished. Errors: ERR_NOMEM, ERR_IO (no
 * thread). */
int worker_create(struct uv_loop_s *loop, struct store *store, struct worker **worker,
                  struct err *err);

/* Loop's thread only. Jobs run, and are done, in the order of submission.
 * Errors: ERR_BUSY (WORKER_QUEUE_MAX jobs are under way, or the worker is stopping); the job stays
 * the caller's. */
int worker_submit(struct worker *worker, struct worker_job *job, struct err *err);

/* Jobs submitted and not yet done. Loop's thread only. */
size_t worker_pending(const struct worker *worker);

/* Takes no more jobs, runs those it has, calls their @done, closes the store, then calls
 * @stopped(@arg) on the loop's thread and frees itself. Called once, on the loop's thread. */
void worker_stop(struct worker *worker, void (*stopped)(void *arg), void *arg);

#endif
