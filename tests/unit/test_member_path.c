/* What the membership machine makes of the paths to members: relays, TCP beside datagrams,
 * silences, round trips. */
#include "tests/unit/member_fixture.h"

static void a_relay_probes_and_reports(void **state)
{
    struct fixture *f = *state;
    struct msg request = {.type = MSG_PING_REQ};

    admit(f, PEER);
    admit(f, THIRD);
    ping(f, PEER);
    ping(f, THIRD);
    request.probe.sequence = 77;
    request.probe.target = (node_id){THIRD};
    count_reset(f);
    receive(f, PEER, &request);
    assert_int_equal(f->sent[MSG_PING], 1);
    assert_int_equal(f->last[MSG_PING].to.v, THIRD);
    answer(f, THIRD);
    assert_int_equal(f->sent[MSG_ACK], 1);
    assert_int_equal(f->last[MSG_ACK].to.v, PEER);
    assert_int_equal(f->last[MSG_ACK].msg.probe.sequence, 77);
    assert_int_equal(f->last[MSG_ACK].msg.probe.target.v, THIRD);

    request.probe.sequence = 78; /* and without an answer, a NACK; a late answer all the same */
    receive(f, PEER, &request);
    count_reset(f);
    pass(f, 450);
    assert_int_equal(f->sent[MSG_NACK], 1);
    assert_int_equal(f->last[MSG_NACK].msg.probe.sequence, 78);
    ping(f, THIRD);
    assert_int_equal(f->last[MSG_ACK].to.v, THIRD); /* to the ping, after the relayed one */
    assert_int_equal(f->sent[MSG_ACK], 2);
}

static void the_word_of_a_relay_is_life(void **state)
{
    struct fixture *f = *state;
    struct msg ack = {.type = MSG_ACK};
    size_t asked = 0;

    admit(f, PEER);
    admit(f, THIRD);
    ping(f, PEER);
    ping(f, THIRD);
    ack.probe.target = (node_id){PEER};
    for (int i = 0; i < 600; i++) {
        count_reset(f);
        pass(f, 50);
        if (i % 4 == 0)
            ping(f, THIRD);
        if (f->sent[MSG_PING_REQ] > 0) {
            asked++;
            assert_int_equal(f->last[MSG_PING_REQ].to.v, THIRD);
            ack.probe.sequence = f->last[MSG_PING_REQ].msg.probe.sequence;
            receive(f, THIRD, &ack);
        }
        assert_int_not_equal(f->state, MEMBER_DEAD);
    }
    assert_true(asked > 5);
}

static bool hears_peer(struct fixture *f)
{
    struct member_view view;

    assert_int_equal(membership_find(f->m, (node_id){PEER}, &view), ERR_NONE);
    return view.hears;
}

/* Others hear it, we do not: it lives, and the path from it is cut. */
static void a_cut_path_is_told_from_a_death(void **state)
{
    struct fixture *f = *state;
    struct msg ack = {.type = MSG_ACK};
    int relayed = 0;

    admit(f, PEER);
    admit(f, THIRD);
    ping(f, PEER);
    ping(f, THIRD);
    assert_true(hears_peer(f));
    ack.probe.target = (node_id){PEER};
    for (int i = 0; i < 600 && relayed < 3; i++) {
        count_reset(f);
        pass(f, 50);
        if (i % 4 == 0)
            ping(f, THIRD);
        if (f->sent[MSG_PING_REQ] == 0)
            continue;
        assert_true(hears_peer(f)); /* loss alone does so now and then */
        receive(f, THIRD, &ack);
        relayed++;
    }
    assert_int_equal(relayed, 3);
    assert_false(hears_peer(f));
    assert_int_equal(f->state, MEMBER_ALIVE);
    ping(f, PEER);
    assert_true(hears_peer(f));
}

/* What comes over TCP from @from, and what it asks for. */
static void receive_stream(struct fixture *f, uint64_t from, uint8_t type)
{
    struct msg msg = {.type = type};
    struct membership_event e = {
        .type = MEMBERSHIP_MESSAGE, .from = {from}, .stream = true, .msg = &msg};

    if (type == MSG_ACK)
        msg.probe.sequence = f->stream.msg.probe.sequence;
    assert_int_equal(step(f, &e), ERR_NONE);
}

static bool over_stream(struct fixture *f)
{
    struct member_view view;

    assert_int_equal(membership_find(f->m, (node_id){PEER}, &view), ERR_NONE);
    assert_true(view.addr.family == 4); /* of TCP it learns no address */
    return view.stream;
}

/* Its datagrams do not come: it answers over TCP before anybody is told of a doubt. */
static void who_answers_over_tcp_is_not_suspected(void **state)
{
    struct fixture *f = *state;
    uint32_t rtt;
    struct member_view view;

    admit(f, PEER);
    ping(f, PEER);
    warm_up(f, PEER, 20);
    assert_int_equal(membership_find(f->m, (node_id){PEER}, &view), ERR_NONE);
    rtt = view.rtt_ms;
    assert_false(over_stream(f));
    for (int i = 0; i < 3000; i++) {
        count_reset(f);
        pass(f, 20);
        assert_int_equal(f->state, MEMBER_ALIVE);
        assert_int_equal(f->sent[MSG_GOSSIP], 0);
        if (f->streamed > 0) {
            assert_int_equal(f->stream.msg.type, MSG_PING);
            assert_int_equal(f->stream.to.v, PEER);
            pass(f, 5);
            receive_stream(f, PEER, MSG_ACK);
        }
    }
    assert_true(over_stream(f));
    assert_int_equal(membership_find(f->m, (node_id){PEER}, &view), ERR_NONE);
    assert_int_equal(view.rtt_ms, rtt);
    ping(f, PEER);
    assert_false(over_stream(f));
}

