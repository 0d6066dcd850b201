/* What becomes of an order: drawn from its id alone, so that whoever works on it again after a
 * crash, on whichever Pi, comes to the same transaction, result and tracking number, to the last
 * byte. Pure.
 *
 * All programs of a flock must use the same seed and success rate; whoever changes them lets the
 * queues run empty first. */
#ifndef COVEY_WORKLOADS_ORDERS_OUTCOME_H
#define COVEY_WORKLOADS_ORDERS_OUTCOME_H

#include <stdint.h>

#include "workloads/orders/order.h"

/* The customers and products that orders are made of. */
struct product {
    const char *id;
    const char *name;
    int64_t cents;
};
extern const struct product order_products[];
extern const size_t order_product_count;
extern const char *const order_customers[];
extern const size_t order_customer_count;

/* Decides the payment for @order; its items are borrowed. *unit is where in [0, 1) its duration
 * lies. */
void outcome_payment(uint64_t seed, double success_rate, const struct order *order,
                     struct payment *payment, double *unit);

/* Decides the shipment for a payment that succeeded. */
void outcome_shipment(uint64_t seed, const struct payment *payment, struct shipment *shipment,
                      double *unit);

#endif
