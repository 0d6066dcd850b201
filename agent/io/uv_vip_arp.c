/* What is said and heard on the air: announcements, foreign claims, the gateway. */
#include <stdlib.h>
#include <string.h>

#include "agent/io/os_clock.h"
#include "agent/io/uv_vip_inside.h"

#define FRAMES_MAX 32             /* read in one go, */
#define ROUNDS_MAX 8              /* and so many goes before others get their turn */
#define PROBES_NEAR_MS 100        /* between the first probe and the one behind it */
#define PROBE_INTERVAL_MS 20000   /* of held addresses, */
#define CONFLICT_INTERVAL_MS 8000 /* and of those that a foreign host has */
#define CONFLICT_MEMORY_MS 120000 /* a foreign host that was silent so long has gone */
#define CONFLICT_REPEAT_MS 1000   /* between two events about the same address */
#define SUSPICION_MS 250          /* a member whose MAC is unknown answers within that */
#define SUSPICION_MEMORY_MS 60000
#define LOOK_UP_MS 2000 /* how long the gateway and our own address are taken for granted */
#define OWN_ADDRESSES_MAX 256

/* ---- who is who ---- */

static void learn(struct vip_member *m, struct ipv4 ip, struct mac mac)
{
    if (!ipv4_equal(m->ip, ip))
        return;
    m->mac = mac;
    m->known = true;
}

static void learn_all(struct uv_vip *vip, struct ipv4 ip, struct mac mac)
{
    for (size_t i = 0; i < vip->member_count; i++)
        learn(&vip->members[i], ip, mac);
    if (vip->gateway_known)
        learn(&vip->gateway, ip, mac);
}

/* Whom the kernel knows on this link; learns the MACs of those that matter. */
size_t vip_neighbours(struct uv_vip *vip, struct os_neighbour list[VIP_NEIGHBOURS_MAX])
{
    size_t count = 0;

    if (os_neighbour_list(vip->netlink, vip->link.index, list, VIP_NEIGHBOURS_MAX, &count, NULL) !=
        ERR_NONE)
        return 0;
    for (size_t i = 0; i < count; i++)
        learn_all(vip, list[i].ip, list[i].mac);
    return count;
}

/* One of this host's that is no virtual one, in the gateway's network if there is one. */
static void find_own(struct uv_vip *vip)
{
    struct os_address found[OWN_ADDRESSES_MAX];
    size_t count = 0;

    vip->own_known = false;
    if (os_address_list(vip->netlink, vip->link.index, found, OWN_ADDRESSES_MAX, &count, NULL) !=
        ERR_NONE)
        return;
    for (size_t i = 0; i < count; i++) {
        struct ipv4 ip;
        uint32_t difference = 0;
        bool near;
        if (found[i].ours || !ipv4_from_addr(&found[i].ip, &ip) || vip_find(vip, ip) != NULL)
            continue;
        for (size_t k = 0; k < sizeof ip.byte; k++)
            difference = difference << 8 | (uint32_t)(ip.byte[k] ^ vip->gateway.ip.byte[k]);
        near = found[i].prefix == 0 || difference >> (32 - found[i].prefix) == 0;
        if (vip->own_known && !(vip->gateway_known && near))
            continue;
        vip->own_ip = ip;
        vip->own_known = true;
        if (near)
            return;
    }
}

void vip_look_up(struct uv_vip *vip)
{
    mono_t now = os_clock_now();
    struct ipv4 ip;

    if (mono_diff(now, vip->looked_up) < LOOK_UP_MS)
        return;
    vip->looked_up = now;
    if (os_gateway_get(vip->netlink, vip->link.index, &ip, NULL) != ERR_NONE) {
        vip->gateway_known = false;
    } else if (!vip->gateway_known || !ipv4_equal(ip, vip->gateway.ip)) {
        vip->gateway = (struct vip_member){.ip = ip};
        vip->gateway_known = true;
    }
    find_own(vip);
}

