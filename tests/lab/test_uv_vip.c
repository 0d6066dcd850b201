/* The executor of virtual addresses on a real kernel: what the client sees, what the node hears. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include <cmocka.h>

#include "agent/core/node.h"
#include "agent/io/os_watch.h"
#include "agent/io/uv_vip.h"
#include "tests/lab/edge_fixture.h"

#define SLACK_MS 50   /* what the protocol allows the fence to be late (F) */
#define RENEW_MS 100  /* heartbeat of a lease of half a second */
#define LEASE_MS 9000 /* of those that are not renewed */
#define LEASE_ID 4711

struct heard {
    unsigned opened, closed, failed, gateway, conflicts, clients;
    struct node_event_fence fence; /* the last */
    char reason[ERR_TEXT_MAX];
    mono_t gateway_sent;
    struct node_event_conflict conflict;
    struct value_clients last_clients;
};

struct world {
    struct edge *edge;
    uv_loop_t loop;
    struct uv_vip *vip[NETLAB_HOSTS];
    struct heard heard[NETLAB_HOSTS];
    unsigned closed;
};

static void hear(void *context, const struct node_event *event)
{
    struct heard *h = context;

    if (event->type == NODE_FENCE) {
        h->fence = event->fence;
        h->failed += event->fence.failed;
        h->opened += !event->fence.failed && event->fence.open;
        h->closed += !event->fence.failed && !event->fence.open;
        strcpy(h->reason, event->fence.reason != NULL ? event->fence.reason : "");
    } else if (event->type == NODE_GATEWAY) {
        h->gateway++;
        h->gateway_sent = event->gateway.sent;
    } else if (event->type == NODE_CLIENTS) {
        h->clients++;
        h->last_clients = event->clients;
    } else {
        assert_int_equal(event->type, NODE_CONFLICT);
        h->conflicts++;
        h->conflict = event->conflict;
    }
}

static int create(struct world *w, int host, size_t resumed)
{
    struct post post = {.event = hear, .context = &w->heard[host]};
    struct edge *e = w->edge;
    int rc;

    netlab_enter(e->lab.host[host]);
    rc = uv_vip_create(&w->loop, "wlan0", &e->vip, resumed, post, &w->vip[host], &e->err);
    netlab_enter(e->lab.home);
    return rc;
}

static void note_closed(void *context)
{
    struct world *w = context;

    w->closed++;
}

static void end(struct world *w, int host, bool keep)
{
    unsigned before = w->closed;

    uv_vip_close(w->vip[host], keep, note_closed, w);
    w->vip[host] = NULL;
    while (w->closed == before)
        uv_run(&w->loop, UV_RUN_ONCE);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    if (w == NULL || edge_set_up(state) != 0)
        return -1;
    w->edge = *state;
    *state = w;
    assert_int_equal(uv_loop_init(&w->loop), 0);
    edge_ok(w->edge, create(w, HOLDER, 0));
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < NETLAB_HOSTS; i++)
        end(w, i, false);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    *state = w->edge;
    free(w);
    return edge_tear_down(state);
}

static struct effect_fence effect(const struct world *w, int64_t ms)
{
    return (struct effect_fence){.lease = LEASE_ID,
                                 .address = w->edge->vip,
                                 .until = mono_add(os_clock_now(), ms),
                                 .number = 7};
}

/* Opens, or renews, and returns when the lease ends. */
static mono_t hold(struct world *w, int host, int64_t ms)
{
    struct effect_fence open = effect(w, ms);
    unsigned before = w->heard[host].opened;

    uv_vip_open(w->vip[host], &open);
    if (w->heard[host].opened != before + 1)
        fail_msg("not opened: %s", w->heard[host].reason);
    assert_int_equal(w->heard[host].fence.lease, LEASE_ID);
    assert_int_equal(w->heard[host].fence.number, 7);
    return open.until;
}

static void shut(struct world *w, int host)
{
    struct effect_fence close = effect(w, 0);
    unsigned before = w->heard[host].closed;

    uv_vip_shut(w->vip[host], &close);
    assert_int_equal(w->heard[host].closed, before + 1);
}

static void announce(struct world *w, int host)
{
    struct effect_fence what = effect(w, 0);

    uv_vip_announce(w->vip[host], &what);
}

