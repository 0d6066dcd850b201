/* Random numbers that only have to look random: simulated load, ids in logs. Never for secrets. */
#ifndef COVEY_WORKLOADS_RANDOM_H
#define COVEY_WORKLOADS_RANDOM_H

#include "proto/base/rng.h"

#define UUID_TEXT 37 /* 36 characters and the terminating zero */

/* Seeds @rng from the kernel, or from clock and process id where that fails. */
void random_seed(struct rng *rng);

/* A UUID of version 4 (RFC 9562). */
void random_uuid(struct rng *rng, char text[UUID_TEXT]);

#endif
