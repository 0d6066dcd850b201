/* T, the length of a lease (docs/vip.md, section 7): how it follows the links, and what two nodes
 * who may be alone with the gateway know of each other's (rule 18). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/lease_script.h"

#define HALF (T / 2) /* of what rests on a read */
#define LONG 4000
#define DELAY 50 /* delta of T */
#define SOON 100 /* the campaign takes a moment */

/* ---- by what the answers tell ---- */

static void a_lease_grows_at_once_and_shrinks_after_ten_calm_minutes(void **state)
{
    int64_t now = START;
    (void)state;

    hold(3, LEASE_STRICT);
    run_until(START + 400);
    reply(START + 420, two, requested(), MSG_GRANT);
    assert_int_equal(leases_term(l), 1000);
    for (now = START + 500; now < START + 9 * 60 * 1000; now = leases_deadline(l).ms) {
        timer(now);
        if (sent(MSG_LEASE_REQUEST, two) != NULL)
            reply(now + 3, two, requested(), MSG_GRANT);
    }
    assert_int_equal(leases_term(l), 1000);
    for (; now < START + 11 * 60 * 1000; now = leases_deadline(l).ms) {
        timer(now);
        if (sent(MSG_LEASE_REQUEST, two) != NULL)
            reply(now + 3, two, requested(), MSG_GRANT);
    }
    assert_int_equal(leases_term(l), T);
    assert_int_equal(view(now).state, LEASE_HELD);
}

/* Two lost answers in a row, and it asks twice as often as long as its lease lives. */
static void missing_answers_are_asked_for_at_twice_the_pace(void **state)
{
    int rounds = 0;
    (void)state;

    hold(3, LEASE_STRICT);
    run_until(START + 300);
    while (leases_deadline(l).ms < START + T) {
        timer(leases_deadline(l).ms);
        rounds += sent(MSG_LEASE_REQUEST, two) != NULL;
    }
    assert_in_range(rounds, 3, 4);
}

static int64_t answer_all(int64_t now, int64_t until, int64_t rtt)
{
    for (; now < until; now = leases_deadline(l).ms) {
        timer(now);
        if (sent(MSG_LEASE_REQUEST, two) != NULL)
            reply(now + rtt, two, requested(), MSG_GRANT);
    }
    return now;
}

static void a_lease_shrinks_to_what_a_clean_link_allows(void **state)
{
    struct leases_config config = {
        .self = one, .boot = 1, .first_since_boot = true, .voters = {1, 3, {{1}, {2}, {3}}}};
    int64_t now = START;
    (void)state;

    leases_destroy(l);
    l = leases_create(&config, at(now));
    want(now, LEASE_STRICT);
    now = answer_all(now, START + 11 * 60 * 1000, 3);
    assert_int_equal(leases_term(l), 250);
    now = answer_all(now, START + 60 * 60 * 1000, 3);
    assert_int_equal(leases_term(l), 250); /* the configured least */
    now = answer_all(now, now + 400, 110); /* RTT no longer allows it */
    assert_in_range(leases_term(l), 500, 1000);
    assert_int_equal(view(now).state, LEASE_HELD);
}

/* The link loses everything for a second: the next such gap is survived. */
static void a_gap_that_costs_the_lease_lengthens_the_next(void **state)
{
    (void)state;

    hold(3, LEASE_STRICT);
    run_until(START + T);
    assert_non_null(change(LEASE_LOST));
    close_acknowledged(START + T);
    step(START + 1000, (struct leases_event){.type = LEASES_HEARD, .from = {9}});
    assert_int_equal(leases_term(l), T); /* no voter */
    step(START + 1000, (struct leases_event){.type = LEASES_HEARD, .from = three});
    assert_int_equal(leases_term(l), 2000);
}

/* Its peer takes over with the shorter one that it had before the gap, and hands the lease back. */
static void a_gap_is_remembered_while_another_holds_the_lease(void **state)
{
    int64_t calm = START + 1000 + 10 * 60 * 1000;
    (void)state;

    hold(3, LEASE_STRICT);
    run_until(START + T);
    close_acknowledged(START + T);
    step(START + T, (struct leases_event){.type = LEASES_UNWANT, .lease = LEASE});
    step(START + 1000, (struct leases_event){.type = LEASES_HEARD, .from = two});
    assert_true(ask(START + 1100, two, 9, T));
    assert_int_equal(leases_term(l), 2000);
    assert_true(ask(calm - 1, two, 10, T));
    assert_int_equal(leases_term(l), 2000);
    assert_true(ask(calm, two, 11, T));
    assert_int_equal(leases_term(l), T);
}