bool vip_is_member(const struct uv_vip *vip, struct ipv4 ip)
{
    for (size_t i = 0; i < vip->member_count; i++)
        if (ipv4_equal(vip->members[i].ip, ip))
            return true;
    return vip->gateway_known && ipv4_equal(vip->gateway.ip, ip);
}

/* ---- sending ---- */

/* What cannot be sent is as good as lost on the air: everything here is repeated. */
static void say(struct uv_vip *vip, const struct arp_frame *frame)
{
    if (vip->arp != NULL)
        os_arp_send(vip->arp->arp, frame, NULL);
}

void vip_ask(struct uv_vip *vip, struct ipv4 target, const struct mac *mac)
{
    struct arp_frame frame;

    if (!vip->own_known)
        return;
    arp_ask(&frame, vip->link.mac, vip->own_ip, target, mac);
    say(vip, &frame);
}

static void ask_unknown(struct uv_vip *vip)
{
    vip_look_up(vip);
    for (size_t i = 0; i < vip->member_count; i++)
        if (!vip->members[i].known)
            vip_ask(vip, vip->members[i].ip, NULL);
}

static void run_announcement(struct uv_vip *vip, struct vip_address *a, mono_t now)
{
    struct announce_out out;

    do {
        announce_step(&a->announce, now, &out);
        for (size_t i = 0; i < out.count; i++)
            say(vip, &out.frames[i]);
    } while (out.count + 2 > ANNOUNCE_FRAMES_MAX);
}

static void run_probe(struct uv_vip *vip, struct vip_address *a, mono_t now)
{
    struct arp_frame frame;

    arp_probe(&frame, vip->link.mac, a->ip);
    say(vip, &frame);
    if (a->conflict && mono_diff(now, a->conflict_at) > CONFLICT_MEMORY_MS)
        a->conflict = false;
    if (a->probes > 0) {
        a->probes--;
        a->probe_at = mono_add(now, PROBES_NEAR_MS);
    } else {
        a->probe_at = a->conflict ? mono_add(now, CONFLICT_INTERVAL_MS)
                      : a->held   ? mono_add(now, PROBE_INTERVAL_MS)
                                  : MONO_NEVER;
    }
}

static void on_timer(uv_timer_t *timer)
{
    vip_arp_run(timer->data);
}

void vip_arp_run(struct uv_vip *vip)
{
    mono_t now = os_clock_now();
    mono_t next = mono_min(vip_clients_run(vip, now), vip_gateway_run(vip, now));
    int64_t wait;

    for (size_t i = 0; i < vip->address_count; i++) {
        struct vip_address *a = vip->addresses[i];
        if (a->announced) {
            run_announcement(vip, a, now);
            next = mono_min(next, announce_deadline(&a->announce));
        }
        if (mono_reached(now, a->probe_at))
            run_probe(vip, a, now);
        next = mono_min(next, a->probe_at);
    }
    if (mono_is_never(next)) {
        uv_timer_stop(&vip->timer);
        return;
    }
    wait = mono_diff(next, os_clock_now());
    uv_update_time(vip->loop);
    uv_timer_start(&vip->timer, on_timer, wait > 0 ? (uint64_t)wait : 0, 0);
}

