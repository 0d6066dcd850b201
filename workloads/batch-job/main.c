/* batch-job: one run processes some records, logs how they went, and ends.
 *
 *     BATCH_RECORDS         records in a run; 0 (default): 50 to 200 at random
 *     DELAY_MIN, DELAY_MAX  seconds of work for each record (0.01, 0.05); 0: as fast as possible
 *     FAILURE_RATE          share of records that fail (0.05)
 *     FAILURE_LIMIT         the run fails when a greater share of its records failed (0.5)
 *     METRICS_FILE          where metrics are left for a text-file collector; none by default
 *     LOG_LEVEL             as in workloads/lib/service.h
 *
 * Exit code: 0; 1 when the run failed, was interrupted or could not leave its metrics; 2 when it is
 * configured wrongly. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "workloads/lib/emit.h"
#include "workloads/lib/env.h"
#include "workloads/lib/log.h"
#include "workloads/lib/metrics.h"
#include "workloads/lib/random.h"
#include "workloads/lib/stop.h"
#include "workloads/lib/textfile.h"

#define RECORDS_MAX INT64_C(1000000000)
#define PROGRESS_EVERY 25
#define LOOK_EVERY 64 /* records between two looks for a signal when records take no time */

struct batch {
    int64_t records;
    int64_t delay_min_us;
    int64_t delay_max_us;
    double failure_rate;
    double failure_limit;
    const char *metrics_file;
    enum log_level log_level;
    struct log *log;
    struct rng rng;
    char id[UUID_TEXT];
    int64_t done;
    int64_t failed;
    bool interrupted;
    double seconds;
};

static double monotonic_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int configure(struct batch *batch)
{
    struct env env;
    double delay_min;
    double delay_max;

    env_init(&env);
    batch->records = env_int(&env, "BATCH_RECORDS", 0, 0, RECORDS_MAX);
    delay_max = env_real(&env, "DELAY_MAX", 0.05, 0, 3600);
    delay_min = env_real(&env, "DELAY_MIN", delay_max < 0.01 ? delay_max : 0.01, 0, 3600);
    batch->failure_rate = env_real(&env, "FAILURE_RATE", 0.05, 0, 1);
    batch->failure_limit = env_real(&env, "FAILURE_LIMIT", 0.5, 0, 1);
    batch->metrics_file = env_string(&env, "METRICS_FILE", NULL);
    batch->log_level = (enum log_level)env_choice(&env, "LOG_LEVEL", log_level_names, LEVEL_INFO);
    if (delay_max < delay_min)
        env_problem(&env, "DELAY_MAX", "not less than DELAY_MIN, which is %g", delay_min);
    batch->delay_min_us = (int64_t)(delay_min * 1e6);
    batch->delay_max_us = (int64_t)(delay_max * 1e6);
    random_seed(&batch->rng);
    random_uuid(&batch->rng, batch->id);
    if (batch->records == 0)
        batch->records = rng_range(&batch->rng, 50, 200);
    return env_check(&env, "batch-job");
}

/* Begins a line that names the run. */
static struct out *line(struct batch *batch, enum log_level level, const char *message)
{
    struct out *o = log_begin(batch->log, level, message);

    if (o != NULL)
        emit_key_string(o, "job_id", batch->id);
    return o;
}

static void log_failed_record(struct batch *batch, int64_t number)
{
    static const char *const reasons[] = {"invalid format", "missing field", "duplicate key"};
    struct out *o = line(batch, LEVEL_ERROR, "Record failed");

    if (o == NULL)
        return;
    emit_key_int(o, "record", number);
    emit_key_string(o, "error", reasons[rng_below(&batch->rng, 3)]);
    log_end(batch->log);
}

static void log_count(struct batch *batch, const char *message, const char *key, int64_t count)
{
    struct out *o = line(batch, LEVEL_INFO, message);

    if (o == NULL)
        return;
    if (key != NULL)
        emit_key_int(o, key, count);
    emit_key_int(o, "records", batch->records);
    log_end(batch->log);
}

/* Does a record's work, which takes its time. False: asked to stop. */
static bool work(struct batch *batch, int64_t number)
{
    if (batch->delay_max_us == 0)
        return number % LOOK_EVERY != 0 || !stop_wait(0);
    log_flush(batch->log);
    return !stop_wait(rng_range(&batch->rng, batch->delay_min_us, batch->delay_max_us));
}

