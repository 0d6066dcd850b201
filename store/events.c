/* The journal of events. */
#include <string.h>

#include "store/db.h"

static int check_event(const struct store_event *event, struct err *err)
{
    int rc = db_check_text(event->kind, sizeof event->kind, "an event's kind", err);

    if (rc == ERR_NONE)
        rc = db_check_text(event->subject, sizeof event->subject, "an event's subject", err);
    if (rc == ERR_NONE)
        rc = db_check_text(event->text, sizeof event->text, "an event's text", err);
    if (rc == ERR_NONE && (event->severity < STORE_INFO || event->severity > STORE_ERROR))
        rc = err_set(err, ERR_INVALID, "an event has no severity %d", (int)event->severity);
    return rc;
}

static int insert_events(struct store *store, const struct store_event *events, size_t count,
                         struct err *err, const char *what)
{
    struct query q;

    query_start(&q, store,
                "INSERT INTO events (time_ms, severity, kind, subject, text)"
                " VALUES (?, ?, ?, ?, ?)");
    for (size_t i = 0; i < count; i++) {
        query_int(&q, events[i].time_ms);
        query_int(&q, events[i].severity);
        query_text(&q, events[i].kind);
        query_text(&q, events[i].subject);
        query_text(&q, events[i].text);
        (void)query_row(&q);
        query_again(&q);
    }
    return query_end(&q, err, what);
}

int store_events_append(struct store *store, const struct store_event *events, size_t count,
                        struct err *err)
{
    static const char what[] = "write to the journal of events";
    struct query q;
    int rc = ERR_NONE;

    if (count > STORE_EVENT_BATCH_MAX)
        return err_set(err, ERR_LIMIT, "%zu events in one batch, more than %d", count,
                       STORE_EVENT_BATCH_MAX);
    for (size_t i = 0; i < count && rc == ERR_NONE; i++)
        rc = check_event(&events[i], err);
    if (rc != ERR_NONE || count == 0)
        return rc;
    rc = db_begin(store, DB_LAZY, err);
    if (rc != ERR_NONE)
        return rc;
    rc = insert_events(store, events, count, err, what);
    if (rc == ERR_NONE) {
        query_start(&q, store, "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?");
        query_int(&q, STORE_EVENTS_MAX);
        rc = query_finish(&q, err, what);
    }
    return db_end(store, rc, err, what);
}

static void read_event(struct query *q, struct store_event *event)
{
    event->id = query_get_int(q, 0, 1, INT64_MAX);
    event->time_ms = query_get_int(q, 1, INT64_MIN, INT64_MAX);
    event->severity = (enum store_severity)query_get_int(q, 2, STORE_INFO, STORE_ERROR);
    query_get_text(q, 3, event->kind, sizeof event->kind);
    query_get_text(q, 4, event->subject, sizeof event->subject);
    query_get_text(q, 5, event->text, sizeof event->text);
}

static int read_events(struct query *q, struct store_event **list, size_t *count, struct err *err)
{
    struct rows rows = {.size = sizeof **list};
    void *data = NULL;
    int rc;

    while (query_row(q)) {
        struct store_event *event = rows_add(&rows, q);
        if (event != NULL)
            read_event(q, event);
    }
    rc = rows_give(&rows, query_end(q, err, "read the journal of events"), &data, count);
    if (rc == ERR_NONE)
        *list = data;
    return rc;
}

static int64_t at_most(size_t max)
{
    return max < STORE_EVENTS_MAX ? (int64_t)max : STORE_EVENTS_MAX;
}

int store_events_newest(struct store *store, size_t max, struct store_event **list, size_t *count,
                        struct err *err)
{
    struct query q;

    query_start(&q, store,
                "SELECT * FROM (SELECT id, time_ms, severity, kind, subject, text FROM events"
                " ORDER BY id DESC LIMIT ?) ORDER BY id");
    query_int(&q, at_most(max));
    return read_events(&q, list, count, err);
}

int store_events_since(struct store *store, int64_t id, size_t max, struct store_event **list,
                       size_t *count, struct err *err)
{
    struct query q;

    query_start(&q, store,
                "SELECT id, time_ms, severity, kind, subject, text FROM events"
                " WHERE id > ? ORDER BY id LIMIT ?");
    query_int(&q, id);
    query_int(&q, at_most(max));
    return read_events(&q, list, count, err);
}