/* No lease would have outlived it: the peer was away. */
static void a_gap_longer_than_any_lease_lengthens_nothing(void **state)
{
    (void)state;

    hold(3, LEASE_STRICT);
    run_until(START + T);
    close_acknowledged(START + T);
    run_until(START + LEASE_TERM_MAX);
    step(START + LEASE_TERM_MAX + 1, (struct leases_event){.type = LEASES_HEARD, .from = three});
    assert_int_equal(leases_term(l), T);
}

/* What was asked during an absence waited for the link on this machine: the answers tell its
 * length. */
static void requests_that_waited_for_the_link_lengthen_nothing(void **state)
{
    int64_t back = START + LEASE_TERM_MAX + 2000;
    struct msg_lease asked[4];
    int count = 0;
    (void)state;

    hold(3, LEASE_STRICT);
    run_until(START + T);
    close_acknowledged(START + T);
    for (int64_t now = START + T; now < back && count < 4; now = leases_deadline(l).ms) {
        timer(now);
        if (now > back - 1500 && sent(MSG_LEASE_REQUEST, two) != NULL)
            asked[count++] = requested();
    }
    assert_int_equal(count, 4);
    for (int i = 0; i < count; i++)
        reply(back, two, asked[i], MSG_REFUSE);
    assert_int_equal(leases_term(l), T);
}

/* It becomes a voter while it joins, and answers when it is ready. */
static void a_voter_that_was_not_there_yet_lengthens_nothing(void **state)
{
    const struct voter_set set = {.number = 2, .count = 3, .voters = {{1}, {2}, {3}}};
    struct msg_lease asked;
    int64_t now = START + 1;
    (void)state;

    make(one, 2, true, START);
    want(START, LEASE_STRICT);
    step(now, (struct leases_event){.type = LEASES_VOTERS, .voters = &set});
    run_until(now + 99);
    timer(now + 100);
    asked = requested();
    reply(now + 390, two, asked, MSG_GRANT);
    assert_int_equal(leases_term(l), T);
}

/* A gap that would lengthen it, but the voter's agent was down: the link has lost nothing. */
static void a_restarted_voter_does_not_lengthen_the_lease(void **state)
{
    (void)state;

    hold(3, LEASE_STRICT);
    run_until(START + 390);
    step(START + 395, (struct leases_event){.type = LEASES_RESTARTED, .from = two});
    run_until(START + 400);
    reply(START + 420, two, requested(), MSG_GRANT);
    assert_int_equal(leases_term(l), T);
}

/* ---- two nodes, alone with the gateway ---- */

/* Node 1 wants nothing yet; the gateway passed the test. */
static void idle(void)
{
    make(one, 2, true, START - 1);
    step(START - 1, (struct leases_event){.type = LEASES_REGISTER, .on = true});
}

/* Node 2, which holds the lease, asks for @term. */
static void holder_asks(int64_t now, uint32_t sequence, uint16_t term)
{
    struct msg_lease m = one_item(sequence, 9, MSG_ASK);

    m.lease_ms = term;
    message(now, two, MSG_LEASE_REQUEST, m);
    assert_int_equal(sent(MSG_LEASE_REPLY, two)->items[0].verdict, MSG_GRANT);
}

/* Two moments alone are no gap of reads: the peer's grants carried the lease between them. Each is
 * one of answers, of a little more than S. */
static void what_the_peer_granted_between_two_reads_lengthens_nothing(void **state)
{
    int64_t now = START + 100;
    (void)state;

    hold(2, LEASE_SOLO);
    step(START, (struct leases_event){.type = LEASES_REGISTER, .on = true});
    peer_speaks(START);
    for (int i = 0; i < 2; i++) {
        now = answer_all(now, now + 1400, 3);
        now = run_until_access(LEASE_REGISTER_READ, now + 2 * T);
        read_answered(now + 3, now);
        assert_true(view(now).solo);
    }
    assert_int_equal(leases_term(l), 2 * T);
}

/* A challenge that begins with the next write; returns when its first read leaves. *@written is
 * when the write did. */
static int64_t challenge(int64_t limit, int64_t *written)
{
    *written = run_until_access(LEASE_REGISTER_WRITE, limit);
    assert_in_range(*written, START, limit);
    wrote(*written);
    return run_until_access(LEASE_REGISTER_READ, limit);
}

