#include "workloads/lib/metrics.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/id.h"

const double metric_seconds[] = {.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10};
const size_t metric_seconds_count = sizeof metric_seconds / sizeof metric_seconds[0];

struct metric {
    struct metric *next;
    const struct metric_family *family;
    uint64_t hash;
    /* Label values: the inside of the braces as it is printed, `method="GET",status="200"`. */
    char *labels;
    _Atomic uint64_t value;     /* bits of a double; a histogram's sum */
    _Atomic uint64_t buckets[]; /* histogram: bound_count + 1, each counts only its own range */
};

struct metric_family {
    struct metric_family *next;
    struct metrics *owner;
    struct metric_spec spec;
    size_t label_count;
    size_t series_count;
    struct metric *first;
    struct metric **last;
};

struct metrics {
    pthread_mutex_t lock; /* over the lists; values are atomic */
    struct metric_family *first;
    struct metric_family **last;
    void (*collect)(void *context);
    void *collect_context;
};

int metrics_new(struct metrics **out, struct err *err)
{
    struct metrics *metrics = calloc(1, sizeof *metrics);

    if (metrics == NULL)
        return err_set(err, ERR_NOMEM, "make the registry of metrics");
    pthread_mutex_init(&metrics->lock, NULL);
    metrics->last = &metrics->first;
    *out = metrics;
    return ERR_NONE;
}

void metrics_free(struct metrics *metrics)
{
    if (metrics == NULL)
        return;
    while (metrics->first != NULL) {
        struct metric_family *family = metrics->first;
        metrics->first = family->next;
        while (family->first != NULL) {
            struct metric *metric = family->first;
            family->first = metric->next;
            free(metric->labels);
            free(metric);
        }
        free(family);
    }
    pthread_mutex_destroy(&metrics->lock);
    free(metrics->collect_context);
    free(metrics);
}

/* [a-zA-Z_][a-zA-Z0-9_]*, and ':' too in the name of a metric. */
static bool name_ok(const char *name, bool colon)
{
    if (*name == '\0' || (*name >= '0' && *name <= '9'))
        return false;
    for (; *name != '\0'; name++) {
        char c = *name;
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || (colon && c == ':')))
            return false;
    }
    return true;
}

static int check_spec(const struct metric_spec *spec, size_t label_count, struct err *err)
{
    if (!name_ok(spec->name, true))
        return err_set(err, ERR_INVALID, "\"%s\" is no name for a metric", spec->name);
    if (label_count > METRIC_LABELS_MAX || spec->bound_count > METRIC_BUCKETS_MAX)
        return err_set(err, ERR_LIMIT, "%s has more than %d labels or %d buckets", spec->name,
                       METRIC_LABELS_MAX, METRIC_BUCKETS_MAX);
    for (size_t i = 0; i < label_count; i++) {
        const char *label = spec->labels[i];
        if (!name_ok(label, false) || strncmp(label, "__", 2) == 0 ||
            (spec->type == METRIC_HISTOGRAM && strcmp(label, "le") == 0))
            return err_set(err, ERR_INVALID, "\"%s\" is no name for a label of %s", label,
                           spec->name);
    }
    for (size_t i = 0; i < spec->bound_count; i++)
        if (!isfinite(spec->bounds[i]) || (i > 0 && spec->bounds[i] <= spec->bounds[i - 1]))
            return err_set(err, ERR_INVALID, "the buckets of %s do not rise", spec->name);
    if ((spec->type == METRIC_HISTOGRAM) != (spec->bound_count > 0))
        return err_set(err, ERR_INVALID, "%s: a histogram, and nothing else, has buckets",
                       spec->name);
    return ERR_NONE;
}

int metrics_family(struct metrics *metrics, const struct metric_spec *spec,
                   struct metric_family **out, struct err *err)
{
    struct metric_family *family;
    size_t label_count = 0;
    int rc;

