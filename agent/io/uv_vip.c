#include "agent/io/uv_vip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/io/os_clock.h"
#include "agent/io/uv_vip_inside.h"

#define LIFETIME_REFRESH_MS 500 /* at most so often, and so much may be missing at the end */
#define FENCE_RETRY_MS 1000     /* nft runs at most so often */
#define LIFETIME_MAX_S 60       /* of os_address_set */
#define EARLIER_ADDRESSES_MAX                                                                      \
    256 /* of the interface, looked at when an earlier life is taken over */

/* ---- the table ---- */

struct vip_address *vip_find(const struct uv_vip *vip, struct ipv4 ip)
{
    for (size_t i = 0; i < vip->address_count; i++)
        if (ipv4_equal(vip->addresses[i]->ip, ip))
            return vip->addresses[i];
    return NULL;
}

static struct vip_address *find_addr(const struct uv_vip *vip, const struct addr *address)
{
    struct ipv4 ip;

    return ipv4_from_addr(address, &ip) ? vip_find(vip, ip) : NULL;
}

static int obtain(struct uv_vip *vip, const struct addr *address, struct vip_address **found,
                  struct err *err)
{
    struct vip_address **grown;
    struct vip_address *a;
    struct ipv4 ip;

    if (!ipv4_from_addr(address, &ip))
        return err_set(err, ERR_INVALID, "a virtual address must be IPv4");
    *found = vip_find(vip, ip);
    if (*found != NULL)
        return ERR_NONE;
    if (vip->address_count == OS_FENCE_VIPS_MAX)
        return err_set(err, ERR_LIMIT, "more than %d virtual addresses", OS_FENCE_VIPS_MAX);
    grown = realloc(vip->addresses, (vip->address_count + 1) * sizeof *grown);
    if (grown == NULL)
        return err_set(err, ERR_NOMEM, "remember a virtual address");
    vip->addresses = grown;
    a = calloc(1, sizeof *a);
    if (a == NULL)
        return err_set(err, ERR_NOMEM, "remember a virtual address");
    a->address = ipv4_to_addr(ip);
    a->ip = ip;
    a->probe_at = MONO_NEVER;
    vip->addresses[vip->address_count++] = a;
    *found = a;
    return ERR_NONE;
}

/* Ends the lease control of what is neither held nor wanted. Stays in the table if that fails. */
static void forget(struct uv_vip *vip, size_t i)
{
    struct vip_address *a = vip->addresses[i];

    if (a->guarded && os_fence_unguard(vip->fence, &a->address, NULL) == ERR_IO)
        return;
    free(a);
    vip->addresses[i] = vip->addresses[--vip->address_count];
}

static void forget_unwanted(struct uv_vip *vip)
{
    for (size_t i = vip->address_count; i-- > 0;)
        if (!vip->addresses[i]->held && !vip->addresses[i]->watched)
            forget(vip, i);
}

/* ---- the fences ---- */

/* Somebody flushed the rules. */
static int set_up_again(struct uv_vip *vip, struct err *err)
{
    struct addr guarded[OS_FENCE_VIPS_MAX];
    mono_t now = os_clock_now();
    struct os_fence *fence;
    size_t count = 0;
    int rc;

    if (mono_before(now, vip->fence_retry))
        return err_set(err, ERR_BUSY,
                       "the fence's rules are gone again; somebody flushes the nftables rules");
    vip->fence_retry = mono_add(now, FENCE_RETRY_MS);
    for (size_t i = 0; i < vip->address_count; i++)
        if (vip->addresses[i]->guarded)
            guarded[count++] = vip->addresses[i]->address;
    rc = os_fence_setup(vip->interface, guarded, count, &fence, err);
    if (rc != ERR_NONE)
        return rc;
    os_fence_free(vip->fence);
    vip->fence = fence;
    return ERR_NONE;
}

int vip_guard(struct uv_vip *vip, struct vip_address *a, struct err *err)
{
    int rc;

    if (a->guarded)
        return ERR_NONE;
    a->guarded = true;
    rc = os_fence_guard(vip->fence, &a->address, err);
    if (rc == ERR_NOTFOUND)
        rc = set_up_again(vip, err);
    a->guarded = rc == ERR_NONE;
    return rc;
}

static int open_fence(struct uv_vip *vip, struct vip_address *a, mono_t until, struct err *err)
{
    int rc = os_fence_open(vip->fence, &a->address, until, err);

    if (rc != ERR_NOTFOUND)
        return rc;
    rc = set_up_again(vip, err);
    return rc == ERR_NONE ? os_fence_open(vip->fence, &a->address, until, err) : rc;
}

