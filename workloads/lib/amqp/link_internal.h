/* What the files of link.h share. */
#ifndef COVEY_WORKLOADS_AMQP_LINK_INTERNAL_H
#define COVEY_WORKLOADS_AMQP_LINK_INTERNAL_H

#include "workloads/lib/amqp/librabbitmq.h"
#include "workloads/lib/amqp/link.h"

#define LINK_CHANNEL 1
#define LINK_OUT_MAX 32768 /* bytes that gather */
/* A broker that is cut off without a word is noticed in a minute, long before the heartbeats tell.
 */
#define LINK_SILENCE_MS 60000

/* Of a message, what comes next. */
enum link_want {
    WANT_METHOD,
    WANT_HEADER,
    WANT_BODY,
};

struct link {
    amqp_connection_state_t connection;
    int fd;
    int64_t idle_ms;
    size_t frame_max; /* bytes, as agreed with the broker */
    uint64_t published;
    enum link_want want;
    struct delivery in; /* the message that is being read */
    uint64_t have;      /* bytes of its body so far */
    char *body;         /* a body of several frames, or NULL */
    size_t out_len;
    char out[LINK_OUT_MAX]; /* frames that are to be sent */
};

static inline struct span link_span(amqp_bytes_t bytes)
{
    return (struct span){bytes.bytes, bytes.len};
}

/* Sets @err to what librabbitmq's @status means; @doing is what was attempted. */
int link_failed(struct err *err, int status, const char *doing);

/* Sets @err to what the broker said when it closed channel or connection. */
int link_closed_by(struct err *err, const amqp_method_t *method, const char *doing);

/* Fills the delivery's spans from a message's properties. */
void link_read_properties(struct delivery *delivery, const amqp_basic_properties_t *properties);

#endif
