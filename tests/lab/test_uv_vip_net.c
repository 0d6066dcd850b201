/* The executor of virtual addresses on a real kernel: what others do to it, and ARP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/io/os_watch.h"
#include "tests/lab/vip_world.h"

/* ---- what others do ---- */

static bool client_knows_holder(struct world *w)
{
    struct mac mac = {{0}};

    return world_holder_seen_by(w, CLIENT, &mac) && mac_equal(mac, w->edge->host[HOLDER].link.mac);
}

static void a_wiped_address_comes_back(void **state)
{
    struct world *w = *state;
    struct edge *e = w->edge;
    struct prober p;

    prober_open(&p, e, CLIENT);
    world_hold(w, HOLDER, LEASE_MS);
    assert_true(prober_wait_answer(&p));
    /* While it is away, the client takes somebody else for the holder. */
    world_run(w, "ip address del 10.77.0.210/32 dev wlan0");
    assert_int_equal(netlab_run(e->lab.host[CLIENT],
                                "ip neigh replace 10.77.0.210 lladdr 02:00:00:00:00:99 dev wlan0 "
                                "nud stale"),
                     0);
    assert_true(world_becomes(w, world_has_vip));
    assert_true(world_becomes(w, client_knows_holder));
    assert_true(prober_wait_answer(&p));
    assert_int_equal(w->heard[HOLDER].failed, 0);
    assert_true(w->heard[HOLDER].drifts >= 1); /* and people are told */
    prober_close(&p);
}

static void flushed_rules_are_set_up_again(void **state)
{
    struct world *w = *state;

    world_hold(w, HOLDER, LEASE_MS);
    world_run(w, "nft flush ruleset");
    netlab_enter(w->edge->lab.host[HOLDER]);
    world_hold(w, HOLDER, LEASE_MS);
    netlab_enter(w->edge->lab.home);
    assert_true(world_left_of(w, HOLDER) > 0);
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

    world_hold(w, HOLDER, LEASE_MS);
    netlab_enter(e->lab.host[HOLDER]);
    edge_ok(e, os_watch_open(&watch, &e->err));
    netlab_enter(e->lab.home);
    world_run(w, "ip link set wlan0 down");
    world_turn(w);
    world_run(w, "ip link set wlan0 up");
    while (!b.back && mono_before(os_clock_now(), bound)) {
        world_turn(w);
        edge_ok(e, os_watch_read(watch, note_bounce, &b, &e->err));
    }
    assert_true(b.gone);
    assert_true(b.back);
    prober_open(&p, e, CLIENT);
    assert_true(prober_wait_answer(&p));
    prober_close(&p);
    os_watch_close(watch);
    /* ARP is heard again, too: the gateway (its route went with the link) answers. */
    world_run(w, "ip route replace default via " NETLAB_GATEWAY);
    while (w->heard[HOLDER].gateway == 0 && mono_before(os_clock_now(), bound)) {
        uv_vip_gateway(w->vip[HOLDER]);
        world_turn(w);
    }
    assert_true(w->heard[HOLDER].gateway > 0);
}

static void an_interface_that_returns_with_another_index_is_used(void **state)
{
    struct world *w = *state;
    struct edge *e = w->edge;
    struct effect_fence open = world_effect(w, LEASE_MS);
    unsigned int before = e->host[HOLDER].link.index;

    world_hold(w, HOLDER, LEASE_MS);
    world_run(w, "ip link del wlan0");
    world_turn(w);
    uv_vip_open(w->vip[HOLDER], &open);
    assert_int_equal(w->heard[HOLDER].failed, 1);
    assert_non_null(strstr(w->heard[HOLDER].reason, "wlan0 is gone"));
    uv_vip_gateway(w->vip[HOLDER]);
    world_announce(w, HOLDER);

    world_run(w, "ip link add name spare type veth peer name wlan0 && ip link set spare up && "
                 "ip link set wlan0 up");
    world_turn(w);
    world_hold(w, HOLDER, LEASE_MS);
    assert_true(world_has_vip(w));
    assert_int_not_equal(e->host[HOLDER].link.index, before);
    /* The same while the lease is held. */
    before = e->host[HOLDER].link.index;
    world_run(w, "ip link del wlan0 && ip link add name spare type veth peer name wlan0 && "
                 "ip link set spare up && ip link set wlan0 up");
    assert_true(world_becomes(w, world_has_vip));
    assert_int_not_equal(e->host[HOLDER].link.index, before);
}

