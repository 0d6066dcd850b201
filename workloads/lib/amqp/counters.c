#include "workloads/lib/amqp/counters.h"

#include <stddef.h>

static const char *const labels[] = {"connection", NULL};

static const struct {
    struct metric_spec spec;
    size_t at; /* in struct link_metrics */
} table[COUNTERS] = {
    {{METRIC_GAUGE, "amqp_connected", "1 while there is a connection to RabbitMQ", labels, NULL, 0},
     offsetof(struct link_metrics, connected)},
    {{METRIC_GAUGE, "amqp_blocked", "1 while RabbitMQ takes no publications", labels, NULL, 0},
     offsetof(struct link_metrics, blocked)},
    {{METRIC_COUNTER, "amqp_connects_total", "Connections made to RabbitMQ", labels, NULL, 0},
     offsetof(struct link_metrics, connects)},
    {{METRIC_COUNTER, "messages_published_total", "Messages published and confirmed", labels, NULL,
      0},
     offsetof(struct link_metrics, published)},
    {{METRIC_COUNTER, "messages_delivered_total", "Messages delivered", labels, NULL, 0},
     offsetof(struct link_metrics, delivered)},
    {{METRIC_COUNTER, "messages_redelivered_total", "Messages delivered that were delivered before",
      labels, NULL, 0},
     offsetof(struct link_metrics, redelivered)},
    {{METRIC_COUNTER, "messages_acked_total", "Messages acknowledged", labels, NULL, 0},
     offsetof(struct link_metrics, acked)},
    {{METRIC_COUNTER, "messages_dead_lettered_total", "Messages refused", labels, NULL, 0},
     offsetof(struct link_metrics, dead)},
};

int counters_declare(struct counters *counters, struct metrics *metrics, struct err *err)
{
    for (size_t i = 0; i < COUNTERS; i++)
        if (metrics_family(metrics, &table[i].spec, &counters->families[i], err) != ERR_NONE)
            return err->code;
    return ERR_NONE;
}

void counters_of(const struct counters *counters, const char *name, struct link_metrics *series)
{
    for (size_t i = 0; i < COUNTERS; i++)
        *(struct metric **)((char *)series + table[i].at) =
            metric_with(counters->families[i], &name);
}
