/* notification-service: tells customers of orders, payments and shipments; one consumer for each,
 * each with its own connection and thread.
 *
 *     NOTIFY_SINK          log: a line in the log is the notification; smtp: a mail besides (log)
 *     NOTIFY_SMTP_PROGRAM  the program that sends mails (notify-smtp beside this program); what it
 *                          reads stands at the top of workloads/notify-smtp/main.c
 *
 * and the variables of workloads/orders/app.h; DELAY_MIN and DELAY_MAX are 0, PORT is 8003. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "workloads/lib/emit.h"
#include "workloads/lib/when.h"
#include "workloads/notification-service/sink.h"
#include "workloads/orders/app.h"

#define TOPICS 3

struct notifications;

struct topic {
    struct notifications *owner;
    const char *name;
    const char *queue;
    int (*read)(struct span body, struct notice *notice, struct err *err);
    struct metric *sent[NOTICE_TYPES];
    struct metric *latency;
};

struct notifications {
    struct app app;
    struct sink *sink;
    struct topic topics[TOPICS];
    char smtp_program[PATH_MAX];
};

static int read_order(struct span body, struct notice *notice, struct err *err)
{
    struct order order;

    if (order_read(body, &order, err) == ERR_NONE)
        notice_of_order(&order, notice);
    return err->code;
}

static int read_payment(struct span body, struct notice *notice, struct err *err)
{
    struct payment payment;

    if (payment_read(body, &payment, err) == ERR_NONE)
        notice_of_payment(&payment, notice);
    return err->code;
}

static int read_shipment(struct span body, struct notice *notice, struct err *err)
{
    struct shipment shipment;

    if (shipment_read(body, &shipment, err) == ERR_NONE)
        notice_of_shipment(&shipment, notice);
    return err->code;
}

static int begin(void *context, const struct delivery *in, struct job *job, struct err *err)
{
    struct topic *topic = context;
    struct notice *notice = job->note;

    err->code = ERR_NONE;
    if (topic->read(in->body, notice, err) != ERR_NONE)
        return err->code;
    if (!job->traced)
        trace_begin(&job->trace, notice->order_id);
    return ERR_NONE;
}

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void log_sent(struct topic *topic, const struct notice *notice, const struct job *job)
{
    struct app *app = &topic->owner->app;
    struct out *o = app_log(app, LEVEL_INFO, "notification sent", notice->order_id, &job->trace);
    char ordered[WHEN_TEXT];

    if (o == NULL)
        return;
    when_format(notice->ordered_us, ordered);
    emit_key_string(o, "notification_id", notice->id);
    emit_key_string(o, "type", notice_type_names[notice->type]);
    emit_key_string(o, "topic", topic->name);
    emit_key_string(o, "to", notice->to);
    emit_key_string(o, "text", notice->text);
    emit_key_string(o, "ordered_at", ordered);
    if (job->redelivered)
        emit_key_bool(o, "redelivered", true);
    log_end(app->service.log);
}

static enum job_end finish(void *context, struct job *job, struct err *err)
{
    struct topic *topic = context;
    const struct notice *notice = job->note;
    enum job_end end = sink_send(topic->owner->sink, notice, err);
    int64_t took;

    if (end != JOB_DONE)
        return end;
    took = now_us() - notice->ordered_us;
    log_sent(topic, notice, job);
    metric_add(topic->sent[notice->type], 1);
    metric_observe(topic->latency, took > 0 ? (double)took / 1e6 : 0);
    return JOB_DONE;
}

/* The line is the notification: it must have left before its message goes. */
static void settle(void *context)
{
    struct topic *topic = context;
    log_flush(topic->owner->app.service.log);
}

