/* order-generator: makes orders and publishes them on the exchange `orders`.
 *
 *     INTERVAL_MIN, INTERVAL_MAX  seconds between two batches (10, 20); 0: as fast as possible
 *     ORDERS_MIN, ORDERS_MAX      orders in a batch (1, 5)
 *     ORDER_COUNT                 ends after so many; 0: never (0)
 *     SEED                        of the orders; without it they differ each time
 *     OUTBOX                      a file that keeps orders until the broker has them, and how many
 *                                 there were; without it orders on their way end with the program
 *
 * and the variables of workloads/orders/app.h, without its delays; PORT is 8000. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "workloads/lib/amqp/publisher.h"
#include "workloads/lib/emit.h"
#include "workloads/lib/random.h"
#include "workloads/order-generator/outbox.h"
#include "workloads/orders/app.h"
#include "workloads/orders/outcome.h"

#define FLAT_OUT_BATCH 100 /* orders on their way at once, where there is no interval */
#define ITEMS_MAX 3
#define QUANTITY_MAX 3
#define ITEMS_TEXT 1024

struct generator {
    struct app app;
    struct dial dial;
    struct publisher *publisher;
    struct topology topology;
    struct outbox outbox;
    struct metric *generated;
    int64_t interval_min_us;
    int64_t interval_max_us;
    int64_t batch_min;
    int64_t batch_max;
    uint64_t order_count;
    pthread_t thread;
    bool failed;
    char id[sizeof "order-" + ORDER_ID_TEXT];
    char traceparent[TRACE_PARENT_TEXT];
};

/* Items of different products; returns their sum. */
static int64_t put_items(struct rng *rng, struct out *o)
{
    size_t count = 1 + rng_index(rng, ITEMS_MAX);
    uint32_t taken = 0;
    int64_t total = 0;

    emit_array(o);
    while (count > 0) {
        size_t i = rng_index(rng, order_product_count);
        const struct product *product = &order_products[i];
        int64_t quantity;
        if ((taken >> i & 1) != 0)
            continue;
        taken |= UINT32_C(1) << i;
        quantity = rng_range(rng, 1, QUANTITY_MAX);
        emit_object(o);
        emit_key_string(o, "product_id", product->id);
        emit_key_string(o, "name", product->name);
        emit_key_int(o, "quantity", quantity);
        emit_key_decimal(o, "price", product->cents, 2);
        emit_key_decimal(o, "subtotal", product->cents * quantity, 2);
        emit_object_end(o);
        total += product->cents * quantity;
        count--;
    }
    emit_array_end(o);
    return total;
}

static int make_order(struct generator *generator, struct err *err)
{
    struct rng *rng = &generator->outbox.rng;
    char items[ITEMS_TEXT];
    struct timespec now;
    struct order order;
    struct out o;

    out_init(&o, items, sizeof items, 0);
    clock_gettime(CLOCK_REALTIME, &now);
    random_uuid(rng, order.order_id);
    snprintf(order.customer_email, sizeof order.customer_email, "%s",
             order_customers[rng_index(rng, order_customer_count)]);
    order.created_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    order.total_cents = put_items(rng, &o);
    order.items.json = (struct span){o.data, o.len};
    generator->outbox.generated++;
    return outbox_add(&generator->outbox, &order, err);
}

static int make_batch(struct generator *generator, struct err *err)
{
    struct outbox *outbox = &generator->outbox;

    outbox_clear(outbox);
    do {
        int64_t count = rng_range(&outbox->rng, generator->batch_min, generator->batch_max);
        for (; count > 0; count--) {
            if (generator->order_count > 0 && outbox->generated >= generator->order_count)
                return outbox_save(outbox, err);
            if (make_order(generator, err) != ERR_NONE)
                return err->code;
        }
    } while (generator->interval_max_us == 0 && outbox->count < FLAT_OUT_BATCH);
    return outbox_save(outbox, err);
}

static void fill(void *context, size_t index, struct message *message)
{
    struct generator *generator = context;
    const char *order_id = generator->outbox.orders[index].id;
    struct trace trace;
    int len;

    trace_begin(&trace, order_id);
    trace_format(&trace, generator->traceparent);
    len = snprintf(generator->id, sizeof generator->id, "order-%s", order_id);
    *message = (struct message){
        .exchange = EXCHANGE_ORDERS,
        .routing_key = "",
        .id = {generator->id, (size_t)len},
        .traceparent = {generator->traceparent, TRACE_PARENT_TEXT - 1},
        .body = outbox_body(&generator->outbox, index),
    };
}

