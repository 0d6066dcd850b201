/* One connection to the broker with one channel, on librabbitmq. Used by one thread.
 *
 * The channel confirms what is published, and publications that no queue takes come back. Every
 * error leaves the connection unusable: close it and open another. Messages say in plain words what
 * the broker objected to. */
#ifndef COVEY_WORKLOADS_AMQP_LINK_H
#define COVEY_WORKLOADS_AMQP_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "workloads/lib/amqp/broker.h"
#include "workloads/lib/amqp/message.h"

struct link;

enum link_event_type {
    LINK_NOTHING,   /* no whole frame has come yet */
    LINK_DELIVERY,  /* `delivery` */
    LINK_CONFIRM,   /* publication `seq`, with `multiple` all up to it */
    LINK_BLOCKED,   /* do not publish: `reason` */
    LINK_UNBLOCKED, /* publish again */
};

struct link_event {
    enum link_event_type type;
    struct delivery delivery;
    uint64_t seq;
    bool multiple;
    struct span reason;
};

/* Connects, logs in, opens the channel. @name is shown by the broker's management. Blocks for at
 * most broker->timeout_s at each step. Errors: ERR_UNREACHABLE; ERR_AUTH refused; ERR_NOMEM. */
int link_open(struct link **out, const struct broker *broker, const char *name, struct err *err);

/* Closes without waiting for an answer. NULL is allowed. */
void link_close(struct link *link);

/* For poll(2), when link_buffered is false. */
int link_fd(const struct link *link);

/* True when link_read has something without reading from the socket. */
bool link_buffered(const struct link *link);

/* The longest that link_read may not be called, so that heartbeats are sent in time. */
int64_t link_idle_ms(const struct link *link);

/* Takes the next event without blocking. What an earlier event points to becomes invalid. */
int link_read(struct link *link, struct link_event *event, struct err *err);

/* Declares a durable fanout exchange. */
int link_exchange(struct link *link, const char *exchange, struct err *err);

/* Declares a durable queue whose refused messages go to the exchange @dead (NULL: nowhere). With
 * @passive it only has to exist. ERR_CONFLICT: it exists with other arguments. */
int link_queue(struct link *link, const char *queue, const char *dead, bool passive,
               struct err *err);

int link_bind(struct link *link, const char *queue, const char *exchange, struct err *err);
int link_delete_queue(struct link *link, const char *queue, struct err *err);

/* How many messages wait in a queue, not counting those that somebody has taken. */
int link_count(struct link *link, const char *queue, uint32_t *count, struct err *err);

/* Starts consuming with manual acknowledgement and @prefetch unacknowledged deliveries at most. */
int link_consume(struct link *link, const char *queue, uint16_t prefetch, struct err *err);

/* Publishes; *seq is the publication's number, counted from 1. Like the acknowledgements below it
 * may leave only with link_flush, which belongs before every wait. */
int link_publish(struct link *link, const struct message *message, uint64_t *seq, struct err *err);

/* Acknowledges the delivery @tag, with @multiple all up to it. */
int link_ack(struct link *link, uint64_t tag, bool multiple, struct err *err);

/* Refuses it, without requeueing or with. */
int link_reject(struct link *link, uint64_t tag, bool requeue, struct err *err);

/* Sends what has gathered. */
int link_flush(struct link *link, struct err *err);

/* Takes one message from a queue; *found tells whether there was one. Use it without a consumer and
 * without publications that wait for their confirmation. It flushes, as link_count does. */
int link_get(struct link *link, const char *queue, bool *found, struct delivery *delivery,
             struct err *err);

#endif
