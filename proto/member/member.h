/* Membership: who is in the flock, who answers, at which address.
 *
 * SWIM (Das, Gupta, Motivala 2002) with the three parts of Lifeguard (Dadgar, Phillips, Currey
 * 2018) and these differences: a verdict rests on a number of unanswered probes, not on time alone,
 * so that a pause of this process accuses nobody; that number grows with the loss measured on the
 * path, and the pace follows its round-trip time (RFC 6298); any authenticated packet is life, late
 * answers too, and over TCP; two neighbours share one probe per period, because a ping proves its
 * sender alive as an ack does; dead members are probed for ever.
 *
 * Pure: time, packets and randomness come in by arguments, effects go out in membership_out. Every
 * packet that comes in was authenticated as its sender's, every update in it was verified against
 * its author's key (an unsigned or foreign update never reaches this machine). */
#ifndef COVEY_MEMBER_MEMBER_H
#define COVEY_MEMBER_MEMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/id.h"
#include "proto/base/mono.h"
#include "proto/wire/msg.h"

#define MEMBERSHIP_PERIOD_MS 1000 /* default: every member is probed about once in this time */
#define MEMBERSHIP_MEMBERS_MAX FLOCK_NODES_MAX /* default: members besides this node */
#define MEMBERSHIP_RING_MAX                                                                        \
    32000                         /* default: up to so many nodes probe in a ring, beyond in       \
                                   * shuffled rounds */
#define MEMBERSHIP_SENDS_MAX 32   /* messages out of one step */
#define MEMBERSHIP_CHANGES_MAX 16 /* changes out of one step */

enum member_state {
    MEMBER_UNKNOWN = 1, /* admitted, not heard of since this agent started; being probed */
    MEMBER_ALIVE = 2,
    MEMBER_SUSPECT = 3, /* somebody misses its answers; it may still refute */
    MEMBER_DEAD = 4,    /* no answer; probed slowly until it answers or is revoked */
    MEMBER_LEFT = 5,    /* said good-bye; comes back by announcing a higher incarnation */
};

struct membership_config {
    node_id self;
    struct addr addr; /* where this node listens, as peers shall see it. family 0: not known yet;
                       * until MEMBERSHIP_ADDRESS tells it, this node cannot announce itself */
    uint64_t incarnation; /* boot number << 32, persisted before it is used here; not 0 */
    uint64_t seed;        /* of the random numbers */
    uint32_t period_ms;   /* 0 is MEMBERSHIP_PERIOD_MS; 100 to 60000 */
    uint32_t member_max;  /* 0 is MEMBERSHIP_MEMBERS_MAX; at most 32000 */
    uint32_t ring_max; /* 0 is MEMBERSHIP_RING_MAX; nodes, this one included, that are not gone */
    bool streams;      /* members can be reached over TCP too: sends may ask for that */

    /* Called when an update of this node's own is made (author is self): fills u->signature. Must
     * not call back into the machine. NULL leaves the signature zero (simulation). */
    void (*sign)(void *ctx, struct msg_update *u);
    void *sign_ctx;
};

enum membership_event_type {
    MEMBERSHIP_TIMER = 1, /* the deadline has come; harmless when it has not */
    MEMBERSHIP_MESSAGE,   /* from, addr, msg: PING, ACK, PING_REQ, NACK or GOSSIP */
    MEMBERSHIP_HEARD,     /* from, addr: any other authenticated packet came from this member */
    MEMBERSHIP_ADMIT,     /* from, addr (last known, family 0 for none): a member to watch. Known
                           * already, but not heard for two periods: takes the address, and is probed
                           * there; so a head with a new address, or a hint from mDNS, heals */
    MEMBERSHIP_REVOKE,    /* from: forget it, answer it no more */
    MEMBERSHIP_ADDRESS,   /* addr: this node's own address changed; peers are told */
    MEMBERSHIP_ROOT,      /* root: put into probes from now on (record.h) */
    MEMBERSHIP_LEAVE,     /* say good-bye to all; then only answers. Run the machine for 300 ms more
                           * so that the message is repeated */
};

