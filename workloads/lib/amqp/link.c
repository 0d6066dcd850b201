#include "workloads/lib/amqp/link.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "workloads/lib/amqp/link_internal.h"

/* What RabbitMQ agrees to unless it is told otherwise. The headers of a message come in one frame,
 * however long their publisher has made it: with less, such a message would end the connection, and
 * the next, for ever. */
#define FRAME_MAX 131072
/* A broker that is cut off without a word is noticed in a minute, long before the heartbeats tell.
 */
#define KEEPALIVE_IDLE_S 30
#define KEEPALIVE_INTERVAL_S 10
#define KEEPALIVE_COUNT 3
#define IDLE_WITHOUT_HEARTBEAT_MS 60000

int link_failed(struct err *err, int status, const char *doing)
{
    int code = status == AMQP_STATUS_NO_MEMORY ? ERR_NOMEM : ERR_UNREACHABLE;

    if (status == AMQP_STATUS_HEARTBEAT_TIMEOUT)
        return err_set(err, code, "%s: the broker sent no heartbeat", doing);
    /* librabbitmq does not keep why a connection failed that it waited for. */
    if (status == AMQP_STATUS_SOCKET_ERROR && errno == EINPROGRESS)
        return err_set(err, code, "%s: refused; does RabbitMQ run there?", doing);
    if (status == AMQP_STATUS_SOCKET_ERROR && errno != 0)
        return err_errno(err, code, errno, "%s", doing);
    return err_set(err, code, "%s: %s", doing, amqp_error_string2(status));
}

int link_closed_by(struct err *err, const amqp_method_t *method, const char *doing)
{
    if (method->id == AMQP_CONNECTION_CLOSE_METHOD) {
        const amqp_connection_close_t *m = method->decoded;
        return err_set(err, m->reply_code == AMQP_ACCESS_REFUSED ? ERR_AUTH : ERR_UNREACHABLE,
                       "%s: the broker closed the connection: %d %.*s", doing, m->reply_code,
                       (int)m->reply_text.len, (const char *)m->reply_text.bytes);
    }
    if (method->id == AMQP_CHANNEL_CLOSE_METHOD) {
        const amqp_channel_close_t *m = method->decoded;
        int code = m->reply_code == AMQP_PRECONDITION_FAILED ? ERR_CONFLICT
                   : m->reply_code == AMQP_NOT_FOUND         ? ERR_NOTFOUND
                   : m->reply_code == AMQP_ACCESS_REFUSED    ? ERR_DENIED
                                                             : ERR_UNREACHABLE;
        return err_set(err, code, "%s: the broker closed the channel: %d %.*s", doing,
                       m->reply_code, (int)m->reply_text.len, (const char *)m->reply_text.bytes);
    }
    return err_set(err, ERR_UNREACHABLE, "%s: the broker answered with method 0x%08x", doing,
                   method->id);
}

/* The last call's answer. */
static int answered(struct link *link, struct err *err, const char *doing)
{
    amqp_rpc_reply_t reply = amqp_get_rpc_reply(link->connection);

    if (reply.reply_type == AMQP_RESPONSE_NORMAL)
        return ERR_NONE;
    if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION)
        return link_closed_by(err, &reply.reply, doing);
    return link_failed(err, reply.library_error, doing);
}

static void watch_silence(int fd)
{
    const struct {
        int level;
        int name;
        int value;
    } options[] = {
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, LINK_SILENCE_MS},
    };

    /* Where the kernel refuses one, heartbeats are left. */
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
}

static amqp_table_entry_t flag(const char *key)
{
    amqp_table_entry_t entry = {.key = amqp_cstring_bytes(key)};
    entry.value.kind = AMQP_FIELD_KIND_BOOLEAN;
    entry.value.value.boolean = 1;
    return entry;
}

static amqp_table_entry_t text(const char *key, const char *value)
{
    amqp_table_entry_t entry = {.key = amqp_cstring_bytes(key)};
    entry.value.kind = AMQP_FIELD_KIND_UTF8;
    entry.value.value.bytes = amqp_cstring_bytes(value);
    return entry;
}

static int log_in(struct link *link, const struct broker *broker, const char *name, struct err *err)
{
    amqp_table_entry_t capabilities[] = {flag("authentication_failure_close"),
                                         flag("connection.blocked"), flag("consumer_cancel_notify"),
                                         flag("publisher_confirms"), flag("basic.nack")};
    amqp_table_entry_t properties[] = {text("connection_name", name),
                                       text("product", "Covey " COVEY_VERSION),
                                       {.key = amqp_cstring_bytes("capabilities")}};
    amqp_table_t table = {sizeof properties / sizeof properties[0], properties};
    amqp_rpc_reply_t reply;

    properties[2].value.kind = AMQP_FIELD_KIND_TABLE;
    properties[2].value.value.table =
        (amqp_table_t){sizeof capabilities / sizeof capabilities[0], capabilities};
    errno = 0;
    reply = amqp_login_with_properties(link->connection, broker->vhost, 0, FRAME_MAX,
                                       broker->heartbeat_s, &table, AMQP_SASL_METHOD_PLAIN,
                                       broker->user, broker->password);
    if (reply.reply_type == AMQP_RESPONSE_NORMAL)
        return ERR_NONE;
    if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
        reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD) {
        const amqp_connection_close_t *m = reply.reply.decoded;
        if (m->reply_code == AMQP_ACCESS_REFUSED)
            return err_set(err, ERR_AUTH,
                           "the broker refuses user \"%s\": check RABBITMQ_USER and "
                           "RABBITMQ_PASSWORD (%.*s)",
                           broker->user, (int)m->reply_text.len, (const char *)m->reply_text.bytes);
        return link_closed_by(err, &reply.reply, "log in");
    }
    return link_failed(err, reply.library_error, "log in");
}

