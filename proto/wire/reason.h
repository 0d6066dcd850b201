/* Why a datagram was dropped: one vocabulary for the envelope, the channel and the codec, so that
 * what is refused can be counted by reason and shown. */
#ifndef COVEY_WIRE_REASON_H
#define COVEY_WIRE_REASON_H

#include <stdint.h>

/* Name, and the word for metrics and for `agentctl`. */
#define WIRE_REASON_MAP(X)                                                                         \
    X(WIRE_OK, "accepted")                                                                         \
    X(WIRE_TRUNCATED, "truncated")             /* shorter than its header and tag */               \
    X(WIRE_OVERSIZED, "oversized")             /* longer than a datagram of ours can be */         \
    X(WIRE_VERSION, "version")                 /* no protocol version that this agent speaks */    \
    X(WIRE_KIND, "kind")                       /* no kind of datagram that it knows */             \
    X(WIRE_UNKNOWN_SENDER, "unknown_sender")   /* not admitted here */                             \
    X(WIRE_UNKNOWN_SESSION, "unknown_session") /* of an earlier life of either side */             \
    X(WIRE_UNKNOWN_EPOCH, "unknown_epoch")     /* under a key epoch that this agent lacks */       \
    X(WIRE_AUTHENTICATION, "authentication")   /* the tag is wrong */                              \
    X(WIRE_REPLAY, "replay")                   /* seen before, or too old to tell */               \
    X(WIRE_RATE, "rate")                       /* more hellos than are answered */                 \
    X(WIRE_CLONED, "cloned")                   /* of an identity that two machines use */          \
    X(WIRE_BODY_TRUNCATED, "body_truncated")   /* authentic, but the body ends too early */        \
    X(WIRE_BODY_TYPE, "body_type")             /* no type of message that it knows */              \
    X(WIRE_BODY_FIELDS, "body_fields")         /* more or fewer fields than the type has */        \
    X(WIRE_BODY_VALUE, "body_value")           /* a field of a wrong kind, or out of range */      \
    X(WIRE_BODY_TRAILING, "body_trailing")     /* bytes behind the message */

enum wire_reason {
#define WIRE_ENUM(name, word) name,
    WIRE_REASON_MAP(WIRE_ENUM)
#undef WIRE_ENUM
        WIRE_REASONS
};

struct wire_counters {
    uint64_t count[WIRE_REASONS];
};

/* "unknown_sender"; of anything else than a reason: "accepted". */
const char *wire_reason_name(int reason);

#endif