    while (spec->labels != NULL && spec->labels[label_count] != NULL)
        label_count++;
    rc = check_spec(spec, label_count, err);
    if (rc != ERR_NONE)
        return rc;
    for (family = metrics->first; family != NULL; family = family->next)
        if (strcmp(family->spec.name, spec->name) == 0)
            return err_set(err, ERR_EXISTS, "metric %s is declared twice", spec->name);
    family = calloc(1, sizeof *family);
    if (family == NULL)
        return err_set(err, ERR_NOMEM, "declare metric %s", spec->name);
    family->spec = *spec;
    family->owner = metrics;
    family->label_count = label_count;
    family->last = &family->first;
    pthread_mutex_lock(&metrics->lock);
    *metrics->last = family;
    metrics->last = &family->next;
    pthread_mutex_unlock(&metrics->lock);
    *out = family;
    return ERR_NONE;
}

static uint64_t hash_values(const struct metric_family *family, const char *const *values)
{
    uint64_t hash = 0;

    for (size_t i = 0; i < family->label_count; i++)
        hash = hash64_mix(hash, hash64_string(values[i]));
    return hash;
}

/* HELP texts and label values: backslash, newline and, in values, the quote. */
static void put_escaped(struct out *o, const char *text, bool quote)
{
    for (;;) {
        size_t plain = strcspn(text, quote ? "\\\n\"" : "\\\n");
        out_bytes(o, text, plain);
        text += plain;
        if (*text == '\0')
            return;
        out_char(o, '\\');
        out_char(o, *text == '\n' ? 'n' : *text);
        text++;
    }
}

static char *print_labels(const struct metric_family *family, const char *const *values)
{
    struct out o;

    out_init(&o, NULL, 0, METRICS_TEXT_MAX);
    for (size_t i = 0; i < family->label_count; i++) {
        if (i > 0)
            out_char(&o, ',');
        out_text(&o, family->spec.labels[i]);
        out_bytes(&o, "=\"", 2);
        put_escaped(&o, values[i], true);
        out_char(&o, '"');
    }
    out_char(&o, '\0');
    if (o.failed) {
        out_free(&o);
        return NULL;
    }
    return o.data;
}

static struct metric *new_series(struct metric_family *family, uint64_t hash, char *labels)
{
    size_t buckets = family->spec.type == METRIC_HISTOGRAM ? family->spec.bound_count + 1 : 0;
    struct metric *metric = calloc(1, sizeof *metric + buckets * sizeof metric->buckets[0]);

    if (metric == NULL)
        return NULL;
    metric->family = family;
    metric->hash = hash;
    metric->labels = labels;
    *family->last = metric;
    family->last = &metric->next;
    family->series_count++;
    return metric;
}

struct metric *metric_with(struct metric_family *family, const char *const *values)
{
    uint64_t hash = hash_values(family, values);
    struct metric *metric;
    char *labels = NULL;

    pthread_mutex_lock(&family->owner->lock);
    for (metric = family->first; metric != NULL; metric = metric->next) {
        if (metric->hash != hash)
            continue;
        /* Values may come from outside, and the hash is not made against enemies. */
        if (labels == NULL)
            labels = print_labels(family, values);
        if (labels == NULL || strcmp(labels, metric->labels) == 0)
            break;
    }
    if (metric == NULL && family->series_count < METRIC_SERIES_MAX) {
        if (labels == NULL)
            labels = print_labels(family, values);
        if (labels != NULL)
            metric = new_series(family, hash, labels);
        if (metric != NULL)
            labels = NULL;
    } else if (labels == NULL) {
        metric = NULL;
    }
    pthread_mutex_unlock(&family->owner->lock);
    free(labels);
    return metric;
}

struct metric *metric_of(struct metric_family *family)
{
    assert(family->label_count == 0);
    return metric_with(family, NULL);
}

