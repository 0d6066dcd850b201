/* What is said when a virtual address moves, and when the gateway counts as reached. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/edge/announce.h"
#include "agent/edge/reach.h"

static const struct mac own = {{0xb8, 0x27, 0xeb, 0, 0, 1}};
static const struct mac other = {{0xb8, 0x27, 0xeb, 0, 0, 2}};
static const struct ipv4 vip = {{192, 168, 0, 210}};
static const struct ipv4 gateway = {{192, 168, 0, 1}};

static struct mac mac_of(size_t i)
{
    return (struct mac){{2, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)i}};
}

static struct ipv4 ip_of(size_t i)
{
    return (struct ipv4){{10, 0, (uint8_t)(i >> 8), (uint8_t)i}};
}

static mono_t at(int64_t ms)
{
    return (mono_t){ms};
}

static size_t broadcasts_in(const struct announce_out *out)
{
    size_t n = 0;
    size_t i;

    for (i = 0; i < out->count; i++)
        n += mac_equal(out->frames[i].to, ARP_BROADCAST);
    return n;
}

static void broadcast_goes_out_thrice_in_both_forms(void **state)
{
    static const int64_t expected[] = {1000, 1250, 2250};
    struct announce a;
    struct announce_out out;
    size_t i;
    (void)state;

    announce_start(&a, at(1000), own, vip);
    for (i = 0; i < ANNOUNCE_BROADCASTS; i++) {
        assert_int_equal(announce_deadline(&a).ms, expected[i]);
        announce_step(&a, at(expected[i] - 1), &out);
        assert_int_equal(out.count, 0);
        announce_step(&a, at(expected[i]), &out);
        assert_int_equal(out.count, 2);
        assert_int_equal(broadcasts_in(&out), 2);
        assert_int_equal(out.frames[0].operation, ARP_REQUEST);
        assert_int_equal(out.frames[1].operation, ARP_REPLY);
        assert_true(ipv4_equal(out.frames[0].sender_ip, vip));
        assert_true(ipv4_equal(out.frames[0].target_ip, vip));
        /* Linux leaves a fresh entry alone when the reply's target is ff:ff:ff:ff:ff:ff. */
        assert_true(mac_equal(out.frames[1].target_mac, own));
    }
    assert_true(mono_is_never(announce_deadline(&a)));
}

static void unicast_is_repeated_with_back_off_and_given_up(void **state)
{
    static const int64_t expected[ANNOUNCE_TRIES] = {0, 50, 150, 350, 750};
    struct announce a;
    struct announce_out out;
    size_t tries = 0;
    int64_t now;
    (void)state;

    announce_start(&a, at(0), own, vip);
    assert_true(announce_add(&a, at(0), gateway, other));
    for (now = 0; now < 10000; now++) {
        announce_step(&a, at(now), &out);
        if (out.count == broadcasts_in(&out))
            continue;
        assert_in_range(tries, 0, ANNOUNCE_TRIES - 1);
        assert_int_equal(now, expected[tries++]);
        assert_true(mac_equal(out.frames[out.count - 2].to, other));
        assert_int_equal(out.frames[out.count - 2].operation, ARP_REQUEST);
        assert_true(ipv4_equal(out.frames[out.count - 2].sender_ip, vip));
        assert_true(ipv4_equal(out.frames[out.count - 2].target_ip, gateway));
        assert_int_equal(out.frames[out.count - 1].operation, ARP_REPLY);
    }
    assert_int_equal(tries, ANNOUNCE_TRIES);
    assert_true(mono_is_never(announce_deadline(&a)));
    assert_int_equal(announce_unanswered(&a), 1);
}

static void an_answer_ends_the_telling(void **state)
{
    struct announce a;
    struct announce_out out;
    int64_t now;
    (void)state;

    announce_start(&a, at(0), own, vip);
    announce_add(&a, at(0), gateway, other);
    announce_add(&a, at(0), ip_of(7), mac_of(7));
    announce_step(&a, at(0), &out);
    announce_answered(&a, gateway);
    announce_answered(&a, ip_of(99)); /* nobody we know */
    assert_int_equal(announce_unanswered(&a), 1);
    for (now = 1; now < 3000; now++) {
        size_t i;

        announce_step(&a, at(now), &out);
        for (i = 0; i < out.count; i++)
            assert_false(mac_equal(out.frames[i].to, other));
    }
}

