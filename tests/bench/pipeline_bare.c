/* What librabbitmq and the broker alone can do: the chain of the order pipeline without its work.
 * Each stage consumes, publishes the body as it came, and acknowledges when the broker has
 * confirmed.
 *
 *     pipeline-bare PORT USER PASSWORD QUEUE EXCHANGE PREFETCH DROP PROGRESS
 *
 * EXCHANGE "-": only consumes; DROP n: every nth message is not passed on (0: none). PROGRESS: a
 * file whose first 8 bytes always say how many deliveries are acknowledged. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined __has_include && __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/framing.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#endif

struct stage {
    amqp_connection_state_t connection;
    const char *exchange; /* or NULL */
    unsigned prefetch;
    unsigned drop;
    uint64_t delivered; /* tags are counted from 1 */
    uint64_t settled;   /* all up to here are confirmed, or needed nothing */
    uint64_t acked;
    uint64_t published;
    uint64_t confirmed;
    uint64_t *tag_of; /* of publication seq % prefetch */
    uint64_t *told;   /* of `acked`, for who waits for the end */
};

static void need(int fine, const char *what)
{
    if (!fine) {
        fprintf(stderr, "pipeline-bare: %s failed\n", what);
        exit(1);
    }
}

static void need_reply(amqp_rpc_reply_t reply, const char *what)
{
    need(reply.reply_type == AMQP_RESPONSE_NORMAL, what);
}

static void open_stage(struct stage *stage, char **argv)
{
    amqp_socket_t *socket;

    stage->connection = amqp_new_connection();
    socket = amqp_tcp_socket_new(stage->connection);
    need(socket != NULL && amqp_socket_open(socket, "127.0.0.1", atoi(argv[1])) == AMQP_STATUS_OK,
         "connect");
    need_reply(
        amqp_login(stage->connection, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, argv[2], argv[3]),
        "login");
    amqp_channel_open(stage->connection, 1);
    need_reply(amqp_get_rpc_reply(stage->connection), "channel");
    amqp_confirm_select(stage->connection, 1);
    need_reply(amqp_get_rpc_reply(stage->connection), "confirm");
    amqp_basic_qos(stage->connection, 1, 0, (uint16_t)stage->prefetch, 0);
    need_reply(amqp_get_rpc_reply(stage->connection), "qos");
    amqp_basic_consume(stage->connection, 1, amqp_cstring_bytes(argv[4]), amqp_empty_bytes, 0, 0, 0,
                       amqp_empty_table);
    need_reply(amqp_get_rpc_reply(stage->connection), "consume");
}

static uint64_t *open_progress(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    void *map;

    need(fd >= 0 && ftruncate(fd, sizeof(uint64_t)) == 0, "open of the progress");
    map = mmap(NULL, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    need(map != MAP_FAILED, "map of the progress");
    close(fd);
    return map;
}

static void take_message(struct stage *stage, const amqp_basic_deliver_t *deliver)
{
    amqp_basic_properties_t properties = {
        ._flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_CONTENT_TYPE_FLAG, .delivery_mode = 2};
    uint64_t tag = deliver->delivery_tag;
    amqp_message_t message;

    need_reply(amqp_read_message(stage->connection, 1, &message, 0), "read");
    stage->delivered = tag;
    properties.content_type = amqp_cstring_bytes("application/json");
    if (stage->exchange != NULL && (stage->drop == 0 || tag % stage->drop != 0)) {
        need(amqp_basic_publish(stage->connection, 1, amqp_cstring_bytes(stage->exchange),
                                amqp_empty_bytes, 0, 0, &properties,
                                message.body) == AMQP_STATUS_OK,
             "publish");
        stage->tag_of[++stage->published % stage->prefetch] = tag;
    }
    amqp_destroy_message(&message);
}

static void acknowledge(struct stage *stage, uint64_t at_least)
{
    stage->settled = stage->confirmed == stage->published
                         ? stage->delivered
                         : stage->tag_of[(stage->confirmed + 1) % stage->prefetch] - 1;
    if (stage->settled - stage->acked < at_least)
        return;
    need(amqp_basic_ack(stage->connection, 1, stage->settled, 1) == AMQP_STATUS_OK, "ack");
    stage->acked = stage->settled;
    *stage->told = stage->acked;
}

static void take_frame(struct stage *stage, const amqp_frame_t *frame)
{
    if (frame->frame_type != AMQP_FRAME_METHOD)
        return;
    if (frame->payload.method.id == AMQP_BASIC_DELIVER_METHOD) {
        take_message(stage, frame->payload.method.decoded);
    } else if (frame->payload.method.id == AMQP_BASIC_ACK_METHOD) {
        const amqp_basic_ack_t *ack = frame->payload.method.decoded;
        /* Confirmations of one channel come in order here: nothing is returned or lost. */
        if (ack->delivery_tag > stage->confirmed)
            stage->confirmed = ack->multiple ? ack->delivery_tag : stage->confirmed + 1;
    } else {
        need(0, "the channel");
    }
}

int main(int argc, char **argv)
{
    struct stage stage = {0};

    if (argc != 9) {
        fprintf(stderr, "usage: pipeline-bare PORT USER PASSWORD QUEUE EXCHANGE PREFETCH DROP "
                        "PROGRESS\n");
        return 2;
    }
    stage.exchange = strcmp(argv[5], "-") == 0 ? NULL : argv[5];
    stage.prefetch = (unsigned)atoi(argv[6]);
    stage.drop = (unsigned)atoi(argv[7]);
    need(stage.prefetch > 0, "prefetch");
    stage.tag_of = calloc(stage.prefetch, sizeof *stage.tag_of);
    need(stage.tag_of != NULL, "memory");
    stage.told = open_progress(argv[8]);
    open_stage(&stage, argv);
    for (;;) {
        amqp_frame_t frame;
        amqp_maybe_release_buffers(stage.connection);
        need(amqp_simple_wait_frame(stage.connection, &frame) == AMQP_STATUS_OK, "wait");
        take_frame(&stage, &frame);
        acknowledge(&stage, stage.prefetch / 4 + 1);
        if (!amqp_data_in_buffer(stage.connection) && !amqp_frames_enqueued(stage.connection))
            acknowledge(&stage, 1);
    }
}
