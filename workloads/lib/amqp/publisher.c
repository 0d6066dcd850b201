#include "workloads/lib/amqp/publisher.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "workloads/lib/emit.h"

struct publisher {
    struct dial *dial;
    struct link *link; /* or NULL */
    atomic_bool ready;
    bool blocked;
    size_t confirmed;                     /* of the batch */
    bool settled[PUBLISHER_BATCH_MAX];    /* by index */
    size_t sent;                          /* since the connection or the batch began */
    size_t index_of[PUBLISHER_BATCH_MAX]; /* of publication first + i */
    uint64_t first;
};

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int publisher_new(struct publisher **out, struct dial *dial, struct err *err)
{
    struct publisher *publisher = calloc(1, sizeof *publisher);

    if (publisher == NULL)
        return err_set(err, ERR_NOMEM, "make a publisher");
    publisher->dial = dial;
    *out = publisher;
    return ERR_NONE;
}

void publisher_free(struct publisher *publisher)
{
    if (publisher == NULL)
        return;
    link_close(publisher->link);
    free(publisher);
}

bool publisher_ready(const struct publisher *publisher)
{
    return atomic_load(&publisher->ready);
}

static bool connect_to(struct publisher *publisher)
{
    if (publisher->link == NULL) {
        publisher->link = dial_open(publisher->dial);
        publisher->blocked = false;
        publisher->sent = 0;
        metric_set(publisher->dial->metrics.blocked, 0);
        atomic_store(&publisher->ready, publisher->link != NULL);
    }
    return publisher->link != NULL;
}

static void lose(struct publisher *publisher, const struct err *why)
{
    atomic_store(&publisher->ready, false);
    dial_lost(publisher->dial, publisher->link, why);
    publisher->link = NULL;
}

static void set_blocked(struct publisher *publisher, bool blocked, struct span reason)
{
    struct out *o = log_begin(publisher->dial->log, blocked ? LEVEL_ERROR : LEVEL_INFO,
                              blocked ? "RabbitMQ takes no messages: waiting until it does"
                                      : "RabbitMQ takes messages again");

    publisher->blocked = blocked;
    metric_set(publisher->dial->metrics.blocked, blocked);
    if (o == NULL)
        return;
    emit_key_string(o, "connection", publisher->dial->name);
    if (blocked) {
        emit_key(o, "reason");
        emit_string_n(o, reason.at, reason.len);
    }
    log_end(publisher->dial->log);
}

static void settle(struct publisher *publisher, uint64_t seq)
{
    size_t at = (size_t)(seq - publisher->first);
    bool *settled;

    if (seq < publisher->first || at >= publisher->sent)
        return;
    settled = &publisher->settled[publisher->index_of[at]];
    if (!*settled) {
        *settled = true;
        publisher->confirmed++;
        metric_add(publisher->dial->metrics.published, 1);
    }
}

static int read_events(struct publisher *publisher, struct err *err)
{
    struct link_event event;

    do {
        int rc = link_read(publisher->link, &event, err);
        if (rc != ERR_NONE)
            return rc;
        if (event.type == LINK_BLOCKED || event.type == LINK_UNBLOCKED)
            set_blocked(publisher, event.type == LINK_BLOCKED, event.reason);
        if (event.type != LINK_CONFIRM)
            continue;
        if (event.multiple)
            for (uint64_t seq = publisher->first; seq < event.seq; seq++)
                settle(publisher, seq);
        settle(publisher, event.seq);
    } while (link_buffered(publisher->link));
    return ERR_NONE;
}

/* Sends what is not confirmed, once on each connection. */
static int send_all(struct publisher *publisher, size_t count,
                    void (*make)(void *context, size_t index, struct message *message),
                    void *context, struct err *err)
{
    if (publisher->sent > 0 || publisher->blocked)
        return ERR_NONE;
    for (size_t i = 0; i < count; i++) {
        struct message message;
        uint64_t seq;
        int rc;
        if (publisher->settled[i])
            continue;
        make(context, i, &message);
        rc = link_publish(publisher->link, &message, &seq, err);
        if (rc != ERR_NONE)
            return rc;
        if (publisher->sent == 0)
            publisher->first = seq;
        publisher->index_of[publisher->sent++] = i;
    }
    return link_flush(publisher->link, err);
}

bool publisher_send(struct publisher *publisher, size_t count,
                    void (*make)(void *context, size_t index, struct message *message),
                    void *context)
{
    assert(count <= PUBLISHER_BATCH_MAX);
    publisher->confirmed = 0;
    publisher->sent = 0;
    memset(publisher->settled, 0, sizeof publisher->settled);
    while (publisher->confirmed < count) {
        struct err err;
        int rc;
        if (!connect_to(publisher))
            return false;
        rc = send_all(publisher, count, make, context, &err);
        if (rc == ERR_NONE &&
            dial_wait(publisher->dial, link_fd(publisher->link), link_idle_ms(publisher->link)))
            return false;
        if (rc == ERR_NONE)
            rc = read_events(publisher, &err);
        if (rc != ERR_NONE)
            lose(publisher, &err);
    }
    return true;
}

bool publisher_rest(struct publisher *publisher, int64_t ms)
{
    int64_t end = now_ms() + ms;

    publisher->sent = 0;
    for (;;) {
        int64_t left = end - now_ms();
        int64_t idle;
        struct err err;
        if (left <= 0)
            return dial_wait(publisher->dial, -1, 0);
        if (!connect_to(publisher))
            return true;
        idle = link_idle_ms(publisher->link);
        if (dial_wait(publisher->dial, link_fd(publisher->link), left < idle ? left : idle))
            return true;
        if (read_events(publisher, &err) != ERR_NONE)
            lose(publisher, &err);
    }
}
