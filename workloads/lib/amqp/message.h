/* Messages as they are published and as they are delivered. */
#ifndef COVEY_WORKLOADS_AMQP_MESSAGE_H
#define COVEY_WORKLOADS_AMQP_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "workloads/lib/scan.h"
#include "workloads/lib/trace.h"

#define MESSAGE_ID_MAX 255           /* bytes: AMQP's short string */
#define MESSAGE_BODY_MAX (32u << 20) /* bytes; of a longer body nothing is kept */

/* Headers of a message that was refused. */
#define HEADER_REASON "x-dead-letter-reason"
#define HEADER_QUEUE "x-dead-letter-queue"     /* from which it came */
#define HEADER_SERVICE "x-dead-letter-service" /* which refused it */
#define HEADER_TIME "x-dead-letter-time"       /* when, RFC 3339 */

/* Why and where a message was refused; texts end with a zero. */
struct dead_letter {
    const char *reason;
    const char *queue;
    const char *service;
    const char *time;
};

/* What is published; persistent. Pointers are borrowed for the call. */
struct message {
    const char *exchange; /* "" is the default exchange, which routes to a queue by its name */
    const char *routing_key;
    struct span id;           /* message_id; empty: none */
    struct span content_type; /* empty: application/json */
    struct span traceparent;  /* headers; empty: none */
    struct span tracestate;
    struct span body;
    const struct dead_letter *dead; /* adds its headers; or NULL */
};

/* What was delivered. Spans lie in the connection's memory: until its next read. */
struct delivery {
    uint64_t tag;
    bool redelivered;
    bool cut;      /* the body was longer than MESSAGE_BODY_MAX, and is not here */
    uint64_t size; /* of the body, even when that was cut */
    struct span exchange;
    struct span id;
    struct span content_type;
    struct span traceparent;
    struct span tracestate;
    struct span reason; /* the headers of a refused message */
    struct span queue;
    struct span service;
    struct span time;
    struct span body;
};

#endif
