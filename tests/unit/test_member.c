/* The membership machine, message by message on a virtual clock. What flocks of it do together is
 * tested by tests/sim. */
#include "tests/unit/member_fixture.h"

static void a_wrong_configuration_is_refused(void **state)
{
    struct membership_config c = {.self = {SELF}, .incarnation = BOOT};
    struct membership *m = NULL;
    (void)state;

    c.period_ms = 50;
    assert_int_equal(membership_create(&c, MONO_ZERO, &m), ERR_INVALID);
    c.period_ms = 0;
    c.incarnation = 0;
    assert_int_equal(membership_create(&c, MONO_ZERO, &m), ERR_INVALID);
    c.incarnation = BOOT;
    c.self = NODE_NONE;
    assert_int_equal(membership_create(&c, MONO_ZERO, &m), ERR_INVALID);
    assert_null(m);
    membership_destroy(NULL);
}

static void strangers_are_ignored_and_a_full_table_says_so(void **state)
{
    struct fixture *f = *state;
    struct msg msg = {.type = MSG_PING};
    struct membership_event revoke = {.type = MEMBERSHIP_REVOKE, .from = {PEER}};
    struct member_view view;

    assert_int_equal(receive(f, PEER, &msg), ERR_NOTFOUND);
    assert_int_equal(f->out.send_count, 0);
    assert_int_equal(admit(f, SELF), ERR_INVALID);
    for (uint64_t id = PEER; id < PEER + 400; id += 100)
        assert_int_equal(admit(f, id), ERR_NONE);
    assert_int_equal(admit(f, 900), ERR_FULL);
    assert_int_equal(membership_count(f->m), 4);
    ping(f, PEER);
    assert_int_equal(step(f, &revoke), ERR_NONE);
    assert_int_equal(f->state, 0);
    assert_int_equal(membership_find(f->m, (node_id){PEER}, &view), ERR_NOTFOUND);
    assert_int_equal(receive(f, PEER, &msg), ERR_NOTFOUND);
    assert_int_equal(step(f, &revoke), ERR_NOTFOUND);
    assert_int_equal(admit(f, 900), ERR_NONE);
    msg.type = MSG_DELTA;
    assert_int_equal(receive(f, THIRD, &msg), ERR_INVALID);
}

static void a_ping_is_answered_and_proves_life(void **state)
{
    struct fixture *f = *state;
    const struct membership_send *ack = &f->last[MSG_ACK];

    admit(f, PEER);
    assert_int_equal(f->state, MEMBER_UNKNOWN);
    assert_int_equal(membership_present(f->m), 1);
    ping(f, PEER);
    assert_int_equal(f->state, MEMBER_ALIVE);
    assert_int_equal(membership_present(f->m), 2);
    assert_int_equal(f->sent[MSG_ACK], 1);
    assert_int_equal(ack->msg.probe.sequence, 4711);
    assert_int_equal(ack->msg.probe.target.v, 0); /* its sender */
    assert_int_equal(ack->to.v, PEER);
    assert_true(carries(ack, MSG_ALIVE, SELF)); /* who we are, signed */
    assert_int_equal(ack->msg.probe.updates[0].incarnation, BOOT);
    assert_int_equal(ack->msg.probe.updates[0].signature[0], 0x55);
    assert_true(f->signatures > 0);
}

static void one_never_heard_of_is_dead_without_a_word_to_others(void **state)
{
    struct fixture *f = *state;

    admit(f, THIRD);
    ping(f, THIRD);
    admit(f, PEER);
    count_reset(f);
    for (int i = 0; i < 200; i++) {
        pass(f, 50);
        ping(f, THIRD);
    }
    assert_int_equal(f->state, MEMBER_DEAD);
    assert_int_equal(f->sent[MSG_GOSSIP], 0);
    assert_int_equal(f->changes, 1);
}

static void silence_leads_to_suspicion_then_death(void **state)
{
    struct fixture *f = *state;
    mono_t silent;
    mono_t suspected = MONO_ZERO;

    admit(f, PEER);
    ping(f, PEER);
    tell(f, PEER, update(MSG_ALIVE, PEER, PEER, BOOT));
    warm_up(f, PEER, 60);
    silent = f->now;
    while (f->state != MEMBER_DEAD) {
        pass(f, 10);
        if (f->state == MEMBER_SUSPECT && suspected.ms == 0) {
            suspected = f->now;
            count_reset(f);
        }
        assert_true(mono_diff(f->now, silent) < 4000);
    }
    assert_true(suspected.ms > 0);
    assert_true(mono_diff(f->now, suspected) >= 300); /* time to refute */
    assert_true(f->sent[MSG_PING] >= 3);
    assert_true(carries(&f->last[MSG_PING], MSG_SUSPECT, PEER)); /* Lifeguard's buddy */
    assert_true(mono_diff(f->now, silent) <= 3000);
}

