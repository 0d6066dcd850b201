/* What the messages of the pipeline say, as JSON. Pure.
 *
 * Written by the rules of workloads/lib/emit.h; read strictly: fields that are missing, twice there
 * or out of range are an error, fields that are not known are passed over, so that newer programs
 * may say more. `version` is 1 where it is absent. Amounts are euro, kept in cents. */
#ifndef COVEY_WORKLOADS_ORDERS_ORDER_H
#define COVEY_WORKLOADS_ORDERS_ORDER_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "workloads/lib/scan.h"
#include "workloads/lib/out.h"

#define ORDER_VERSION 1
#define ORDER_MESSAGE_MAX 65536 /* bytes of a message that is read */
#define ORDER_ID_TEXT 65        /* terminating zero included, as in all _TEXT */
#define ORDER_EMAIL_TEXT 255
#define ORDER_WORD_TEXT 33 /* method, failure_reason, carrier */
#define ORDER_ITEMS_MAX 100
#define ORDER_CENTS_MAX INT64_C(100000000000) /* a thousand million euro */
#define ORDER_QUANTITY_MAX 1000000
#define TXN_ID_TEXT 37   /* "TXN-" and 32 digits */
#define TRACKING_TEXT 92 /* "TRACK-", the order's id, "-", seconds */
#define DATE_TEXT 11     /* "2026-01-31" */

struct order_items {
    struct span json; /* the array, checked; lies in what was read */
    size_t count;
};

/* On the exchange `orders`. */
struct order {
    char order_id[ORDER_ID_TEXT]; /* letters, digits, '-', '_', '.' */
    char customer_email[ORDER_EMAIL_TEXT];
    int64_t total_cents;
    int64_t created_us; /* since 1970 */
    struct order_items items;
};

/* On the exchange `payments`. */
struct payment {
    char order_id[ORDER_ID_TEXT];
    char customer_email[ORDER_EMAIL_TEXT];
    int64_t amount_cents;
    int64_t ordered_us;
    bool success;
    char txn_id[TXN_ID_TEXT];
    char method[ORDER_WORD_TEXT];
    char failure_reason[ORDER_WORD_TEXT]; /* empty after a success */
    struct order_items items;
};

/* On the exchange `shipments`. */
struct shipment {
    char order_id[ORDER_ID_TEXT];
    char customer_email[ORDER_EMAIL_TEXT];
    int64_t ordered_us;
    char tracking_number[TRACKING_TEXT];
    char carrier[ORDER_WORD_TEXT];
    char est_delivery[DATE_TEXT];
    struct order_items items;
};

/* Read @body. ERR_LIMIT: longer than ORDER_MESSAGE_MAX; ERR_VERSION; ERR_INVALID. The message says
 * what is wrong in one line. */
int order_read(struct span body, struct order *order, struct err *err);
int payment_read(struct span body, struct payment *payment, struct err *err);
int shipment_read(struct span body, struct shipment *shipment, struct err *err);

/* Append the message to @o. */
void order_write(const struct order *order, struct out *o);
void payment_write(const struct payment *payment, struct out *o);
void shipment_write(const struct shipment *shipment, struct out *o);

#endif