static void many_targets_all_get_their_turn_in_order(void **state)
{
    struct announce a;
    struct announce_out out;
    size_t told = 0;
    size_t steps = 0;
    size_t i;
    (void)state;

    announce_start(&a, at(0), own, vip);
    for (i = 0; i < ANNOUNCE_TARGETS_MAX; i++)
        assert_true(announce_add(&a, at(0), ip_of(i), mac_of(i)));
    assert_false(announce_add(&a, at(0), ip_of(i), mac_of(i)));
    assert_true(announce_add(&a, at(0), ip_of(3), mac_of(3)));
    while (mono_reached(at(0), announce_deadline(&a))) {
        assert_true(++steps < 100);
        announce_step(&a, at(0), &out);
        assert_in_range(out.count, 1, ANNOUNCE_FRAMES_MAX);
        for (i = broadcasts_in(&out); i < out.count; i += 2)
            assert_true(mac_equal(out.frames[i].to, mac_of(told++)));
    }
    assert_int_equal(told, ANNOUNCE_TARGETS_MAX);
}

static void announcing_again_tells_everybody_again(void **state)
{
    struct announce a;
    struct announce_out out;
    (void)state;

    announce_start(&a, at(0), own, vip);
    announce_add(&a, at(0), gateway, other);
    announce_step(&a, at(0), &out);
    announce_answered(&a, gateway);
    announce_step(&a, at(250), &out);
    announce_step(&a, at(1250), &out);
    assert_true(mono_is_never(announce_deadline(&a)));

    announce_again(&a, at(60000));
    assert_int_equal(announce_deadline(&a).ms, 60000);
    announce_step(&a, at(60000), &out);
    assert_int_equal(out.count, 4);
    assert_int_equal(broadcasts_in(&out), 2);
}

static void strange_targets_are_not_told(void **state)
{
    struct announce a;
    struct announce_out out;
    (void)state;

    announce_start(&a, at(0), own, vip);
    assert_true(announce_add(&a, at(0), vip, other));
    assert_true(announce_add(&a, at(0), gateway, own));
    assert_true(announce_add(&a, at(0), gateway, ARP_BROADCAST));
    assert_int_equal(a.count, 0);

    announce_add(&a, at(0), gateway, other);
    announce_step(&a, at(0), &out);
    announce_answered(&a, gateway);
    announce_add(&a, at(10), gateway, other); /* the same: nothing to say */
    assert_int_equal(announce_unanswered(&a), 0);
    announce_add(&a, at(10), gateway, mac_of(9)); /* it has got another MAC */
    assert_int_equal(announce_unanswered(&a), 1);
    announce_step(&a, at(10), &out);
    assert_true(mac_equal(out.frames[0].to, mac_of(9)));
}

static void an_answer_is_never_credited_to_a_later_request(void **state)
{
    struct reach r;
    mono_t sent = MONO_ZERO;
    (void)state;

    reach_init(&r, 300);
    assert_false(reach_answered(&r, at(5), &sent));

    reach_sent(&r, at(100));
    assert_true(reach_answered(&r, at(103), &sent));
    assert_int_equal(sent.ms, 100);
    assert_false(reach_answered(&r, at(104), &sent)); /* the same twice */

    /* The answer to 200 is late; that it comes after 300 was sent must not make it one to 300. */
    reach_sent(&r, at(200));
    reach_sent(&r, at(300));
    assert_true(reach_answered(&r, at(310), &sent));
    assert_int_equal(sent.ms, 200);
    assert_true(reach_answered(&r, at(320), &sent));
    assert_int_equal(sent.ms, 300);
}

static void a_lost_request_holds_credit_back_for_one_window_only(void **state)
{
    struct reach r;
    mono_t sent = MONO_ZERO;
    int64_t now;
    (void)state;

    reach_init(&r, 300);
    reach_sent(&r, at(0)); /* lost */
    for (now = 100; now <= 1000; now += 100) {
        reach_sent(&r, at(now));
        assert_true(reach_answered(&r, at(now + 5), &sent));
        assert_true(sent.ms <= now);
        assert_true(now + 5 - sent.ms <= 300);
    }
}

static void more_requests_than_remembered_err_to_the_old_side(void **state)
{
    struct reach r;
    mono_t sent = MONO_ZERO;
    size_t answers = 0;
    int64_t i;
    (void)state;

    reach_init(&r, 1000);
    for (i = 0; i < 3 * REACH_OUTSTANDING_MAX; i++)
        reach_sent(&r, at(i));
    while (reach_answered(&r, at(i), &sent))
        assert_int_equal(sent.ms, answers++);
    assert_int_equal(answers, REACH_OUTSTANDING_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broadcast_goes_out_thrice_in_both_forms),
        cmocka_unit_test(unicast_is_repeated_with_back_off_and_given_up),
        cmocka_unit_test(an_answer_ends_the_telling),
        cmocka_unit_test(many_targets_all_get_their_turn_in_order),
        cmocka_unit_test(announcing_again_tells_everybody_again),
        cmocka_unit_test(strange_targets_are_not_told),
        cmocka_unit_test(an_answer_is_never_credited_to_a_later_request),
        cmocka_unit_test(a_lost_request_holds_credit_back_for_one_window_only),
        cmocka_unit_test(more_requests_than_remembered_err_to_the_old_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
