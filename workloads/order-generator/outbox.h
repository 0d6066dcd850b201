/* The orders that were made and may not have reached the broker, kept in a file so that they
 * survive the program: what was begun is published again, to the last byte, and none is half there.
 */
#ifndef COVEY_WORKLOADS_ORDER_GENERATOR_OUTBOX_H
#define COVEY_WORKLOADS_ORDER_GENERATOR_OUTBOX_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "workloads/lib/amqp/publisher.h"
#include "workloads/lib/out.h"
#include "workloads/orders/order.h"

#define OUTBOX_MAX PUBLISHER_BATCH_MAX
#define OUTBOX_FILE_MAX (64u << 20) /* bytes */

struct outbox {
    const char *path;   /* NULL: nothing is kept */
    uint64_t generated; /* orders ever made, those here included */
    struct rng rng;     /* as it was after them */
    size_t count;
    struct out text; /* the bodies, one behind the other */
    struct {
        char id[ORDER_ID_TEXT];
        size_t from;
        size_t len;
        int64_t total_cents;
    } orders[OUTBOX_MAX];
};

void outbox_init(struct outbox *outbox, const char *path);
void outbox_free(struct outbox *outbox);

/* Reads what the file holds; no file is fine. ERR_CORRUPT: it is not one of ours; ERR_IO. */
int outbox_load(struct outbox *outbox, struct err *err);

/* Empties it. */
void outbox_clear(struct outbox *outbox);

/* Adds an order. ERR_FULL, ERR_NOMEM. */
int outbox_add(struct outbox *outbox, const struct order *order, struct err *err);

/* Makes it durable, as a whole or not at all. ERR_IO, ERR_NOSPACE. */
int outbox_save(struct outbox *outbox, struct err *err);

struct span outbox_body(const struct outbox *outbox, size_t index);

#endif