static void a_late_answer_ends_a_suspicion_and_asks_for_refutation(void **state)
{
    struct fixture *f = *state;
    struct msg ack = {.type = MSG_ACK};

    admit(f, PEER);
    ping(f, PEER);
    tell(f, PEER, update(MSG_ALIVE, PEER, PEER, BOOT));
    warm_up(f, PEER, 30);
    pass(f, 1200);
    ack.probe.sequence = f->last[MSG_PING].msg.probe.sequence; /* the first, answered late */
    ack.probe.target = (node_id){PEER};
    while (f->state != MEMBER_SUSPECT)
        pass(f, 10);
    receive(f, PEER, &ack);
    assert_int_equal(f->state, MEMBER_ALIVE);
    count_reset(f);
    pass(f, 1500);
    assert_true(f->sent[MSG_PING] > 0);
    assert_true(carries(&f->last[MSG_PING], MSG_SUSPECT, PEER)); /* others may have heard us */
    tell(f, PEER, update(MSG_ALIVE, PEER, PEER, BOOT + 1));
    answer(f, PEER);
    count_reset(f);
    pass(f, 1500);
    assert_true(f->sent[MSG_PING] > 0);
    assert_false(carries(&f->last[MSG_PING], MSG_SUSPECT, PEER)); /* refuted */
}

static void a_packet_of_any_kind_is_life(void **state)
{
    struct fixture *f = *state;
    struct membership_event heard = {
        .type = MEMBERSHIP_HEARD, .from = {PEER}, .addr = addr_of(PEER)};

    admit(f, PEER);
    ping(f, PEER);
    for (int i = 0; i < 300; i++) {
        pass(f, 200);
        assert_int_equal(step(f, &heard), ERR_NONE);
    }
    assert_int_equal(f->state, MEMBER_ALIVE);
}

static void own_suspicion_is_refuted_for_three_seconds(void **state)
{
    struct fixture *f = *state;
    mono_t start;
    mono_t last = MONO_ZERO;
    size_t copies = 0;

    admit(f, PEER);
    ping(f, PEER);
    admit(f, THIRD);
    ping(f, THIRD);
    warm_up(f, PEER, 1);
    start = f->now;
    tell(f, PEER, update(MSG_SUSPECT, SELF, PEER, BOOT));
    assert_int_equal(membership_incarnation(f->m), BOOT + 1);
    assert_int_equal(membership_health(f->m), 1);
    for (int i = 0; i < 500; i++) {
        count_reset(f);
        pass(f, 10);
        if (f->sent[MSG_GOSSIP] > 0 && carries(&f->last[MSG_GOSSIP], MSG_ALIVE, SELF)) {
            copies++;
            last = f->now;
        }
        if (i % 50 == 0) {
            ping(f, PEER);
            ping(f, THIRD);
        }
    }
    assert_true(copies >= 4);
    assert_true(mono_diff(last, start) >= 3000);
    /* An accusation of the old incarnation raises nothing, but is answered. */
    count_reset(f);
    tell(f, PEER, update(MSG_DEAD, SELF, THIRD, BOOT));
    assert_int_equal(membership_incarnation(f->m), BOOT + 1);
    assert_int_equal(f->sent[MSG_GOSSIP], 1);
    assert_true(carries(&f->last[MSG_GOSSIP], MSG_ALIVE, SELF));
}

static void an_earlier_life_of_our_own_is_reported(void **state)
{
    struct fixture *f = *state;

    admit(f, PEER);
    ping(f, PEER);
    tell(f, PEER, update(MSG_SUSPECT, SELF, PEER, (9ull << 32) + 5));
    assert_true(f->out.conflict == (9ull << 32) + 5);
    assert_true(membership_incarnation(f->m) == (9ull << 32) + 6);
    /* A lie cannot drive the number to its end. */
    tell(f, PEER, update(MSG_SUSPECT, SELF, PEER, UINT64_MAX));
    assert_true(f->out.conflict == 0);
    assert_true(membership_incarnation(f->m) == (9ull << 32) + 6);
}