/* Lets the loop do what is due, waiting a few milliseconds for it. */
static void turn(struct world *w)
{
    struct pollfd fd = {.fd = uv_backend_fd(&w->loop), .events = POLLIN};

    uv_run(&w->loop, UV_RUN_NOWAIT);
    poll(&fd, 1, 5);
    uv_run(&w->loop, UV_RUN_NOWAIT);
}

static bool becomes(struct world *w, bool (*true_now)(struct world *w))
{
    mono_t bound = mono_add(os_clock_now(), BOUND_MS);

    while (!true_now(w)) {
        if (mono_reached(os_clock_now(), bound))
            return false;
        turn(w);
    }
    return true;
}

/* The interface is looked up by name: its index may have changed. */
static bool find(struct world *w, int host, const struct addr *ip, struct os_address *found)
{
    struct edge *e = w->edge;
    struct edge_host *h = &e->host[host];
    struct os_address addresses[16];
    size_t count = 0;

    if (os_link_get(h->netlink, "wlan0", &h->link, &e->err) != ERR_NONE)
        return false;
    edge_ok(e, os_address_list(h->netlink, h->link.index, addresses, 16, &count, &e->err));
    for (size_t i = 0; i < count; i++) {
        *found = addresses[i];
        if (addr_equal(&found->ip, ip))
            return true;
    }
    return false;
}

static bool has_vip(struct world *w)
{
    struct os_address found;

    return find(w, HOLDER, &w->edge->vip, &found);
}

static bool has_no_vip(struct world *w)
{
    return !has_vip(w);
}

/* -1: not under lease control. */
static int64_t left_of(struct world *w, int host)
{
    struct edge *e = w->edge;
    struct os_fence_entry entries[4];
    size_t count = 0;

    edge_ok(e, os_fence_list(e->host[host].fence, entries, 4, &count, &e->err));
    for (size_t i = 0; i < count; i++)
        if (addr_equal(&entries[i].vip, &e->vip))
            return entries[i].left_ms;
    return -1;
}

static void run(struct world *w, const char *command)
{
    assert_int_equal(netlab_run(w->edge->lab.host[HOLDER], "%s", command), 0);
}

/* Answers from now on, with what is on its way read before. */
static unsigned answers(struct prober *p)
{
    prober_run(p, mono_add(os_clock_now(), 3 * PROBE_MS));
    p->echo_answers = 0;
    p->arp_answers = 0;
    prober_run(p, mono_add(os_clock_now(), 30 * PROBE_MS));
    return p->echo_answers + p->arp_answers;
}

static bool holder_seen_by(struct world *w, int host, struct mac *mac)
{
    struct edge *e = w->edge;
    struct os_neighbour list[16];
    size_t count = 0;

    edge_ok(e, os_neighbour_list(e->host[host].netlink, e->host[host].link.index, list, 16, &count,
                                 &e->err));
    for (size_t i = 0; i < count; i++) {
        *mac = list[i].mac;
        if (ipv4_equal(list[i].ip, e->vip_ip))
            return true;
    }
    return false;
}

/* ---- holding ---- */

static void a_renewed_lease_answers_all_the_time(void **state)
{
    struct world *w = *state;
    mono_t stop = mono_add(os_clock_now(), 2000);
    struct os_address found;
    struct prober p;

    prober_open(&p, w->edge, CLIENT);
    hold(w, HOLDER, 2000);
    assert_true(prober_wait_answer(&p));
    p.echo_answers = p.sent; /* those before the neighbour was found may be lost */
    while (mono_before(os_clock_now(), stop)) {
        hold(w, HOLDER, 2000);
        assert_true(find(w, HOLDER, &w->edge->vip, &found));
        assert_true(found.ours);
        assert_in_range(found.lifetime_s, 0, 2);
        prober_run(&p, mono_add(os_clock_now(), RENEW_MS));
        turn(w);
    }
    assert_true(prober_all_answered(&p));
    assert_true(mac_equal(p.answered_by, w->edge->host[HOLDER].link.mac));
    prober_close(&p);
}

static void count_sets(const struct os_watch_event *event, void *context)
{
    unsigned *sets = context;

    *sets += event->kind == OS_WATCH_ADDRESS;
}