static int start(struct link *link, const struct broker *broker, const char *name, struct err *err)
{
    struct timeval timeout = {.tv_sec = broker->timeout_s};
    amqp_socket_t *socket = amqp_tcp_socket_new(link->connection);
    int heartbeat;
    int rc;

    if (socket == NULL)
        return err_set(err, ERR_NOMEM, "make a socket");
    if (amqp_set_handshake_timeout(link->connection, &timeout) != AMQP_STATUS_OK ||
        amqp_set_rpc_timeout(link->connection, &timeout) != AMQP_STATUS_OK)
        return err_set(err, ERR_INTERNAL, "set the time-outs of the connection");
    errno = 0;
    rc = amqp_socket_open_noblock(socket, broker->host, broker->port, &timeout);
    if (rc != AMQP_STATUS_OK)
        return link_failed(err, rc, "connect");
    link->fd = amqp_get_sockfd(link->connection);
    watch_silence(link->fd);
    if (log_in(link, broker, name, err) != ERR_NONE)
        return err->code;
    link->frame_max = (size_t)amqp_get_frame_max(link->connection);
    heartbeat = amqp_get_heartbeat(link->connection);
    link->idle_ms = heartbeat > 0 ? heartbeat * INT64_C(1000) / 4 : IDLE_WITHOUT_HEARTBEAT_MS;
    amqp_channel_open(link->connection, LINK_CHANNEL);
    if (answered(link, err, "open a channel") != ERR_NONE)
        return err->code;
    amqp_confirm_select(link->connection, LINK_CHANNEL);
    return answered(link, err, "ask for confirmations");
}

int link_open(struct link **out, const struct broker *broker, const char *name, struct err *err)
{
    struct link *link = calloc(1, sizeof *link);

    if (link == NULL)
        return err_set(err, ERR_NOMEM, "open a connection");
    link->fd = -1;
    link->connection = amqp_new_connection();
    if (link->connection == NULL) {
        free(link);
        return err_set(err, ERR_NOMEM, "open a connection");
    }
    if (start(link, broker, name, err) != ERR_NONE) {
        link_close(link);
        return err_wrap(err, "RabbitMQ at %s port %d", broker->host, broker->port);
    }
    *out = link;
    return ERR_NONE;
}

void link_close(struct link *link)
{
    if (link == NULL)
        return;
    /* The socket's end is as good as a farewell: the broker requeues what is not acknowledged. */
    amqp_destroy_connection(link->connection);
    free(link->body);
    free(link);
}

int link_fd(const struct link *link)
{
    return link->fd;
}

int64_t link_idle_ms(const struct link *link)
{
    return link->idle_ms;
}

int link_exchange(struct link *link, const char *exchange, struct err *err)
{
    amqp_exchange_declare(link->connection, LINK_CHANNEL, amqp_cstring_bytes(exchange),
                          amqp_cstring_bytes("fanout"), 0, 1, 0, 0, amqp_empty_table);
    if (answered(link, err, "declare") != ERR_NONE)
        return err_wrap(err, "exchange %s", exchange);
    return ERR_NONE;
}

int link_queue(struct link *link, const char *queue, const char *dead, bool passive,
               struct err *err)
{
    amqp_table_entry_t argument;
    amqp_table_t arguments = {0, NULL};

    if (dead != NULL) {
        argument = text("x-dead-letter-exchange", dead);
        arguments = (amqp_table_t){1, &argument};
    }
    amqp_queue_declare(link->connection, LINK_CHANNEL, amqp_cstring_bytes(queue), passive, 1, 0, 0,
                       arguments);
    if (answered(link, err, "declare") != ERR_NONE)
        return err_wrap(err, "queue %s", queue);
    return ERR_NONE;
}

int link_count(struct link *link, const char *queue, uint32_t *count, struct err *err)
{
    const amqp_queue_declare_ok_t *ok;

    if (link_flush(link, err) != ERR_NONE)
        return err->code;
    ok = amqp_queue_declare(link->connection, LINK_CHANNEL, amqp_cstring_bytes(queue), 1, 1, 0, 0,
                            amqp_empty_table);
    if (answered(link, err, "count the messages") != ERR_NONE)
        return err_wrap(err, "queue %s", queue);
    *count = ok->message_count;
    return ERR_NONE;
}

int link_bind(struct link *link, const char *queue, const char *exchange, struct err *err)
{
    amqp_queue_bind(link->connection, LINK_CHANNEL, amqp_cstring_bytes(queue),
                    amqp_cstring_bytes(exchange), amqp_empty_bytes, amqp_empty_table);
    if (answered(link, err, "bind") != ERR_NONE)
        return err_wrap(err, "queue %s to exchange %s", queue, exchange);
    return ERR_NONE;
}

int link_delete_queue(struct link *link, const char *queue, struct err *err)
{
    amqp_queue_delete(link->connection, LINK_CHANNEL, amqp_cstring_bytes(queue), 0, 0);
    if (answered(link, err, "delete") != ERR_NONE)
        return err_wrap(err, "queue %s", queue);
    return ERR_NONE;
}

int link_consume(struct link *link, const char *queue, uint16_t prefetch, struct err *err)
{
    amqp_basic_qos(link->connection, LINK_CHANNEL, 0, prefetch, 0);
    if (answered(link, err, "set the prefetch") != ERR_NONE)
        return err->code;
    amqp_basic_consume(link->connection, LINK_CHANNEL, amqp_cstring_bytes(queue), amqp_empty_bytes,
                       0, 0, 0, amqp_empty_table);
    if (answered(link, err, "consume") != ERR_NONE)
        return err_wrap(err, "queue %s", queue);
    return ERR_NONE;
}
