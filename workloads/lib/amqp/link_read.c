/* What comes from the broker: frames become events, several frames one message. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "workloads/lib/amqp/link_internal.h"

bool link_buffered(const struct link *link)
{
    return amqp_frames_enqueued(link->connection) || amqp_data_in_buffer(link->connection);
}

static struct span string_value(const amqp_field_value_t *value)
{
    if (value->kind == AMQP_FIELD_KIND_UTF8 || value->kind == AMQP_FIELD_KIND_BYTES)
        return link_span(value->value.bytes);
    return (struct span){0};
}

/* The broker's own account of why a message was refused: an array of tables, the latest first. */
static void read_death(struct delivery *delivery, const amqp_field_value_t *value)
{
    const amqp_table_t *latest;

    if (value->kind != AMQP_FIELD_KIND_ARRAY || value->value.array.num_entries == 0 ||
        value->value.array.entries[0].kind != AMQP_FIELD_KIND_TABLE)
        return;
    latest = &value->value.array.entries[0].value.table;
    for (int i = 0; i < latest->num_entries; i++) {
        struct span key = link_span(latest->entries[i].key);
        if (span_is(key, "queue") && delivery->queue.len == 0)
            delivery->queue = string_value(&latest->entries[i].value);
        else if (span_is(key, "reason") && delivery->reason.len == 0)
            delivery->reason = string_value(&latest->entries[i].value);
    }
}

void link_read_properties(struct delivery *delivery, const amqp_basic_properties_t *properties)
{
    const struct {
        const char *key;
        struct span *to;
    } known[] = {
        {"traceparent", &delivery->traceparent}, {"tracestate", &delivery->tracestate},
        {HEADER_REASON, &delivery->reason},      {HEADER_QUEUE, &delivery->queue},
        {HEADER_SERVICE, &delivery->service},    {HEADER_TIME, &delivery->time},
    };
    const amqp_table_t *headers = &properties->headers;

    if ((properties->_flags & AMQP_BASIC_MESSAGE_ID_FLAG) != 0)
        delivery->id = link_span(properties->message_id);
    if ((properties->_flags & AMQP_BASIC_CONTENT_TYPE_FLAG) != 0)
        delivery->content_type = link_span(properties->content_type);
    if ((properties->_flags & AMQP_BASIC_HEADERS_FLAG) == 0)
        return;
    for (int i = 0; i < headers->num_entries; i++) {
        struct span key = link_span(headers->entries[i].key);
        for (size_t k = 0; k < sizeof known / sizeof known[0]; k++)
            if (span_is(key, known[k].key))
                *known[k].to = string_value(&headers->entries[i].value);
    }
    for (int i = 0; i < headers->num_entries; i++)
        if (span_is(link_span(headers->entries[i].key), "x-death"))
            read_death(delivery, &headers->entries[i].value);
}

/* The message is complete. */
static int deliver(struct link *link, struct link_event *event)
{
    if (link->body != NULL)
        link->in.body = (struct span){link->body, (size_t)link->have};
    link->want = WANT_METHOD;
    event->type = LINK_DELIVERY;
    event->delivery = link->in;
    return ERR_NONE;
}

static int take_header(struct link *link, const amqp_frame_t *frame, struct link_event *event,
                       struct err *err)
{
    if (frame->frame_type != AMQP_FRAME_HEADER)
        return err_set(err, ERR_UNREACHABLE, "read: the broker sent a message without a header");
    link->in.size = frame->payload.properties.body_size;
    link->in.cut = link->in.size > MESSAGE_BODY_MAX;
    link->have = 0;
    if (!link->in.cut)
        link_read_properties(&link->in, frame->payload.properties.decoded);
    link->want = WANT_BODY;
    return link->in.size == 0 ? deliver(link, event) : ERR_NONE;
}

static int take_body(struct link *link, const amqp_frame_t *frame, struct link_event *event,
                     struct err *err)
{
    struct span part = link_span(frame->payload.body_fragment);

    if (frame->frame_type != AMQP_FRAME_BODY || part.len > link->in.size - link->have)
        return err_set(err, ERR_UNREACHABLE,
                       "read: the broker sent a message with a body of another length");
    if (part.len == link->in.size) { /* whole, in one frame: it can stay where it is */
        link->in.body = part;
        return deliver(link, event);
    }
    if (!link->in.cut) {
        if (link->body == NULL)
            link->body = malloc((size_t)link->in.size);
        if (link->body == NULL)
            return err_set(err, ERR_NOMEM, "read a message of %llu bytes",
                           (unsigned long long)link->in.size);
        memcpy(link->body + link->have, part.at, part.len);
    }
    link->have += part.len;
    return link->have == link->in.size ? deliver(link, event) : ERR_NONE;
}