static void renewing_seldom_touches_the_address(void **state)
{
    struct world *w = *state;
    mono_t start = os_clock_now();
    struct os_watch *watch;
    unsigned sets = 0;
    unsigned renewals = 0;

    netlab_enter(w->edge->lab.host[HOLDER]);
    edge_ok(w->edge, os_watch_open(&watch, &w->edge->err));
    netlab_enter(w->edge->lab.home);
    for (; mono_diff(os_clock_now(), start) < 2000; renewals++) {
        /* Leases of both kinds: shorter and longer than a second. */
        hold(w, HOLDER, mono_diff(os_clock_now(), start) < 1000 ? 500 : 4000);
        turn(w);
    }
    edge_ok(w->edge, os_watch_read(watch, count_sets, &sets, &w->edge->err));
    assert_in_range(sets, 1, 2 + mono_diff(os_clock_now(), start) / 500);
    assert_true(renewals > 4 * sets);
    /* A lease that got shorter takes the address's long life back. */
    sets = 0;
    hold(w, HOLDER, 500);
    edge_ok(w->edge, os_watch_read(watch, count_sets, &sets, &w->edge->err));
    assert_int_equal(sets, 1);
    os_watch_close(watch);
}

static void without_renewal_it_ends_by_itself(void **state)
{
    struct world *w = *state;
    struct prober p;
    mono_t lease_end;

    prober_open(&p, w->edge, CLIENT);
    hold(w, HOLDER, LEASE_MS);
    assert_true(prober_wait_answer(&p));
    lease_end = hold(w, HOLDER, 500);
    /* The loop does not run: the agent hangs. */
    prober_run(&p, mono_add(lease_end, 500));
    assert_true(p.last_answer.ms > lease_end.ms - 500);
    assert_true(p.last_answer.ms <= lease_end.ms + SLACK_MS);
    assert_true(becomes(w, has_no_vip));
    /* And it runs on: nothing brings it back. */
    turn(w);
    assert_false(has_vip(w));
    prober_close(&p);
}

static void shutting_ends_it_at_once(void **state)
{
    struct world *w = *state;
    struct prober p;

    prober_open(&p, w->edge, CLIENT);
    hold(w, HOLDER, LEASE_MS);
    assert_true(prober_wait_answer(&p));
    shut(w, HOLDER);
    assert_false(has_vip(w));
    assert_int_equal(answers(&p), 0);
    turn(w);
    assert_false(has_vip(w));
    /* What is not held can be shut, too: a former life may have left it. */
    shut(w, HOLDER);
    prober_close(&p);
}

static void a_lease_that_has_ended_opens_nothing(void **state)
{
    struct world *w = *state;
    struct effect_fence late = effect(w, 5);
    struct effect_fence wrong = effect(w, 60000);

    hold(w, HOLDER, LEASE_MS);
    uv_vip_open(w->vip[HOLDER], &late);
    assert_int_equal(w->heard[HOLDER].failed, 1);
    assert_false(w->heard[HOLDER].fence.open);
    assert_false(has_vip(w));
    assert_int_equal(left_of(w, HOLDER), 0);
    uv_vip_open(w->vip[HOLDER], &wrong);
    assert_int_equal(w->heard[HOLDER].failed, 2);
    assert_false(has_vip(w));
    wrong.address.family = 6;
    uv_vip_open(w->vip[HOLDER], &wrong);
    assert_int_equal(w->heard[HOLDER].failed, 3);
}

/* ---- what others do ---- */

static bool client_knows_holder(struct world *w)
{
    struct mac mac = {{0}};

    return holder_seen_by(w, CLIENT, &mac) && mac_equal(mac, w->edge->host[HOLDER].link.mac);
}

static void a_wiped_address_comes_back(void **state)
{
    struct world *w = *state;
    struct edge *e = w->edge;
    struct prober p;

    prober_open(&p, e, CLIENT);
    hold(w, HOLDER, LEASE_MS);
    assert_true(prober_wait_answer(&p));
    /* While it is away, the client takes somebody else for the holder. */
    run(w, "ip address del 10.77.0.210/32 dev wlan0");
    assert_int_equal(netlab_run(e->lab.host[CLIENT],
                                "ip neigh replace 10.77.0.210 lladdr 02:00:00:00:00:99 dev wlan0 "
                                "nud stale"),
                     0);
    assert_true(becomes(w, has_vip));
    assert_true(becomes(w, client_knows_holder));
    assert_true(prober_wait_answer(&p));
    assert_int_equal(w->heard[HOLDER].failed, 0);
    prober_close(&p);
}