static void a_missing_interface_is_an_error_and_a_silent_one_is_none(void **state)
{
    struct world *w = *state;
    struct edge *e = w->edge;
    struct post post = {.event = world_hear, .context = &w->heard[SECOND]};
    mono_t bound = mono_add(os_clock_now(), BOUND_MS);

    netlab_enter(e->lab.host[SECOND]);
    assert_int_equal(
        uv_vip_create(&w->loop, "wlan9", NULL, NULL, 0, post, &w->vip[SECOND], &e->err),
        ERR_NOTFOUND);
    netlab_enter(e->lab.home);
    assert_int_equal(
        netlab_run(e->lab.host[SECOND], "ip address flush dev wlan0; ip link set wlan0 down"), 0);
    edge_ok(e, world_create(w, SECOND, 0));
    uv_vip_gateway(w->vip[SECOND]);
    world_turn(w);
    assert_int_equal(netlab_run(e->lab.host[SECOND],
                                "ip link set wlan0 up && ip address add 10.77.0.3/24 dev wlan0 && "
                                "ip route add default via " NETLAB_GATEWAY),
                     0);
    while (w->heard[SECOND].gateway == 0 && mono_before(os_clock_now(), bound)) {
        uv_vip_gateway(w->vip[SECOND]);
        world_turn(w);
    }
    assert_true(w->heard[SECOND].gateway > 0);
}

/* ---- ARP ---- */

static bool client_knows_second(struct world *w)
{
    struct mac mac = {{0}};

    return world_holder_seen_by(w, CLIENT, &mac) && mac_equal(mac, w->edge->host[SECOND].link.mac);
}

static void a_client_that_hears_no_broadcast_is_told_of_a_move(void **state)
{
    struct world *w = *state;
    struct edge *e = w->edge;
    struct prober p;

    edge_ok(e, world_create(w, SECOND, 0));
    /* SECOND knows the client: they have talked. */
    assert_int_equal(
        netlab_run(e->lab.host[SECOND], "ping -q -c 1 -W 5 10.77.0.%d >/dev/null", CLIENT + 1), 0);
    prober_open(&p, e, CLIENT);
    world_hold(w, HOLDER, LEASE_MS);
    assert_true(prober_wait_answer(&p));
    assert_int_equal(
        netlab_run(e->lab.bridge, "bridge link set dev port%d bcast_flood off", CLIENT), 0);
    world_shut(w, HOLDER);
    world_hold(w, SECOND, LEASE_MS);
    world_turn(w);
    assert_false(client_knows_second(w));
    world_announce(w, SECOND);
    assert_true(world_becomes(w, client_knows_second));
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

    edge_ok(e, world_create(w, SECOND, 0));
    prober_open(&p, e, CLIENT);
    world_hold(w, HOLDER, LEASE_MS);
    assert_true(prober_wait_answer(&p));
    assert_true(world_becomes(w, has_clients));
    assert_int_equal(clients->count, 1);
    assert_memory_equal(clients->clients[0].mac, e->host[CLIENT].link.mac.byte, VALUE_MAC);
    assert_int_equal(
        netlab_run(e->lab.bridge, "bridge link set dev port%d bcast_flood off", CLIENT), 0);
    world_shut(w, HOLDER);
    world_hold(w, SECOND, LEASE_MS);
    uv_vip_clients(w->vip[SECOND], clients->clients, clients->count);
    assert_false(knows_client(w, SECOND));
    world_announce(w, SECOND);
    assert_true(knows_client(w, SECOND));
    assert_true(world_becomes(w, client_knows_second));
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
    world_run(w, "ip link set wlan0 promisc off");
    assert_true(world_becomes(w, is_promiscuous));
    world_end(w, HOLDER, true);
    assert_true(is_promiscuous(w));
    edge_ok(w->edge, world_create(w, HOLDER, 0));
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
    world_turn(w);
    assert_int_equal(netlab_run(e->lab.host[CLIENT], "ip address add 10.77.0.210/24 dev wlan0"), 0);
    world_hold(w, HOLDER, LEASE_MS);
    assert_true(world_becomes(w, has_conflict));
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
    assert_true(world_becomes(w, has_conflict));
}

/* The first probe went out before the foreign host was there. */
static void a_check_finds_a_foreign_holder(void **state)
{
    struct world *w = *state;

    uv_vip_watch(w->vip[HOLDER], &w->edge->vip, 1);
    for (int i = 0; i < 60; i++)
        world_turn(w);
    assert_int_equal(w->heard[HOLDER].conflicts, 0);
    assert_int_equal(
        netlab_run(w->edge->lab.host[CLIENT], "ip address add 10.77.0.210/24 dev wlan0"), 0);
    uv_vip_check(w->vip[HOLDER], &w->edge->vip);
    assert_true(world_becomes(w, has_conflict));
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
    assert_true(world_becomes(w, has_conflict));
    assert_true(addr_equal(&w->heard[HOLDER].conflict.address, &both[1]));
    assert_int_equal(w->heard[HOLDER].conflicts, 1);
}