/* A question over TCP is answered there, and is life. */
static void what_came_over_tcp_is_answered_there(void **state)
{
    struct fixture *f = *state;

    admit(f, PEER);
    pass(f, 10);
    count_reset(f);
    receive_stream(f, PEER, MSG_PING);
    assert_true(f->out.send_count > 0 && f->out.sends[0].stream);
    assert_int_equal(f->out.sends[0].msg.type, MSG_ACK);
    assert_int_equal(f->sent[MSG_ACK], 0);
    assert_int_equal(f->state, MEMBER_ALIVE);
}

static void who_is_silent_on_both_ways_is_dead(void **state)
{
    struct fixture *f = *state;
    mono_t silent;

    admit(f, PEER);
    ping(f, PEER);
    warm_up(f, PEER, 20);
    silent = f->now;
    while (f->state != MEMBER_DEAD && mono_diff(f->now, silent) < 10000)
        pass(f, 10);
    assert_true(f->streamed > 0);
    assert_true(mono_diff(f->now, silent) < 4000);
    count_reset(f);
    pass(f, 10000); /* and is looked for on both */
    assert_true(f->sent[MSG_PING] > 0 && f->streamed > 0);
    receive_stream(f, PEER, MSG_ACK);
    assert_int_equal(f->state, MEMBER_ALIVE);
}

/* How long PEER is silent until it is dead. */
static int64_t silence_to_death(struct fixture *f)
{
    mono_t silent = f->now;

    while (f->state != MEMBER_DEAD) {
        pass(f, 10);
        assert_true(mono_diff(f->now, silent) < 15000);
    }
    return mono_diff(f->now, silent);
}

/* A link that never fell silent is judged in three seconds, one that did is given more. */
static void a_silence_that_ended_well_is_remembered(void **state)
{
    struct fixture *f = *state;
    int64_t before;

    admit(f, PEER);
    ping(f, PEER);
    warm_up(f, PEER, 120);
    before = silence_to_death(f);
    assert_true(before <= 3000);
    ping(f, PEER);
    warm_up(f, PEER, 120);
    while (f->sent[MSG_PING] < 6) /* its radio falls silent, and comes back */
        pass(f, 10);
    assert_int_not_equal(f->state, MEMBER_DEAD);
    ping(f, PEER);
    warm_up(f, PEER, 60);
    assert_in_range(silence_to_death(f), before + 1000, 12000);
    ping(f, PEER);
    for (int hour = 0; hour < 2; hour++)
        warm_up(f, PEER, 3600);
    assert_true(silence_to_death(f) <= 3000); /* and forgotten */
}

/* It did not know us yet, or was starting: that tells nothing of the path. */
static void a_late_first_answer_is_no_silence(void **state)
{
    struct fixture *f = *state;
    struct member_view view;

    admit(f, PEER);
    count_reset(f);
    while (f->sent[MSG_PING] < 8)
        pass(f, 10);
    assert_int_not_equal(f->state, MEMBER_DEAD);
    ping(f, PEER);
    assert_int_equal(membership_find(f->m, (node_id){PEER}, &view), ERR_NONE);
    assert_int_equal(view.loss_pct, 0);
    warm_up(f, PEER, 30);
    assert_true(silence_to_death(f) <= 3000);
}

/* It has just started again, and is busy with that. */
static void a_silence_after_a_return_is_forgotten(void **state)
{
    struct fixture *f = *state;

    admit(f, PEER);
    ping(f, PEER);
    warm_up(f, PEER, 60);
    silence_to_death(f);
    ping(f, PEER);
    warm_up(f, PEER, 5);
    while (f->sent[MSG_PING] < 5)
        pass(f, 10);
    assert_int_not_equal(f->state, MEMBER_DEAD);
    ping(f, PEER);
    warm_up(f, PEER, 60);
    assert_true(silence_to_death(f) <= 3000);
}

/* It says how far the peer is at most. Taken for a round trip it would slow down the verdict. */
static void an_answer_that_waited_for_its_session_is_no_measure(void **state)
{
    struct fixture *f = *state;
    struct msg ack = {.type = MSG_ACK};
    struct member_view view;

    admit(f, PEER);
    ack.probe.sequence = f->last[MSG_PING].msg.probe.sequence;
    ack.probe.target = (node_id){PEER};
    pass(f, 700);
    receive(f, PEER, &ack);
    membership_find(f->m, (node_id){PEER}, &view);
    assert_int_equal(view.rtt_ms, 700);
    warm_up(f, PEER, 5);
    membership_find(f->m, (node_id){PEER}, &view);
    assert_true(view.rtt_ms <= 50);
    assert_true(silence_to_death(f) <= 3000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define STREAMS(name) cmocka_unit_test_setup_teardown(name, setup_streams, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_relay_probes_and_reports),
        TEST(the_word_of_a_relay_is_life),
        TEST(a_cut_path_is_told_from_a_death),
        STREAMS(who_answers_over_tcp_is_not_suspected),
        STREAMS(what_came_over_tcp_is_answered_there),
        STREAMS(who_is_silent_on_both_ways_is_dead),
        TEST(a_silence_that_ended_well_is_remembered),
        TEST(a_late_first_answer_is_no_silence),
        TEST(a_silence_after_a_return_is_forgotten),
        TEST(an_answer_that_waited_for_its_session_is_no_measure),
    };
#undef STREAMS
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