static void flushed_rules_are_set_up_again(void **state)
{
    struct world *w = *state;

    hold(w, HOLDER, LEASE_MS);
    run(w, "nft flush ruleset");
    netlab_enter(w->edge->lab.host[HOLDER]);
    hold(w, HOLDER, LEASE_MS);
    netlab_enter(w->edge->lab.home);
    assert_true(left_of(w, HOLDER) > 0);
}

struct bounce {
    struct addr vip;
    bool gone, back;
};

static void note_bounce(const struct os_watch_event *event, void *context)
{
    struct bounce *b = context;

    if (event->kind == OS_WATCH_ADDRESS_GONE && addr_equal(&event->address.ip, &b->vip))
        b->gone = true;
    if (event->kind == OS_WATCH_ADDRESS && addr_equal(&event->address.ip, &b->vip))
        b->back = b->gone;
}

static void a_link_that_comes_back_is_told_anew(void **state)
{
    struct world *w = *state;
    struct edge *e = w->edge;
    struct bounce b = {.vip = e->vip};
    mono_t bound = mono_add(os_clock_now(), BOUND_MS);
    struct os_watch *watch;
    struct prober p;

    hold(w, HOLDER, LEASE_MS);
    netlab_enter(e->lab.host[HOLDER]);
    edge_ok(e, os_watch_open(&watch, &e->err));
    netlab_enter(e->lab.home);
    run(w, "ip link set wlan0 down");
    turn(w);
    run(w, "ip link set wlan0 up");
    while (!b.back && mono_before(os_clock_now(), bound)) {
        turn(w);
        edge_ok(e, os_watch_read(watch, note_bounce, &b, &e->err));
    }
    assert_true(b.gone);
    assert_true(b.back);
    prober_open(&p, e, CLIENT);
    assert_true(prober_wait_answer(&p));
    prober_close(&p);
    os_watch_close(watch);
    /* ARP is heard again, too: the gateway (its route went with the link) answers. */
    run(w, "ip route replace default via " NETLAB_GATEWAY);
    while (w->heard[HOLDER].gateway == 0 && mono_before(os_clock_now(), bound)) {
        uv_vip_gateway(w->vip[HOLDER]);
        turn(w);
    }
    assert_true(w->heard[HOLDER].gateway > 0);
}

static void an_interface_that_returns_with_another_index_is_used(void **state)
{
    struct world *w = *state;
    struct edge *e = w->edge;
    struct effect_fence open = effect(w, LEASE_MS);
    unsigned int before = e->host[HOLDER].link.index;

    hold(w, HOLDER, LEASE_MS);
    run(w, "ip link del wlan0");
    turn(w);
    uv_vip_open(w->vip[HOLDER], &open);
    assert_int_equal(w->heard[HOLDER].failed, 1);
    assert_non_null(strstr(w->heard[HOLDER].reason, "wlan0 is gone"));
    uv_vip_gateway(w->vip[HOLDER]);
    announce(w, HOLDER);

    run(w, "ip link add name spare type veth peer name wlan0 && ip link set spare up && "
           "ip link set wlan0 up");
    turn(w);
    hold(w, HOLDER, LEASE_MS);
    assert_true(has_vip(w));
    assert_int_not_equal(e->host[HOLDER].link.index, before);
    /* The same while the lease is held. */
    before = e->host[HOLDER].link.index;
    run(w, "ip link del wlan0 && ip link add name spare type veth peer name wlan0 && "
           "ip link set spare up && ip link set wlan0 up");
    assert_true(becomes(w, has_vip));
    assert_int_not_equal(e->host[HOLDER].link.index, before);
}

static void a_missing_interface_is_an_error_and_a_silent_one_is_none(void **state)
{
    struct world *w = *state;
    struct edge *e = w->edge;
    struct post post = {.event = hear, .context = &w->heard[SECOND]};
    mono_t bound = mono_add(os_clock_now(), BOUND_MS);

    netlab_enter(e->lab.host[SECOND]);
    assert_int_equal(uv_vip_create(&w->loop, "wlan9", NULL, 0, post, &w->vip[SECOND], &e->err),
                     ERR_NOTFOUND);
    netlab_enter(e->lab.home);
    assert_int_equal(
        netlab_run(e->lab.host[SECOND], "ip address flush dev wlan0; ip link set wlan0 down"), 0);
    edge_ok(e, create(w, SECOND, 0));
    uv_vip_gateway(w->vip[SECOND]);
    turn(w);
    assert_int_equal(netlab_run(e->lab.host[SECOND],
                                "ip link set wlan0 up && ip address add 10.77.0.3/24 dev wlan0 && "
                                "ip route add default via " NETLAB_GATEWAY),
                     0);
    while (w->heard[SECOND].gateway == 0 && mono_before(os_clock_now(), bound)) {
        uv_vip_gateway(w->vip[SECOND]);
        turn(w);
    }
    assert_true(w->heard[SECOND].gateway > 0);
}

