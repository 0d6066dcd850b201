#include "workloads/lib/amqp/dial.h"

#include <limits.h>
#include <poll.h>

#include "workloads/lib/emit.h"

bool dial_wait(const struct dial *dial, int fd, int64_t ms)
{
    struct pollfd fds[] = {{.fd = dial->stop_fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    int timeout = ms < 0 ? -1 : ms > INT_MAX ? INT_MAX : (int)ms;

    /* An interrupted wait is a short wait: the caller looks again. */
    return poll(fds, 2, timeout) > 0 && fds[0].revents != 0;
}

static void report(struct dial *dial, const struct err *err, unsigned attempt, int64_t next_ms)
{
    bool late = attempt > dial->broker->retry_attempts;
    struct out *o =
        log_begin(dial->log, late ? LEVEL_ERROR : LEVEL_WARNING,
                  late ? "still no connection to RabbitMQ" : "no connection to RabbitMQ");

    if (o == NULL)
        return;
    emit_key_string(o, "connection", dial->name);
    emit_key_string(o, "error", err->text);
    emit_key_int(o, "attempt", attempt);
    emit_key_decimal(o, "next_attempt_seconds", next_ms, 3);
    log_end(dial->log);
}

static void log_link(struct dial *dial, enum log_level level, const char *message,
                     const struct err *err)
{
    struct out *o = log_begin(dial->log, level, message);

    if (o == NULL)
        return;
    emit_key_string(o, "connection", dial->name);
    if (err != NULL)
        emit_key_string(o, "error", err->text);
    log_end(dial->log);
}

static struct link *attempt_once(struct dial *dial, struct err *err)
{
    for (unsigned i = 0; i < DIAL_REPEATS; i++) {
        struct link *link;
        if (link_open(&link, dial->broker, dial->name, err) != ERR_NONE)
            return NULL;
        if (dial->prepare(dial->context, link, err) == ERR_NONE)
            return link;
        link_close(link);
        if (err->code != ERR_CONFLICT)
            return NULL;
        log_link(dial, LEVEL_WARNING, "the broker has it otherwise", err);
    }
    return NULL;
}

struct link *dial_open(struct dial *dial)
{
    struct err err;

    for (unsigned attempt = 1; !dial_wait(dial, -1, 0); attempt++) {
        struct link *link = attempt_once(dial, &err);
        int64_t delay;
        if (link != NULL) {
            log_link(dial, LEVEL_INFO, "connected to RabbitMQ", NULL);
            metric_set(dial->metrics.connected, 1);
            metric_add(dial->metrics.connects, 1);
            return link;
        }
        delay = broker_retry_ms(dial->broker, attempt);
        report(dial, &err, attempt, delay);
        if (dial_wait(dial, -1, delay))
            break;
    }
    return NULL;
}

void dial_lost(struct dial *dial, struct link *link, const struct err *why)
{
    metric_set(dial->metrics.connected, 0);
    link_close(link);
    if (why == NULL)
        return;
    log_link(dial, LEVEL_ERROR, "lost the connection to RabbitMQ", why);
    (void)dial_wait(dial, -1, dial->broker->retry_delay_ms);
}
