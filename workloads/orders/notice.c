#include "workloads/orders/notice.h"

#include <stdio.h>
#include <string.h>

const char *const notice_type_names[NOTICE_TYPES] = {
    [NOTICE_ORDER] = "order_confirmation",
    [NOTICE_PAID] = "payment_success",
    [NOTICE_FAILED] = "payment_failed",
    [NOTICE_SHIPPED] = "shipment_notification",
};

static void address(struct notice *notice, enum notice_type type, const char *order_id,
                    const char *to, int64_t ordered_us)
{
    notice->type = type;
    notice->ordered_us = ordered_us;
    snprintf(notice->id, sizeof notice->id, "%s-%s", notice_type_names[type], order_id);
    snprintf(notice->order_id, sizeof notice->order_id, "%s", order_id);
    snprintf(notice->to, sizeof notice->to, "%s", to);
}

void notice_of_order(const struct order *order, struct notice *notice)
{
    address(notice, NOTICE_ORDER, order->order_id, order->customer_email, order->created_us);
    snprintf(notice->text, sizeof notice->text, "Order #%s received - €%lld.%02d", order->order_id,
             (long long)(order->total_cents / 100), (int)(order->total_cents % 100));
}

void notice_of_payment(const struct payment *payment, struct notice *notice)
{
    address(notice, payment->success ? NOTICE_PAID : NOTICE_FAILED, payment->order_id,
            payment->customer_email, payment->ordered_us);
    if (payment->success)
        snprintf(notice->text, sizeof notice->text, "Payment successful for order #%s",
                 payment->order_id);
    else
        snprintf(notice->text, sizeof notice->text, "Payment failed: %s", payment->failure_reason);
}

void notice_of_shipment(const struct shipment *shipment, struct notice *notice)
{
    address(notice, NOTICE_SHIPPED, shipment->order_id, shipment->customer_email,
            shipment->ordered_us);
    snprintf(notice->text, sizeof notice->text, "Order shipped! Track: %s",
             shipment->tracking_number);
}
