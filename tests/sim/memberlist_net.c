/* Packets of the model: what each counts for, the queue of broadcasts, TCP. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/memberlist_inside.h"

/* Bytes by msgpack with the names of all fields, as memberlist encodes; node names of three
 * letters, IPv4 addresses. */
#define PING_BYTES 66
#define ACK_BYTES 150 /* with serf's network coordinate */
#define INDIRECT_BYTES 98
#define NACK_BYTES 11
#define SUSPECT_BYTES 33 /* and a death */
#define ALIVE_BYTES 62
#define COMPOUND_BYTES 2 /* per message */
#define CRYPT_BYTES 29   /* version, nonce, tag */
#define UDP_BYTES 42     /* Ethernet, IPv4, UDP */
#define TCP_BYTES 66     /* Ethernet, IPv4, TCP with time stamps */
#define TCP_SYN_BYTES 74
#define SEGMENT_BYTES 1448
#define STREAM_BYTES 34 /* encrypted streams: length, version, nonce, tag */
#define STATE_BYTES 71  /* of one node in a push-pull */
#define SERF_STATE_BYTES 90
#define SERF_NODE_BYTES 5

#define SYN_RETRY_MS 1000 /* RFC 6298 */
#define DATA_RETRY_MS 200

/* LZW shrinks the tables of a push-pull, which repeat the names of their fields for each node: what
 * Go's encoder leaves of N rows of this kind, measured for 2 to 1,000 rows. */
static size_t compressed(size_t nodes, size_t bytes)
{
    double left = 0.32 + 0.68 / (1.0 + 0.28 * (double)nodes);

    return (size_t)((double)bytes * left);
}

static size_t state_bytes(size_t nodes)
{
    size_t bytes = SERF_STATE_BYTES + nodes * (STATE_BYTES + SERF_NODE_BYTES);

    return STREAM_BYTES + compressed(nodes, bytes);
}

static size_t segments(size_t bytes)
{
    return bytes + TCP_BYTES * ((bytes + SEGMENT_BYTES - 1) / SEGMENT_BYTES);
}

static size_t news_bytes(const struct ml_news *news)
{
    return COMPOUND_BYTES + (size_t)(news->state == ML_ALIVE ? ALIVE_BYTES : SUSPECT_BYTES);
}

static size_t packet_bytes(const struct ml_packet *p)
{
    static const size_t bytes[] = {[ML_PING] = PING_BYTES,
                                   [ML_ACK] = ACK_BYTES,
                                   [ML_INDIRECT] = INDIRECT_BYTES,
                                   [ML_NACK] = NACK_BYTES,
                                   [ML_GOSSIP] = 0};
    size_t sum = bytes[p->kind];
    size_t parts = p->news_count + (size_t)(p->kind != ML_GOSSIP);

    for (size_t i = 0; i < p->news_count; i++)
        sum += news_bytes(&p->news[i]);
    if (parts > 1)
        sum += COMPOUND_BYTES + (size_t)(p->kind != ML_GOSSIP ? COMPOUND_BYTES : 0);
    return sum + CRYPT_BYTES;
}

/* ---- broadcasts ---- */

void ml_broadcast(struct memberlists *c, size_t node, const struct ml_news *news)
{
    struct ml_node *n = &c->nodes[node];
    struct ml_broadcast *slot = NULL;

    for (size_t i = 0; i < n->queue_count && slot == NULL; i++)
        if (n->queue[i].news.subject == news->subject)
            slot = &n->queue[i]; /* what was to be said of this node is void */
    if (slot == NULL) {
        if (n->queue_count == n->queue_capacity) {
            n->queue_capacity = 2 * n->queue_capacity + 16;
            n->queue = realloc(n->queue, n->queue_capacity * sizeof *n->queue);
            if (n->queue == NULL)
                abort();
        }
        slot = &n->queue[n->queue_count++];
    }
    *slot = (struct ml_broadcast){.news = *news, .id = ++n->queue_id};
}

