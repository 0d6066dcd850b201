/* The rules of docs/vip.md for voters and candidates, each by the counterexample that it prevents.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/lease_script.h"

/* ---- rules 1 to 10 ---- */

static void rule_1_a_lease_counts_from_the_sending_of_the_request(void **state)
{
    struct msg_lease request;
    (void)state;

    make(one, 3, true, START);
    want(START, LEASE_STRICT);
    request = requested();
    reply(START + 150, two, request, MSG_GRANT);
    assert_int_equal(op(LEASE_OPEN)->until.ms, START + T);
}

static void rule_1_the_length_is_that_of_the_request(void **state)
{
    struct msg_lease first = hold(3, LEASE_STRICT);
    struct msg_lease later;
    (void)state;

    run_until(START + 100);
    later = requested();
    run_until(START + 400);
    reply(START + 450, two, later, MSG_GRANT); /* so late that T grows */
    assert_true(leases_term(l) > T);
    assert_int_equal(view(START + 450).end.ms, START + 100 + T);
    reply(START + 460, three, first, MSG_GRANT);
    assert_int_equal(view(START + 460).end.ms, START + 100 + T);
}

static void rule_2_a_promise_outlives_the_lease_by_the_fence(void **state)
{
    (void)state;
    make(three, 3, true, START);
    assert_true(ask(START, one, 5, T));
    assert_false(ask(START + T + F - 1, two, 9, T));
    assert_true(ask(START + T + F, two, 9, T));
}

static void rule_2_a_promise_is_as_long_as_the_request_says_and_never_shortened(void **state)
{
    (void)state;
    make(three, 3, true, START);
    assert_true(ask(START, one, 5, 2000));
    assert_true(ask(START + 10, one, 5, 250));
    assert_false(ask(START + 2000 + F - 1, two, 9, T));
    assert_false(ask(START + 3000, two, 9, LEASE_TERM_MAX + 1));
    assert_true(ask(START + 3000, two, 9, LEASE_TERM_MAX));
}

static void rule_3_the_own_vote_keeps_its_promise(void **state)
{
    (void)state;
    make(one, 3, true, START);
    assert_true(ask(START, two, 5, T));
    want(START + 1, LEASE_STRICT);
    run_until(START + T + F - 1);
    assert_int_equal(view(START + T + F - 1).state, LEASE_IDLE);
    run_until(START + T + F);
    assert_int_equal(view(START + T + F).state, LEASE_CAMPAIGN);
    assert_false(ask(START + T + F, two, 6, T)); /* now it is promised to ourselves */
}

static void rule_4_a_lease_needs_a_majority(void **state)
{
    struct msg_lease request;
    (void)state;

    make(one, 5, true, START);
    want(START, LEASE_STRICT);
    request = requested();
    reply(START + 1, two, request, MSG_GRANT);
    reply(START + 2, two, request, MSG_GRANT); /* twice is once */
    assert_int_equal(view(START + 2).state, LEASE_CAMPAIGN);
    message(START + 2, (node_id){9}, MSG_LEASE_REPLY, request); /* no voter */
    reply(START + 3, three, request, MSG_GRANT);
    assert_int_equal(view(START + 3).state, LEASE_HELD);
}

static void rule_5_the_fence_never_opens_beyond_the_lease(void **state)
{
    struct msg_lease request = hold(3, LEASE_STRICT);
    (void)state;

    for (int64_t now = START + 100; now <= START + 3000; now += 100) {
        run_until(now);
        request = requested();
        reply(now + 3, two, request, MSG_GRANT);
        assert_int_equal(op(LEASE_OPEN)->until.ms, now + T);
    }
    run_until(START + 3000 + T);
    assert_non_null(op(LEASE_CLOSE));
    assert_int_equal(change(LEASE_LOST)->reason, LEASE_WHY_EXPIRED);
}