static bool has_written(struct world *w)
{
    return w->heard[HOLDER].wrote == 1 && w->heard[HOLDER].written == 1;
}

/* Who takes an address over may never have had to do with the gateway before. */
static void a_write_waits_for_the_gateways_mac_and_no_longer(void **state)
{
    struct world *w = *state;
    struct effect_gateway write = {.lease = LEASE_ID, .address = w->edge->vip};

    uv_vip_watch(w->vip[HOLDER], &w->edge->vip, 1);
    uv_vip_write(w->vip[HOLDER], &write);
    assert_int_equal(w->heard[HOLDER].wrote, 0);
    assert_true(world_becomes(w, has_written));
    uv_vip_write(w->vip[HOLDER], &write);
    assert_int_equal(w->heard[HOLDER].wrote, 2); /* it is known now: at once */
}

static bool has_read(struct world *w)
{
    return w->heard[HOLDER].reads > 0;
}

/* Who holds an address alone reads, and its lease ends soon after a read that fails. */
static void a_holder_reads_on_at_a_gateway_with_another_mac(void **state)
{
    struct world *w = *state;
    struct effect_gateway effect = {.lease = LEASE_ID, .address = w->edge->vip};

    world_hold(w, HOLDER, LEASE_MS);
    assert_true(world_becomes(w, world_has_vip));
    uv_vip_write(w->vip[HOLDER], &effect); /* who has never met the gateway asks for its MAC */
    assert_true(world_becomes(w, has_written));
    effect.sent = os_clock_now();
    netlab_enter(w->edge->lab.host[HOLDER]); /* the first read makes a socket */
    uv_vip_read(w->vip[HOLDER], &effect);
    netlab_enter(w->edge->lab.home);
    assert_true(world_becomes(w, has_read));
    assert_int_equal(w->heard[HOLDER].read_sent.ms, effect.sent.ms);

    assert_int_equal(netlab_run(w->edge->lab.bridge, "ip link set br0 address 02:00:00:00:77:77"),
                     0);
    w->heard[HOLDER].reads = 0;
    effect.sent = os_clock_now();
    uv_vip_read(w->vip[HOLDER], &effect); /* goes to nobody */
    uv_vip_write(w->vip[HOLDER], &effect);
    assert_true(world_becomes(w, has_read)); /* without being told again */
    assert_int_equal(w->heard[HOLDER].read_sent.ms, effect.sent.ms);
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
    assert_true(world_becomes(w, has_gateway));
    assert_int_equal(w->heard[HOLDER].gateway, 1);
    assert_true(w->heard[HOLDER].gateway_sent.ms >= before.ms);
    assert_true(w->heard[HOLDER].gateway_sent.ms <= os_clock_now().ms);

    assert_int_equal(netlab_run(e->lab.bridge, "ip address del " NETLAB_GATEWAY "/24 dev br0"), 0);
    w->heard[HOLDER].gateway = 0;
    for (int i = 0; i < 5; i++) {
        uv_vip_gateway(w->vip[HOLDER]);
        world_turn(w);
    }
    assert_int_equal(w->heard[HOLDER].gateway, 0);
    assert_int_equal(netlab_run(e->lab.bridge, "ip address add " NETLAB_GATEWAY "/24 dev br0"), 0);
    while (!has_gateway(w) && mono_before(os_clock_now(), bound)) {
        uv_vip_gateway(w->vip[HOLDER]);
        world_turn(w);
    }
    assert_true(has_gateway(w));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(a_wiped_address_comes_back),
        WORLD_TEST(flushed_rules_are_set_up_again),
        WORLD_TEST(a_link_that_comes_back_is_told_anew),
        WORLD_TEST(an_interface_that_returns_with_another_index_is_used),
        WORLD_TEST(a_missing_interface_is_an_error_and_a_silent_one_is_none),
        WORLD_TEST(a_client_that_hears_no_broadcast_is_told_of_a_move),
        WORLD_TEST(clients_of_the_last_holder_are_told),
        WORLD_TEST(the_promiscuous_flag_is_kept_and_outlives_the_agent),
        WORLD_TEST(a_foreign_holder_is_reported),
        WORLD_TEST(a_check_finds_a_foreign_holder),
        WORLD_TEST(a_foreign_holder_is_found_before_anybody_claims),
        WORLD_TEST(a_member_that_holds_it_is_no_conflict),
        WORLD_TEST(a_write_waits_for_the_gateways_mac_and_no_longer),
        WORLD_TEST(a_holder_reads_on_at_a_gateway_with_another_mac),
        WORLD_TEST(the_gateway_answers_or_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
