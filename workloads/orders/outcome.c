#include "workloads/orders/outcome.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/id.h"
#include "proto/base/rng.h"
#include "workloads/lib/when.h"

#define DAY_US (INT64_C(86400) * 1000000)
#define DELIVERY_DAYS_MIN 2
#define DELIVERY_DAYS_MAX 7
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

const struct product order_products[] = {
    {"P001", "Laptop", 99999}, {"P002", "Smartphone", 79999}, {"P003", "Headphones", 14999},
    {"P004", "Tablet", 49999}, {"P005", "Smartwatch", 29999}, {"P006", "Keyboard", 8999},
    {"P007", "Mouse", 4999},   {"P008", "Monitor", 34999},
};
const size_t order_product_count = COUNT(order_products);

const char *const order_customers[] = {"alice@example.com",   "bob@example.com",
                                       "charlie@example.com", "diana@example.com",
                                       "eve@example.com",     "frank@example.com"};
const size_t order_customer_count = COUNT(order_customers);

static const char *const methods[] = {"credit_card", "paypal", "bank_transfer"};
static const char *const reasons[] = {"insufficient_funds", "card_expired", "fraud_detected",
                                      "network_error"};
static const char *const carriers[] = {"DHL", "FedEx", "UPS", "USPS"};

static void draw(struct rng *rng, uint64_t seed, const char *purpose, const char *order_id)
{
    rng_seed(rng, hash64_mix(hash64_mix(seed, hash64_string(purpose)), hash64_string(order_id)));
}

void outcome_payment(uint64_t seed, double success_rate, const struct order *order,
                     struct payment *payment, double *unit)
{
    struct rng rng;
    uint64_t high;
    uint64_t low;

    draw(&rng, seed, "payment", order->order_id);
    memcpy(payment->order_id, order->order_id, sizeof payment->order_id);
    memcpy(payment->customer_email, order->customer_email, sizeof payment->customer_email);
    payment->amount_cents = order->total_cents;
    payment->ordered_us = order->created_us;
    payment->items = order->items;
    high = rng_next(&rng);
    low = rng_next(&rng);
    snprintf(payment->txn_id, sizeof payment->txn_id, "TXN-%016llX%016llX",
             (unsigned long long)high, (unsigned long long)low);
    snprintf(payment->method, sizeof payment->method, "%s",
             methods[rng_index(&rng, COUNT(methods))]);
    payment->success = rng_unit(&rng) < success_rate;
    snprintf(payment->failure_reason, sizeof payment->failure_reason, "%s",
             payment->success ? "" : reasons[rng_index(&rng, COUNT(reasons))]);
    *unit = rng_unit(&rng);
}

void outcome_shipment(uint64_t seed, const struct payment *payment, struct shipment *shipment,
                      double *unit)
{
    struct rng rng;
    char day[WHEN_TEXT];
    int64_t days;
    int64_t arrives;

    draw(&rng, seed, "shipment", payment->order_id);
    memcpy(shipment->order_id, payment->order_id, sizeof shipment->order_id);
    memcpy(shipment->customer_email, payment->customer_email, sizeof shipment->customer_email);
    shipment->ordered_us = payment->ordered_us;
    shipment->items = payment->items;
    snprintf(shipment->tracking_number, sizeof shipment->tracking_number, "TRACK-%s-%lld",
             payment->order_id, (long long)(payment->ordered_us / 1000000));
    snprintf(shipment->carrier, sizeof shipment->carrier, "%s",
             carriers[rng_index(&rng, COUNT(carriers))]);
    days = rng_range(&rng, DELIVERY_DAYS_MIN, DELIVERY_DAYS_MAX);
    arrives = payment->ordered_us + days * DAY_US;
    when_format(arrives < WHEN_MAX ? arrives : WHEN_MAX, day);
    snprintf(shipment->est_delivery, sizeof shipment->est_delivery, "%.10s", day);
    *unit = rng_unit(&rng);
}
