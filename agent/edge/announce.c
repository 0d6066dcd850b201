#include "agent/edge/announce.h"

static bool target_done(const struct announce_target *t)
{
    return t->answered || t->tries == ANNOUNCE_TRIES;
}

static void target_begin(struct announce_target *t, mono_t now)
{
    t->tries = 0;
    t->answered = false;
    t->next = now;
}

void announce_start(struct announce *a, mono_t now, struct mac own, struct ipv4 vip)
{
    a->own = own;
    a->vip = vip;
    a->count = 0;
    announce_again(a, now);
}

void announce_again(struct announce *a, mono_t now)
{
    size_t i;

    a->broadcasts = 0;
    a->next_broadcast = now;
    for (i = 0; i < a->count; i++)
        target_begin(&a->targets[i], now);
}

bool announce_add(struct announce *a, mono_t now, struct ipv4 ip, struct mac mac)
{
    struct announce_target *t;
    size_t i;

    if (ipv4_equal(ip, a->vip) || mac_equal(mac, a->own) || (mac.byte[0] & 1) != 0)
        return true;
    for (i = 0; i < a->count && !ipv4_equal(a->targets[i].ip, ip); i++)
        ;
    if (i == ANNOUNCE_TARGETS_MAX)
        return false;
    t = &a->targets[i];
    if (i < a->count && mac_equal(t->mac, mac))
        return true;
    if (i == a->count)
        a->count++;
    t->ip = ip;
    t->mac = mac;
    target_begin(t, now);
    return true;
}

void announce_answered(struct announce *a, struct ipv4 ip)
{
    size_t i;

    for (i = 0; i < a->count; i++) {
        if (ipv4_equal(a->targets[i].ip, ip))
            a->targets[i].answered = true;
    }
}

/* Every message goes out in two forms: is there room for both? */
static bool room(const struct announce_out *out)
{
    return out->count + 2 <= ANNOUNCE_FRAMES_MAX;
}

static void broadcast(struct announce *a, mono_t now, struct announce_out *out)
{
    arp_announce_request(&out->frames[out->count++], a->own, a->vip);
    arp_announce_reply(&out->frames[out->count++], a->own, a->vip);
    a->broadcasts++;
    a->next_broadcast =
        mono_add(now, a->broadcasts == 1 ? ANNOUNCE_BROADCAST_MS : 4 * ANNOUNCE_BROADCAST_MS);
}

static void notify(struct announce *a, mono_t now, struct announce_target *t,
                   struct announce_out *out)
{
    arp_notify_request(&out->frames[out->count++], a->own, a->vip, t->mac, t->ip);
    arp_notify_reply(&out->frames[out->count++], a->own, a->vip, t->mac, t->ip);
    t->next = mono_add(now, (int64_t)ANNOUNCE_RETRY_MS << t->tries);
    t->tries++;
}

void announce_step(struct announce *a, mono_t now, struct announce_out *out)
{
    size_t i;

    out->count = 0;
    if (a->broadcasts < ANNOUNCE_BROADCASTS && mono_reached(now, a->next_broadcast))
        broadcast(a, now, out);
    for (i = 0; i < a->count && room(out); i++) {
        struct announce_target *t = &a->targets[i];

        if (!target_done(t) && mono_reached(now, t->next))
            notify(a, now, t, out);
    }
}

mono_t announce_deadline(const struct announce *a)
{
    mono_t first = a->broadcasts < ANNOUNCE_BROADCASTS ? a->next_broadcast : MONO_NEVER;
    size_t i;

    for (i = 0; i < a->count; i++) {
        if (!target_done(&a->targets[i]))
            first = mono_min(first, a->targets[i].next);
    }
    return first;
}

size_t announce_unanswered(const struct announce *a)
{
    size_t unanswered = 0;
    size_t i;

    for (i = 0; i < a->count; i++)
        unanswered += !a->targets[i].answered;
    return unanswered;
}