static void rule_6_grants_of_another_session_do_not_count(void **state)
{
    struct msg_lease old, request;
    (void)state;

    make(one, 3, true, START);
    want(START, LEASE_STRICT);
    old = requested();
    restart_with_record(one, START + 300);
    want(START + 300, LEASE_STRICT);
    request = requested();
    assert_int_equal(request.sequence, old.sequence);
    reply(START + 301, two, old, MSG_GRANT); /* to the first life, whose promise ends earlier */
    assert_int_equal(view(START + 301).state, LEASE_CAMPAIGN);
    reply(START + 302, two, request, MSG_GRANT);
    assert_int_equal(view(START + 302).state, LEASE_HELD);
}

static void rule_6_sessions_rise_over_a_restart(void **state)
{
    uint64_t before = hold(3, LEASE_STRICT).items[0].session;
    (void)state;

    restart_with_record(one, START + 100);
    assert_true(requested().items[0].session > before);
}

static void rule_6_an_old_release_does_not_free_a_newer_promise(void **state)
{
    (void)state;
    make(three, 3, true, START);
    assert_true(ask(START, one, 6, T));
    message(START + 1, one, MSG_LEASE_RELEASE, one_item(0, 5, MSG_FREE));
    message(START + 1, two, MSG_LEASE_RELEASE, one_item(0, 6, MSG_FREE)); /* not its own */
    assert_false(ask(START + 2, two, 9, T));
    message(START + 3, one, MSG_LEASE_RELEASE, one_item(0, 6, MSG_FREE));
    assert_true(out.persist);
    assert_true(ask(START + 4, two, 9, T));
    assert_false(ask(START + 5, two, 8, T)); /* a delayed request of an older session */
}

static void rule_7_a_release_follows_the_closed_fence(void **state)
{
    struct msg_lease request = hold(3, LEASE_STRICT);
    uint32_t number;
    (void)state;

    step(START + 20, (struct leases_event){.type = LEASES_UNWANT, .lease = LEASE});
    number = op(LEASE_CLOSE)->number;
    assert_null(sent(MSG_LEASE_RELEASE, two));
    assert_false(ask(START + 21, two, 9, T)); /* our vote is not free either */
    leases_export(l, at(START + 21), &record);
    assert_int_equal(record.holding_count, 0); /* nor may a next life resume it */
    step(START + 22,
         (struct leases_event){.type = LEASES_CLOSED, .lease = LEASE, .number = number - 1});
    assert_null(sent(MSG_LEASE_RELEASE, two)); /* an acknowledgement of an older close */
    step(START + 23,
         (struct leases_event){.type = LEASES_CLOSED, .lease = LEASE, .number = number});
    assert_true(sent(MSG_LEASE_RELEASE, two)->items[0].session == request.items[0].session);
    assert_non_null(sent(MSG_LEASE_RELEASE, three));
    assert_true(out.persist);
    reply(START + 24, three, request, MSG_GRANT);
    assert_null(op(LEASE_OPEN)); /* its grants are void */
    assert_true(ask(START + 25, two, 9, T));
    assert_true(leases_released(l));
}

static void rule_8_without_a_record_a_restarted_voter_is_silent(void **state)
{
    (void)state;
    make(three, 3, false, START);
    assert_false(ask(START + 1, one, 5, T));
    assert_false(ask(START + LEASE_SILENCE_BOOT - 1, one, 5, T));
    assert_true(ask(START + LEASE_SILENCE_BOOT, one, 5, T));
}

static void rule_8_after_a_reboot_silence_counts_from_the_boot(void **state)
{
    (void)state;
    make(three, 3, true, 3000);
    assert_false(ask(LEASE_SILENCE_BOOT - 1, one, 5, T));
    assert_true(ask(LEASE_SILENCE_BOOT, one, 5, T));
}

static void rule_8_a_record_keeps_promises_with_their_sessions(void **state)
{
    (void)state;
    make(three, 3, true, START);
    assert_true(ask(START, one, 6, T));
    restart_with_record(three, START + 50);
    message(START + 60, one, MSG_LEASE_RELEASE, one_item(0, 5, MSG_FREE));
    assert_false(ask(START + 60, two, 9, T));
    assert_false(ask(START + T + F - 1, two, 9, T));
    assert_true(ask(START + T + F, two, 9, T));
}

