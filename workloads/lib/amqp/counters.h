/* What the AMQP layer counts.
 *
 *     amqp_connected{connection}                1 while there is a connection
 *     amqp_blocked{connection}                  1 while the broker takes no publications
 *     amqp_connects_total{connection}
 *     messages_published_total{connection}      confirmed by the broker
 *     messages_delivered_total{connection}
 *     messages_redelivered_total{connection}    of those, delivered before
 *     messages_acked_total{connection}
 *     messages_dead_lettered_total{connection}
 */
#ifndef COVEY_WORKLOADS_AMQP_COUNTERS_H
#define COVEY_WORKLOADS_AMQP_COUNTERS_H

#include "proto/base/err.h"
#include "workloads/lib/metrics.h"

/* The series of one connection. */
struct link_metrics {
    struct metric *connected;
    struct metric *blocked;
    struct metric *connects;
    struct metric *published;
    struct metric *delivered;
    struct metric *redelivered;
    struct metric *acked;
    struct metric *dead;
};

#define COUNTERS 8

/* The families, declared once for a program. */
struct counters {
    struct metric_family *families[COUNTERS];
};

int counters_declare(struct counters *counters, struct metrics *metrics, struct err *err);

/* The series of the connection @name. */
void counters_of(const struct counters *counters, const char *name, struct link_metrics *series);

#endif
