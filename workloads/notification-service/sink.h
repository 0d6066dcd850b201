/* Where notifications go: the log alone, or a mail server through the program notify-smtp. */
#ifndef COVEY_WORKLOADS_NOTIFICATION_SINK_H
#define COVEY_WORKLOADS_NOTIFICATION_SINK_H

#include "proto/base/err.h"
#include "workloads/lib/amqp/worker.h"
#include "workloads/orders/notice.h"

struct sink;

/* @program: the path of notify-smtp, or NULL for the log alone. ERR_NOMEM. */
int sink_new(struct sink **out, const char *program, struct err *err);

/* Ends the program. NULL is allowed. */
void sink_free(struct sink *sink);

/* Sends; from any thread, one at a time. JOB_DONE, JOB_LATER or JOB_REFUSE, the latter two with the
 * reason in @err. Blocks for as long as the mail server takes, at most SINK_WAIT_S. */
enum job_end sink_send(struct sink *sink, const struct notice *notice, struct err *err);

#define SINK_WAIT_S 60

#endif