int vip_set(struct uv_vip *vip, struct vip_address *a, mono_t until, struct err *err)
{
    mono_t now = os_clock_now();
    int64_t rest = (mono_diff(until, now) + 999) / 1000;
    uint32_t lifetime = rest < 1 ? 1 : rest > LIFETIME_MAX_S ? LIFETIME_MAX_S : (uint32_t)rest;
    int rc = os_address_set(vip->netlink, vip->link.index, &a->address, lifetime, err);

    if (rc != ERR_NONE)
        return rc;
    a->present = true;
    a->set_at = now;
    a->lives_till = mono_add(now, 1000 * (int64_t)lifetime);
    return ERR_NONE;
}

/* Lives the address about as long as the lease? Its clock counts seconds: it is set anew when that
 * makes a difference, not with each renewal. */
static bool lifetime_suits(const struct vip_address *a, mono_t until)
{
    mono_t now = os_clock_now();
    int64_t beyond = mono_diff(a->lives_till, until);

    if (!a->present || beyond >= 1000 + LIFETIME_REFRESH_MS)
        return false;
    return beyond >= 0 || (mono_diff(now, a->set_at) < LIFETIME_REFRESH_MS &&
                           mono_diff(a->lives_till, now) > LIFETIME_REFRESH_MS);
}

static int open_both(struct uv_vip *vip, struct vip_address *a, mono_t until, struct err *err)
{
    int rc;

    if (vip->link.index == 0)
        return err_set(err, ERR_UNREACHABLE, "interface %s is gone", vip->interface);
    if (mono_diff(until, os_clock_now()) < OS_FENCE_LEASE_MIN_MS)
        return err_set(err, ERR_TIMEOUT, "the lease has ended");
    rc = vip_guard(vip, a, err);
    if (rc == ERR_NONE && !a->removed && !lifetime_suits(a, until))
        rc = vip_set(vip, a, until, err);
    return rc == ERR_NONE ? open_fence(vip, a, until, err) : rc;
}

/* Nothing answers for it afterwards if either step succeeds; both are asked for. */
int vip_shut_both(struct uv_vip *vip, const struct addr *address, struct err *err)
{
    struct err later = {.code = ERR_NONE};
    int rc = os_fence_shut(vip->fence, address, err);

    if (rc == ERR_NOTFOUND)
        rc = ERR_NONE; /* no rules, no open fence; the next guard sets them up */
    if (vip->link.index != 0 &&
        os_address_delete(vip->netlink, vip->link.index, address, &later) != ERR_NONE &&
        rc == ERR_NONE) {
        if (err != NULL)
            *err = later;
        rc = later.code;
    }
    return rc;
}

static void let_go(struct vip_address *a)
{
    a->held = false;
    a->announced = false;
    a->present = false;
    a->removed = false;
    if (!a->conflict)
        a->probe_at = MONO_NEVER;
}

static void post_fence(struct uv_vip *vip, const struct effect_fence *effect, bool open,
                       const struct err *failure)
{
    struct node_event event = {.type = NODE_FENCE};

    event.fence.lease = effect->lease;
    event.fence.number = effect->number;
    event.fence.open = open;
    event.fence.failed = failure != NULL;
    event.fence.reason = failure != NULL ? failure->text : NULL;
    vip->post.event(vip->post.context, &event);
}

void vip_tell_news(struct uv_vip *vip)
{
    for (size_t i = 0; i < vip->address_count; i++) {
        struct vip_address *a = vip->addresses[i];
        struct node_event event = {.type = NODE_DRIFT};
        if (a->news == VIP_NO_NEWS)
            continue;
        event.drift = (struct node_event_drift){.address = a->address,
                                                .differs = a->news != VIP_BACK,
                                                .left = a->news == VIP_LEFT_REMOVED};
        a->news = VIP_NO_NEWS;
        vip->post.event(vip->post.context, &event);
        i = SIZE_MAX; /* from the beginning: that may have changed the list */
    }
}

void uv_vip_open(struct uv_vip *vip, const struct effect_fence *effect)
{
    struct vip_address *a;
    struct err err = {.code = ERR_NONE};

    if (vip->watch == NULL)
        vip_watch_open(vip, NULL); /* one that broke and could not be made anew at once */
    if (obtain(vip, &effect->address, &a, &err) != ERR_NONE) {
        post_fence(vip, effect, false, &err);
        return;
    }
    a->lease = effect->lease;
    a->leave = effect->leave;
    if (a->removed && (effect->fresh || !a->leave)) {
        a->removed = false;
        a->news = VIP_BACK;
    }
    if (open_both(vip, a, effect->until, &err) != ERR_NONE) {
        vip_shut_both(vip, &a->address, NULL);
        let_go(a);
        post_fence(vip, effect, false, &err);
        return;
    }
    if (!a->held || effect->fresh)
        a->probe_at = os_clock_now();
    a->held = true;
    a->until = effect->until;
    if (mono_is_never(vip->clients_at))
        vip->clients_at = os_clock_now();
    if (mono_reached(os_clock_now(), a->probe_at) || mono_reached(os_clock_now(), vip->clients_at))
        vip_arp_run(vip);
    post_fence(vip, effect, true, NULL);
    vip_tell_news(vip);
}

