/* Two voters and a gateway (rules 14 to 17 of docs/vip.md), and what no rule is about. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/lease/internal.h"
#include "tests/unit/lease_script.h"

/* ---- two nodes ---- */

static void gateway(int64_t now, int64_t probed)
{
    step(now, (struct leases_event){.type = LEASES_GATEWAY, .sent = at(probed)});
}

/* Node 1 of two, whose peer speaks at START for the last time, long after the set was adopted. */
static void alone(int mode)
{
    make(one, 2, true, START - 1);
    want(START, mode);
    message(START, two, MSG_LEASE_REQUEST,
            (struct msg_lease){.set = 1, .lease_ms = T, .fence_ms = F});
}

/* Answers each probe of the gateway at once, until @now. */
static void run_with_gateway(int64_t now)
{
    while (leases_deadline(l).ms <= now) {
        int64_t due = leases_deadline(l).ms;
        timer(due);
        if (out.probe)
            gateway(due, out.probe_sent.ms);
    }
    timer(now);
}

static void rule_14_a_strict_lease_is_never_taken_alone(void **state)
{
    (void)state;
    alone(LEASE_STRICT);
    run_with_gateway(START + 20000);
    assert_int_not_equal(view(START + 20000).state, LEASE_HELD);
    assert_int_equal(view(START + 20000).epoch, 0);
}

static void rule_15_a_claim_needs_silence_of_a_promise_and_the_gateway(void **state)
{
    (void)state;
    alone(LEASE_SOLO);
    run_with_gateway(START + T + F - 1);
    assert_int_not_equal(view(START).state, LEASE_HELD);
    run_with_gateway(START + 2000);
    assert_int_equal(view(START + 2000).state, LEASE_HELD);
    assert_true(view(START + 2000).solo);

    alone(LEASE_SOLO); /* no gateway */
    run_until(START + 5000);
    assert_int_not_equal(view(START + 5000).state, LEASE_HELD);

    alone(LEASE_SOLO); /* the peer makes a sound now and then */
    for (int64_t now = START; now < START + 5000; now += 500) {
        run_with_gateway(now);
        step(now, (struct leases_event){.type = LEASES_HEARD, .from = two});
    }
    assert_int_equal(view(START + 5000).epoch, 0);
}

static void rule_15_a_claim_waits_for_the_length_that_the_peer_uses(void **state)
{
    (void)state;
    make(one, 2, true, START - 1);
    want(START, LEASE_SOLO);
    message(START, two, MSG_LEASE_REQUEST,
            (struct msg_lease){.set = 1, .lease_ms = 2000, .fence_ms = F});
    run_with_gateway(START + 2000 + F - 1);
    assert_int_equal(view(START).epoch, 0);
    run_with_gateway(START + 4000);
    assert_int_equal(view(START + 4000).state, LEASE_HELD);

    make(one, 2, true, START); /* nothing was ever heard of it */
    want(START, LEASE_SOLO);
    run_with_gateway(START + LEASE_TERM_MAX + LEASE_FENCE_MAX - 1);
    assert_int_equal(view(START).epoch, 0);
    run_with_gateway(START + LEASE_TERM_MAX + LEASE_FENCE_MAX + 2000);
    assert_int_equal(view(START).state, LEASE_HELD);
}

/* A link that comes back brings the gateway's answer first: what the peer says must be able to
 * follow. */
static void rule_15_a_claim_listens_once_the_gateway_answers_again(void **state)
{
    int64_t back;
    (void)state;

    alone(LEASE_SOLO);
    run_until(START + 3000);
    run_with_gateway(START + 3600); /* of which it may have answered the last 0.1 s only */
    assert_int_equal(view(START).epoch, 0);
    back = START + 3600;
    run_with_gateway(back + T + F + 2000);
    assert_int_equal(view(back).state, LEASE_HELD);
    assert_true(view(back).solo);
}

static void rule_15_the_own_vote_must_be_free(void **state)
{
    int64_t now = START + 1;
    (void)state;

    alone(LEASE_SOLO);
    while (view(now).state != LEASE_IDLE) /* it asks for votes now and then */
        run_until(++now);
    assert_true(ask(now, two, 5, LEASE_TERM_MAX));
    message(now, two, MSG_LEASE_REQUEST,
            (struct msg_lease){.set = 1, .lease_ms = T, .fence_ms = F}); /* now it names 0.5 s */
    run_with_gateway(now + LEASE_TERM_MAX + F - 1);
    assert_int_equal(view(now).epoch, 0);
    run_with_gateway(now + LEASE_TERM_MAX + F + 2000);
    assert_int_equal(view(now).state, LEASE_HELD);
}

