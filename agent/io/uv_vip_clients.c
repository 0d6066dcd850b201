/* Whom this host talks with while it holds an address. The next holder has never heard of them, and
 * an access point that drops broadcast would leave them with the old one: so the flock remembers
 * them.
 */
#include <string.h>

#include "agent/io/os_clock.h"
#include "agent/io/uv_vip_inside.h"

#define LOOK_MS 1000
#define MEMORY_MS (10 * 60 * 1000) /* one that was not seen so long gives its place to another */

static struct vip_client *find(struct uv_vip *vip, struct ipv4 ip)
{
    for (size_t i = 0; i < vip->client_count; i++)
        if (memcmp(vip->clients[i].value.ip, ip.byte, sizeof ip.byte) == 0)
            return &vip->clients[i];
    return NULL;
}

/* A place for another one, or NULL when all are taken by clients of late. */
static struct vip_client *place(struct uv_vip *vip, mono_t now)
{
    struct vip_client *oldest = &vip->clients[0];

    if (vip->client_count < VALUE_CLIENTS_MAX)
        return &vip->clients[vip->client_count++];
    for (size_t i = 1; i < vip->client_count; i++)
        if (mono_before(vip->clients[i].seen, oldest->seen))
            oldest = &vip->clients[i];
    return mono_diff(now, oldest->seen) > MEMORY_MS ? oldest : NULL;
}

/* True if that is news. */
static bool note(struct uv_vip *vip, const struct os_neighbour *neighbour, mono_t now)
{
    struct vip_client *client = find(vip, neighbour->ip);
    bool news = client == NULL;

    if (news)
        client = place(vip, now);
    if (client == NULL)
        return false;
    news = news || memcmp(client->value.mac, neighbour->mac.byte, VALUE_MAC) != 0;
    memcpy(client->value.ip, neighbour->ip.byte, sizeof client->value.ip);
    memcpy(client->value.mac, neighbour->mac.byte, VALUE_MAC);
    client->seen = now;
    return news;
}

static void look(struct uv_vip *vip, mono_t now)
{
    struct os_neighbour list[VIP_NEIGHBOURS_MAX];
    struct node_event event = {.type = NODE_CLIENTS};
    size_t count = vip_neighbours(vip, list);
    bool news = false;

    for (size_t i = 0; i < count; i++)
        if (!vip_is_member(vip, list[i].ip) && vip_find(vip, list[i].ip) == NULL)
            news = note(vip, &list[i], now) || news;
    if (!news)
        return;
    event.clients.count = (uint8_t)vip->client_count;
    for (size_t i = 0; i < vip->client_count; i++)
        event.clients.clients[i] = vip->clients[i].value;
    vip->post.event(vip->post.context, &event);
}

mono_t vip_clients_run(struct uv_vip *vip, mono_t now)
{
    bool held = false;

    for (size_t i = 0; i < vip->address_count; i++)
        held = held || vip->addresses[i]->held;
    if (!held || vip->link.index == 0)
        return vip->clients_at = MONO_NEVER;
    if (mono_is_never(vip->clients_at))
        return MONO_NEVER;
    if (mono_reached(now, vip->clients_at)) {
        vip->clients_at = mono_add(now, LOOK_MS);
        look(vip, now);
    }
    return vip->clients_at;
}

void uv_vip_clients(struct uv_vip *vip, const struct value_client *clients, size_t count)
{
    vip->told_count = count < VALUE_CLIENTS_MAX ? count : VALUE_CLIENTS_MAX;
    memcpy(vip->told, clients, vip->told_count * sizeof *clients);
}