void uv_vip_shut(struct uv_vip *vip, const struct effect_fence *effect)
{
    struct vip_address *a = find_addr(vip, &effect->address);
    struct err err = {.code = ERR_NONE};
    int rc = vip_shut_both(vip, &effect->address, &err);

    if (a != NULL)
        let_go(a);
    forget_unwanted(vip);
    post_fence(vip, effect, rc != ERR_NONE, rc != ERR_NONE ? &err : NULL);
}

void uv_vip_announce(struct uv_vip *vip, const struct effect_fence *effect)
{
    struct vip_address *a = find_addr(vip, &effect->address);

    if (a != NULL && a->held)
        vip_announce(vip, a);
}

void uv_vip_promiscuous(struct uv_vip *vip, bool on)
{
    vip->promiscuous = on;
    vip_stay_promiscuous(vip);
}

void vip_stay_promiscuous(struct uv_vip *vip)
{
    if (vip->promiscuous && vip->link.index != 0 && !vip->link.promiscuous &&
        os_link_set_promiscuous(vip->netlink, vip->link.index, true, NULL) == ERR_NONE)
        vip->link.promiscuous = true; /* else with the next event of the link */
}

static bool contains(const struct addr *addresses, size_t count, struct ipv4 ip)
{
    for (size_t i = 0; i < count; i++) {
        struct ipv4 other;
        if (ipv4_from_addr(&addresses[i], &other) && ipv4_equal(ip, other))
            return true;
    }
    return false;
}

void uv_vip_watch(struct uv_vip *vip, const struct addr *addresses, size_t count)
{
    for (size_t i = 0; i < vip->address_count; i++)
        vip->addresses[i]->watched =
            vip->addresses[i]->watched && contains(addresses, count, vip->addresses[i]->ip);
    for (size_t i = 0; i < count; i++) {
        struct vip_address *a;
        /* One that cannot be remembered is not watched; opening it will say why. */
        if (obtain(vip, &addresses[i], &a, NULL) != ERR_NONE || a->watched)
            continue;
        a->watched = true;
        a->probes = 1;
        a->probe_at = os_clock_now();
    }
    forget_unwanted(vip);
    if (count > 0)
        vip_gateway_meet(vip);
    vip_arp_run(vip);
}

/* ---- an earlier life ---- */

/* What the fence and the interface hold of an earlier life: what is resumed stays as it is. */
static int take_over_fence(struct uv_vip *vip, struct err *err)
{
    struct os_fence_entry entries[OS_FENCE_VIPS_MAX];
    mono_t now = os_clock_now();
    size_t count = 0;
    int rc = os_fence_list(vip->fence, entries, OS_FENCE_VIPS_MAX, &count, err);

    for (size_t i = 0; rc == ERR_NONE && i < count; i++) {
        struct vip_address *a;
        rc = obtain(vip, &entries[i].vip, &a, err);
        if (rc != ERR_NONE)
            break;
        a->guarded = true;
        if (a->held)
            a->until = mono_add(now, entries[i].left_ms);
        else if (entries[i].left_ms > 0)
            rc = os_fence_shut(vip->fence, &a->address, err);
    }
    return rc;
}

static int take_over_addresses(struct uv_vip *vip, struct err *err)
{
    struct os_address found[EARLIER_ADDRESSES_MAX];
    size_t count = 0;
    int rc =
        os_address_list(vip->netlink, vip->link.index, found, EARLIER_ADDRESSES_MAX, &count, err);

    for (size_t i = 0; rc == ERR_NONE && i < count; i++) {
        struct vip_address *a = find_addr(vip, &found[i].ip);
        if (a != NULL && a->held)
            a->present = true; /* set_at is long ago: the next renewal sets the lifetime */
        else if (found[i].ours)
            rc = os_address_delete(vip->netlink, vip->link.index, &found[i].ip, err);
    }
    return rc;
}

int vip_take_over(struct uv_vip *vip, const struct addr *resumed, size_t count, struct err *err)
{
    int rc = os_fence_setup_begun(vip->begun, vip->interface, resumed, count, &vip->fence, err);

    vip->begun = NULL;
    for (size_t i = 0; rc == ERR_NONE && i < count; i++) {
        struct vip_address *a;
        rc = obtain(vip, &resumed[i], &a, err);
        if (rc == ERR_NONE)
            a->held = true;
    }
    if (rc == ERR_NONE)
        rc = take_over_fence(vip, err);
    return rc == ERR_NONE ? take_over_addresses(vip, err) : rc;
}
