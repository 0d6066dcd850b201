/* Publishes batches: a batch is done when the broker has confirmed every message of it, over as
 * many connections as that takes. Messages that were sent and not confirmed are sent again, with
 * the same bytes and ids. Used by one thread. */
#ifndef COVEY_WORKLOADS_AMQP_PUBLISHER_H
#define COVEY_WORKLOADS_AMQP_PUBLISHER_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/base/err.h"
#include "workloads/lib/amqp/dial.h"

#define PUBLISHER_BATCH_MAX 1000 /* messages that wait for confirmation at once */

struct publisher;

/* @dial is borrowed, and must be filled before the first use. ERR_NOMEM. */
int publisher_new(struct publisher **out, struct dial *dial, struct err *err);
void publisher_free(struct publisher *publisher); /* NULL is allowed */

/* Publishes @count messages, at most PUBLISHER_BATCH_MAX. @make fills the message at @index; what
 * it points to must last until the next call. False: asked to stop, and not all are confirmed;
 * those that are not come again if the caller kept them. */
bool publisher_send(struct publisher *publisher, size_t count,
                    void (*make)(void *context, size_t index, struct message *message),
                    void *context);

/* Keeps the connection alive for @ms, making it again if need be. True: asked to stop. */
bool publisher_rest(struct publisher *publisher, int64_t ms);

/* True while there is a connection; from any thread. */
bool publisher_ready(const struct publisher *publisher);

#endif