static void rule_15_the_gateway_does_not_stand_in_for_later(void **state)
{
    int64_t now = START + 1;
    (void)state;

    alone(LEASE_SOLO);
    while (view(now).state != LEASE_IDLE)
        run_until(++now);
    assert_true(ask(now, two, 5, LEASE_TERM_MAX)); /* it holds, with our vote */
    message(now, two, MSG_LEASE_TRANSFER, one_item(0, 5, MSG_INVITE));
    message(now, two, MSG_LEASE_REQUEST,
            (struct msg_lease){.set = 1, .lease_ms = T, .fence_ms = F});
    run_with_gateway(now + T + F + 100); /* silence enough, but our vote is not ours */
    message(now + T + F + 101, two, MSG_LEASE_RELEASE, one_item(0, 5, MSG_FREE));
    assert_int_equal(view(now).state, LEASE_CAMPAIGN); /* the peer speaks: it must grant */
}

static void rule_15_an_extension_needs_silence_and_ends_with_the_gateway(void **state)
{
    int64_t last = START + 2000;
    (void)state;

    hold(2, LEASE_SOLO);
    message(START, two, MSG_LEASE_REQUEST,
            (struct msg_lease){.set = 1, .lease_ms = T, .fence_ms = F});
    for (int64_t now = START + 100; now <= last; now += 100) {
        run_until(now);
        assert_false(out.probe); /* the peer speaks */
        reply(now, two, requested(), MSG_GRANT);
    }
    run_with_gateway(last + 299);
    assert_int_equal(view(last).end.ms, last + T);
    run_with_gateway(last + 300); /* S = 0.6 T */
    assert_int_equal(view(last).end.ms, last + 300 + T);
    assert_true(view(last).solo);
    run_with_gateway(last + 5000);
    assert_int_equal(view(last).state, LEASE_HELD);
    run_until(last + 5000 + T);
    assert_int_equal(view(last).reason, LEASE_WHY_ISOLATED);
}

static void rule_15_a_new_set_of_two_waits_until_older_leases_have_ended(void **state)
{
    struct voter_set set = {.number = 2, .count = 2, .voters = {{1}, {2}}};
    (void)state;

    make(one, 3, true, START);
    want(START, LEASE_SOLO);
    step(START + 1, (struct leases_event){.type = LEASES_VOTERS, .voters = &set});
    message(START + 2, two, MSG_LEASE_REQUEST,
            (struct msg_lease){.set = 2, .lease_ms = T, .fence_ms = F});
    run_with_gateway(START + LEASE_SILENCE_BOOT);
    assert_int_equal(view(START).epoch, 0);
    run_with_gateway(START + LEASE_SILENCE_BOOT + 2000);
    assert_int_equal(view(START).state, LEASE_HELD);
}

static void rule_16_after_a_pause_silence_starts_anew(void **state)
{
    (void)state;
    alone(LEASE_SOLO);
    run_until(START + 100);
    timer(START + 4000); /* stopped meanwhile; the peer's frames wait in the socket */
    if (out.probe)
        gateway(START + 4000, out.probe_sent.ms);
    run_with_gateway(START + 4000 + T + F - 1);
    assert_int_equal(view(START).epoch, 0);
    run_with_gateway(START + 4000 + T + F + 2000);
    assert_int_equal(view(START).state, LEASE_HELD);
}

static void rule_17_of_two_solo_holders_the_lower_one_gives_way(void **state)
{
    (void)state;
    alone(LEASE_SOLO);
    run_with_gateway(START + 3000);
    message(START + 3000, two, MSG_LEASE_REQUEST, one_item(4, 1, MSG_SOLO));
    assert_int_equal(view(START + 3000).state, LEASE_HELD);
    message(START + 3001, two, MSG_LEASE_REQUEST, one_item(5, UINT64_MAX, MSG_ASK));
    assert_int_equal(view(START + 3001).state, LEASE_HELD); /* only asks */
    message(START + 3002, two, MSG_LEASE_REQUEST, one_item(6, UINT64_MAX, MSG_SOLO));
    assert_non_null(op(LEASE_CLOSE));
    assert_int_equal(change(LEASE_LOST)->reason, LEASE_WHY_CONFLICT);
}

