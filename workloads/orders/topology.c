#include "workloads/orders/topology.h"

static const struct {
    const char *queue;
    const char *exchange;
    const char *dead;
} table[] = {
    {QUEUE_DEAD, EXCHANGE_DEAD, NULL},
    {QUEUE_PAYMENT, EXCHANGE_ORDERS, EXCHANGE_DEAD},
    {QUEUE_NOTIFY_ORDERS, EXCHANGE_ORDERS, EXCHANGE_DEAD},
    {QUEUE_FULFILLMENT, EXCHANGE_PAYMENTS, EXCHANGE_DEAD},
    {QUEUE_NOTIFY_PAYMENTS, EXCHANGE_PAYMENTS, EXCHANGE_DEAD},
    {QUEUE_NOTIFY_SHIPMENTS, EXCHANGE_SHIPMENTS, EXCHANGE_DEAD},
};

int topology_declare(struct topology *topology, struct link *link, struct err *err)
{
    for (unsigned i = 0; i < sizeof table / sizeof table[0]; i++) {
        bool foreign = (topology->foreign >> i & 1) != 0;
        if (link_exchange(link, table[i].exchange, err) != ERR_NONE)
            return err->code;
        if (link_queue(link, table[i].queue, table[i].dead, foreign, err) != ERR_NONE) {
            if (err->code == ERR_CONFLICT && !foreign)
                topology->foreign |= UINT32_C(1) << i;
            return err->code;
        }
        if (link_bind(link, table[i].queue, table[i].exchange, err) != ERR_NONE)
            return err->code;
    }
    return ERR_NONE;
}