static int declare_metrics(struct notifications *notifications)
{
    static const char *const by_type[] = {"type", "topic", NULL};
    static const char *const by_topic[] = {"topic", NULL};
    const struct metric_spec specs[] = {
        {METRIC_COUNTER, "notifications_sent_total", "Notifications sent", by_type, NULL, 0},
        {METRIC_HISTOGRAM, "notification_latency_seconds", "From an order to the notification",
         by_topic, metric_seconds, metric_seconds_count},
    };
    static const unsigned topic_of[NOTICE_TYPES] = {
        [NOTICE_ORDER] = 0, [NOTICE_PAID] = 1, [NOTICE_FAILED] = 1, [NOTICE_SHIPPED] = 2};
    struct metric_family *families[2];

    for (size_t i = 0; i < 2; i++)
        if (app_family(&notifications->app, &specs[i], &families[i]) != 0)
            return 1;
    for (size_t type = 0; type < NOTICE_TYPES; type++) {
        struct topic *topic = &notifications->topics[topic_of[type]];
        const char *const values[] = {notice_type_names[type], topic->name};
        topic->sent[type] = metric_with(families[0], values);
    }
    for (size_t i = 0; i < TOPICS; i++)
        notifications->topics[i].latency = metric_with(families[1], &notifications->topics[i].name);
    return 0;
}

/* The program of that name beside this one. */
static void find_smtp(struct notifications *notifications)
{
    static const char name[] = "notify-smtp";
    char *path = notifications->smtp_program;
    ssize_t len = readlink("/proc/self/exe", path, PATH_MAX - 1);
    char *slash;

    path[len > 0 ? len : 0] = '\0';
    slash = strrchr(path, '/');
    if (slash != NULL && (size_t)(slash + 1 - path) + sizeof name <= PATH_MAX)
        memcpy(slash + 1, name, sizeof name);
}

static const char *choose_sink(struct notifications *notifications)
{
    static const char *const sinks[] = {"log", "smtp", NULL};
    struct env *env = &notifications->app.service.env;
    bool smtp = env_choice(env, "NOTIFY_SINK", sinks, 0) == 1;
    const char *program;

    find_smtp(notifications);
    program = env_string(env, "NOTIFY_SMTP_PROGRAM", notifications->smtp_program);
    if (smtp && access(program, X_OK) != 0)
        env_problem(env, "NOTIFY_SMTP_PROGRAM", "a program (%s is none)", program);
    return smtp ? program : NULL;
}

static int consume(struct notifications *notifications, bool mails)
{
    int status = 0;

    for (size_t i = 0; status == 0 && i < TOPICS; i++) {
        struct worker_config config = {
            .note_size = sizeof(struct notice),
            .may_refuse_late = mails,
            .begin = begin,
            .finish = finish,
            .settle = settle,
            .context = &notifications->topics[i],
        };
        status = app_consume(&notifications->app, notifications->topics[i].queue, &config);
    }
    return status;
}

int main(void)
{
    struct notifications notifications = {
        .topics = {
            {&notifications, "orders", QUEUE_NOTIFY_ORDERS, read_order, {NULL}, NULL},
            {&notifications, "payments", QUEUE_NOTIFY_PAYMENTS, read_payment, {NULL}, NULL},
            {&notifications, "shipments", QUEUE_NOTIFY_SHIPMENTS, read_shipment, {NULL}, NULL}}};
    const char *program = NULL;
    struct err err;
    int status = app_init(&notifications.app, "notification-service", 8003, 0, 0);

    if (status == 0) {
        program = choose_sink(&notifications);
        status = declare_metrics(&notifications);
    }
    if (status == 0 && sink_new(&notifications.sink, program, &err) != ERR_NONE) {
        fprintf(stderr, "notification-service: %s\n", err.text);
        status = 1;
    }
    notifications.app.worker_goal = TOPICS;
    if (status == 0)
        status = app_start(&notifications.app);
    if (status == 0)
        status = consume(&notifications, program != NULL);
    if (status == 0) {
        app_wait(&notifications.app);
        status = app_finish(&notifications.app);
    }
    app_free(&notifications.app);
    sink_free(notifications.sink);
    return status;
}
