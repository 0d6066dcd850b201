/* The membership machine, message by message on a virtual clock. What flocks of it do together is
 * tested by tests/sim. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/member/member.h"

#define SELF 100u
#define PEER 200u
#define THIRD 300u
#define BOOT (7ull << 32)

struct fixture {
    struct membership *m;
    mono_t now;
    struct membership_out out;   /* of the last step */
    size_t sent[MSG_GOSSIP + 1]; /* by type, since the last count_reset */
    struct membership_send last[MSG_GOSSIP + 1];
    uint8_t state; /* of PEER, by the changes reported */
    size_t changes;
    size_t signatures;
    struct membership_send stream; /* the last over TCP */
    size_t streamed;               /* how many, since the last count_reset */
};

static struct addr addr_of(uint64_t id)
{
    return (struct addr){.family = 4, .ip = {10, 0, 0, (uint8_t)(id / 100)}, .port = 8801};
}

static void sign(void *ctx, struct msg_update *u)
{
    struct fixture *f = ctx;

    assert_int_equal(u->author.v, SELF);
    f->signatures++;
    memset(u->signature, 0x55, sizeof u->signature);
}

static void count_reset(struct fixture *f)
{
    memset(f->sent, 0, sizeof f->sent);
    f->streamed = 0;
    f->changes = 0;
}

static int step(struct fixture *f, const struct membership_event *event)
{
    int rc = membership_step(f->m, f->now, event, &f->out);

    for (size_t i = 0; i < f->out.send_count; i++) {
        const struct membership_send *s = &f->out.sends[i];
        assert_in_range(s->msg.type, MSG_PING, MSG_GOSSIP);
        assert_true(s->msg.probe.update_count <= MSG_UPDATES_MAX);
        if (s->stream) {
            f->stream = *s;
            f->streamed++;
            continue;
        }
        f->sent[s->msg.type]++;
        f->last[s->msg.type] = *s;
    }
    for (size_t i = 0; i < f->out.change_count; i++) {
        if (f->out.changes[i].id.v == PEER)
            f->state = f->out.changes[i].new_state;
        f->changes++;
    }
    return rc;
}

/* Lets time pass, keeping every deadline. */
static void pass(struct fixture *f, int64_t ms)
{
    struct membership_event timer = {.type = MEMBERSHIP_TIMER};
    mono_t end = mono_add(f->now, ms);

    for (int guard = 0; mono_reached(end, membership_deadline(f->m)); guard++) {
        assert_true(guard < 1000000);
        f->now = mono_max(f->now, membership_deadline(f->m));
        step(f, &timer);
    }
    f->now = end;
}

static int admit(struct fixture *f, uint64_t id)
{
    struct membership_event e = {.type = MEMBERSHIP_ADMIT, .from = {id}, .addr = addr_of(id)};

    return step(f, &e);
}

static int receive(struct fixture *f, uint64_t from, const struct msg *msg)
{
    struct membership_event e = {
        .type = MEMBERSHIP_MESSAGE, .from = {from}, .addr = addr_of(from), .msg = msg};

    return step(f, &e);
}

static struct msg_update update(uint8_t kind, uint64_t subject, uint64_t author,
                                uint64_t incarnation)
{
    struct msg_update u = {
        .kind = kind, .subject = {subject}, .author = {author}, .incarnation = incarnation};

    if (kind == MSG_ALIVE)
        u.addr = addr_of(subject);
    return u;
}

static int tell(struct fixture *f, uint64_t from, struct msg_update u)
{
    struct msg msg = {.type = MSG_GOSSIP};

    msg.probe.update_count = 1;
    msg.probe.updates[0] = u;
    return receive(f, from, &msg);
}

/* Answers the last ping, if there was one to @from since the count was reset. */
static void answer(struct fixture *f, uint64_t from)
{
    struct msg ack = {.type = MSG_ACK};

    ack.probe.sequence = f->last[MSG_PING].msg.probe.sequence;
    ack.probe.target = (node_id){from};
    assert_int_equal(f->last[MSG_PING].to.v, from);
    assert_int_equal(receive(f, from, &ack), ERR_NONE);
}

/* @from pings us: it lives. */
static void ping(struct fixture *f, uint64_t from)
{
    struct msg msg = {.type = MSG_PING};

    msg.probe.sequence = 4711;
    assert_int_equal(receive(f, from, &msg), ERR_NONE);
}

static bool carries(const struct membership_send *s, uint8_t kind, uint64_t subject)
{
    for (size_t i = 0; i < s->msg.probe.update_count; i++)
        if (s->msg.probe.updates[i].kind == kind && s->msg.probe.updates[i].subject.v == subject)
            return true;
    return false;
}

/* Lets both sides talk for a while, so that the path is known. */
static void warm_up(struct fixture *f, uint64_t peer, int seconds)
{
    for (int i = 0; i < seconds * 20; i++) {
        count_reset(f);
        pass(f, 50);
        if (f->sent[MSG_PING] > 0 && f->last[MSG_PING].to.v == peer)
            answer(f, peer);
    }
    count_reset(f);
}

static int setup_with(void **state, bool streams)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct membership_config c = {.self = {SELF},
                                  .addr = addr_of(SELF),
                                  .incarnation = BOOT,
                                  .seed = 42,
                                  .member_max = 4,
                                  .streams = streams,
                                  .sign = sign,
                                  .sign_ctx = f};

    assert_non_null(f);
    f->now = (mono_t){5000};
    assert_int_equal(membership_create(&c, f->now, &f->m), ERR_NONE);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, false);
}

static int setup_streams(void **state)
{
    return setup_with(state, true);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    membership_destroy(f->m);
    free(f);
    return 0;
}

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
#define STREAMS(name) cmocka_unit_test_setup_teardown(name, setup_streams, teardown)
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
        TEST(a_relay_probes_and_reports),
        TEST(the_word_of_a_relay_is_life),
        TEST(a_cut_path_is_told_from_a_death),
        STREAMS(who_answers_over_tcp_is_not_suspected),
        STREAMS(what_came_over_tcp_is_answered_there),
        STREAMS(who_is_silent_on_both_ways_is_dead),
        TEST(a_silence_that_ended_well_is_remembered),
        TEST(a_late_first_answer_is_no_silence),
        TEST(a_silence_after_a_return_is_forgotten),
        TEST(who_left_returns_by_a_higher_incarnation_only),
        TEST(a_good_bye_is_repeated_then_silence),
        TEST(the_dead_are_probed_for_ever),
        TEST(an_address_follows_the_packets_and_the_word_of_its_owner),
        TEST(own_new_address_is_announced),
        TEST(a_quiet_pair_shares_one_probe_per_second),
    };
#undef STREAMS
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
