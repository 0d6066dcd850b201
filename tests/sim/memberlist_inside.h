/* The inside of the model, for the files memberlist*.c only. */
#ifndef COVEY_TESTS_MEMBERLIST_INSIDE_H
#define COVEY_TESTS_MEMBERLIST_INSIDE_H

#include "tests/sim/memberlist.h"

#define PROBE_MS 1000
#define ACK_MS 500
#define INDIRECT 3
#define GOSSIP_MS 200
#define GOSSIP_NODES 3
#define GOSSIP_TO_DEAD_MS 30000
#define PUSH_PULL_MS 30000
#define PUSH_PULL_SCALE 32 /* nodes from which on it is rarer */
#define SUSPICION_MULT 4
#define SUSPICION_MAX_MULT 6
#define RETRANSMIT_MULT 4
#define AWARENESS_MAX 8
#define RECONNECT_MS 30000 /* serf */
#define PACKET_BYTES 1400

#define RELAYS_MAX 16
#define FLOWS_MAX 16
#define NEWS_MAX 24
#define FROM_MAX 4

enum ml_state { ML_UNKNOWN, ML_ALIVE, ML_SUSPECT, ML_DEAD };

enum ml_kind {
    ML_PING = 1,
    ML_ACK,
    ML_INDIRECT,
    ML_NACK,
    ML_GOSSIP,
    ML_SYN,
    ML_SYNACK,
    ML_REQUEST,
    ML_RESPONSE,
    ML_TRAILER
};

struct ml_news {
    uint8_t state; /* enum ml_state */
    uint16_t subject;
    uint16_t from;
    uint32_t incarnation;
};

struct ml_packet {
    uint8_t kind;
    bool push_pull; /* the flow; else it is a ping */
    uint8_t news_count;
    uint16_t target; /* of an indirect ping */
    uint32_t sequence;
    uint16_t state_count;
    struct ml_news news[NEWS_MAX];
};

struct ml_entry { /* of a node's state, in a push-pull, after the packet */
    uint32_t incarnation;
    uint8_t state;
};

struct ml_suspicion {
    int confirmed;
    int wanted;
    int64_t min, max;
    mono_t start, fire;
    size_t from_count;
    uint16_t from[FROM_MAX];
};

struct ml_peer {
    uint8_t state;
    bool listed; /* in order: not reaped */
    uint32_t incarnation;
    mono_t changed;
    struct ml_suspicion *suspicion;
};

struct ml_broadcast {
    struct ml_news news;
    unsigned transmits;
    uint64_t id;
};

struct ml_probe {
    bool running;
    bool indirect;
    bool tcp_contact;
    uint16_t target;
    uint32_t sequence;
    uint32_t incarnation;
    unsigned nacks, nacks_expected;
    mono_t timeout, deadline;
};

struct ml_relay {
    bool used;
    uint16_t origin;
    uint32_t origin_sequence;
    uint32_t sequence;
    mono_t until;
};

struct ml_flow { /* a TCP connection that this node opened */
    bool used;
    bool push_pull;
    bool established;
    uint16_t peer;
    uint32_t sequence;
    int64_t retry_ms;
    mono_t retry, until;
};

struct ml_node {
    bool sick;
    uint32_t incarnation;
    uint32_t sequence;
    unsigned score;
    struct ml_peer *peers;
    uint16_t *order;
    size_t order_count;
    size_t probe_index;
    size_t suspicions;
    struct ml_probe probe;
    mono_t probe_tick;
    bool probe_pending;
    mono_t gossip_tick, push_pull_tick, reconnect_tick;
    struct ml_broadcast *queue;
    size_t queue_count, queue_capacity;
    uint64_t queue_id;
    struct ml_relay relays[RELAYS_MAX];
    struct ml_flow flows[FLOWS_MAX];
};

struct memberlists {
    struct memberlist_options options;
    struct simnet *net;
    size_t count;
    struct ml_node *nodes;
    struct memberlist_counts counts;
};

/* memberlist.c */
void ml_alive(struct memberlists *c, size_t node, const struct ml_news *news);
void ml_suspect(struct memberlists *c, size_t node, const struct ml_news *news);
void ml_dead(struct memberlists *c, size_t node, const struct ml_news *news);
void ml_apply(struct memberlists *c, size_t node, const struct ml_news *news);
size_t ml_pick(struct memberlists *c, size_t node, size_t except, bool alive_only, size_t max,
               uint16_t *picked);

void ml_score(struct ml_node *n, int delta);

/* memberlist_probe.c */
void ml_probe_timers(struct memberlists *c, size_t node);
void ml_relays_tick(struct memberlists *c, size_t node);
void ml_take_ack(struct memberlists *c, size_t node, const struct ml_packet *packet);
void ml_take_indirect(struct memberlists *c, size_t node, size_t from,
                      const struct ml_packet *packet);

/* memberlist_net.c */
void ml_send(struct memberlists *c, size_t node, size_t to, struct ml_packet *packet,
             bool piggyback);
void ml_broadcast(struct memberlists *c, size_t node, const struct ml_news *news);
bool ml_gossip_to(struct memberlists *c, size_t node, size_t to);
void ml_connect(struct memberlists *c, size_t node, size_t to, bool push_pull, uint32_t sequence,
                mono_t until);
void ml_flows_tick(struct memberlists *c, size_t node);
mono_t ml_flows_deadline(const struct ml_node *n);
/* Takes the packet if it belongs to a TCP connection. */
bool ml_flow_packet(struct memberlists *c, size_t node, size_t from,
                    const struct ml_packet *packet);

#endif
