#include "workloads/lib/amqp/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "workloads/lib/emit.h"
#include "workloads/lib/when.h"

#define LATER_FIRST_US INT64_C(1000000)
#define LATER_MAX_US INT64_C(60000000)
#define KEEP_CAPACITY 65536 /* bytes that a job's buffer may keep between two deliveries */

struct worker {
    struct worker_config config;
    pthread_t thread;
    atomic_bool ready;
    struct window *window;
    struct job *jobs; /* parallel to the window's slots */
    size_t unacked;   /* taken and not acknowledged, for the batches */
    bool blocked;
};

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void log_refused(struct worker *worker, const struct delivery *in, const struct out *id,
                        const char *reason)
{
    struct out *o = log_begin(worker->config.dial.log, LEVEL_ERROR, "message refused");

    if (o == NULL)
        return;
    emit_key_string(o, "queue", worker->config.queue);
    if (id != NULL) {
        emit_key(o, "message_id");
        emit_string_n(o, id->data, id->len);
    }
    emit_key_string(o, "reason", reason);
    if (in != NULL)
        emit_key_int(o, "bytes", (int64_t)in->size);
    log_end(worker->config.dial.log);
}

static void copy_span(char *to, size_t size, struct span from)
{
    size_t len = from.len < size ? from.len : size - 1;

    if (len > 0)
        memcpy(to, from.at, len);
    to[len] = '\0';
}

static void reset_buffer(struct out *o, size_t limit)
{
    if (o->capacity > KEEP_CAPACITY)
        out_free(o);
    if (o->limit == 0)
        out_init(o, NULL, 0, limit);
    out_reset(o);
}

/* False: memory is out. A note is made when its slot is first used: most never are. */
static bool prepare_job(struct worker *worker, const struct delivery *in, struct job *job)
{
    if (job->note == NULL)
        job->note = malloc(worker->config.note_size);
    if (job->note == NULL)
        return false;
    job->id = (struct span){0};
    job->redelivered = in->redelivered;
    job->delay_us = 0;
    job->started_us = now_us();
    job->refused = false;
    job->failures = 0;
    job->traced = trace_parse(in->traceparent.at, in->traceparent.len, &job->trace);
    free(job->reason);
    free(job->tracestate);
    job->reason = NULL;
    job->tracestate = NULL;
    if (job->traced && in->tracestate.len > 0 && in->tracestate.len <= TRACE_STATE_MAX)
        job->tracestate = strndup(in->tracestate.at, in->tracestate.len); /* NULL: goes without */
    reset_buffer(&job->original_id, MESSAGE_ID_MAX);
    out_bytes(&job->original_id, in->id.at, in->id.len);
    reset_buffer(&job->body, JOB_BODY_MAX);
    reset_buffer(&job->original, MESSAGE_BODY_MAX);
    memset(job->note, 0, worker->config.note_size);
    return true;
}

static void refuse(struct worker *worker, const struct delivery *in, struct job *job,
                   const struct err *err)
{
    job->refused = true;
    job->reason = strdup(err->text); /* NULL: goes without */
    metric_add(worker->config.dial.metrics.dead, 1);
    log_refused(worker, in, &job->original_id, err->text);
}

static int take_delivery(struct worker *worker, struct link *link, const struct delivery *in,
                         struct err *err)
{
    const struct worker_config *config = &worker->config;
    struct err why;
    struct job *job;
    size_t slot;