/* ---- ARP ---- */

static bool client_knows_second(struct world *w)
{
    struct mac mac = {{0}};

    return holder_seen_by(w, CLIENT, &mac) && mac_equal(mac, w->edge->host[SECOND].link.mac);
}

static void a_client_that_hears_no_broadcast_is_told_of_a_move(void **state)
{
    struct world *w = *state;
    struct edge *e = w->edge;
    struct prober p;

    edge_ok(e, create(w, SECOND, 0));
    /* SECOND knows the client: they have talked. */
    assert_int_equal(
        netlab_run(e->lab.host[SECOND], "ping -q -c 1 -W 5 10.77.0.%d >/dev/null", CLIENT + 1), 0);
    prober_open(&p, e, CLIENT);
    hold(w, HOLDER, LEASE_MS);
    assert_true(prober_wait_answer(&p));
    assert_int_equal(
        netlab_run(e->lab.bridge, "bridge link set dev port%d bcast_flood off", CLIENT), 0);
    shut(w, HOLDER);
    hold(w, SECOND, LEASE_MS);
    turn(w);
    assert_false(client_knows_second(w));
    announce(w, SECOND);
    assert_true(becomes(w, client_knows_second));
    assert_true(prober_wait_answer(&p));
    assert_true(mac_equal(p.answered_by, e->host[SECOND].link.mac));
    prober_close(&p);
}

static bool has_clients(struct world *w)
{
    return w->heard[HOLDER].clients > 0;
}

/* The kernel needs no broadcast to answer it. */
static bool knows_client(struct world *w, int host)
{
    struct edge *e = w->edge;
    struct os_neighbour list[16];
    size_t count = 0;
    bool found = false;

    edge_ok(e, os_neighbour_list(e->host[host].netlink, e->host[host].link.index, list, 16, &count,
                                 &e->err));
    for (size_t i = 0; i < count; i++)
        found = found || mac_equal(list[i].mac, e->host[CLIENT].link.mac);
    return found;
}

/* SECOND has never talked with the client: it is told by the last holder who that is. */
static void clients_of_the_last_holder_are_told(void **state)
{
    struct world *w = *state;
    struct edge *e = w->edge;
    struct value_clients *clients = &w->heard[HOLDER].last_clients;
    struct prober p;

    edge_ok(e, create(w, SECOND, 0));
    prober_open(&p, e, CLIENT);
    hold(w, HOLDER, LEASE_MS);
    assert_true(prober_wait_answer(&p));
    assert_true(becomes(w, has_clients));
    assert_int_equal(clients->count, 1);
    assert_memory_equal(clients->clients[0].mac, e->host[CLIENT].link.mac.byte, VALUE_MAC);
    assert_int_equal(
        netlab_run(e->lab.bridge, "bridge link set dev port%d bcast_flood off", CLIENT), 0);
    shut(w, HOLDER);
    hold(w, SECOND, LEASE_MS);
    uv_vip_clients(w->vip[SECOND], clients->clients, clients->count);
    assert_false(knows_client(w, SECOND));
    announce(w, SECOND);
    assert_true(knows_client(w, SECOND));
    assert_true(becomes(w, client_knows_second));
    assert_true(prober_wait_answer(&p));
    assert_true(mac_equal(p.answered_by, e->host[SECOND].link.mac));
    prober_close(&p);
}

static bool is_promiscuous(struct world *w)
{
    struct edge_host *h = &w->edge->host[HOLDER];

    edge_ok(w->edge, os_link_get(h->netlink, "wlan0", &h->link, &w->edge->err));
    return h->link.promiscuous;
}

