/* Proves, from all that was published, that no order was lost, paid or shipped twice. Pure.
 *
 * An order may be published again after a crash, and so may what comes of it; such a repeat must
 * have the message id of the first, and its bytes. So by distinct order id: each order has one
 * payment, of its amount, and no payment is without its order; each payment that succeeded has one
 * shipment, and no shipment is without such a payment; each of the three has at least one
 * notification, always with the same id and text. */
#ifndef COVEY_WORKLOADS_ORDERS_VERIFY_H
#define COVEY_WORKLOADS_ORDERS_VERIFY_H

#include <stdint.h>

#include "proto/base/err.h"
#include "workloads/lib/scan.h"

enum verify_kind {
    VERIFY_ORDER,
    VERIFY_PAYMENT,
    VERIFY_SHIPMENT,
    VERIFY_NOTICE,
    VERIFY_KINDS,
};

struct verify;

struct verify_counts {
    uint64_t messages[VERIFY_KINDS]; /* all that were added */
    uint64_t distinct[VERIFY_KINDS]; /* by order id; notifications by their id */
    uint64_t paid;                   /* payments that succeeded */
    uint64_t lost;                   /* orders without a payment, paid ones without a shipment */
    uint64_t twice;                  /* payments and shipments that differ from another */
    uint64_t silent;                 /* notifications that are missing */
    uint64_t wrong;                  /* whatever else should not be */
};

int verify_new(struct verify **out, struct err *err);
void verify_free(struct verify *verify); /* NULL is allowed */

/* Adds a message of an exchange; @body is copied. ERR_NOMEM; what cannot be read is counted as
 * wrong. */
int verify_message(struct verify *verify, enum verify_kind kind, struct span id, struct span body,
                   struct err *err);

/* Adds a line of notification-service's log; lines about other things are passed over. */
int verify_log_line(struct verify *verify, struct span line, struct err *err);

/* There is no log: whether notifications were sent is not judged. */
void verify_without_log(struct verify *verify);

/* Judges. @complain is told each thing that is wrong, in one line. True: all holds. */
bool verify_judge(struct verify *verify, struct verify_counts *counts,
                  void (*complain)(void *context, const char *text), void *context);

#endif