static double to_double(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint64_t to_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static void add(_Atomic uint64_t *where, double amount)
{
    uint64_t old = atomic_load_explicit(where, memory_order_relaxed);

    while (!atomic_compare_exchange_weak_explicit(where, &old, to_bits(to_double(old) + amount),
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

void metric_add(struct metric *metric, double amount)
{
    if (metric == NULL)
        return;
    assert(metric->family->spec.type != METRIC_HISTOGRAM);
    assert(metric->family->spec.type != METRIC_COUNTER || amount >= 0);
    add(&metric->value, amount);
}

void metric_set(struct metric *metric, double value)
{
    if (metric == NULL)
        return;
    assert(metric->family->spec.type != METRIC_HISTOGRAM);
    atomic_store_explicit(&metric->value, to_bits(value), memory_order_relaxed);
}

void metric_observe(struct metric *metric, double value)
{
    const struct metric_spec *spec;
    size_t i = 0;

    if (metric == NULL)
        return;
    spec = &metric->family->spec;
    assert(spec->type == METRIC_HISTOGRAM);
    while (i < spec->bound_count && value > spec->bounds[i])
        i++;
    atomic_fetch_add_explicit(&metric->buckets[i], 1, memory_order_relaxed);
    add(&metric->value, value);
}

void metrics_on_render(struct metrics *metrics, void (*collect)(void *context), void *context)
{
    assert(metrics->collect == NULL);
    metrics->collect = collect;
    metrics->collect_context = context;
}

/* The shortest form that reads back as the same number. */
static void put_value(struct out *o, double value)
{
    char text[32];

    if (isnan(value)) {
        out_text(o, "NaN");
    } else if (isinf(value)) {
        out_text(o, value > 0 ? "+Inf" : "-Inf");
    } else if (fabs(value) < 0x1p53 && trunc(value) == value) {
        out_int(o, (int64_t)value);
    } else {
        for (int digits = 15; digits <= 17; digits++) {
            snprintf(text, sizeof text, "%.*g", digits, value);
            if (strtod(text, NULL) == value)
                break;
        }
        out_text(o, text);
    }
}

/* name[suffix]{labels[,le="..."]} */
static void put_series(struct out *o, const struct metric *metric, const char *suffix,
                       const double *le)
{
    out_text(o, metric->family->spec.name);
    out_text(o, suffix);
    if (metric->labels[0] != '\0' || le != NULL) {
        out_char(o, '{');
        out_text(o, metric->labels);
        if (le != NULL) {
            out_text(o, metric->labels[0] != '\0' ? ",le=\"" : "le=\"");
            put_value(o, *le);
            out_char(o, '"');
        }
        out_char(o, '}');
    }
    out_char(o, ' ');
}

/* The count is the sum of the buckets just read, so that it agrees with them while others add. */
static void put_histogram(struct out *o, struct metric *metric)
{
    const struct metric_spec *spec = &metric->family->spec;
    const double infinite = INFINITY;
    double sum = to_double(atomic_load_explicit(&metric->value, memory_order_relaxed));
    uint64_t count = 0;

    for (size_t i = 0; i <= spec->bound_count; i++) {
        count += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
        put_series(o, metric, "_bucket", i < spec->bound_count ? &spec->bounds[i] : &infinite);
        out_uint(o, count);
        out_char(o, '\n');
    }
    put_series(o, metric, "_sum", NULL);
    put_value(o, sum);
    out_char(o, '\n');
    put_series(o, metric, "_count", NULL);
    out_uint(o, count);
    out_char(o, '\n');
}

void metrics_render(struct metrics *metrics, struct out *out)
{
    static const char *const type_names[] = {
        [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};

    if (metrics->collect != NULL)
        metrics->collect(metrics->collect_context);
    pthread_mutex_lock(&metrics->lock);
    for (struct metric_family *family = metrics->first; family != NULL; family = family->next) {
        out_text(out, "# HELP ");
        out_text(out, family->spec.name);
        out_char(out, ' ');
        put_escaped(out, family->spec.help, false);
        out_text(out, "\n# TYPE ");
        out_text(out, family->spec.name);
        out_char(out, ' ');
        out_text(out, type_names[family->spec.type]);
        out_char(out, '\n');
        for (struct metric *metric = family->first; metric != NULL; metric = metric->next) {
            if (family->spec.type == METRIC_HISTOGRAM) {
                put_histogram(out, metric);
                continue;
            }
            put_series(out, metric, "", NULL);
            put_value(out, to_double(atomic_load_explicit(&metric->value, memory_order_relaxed)));
            out_char(out, '\n');
        }
    }
    pthread_mutex_unlock(&metrics->lock);
}
