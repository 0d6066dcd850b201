/* Connects, and keeps trying: RABBITMQ_RETRY_ATTEMPTS times at one pace, then ever more slowly, and
 * says so each time. */
#ifndef COVEY_WORKLOADS_AMQP_DIAL_H
#define COVEY_WORKLOADS_AMQP_DIAL_H

#include <stdbool.h>

#include "workloads/lib/amqp/counters.h"
#include "workloads/lib/amqp/link.h"
#include "workloads/lib/log.h"

struct dial {
    const struct broker *broker;
    const char *name; /* of the connection, in the log and with the broker */
    struct log *log;
    int stop_fd; /* readable: give up */
    /* Makes a new connection ready: what it needs declared, consumers. ERR_CONFLICT makes the
     * attempt be repeated at once, DIAL_REPEATS times at most: the next one should ask for less. */
    int (*prepare)(void *context, struct link *link, struct err *err);
    void *context;
    struct link_metrics metrics;
};

#define DIAL_REPEATS 16

/* Connects. NULL: asked to stop. */
struct link *dial_open(struct dial *dial);

/* Closes, tells the log why (@why NULL: because the program stops) and waits before the next
 * attempt.
 */
void dial_lost(struct dial *dial, struct link *link, const struct err *why);

/* Waits until @fd (-1: none) can be read, asked to stop, or @ms (negative: for ever) are over.
 * True: asked to stop. */
bool dial_wait(const struct dial *dial, int fd, int64_t ms);

#endif
