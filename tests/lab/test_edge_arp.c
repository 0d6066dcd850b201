/* Who hears of a moved address, and whom we hear: ARP on a real kernel. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/edge/announce.h"
#include "agent/edge/reach.h"
#include "tests/lab/edge_fixture.h"

/* Waits for a frame that means @meaning to @host; gives up after BOUND_MS. */
static bool await(struct edge *e, int host, enum arp_meaning meaning, struct arp_frame *found)
{
    struct edge_host *h = &e->host[host];
    mono_t bound = mono_add(os_clock_now(), BOUND_MS);

    while (mono_before(os_clock_now(), bound)) {
        struct pollfd fd = {.fd = os_arp_fd(h->arp), .events = POLLIN};

        poll(&fd, 1, BOUND_MS);
        while (os_arp_receive(h->arp, found, 1) == 1) {
            if (arp_meaning(found, h->link.mac, e->vip_ip) == meaning)
                return true;
        }
    }
    return false;
}

/* Whom @host takes for the holder of the vip; false when it knows nobody. */
static bool holder_seen_by(struct edge *e, int host, struct mac *mac)
{
    struct os_neighbour neighbours[16];
    size_t count = 0;
    size_t i;

    edge_ok(e, os_neighbour_list(e->host[host].netlink, e->host[host].link.index, neighbours, 16,
                                 &count, &e->err));
    for (i = 0; i < count; i++) {
        if (ipv4_equal(neighbours[i].ip, e->vip_ip)) {
            *mac = neighbours[i].mac;
            return true;
        }
    }
    return false;
}

static void assert_holder(struct edge *e, int host, int expected)
{
    struct mac mac;

    assert_true(holder_seen_by(e, host, &mac));
    assert_true(mac_equal(mac, e->host[expected].link.mac));
}

static void send_step(struct edge *e, int host, struct announce *a, mono_t now)
{
    struct announce_out out;
    size_t i;

    announce_step(a, now, &out);
    for (i = 0; i < out.count; i++)
        edge_ok(e, os_arp_send(e->host[host].arp, &out.frames[i], &e->err));
}

/* Carries an announcement out until all have answered or all is said. */
static void carry_out(struct edge *e, int host, struct announce *a)
{
    struct edge_host *h = &e->host[host];
    struct arp_frame frame;
    mono_t now = os_clock_now();

    while (announce_unanswered(a) > 0 && !mono_is_never(announce_deadline(a))) {
        struct pollfd fd = {.fd = os_arp_fd(h->arp), .events = POLLIN};
        int64_t left = mono_diff(announce_deadline(a), now);

        poll(&fd, 1, left > 0 ? (int)left : 0);
        while (os_arp_receive(h->arp, &frame, 1) == 1) {
            if (arp_meaning(&frame, h->link.mac, e->vip_ip) == ARP_ANSWER)
                announce_answered(a, frame.sender_ip);
        }
        now = os_clock_now();
        send_step(e, host, a, now);
    }
}

static void hold(struct edge *e, int host)
{
    edge_set_vip(e, host);
    edge_ok(e,
            os_fence_open(e->host[host].fence, &e->vip, mono_add(os_clock_now(), 9000), &e->err));
}

static void release(struct edge *e, int host)
{
    edge_ok(e, os_fence_shut(e->host[host].fence, &e->vip, &e->err));
    edge_ok(e,
            os_address_delete(e->host[host].netlink, e->host[host].link.index, &e->vip, &e->err));
}

static void unicast_reaches_a_client_that_broadcast_does_not(void **state)
{
    struct edge *e = *state;
    struct announce a;
    struct prober p;
    mono_t now;

    prober_open(&p, e, CLIENT);
    hold(e, HOLDER);
    assert_true(prober_wait_answer(&p));
    assert_holder(e, CLIENT, HOLDER);

    /* The access point begins to drop broadcast to the client; then the address moves. */
    assert_int_equal(
        netlab_run(e->lab.bridge, "bridge link set dev port%d bcast_flood off", CLIENT), 0);
    release(e, HOLDER);
    hold(e, SECOND);
    now = os_clock_now();
    announce_start(&a, now, e->host[SECOND].link.mac, e->vip_ip);
    while (!mono_is_never(announce_deadline(&a)))
        send_step(e, SECOND, &a, announce_deadline(&a));
    assert_int_equal(a.broadcasts, ANNOUNCE_BROADCASTS);
    assert_holder(e, CLIENT, HOLDER);

    announce_start(&a, now, e->host[SECOND].link.mac, e->vip_ip);
    announce_add(&a, now, e->host[CLIENT].ip, e->host[CLIENT].link.mac);
    carry_out(e, SECOND, &a);
    assert_int_equal(announce_unanswered(&a), 0);
    assert_holder(e, CLIENT, SECOND);
    assert_true(prober_wait_answer(&p));
    prober_close(&p);
}

static void broadcast_reaches_those_that_hear_it(void **state)
{
    struct edge *e = *state;
    struct announce a;
    struct prober p;

    prober_open(&p, e, CLIENT);
    hold(e, HOLDER);
    assert_true(prober_wait_answer(&p));
    release(e, HOLDER);
    hold(e, SECOND);
    announce_start(&a, os_clock_now(), e->host[SECOND].link.mac, e->vip_ip);
    send_step(e, SECOND, &a, os_clock_now());
    assert_true(prober_wait_answer(&p));
    assert_holder(e, CLIENT, SECOND);
    prober_close(&p);
}