struct membership_event {
    uint8_t type;          /* enum membership_event_type */
    node_id from;          /* whose packet it is, or who is admitted or revoked */
    struct addr addr;      /* source address of the packet, or as the type says */
    bool stream;           /* MESSAGE, HEARD: it came over TCP; addr is not looked at */
    const struct msg *msg; /* borrowed for the call */
    uint64_t root;
};

struct membership_send {
    node_id to;
    struct addr addr; /* may differ from the member's address: answers go where the question was */
    bool stream;      /* over the member's TCP session, which is opened if there is none; to be
                       * dropped if that cannot be done */
    struct msg msg;   /* PING, ACK, PING_REQ, NACK or GOSSIP; owns all its data */
};

struct membership_change {
    node_id id;
    uint8_t old_state; /* enum member_state; 0 for just admitted */
    uint8_t new_state; /* enum member_state; 0 for revoked */
    bool moved;        /* its address changed (the states may be equal then) */
    uint64_t incarnation;
};

struct membership_out {
    size_t send_count;
    struct membership_send sends[MEMBERSHIP_SENDS_MAX];
    size_t change_count;
    struct membership_change changes[MEMBERSHIP_CHANGES_MAX];

    /* Not 0: a peer knows this node under an incarnation of a later boot number than its own: the
     * store was lost or set back, or a clone runs. The machine has gone above it already; the agent
     * raises its persisted boot number above (conflict >> 32) and reports it. */
    uint64_t conflict;
};

/* What this node thinks of one member, and of the path to it. */
struct member_view {
    node_id id;
    uint8_t state; /* enum member_state */
    uint64_t incarnation;
    struct addr addr; /* family 0: none known */
    mono_t heard;     /* last authenticated packet from it; MONO_ZERO for never */
    mono_t since;     /* when the state was entered */
    uint32_t rtt_ms;  /* smoothed; 0 for none measured */
    uint32_t rto_ms;  /* upper quantile of the round-trip time, as used for timeouts */
    uint8_t loss_pct; /* of probe round trips, smoothed */
    bool watched;     /* a neighbour in the ring: probed in every period */
    bool hears;       /* it was heard, and answers this node, not only others */
    bool stream;      /* over TCP alone: of its datagrams nothing comes */
};

struct membership;

/* Errors: ERR_NOMEM, ERR_INVALID (a value outside the ranges above). *m is set on success only. The
 * caller frees with membership_destroy. */
int membership_create(const struct membership_config *config, mono_t now, struct membership **m);
void membership_destroy(struct membership *m); /* NULL is allowed */

/* Advances the machine to @now (never earlier than at the last call). Borrows @event, fills the
 * caller's @out (reset here, valid until its next use; about 60 kB: not for small stacks). Never
 * blocks, logs or allocates. Work that finds no room in @out stays due: call with MEMBERSHIP_TIMER
 * again while membership_deadline has come.
 * Errors, the event being ignored then (time still advances): ERR_FULL member table full (ADMIT);
 * ERR_NOTFOUND the sender is no member; ERR_INVALID no such event, or a message of another type. */
int membership_step(struct membership *m, mono_t now, const struct membership_event *event,
                    struct membership_out *out);

/* When membership_step wants to be called with MEMBERSHIP_TIMER; may lie in the past. */
mono_t membership_deadline(const struct membership *m);

/* Members without this node, ascending by id; index < membership_count. */
size_t membership_count(const struct membership *m);
void membership_at(const struct membership *m, size_t index, struct member_view *view);
int membership_find(const struct membership *m, node_id id,
                    struct member_view *view); /* ERR_NOTFOUND */

/* How many nodes, this one included, are alive or suspect. */
size_t membership_present(const struct membership *m);

uint64_t membership_incarnation(const struct membership *m); /* this node's own */

/* Lifeguard's local health: 0 is well, up to 8; timeouts are stretched by 1 + health. */
uint32_t membership_health(const struct membership *m);

const char *member_state_name(uint8_t state); /* "alive" */

#endif