static void a_solo_candidate_shows_each_heartbeat_that_it_lives(void **state)
{
    int frames = 0;
    (void)state;

    make(two, 2, true, START);
    assert_true(ask(START, one, 5, T));
    want(START, LEASE_SOLO);
    while (leases_deadline(l).ms < START + 500) {
        timer(leases_deadline(l).ms);
        frames += sent(MSG_LEASE_REQUEST, one) != NULL;
    }
    assert_in_range(frames, 4, 6);
    message(START + 500, two, MSG_LEASE_REQUEST,
            (struct msg_lease){.set = 1, .lease_ms = T, .fence_ms = F});
    assert_null(sent(MSG_LEASE_REPLY, one)); /* a bare frame is not answered */
}

/* One who was left behind in a set of two may not take its peer, now in a set of three, for dead.
 */
static void a_laggard_hears_that_its_former_peer_lives(void **state)
{
    static const struct voter_set grown = {.number = 2, .count = 3, .voters = {{1}, {2}, {3}}};
    struct leases_event adopt = {.type = LEASES_VOTERS, .voters = &grown};
    (void)state;

    make(two, 2, true, START);
    step(START, adopt);
    message(START + 100, one, MSG_LEASE_REQUEST,
            (struct msg_lease){.set = 1, .lease_ms = T, .fence_ms = F});
    assert_non_null(sent(MSG_LEASE_REQUEST, one));
    message(START + 200, one, MSG_LEASE_REQUEST,
            (struct msg_lease){.set = 2, .lease_ms = T, .fence_ms = F});
    assert_null(sent(MSG_LEASE_REQUEST, one));
}

/* Requests that come a little late each time: no frame besides the answers. */
static void an_answer_shows_that_it_lives(void **state)
{
    int64_t now = START;
    int frames = 0;
    (void)state;

    make(two, 2, true, START);
    assert_true(ask(now, one, 5, T));
    want(now, LEASE_SOLO);
    for (int i = 0; i < 10; i++) {
        now += 110;
        while (leases_deadline(l).ms < now) {
            timer(leases_deadline(l).ms);
            frames += sent(MSG_LEASE_REQUEST, one) != NULL;
        }
        assert_true(ask(now, one, 5, T));
    }
    assert_int_equal(frames, 0);
    timer(leases_deadline(l).ms);
    assert_non_null(sent(MSG_LEASE_REQUEST, one)); /* not asked in time, it speaks by itself */
    assert_in_range(out.sends[0].msg.lease.item_count, 0, 0);
}

/* ---- the rest ---- */

static void a_set_of_one_holds_by_itself(void **state)
{
    (void)state;
    make(one, 1, true, START);
    want(START, LEASE_STRICT);
    assert_int_equal(view(START).state, LEASE_HELD);
    run_until(START + 10000);
    assert_int_equal(view(START + 10000).state, LEASE_HELD);
    assert_int_equal(out.send_count, 0);
}

static void a_fence_that_will_not_open_ends_the_lease(void **state)
{
    struct msg_lease request = hold(3, LEASE_STRICT);
    int64_t now = START;
    (void)state;

    while (op(LEASE_CLOSE) == NULL && now < START + 5000) {
        const struct lease_op *open = op(LEASE_OPEN);
        if (open != NULL)
            step(now, (struct leases_event){
                          .type = LEASES_OPEN_FAILED, .lease = LEASE, .number = open->number});
        if (op(LEASE_CLOSE) != NULL)
            break;
        now += 100;
        run_until(now);
        request = requested();
        reply(now + 1, two, request, MSG_GRANT);
    }
    assert_int_equal(view(now).reason, LEASE_WHY_FENCE);
}

static void a_drain_releases_and_stays_away_until_it_ends(void **state)
{
    (void)state;
    hold(3, LEASE_STRICT);
    step(START + 10, (struct leases_event){.type = LEASES_DRAIN, .on = true});
    assert_false(leases_released(l));
    close_acknowledged(START + 11);
    assert_true(leases_released(l));
    run_until(START + 20000);
    assert_int_equal(view(START + 20000).state, LEASE_IDLE);
    assert_true(ask(START + 20000, two, 5, T)); /* it still votes */
    message(START + 20001, two, MSG_LEASE_RELEASE, one_item(0, 5, MSG_FREE));
    step(START + 20002, (struct leases_event){.type = LEASES_DRAIN, .on = false});
    assert_int_equal(view(START + 20002).state, LEASE_CAMPAIGN);
}

static void a_release_is_seen_by_the_next_at_once(void **state)
{
    (void)state;
    make(two, 3, true, START);
    assert_true(ask(START, one, 5, T));
    want(START, LEASE_STRICT);
    message(START + 50, one, MSG_LEASE_RELEASE, one_item(0, 5, MSG_FREE));
    assert_non_null(sent(MSG_LEASE_REQUEST, three));
}

