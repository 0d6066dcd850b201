/* What goes to the broker while messages flow. librabbitmq sends the three frames of a message by
 * three system calls, and each acknowledgement by one; here they gather, encoded by its functions,
 * and leave together when there is nothing more to do. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "workloads/lib/amqp/link_internal.h"

#define FRAME_HEAD 7 /* type, channel, size */
#define FRAME_END 0xce
#define FRAME_OVERHEAD (FRAME_HEAD + 1)
#define METHOD_ID 4
#define CONTENT_HEAD 12 /* class, weight, size of the body */
#define HEADERS_MAX 6

int link_flush(struct link *link, struct err *err)
{
    size_t at = 0;

    while (at < link->out_len) {
        ssize_t n = send(link->fd, link->out + at, link->out_len - at, MSG_NOSIGNAL);
        if (n >= 0) {
            at += (size_t)n;
        } else if (errno == EAGAIN) {
            struct pollfd p = {.fd = link->fd, .events = POLLOUT};
            if (poll(&p, 1, LINK_SILENCE_MS) == 0)
                return err_set(err, ERR_UNREACHABLE, "send: the broker took nothing for %d s",
                               LINK_SILENCE_MS / 1000);
        } else if (errno != EINTR) {
            return err_errno(err, ERR_UNREACHABLE, errno, "send");
        }
    }
    link->out_len = 0;
    return ERR_NONE;
}

/* Where the next frame's payload goes; none when there is no room for any. */
static amqp_bytes_t room(struct link *link)
{
    size_t used = link->out_len + FRAME_OVERHEAD;
    amqp_bytes_t bytes = {0, NULL};

    if (used < sizeof link->out)
        bytes = (amqp_bytes_t){sizeof link->out - used, link->out + link->out_len + FRAME_HEAD};
    return bytes;
}

/* Makes a frame of the @len bytes that were written there. */
static void frame(struct link *link, uint8_t type, size_t len)
{
    char *head = link->out + link->out_len;
    uint16_t channel = htons(LINK_CHANNEL);
    uint32_t size = htonl((uint32_t)len);

    head[0] = (char)type;
    memcpy(head + 1, &channel, sizeof channel);
    memcpy(head + 3, &size, sizeof size);
    head[FRAME_HEAD + len] = (char)FRAME_END;
    link->out_len += FRAME_OVERHEAD + len;
}

static bool put_method(struct link *link, amqp_method_number_t id, void *method)
{
    amqp_bytes_t to = room(link);
    uint32_t number = htonl(id);
    int len;

    if (to.len <= METHOD_ID)
        return false;
    memcpy(to.bytes, &number, sizeof number);
    len = amqp_encode_method(id, method,
                             (amqp_bytes_t){to.len - METHOD_ID, (char *)to.bytes + METHOD_ID});
    if (len < 0)
        return false;
    frame(link, AMQP_FRAME_METHOD, METHOD_ID + (size_t)len);
    return true;
}

static bool put_header(struct link *link, amqp_basic_properties_t *properties, uint64_t body)
{
    amqp_bytes_t to = room(link);
    uint16_t class = htons(AMQP_BASIC_CLASS);
    uint32_t high = htonl((uint32_t)(body >> 32));
    uint32_t low = htonl((uint32_t)body);
    char *bytes = to.bytes;
    int len;

    if (to.len <= CONTENT_HEAD)
        return false;
    memcpy(bytes, &class, sizeof class);
    memset(bytes + 2, 0, 2);
    memcpy(bytes + 4, &high, sizeof high);
    memcpy(bytes + 8, &low, sizeof low);
    len = amqp_encode_properties(AMQP_BASIC_CLASS, properties,
                                 (amqp_bytes_t){to.len - CONTENT_HEAD, bytes + CONTENT_HEAD});
    if (len < 0)
        return false;
    frame(link, AMQP_FRAME_HEADER, CONTENT_HEAD + (size_t)len);
    return true;
}

static bool put_body(struct link *link, struct span body)
{
    amqp_bytes_t to = room(link);

    if (body.len == 0)
        return true;
    if (to.len < body.len || body.len + FRAME_OVERHEAD > link->frame_max)
        return false;
    memcpy(to.bytes, body.at, body.len);
    frame(link, AMQP_FRAME_BODY, body.len);
    return true;
}

