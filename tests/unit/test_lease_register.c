/* The gateway's ARP cache as a register (rule 18 of docs/vip.md). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/lease_script.h"

#define S 300        /* of T */
#define MISSING 225  /* two heartbeats of T and a quarter */
#define HALF (T / 2) /* of what rests on a read */
#define DELAY 50     /* δ of T */

static void a_challenger_writes_waits_and_reads(void **state)
{
    int64_t written, read;
    (void)state;

    challenger();
    written = run_until_access(LEASE_REGISTER_WRITE, START + 5000);
    assert_in_range(written, START + MISSING, START + MISSING + 50);
    wrote(written + 20); /* the agent was slow: it counts from here */
    assert_int_equal(run_until_access(LEASE_REGISTER_WRITE, written + 20 + DELAY + HALF + F - 1),
                     written + 20 + DELAY + HALF + F); /* once only */
    read = run_until_access(LEASE_REGISTER_READ, START + 5000);
    assert_in_range(read, written + 20 + DELAY + HALF + F, written + 20 + DELAY + HALF + F + 100);
    assert_int_not_equal(view(read).state, LEASE_HELD);
    read_answered(read + 2,
                  written + 20 + DELAY + HALF + F - 1); /* of a read before: no evidence */
    assert_int_not_equal(view(read + 2).state, LEASE_HELD);
    read_answered(read + 3, read);
    assert_int_equal(view(read + 3).state, LEASE_HELD);
    assert_int_equal(change(LEASE_ACQUIRED)->reason, LEASE_WHY_SOLO);
    assert_int_equal(op(LEASE_OPEN)->until.ms, read + HALF);
}

static void a_write_that_is_not_answered_is_repeated(void **state)
{
    int64_t first, second, read;
    (void)state;

    challenger();
    first = run_until_access(LEASE_REGISTER_WRITE, START + 5000);
    step(first, (struct leases_event){.type = LEASES_WROTE, .lease = LEASE});
    second = run_until_access(LEASE_REGISTER_WRITE, START + 5000);
    assert_int_equal(second, first + 50);
    wrote(second);
    read = run_until_access(LEASE_REGISTER_READ, START + 5000); /* the last one counts */
    assert_in_range(read, second + DELAY + HALF + F, second + DELAY + HALF + F + 100);
}

static void a_challenge_that_is_defended_rests(void **state)
{
    int64_t written, again;
    (void)state;

    challenger();
    written = run_until_access(LEASE_REGISTER_WRITE, START + 5000);
    wrote(written);
    while (change(LEASE_DEFENDED) == NULL && leases_deadline(l).ms < START + 5000)
        timer(leases_deadline(l).ms);
    assert_non_null(change(LEASE_DEFENDED));
    again = run_until_access(LEASE_REGISTER_WRITE, START + 200000);
    assert_in_range(again, written + 60000, written + 65000);
    wrote(again);
    assert_in_range(run_until_access(LEASE_REGISTER_WRITE, START + 400000), again + 120000,
                    again + 125000);
}

/* It was only cut off for a moment, as after a boot: it may die like any other. */
static void a_rest_ends_with_a_word_of_the_peer(void **state)
{
    int64_t written, heard, again;
    (void)state;

    challenger();
    written = run_until_access(LEASE_REGISTER_WRITE, START + 5000);
    wrote(written);
    while (change(LEASE_DEFENDED) == NULL && leases_deadline(l).ms < START + 5000)
        timer(leases_deadline(l).ms);
    assert_non_null(change(LEASE_DEFENDED));
    heard = START + 6000;
    timer(heard - 1);
    peer_speaks(heard);
    again = run_until_access(LEASE_REGISTER_WRITE, START + 200000);
    assert_in_range(again, heard + MISSING, heard + MISSING + 50);
}

static void a_peer_that_speaks_calls_the_challenge_off(void **state)
{
    int64_t written;
    (void)state;

    challenger();
    written = run_until_access(LEASE_REGISTER_WRITE, START + 5000);
    wrote(written);
    peer_speaks(written + 50);
    assert_non_null(sent(MSG_LEASE_RELEASE, two)); /* it shall write the register anew */
    assert_int_equal(sent(MSG_LEASE_RELEASE, two)->items[0].verdict, MSG_DEFEND);
    for (int64_t now = written + 100; now < written + 3000; now += 100) {
        assert_int_equal(run_until_access(LEASE_REGISTER_READ, now), now + 1);
        peer_speaks(now);
    }
    assert_int_equal(view(written).epoch, 0);
}

static void who_is_told_to_defend_announces(void **state)
{
    (void)state;
    hold(2, LEASE_SOLO);
    assert_false(ask(START + 10, two, 9, T));
    message(START + 20, two, MSG_LEASE_RELEASE, one_item(0, 9, MSG_DEFEND));
    assert_non_null(change(LEASE_MET));
    assert_int_equal(view(START + 20).state, LEASE_HELD);
    assert_int_equal(view(START + 20).end.ms, START + T);
}

static void a_holder_extends_only_by_reading(void **state)
{
    int64_t last = START + 2000;
    int64_t read, again;
    (void)state;

    hold(2, LEASE_SOLO);
    step(START, (struct leases_event){.type = LEASES_REGISTER, .on = true});
    peer_speaks(START);
    for (int64_t now = START + 100; now <= last; now += 100) {
        run_until(now);
        assert_int_equal(out.register_count, 0);
        reply(now, two, requested(), MSG_GRANT);
    }
    read = run_until_access(LEASE_REGISTER_READ, last + T);
    assert_in_range(read, last + S, last + S + 100);
    assert_non_null(access_of(LEASE_REGISTER_WRITE)); /* whoever may have written meanwhile */
    step(read + 1, (struct leases_event){.type = LEASES_GATEWAY, .sent = at(read)});
    assert_int_equal(view(read).end.ms, last + T); /* it is there, and names somebody */
    again = run_until_access(LEASE_REGISTER_READ, last + T);
    assert_in_range(again, read + 50, read + 100);
    assert_non_null(access_of(LEASE_REGISTER_WRITE)); /* unread: defend */
    read_answered(again + 3, again);
    assert_int_equal(view(again + 3).end.ms, again + HALF);
    assert_true(view(again + 3).solo);
    assert_in_range(run_until_access(LEASE_REGISTER_READ, again + 200), again + 50, again + 100);
    assert_null(access_of(LEASE_REGISTER_WRITE)); /* it was read */
    run_until(again + HALF);
    assert_int_equal(change(LEASE_LOST)->reason, LEASE_WHY_ISOLATED);
}

static void the_test_of_the_gateway_outlives_the_agent(void **state)
{
    (void)state;
    challenger();
    leases_export(l, at(START), &record);
    make(one, 2, false, START + 10);
    leases_import(l, at(START + 10), &record, &out);
    want(START + 10, LEASE_SOLO);
    peer_speaks(START + 20);
    assert_in_range(run_until_access(LEASE_REGISTER_WRITE, START + 5000), START + 20 + MISSING,
                    START + 20 + MISSING + 50);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_challenger_writes_waits_and_reads),
        TEST(a_write_that_is_not_answered_is_repeated),
        TEST(a_challenge_that_is_defended_rests),
        TEST(a_rest_ends_with_a_word_of_the_peer),
        TEST(a_peer_that_speaks_calls_the_challenge_off),
        TEST(who_is_told_to_defend_announces),
        TEST(a_holder_extends_only_by_reading),
        TEST(the_test_of_the_gateway_outlives_the_agent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
