#include "workloads/lib/emit.h"
#include "workloads/lib/when.h"
#include "workloads/orders/order.h"

static void emit_when(struct out *o, const char *key, int64_t us)
{
    char text[WHEN_TEXT];

    when_format(us, text);
    emit_key_string(o, key, text);
}

/* The items as they came, so that nothing of them is lost. */
static void emit_items(struct out *o, const struct order_items *items)
{
    emit_key(o, "items");
    out_bytes(o, items->json.at, items->json.len);
    o->comma = true;
}

void order_write(const struct order *order, struct out *o)
{
    emit_object(o);
    emit_key_int(o, "version", ORDER_VERSION);
    emit_key_string(o, "order_id", order->order_id);
    emit_key_string(o, "customer_email", order->customer_email);
    emit_items(o, &order->items);
    emit_key_decimal(o, "total_amount", order->total_cents, 2);
    emit_key_string(o, "currency", "EUR");
    emit_key_string(o, "status", "pending");
    emit_when(o, "created_at", order->created_us);
    emit_object_end(o);
}

void payment_write(const struct payment *payment, struct out *o)
{
    emit_object(o);
    emit_key_int(o, "version", ORDER_VERSION);
    emit_key_string(o, "order_id", payment->order_id);
    emit_key_string(o, "status", payment->success ? "success" : "failed");
    emit_key_decimal(o, "amount", payment->amount_cents, 2);
    emit_key_string(o, "currency", "EUR");
    emit_key_string(o, "txn_id", payment->txn_id);
    emit_key_string(o, "method", payment->method);
    if (!payment->success)
        emit_key_string(o, "failure_reason", payment->failure_reason);
    emit_key_string(o, "customer_email", payment->customer_email);
    emit_items(o, &payment->items);
    emit_when(o, "ordered_at", payment->ordered_us);
    emit_object_end(o);
}

void shipment_write(const struct shipment *shipment, struct out *o)
{
    emit_object(o);
    emit_key_int(o, "version", ORDER_VERSION);
    emit_key_string(o, "order_id", shipment->order_id);
    emit_key_string(o, "tracking_number", shipment->tracking_number);
    emit_key_string(o, "carrier", shipment->carrier);
    emit_key_string(o, "est_delivery", shipment->est_delivery);
    emit_key_string(o, "status", "shipped");
    emit_key_string(o, "customer_email", shipment->customer_email);
    emit_items(o, &shipment->items);
    emit_when(o, "ordered_at", shipment->ordered_us);
    emit_object_end(o);
}
