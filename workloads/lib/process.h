/* The metrics of the process itself, by the names that Prometheus' client libraries use. */
#ifndef COVEY_WORKLOADS_PROCESS_H
#define COVEY_WORKLOADS_PROCESS_H

#include "proto/base/err.h"
#include "workloads/lib/metrics.h"

/* Declares process_cpu_seconds_total, process_resident_memory_bytes, process_virtual_memory_bytes,
 * process_open_fds and process_start_time_seconds; they are read when the registry is rendered. */
int process_metrics(struct metrics *metrics, struct err *err);

#endif
