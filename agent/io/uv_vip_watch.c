/* Links and addresses that others change: the kernel's word is noted first, event by event, and
 * acted upon once, when all is read. So what this agent does itself, deleting an address and
 * setting it at once, is no change. */
#include <string.h>

#include "agent/io/os_clock.h"
#include "agent/io/uv_vip_inside.h"

#define ADDRESSES_MAX 512 /* of the interface, when all is looked up anew */

static void readable(uv_poll_t *poll, int status, int events);

static void forget_presence(struct uv_vip *vip)
{
    for (size_t i = 0; i < vip->address_count; i++)
        vip->addresses[i]->present = false;
}

static void note_gone(struct uv_vip *vip)
{
    if (vip->link.index == 0)
        return;
    vip->link.index = 0;
    forget_presence(vip);
    vip_socket_close(vip->arp);
    vip->arp = NULL;
}

static void note_link(struct uv_vip *vip, const struct os_link *link)
{
    bool works = link->up && link->carrier;

    if (strcmp(link->name, vip->interface) != 0) {
        if (link->index == vip->link.index)
            note_gone(vip); /* renamed */
        return;
    }
    if (link->index != vip->link.index) {
        note_gone(vip);
        vip->was_down = true;
    } else if (!mac_equal(link->mac, vip->link.mac)) {
        vip->was_down = true;
    }
    vip->link = *link;
    if (!works) {
        vip->was_down = true;
    } else if (vip->was_down) {
        vip->was_down = false;
        vip->came_back = true;
    }
}

static void note_address(struct uv_vip *vip, const struct os_address *address, bool present)
{
    struct ipv4 ip;
    struct vip_address *a;

    if (address->index != vip->link.index || !ipv4_from_addr(&address->ip, &ip))
        return;
    a = vip_find(vip, ip);
    if (a != NULL)
        a->present = present;
    else
        vip->looked_up = (mono_t){INT64_MIN}; /* it may be our own */
}

static void look_up(struct uv_vip *vip)
{
    struct os_address found[ADDRESSES_MAX];
    struct os_link link;
    size_t count = 0;
    int rc = os_link_get(vip->netlink, vip->interface, &link, NULL);

    if (rc == ERR_NONE)
        note_link(vip, &link);
    else if (rc == ERR_NOTFOUND)
        note_gone(vip);
    if (vip->link.index == 0 || os_address_list(vip->netlink, vip->link.index, found, ADDRESSES_MAX,
                                                &count, NULL) != ERR_NONE)
        return;
    forget_presence(vip);
    for (size_t i = 0; i < count; i++)
        note_address(vip, &found[i], true);
}

static void note(const struct os_watch_event *event, void *context)
{
    struct uv_vip *vip = context;

    switch (event->kind) {
    case OS_WATCH_LINK:
        note_link(vip, &event->link);
        break;
    case OS_WATCH_LINK_GONE:
        if (event->link.index == vip->link.index)
            note_gone(vip);
        break;
    case OS_WATCH_ADDRESS:
        note_address(vip, &event->address, true);
        break;
    case OS_WATCH_ADDRESS_GONE:
        note_address(vip, &event->address, false);
        break;
    case OS_WATCH_MISSED:
        look_up(vip);
        break;
    }
}

/* By somebody: neither with its interface nor by the kernel at the end of its life. */
static bool removed(const struct vip_address *a, bool came_back, mono_t now)
{
    return !a->present && !came_back && mono_before(now, a->lives_till);
}

/* Makes true again what the events have undone, for leases that live. */
static void restore(struct uv_vip *vip)
{
    bool came_back = vip->came_back;
    mono_t now = os_clock_now();

    vip_stay_promiscuous(vip);
    if (vip->link.index == 0)
        return;
    vip->came_back = false;
    if (came_back)
        vip->looked_up = (mono_t){INT64_MIN};
    if (vip->arp == NULL)
        vip_arp_open(vip, NULL); /* without one nothing is announced; the next event tries again */
    for (size_t i = 0; i < vip->address_count; i++) {
        struct vip_address *a = vip->addresses[i];
        if (a->removed && (a->present || came_back)) {
            a->removed = false;
            a->news = VIP_BACK;
        } else if (a->held && a->leave && !a->removed && removed(a, came_back, now)) {
            a->removed = true;
            a->news = VIP_LEFT_REMOVED;
        }
        if (!a->held || a->removed || mono_diff(a->until, now) < OS_FENCE_LEASE_MIN_MS ||
            (a->present && !came_back))
            continue;
        if (removed(a, came_back, now))
            a->news = VIP_CORRECTED;
        if (a->present) /* a radio's firmware has forgotten it; the kernel tells it of new ones */
            os_address_delete(vip->netlink, vip->link.index, &a->address, NULL);
        if (vip_set(vip, a, a->until, NULL) == ERR_NONE)
            vip_announce(vip, a); /* else the next renewal tries, and says why it cannot */
    }
    vip_tell_news(vip);
}

/* The socket is broken: another one, and what it missed. */
static void replace(struct uv_vip *vip)
{
    vip_socket_close(vip->watch);
    vip->watch = NULL;
    vip_watch_open(vip, NULL); /* uv_vip_open tries again */
}

static void readable(uv_poll_t *poll, int status, int events)
{
    struct vip_socket *socket = poll->data;
    struct uv_vip *vip = socket->vip;

    (void)events;
    /* libuv stops when a socket reports an error, here that it overflowed. Reading clears it. */
    if (os_watch_read(socket->watch, note, vip, NULL) != ERR_NONE ||
        (status != 0 && uv_poll_start(poll, UV_READABLE, readable) != 0))
        replace(vip);
    restore(vip);
}

int vip_watch_open(struct uv_vip *vip, struct err *err)
{
    struct vip_source source = {.watch = NULL};
    int rc = os_watch_open(&source.watch, err);

    if (rc == ERR_NONE)
        rc = vip_socket_open(vip, &source, readable, &vip->watch, err);
    if (rc == ERR_NONE)
        look_up(vip);
    return rc;
}