static void many_leases_share_their_messages(void **state)
{
    struct leases_event ev = {.type = LEASES_WANT, .kind = LEASE_VIP, .mode = LEASE_STRICT};
    unsigned items = 0;
    (void)state;

    make(one, 3, true, START);
    for (ev.lease = 1; ev.lease <= LEASES_MAX; ev.lease++)
        assert_int_equal(step(START, ev), ERR_NONE);
    assert_int_equal(step(START, ev), ERR_FULL);
    run_until(START + LEASE_SILENCE_BOOT); /* no close was acknowledged */
    assert_int_equal(out.send_count, 4);   /* two datagrams to each voter */
    for (int i = 0; i < out.send_count; i++)
        items += out.sends[i].msg.lease.item_count;
    assert_int_equal(items, 2 * LEASES_MAX);
}

/* Node 1 asks for some leases; grants all of its request to @voter. */
static void grant_all(int64_t now, node_id voter)
{
    struct leases_out sent_now = out;

    for (int i = 0; i < sent_now.send_count; i++)
        if (sent_now.sends[i].msg.type == MSG_LEASE_REQUEST &&
            node_id_equal(sent_now.sends[i].to[0], voter))
            reply(now, voter, sent_now.sends[i].msg.lease, MSG_GRANT);
}

static void want_many(int64_t now, unsigned count)
{
    struct leases_event ev = {.type = LEASES_WANT, .kind = LEASE_VIP, .mode = LEASE_STRICT};

    for (ev.lease = 1; ev.lease <= count; ev.lease++)
        step(now, ev);
    for (ev.lease = 1; ev.lease <= count; ev.lease++) {
        struct lease_view v;
        leases_get(l, at(now), ev.lease, &v);
        step(now, (struct leases_event){
                      .type = LEASES_CLOSED, .lease = ev.lease, .number = v.close_number});
    }
}

static void a_steady_heartbeat_names_its_leases_by_a_digest(void **state)
{
    struct msg_lease request, again;
    struct lease_view v;
    (void)state;

    make(one, 3, true, START);
    want_many(START, 1);
    grant_all(START, two);
    want_many(START, 21);
    timer(leases_deadline(l).ms);
    assert_int_equal(sent(MSG_LEASE_REQUEST, two)->item_count, 20); /* the new ones, by name */
    assert_true(sent(MSG_LEASE_REQUEST, two)->digest != 0);
    assert_int_equal(sent(MSG_LEASE_REQUEST, three)->item_count, 21); /* it has granted nothing */
    assert_true(sent(MSG_LEASE_REQUEST, three)->digest == 0);
    grant_all(START + 101, two);
    run_until(START + 200);
    request = *sent(MSG_LEASE_REQUEST, two);
    assert_int_equal(request.item_count, 0);
    reply(START + 203, two, request, MSG_GRANT);
    assert_int_equal(out.op_count, 21);
    for (uint64_t id = 1; id <= 21; id++) {
        assert_true(leases_get(l, at(START + 203), id, &v));
        assert_int_equal(v.end.ms, START + 200 + T);
    }
    run_until(START + 300);
    request = *sent(MSG_LEASE_REQUEST, two);
    reply(START + 303, two, request, MSG_REFUSE); /* it has promised something else */
    assert_int_equal(out.op_count, 0);
    again = *sent(MSG_LEASE_REQUEST, two); /* then, at once, by name */
    assert_int_equal(again.item_count, 21);
    assert_true(again.digest == 0);
    reply(START + 304, two, request, MSG_REFUSE); /* twice is once */
    assert_null(sent(MSG_LEASE_REQUEST, two));
    again.item_count = 5; /* and it is told the whole list, not what one datagram has answered */
    reply(START + 305, two, again, MSG_GRANT);
    run_until(START + 403);
    assert_int_equal(sent(MSG_LEASE_REQUEST, two)->item_count, 16);
}