static void the_promiscuous_flag_is_kept_and_outlives_the_agent(void **state)
{
    struct world *w = *state;

    assert_false(is_promiscuous(w));
    uv_vip_promiscuous(w->vip[HOLDER], true);
    assert_true(is_promiscuous(w));
    run(w, "ip link set wlan0 promisc off");
    assert_true(becomes(w, is_promiscuous));
    end(w, HOLDER, true);
    assert_true(is_promiscuous(w));
    edge_ok(w->edge, create(w, HOLDER, 0));
}

static bool has_conflict(struct world *w)
{
    return w->heard[HOLDER].conflicts > 0;
}

static void a_foreign_holder_is_reported(void **state)
{
    struct world *w = *state;
    struct edge *e = w->edge;
    struct addr silent;

    edge_ok(e, addr_parse("10.77.0.4", 0, &silent, &e->err));
    assert_int_equal(netlab_run(e->lab.host[3], "ip link set wlan0 down"), 0);
    uv_vip_members(w->vip[HOLDER], &silent, 1);
    uv_vip_watch(w->vip[HOLDER], &e->vip, 1);
    turn(w);
    assert_int_equal(netlab_run(e->lab.host[CLIENT], "ip address add 10.77.0.210/24 dev wlan0"), 0);
    hold(w, HOLDER, LEASE_MS);
    assert_true(becomes(w, has_conflict));
    assert_true(addr_equal(&w->heard[HOLDER].conflict.address, &e->vip));
    assert_memory_equal(w->heard[HOLDER].conflict.mac, e->host[CLIENT].link.mac.byte, ARP_MAC_LEN);
    assert_int_equal(w->heard[HOLDER].conflicts, 1);
}

static void a_foreign_holder_is_found_before_anybody_claims(void **state)
{
    struct world *w = *state;

    assert_int_equal(
        netlab_run(w->edge->lab.host[CLIENT], "ip address add 10.77.0.210/24 dev wlan0"), 0);
    uv_vip_watch(w->vip[HOLDER], &w->edge->vip, 1);
    assert_true(becomes(w, has_conflict));
}

/* The first probe went out before the foreign host was there. */
static void a_check_finds_a_foreign_holder(void **state)
{
    struct world *w = *state;

    uv_vip_watch(w->vip[HOLDER], &w->edge->vip, 1);
    for (int i = 0; i < 60; i++)
        turn(w);
    assert_int_equal(w->heard[HOLDER].conflicts, 0);
    assert_int_equal(
        netlab_run(w->edge->lab.host[CLIENT], "ip address add 10.77.0.210/24 dev wlan0"), 0);
    uv_vip_check(w->vip[HOLDER], &w->edge->vip);
    assert_true(becomes(w, has_conflict));
}

static void a_member_that_holds_it_is_no_conflict(void **state)
{
    struct world *w = *state;
    struct edge *e = w->edge;
    struct addr member;
    struct addr both[2] = {e->vip};

    edge_ok(e, addr_parse("10.77.0.3", 8801, &member, &e->err));
    edge_ok(e, addr_parse("10.77.0.211", 0, &both[1], &e->err));
    /* SECOND is a member of which HOLDER has never heard; CLIENT is a stranger. */
    assert_int_equal(netlab_run(e->lab.host[SECOND],
                                "nft flush ruleset && ip address add 10.77.0.210/24 dev wlan0"),
                     0);
    assert_int_equal(netlab_run(e->lab.host[CLIENT], "ip address add 10.77.0.211/24 dev wlan0"), 0);
    uv_vip_members(w->vip[HOLDER], &member, 1);
    uv_vip_watch(w->vip[HOLDER], both, 2);
    /* SECOND's answer is not later than CLIENT's. */
    assert_true(becomes(w, has_conflict));
    assert_true(addr_equal(&w->heard[HOLDER].conflict.address, &both[1]));
    assert_int_equal(w->heard[HOLDER].conflicts, 1);
}

static bool has_gateway(struct world *w)
{
    return w->heard[HOLDER].gateway > 0;
}

