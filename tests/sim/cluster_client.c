/* A client on the network, and the gateway, where it stands. It believes the last announcement of
 * an address that has reached it. As agent/edge/announce.h has it, a holder repeats itself until it
 * is believed. The gateway keeps its ARP cache by the last writer, and announcements are writes. */
#include "tests/sim/cluster_internal.h"

#include <string.h>

#define ECHO_BYTES 74

struct announcement {
    size_t vip;
};

void client_create(struct cluster *c)
{
    for (size_t i = 0; i < VIPS_MAX; i++)
        c->client_at[i] = c->gateway_at[i] = -1;
}

void client_announce(struct machine *m, size_t vip)
{
    static const int64_t tries[] = {0, 50, 150, 350, 750};

    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++)
        world_task(m, TASK_ANNOUNCE, tries[i], m->life)->serial = vip;
}

void client_task(struct machine *m, size_t vip)
{
    struct cluster *c = m->cluster;
    struct announcement a = {.vip = vip};

    if (machine_fence_open(m, vip) && c->client_at[vip] != (int)m->index)
        simnet_send(c->net, m->index, c->options.nodes, &a, sizeof a, CLUSTER_ARP_BYTES);
}

bool client_hears(struct cluster *c, size_t from, const void *data, size_t len)
{
    const struct announcement *a = data;

    if (len != sizeof *a)
        return false;
    c->client_at[a->vip] = c->gateway_at[a->vip] = (int)from;
    return true;
}

bool cluster_served(const struct cluster *c, size_t vip)
{
    int at = c->client_at[vip];

    return at >= 0 && machine_fence_open(&c->machines[at], vip) &&
           world_linked(c, (size_t)at, c->options.nodes);
}

bool cluster_misled(const struct cluster *c, size_t vip)
{
    int owner = cluster_vip_owner(c, vip);

    return owner >= 0 && world_linked(c, (size_t)owner, c->options.nodes) &&
           c->client_at[vip] != owner;
}

/* ---- the gateway ---- */

struct access {
    size_t vip;
    size_t asker;
    uint64_t lease;
};

void gateway_access(struct machine *m, const struct effect *effect)
{
    bool write = effect->type == EFFECT_GATEWAY_WRITE;
    struct packet packet = {.life = m->life,
                            .sent = effect->gateway.sent.ms,
                            .kind = write ? PACKET_WRITE : PACKET_READ};
    struct access access = {.vip = machine_vip(&effect->gateway.address),
                            .asker = m->index,
                            .lease = effect->gateway.lease};
    struct node_event event = {.type = NODE_WROTE};

    memcpy(packet.body, &access, sizeof access);
    simnet_send(m->cluster->net, m->index, m->cluster->options.nodes, &packet,
                offsetof(struct packet, body) + sizeof access,
                write ? CLUSTER_ARP_BYTES : ECHO_BYTES);
    event.reading.lease = effect->gateway.lease;
    if (write)
        agent_post(m, &event);
}

void gateway_hears(struct cluster *c, size_t from, const void *data, size_t len)
{
    struct packet packet = {.kind = PACKET_GATEWAY};
    struct access access = {.asker = from};
    size_t bytes = CLUSTER_ARP_BYTES;
    int to = (int)from;

    memcpy(&packet, data, len);
    if (packet.kind != PACKET_GATEWAY) {
        memcpy(&access, packet.body, sizeof access);
        if (packet.kind == PACKET_WRITE) {
            c->gateway_at[access.vip] = (int)from;
        } else {
            to = c->gateway_at[access.vip];
            bytes = ECHO_BYTES;
        }
    }
    if (to >= 0)
        simnet_send(c->net, c->options.nodes, (size_t)to, data, len, bytes);
}

void gateway_replied(struct machine *m, const struct packet *packet)
{
    struct node_event event = {.type = packet->kind == PACKET_WRITE ? NODE_WRITTEN : NODE_READ};
    struct access access;

    memcpy(&access, packet->body, sizeof access);
    event.reading.lease = access.lease;
    event.reading.sent.ms = packet->sent;
    if (access.asker == m->index && packet->life == m->life)
        agent_post(m, &event);
}