static void a_pause_of_this_process_accuses_nobody(void **state)
{
    struct fixture *f = *state;
    struct membership_event timer = {.type = MEMBERSHIP_TIMER};

    admit(f, PEER);
    ping(f, PEER);
    warm_up(f, PEER, 30);
    f->now = mono_add(f->now, 600000);
    count_reset(f);
    step(f, &timer);
    assert_int_equal(f->state, MEMBER_ALIVE);
    assert_true(membership_health(f->m) > 0);
    pass(f, 300);
    assert_int_equal(f->state, MEMBER_ALIVE);
    assert_true(f->sent[MSG_PING] > 0); /* it asks first */
    answer(f, PEER);
    pass(f, 500);
    assert_int_equal(f->state, MEMBER_ALIVE);

    /* Also in the midst of a suspicion: the answers may lie unread in the socket. */
    while (f->state != MEMBER_SUSPECT)
        pass(f, 10);
    pass(f, 300);
    f->now = mono_add(f->now, 10000);
    step(f, &timer);
    pass(f, 600);
    assert_int_equal(f->state, MEMBER_SUSPECT);
    pass(f, 10000);
    assert_int_equal(f->state, MEMBER_DEAD);
}

static void who_left_returns_by_a_higher_incarnation_only(void **state)
{
    struct fixture *f = *state;
    struct membership_event heard = {
        .type = MEMBERSHIP_HEARD, .from = {PEER}, .addr = addr_of(PEER)};

    admit(f, PEER);
    ping(f, PEER);
    tell(f, PEER, update(MSG_ALIVE, PEER, PEER, BOOT));
    tell(f, PEER, update(MSG_LEFT, PEER, PEER, BOOT));
    assert_int_equal(f->state, MEMBER_LEFT);
    step(f, &heard); /* overtaken by its good-bye */
    assert_int_equal(f->state, MEMBER_LEFT);
    tell(f, PEER, update(MSG_ALIVE, PEER, PEER, BOOT));
    assert_int_equal(f->state, MEMBER_LEFT);
    tell(f, PEER, update(MSG_ALIVE, PEER, PEER, BOOT + (1ull << 32)));
    assert_int_equal(f->state, MEMBER_ALIVE);
    tell(f, PEER, update(MSG_LEFT, PEER, PEER, BOOT)); /* an old good-bye */
    assert_int_equal(f->state, MEMBER_ALIVE);
    tell(f, PEER, update(MSG_LEFT, PEER, THIRD, UINT64_MAX)); /* only the subject may say so */
    assert_int_equal(f->state, MEMBER_ALIVE);
}

static void a_good_bye_is_repeated_then_silence(void **state)
{
    struct fixture *f = *state;
    struct membership_event leave = {.type = MEMBERSHIP_LEAVE};

    admit(f, PEER);
    ping(f, PEER);
    count_reset(f);
    step(f, &leave);
    pass(f, 300);
    assert_int_equal(f->sent[MSG_GOSSIP], 3);
    assert_true(carries(&f->last[MSG_GOSSIP], MSG_LEFT, SELF));
    count_reset(f);
    pass(f, 60000);
    assert_int_equal(f->sent[MSG_GOSSIP] + f->sent[MSG_PING], 0);
    assert_true(mono_is_never(membership_deadline(f->m)));
    ping(f, PEER);
    assert_int_equal(f->sent[MSG_ACK], 1);
}

static void the_dead_are_probed_for_ever(void **state)
{
    struct fixture *f = *state;

    admit(f, PEER);
    pass(f, 20000);
    assert_int_equal(f->state, MEMBER_DEAD);
    for (int hour = 0; hour < 48; hour++) {
        count_reset(f);
        pass(f, 3600000);
        assert_in_range(f->sent[MSG_PING], 200, 1300);
    }
    count_reset(f);
    pass(f, 15000);
    assert_int_equal(f->sent[MSG_PING], 1);
    assert_true(carries(&f->last[MSG_PING], MSG_DEAD, PEER)); /* so that it refutes */
    answer(f, PEER);
    assert_int_equal(f->state, MEMBER_ALIVE);
}