static void log_published(struct generator *generator)
{
    for (size_t i = 0; i < generator->outbox.count; i++) {
        struct trace trace;
        struct out *o;
        trace_begin(&trace, generator->outbox.orders[i].id);
        o = app_log(&generator->app, LEVEL_INFO, "order published", generator->outbox.orders[i].id,
                    &trace);
        if (o == NULL)
            return;
        emit_key_decimal(o, "total_amount", generator->outbox.orders[i].total_cents, 2);
        log_end(generator->app.service.log);
    }
    metric_add(generator->generated, (double)generator->outbox.count);
}

/* True: it is done, by request or by number. */
static bool generate(struct generator *generator)
{
    struct outbox *outbox = &generator->outbox;
    struct err err;

    if (outbox->count > 0 && !publisher_send(generator->publisher, outbox->count, fill, generator))
        return true;
    log_published(generator);
    if (generator->order_count > 0 && outbox->generated >= generator->order_count)
        return true;
    if (generator->interval_max_us > 0 &&
        publisher_rest(
            generator->publisher,
            rng_range(&outbox->rng, generator->interval_min_us, generator->interval_max_us) / 1000))
        return true;
    if (make_batch(generator, &err) == ERR_NONE)
        return false;
    {
        struct out *o = log_begin(generator->app.service.log, LEVEL_CRITICAL, "no orders");
        if (o != NULL) {
            emit_key_string(o, "error", err.text);
            log_end(generator->app.service.log);
        }
    }
    generator->failed = true;
    return true;
}

static void *run(void *arg)
{
    struct generator *generator = arg;

    while (!generate(generator))
        ;
    kill(getpid(), SIGTERM); /* the main thread waits for it */
    return NULL;
}

static int declare(void *context, struct link *link, struct err *err)
{
    return topology_declare(context, link, err);
}

static bool connected(void *context)
{
    const struct generator *generator = context;
    return publisher_ready(generator->publisher);
}

static int configure(struct generator *generator)
{
    static const struct metric_spec spec = {
        METRIC_COUNTER, "orders_generated_total", "Orders that the broker has", NULL, NULL, 0};
    struct env *env = &generator->app.service.env;
    double min = env_real(env, "INTERVAL_MIN", 10, 0, 86400);
    double max = env_real(env, "INTERVAL_MAX", 20, 0, 86400);
    struct metric_family *family;

    generator->interval_min_us = (int64_t)(min * 1e6);
    generator->interval_max_us = (int64_t)(max * 1e6);
    if (max < min)
        env_problem(env, "INTERVAL_MAX", "not less than INTERVAL_MIN, which is %g", min);
    generator->batch_min = env_int(env, "ORDERS_MIN", 1, 1, FLAT_OUT_BATCH);
    generator->batch_max = env_int(env, "ORDERS_MAX", 5, 1, FLAT_OUT_BATCH);
    if (generator->batch_max < generator->batch_min)
        env_problem(env, "ORDERS_MAX", "not less than ORDERS_MIN, which is %lld",
                    (long long)generator->batch_min);
    generator->order_count = (uint64_t)env_int(env, "ORDER_COUNT", 0, 0, INT64_C(1000000000000));
    outbox_init(&generator->outbox, env_string(env, "OUTBOX", NULL));
    if (env_string(env, "SEED", NULL) != NULL)
        rng_seed(&generator->outbox.rng, generator->app.seed);
    else
        random_seed(&generator->outbox.rng);
    if (app_family(&generator->app, &spec, &family) != 0)
        return 1;
    generator->generated = metric_of(family);
    return 0;
}

static int start(struct generator *generator)
{
    struct err err;
    int status;

    if (generator->app.service.env.problems == 0 &&
        outbox_load(&generator->outbox, &err) != ERR_NONE)
        goto fail;
    generator->app.ready = connected;
    generator->app.ready_context = generator;
    if (publisher_new(&generator->publisher, &generator->dial, &err) != ERR_NONE)
        goto fail;
    status = app_start(&generator->app);
    if (status != 0)
        return status;
    generator->dial.prepare = declare;
    generator->dial.context = &generator->topology;
    app_dial(&generator->app, "order-generator", &generator->dial);
    if (pthread_create(&generator->thread, NULL, run, generator) == 0)
        return 0;
    err_set(&err, ERR_IO, "cannot start a thread");
fail:
    fprintf(stderr, "order-generator: %s\n", err.text);
    return 1;
}

int main(void)
{
    static struct generator generator;
    int status = app_init(&generator.app, "order-generator", 8000, 0, 0);

    if (status == 0)
        status = configure(&generator);
    if (status == 0)
        status = start(&generator);
    if (status == 0) {
        app_wait(&generator.app);
        pthread_join(generator.thread, NULL);
        status = app_finish(&generator.app);
    }
    if (generator.failed)
        status = 1;
    publisher_free(generator.publisher);
    outbox_free(&generator.outbox);
    app_free(&generator.app);
    return status;
}
