/* A client on the network, where the gateway stands: it believes the last announcement of an
 * address that has reached it. As agent/edge/announce.h has it, a holder repeats itself until it is
 * believed. */
#include "tests/sim/cluster_internal.h"

#define ANNOUNCE_BYTES 42

struct announcement {
    size_t vip;
};

void client_create(struct cluster *c)
{
    for (size_t i = 0; i < VIPS_MAX; i++)
        c->client_at[i] = -1;
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
        simnet_send(c->net, m->index, c->options.nodes, &a, sizeof a, ANNOUNCE_BYTES);
}

bool client_hears(struct cluster *c, size_t from, const void *data, size_t len)
{
    const struct announcement *a = data;

    if (len != sizeof *a)
        return false;
    c->client_at[a->vip] = (int)from;
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
