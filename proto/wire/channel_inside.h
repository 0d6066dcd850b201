/* The inside of the channel, for channel.c (table, epochs, sealing) and channel_open.c (what comes
 * in) only. */
#ifndef COVEY_WIRE_CHANNEL_INSIDE_H
#define COVEY_WIRE_CHANNEL_INSIDE_H

#include "proto/wire/channel.h"

#define PAST_BOOTS 4  /* superseded boots of a peer that are remembered */
#define HELLO_BOOTS 4 /* whose HELLOs are remembered */

struct session {
    bool valid;
    bool initiator; /* of its handshake was this node */
    uint8_t version;
    uint32_t tag;
    uint32_t a; /* numbers of the handshake */
    uint32_t b;
    uint64_t boot; /* of the peer */
    uint64_t sent; /* last counter used */
    uint8_t secret[KEYS_DERIVED];
    struct replay replay;
};

/* A body that waits for a session, or for an epoch that both have. */
struct pending {
    struct pending *next;
    mono_t since;
    bool keys;
    size_t len;
    uint8_t body[];
};

/* The HELLOs of one boot that were answered: numbers up to this. */
struct hello_seen {
    uint64_t boot;
    uint32_t number;
};

struct peer {
    node_id id;
    uint8_t shared[KEYS_SHARED];

    struct session next; /* agreed on as initiator, nothing received in it yet */
    struct session current;
    struct session previous;

    uint64_t boot; /* last proven; 0 for none */
    uint64_t past[PAST_BOOTS];
    size_t past_at;
    uint32_t restarts;
    bool cloned;
    mono_t boot_since; /* while it is cloned: when the boot changed last */

    uint32_t number;      /* last handshake number used towards this peer */
    uint32_t confirmed;   /* highest own number that a FIRST has confirmed */
    uint32_t hello_first; /* own HELLOs that may be answered; 0 for none */
    uint32_t hello_last;
    int64_t hello_wait; /* ms */
    mono_t hello_next;
    struct hello_seen hellos[HELLO_BOOTS];
    size_t hello_at;
    mono_t answer_at; /* of the rate limit */

    struct pending *pending; /* oldest first */
    size_t pending_count;
    struct addr pending_addr; /* of the newest */

    uint32_t unanswered; /* datagrams sent since the peer was heard */
    mono_t silent_since; /* when the first of them was sent */
    mono_t heard;
    struct addr addr;
    uint32_t has; /* its newest epoch, as it has proven; 0: not known */
};

struct epoch {
    uint32_t number; /* 0: none */
    uint8_t secret[KEYS_EPOCH_SECRET];
};

struct channel {
    struct keys_identity identity;
    uint64_t boot;
    uint8_t version_min, version_max;
    struct epoch epochs[CHANNEL_EPOCHS];
    uint32_t epoch; /* the newest */

    /* A peer that is removed and added again must not repeat the numbers that it used. */
    uint32_t number_floor;

    struct peer **peers; /* ascending by id */
    size_t peer_count;
    size_t peer_max;
    size_t waiting; /* peers with pending bodies */

    struct wire_counters counters;
    uint8_t body[MSG_DATAGRAM_MAX];
};

struct peer *channel_peer_of(const struct channel *ch, node_id id); /* NULL */
const struct epoch *channel_epoch_of(const struct channel *ch, uint32_t number);

/* The newest epoch that both have; NULL: there is none. */
const struct epoch *channel_common_epoch(const struct channel *ch, const struct peer *p);

/* The key of a session for one direction; @epoch NULL: of traffic about keys. */
void channel_traffic_key(const struct session *s, const struct epoch *epoch, bool by_initiator,
                         uint8_t key[ENVELOPE_KEY]);

/* The key of a HELLO or ACCEPT; @answered is the boot of the receiver, 0 in a HELLO. */
void channel_handshake_key(const struct peer *p, const char *label, node_id from, node_id to,
                           uint64_t boot, uint64_t answered, uint8_t key[ENVELOPE_KEY]);

/* The next handshake number; 0 when they are used up. */
uint32_t channel_number(struct peer *p);

/* Appends a datagram to @out if there is room; @epoch NULL: about keys. */
void channel_send_data(struct channel *ch, struct peer *p, mono_t now, const struct addr *at,
                       const struct epoch *epoch, const uint8_t *body, size_t len,
                       struct channel_out *out);
void channel_send_handshake(struct channel *ch, const struct envelope *e,
                            const uint8_t key[ENVELOPE_KEY], const struct addr *at,
                            struct channel_out *out);

/* Sends a HELLO unless one is under way. */
void channel_hello(struct channel *ch, struct peer *p, mono_t now, const struct addr *at,
                   struct channel_out *out);

/* Sends what waited and can be sent now; returns whether there was something. */
bool channel_flush(struct channel *ch, struct peer *p, mono_t now, const struct addr *at,
                   struct channel_out *out);
void channel_drop_pending(struct channel *ch, struct peer *p);

#endif
