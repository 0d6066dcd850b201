/* Prometheus metrics: a registry of families, each with one time series per combination of label
 * values, written in the text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).
 *
 * Families are declared while a program starts. Changing a series costs one atomic operation and
 * never blocks; metric_with takes a lock and searches, so hot paths keep the series it returns.
 * Safe to use from several threads. */
#ifndef COVEY_WORKLOADS_METRICS_H
#define COVEY_WORKLOADS_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "workloads/lib/out.h"

#define METRIC_SERIES_MAX 512 /* of one family: labels must not grow with the traffic */
#define METRIC_LABELS_MAX 8
#define METRIC_BUCKETS_MAX 32
#define METRICS_TEXT_MAX (4u << 20) /* bytes of a rendered registry */
#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum metric_type {
    METRIC_COUNTER,
    METRIC_GAUGE,
    METRIC_HISTOGRAM,
};

struct metrics;
struct metric_family;
struct metric; /* one time series */

struct metric_spec {
    enum metric_type type;
    const char *name;
    const char *help;
    const char *const *labels; /* names, ended by NULL; NULL: no labels */
    const double *bounds;      /* histogram: rising upper bounds, without +Inf, ... */
    size_t bound_count;        /* ... of which there are this many */
};

/* Bounds for durations in seconds: .005 .01 .025 .05 .075 .1 .25 .5 .75 1 2.5 5 7.5 10 */
extern const double metric_seconds[];
extern const size_t metric_seconds_count;

int metrics_new(struct metrics **out, struct err *err);
void metrics_free(struct metrics *metrics); /* NULL is allowed */

/* Declares a family; all that @spec points to is borrowed for the registry's life. Errors:
 * ERR_INVALID a name or bound that the format forbids, ERR_EXISTS the name, ERR_LIMIT, ERR_NOMEM.
 */
int metrics_family(struct metrics *metrics, const struct metric_spec *spec,
                   struct metric_family **out, struct err *err);

/* The series with these label values (as many as the family has label names; copied), made when it
 * is new. NULL when the family is full or memory is out; the functions below ignore NULL, so that
 * a program goes on without that series. */
struct metric *metric_with(struct metric_family *family, const char *const *values);

/* As metric_with, for a family without labels. */
struct metric *metric_of(struct metric_family *family);

void metric_add(struct metric *metric, double amount);    /* counter: amount >= 0; gauge */
void metric_set(struct metric *metric, double value);     /* gauge, or a counter kept elsewhere */
void metric_observe(struct metric *metric, double value); /* histogram */

/* Calls @collect before each rendering, to set what is read only then. At most one. @context is
 * freed by metrics_free, by free(3). */
void metrics_on_render(struct metrics *metrics, void (*collect)(void *context), void *context);

/* Appends every family in the order of declaration, every series in the order of first use. */
void metrics_render(struct metrics *metrics, struct out *out);

#endif