void vip_announce(struct uv_vip *vip, struct vip_address *a)
{
    struct os_neighbour list[VIP_NEIGHBOURS_MAX];
    size_t count = vip_neighbours(vip, list);
    mono_t now = os_clock_now();

    vip_look_up(vip);
    announce_start(&a->announce, now, vip->link.mac, a->ip);
    a->announced = true;
    if (vip->gateway_known && vip->gateway.known)
        announce_add(&a->announce, now, vip->gateway.ip, vip->gateway.mac);
    else if (vip->gateway_known)
        vip_ask(vip, vip->gateway.ip, NULL);
    for (size_t i = 0; i < vip->member_count; i++)
        if (vip->members[i].known)
            announce_add(&a->announce, now, vip->members[i].ip, vip->members[i].mac);
    for (size_t i = 0; i < count; i++)
        if (vip_find(vip, list[i].ip) == NULL)
            announce_add(&a->announce, now, list[i].ip, list[i].mac);
    for (size_t i = 0; i < vip->told_count; i++) {
        struct os_neighbour client;
        memcpy(client.ip.byte, vip->told[i].ip, sizeof client.ip.byte);
        memcpy(client.mac.byte, vip->told[i].mac, sizeof client.mac.byte);
        announce_add(&a->announce, now, client.ip, client.mac);
        /* Else it would be asked for by broadcast before it gets its first answer. */
        os_neighbour_suggest(vip->netlink, vip->link.index, &client, NULL);
    }
    ask_unknown(vip);
    vip_arp_run(vip);
}

/* ---- hearing ---- */

static bool is_member(struct uv_vip *vip, struct mac mac)
{
    for (size_t i = 0; i < vip->member_count; i++)
        if (vip->members[i].known && mac_equal(vip->members[i].mac, mac))
            return true;
    return false;
}

static bool all_known(const struct uv_vip *vip)
{
    for (size_t i = 0; i < vip->member_count; i++)
        if (!vip->members[i].known)
            return false;
    return true;
}

/* May the claim be a member's? Those whose MAC is unknown are asked for it, and then the address
 * for its holder once more. */
static bool may_be_member(struct uv_vip *vip, struct vip_address *a, mono_t now)
{
    if (a->suspected && mono_diff(now, a->suspected_at) < SUSPICION_MEMORY_MS)
        return mono_diff(now, a->suspected_at) < SUSPICION_MS;
    if (all_known(vip))
        return false;
    a->suspected = true;
    a->suspected_at = now;
    ask_unknown(vip);
    a->probe_at = mono_add(now, SUSPICION_MS + 50);
    vip_arp_run(vip);
    return true;
}

static void take_claim(struct uv_vip *vip, struct vip_address *a, struct mac mac)
{
    struct node_event event = {.type = NODE_CONFLICT};
    struct os_neighbour list[VIP_NEIGHBOURS_MAX];
    mono_t now = os_clock_now();

    if (!a->watched && !a->held)
        return;
    if (a->conflict && mono_diff(now, a->conflict_at) < CONFLICT_REPEAT_MS)
        return;
    if (is_member(vip, mac))
        return;
    vip_neighbours(vip, list);
    if (is_member(vip, mac) || may_be_member(vip, a, now))
        return;
    a->conflict = true;
    a->conflict_at = now;
    a->probe_at = mono_min(a->probe_at, mono_add(now, CONFLICT_INTERVAL_MS));
    vip_arp_run(vip);
    event.conflict.address = a->address;
    memcpy(event.conflict.mac, mac.byte, sizeof event.conflict.mac);
    vip->post.event(vip->post.context, &event);
}

/* An answer to one of ours: @ip is there, with that MAC. */
static void take_answer(struct uv_vip *vip, struct ipv4 ip, struct mac mac)
{
    mono_t now = os_clock_now();
    bool wanted = vip->gateway_known && ipv4_equal(ip, vip->gateway.ip);

    for (size_t i = 0; i < vip->member_count; i++)
        wanted = wanted || ipv4_equal(ip, vip->members[i].ip);
    for (size_t i = 0; wanted && i < vip->address_count; i++)
        if (vip->addresses[i]->announced)
            announce_add(&vip->addresses[i]->announce, now, ip, mac);
    if (wanted)
        vip_arp_run(vip);
}