static void rule_8_a_second_restart_does_not_end_the_silence_of_the_first(void **state)
{
    (void)state;
    make(three, 3, false, START); /* forgot everything */
    restart_with_record(three, START + 100);
    assert_false(ask(START + 200, two, 9, T));
    assert_true(ask(START + LEASE_SILENCE_BOOT, two, 9, T));
}

static void rule_9_a_lease_is_resumed_to_its_recorded_end_only(void **state)
{
    uint64_t epoch;
    (void)state;

    hold(3, LEASE_STRICT);
    epoch = view(START).epoch;
    restart_with_record(one, START + 300);
    assert_int_equal(op(LEASE_OPEN)->until.ms, START + T);
    assert_int_equal(change(LEASE_ACQUIRED)->reason, LEASE_WHY_RESUMED);
    assert_true(change(LEASE_ACQUIRED)->epoch == epoch);
    assert_true(requested().items[0].session > epoch);
    run_until(START + T);
    assert_non_null(change(LEASE_LOST));

    hold(3, LEASE_STRICT);
    leases_export(l, at(START + 300), &record);
    make(one, 3, false, START + T);
    leases_import(l, at(START + T), &record, &out);
    assert_null(op(LEASE_OPEN));
}

static void rule_10_a_campaign_without_majority_gives_its_votes_back(void **state)
{
    struct msg_lease request;
    int64_t now = START;
    (void)state;

    make(one, 3, true, START);
    want(START, LEASE_STRICT);
    request = requested();
    while (view(now).state == LEASE_CAMPAIGN)
        run_until(++now); /* nobody answers */
    assert_in_range(now, START + 1, START + T);
    assert_true(sent(MSG_LEASE_RELEASE, three)->items[0].session == request.items[0].session);
    assert_true(ask(now, two, 9, T)); /* the own vote, too */
}

/* ---- rule 11 to 13 ---- */

static void rule_11_a_voter_grants_only_under_its_own_number(void **state)
{
    struct msg_lease m = one_item(1, 5, MSG_ASK);
    (void)state;

    make(three, 3, true, START);
    m.set = 2;
    message(START, one, MSG_LEASE_REQUEST, m);
    assert_int_equal(sent(MSG_LEASE_REPLY, one)->items[0].verdict, MSG_REFUSE);
    assert_int_equal(sent(MSG_LEASE_REPLY, one)->set, 1);
    make((node_id){4}, 3, true, START);
    assert_false(ask(START, one, 5, T)); /* no voter at all */
}

static void rule_11_a_new_set_keeps_grants_by_voter_not_by_place(void **state)
{
    struct voter_set next = {.number = 2, .count = 4, .voters = {{3}, {4}, {2}, {1}}};
    struct msg_lease request = hold(3, LEASE_STRICT);
    (void)state;

    assert_int_equal(
        step(START + 10, (struct leases_event){.type = LEASES_VOTERS, .voters = &next}), ERR_NONE);
    assert_int_equal(leases_voters_number(l), 2);
    assert_int_equal(requested().set, 2);
    assert_true(node_id_equal(view(START + 10).votes[2].voter, two));
    assert_int_equal(view(START + 10).votes[2].granted_until.ms, START + T);
    assert_int_equal(view(START + 10).end.ms, START + T); /* what was reached stays */
    request = requested();
    reply(START + 20, three, request, MSG_GRANT); /* one, three, and two's older grant: 3 of 4 */
    assert_int_equal(view(START + 20).end.ms, START + T);
    reply(START + 21, (node_id){4}, request, MSG_GRANT);
    assert_int_equal(view(START + 21).end.ms, START + 10 + T);
    assert_int_equal(
        step(START + 30, (struct leases_event){.type = LEASES_VOTERS, .voters = &next}),
        ERR_INVALID);
}

static void rule_12_a_witness_votes_and_never_asks(void **state)
{
    (void)state;
    make(three, 3, true, START);
    assert_true(ask(START, one, 5, T));
    assert_true(mono_is_never(leases_deadline(l)));
    timer(START + 60000);
    assert_int_equal(out.send_count, 0);
}