static int take_method(struct link *link, const amqp_method_t *method, struct link_event *event,
                       struct err *err)
{
    switch (method->id) {
    case AMQP_BASIC_DELIVER_METHOD: {
        const amqp_basic_deliver_t *m = method->decoded;
        link->in = (struct delivery){.tag = m->delivery_tag,
                                     .redelivered = m->redelivered != 0,
                                     .exchange = link_span(m->exchange)};
        link->want = WANT_HEADER;
        return ERR_NONE;
    }
    case AMQP_BASIC_ACK_METHOD: {
        const amqp_basic_ack_t *m = method->decoded;
        event->type = LINK_CONFIRM;
        event->seq = m->delivery_tag;
        event->multiple = m->multiple != 0;
        return ERR_NONE;
    }
    case AMQP_BASIC_NACK_METHOD:
        return err_set(err, ERR_UNREACHABLE, "publish: the broker could not store the message");
    case AMQP_BASIC_RETURN_METHOD: {
        const amqp_basic_return_t *m = method->decoded;
        return err_set(err, ERR_NOTFOUND,
                       "publish: no queue is bound to exchange \"%.*s\" (%d %.*s)",
                       (int)m->exchange.len, (const char *)m->exchange.bytes, m->reply_code,
                       (int)m->reply_text.len, (const char *)m->reply_text.bytes);
    }
    case AMQP_BASIC_CANCEL_METHOD:
        return err_set(err, ERR_NOTFOUND,
                       "consume: the broker cancelled the consumer: its queue was deleted");
    case AMQP_CONNECTION_BLOCKED_METHOD: {
        const amqp_connection_blocked_t *m = method->decoded;
        event->type = LINK_BLOCKED;
        event->reason = link_span(m->reason);
        return ERR_NONE;
    }
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
        event->type = LINK_UNBLOCKED;
        return ERR_NONE;
    default:
        return link_closed_by(err, method, "read");
    }
}

/* Memory of earlier frames goes back, unless the message that is being read lies in it. */
static void release(struct link *link)
{
    if (link->want == WANT_METHOD) {
        free(link->body);
        link->body = NULL;
    }
    if (link->want == WANT_METHOD || link->in.cut)
        amqp_maybe_release_buffers(link->connection);
}

int link_read(struct link *link, struct link_event *event, struct err *err)
{
    event->type = LINK_NOTHING;
    for (;;) {
        struct timeval now = {0, 0};
        amqp_frame_t frame;
        int rc;

        release(link);
        errno = 0;
        rc = amqp_simple_wait_frame_noblock(link->connection, &frame, &now);
        if (rc == AMQP_STATUS_TIMEOUT)
            return ERR_NONE;
        if (rc != AMQP_STATUS_OK)
            return link_failed(err, rc, "read");
        if (link->want == WANT_HEADER)
            rc = take_header(link, &frame, event, err);
        else if (link->want == WANT_BODY)
            rc = take_body(link, &frame, event, err);
        else if (frame.frame_type == AMQP_FRAME_METHOD)
            rc = take_method(link, &frame.payload.method, event, err);
        else
            rc = err_set(err, ERR_UNREACHABLE, "read: the broker sent content without a method");
        if (rc != ERR_NONE || event->type != LINK_NOTHING)
            return rc;
        if (!link_buffered(link)) /* most likely nothing more has come: spare the call that asks */
            return ERR_NONE;
    }
}

int link_get(struct link *link, const char *queue, bool *found, struct delivery *delivery,
             struct err *err)
{
    amqp_rpc_reply_t reply;
    struct link_event event = {.type = LINK_NOTHING};

    *found = false;
    if (link_flush(link, err) != ERR_NONE)
        return err->code;
    release(link);
    reply = amqp_basic_get(link->connection, LINK_CHANNEL, amqp_cstring_bytes(queue), 0);
    if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION)
        return link_closed_by(err, &reply.reply, "get");
    if (reply.reply_type != AMQP_RESPONSE_NORMAL)
        return link_failed(err, reply.library_error, "get");
    if (reply.reply.id == AMQP_BASIC_GET_EMPTY_METHOD)
        return ERR_NONE;
    if (reply.reply.id != AMQP_BASIC_GET_OK_METHOD)
        return link_closed_by(err, &reply.reply, "get");
    {
        const amqp_basic_get_ok_t *m = reply.reply.decoded;
        link->in = (struct delivery){.tag = m->delivery_tag,
                                     .redelivered = m->redelivered != 0,
                                     .exchange = link_span(m->exchange)};
        link->want = WANT_HEADER;
    }
    while (event.type != LINK_DELIVERY) {
        amqp_frame_t frame;
        int rc = amqp_simple_wait_frame(link->connection, &frame);
        if (rc != AMQP_STATUS_OK)
            return link_failed(err, rc, "get");
        rc = link->want == WANT_HEADER ? take_header(link, &frame, &event, err)
                                       : take_body(link, &frame, &event, err);
        if (rc != ERR_NONE)
            return rc;
    }
    *found = true;
    *delivery = event.delivery;
    return ERR_NONE;
}
