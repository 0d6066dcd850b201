/* fulfillment-service: takes payments, ships what was paid, publishes it on the exchange
 * `shipments`.
 *
 * It reads the variables of workloads/orders/app.h; DELAY_MIN and DELAY_MAX are 1 and 3, PORT is
 * 8002. */
#include <stdio.h>
#include <string.h>

#include "workloads/lib/emit.h"
#include "workloads/orders/app.h"
#include "workloads/orders/outcome.h"

struct fulfillment {
    struct app app;
    struct metric *created;
    struct metric *skipped;
    struct metric *duration;
};

struct note {
    char message_id[sizeof "shipment-" + ORDER_ID_TEXT];
    char order_id[ORDER_ID_TEXT];
    char tracking_number[TRACKING_TEXT];
    char carrier[ORDER_WORD_TEXT];
    char failure_reason[ORDER_WORD_TEXT]; /* of a payment that failed; else empty */
};

static int begin(void *context, const struct delivery *in, struct job *job, struct err *err)
{
    struct fulfillment *fulfillment = context;
    struct note *note = job->note;
    struct shipment shipment;
    struct payment payment;
    double unit;
    int len;

    if (payment_read(in->body, &payment, err) != ERR_NONE)
        return err->code;
    if (!job->traced)
        trace_begin(&job->trace, payment.order_id);
    memcpy(note->order_id, payment.order_id, sizeof note->order_id);
    memcpy(note->failure_reason, payment.failure_reason, sizeof note->failure_reason);
    if (!payment.success)
        return ERR_NONE;
    outcome_shipment(fulfillment->app.seed, &payment, &shipment, &unit);
    shipment_write(&shipment, &job->body);
    memcpy(note->tracking_number, shipment.tracking_number, sizeof note->tracking_number);
    memcpy(note->carrier, shipment.carrier, sizeof note->carrier);
    len = snprintf(note->message_id, sizeof note->message_id, "shipment-%s", shipment.order_id);
    job->id = (struct span){note->message_id, (size_t)len};
    job->delay_us = app_delay_us(&fulfillment->app, unit);
    return ERR_NONE;
}

static enum job_end finish(void *context, struct job *job, struct err *err)
{
    struct fulfillment *fulfillment = context;
    const struct note *note = job->note;
    bool skip = note->failure_reason[0] != '\0';
    struct out *o = app_log(&fulfillment->app, LEVEL_INFO,
                            skip ? "skipped: the payment failed" : "shipment created",
                            note->order_id, &job->trace);
    (void)err;

    if (o != NULL) {
        if (skip) {
            emit_key_string(o, "failure_reason", note->failure_reason);
        } else {
            emit_key_string(o, "tracking_number", note->tracking_number);
            emit_key_string(o, "carrier", note->carrier);
        }
        if (job->redelivered)
            emit_key_bool(o, "redelivered", true);
        log_end(fulfillment->app.service.log);
    }
    if (skip) {
        metric_add(fulfillment->skipped, 1);
        return JOB_DONE;
    }
    metric_add(fulfillment->created, 1);
    metric_observe(fulfillment->duration, app_seconds_since(job->started_us));
    return JOB_DONE;
}

static int declare_metrics(struct fulfillment *fulfillment)
{
    const struct metric_spec specs[] = {
        {METRIC_COUNTER, "shipments_created_total", "Shipments created", NULL, NULL, 0},
        {METRIC_COUNTER, "shipments_skipped_total", "Payments that failed, so nothing is shipped",
         NULL, NULL, 0},
        {METRIC_HISTOGRAM, "fulfillment_processing_duration_seconds",
         "From a payment's delivery to its shipment", NULL, metric_seconds, metric_seconds_count},
    };
    struct metric_family *families[3];

    for (size_t i = 0; i < 3; i++)
        if (app_family(&fulfillment->app, &specs[i], &families[i]) != 0)
            return 1;
    fulfillment->created = metric_of(families[0]);
    fulfillment->skipped = metric_of(families[1]);
    fulfillment->duration = metric_of(families[2]);
    return 0;
}

int main(void)
{
    struct fulfillment fulfillment = {0};
    struct worker_config config = {
        .exchange = EXCHANGE_SHIPMENTS,
        .note_size = sizeof(struct note),
        .begin = begin,
        .finish = finish,
        .context = &fulfillment,
    };
    int status = app_init(&fulfillment.app, "fulfillment-service", 8002, 1, 3);

    if (status == 0)
        status = declare_metrics(&fulfillment);
    if (status == 0)
        status = app_start(&fulfillment.app);
    if (status == 0)
        status = app_consume(&fulfillment.app, QUEUE_FULFILLMENT, &config);
    if (status == 0) {
        app_wait(&fulfillment.app);
        status = app_finish(&fulfillment.app);
    }
    app_free(&fulfillment.app);
    return status;
}