static void an_address_follows_the_packets_and_the_word_of_its_owner(void **state)
{
    struct fixture *f = *state;
    struct msg msg = {.type = MSG_PING};
    struct membership_event e = {.type = MEMBERSHIP_MESSAGE,
                                 .from = {PEER},
                                 .addr = {.family = 4, .ip = {10, 9, 9, 9}, .port = 1},
                                 .msg = &msg};
    struct membership_event admitted = {
        .type = MEMBERSHIP_ADMIT, .from = {PEER}, .addr = addr_of(700)};
    struct member_view view;

    admit(f, PEER);
    ping(f, PEER);
    step(f, &e);
    assert_int_equal(f->out.change_count, 1);
    assert_true(f->out.changes[0].moved);
    assert_int_equal(f->out.changes[0].old_state, MEMBER_ALIVE);
    assert_int_equal(f->out.changes[0].new_state, MEMBER_ALIVE);
    membership_find(f->m, (node_id){PEER}, &view);
    assert_true(addr_equal(&view.addr, &e.addr));
    assert_true(addr_equal(&f->last[MSG_ACK].addr, &e.addr));
    step(f, &admitted); /* heard just now: the hint is older */
    membership_find(f->m, (node_id){PEER}, &view);
    assert_true(addr_equal(&view.addr, &e.addr));
    pass(f, 20000);
    step(f, &admitted);
    membership_find(f->m, (node_id){PEER}, &view);
    assert_true(addr_equal(&view.addr, &admitted.addr));
    tell(f, PEER, update(MSG_ALIVE, PEER, PEER, BOOT + 5));
    membership_find(f->m, (node_id){PEER}, &view);
    assert_int_equal(view.addr.ip[3], PEER / 100);
    assert_true(view.incarnation == BOOT + 5);
}

static void own_new_address_is_announced(void **state)
{
    struct fixture *f = *state;
    struct membership_event moved = {.type = MEMBERSHIP_ADDRESS, .addr = addr_of(800)};

    admit(f, PEER);
    ping(f, PEER);
    count_reset(f);
    step(f, &moved);
    assert_int_equal(f->sent[MSG_GOSSIP], 1);
    assert_true(carries(&f->last[MSG_GOSSIP], MSG_ALIVE, SELF));
    assert_true(addr_equal(&f->last[MSG_GOSSIP].msg.probe.updates[0].addr, &moved.addr));
    assert_true(f->last[MSG_GOSSIP].msg.probe.updates[0].incarnation == BOOT + 1);
}

/* Two machines on a perfect line of 2 ms. */
static void a_quiet_pair_shares_one_probe_per_second(void **state)
{
    struct fixture *f[2] = {*state, NULL};
    struct fixture *other = calloc(1, sizeof *other);
    struct membership_config c = {
        .self = {PEER}, .addr = addr_of(PEER), .incarnation = BOOT, .seed = 7};
    size_t total[MSG_GOSSIP + 1] = {0};

    assert_non_null(other);
    f[1] = other;
    other->now = f[0]->now;
    assert_int_equal(membership_create(&c, other->now, &other->m), ERR_NONE);
    admit(f[0], PEER);
    admit(f[1], SELF);
    for (int ms = 0; ms < 70000; ms++) {
        for (int side = 0; side < 2; side++) {
            static struct membership_out in_flight;
            count_reset(f[side]);
            pass(f[side], 1);
            in_flight = f[side]->out;
            if (f[side]->sent[MSG_PING] + f[side]->sent[MSG_ACK] + f[side]->sent[MSG_GOSSIP] == 0)
                continue;
            for (size_t i = 0; i < in_flight.send_count; i++) {
                struct fixture *to = f[1 - side];
                if (ms >= 10000)
                    total[in_flight.sends[i].msg.type]++;
                count_reset(to);
                receive(to, side == 0 ? SELF : PEER, &in_flight.sends[i].msg);
                if (to->sent[MSG_ACK] > 0) {
                    if (ms >= 10000)
                        total[MSG_ACK]++;
                    receive(f[side], side == 0 ? PEER : SELF, &to->last[MSG_ACK].msg);
                }
            }
        }
    }
    assert_in_range(total[MSG_PING], 55, 62); /* in a minute, of both together */
    assert_int_equal(total[MSG_ACK], total[MSG_PING]);
    assert_int_equal(total[MSG_GOSSIP], 0);
    membership_destroy(other->m);
    free(other);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_configuration_is_refused),
        TEST(strangers_are_ignored_and_a_full_table_says_so),
        TEST(a_ping_is_answered_and_proves_life),
        TEST(one_never_heard_of_is_dead_without_a_word_to_others),
        TEST(silence_leads_to_suspicion_then_death),
        TEST(a_late_answer_ends_a_suspicion_and_asks_for_refutation),
        TEST(a_packet_of_any_kind_is_life),
        TEST(own_suspicion_is_refuted_for_three_seconds),
        TEST(an_earlier_life_of_our_own_is_reported),
        TEST(a_pause_of_this_process_accuses_nobody),
        TEST(who_left_returns_by_a_higher_incarnation_only),
        TEST(a_good_bye_is_repeated_then_silence),
        TEST(the_dead_are_probed_for_ever),
        TEST(an_address_follows_the_packets_and_the_word_of_its_owner),
        TEST(own_new_address_is_announced),
        TEST(a_quiet_pair_shares_one_probe_per_second),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
