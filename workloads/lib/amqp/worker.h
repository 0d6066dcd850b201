/* A thread that consumes one queue: each delivery becomes a job, whose result is published,
 * confirmed by the broker, and only then acknowledged. What cannot be worked on goes to the
 * dead-letter exchange with the reason in a header. The connection is made again whenever it is
 * lost; deliveries that were not acknowledged then come again. */
#ifndef COVEY_WORKLOADS_AMQP_WORKER_H
#define COVEY_WORKLOADS_AMQP_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "workloads/lib/amqp/dial.h"
#include "workloads/lib/amqp/window.h"
#include "workloads/lib/out.h"
#include "workloads/lib/trace.h"

#define JOB_BODY_MAX (1u << 20) /* bytes of a result */

enum job_end {
    JOB_DONE,
    JOB_LATER,  /* try again: the reason is in the error */
    JOB_REFUSE, /* to the dead letters: so is the reason */
};

/* One delivery that is worked on. */
struct job {
    struct out body;    /* what to publish; empty: nothing */
    struct span id;     /* its message_id, which must live in the note */
    struct trace trace; /* of the delivery, if `traced`; else begin makes one */
    bool traced;
    bool redelivered;
    int64_t delay_us;   /* set by begin: how long to work on it */
    int64_t started_us; /* monotonic, when it was delivered */
    void *note;         /* worker_config.note_size bytes of the service's own */

    /* The worker's. */
    bool refused;
    unsigned failures;
    char *reason;     /* NULL where nothing was wrong */
    char *tracestate; /* NULL without one */
    struct out original_id;
    struct out original; /* the delivered body, where it may still be refused */
};

struct worker_config {
    struct dial dial; /* without prepare */
    int (*topology)(void *context, struct link *link, struct err *err);
    void *topology_context;
    const char *service; /* named in dead letters */
    const char *queue;
    const char *exchange;      /* for results; NULL: there are none */
    const char *dead_exchange; /* for what is refused */
    uint16_t prefetch;
    unsigned stop_ms; /* how long a stop waits for confirmations */
    size_t note_size;
    bool may_refuse_late; /* finish may return JOB_REFUSE: the body is kept for it */
    /* Reads the delivery into the job's note and says how long it takes. An error refuses it. */
    int (*begin)(void *context, const struct delivery *in, struct job *job, struct err *err);
    /* When that time has passed and all earlier jobs are finished: makes the body and the effects.
     */
    enum job_end (*finish)(void *context, struct job *job, struct err *err);
    /* Makes the effects of finished jobs last: called before their deliveries are acknowledged.
     * NULL: there is nothing to do. */
    void (*settle)(void *context);
    void *context;
};

struct worker;

/* Starts the thread; call it with signals blocked. The config is copied, what it points to
 * borrowed. ERR_NOMEM, ERR_IO. */
int worker_start(const struct worker_config *config, struct worker **out, struct err *err);

/* True while it consumes. */
bool worker_ready(const struct worker *worker);

/* Waits for the thread's end after dial.stop_fd was made readable. False: it did not end in @ms. */
bool worker_join(struct worker *worker, unsigned ms);

/* Frees a worker that was joined. NULL is allowed. */
void worker_free(struct worker *worker);

#endif