static void the_next_holder_goes_on_with_the_length_of_the_last(void **state)
{
    int64_t written, read;
    (void)state;

    idle();
    assert_int_equal(leases_term(l), T);
    holder_asks(START, 1, LONG);
    assert_int_equal(leases_term(l), LONG);
    want(START, LEASE_SOLO);
    read = challenge(START + 9000, &written);
    assert_in_range(read, START + LONG + F, START + LONG + F + SOON);
    run_until(read + 1300);
    read_answered(read + 1300, read);
    assert_int_equal(view(read + 1300).state, LEASE_HELD);
    assert_int_equal(op(LEASE_OPEN)->until.ms, read + LONG / 2);
}

/* Who holds something measures by its own answers. */
static void a_holder_follows_nobody(void **state)
{
    struct msg_lease m = one_item(1, 9, MSG_ASK);
    (void)state;

    hold(2, LEASE_SOLO);
    m.lease_ms = LONG;
    m.items[0].lease = LEASE + 1;
    message(START + 10, two, MSG_LEASE_REQUEST, m);
    assert_int_equal(sent(MSG_LEASE_REPLY, two)->items[0].verdict, MSG_GRANT);
    assert_int_equal(leases_term(l), T);
}

/* It says at once that it lives, where want() expects no word yet. */
static void want_late(int64_t now)
{
    step(now, (struct leases_event){
                  .type = LEASES_WANT, .lease = LEASE, .kind = LEASE_VIP, .mode = LEASE_SOLO});
    close_acknowledged(now);
}

/* The longest length that fits a silence since START counts. */
static void expect_the_longest(void)
{
    int64_t written, read;

    want_late(START + 2000);
    read = challenge(START + 9000, &written);
    assert_in_range(read, written + DELAY + LONG / 2 + F, written + DELAY + LONG / 2 + F + SOON);
}

/* The other may have asked for a longer one since, unheard, and has been alone for as long. */
static void a_challenger_counts_a_length_that_fits_the_silence(void **state)
{
    (void)state;

    idle();
    peer_speaks(START);
    expect_the_longest();
}

/* A frame of another kind tells nothing of T: the silence goes on. */
static void only_a_word_on_leases_tells_the_length(void **state)
{
    (void)state;

    idle();
    peer_speaks(START);
    step(START + 2000, (struct leases_event){.type = LEASES_HEARD, .from = two});
    expect_the_longest();
}

static void nothing_is_known_of_the_peer_s_new_life(void **state)
{
    int64_t written, read;
    (void)state;

    challenger();
    step(START + 10, (struct leases_event){.type = LEASES_RESTARTED, .from = two});
    read = challenge(START + 9000, &written);
    assert_in_range(read, START + LEASE_TERM_MAX + LEASE_FENCE_MAX,
                    START + LEASE_TERM_MAX + LEASE_FENCE_MAX + SOON);
}

/* Its number. */
static uint32_t next_sign_of_life(int64_t limit)
{
    do {
        assert_true(leases_deadline(l).ms < limit);
        timer(leases_deadline(l).ms);
    } while (sent(MSG_LEASE_REQUEST, two) == NULL);
    assert_int_equal(requested().item_count, 0);
    return requested().sequence;
}

/* What comes late is no later word: two of the frames have overtaken each other. */
static void the_request_with_the_highest_number_tells_the_length(void **state)
{
    int64_t written, read;
    uint32_t first;
    (void)state;

    challenger();
    message(START + 1, two, MSG_LEASE_REQUEST,
            (struct msg_lease){.sequence = 7, .set = 1, .lease_ms = LONG, .fence_ms = F});
    message(START + 2, two, MSG_LEASE_REQUEST,
            (struct msg_lease){.sequence = 6, .set = 1, .lease_ms = T, .fence_ms = F});
    read = challenge(START + 9000, &written);
    assert_in_range(read, START + 2 + LONG + F, START + 2 + LONG + F + SOON);

    idle(); /* so a sign of life has a number too */
    holder_asks(START, 1, T);
    want(START, LEASE_SOLO);
    first = next_sign_of_life(START + 1000);
    assert_int_equal(next_sign_of_life(START + 1000), first + 1);
}

/* ---- held alone ---- */

struct alone { /* a holder whose reads are answered after a round trip */
    int64_t now, rtt;
    int64_t reads[64];
    unsigned asked, answered;
};