/* Those that were sent least first, the newest of them first. */
static int by_urgency(const void *a, const void *b)
{
    const struct ml_broadcast *x = a;
    const struct ml_broadcast *y = b;

    if (x->transmits != y->transmits)
        return x->transmits < y->transmits ? -1 : 1;
    return x->id > y->id ? -1 : x->id < y->id;
}

static void take_broadcasts(struct ml_node *n, struct ml_packet *packet)
{
    unsigned limit = RETRANSMIT_MULT * (unsigned)ceil(log10((double)n->order_count + 1));
    size_t room = PACKET_BYTES - packet_bytes(packet) - COMPOUND_BYTES;
    size_t kept = 0;

    if (n->queue_count > 1)
        qsort(n->queue, n->queue_count, sizeof *n->queue, by_urgency);
    for (size_t i = 0; i < n->queue_count; i++) {
        struct ml_broadcast b = n->queue[i];
        size_t bytes = news_bytes(&b.news);
        if (packet->news_count < NEWS_MAX && bytes <= room) {
            room -= bytes;
            packet->news[packet->news_count++] = b.news;
            if (++b.transmits >= limit)
                continue;
        }
        n->queue[kept++] = b;
    }
    n->queue_count = kept;
}

static void transmit(struct memberlists *c, size_t node, size_t to, const void *data, size_t len,
                     size_t wire_bytes)
{
    simnet_send(c->net, node, to, data, len, wire_bytes);
}

void ml_send(struct memberlists *c, size_t node, size_t to, struct ml_packet *packet,
             bool piggyback)
{
    if (piggyback)
        take_broadcasts(&c->nodes[node], packet);
    transmit(c, node, to, packet, sizeof *packet, packet_bytes(packet) + UDP_BYTES);
}

bool ml_gossip_to(struct memberlists *c, size_t node, size_t to)
{
    struct ml_packet packet = {.kind = ML_GOSSIP};

    take_broadcasts(&c->nodes[node], &packet);
    if (packet.news_count == 0)
        return false;
    transmit(c, node, to, &packet, sizeof packet, packet_bytes(&packet) + UDP_BYTES);
    return true;
}

/* ---- TCP: one question, one answer ---- */

struct state_packet {
    struct ml_packet packet;
    struct ml_entry entries[];
};

static void send_flow(struct memberlists *c, size_t node, size_t to, uint8_t kind, bool push_pull,
                      uint32_t sequence)
{
    struct ml_node *n = &c->nodes[node];
    size_t states = push_pull && (kind == ML_REQUEST || kind == ML_RESPONSE) ? c->count : 0;
    struct state_packet *p = calloc(1, sizeof *p + states * sizeof p->entries[0]);
    size_t known = 0;
    size_t bytes = TCP_SYN_BYTES;

    if (p == NULL)
        abort();
    p->packet.kind = kind;
    p->packet.push_pull = push_pull;
    p->packet.sequence = sequence;
    p->packet.state_count = (uint16_t)states;
    for (size_t i = 0; i < states; i++) {
        if (!n->peers[i].listed)
            continue;
        known++;
        p->entries[i] =
            (struct ml_entry){.incarnation = n->peers[i].incarnation, .state = n->peers[i].state};
    }
    if (kind == ML_TRAILER)
        bytes = TCP_BYTES;
    else if (kind == ML_REQUEST || kind == ML_RESPONSE)
        bytes = segments(push_pull ? state_bytes(known)
                                   : (size_t)(kind == ML_REQUEST ? PING_BYTES : ACK_BYTES) +
                                         STREAM_BYTES);
    transmit(c, node, to, p, sizeof *p + states * sizeof p->entries[0], bytes);
    free(p);
}

void ml_connect(struct memberlists *c, size_t node, size_t to, bool push_pull, uint32_t sequence,
                mono_t until)
{
    struct ml_node *n = &c->nodes[node];

    for (size_t i = 0; i < FLOWS_MAX; i++) {
        if (n->flows[i].used)
            continue;
        n->flows[i] = (struct ml_flow){.used = true,
                                       .push_pull = push_pull,
                                       .peer = (uint16_t)to,
                                       .sequence = sequence,
                                       .retry_ms = SYN_RETRY_MS,
                                       .retry = mono_add(simnet_now(c->net), SYN_RETRY_MS),
                                       .until = until};
        send_flow(c, node, to, ML_SYN, push_pull, sequence);
        return;
    }
}

