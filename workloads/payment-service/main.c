/* payment-service: takes orders, decides their payment, publishes it on the exchange `payments`.
 *
 *     SUCCESS_RATE  share of payments that succeed (0.9); the same in all replicas
 *
 * and the variables of workloads/orders/app.h; DELAY_MIN and DELAY_MAX are 0.5 and 2, PORT is 8001.
 */
#include <stdio.h>
#include <string.h>

#include "workloads/lib/emit.h"
#include "workloads/orders/app.h"
#include "workloads/orders/outcome.h"

struct payments {
    struct app app;
    double success_rate;
    struct metric *processed[2]; /* failed, success */
    struct metric *amount[2];
    struct metric *duration;
};

/* What is kept of an order while it is worked on: the body that is to be published is ready, so
 * nothing of it but what is told. */
struct note {
    char message_id[sizeof "payment-" + ORDER_ID_TEXT];
    char order_id[ORDER_ID_TEXT];
    char txn_id[TXN_ID_TEXT];
    char failure_reason[ORDER_WORD_TEXT];
    int64_t amount_cents;
    bool success;
};

static int begin(void *context, const struct delivery *in, struct job *job, struct err *err)
{
    struct payments *payments = context;
    struct note *note = job->note;
    struct payment payment;
    struct order order;
    double unit;
    int len;

    if (order_read(in->body, &order, err) != ERR_NONE)
        return err->code;
    if (!job->traced)
        trace_begin(&job->trace, order.order_id);
    outcome_payment(payments->app.seed, payments->success_rate, &order, &payment, &unit);
    payment_write(&payment, &job->body);
    memcpy(note->order_id, payment.order_id, sizeof note->order_id);
    memcpy(note->txn_id, payment.txn_id, sizeof note->txn_id);
    memcpy(note->failure_reason, payment.failure_reason, sizeof note->failure_reason);
    note->amount_cents = payment.amount_cents;
    note->success = payment.success;
    len = snprintf(note->message_id, sizeof note->message_id, "payment-%s", payment.order_id);
    job->id = (struct span){note->message_id, (size_t)len};
    job->delay_us = app_delay_us(&payments->app, unit);
    return ERR_NONE;
}

static enum job_end finish(void *context, struct job *job, struct err *err)
{
    struct payments *payments = context;
    const struct note *note = job->note;
    struct out *o =
        app_log(&payments->app, LEVEL_INFO, note->success ? "payment succeeded" : "payment failed",
                note->order_id, &job->trace);
    (void)err;

    if (o != NULL) {
        emit_key_string(o, "txn_id", note->txn_id);
        emit_key_decimal(o, "amount", note->amount_cents, 2);
        if (!note->success)
            emit_key_string(o, "failure_reason", note->failure_reason);
        if (job->redelivered)
            emit_key_bool(o, "redelivered", true);
        log_end(payments->app.service.log);
    }
    metric_add(payments->processed[note->success], 1);
    metric_add(payments->amount[note->success], (double)note->amount_cents / 100);
    metric_observe(payments->duration, app_seconds_since(job->started_us));
    return JOB_DONE;
}

static int declare_metrics(struct payments *payments)
{
    static const char *const labels[] = {"status", NULL};
    static const char *const statuses[] = {"failed", "success"};
    const struct metric_spec specs[] = {
        {METRIC_COUNTER, "payments_processed_total", "Payments processed", labels, NULL, 0},
        {METRIC_COUNTER, "payment_amount_total", "Amounts of payments, in euro", labels, NULL, 0},
        {METRIC_HISTOGRAM, "payment_processing_duration_seconds",
         "From an order's delivery to its result", NULL, metric_seconds, metric_seconds_count},
    };
    struct metric_family *families[3];

    for (size_t i = 0; i < 3; i++)
        if (app_family(&payments->app, &specs[i], &families[i]) != 0)
            return 1;
    for (size_t i = 0; i < 2; i++) {
        payments->processed[i] = metric_with(families[0], &statuses[i]);
        payments->amount[i] = metric_with(families[1], &statuses[i]);
    }
    payments->duration = metric_of(families[2]);
    return 0;
}

int main(void)
{
    struct payments payments = {0};
    struct worker_config config = {
        .exchange = EXCHANGE_PAYMENTS,
        .note_size = sizeof(struct note),
        .begin = begin,
        .finish = finish,
        .context = &payments,
    };
    int status = app_init(&payments.app, "payment-service", 8001, 0.5, 2);

    if (status == 0) {
        payments.success_rate = env_real(&payments.app.service.env, "SUCCESS_RATE", 0.9, 0, 1);
        status = declare_metrics(&payments);
    }
    if (status == 0)
        status = app_start(&payments.app);
    if (status == 0)
        status = app_consume(&payments.app, QUEUE_PAYMENT, &config);
    if (status == 0) {
        app_wait(&payments.app);
        status = app_finish(&payments.app);
    }
    app_free(&payments.app);
    return status;
}