static amqp_bytes_t bytes_of(struct span span)
{
    /* librabbitmq reads through this pointer only. */
    union {
        const char *from;
        void *to;
    } pointer = {.from = span.at};
    return (amqp_bytes_t){span.len, pointer.to};
}

/* All three frames, or none of them. */
static bool gather(struct link *link, const struct message *message,
                   amqp_basic_properties_t *properties)
{
    size_t before = link->out_len;
    amqp_basic_publish_t method = {.exchange = amqp_cstring_bytes(message->exchange),
                                   .routing_key = amqp_cstring_bytes(message->routing_key),
                                   .mandatory = 1};

    if (put_method(link, AMQP_BASIC_PUBLISH_METHOD, &method) &&
        put_header(link, properties, message->body.len) && put_body(link, message->body))
        return true;
    link->out_len = before;
    return false;
}

static void add_header(amqp_table_entry_t *headers, int *count, const char *key, struct span value)
{
    amqp_table_entry_t *entry = &headers[*count];

    if (value.len == 0)
        return;
    entry->key = amqp_cstring_bytes(key);
    entry->value.kind = AMQP_FIELD_KIND_UTF8;
    entry->value.value.bytes = bytes_of(value);
    (*count)++;
}

static struct span span_of(const char *text_or_null)
{
    return (struct span){text_or_null, text_or_null == NULL ? 0 : strlen(text_or_null)};
}

int link_publish(struct link *link, const struct message *message, uint64_t *seq, struct err *err)
{
    amqp_table_entry_t headers[HEADERS_MAX];
    amqp_basic_properties_t properties = {
        ._flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_CONTENT_TYPE_FLAG,
        .delivery_mode = AMQP_DELIVERY_PERSISTENT,
        .content_type = message->content_type.len > 0 ? bytes_of(message->content_type)
                                                      : amqp_cstring_bytes("application/json"),
    };
    int count = 0;

    if (message->id.len > 0) {
        properties._flags |= AMQP_BASIC_MESSAGE_ID_FLAG;
        properties.message_id = bytes_of(message->id);
    }
    add_header(headers, &count, "traceparent", message->traceparent);
    add_header(headers, &count, "tracestate", message->tracestate);
    if (message->dead != NULL) {
        add_header(headers, &count, HEADER_REASON, span_of(message->dead->reason));
        add_header(headers, &count, HEADER_QUEUE, span_of(message->dead->queue));
        add_header(headers, &count, HEADER_SERVICE, span_of(message->dead->service));
        add_header(headers, &count, HEADER_TIME, span_of(message->dead->time));
    }
    if (count > 0) {
        properties._flags |= AMQP_BASIC_HEADERS_FLAG;
        properties.headers = (amqp_table_t){count, headers};
    }
    *seq = link->published + 1;
    if (!gather(link, message, &properties)) {
        if (link_flush(link, err) != ERR_NONE)
            return err->code;
        if (!gather(link, message, &properties)) { /* too large to gather at all */
            int rc;
            errno = 0;
            rc = amqp_basic_publish(link->connection, LINK_CHANNEL,
                                    amqp_cstring_bytes(message->exchange),
                                    amqp_cstring_bytes(message->routing_key), 1, 0, &properties,
                                    bytes_of(message->body));
            if (rc != AMQP_STATUS_OK)
                return link_failed(err, rc, "publish");
        }
    }
    link->published++;
    return ERR_NONE;
}

static int put_or_flush(struct link *link, amqp_method_number_t id, void *method, struct err *err)
{
    if (put_method(link, id, method))
        return ERR_NONE;
    if (link_flush(link, err) != ERR_NONE)
        return err->code;
    return put_method(link, id, method) ? ERR_NONE : err_set(err, ERR_INTERNAL, "encode a method");
}

int link_ack(struct link *link, uint64_t tag, bool multiple, struct err *err)
{
    amqp_basic_ack_t method = {.delivery_tag = tag, .multiple = multiple};
    return put_or_flush(link, AMQP_BASIC_ACK_METHOD, &method, err);
}

int link_reject(struct link *link, uint64_t tag, bool requeue, struct err *err)
{
    amqp_basic_reject_t method = {.delivery_tag = tag, .requeue = requeue};
    return put_or_flush(link, AMQP_BASIC_REJECT_METHOD, &method, err);
}