void ml_flows_tick(struct memberlists *c, size_t node)
{
    struct ml_node *n = &c->nodes[node];
    mono_t now = simnet_now(c->net);

    for (size_t i = 0; i < FLOWS_MAX; i++) {
        struct ml_flow *f = &n->flows[i];
        if (!f->used)
            continue;
        if (mono_reached(now, f->until)) {
            f->used = false;
        } else if (mono_reached(now, f->retry)) {
            f->retry_ms *= 2;
            f->retry = mono_add(now, f->retry_ms);
            send_flow(c, node, f->peer, f->established ? ML_REQUEST : ML_SYN, f->push_pull,
                      f->sequence);
        }
    }
}

mono_t ml_flows_deadline(const struct ml_node *n)
{
    mono_t t = MONO_NEVER;

    for (size_t i = 0; i < FLOWS_MAX; i++)
        if (n->flows[i].used)
            t = mono_min(t, mono_min(n->flows[i].retry, n->flows[i].until));
    return t;
}

static void merge(struct memberlists *c, size_t node, const struct state_packet *p)
{
    for (size_t i = 0; i < p->packet.state_count; i++) {
        struct ml_news news = {.state = p->entries[i].state,
                               .subject = (uint16_t)i,
                               .from = (uint16_t)node,
                               .incarnation = p->entries[i].incarnation};
        if (news.state == ML_DEAD)
            news.state = ML_SUSPECT; /* it prefers to suspect */
        if (news.state != ML_UNKNOWN)
            ml_apply(c, node, &news);
    }
}

static struct ml_flow *flow_of(struct ml_node *n, size_t peer, uint32_t sequence)
{
    for (size_t i = 0; i < FLOWS_MAX; i++)
        if (n->flows[i].used && n->flows[i].peer == peer && n->flows[i].sequence == sequence)
            return &n->flows[i];
    return NULL;
}

static void take_response(struct memberlists *c, size_t node, size_t from,
                          const struct ml_packet *packet)
{
    struct ml_node *n = &c->nodes[node];

    send_flow(c, node, from, ML_TRAILER, false, 0); /* acknowledges it */
    send_flow(c, node, from, ML_TRAILER, false, 0); /* closes */
    if (packet->push_pull)
        merge(c, node, (const struct state_packet *)(const void *)packet);
    else if (n->probe.running && n->probe.sequence == packet->sequence)
        n->probe.tcp_contact = true;
}

bool ml_flow_packet(struct memberlists *c, size_t node, size_t from, const struct ml_packet *packet)
{
    struct ml_flow *f = NULL;

    if (packet->kind < ML_SYN)
        return false;
    if (packet->kind == ML_SYNACK || packet->kind == ML_RESPONSE)
        f = flow_of(&c->nodes[node], from, packet->sequence);
    switch (packet->kind) {
    case ML_SYN:
        send_flow(c, node, from, ML_SYNACK, packet->push_pull, packet->sequence);
        break;
    case ML_SYNACK:
        if (f == NULL || f->established)
            break;
        f->established = true;
        f->retry_ms = DATA_RETRY_MS;
        f->retry = mono_add(simnet_now(c->net), DATA_RETRY_MS);
        send_flow(c, node, from, ML_TRAILER, false, 0); /* the third of the handshake */
        send_flow(c, node, from, ML_REQUEST, f->push_pull, f->sequence);
        break;
    case ML_REQUEST:
        send_flow(c, node, from, ML_TRAILER, false, 0);
        send_flow(c, node, from, ML_RESPONSE, packet->push_pull, packet->sequence);
        send_flow(c, node, from, ML_TRAILER, false, 0); /* closes */
        if (packet->push_pull)
            merge(c, node, (const struct state_packet *)(const void *)packet);
        break;
    case ML_RESPONSE:
        if (f == NULL)
            break;
        f->used = false;
        take_response(c, node, from, packet);
        break;
    default:
        break;
    }
    return true;
}