static void a_client_that_never_heard_of_the_address_is_told(void **state)
{
    struct edge *e = *state;
    struct announce a;
    struct mac mac;

    hold(e, HOLDER);
    assert_false(holder_seen_by(e, CLIENT, &mac));
    announce_start(&a, os_clock_now(), e->host[HOLDER].link.mac, e->vip_ip);
    announce_add(&a, os_clock_now(), e->host[CLIENT].ip, e->host[CLIENT].link.mac);
    announce_add(&a, os_clock_now(), (struct ipv4){{10, 77, 0, 99}},
                 (struct mac){{2, 0, 0, 0, 0, 99}}); /* switched off */
    carry_out(e, HOLDER, &a);
    assert_holder(e, CLIENT, HOLDER);
    assert_int_equal(announce_unanswered(&a), 1);
}

static void a_foreign_holder_is_found_with_its_mac(void **state)
{
    struct edge *e = *state;
    struct edge_host *h = &e->host[HOLDER];
    struct arp_frame frame;

    assert_int_equal(netlab_run(e->lab.host[CLIENT], "ip address add 10.77.0.210/24 dev wlan0"), 0);
    /* HOLDER's fence is shut: probing works all the same. */
    arp_probe(&frame, h->link.mac, e->vip_ip);
    edge_ok(e, os_arp_send(h->arp, &frame, &e->err));
    assert_true(await(e, HOLDER, ARP_CLAIM, &frame));
    assert_true(mac_equal(frame.sender_mac, e->host[CLIENT].link.mac));
    /* And others that probe see that we want it, while we must not answer. */
    assert_true(await(e, SECOND, ARP_RIVAL, &frame));
    assert_true(mac_equal(frame.sender_mac, h->link.mac));
}

static void the_gateway_is_found_and_answers(void **state)
{
    struct edge *e = *state;
    struct edge_host *h = &e->host[HOLDER];
    struct ipv4 gateway;
    struct reach reach;
    struct arp_frame frame;
    mono_t asked;
    mono_t credited = MONO_ZERO;
    bool heard = false;

    edge_ok(e, os_gateway_get(h->netlink, h->link.index, &gateway, &e->err));
    assert_true(ipv4_equal(gateway, (struct ipv4){{10, 77, 0, 254}}));
    reach_init(&reach, BOUND_MS);
    asked = os_clock_now();
    reach_sent(&reach, asked);
    arp_ask(&frame, h->link.mac, h->ip, gateway, NULL);
    edge_ok(e, os_arp_send(h->arp, &frame, &e->err));
    while (!heard) {
        struct pollfd fd = {.fd = os_arp_fd(h->arp), .events = POLLIN};

        assert_int_equal(poll(&fd, 1, BOUND_MS), 1);
        if (os_arp_receive(h->arp, &frame, 1) == 1)
            heard = frame.operation == ARP_REPLY && ipv4_equal(frame.sender_ip, gateway);
    }
    assert_true(reach_answered(&reach, os_clock_now(), &credited));
    assert_int_equal(credited.ms, asked.ms);

    assert_int_equal(netlab_run(e->lab.host[HOLDER], "ip route del default"), 0);
    assert_int_equal(os_gateway_get(h->netlink, h->link.index, &gateway, &e->err), ERR_NOTFOUND);
}

static void malformed_frames_do_not_wake_the_socket(void **state)
{
    struct edge *e = *state;
    struct edge_host *h = &e->host[HOLDER];
    struct arp_frame frame;
    struct pollfd fd = {.fd = os_arp_fd(h->arp), .events = POLLIN};

    while (os_arp_receive(h->arp, &frame, 1) == 1)
        ;
    arp_probe(&frame, e->host[SECOND].link.mac, e->vip_ip);
    frame.operation = (enum arp_operation)8; /* inverse ARP */
    edge_ok(e, os_arp_send(e->host[SECOND].arp, &frame, &e->err));
    arp_announce_request(&frame, e->host[SECOND].link.mac, e->vip_ip);
    edge_ok(e, os_arp_send(e->host[SECOND].arp, &frame, &e->err));
    assert_int_equal(poll(&fd, 1, BOUND_MS), 1);
    assert_int_equal(os_arp_receive(h->arp, &frame, 1), 1);
    assert_int_equal(arp_meaning(&frame, h->link.mac, e->vip_ip), ARP_CLAIM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(unicast_reaches_a_client_that_broadcast_does_not,
                                        edge_set_up, edge_tear_down),
        cmocka_unit_test_setup_teardown(broadcast_reaches_those_that_hear_it, edge_set_up,
                                        edge_tear_down),
        cmocka_unit_test_setup_teardown(a_client_that_never_heard_of_the_address_is_told,
                                        edge_set_up, edge_tear_down),
        cmocka_unit_test_setup_teardown(a_foreign_holder_is_found_with_its_mac, edge_set_up,
                                        edge_tear_down),
        cmocka_unit_test_setup_teardown(the_gateway_is_found_and_answers, edge_set_up,
                                        edge_tear_down),
        cmocka_unit_test_setup_teardown(malformed_frames_do_not_wake_the_socket, edge_set_up,
                                        edge_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