static void take_frame(struct uv_vip *vip, const struct arp_frame *frame)
{
    struct vip_member before = vip->gateway;
    struct vip_address *a;

    if (mac_equal(frame->sender_mac, vip->link.mac))
        return; /* our own, echoed by an access point */
    learn_all(vip, frame->sender_ip, frame->sender_mac);
    if (vip->gateway_known && ipv4_equal(frame->sender_ip, vip->gateway.ip))
        vip_gateway_learned(vip, before.known && !mac_equal(before.mac, vip->gateway.mac));
    a = vip_find(vip, frame->sender_ip);
    if (a != NULL && arp_meaning(frame, vip->link.mac, a->ip) == ARP_CLAIM)
        take_claim(vip, a, frame->sender_mac);
    if (frame->operation != ARP_REPLY || !mac_equal(frame->target_mac, vip->link.mac))
        return;
    a = vip_find(vip, frame->target_ip);
    if (a != NULL && a->announced)
        announce_answered(&a->announce, frame->sender_ip);
    if (a != NULL && vip->gateway_known && ipv4_equal(frame->sender_ip, vip->gateway.ip))
        vip_gateway_written(vip, a);
    if (!ipv4_equal(frame->target_ip, vip->own_ip))
        return;
    if (vip->gateway_known && ipv4_equal(frame->sender_ip, vip->gateway.ip))
        vip_gateway_answered(vip);
    take_answer(vip, frame->sender_ip, frame->sender_mac);
}

static void readable(uv_poll_t *poll, int status, int events)
{
    struct vip_socket *socket = poll->data;
    struct uv_vip *vip = socket->vip;
    struct arp_frame frames[FRAMES_MAX];

    (void)events;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        size_t count = os_arp_receive(socket->arp, frames, FRAMES_MAX);
        for (size_t i = 0; i < count && vip->arp == socket; i++)
            take_frame(vip, &frames[i]);
        if (count < FRAMES_MAX)
            break;
    }
    /* libuv stops when a socket reports an error, here that the link went down. Reading clears it.
     */
    if (status != 0 && vip->arp == socket && uv_poll_start(poll, UV_READABLE, readable) != 0) {
        vip_socket_close(socket);
        vip->arp = NULL; /* another one with the next event of the link */
    }
}

int vip_arp_open(struct uv_vip *vip, struct err *err)
{
    struct vip_source source = {.arp = NULL};
    int rc;

    vip_socket_close(vip->arp);
    vip_socket_close(vip->echo);
    vip->arp = vip->echo = NULL;
    vip->looked_up = (mono_t){INT64_MIN};
    rc = os_arp_open(vip->link.index, &source.arp, err);
    return rc == ERR_NONE ? vip_socket_open(vip, &source, readable, &vip->arp, err) : rc;
}

/* ---- what the node asks for ---- */

void uv_vip_check(struct uv_vip *vip, const struct addr *address)
{
    struct ipv4 ip;
    struct vip_address *a = ipv4_from_addr(address, &ip) ? vip_find(vip, ip) : NULL;

    if (a == NULL || !a->watched)
        return; /* uv_vip_watch will ask */
    a->probes = 1;
    a->probe_at = os_clock_now();
    vip_arp_run(vip);
}

void uv_vip_members(struct uv_vip *vip, const struct addr *addresses, size_t count)
{
    struct os_neighbour list[VIP_NEIGHBOURS_MAX];
    struct vip_member *members = calloc(count > 0 ? count : 1, sizeof *members);
    size_t used = 0;

    if (members == NULL)
        return; /* those known before stay known */
    for (size_t i = 0; i < count; i++) {
        struct ipv4 ip;
        if (!ipv4_from_addr(&addresses[i], &ip))
            continue;
        members[used].ip = ip;
        for (size_t k = 0; k < vip->member_count; k++)
            if (vip->members[k].known)
                learn(&members[used], vip->members[k].ip, vip->members[k].mac);
        used++;
    }
    free(vip->members);
    vip->members = members;
    vip->member_count = used;
    if (vip->link.index != 0)
        vip_neighbours(vip, list);
}
