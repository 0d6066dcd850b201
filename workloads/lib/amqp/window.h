/* The deliveries that a consumer has taken and not yet acknowledged, in the order in which they
 * came. Pure.
 *
 * Each is worked on when its time has come and all before it were; its result, if it has one, is
 * published and must be confirmed by the broker before the delivery is acknowledged. So whatever
 * dies, a delivery is either with the broker still, or its result is. */
#ifndef COVEY_WORKLOADS_AMQP_WINDOW_H
#define COVEY_WORKLOADS_AMQP_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"

#define WINDOW_MAX 10000 /* deliveries */

struct window;

/* @capacity: what the broker delivers at most without acknowledgement (the prefetch), 1 to
 * WINDOW_MAX. ERR_NOMEM. */
int window_new(struct window **out, size_t capacity, struct err *err);
void window_free(struct window *window); /* NULL is allowed */

/* Forgets all: the connection is gone, the broker will deliver them again. */
void window_reset(struct window *window);

/* Takes the delivery @tag, to be worked on at once. Returns its slot, below the capacity, or the
 * capacity when the window is full (the broker broke its promise). */
size_t window_add(struct window *window, uint64_t tag);

/* The delivery in @slot, not yet worked on, is to be worked on from @due on. */
void window_plan(struct window *window, size_t slot, int64_t due);

/* The slot of the first delivery that is still to be worked on, or the capacity. */
size_t window_next(const struct window *window);

/* When that one is due; INT64_MAX without one. */
int64_t window_due(const struct window *window);

/* That one was worked on: its result was published as the channel's publication @seq
 * (counted from 1), or, with 0, there is nothing to confirm. */
void window_done(struct window *window, uint64_t seq);

/* The broker confirmed publication @seq or, with @multiple, all up to it. False: it confirmed what
 * was not published. */
bool window_confirm(struct window *window, uint64_t seq, bool multiple);

/* How many deliveries may be acknowledged, from the oldest on. */
size_t window_ready(const struct window *window);

/* Takes those out and returns the last one's tag, to be acknowledged with `multiple`; 0 if there
 * are none. */
uint64_t window_take(struct window *window);

/* Deliveries that wait for a confirmation. */
size_t window_unconfirmed(const struct window *window);
bool window_empty(const struct window *window);

#endif
