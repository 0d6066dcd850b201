/* Notifications: what a customer is told. Pure. */
#ifndef COVEY_WORKLOADS_ORDERS_NOTICE_H
#define COVEY_WORKLOADS_ORDERS_NOTICE_H

#include "workloads/orders/order.h"

#define NOTICE_ID_TEXT 96 /* type, '-', the order's id */
#define NOTICE_TEXT 128

enum notice_type {
    NOTICE_ORDER,
    NOTICE_PAID,
    NOTICE_FAILED,
    NOTICE_SHIPPED,
    NOTICE_TYPES,
};

/* "order_confirmation", "payment_success", "payment_failed", "shipment_notification". */
extern const char *const notice_type_names[NOTICE_TYPES];

struct notice {
    enum notice_type type;
    char id[NOTICE_ID_TEXT]; /* the same whenever it is made */
    char order_id[ORDER_ID_TEXT];
    char to[ORDER_EMAIL_TEXT];
    char text[NOTICE_TEXT];
    int64_t ordered_us;
};

void notice_of_order(const struct order *order, struct notice *notice);
void notice_of_payment(const struct payment *payment, struct notice *notice);
void notice_of_shipment(const struct shipment *shipment, struct notice *notice);

#endif