static void run(struct batch *batch)
{
    double start = monotonic_seconds();

    log_count(batch, "Batch started", NULL, 0);
    for (int64_t number = 1; number <= batch->records; number++) {
        if (!work(batch, number)) {
            batch->interrupted = true;
            break;
        }
        batch->done = number;
        if (rng_unit(&batch->rng) < batch->failure_rate) {
            batch->failed++;
            log_failed_record(batch, number);
        }
        if (number % PROGRESS_EVERY == 0)
            log_count(batch, "Progress", "processed", number);
    }
    batch->seconds = monotonic_seconds() - start;
}

static bool succeeded(const struct batch *batch)
{
    return !batch->interrupted &&
           (double)batch->failed <= batch->failure_limit * (double)batch->records;
}

static void log_end_of_run(struct batch *batch)
{
    struct out *o = line(batch, succeeded(batch) ? LEVEL_INFO : LEVEL_ERROR,
                         batch->interrupted ? "Batch interrupted"
                         : succeeded(batch) ? "Batch finished"
                                            : "Batch failed");
    int64_t failed_share = batch->done > 0 ? batch->failed * 10000 / batch->done : 0;

    if (o == NULL)
        return;
    emit_key_int(o, "records", batch->records);
    emit_key_int(o, "success", batch->done - batch->failed);
    emit_key_int(o, "failed", batch->failed);
    emit_key_decimal(o, "success_rate", batch->done > 0 ? 10000 - failed_share : 0, 2);
    emit_key_decimal(o, "failure_rate", failed_share, 2);
    emit_key_decimal(o, "duration_s", (int64_t)(batch->seconds * 1000), 3);
    log_end(batch->log);
}

static int set_gauge(struct metrics *metrics, const char *name, const char *help, double value,
                     struct err *err)
{
    struct metric_family *family;
    int rc = metrics_family(metrics, &(struct metric_spec){METRIC_GAUGE, name, help, NULL, NULL, 0},
                            &family, err);

    if (rc == ERR_NONE)
        metric_set(metric_of(family), value);
    return rc;
}

static int fill_metrics(const struct batch *batch, struct metrics *metrics, struct err *err)
{
    static const char *const by_result[] = {"result", NULL};
    static const struct metric_spec records = {
        METRIC_GAUGE, "batch_job_records", "Records of the last run by result", by_result, NULL, 0};
    struct metric_family *family;
    int rc = metrics_family(metrics, &records, &family, err);

    if (rc != ERR_NONE)
        return rc;
    metric_set(metric_with(family, (const char *const[]){"success"}),
               (double)(batch->done - batch->failed));
    metric_set(metric_with(family, (const char *const[]){"failed"}), (double)batch->failed);
    rc = set_gauge(metrics, "batch_job_success", "1 when the last run succeeded, else 0",
                   succeeded(batch), err);
    if (rc == ERR_NONE)
        rc = set_gauge(metrics, "batch_job_duration_seconds", "Duration of the last run",
                       batch->seconds, err);
    if (rc == ERR_NONE)
        rc = set_gauge(metrics, "batch_job_last_run_timestamp_seconds",
                       "End of the last run, in seconds since 1970", (double)time(NULL), err);
    return rc;
}

static int leave_metrics(const struct batch *batch, struct err *err)
{
    struct metrics *metrics;
    int rc = metrics_new(&metrics, err);

    if (rc != ERR_NONE)
        return rc;
    rc = fill_metrics(batch, metrics, err);
    if (rc == ERR_NONE)
        rc = textfile_write(metrics, batch->metrics_file, err);
    metrics_free(metrics);
    return rc;
}

int main(void)
{
    struct batch batch = {0};
    struct err err;
    int status;

    stop_prepare();
    status = configure(&batch);
    if (status != 0)
        return status;
    if (log_open(&batch.log, STDOUT_FILENO, "job", "batch-job", batch.log_level, &err) !=
        ERR_NONE) {
        fprintf(stderr, "batch-job: %s\n", err.text);
        return 1;
    }
    run(&batch);
    log_end_of_run(&batch);
    status = succeeded(&batch) ? 0 : 1;
    if (batch.metrics_file != NULL && leave_metrics(&batch, &err) != ERR_NONE) {
        struct out *o = line(&batch, LEVEL_ERROR, "Metrics not written");
        if (o != NULL) {
            emit_key_string(o, "error", err.text);
            log_end(batch.log);
        }
        status = 1;
    }
    log_close(batch.log);
    return status;
}