static void rule_13_the_holder_closes_before_it_hands_over(void **state)
{
    const struct msg_lease *m;
    (void)state;

    hold(3, LEASE_STRICT);
    assert_int_equal(
        step(START + 10, (struct leases_event){.type = LEASES_MOVE, .lease = LEASE, .to = two}),
        ERR_NONE);
    assert_int_equal(sent(MSG_LEASE_TRANSFER, two)->items[0].verdict, MSG_INVITE);
    assert_false(ask(START + 11, three, 4, T));
    assert_int_equal(view(START + 11).state, LEASE_HELD); /* somebody else asked */
    assert_false(ask(START + 12, two, 9, T));
    assert_null(sent(MSG_LEASE_TRANSFER, two));
    close_acknowledged(START + 13);
    m = sent(MSG_LEASE_TRANSFER, two);
    assert_int_equal(m->item_count, 2);
    assert_int_equal(m->items[0].verdict, MSG_FREE);
    assert_int_equal(m->items[1].verdict, MSG_GRANT);
    assert_true(m->items[1].session == 9);
    assert_int_equal(m->sequence, 1);
    assert_true(out.persist);
    assert_non_null(sent(MSG_LEASE_RELEASE, three));
    assert_false(ask(START + 14, three, 4, T)); /* our vote is given */
    assert_int_equal(
        step(START + 15, (struct leases_event){.type = LEASES_MOVE, .lease = LEASE, .to = two}),
        ERR_NOTFOUND);
}

static void rule_13_the_invited_node_opens_with_the_transfer(void **state)
{
    struct msg_lease m = one_item(0, 6, MSG_INVITE);
    struct msg_lease request;
    (void)state;

    make(one, 3, true, START);
    assert_true(ask(START - 1, two, 6, T)); /* 2 holds it, with our vote */
    want(START, LEASE_STRICT);
    message(START + 1, two, MSG_LEASE_TRANSFER, m);
    assert_non_null(change(LEASE_PREPARE));
    request = requested();
    assert_false(ask(START + 2, three, 4, T)); /* our vote is 2's until it is released */
    m = one_item(request.sequence, 6, MSG_FREE);
    m.items[m.item_count++] = (struct msg_lease_item){
        .lease = LEASE, .session = request.items[0].session, .verdict = MSG_GRANT};
    message(START + 5, two, MSG_LEASE_TRANSFER, m);
    assert_int_equal(op(LEASE_OPEN)->until.ms, START + 1 + T);
    assert_int_equal(change(LEASE_ACQUIRED)->reason, LEASE_WHY_HANDED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, teardown)
    const struct CMUnitTest tests[] = {
        TEST(rule_1_a_lease_counts_from_the_sending_of_the_request),
        TEST(rule_1_the_length_is_that_of_the_request),
        TEST(rule_2_a_promise_outlives_the_lease_by_the_fence),
        TEST(rule_2_a_promise_is_as_long_as_the_request_says_and_never_shortened),
        TEST(rule_3_the_own_vote_keeps_its_promise),
        TEST(rule_4_a_lease_needs_a_majority),
        TEST(rule_5_the_fence_never_opens_beyond_the_lease),
        TEST(rule_6_grants_of_another_session_do_not_count),
        TEST(rule_6_sessions_rise_over_a_restart),
        TEST(rule_6_an_old_release_does_not_free_a_newer_promise),
        TEST(rule_7_a_release_follows_the_closed_fence),
        TEST(rule_8_without_a_record_a_restarted_voter_is_silent),
        TEST(rule_8_after_a_reboot_silence_counts_from_the_boot),
        TEST(rule_8_a_record_keeps_promises_with_their_sessions),
        TEST(rule_8_a_second_restart_does_not_end_the_silence_of_the_first),
        TEST(rule_9_a_lease_is_resumed_to_its_recorded_end_only),
        TEST(rule_10_a_campaign_without_majority_gives_its_votes_back),
        TEST(rule_11_a_voter_grants_only_under_its_own_number),
        TEST(rule_11_a_new_set_keeps_grants_by_voter_not_by_place),
        TEST(rule_12_a_witness_votes_and_never_asks),
        TEST(rule_13_the_holder_closes_before_it_hands_over),
        TEST(rule_13_the_invited_node_opens_with_the_transfer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
