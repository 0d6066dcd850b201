/* Has the gateway answered, and which of our requests? ARP replies echo no number, and a lease may
 * only be measured from the time its request was *sent*. So an answer is credited to the oldest
 * request that it can belong to: too old is safe, too new is not. Pure. */
#ifndef COVEY_EDGE_REACH_H
#define COVEY_EDGE_REACH_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/base/mono.h"

#define REACH_OUTSTANDING_MAX 16 /* unanswered requests that are remembered */

struct reach {
    int64_t window_ms;
    size_t count;
    mono_t sent[REACH_OUTSTANDING_MAX]; /* unanswered, oldest first */
};

/* No answer is believed to take longer than @window_ms: an unanswered request of that age counts as
 * lost. Requests are sent at most REACH_OUTSTANDING_MAX times per window. */
void reach_init(struct reach *r, int64_t window_ms);

/* A request goes out now. */
void reach_sent(struct reach *r, mono_t now);

/* An answer has come in. True, and *sent is the time of the request that it is credited to; false
 * when nothing was asked. */
bool reach_answered(struct reach *r, mono_t now, mono_t *sent);

#endif