static void alone_asked(struct alone *a)
{
    if (access_of(LEASE_REGISTER_READ) != NULL)
        a->reads[a->asked++ % 64] = a->now;
}

/* One event. Returns when the read that it answers was sent; 0: it was a deadline. */
static int64_t alone_step(struct alone *a)
{
    int64_t due = leases_deadline(l).ms;
    int64_t sent_at = 0;

    if (a->answered < a->asked && a->reads[a->answered % 64] + a->rtt <= due) {
        sent_at = a->reads[a->answered++ % 64];
        a->now = sent_at + a->rtt > a->now ? sent_at + a->rtt : a->now;
        read_answered(a->now, sent_at);
    } else {
        a->now = due;
        timer(due);
    }
    alone_asked(a);
    return sent_at;
}

static struct alone holds_alone(void)
{
    struct alone a = {.rtt = 2};
    int64_t written;

    challenger();
    a.now = challenge(START + 5000, &written);
    read_answered(a.now, a.now);
    assert_int_equal(view(a.now).state, LEASE_HELD);
    alone_asked(&a);
    return a;
}

/* Reads that take long lengthen T; but one who is cut off and has not heard of it counts with it
 * only after a silence of that length. */
static void a_length_that_grows_alone_counts_after_it_has_been_told(void **state)
{
    struct alone a = holds_alone();
    bool counted = false;
    int64_t grown;
    (void)state;

    while (a.now < START + 3000)
        alone_step(&a);
    assert_int_equal(leases_term(l), T);
    a.rtt = 150;
    while (leases_term(l) == T && a.now < START + 9000) {
        alone_step(&a);
        assert_int_equal(view(a.now).state, LEASE_HELD);
    }
    grown = a.now;
    assert_int_equal(leases_term(l), 2 * T);
    while (!counted && a.now < grown + 5 * T) {
        int64_t sent_at = alone_step(&a);
        if (sent_at == 0 || op(LEASE_OPEN) == NULL)
            continue;
        counted = op(LEASE_OPEN)->until.ms == sent_at + T;
        if (!counted)
            assert_int_equal(op(LEASE_OPEN)->until.ms, sent_at + HALF);
        else
            assert_in_range(a.now, grown + 2 * T, grown + 2 * T + 100);
    }
    assert_true(counted);
}

static void what_is_held_alone_grows_shorter_after_ten_calm_minutes_too(void **state)
{
    struct alone a = holds_alone();
    (void)state;

    while (a.now < START + 3000)
        alone_step(&a);
    a.rtt = 150;
    while (leases_term(l) == T && a.now < START + 9000)
        alone_step(&a);
    assert_int_equal(leases_term(l), 2 * T);
    a.rtt = 2;
    while (a.now < START + 9 * 60 * 1000)
        alone_step(&a);
    assert_int_equal(leases_term(l), 2 * T);
    while (a.now < START + 25 * 60 * 1000)
        alone_step(&a);
    assert_int_equal(view(a.now).state, LEASE_HELD);
    assert_int_equal(leases_term(l), T);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_lease_grows_at_once_and_shrinks_after_ten_calm_minutes),
        TEST(missing_answers_are_asked_for_at_twice_the_pace),
        TEST(a_lease_shrinks_to_what_a_clean_link_allows),
        TEST(a_gap_that_costs_the_lease_lengthens_the_next),
        TEST(a_gap_is_remembered_while_another_holds_the_lease),
        TEST(a_gap_longer_than_any_lease_lengthens_nothing),
        TEST(requests_that_waited_for_the_link_lengthen_nothing),
        TEST(a_voter_that_was_not_there_yet_lengthens_nothing),
        TEST(a_restarted_voter_does_not_lengthen_the_lease),
        TEST(the_next_holder_goes_on_with_the_length_of_the_last),
        TEST(what_the_peer_granted_between_two_reads_lengthens_nothing),
        TEST(a_holder_follows_nobody),
        TEST(a_challenger_counts_a_length_that_fits_the_silence),
        TEST(only_a_word_on_leases_tells_the_length),
        TEST(nothing_is_known_of_the_peer_s_new_life),
        TEST(the_request_with_the_highest_number_tells_the_length),
        TEST(a_length_that_grows_alone_counts_after_it_has_been_told),
        TEST(what_is_held_alone_grows_shorter_after_ten_calm_minutes_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
