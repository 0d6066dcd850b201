/* The exchanges and queues of the order pipeline. Every program declares all of them, so that
 * nothing is published before there is a queue that keeps it, whichever starts first. */
#ifndef COVEY_WORKLOADS_ORDERS_TOPOLOGY_H
#define COVEY_WORKLOADS_ORDERS_TOPOLOGY_H

#include <stdint.h>

#include "proto/base/err.h"
#include "workloads/lib/amqp/link.h"

#define EXCHANGE_ORDERS "orders"
#define EXCHANGE_PAYMENTS "payments"
#define EXCHANGE_SHIPMENTS "shipments"
#define EXCHANGE_DEAD "dead_letters"

#define QUEUE_PAYMENT "payment_processor_queue"
#define QUEUE_FULFILLMENT "fulfillment_processor_queue"
#define QUEUE_NOTIFY_ORDERS "notifications_orders_queue"
#define QUEUE_NOTIFY_PAYMENTS "notifications_payments_queue"
#define QUEUE_NOTIFY_SHIPMENTS "notifications_shipments_queue"
#define QUEUE_DEAD "dead_letter_queue"

struct topology {
    uint32_t foreign; /* bit i: queue i exists with other arguments, and is taken as it is */
};

/* Declares everything. A queue that was made without a dead-letter exchange (by another program, in
 * earlier days) is ERR_CONFLICT the first time and taken as it is from then on. */
int topology_declare(struct topology *topology, struct link *link, struct err *err);

#endif