    metric_add(config->dial.metrics.delivered, 1);
    if (in->redelivered)
        metric_add(config->dial.metrics.redelivered, 1);
    if (in->cut) { /* the broker moves it, since we do not have it */
        metric_add(config->dial.metrics.dead, 1);
        log_refused(worker, in, NULL, "the body is longer than 32 MiB");
        return link_reject(link, in->tag, false, err);
    }
    slot = window_add(worker->window, in->tag);
    if (slot == config->prefetch)
        return err_set(err, ERR_UNREACHABLE, "the broker delivers more than the prefetch of %u",
                       config->prefetch);
    job = &worker->jobs[slot];
    if (!prepare_job(worker, in, job))
        return err_set(err, ERR_NOMEM, "work on a message");
    if (config->begin(config->context, in, job, &why) != ERR_NONE)
        refuse(worker, in, job, &why);
    if (job->refused || config->may_refuse_late)
        out_bytes(&job->original, in->body.at, in->body.len);
    if (job->original.failed)
        return err_set(err, ERR_NOMEM, "keep a message of %zu bytes", in->body.len);
    if (!job->refused && job->delay_us > 0)
        window_plan(worker->window, slot, job->started_us + job->delay_us);
    return ERR_NONE;
}

static struct span state_of(const struct job *job)
{
    return (struct span){job->tracestate, job->tracestate == NULL ? 0 : strlen(job->tracestate)};
}

static int publish(struct worker *worker, struct link *link, struct job *job, uint64_t *seq,
                   struct err *err)
{
    const struct worker_config *config = &worker->config;
    char traceparent[TRACE_PARENT_TEXT];
    char id[MESSAGE_ID_MAX + 1];
    struct trace child;
    struct message message = {
        .exchange = config->exchange,
        .routing_key = "",
        .id = job->id,
        .traceparent = {traceparent, TRACE_PARENT_TEXT - 1},
        .tracestate = state_of(job),
        .body = {job->body.data, job->body.len},
    };

    if (job->body.failed)
        return err_set(err, ERR_NOMEM, "make a message of more than %zu bytes", job->body.len);
    copy_span(id, sizeof id, job->id);
    trace_child(&child, &job->trace, id);
    trace_format(&child, traceparent);
    return link_publish(link, &message, seq, err);
}

static int bury(struct worker *worker, struct link *link, struct job *job, uint64_t *seq,
                struct err *err)
{
    const struct worker_config *config = &worker->config;
    char traceparent[TRACE_PARENT_TEXT];
    char when[WHEN_TEXT];
    struct timespec now;
    struct dead_letter dead = {job->reason, config->queue, config->service, when};
    struct message message = {
        .exchange = config->dead_exchange,
        .routing_key = "",
        .id = {job->original_id.data, job->original_id.len},
        .tracestate = state_of(job),
        .body = {job->original.data, job->original.len},
        .dead = &dead,
    };