static void a_digest_renews_exactly_what_was_promised(void **state)
{
    struct msg_lease m = {.sequence = 9, .set = 1, .lease_ms = T, .fence_ms = F};
    struct msg_lease list = one_item(8, 5, MSG_ASK);
    const struct msg_lease *r;
    (void)state;

    make(three, 3, true, START);
    list.items[list.item_count++] = (struct msg_lease_item){.lease = LEASE + 1, .session = 6};
    message(START, one, MSG_LEASE_REQUEST, list);
    assert_false(ask(START, two, 7, T));
    m.digest = round_digest(round_digest(0, LEASE + 1, 6), LEASE, 5);
    message(START + 500, one, MSG_LEASE_REQUEST, m);
    r = sent(MSG_LEASE_REPLY, one);
    assert_int_equal(r->renewed, MSG_GRANT);
    assert_int_equal(r->item_count, 0);
    assert_true(out.persist); /* recorded before the grant leaves */
    assert_false(ask(START + 500 + T + F - 1, two, 9, T));
    message(START + 600, two, MSG_LEASE_REQUEST, m); /* nothing was promised to it */
    assert_int_equal(sent(MSG_LEASE_REPLY, two)->renewed, MSG_REFUSE);
    m.set = 2;
    message(START + 601, one, MSG_LEASE_REQUEST, m);
    assert_int_equal(sent(MSG_LEASE_REPLY, one)->renewed, MSG_REFUSE);
    m.set = 1;
    m.digest = round_digest(0, LEASE, 5); /* less than was promised */
    message(START + 602, one, MSG_LEASE_REQUEST, m);
    assert_int_equal(sent(MSG_LEASE_REPLY, one)->renewed, MSG_REFUSE);
    assert_true(ask(START + 500 + T + F, two, 9, T)); /* none of them has lengthened it */
}

static void a_digest_of_an_older_session_renews_nothing(void **state)
{
    struct msg_lease request;
    (void)state;

    hold(3, LEASE_STRICT);
    run_until(START + 100);
    request = *sent(MSG_LEASE_REQUEST, two);
    assert_true(request.digest != 0);
    step(START + 110, (struct leases_event){.type = LEASES_UNWANT, .lease = LEASE});
    close_acknowledged(START + 111);
    step(START + 112,
         (struct leases_event){
             .type = LEASES_WANT, .lease = LEASE, .kind = LEASE_VIP, .mode = LEASE_STRICT});
    run_until(START + 400);
    reply(START + 401, two, request, MSG_GRANT);
    assert_null(op(LEASE_OPEN));
}

static void what_is_out_of_its_ranges_is_refused(void **state)
{
    struct leases_config config = {.self = one, .fence_ms = 5};
    struct msg m = {.type = MSG_LEASE_REQUEST, .lease = {.item_count = MSG_LEASE_ITEMS_MAX + 1}};
    (void)state;

    assert_null(leases_create(&config, at(0)));
    config = (struct leases_config){.self = one, .term_min_ms = 600};
    assert_null(leases_create(&config, at(0)));
    config = (struct leases_config){.self = one, .term_min_ms = 1000, .term_max_ms = 500};
    assert_null(leases_create(&config, at(0)));
    make(one, 3, true, START);
    assert_int_equal(step(START, (struct leases_event){.type = 99}), ERR_INVALID);
    assert_int_equal(step(START, (struct leases_event){.type = LEASES_WANT}), ERR_INVALID);
    assert_int_equal(step(START, (struct leases_event){.type = LEASES_MESSAGE, .msg = &m}),
                     ERR_INVALID);
    memset(&record, 0, sizeof record);
    record.promise_count = LEASES_PROMISES_MAX + 1;
    leases_import(l, at(START), &record, &out);
    assert_int_equal(out.op_count, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, teardown)
    const struct CMUnitTest tests[] = {
        TEST(rule_14_a_strict_lease_is_never_taken_alone),
        TEST(rule_15_a_claim_needs_silence_of_a_promise_and_the_gateway),
        TEST(rule_15_a_claim_waits_for_the_length_that_the_peer_uses),
        TEST(rule_15_a_claim_listens_once_the_gateway_answers_again),
        TEST(rule_15_the_own_vote_must_be_free),
        TEST(rule_15_the_gateway_does_not_stand_in_for_later),
        TEST(rule_15_an_extension_needs_silence_and_ends_with_the_gateway),
        TEST(rule_15_a_new_set_of_two_waits_until_older_leases_have_ended),
        TEST(rule_16_after_a_pause_silence_starts_anew),
        TEST(rule_17_of_two_solo_holders_the_lower_one_gives_way),
        TEST(a_solo_candidate_shows_each_heartbeat_that_it_lives),
        TEST(a_laggard_hears_that_its_former_peer_lives),
        TEST(an_answer_shows_that_it_lives),
        TEST(a_set_of_one_holds_by_itself),
        TEST(a_fence_that_will_not_open_ends_the_lease),
        TEST(a_drain_releases_and_stays_away_until_it_ends),
        TEST(a_release_is_seen_by_the_next_at_once),
        TEST(many_leases_share_their_messages),
        TEST(a_steady_heartbeat_names_its_leases_by_a_digest),
        TEST(a_digest_renews_exactly_what_was_promised),
        TEST(a_digest_of_an_older_session_renews_nothing),
        TEST(what_is_out_of_its_ranges_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
