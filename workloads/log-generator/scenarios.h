/* What log-generator writes about: kinds of events, and mixtures of them. */
#ifndef COVEY_WORKLOADS_LOG_GENERATOR_SCENARIOS_H
#define COVEY_WORKLOADS_LOG_GENERATOR_SCENARIOS_H

#include <stddef.h>

#include "proto/base/rng.h"
#include "workloads/lib/log.h"

/* Values of LOG_SCENARIO; ends with NULL. "mixed" is an ordinary day, "web" mostly requests,
 * "shop" logins and payments, "incident" a database that fails. */
extern const char *const scenario_names[];

/* Writes one line of the scenario at this index. */
void scenario_write(size_t scenario, struct rng *rng, struct log *log);

#endif