    clock_gettime(CLOCK_REALTIME, &now);
    when_format((int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000, when);
    if (job->traced) {
        trace_format(&job->trace, traceparent);
        message.traceparent = (struct span){traceparent, TRACE_PARENT_TEXT - 1};
    }
    return link_publish(link, &message, seq, err);
}

static void postpone(struct worker *worker, struct job *job, int64_t now, const struct err *why)
{
    int64_t delay = LATER_FIRST_US;
    struct out *o;

    for (unsigned i = 0; i < job->failures && delay < LATER_MAX_US; i++)
        delay *= 2;
    if (delay > LATER_MAX_US)
        delay = LATER_MAX_US;
    job->failures++;
    window_plan(worker->window, window_next(worker->window), now + delay);
    o = log_begin(worker->config.dial.log, LEVEL_WARNING, "trying again later");
    if (o == NULL)
        return;
    emit_key_string(o, "queue", worker->config.queue);
    emit_key(o, "message_id");
    emit_string_n(o, job->original_id.data, job->original_id.len);
    emit_key_string(o, "error", why->text);
    emit_key_decimal(o, "in_seconds", delay / 1000, 3);
    log_end(worker->config.dial.log);
}

/* Finishes every job whose time has come. While the broker takes nothing, nothing is begun whose
 * result could not leave. */
static int work(struct worker *worker, struct link *link, struct err *err)
{
    const struct worker_config *config = &worker->config;

    while (!worker->blocked && window_due(worker->window) <= now_us()) {
        struct job *job = &worker->jobs[window_next(worker->window)];
        enum job_end end = JOB_DONE;
        struct err why;
        uint64_t seq = 0;
        int rc = ERR_NONE;

        if (!job->refused)
            end = config->finish(config->context, job, &why);
        if (end == JOB_LATER) {
            postpone(worker, job, now_us(), &why);
            return ERR_NONE;
        }
        if (end == JOB_REFUSE)
            refuse(worker, NULL, job, &why);
        if (job->refused)
            rc = bury(worker, link, job, &seq, err);
        else if (job->body.len > 0)
            rc = publish(worker, link, job, &seq, err);
        if (rc != ERR_NONE)
            return rc;
        window_done(worker->window, seq);
    }
    return ERR_NONE;
}

static int acknowledge(struct worker *worker, struct link *link, size_t at_least, struct err *err)
{
    size_t ready = window_ready(worker->window);

    if (ready == 0 || ready < at_least)
        return ERR_NONE;
    if (worker->config.settle != NULL)
        worker->config.settle(worker->config.context);
    metric_add(worker->config.dial.metrics.acked, (double)ready);
    return link_ack(link, window_take(worker->window), true, err);
}

static void set_blocked(struct worker *worker, bool blocked, struct span reason)
{
    struct out *o = log_begin(worker->config.dial.log, blocked ? LEVEL_ERROR : LEVEL_INFO,
                              blocked ? "RabbitMQ takes no messages: waiting until it does"
                                      : "RabbitMQ takes messages again");

    worker->blocked = blocked;
    metric_set(worker->config.dial.metrics.blocked, blocked);
    if (o == NULL)
        return;
    emit_key_string(o, "connection", worker->config.dial.name);
    if (blocked) {
        emit_key(o, "reason");
        emit_string_n(o, reason.at, reason.len);
    }
    log_end(worker->config.dial.log);
}

static int take_confirm(struct worker *worker, const struct link_event *event, struct err *err)
{
    size_t before = window_unconfirmed(worker->window);

    if (!window_confirm(worker->window, event->seq, event->multiple))
        return err_set(err, ERR_UNREACHABLE, "the broker confirms publication %llu, unknown here",
                       (unsigned long long)event->seq);
    metric_add(worker->config.dial.metrics.published,
               (double)(before - window_unconfirmed(worker->window)));
    return ERR_NONE;
}

/* Takes in all that has come, working on it as it comes. @stopping: nothing new is begun. */
static int take_in(struct worker *worker, struct link *link, bool stopping, struct err *err)
{
    size_t batch = worker->config.prefetch / 4u + 1;
    struct link_event event;
    int rc;

    do {
        rc = link_read(link, &event, err);
        if (rc != ERR_NONE)
            return rc;
        if (event.type == LINK_DELIVERY && !stopping)
            rc = take_delivery(worker, link, &event.delivery, err);
        else if (event.type == LINK_CONFIRM)
            rc = take_confirm(worker, &event, err);
        else if (event.type == LINK_BLOCKED || event.type == LINK_UNBLOCKED)
            set_blocked(worker, event.type == LINK_BLOCKED, event.reason);
        if (rc == ERR_NONE && !stopping)
            rc = work(worker, link, err);
        if (rc == ERR_NONE)
            rc = acknowledge(worker, link, batch, err);
        if (rc != ERR_NONE)
            return rc;
    } while (link_buffered(link));
    return ERR_NONE;
}

static int64_t wait_ms(const struct worker *worker, const struct link *link)
{
    int64_t idle = link_idle_ms(link);
    int64_t due = window_due(worker->window);
    int64_t left;

    if (due == INT64_MAX || worker->blocked)
        return idle;
    left = (due - now_us() + 999) / 1000; /* upwards: not to come a moment too early */
    return left < 0 ? 0 : left < idle ? left : idle;
}

/* Until asked to stop, or an error. */
static int serve(struct worker *worker, struct link *link, struct err *err)
{
    int rc;

    do {
        rc = take_in(worker, link, false, err);
        if (rc == ERR_NONE)
            rc = work(worker, link, err);
        if (rc == ERR_NONE)
            rc = acknowledge(worker, link, 1, err);
        if (rc == ERR_NONE)
            rc = link_flush(link, err);
    } while (rc == ERR_NONE &&
             !dial_wait(&worker->config.dial, link_fd(link), wait_ms(worker, link)));
    return rc;
}

/* Results that are on their way get the time to be confirmed; all else comes again elsewhere. */
static void drain(struct worker *worker, struct link *link)
{
    int64_t end = now_us() + (int64_t)worker->config.stop_ms * 1000;
    struct dial deaf = worker->config.dial;
    struct err err;

    deaf.stop_fd = -1;
    while (window_unconfirmed(worker->window) > 0 && now_us() < end) {
        (void)dial_wait(&deaf, link_fd(link), (end - now_us()) / 1000 + 1);
        if (take_in(worker, link, true, &err) != ERR_NONE)
            return;
    }
    if (acknowledge(worker, link, 1, &err) == ERR_NONE)
        (void)link_flush(link, &err);
}

static int prepare(void *context, struct link *link, struct err *err)
{
    struct worker *worker = context;
    const struct worker_config *config = &worker->config;
    int rc = config->topology(config->topology_context, link, err);

    window_reset(worker->window);
    worker->blocked = false;
    metric_set(config->dial.metrics.blocked, 0);
    return rc != ERR_NONE ? rc : link_consume(link, config->queue, config->prefetch, err);
}

static void *run(void *arg)
{
    struct worker *worker = arg;
    struct dial *dial = &worker->config.dial;
    struct link *link;

    while ((link = dial_open(dial)) != NULL) {
        struct err err;
        int rc;
        atomic_store(&worker->ready, true);
        rc = serve(worker, link, &err);
        atomic_store(&worker->ready, false);
        if (rc == ERR_NONE)
            drain(worker, link);
        dial_lost(dial, link, rc == ERR_NONE ? NULL : &err);
    }
    return NULL;
}

void worker_free(struct worker *worker)
{
    if (worker == NULL)
        return;
    for (size_t i = 0; worker->jobs != NULL && i < worker->config.prefetch; i++) {
        out_free(&worker->jobs[i].body);
        out_free(&worker->jobs[i].original);
        out_free(&worker->jobs[i].original_id);
        free(worker->jobs[i].reason);
        free(worker->jobs[i].tracestate);
        free(worker->jobs[i].note);
    }
    free(worker->jobs);
    window_free(worker->window);
    free(worker);
}

int worker_start(const struct worker_config *config, struct worker **out, struct err *err)
{
    struct worker *worker = calloc(1, sizeof *worker);
    int rc;

    if (worker == NULL)
        return err_set(err, ERR_NOMEM, "start a consumer");
    worker->config = *config;
    worker->config.dial.prepare = prepare;
    worker->config.dial.context = worker;
    worker->jobs = calloc(config->prefetch, sizeof *worker->jobs);
    rc = worker->jobs == NULL ? err_set(err, ERR_NOMEM, "start a consumer")
                              : window_new(&worker->window, config->prefetch, err);
    if (rc == ERR_NONE) {
        int failure = pthread_create(&worker->thread, NULL, run, worker);
        if (failure != 0)
            rc = err_errno(err, ERR_IO, failure, "start a consumer's thread");
    }
    if (rc != ERR_NONE) {
        worker_free(worker);
        return rc;
    }
    *out = worker;
    return ERR_NONE;
}

bool worker_ready(const struct worker *worker)
{
    return atomic_load(&worker->ready);
}

bool worker_join(struct worker *worker, unsigned ms)
{
    struct timespec end;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += ms / 1000;
    end.tv_nsec += (long)(ms % 1000) * 1000000;
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    return pthread_timedjoin_np(worker->thread, NULL, &end) != ETIMEDOUT;
}