static void the_gateway_answers_or_not(void **state)
{
    struct world *w = *state;
    struct edge *e = w->edge;
    mono_t before = os_clock_now();
    mono_t bound = mono_add(before, BOUND_MS);

    uv_vip_gateway(w->vip[HOLDER]);
    assert_true(becomes(w, has_gateway));
    assert_int_equal(w->heard[HOLDER].gateway, 1);
    assert_true(w->heard[HOLDER].gateway_sent.ms >= before.ms);
    assert_true(w->heard[HOLDER].gateway_sent.ms <= os_clock_now().ms);

    assert_int_equal(netlab_run(e->lab.bridge, "ip address del " NETLAB_GATEWAY "/24 dev br0"), 0);
    w->heard[HOLDER].gateway = 0;
    for (int i = 0; i < 5; i++) {
        uv_vip_gateway(w->vip[HOLDER]);
        turn(w);
    }
    assert_int_equal(w->heard[HOLDER].gateway, 0);
    assert_int_equal(netlab_run(e->lab.bridge, "ip address add " NETLAB_GATEWAY "/24 dev br0"), 0);
    while (!has_gateway(w) && mono_before(os_clock_now(), bound)) {
        uv_vip_gateway(w->vip[HOLDER]);
        turn(w);
    }
    assert_true(has_gateway(w));
}

/* ---- one life and the next ---- */

static void a_restart_keeps_what_is_resumed(void **state)
{
    struct world *w = *state;
    struct prober p;

    prober_open(&p, w->edge, CLIENT);
    hold(w, HOLDER, LEASE_MS);
    assert_true(prober_wait_answer(&p));
    p.echo_answers = p.sent;
    end(w, HOLDER, true);
    prober_run(&p, mono_add(os_clock_now(), 5 * PROBE_MS));
    edge_ok(w->edge, create(w, HOLDER, 1));
    prober_run(&p, mono_add(os_clock_now(), 5 * PROBE_MS));
    hold(w, HOLDER, LEASE_MS);
    prober_run(&p, mono_add(os_clock_now(), 5 * PROBE_MS));
    assert_true(prober_all_answered(&p));
    assert_true(p.sent >= 10);
    prober_close(&p);
}

static void a_restart_removes_what_is_not_resumed(void **state)
{
    struct world *w = *state;

    hold(w, HOLDER, LEASE_MS);
    end(w, HOLDER, true);
    assert_true(has_vip(w));
    assert_true(left_of(w, HOLDER) > 0);
    edge_ok(w->edge, create(w, HOLDER, 0));
    assert_false(has_vip(w));
    assert_int_equal(left_of(w, HOLDER), 0);
}

static void an_orderly_end_leaves_nothing_open(void **state)
{
    struct world *w = *state;

    hold(w, HOLDER, LEASE_MS);
    end(w, HOLDER, false);
    assert_false(has_vip(w));
    assert_int_equal(left_of(w, HOLDER), 0);
}

static void what_left_the_pool_is_under_no_lease(void **state)
{
    struct world *w = *state;

    uv_vip_watch(w->vip[HOLDER], &w->edge->vip, 1);
    hold(w, HOLDER, LEASE_MS);
    uv_vip_watch(w->vip[HOLDER], NULL, 0);
    assert_true(left_of(w, HOLDER) > 0); /* it is held still */
    shut(w, HOLDER);
    assert_int_equal(left_of(w, HOLDER), -1);
    hold(w, HOLDER, LEASE_MS);
    assert_true(left_of(w, HOLDER) > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_renewed_lease_answers_all_the_time),
        TEST(renewing_seldom_touches_the_address),
        TEST(without_renewal_it_ends_by_itself),
        TEST(shutting_ends_it_at_once),
        TEST(a_lease_that_has_ended_opens_nothing),
        TEST(a_wiped_address_comes_back),
        TEST(flushed_rules_are_set_up_again),
        TEST(a_link_that_comes_back_is_told_anew),
        TEST(an_interface_that_returns_with_another_index_is_used),
        TEST(a_missing_interface_is_an_error_and_a_silent_one_is_none),
        TEST(a_client_that_hears_no_broadcast_is_told_of_a_move),
        TEST(clients_of_the_last_holder_are_told),
        TEST(the_promiscuous_flag_is_kept_and_outlives_the_agent),
        TEST(a_foreign_holder_is_reported),
        TEST(a_check_finds_a_foreign_holder),
        TEST(a_foreign_holder_is_found_before_anybody_claims),
        TEST(a_member_that_holds_it_is_no_conflict),
        TEST(the_gateway_answers_or_not),
        TEST(a_restart_keeps_what_is_resumed),
        TEST(a_restart_removes_what_is_not_resumed),
        TEST(an_orderly_end_leaves_nothing_open),
        TEST(what_left_the_pool_is_under_no_lease),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
