/* One membership machine among four others, which answer or do not: whom it probes how often, how
 * long it doubts, what it believes of whom. */
#include "tests/unit/member_fixture.h"

#define FOURTH 400u
#define FIFTH 500u
#define OTHERS 4

static const uint64_t others[OTHERS] = {PEER, THIRD, FOURTH, FIFTH};

struct flock {
    struct fixture *f;
    unsigned pings[OTHERS]; /* to each, since the last reset */
    int64_t longest[OTHERS];
    mono_t pinged[OTHERS];
    bool silent[OTHERS];
    unsigned answer_every; /* one ping of so many; 1: all */
    uint64_t reminded_of;  /* whose death the last ping to another carried */
};

static size_t index_of(node_id id)
{
    size_t i = 0;

    while (others[i] != id.v)
        assert_true(++i < OTHERS);
    return i;
}

static struct flock gather(struct fixture *f, size_t count)
{
    struct flock flock = {.f = f, .answer_every = 1};

    for (size_t i = 0; i < count; i++) {
        admit(f, others[i]);
        ping(f, others[i]);
        tell(f, others[i], update(MSG_ALIVE, others[i], others[i], BOOT));
        flock.pinged[i] = f->now;
    }
    return flock;
}

static void count_from_now(struct flock *flock)
{
    memset(flock->pings, 0, sizeof flock->pings);
    memset(flock->longest, 0, sizeof flock->longest);
    for (size_t i = 0; i < OTHERS; i++)
        flock->pinged[i] = flock->f->now;
}

static void take_ping(struct flock *flock, const struct membership_send *s)
{
    struct msg ack = {.type = MSG_ACK};
    size_t i = index_of(s->to);
    int64_t since = mono_diff(flock->f->now, flock->pinged[i]);

    flock->pinged[i] = flock->f->now;
    flock->longest[i] = since > flock->longest[i] ? since : flock->longest[i];
    for (size_t k = 0; k < OTHERS; k++)
        if (k != i && carries(s, MSG_DEAD, others[k]))
            flock->reminded_of = others[k];
    if (flock->silent[i] || ++flock->pings[i] % flock->answer_every != 0)
        return;
    ack.probe.sequence = s->msg.probe.sequence;
    ack.probe.target = s->to;
    assert_int_equal(receive(flock->f, s->to.v, &ack), ERR_NONE);
}

/* A relay has no answer either. */
static void refuse(struct flock *flock, const struct membership_send *s)
{
    struct msg nack = {.type = MSG_NACK};

    nack.probe.sequence = s->msg.probe.sequence;
    nack.probe.target = s->msg.probe.target;
    assert_int_equal(receive(flock->f, s->to.v, &nack), ERR_NONE);
}

/* Lets time pass; who is not silent answers at once. */
static void live(struct flock *flock, int64_t ms)
{
    static struct membership_out sent;
    struct membership_event timer = {.type = MEMBERSHIP_TIMER};
    struct fixture *f = flock->f;
    mono_t end = mono_add(f->now, ms);

    while (mono_reached(end, membership_deadline(f->m))) {
        f->now = mono_max(f->now, membership_deadline(f->m));
        step(f, &timer);
        sent = f->out;
        for (size_t i = 0; i < sent.send_count; i++) {
            if (sent.sends[i].msg.type == MSG_PING)
                take_ping(flock, &sent.sends[i]);
            else if (sent.sends[i].msg.type == MSG_PING_REQ)
                refuse(flock, &sent.sends[i]);
        }
    }
    f->now = end;
}

static struct member_view view_of(struct fixture *f, uint64_t id)
{
    struct member_view view;

    assert_int_equal(membership_find(f->m, (node_id){id}, &view), ERR_NONE);
    return view;
}

static void neighbours_are_probed_in_every_period_others_now_and_then(void **state)
{
    struct flock flock = gather(*state, OTHERS);

    live(&flock, 10000);
    count_from_now(&flock);
    live(&flock, 100000);
    assert_true(flock.longest[index_of((node_id){PEER})] <= 1200);
    assert_true(flock.longest[index_of((node_id){FIFTH})] <= 1200);
    assert_in_range(flock.pings[index_of((node_id){THIRD})], 1, 4);
    assert_in_range(flock.pings[index_of((node_id){FOURTH})], 1, 4);
}

static void beyond_the_ring_everybody_is_probed_in_rounds(void **state)
{
    struct fixture *f = *state;
    struct membership_config c = {.self = {SELF},
                                  .addr = addr_of(SELF),
                                  .incarnation = BOOT,
                                  .member_max = OTHERS,
                                  .ring_max = OTHERS};
    struct flock flock;

    membership_destroy(f->m);
    assert_int_equal(membership_create(&c, f->now, &f->m), ERR_NONE);
    flock = gather(f, OTHERS);
    live(&flock, 10000);
    count_from_now(&flock);
    live(&flock, 100000);
    for (size_t i = 0; i < OTHERS; i++) {
        assert_in_range(flock.pings[i], 24, 26);
        assert_true(flock.longest[i] <= 2 * OTHERS * 1000);
    }
}

/* How long PEER is silent until it is called dead; others say that they miss it too, or do not. */
static int64_t time_to_death(struct flock *flock, bool confirmed)
{
    struct fixture *f = flock->f;
    mono_t silent = f->now;
    bool told = false;

    flock->silent[index_of((node_id){PEER})] = true;
    while (view_of(f, PEER).state != MEMBER_DEAD) {
        live(flock, 10);
        if (view_of(f, PEER).state == MEMBER_SUSPECT && confirmed && !told) {
            for (size_t i = 1; i < OTHERS; i++)
                tell(f, others[i],
                     update(MSG_SUSPECT, PEER, others[i], view_of(f, PEER).incarnation));
            told = true;
        }
        assert_true(mono_diff(f->now, silent) < 20000);
    }
    flock->silent[index_of((node_id){PEER})] = false;
    return mono_diff(f->now, silent);
}

/* Lifeguard: the more of those who could miss a member do, the sooner it is dead. */
static void a_suspicion_that_others_confirm_is_shorter(void **state)
{
    struct flock flock = gather(*state, OTHERS);
    int64_t alone, together;

    live(&flock, 60000);
    alone = time_to_death(&flock, false);
    ping(flock.f, PEER);
    tell(flock.f, PEER, update(MSG_ALIVE, PEER, PEER, BOOT + 1));
    live(&flock, 60000);
    together = time_to_death(&flock, true);
    assert_true(alone >= together + 1000);
    assert_true(together <= 3000);
}

static size_t probes_to_death(struct flock *flock)
{
    count_reset(flock->f);
    time_to_death(flock, false);
    return flock->f->sent[MSG_PING];
}

/* Where every second round trip is lost, ten in a row are lost once in a quarter of an hour. */
static void a_path_that_loses_much_needs_more_evidence(void **state)
{
    struct flock flock = gather(*state, 1);
    size_t clean, lossy;

    live(&flock, 300000);
    clean = probes_to_death(&flock);
    ping(flock.f, PEER);
    flock.answer_every = 2;
    live(&flock, 300000);
    assert_int_equal(view_of(flock.f, PEER).state, MEMBER_ALIVE);
    lossy = probes_to_death(&flock);
    assert_in_range(clean, 10, 12);
    assert_true(lossy >= 20);
}

/* Long after the news: views that differ meet again, and who is wrongly dead hears of it. */
static void the_living_are_reminded_of_the_dead(void **state)
{
    struct flock flock = gather(*state, OTHERS);

    live(&flock, 10000);
    time_to_death(&flock, true);
    flock.silent[index_of((node_id){PEER})] = true;
    live(&flock, 300000);
    flock.reminded_of = 0;
    live(&flock, 10000);
    assert_int_equal(flock.reminded_of, PEER);
}

/* Only itself says that a member lives, only others that it does not, and only members say so. */
static void nobody_speaks_in_the_name_of_another(void **state)
{
    struct flock flock = gather(*state, OTHERS);
    struct fixture *f = flock.f;
    struct msg_update lie = update(MSG_ALIVE, PEER, THIRD, BOOT + 9);
    struct member_view view;

    lie.addr = addr_of(900);
    tell(f, THIRD, lie);
    tell(f, THIRD, update(MSG_LEFT, PEER, THIRD, BOOT + 9));
    tell(f, PEER, update(MSG_SUSPECT, PEER, PEER, BOOT + 9));
    tell(f, PEER, update(MSG_DEAD, PEER, PEER, BOOT + 9));
    tell(f, THIRD, update(MSG_SUSPECT, PEER, 900, BOOT + 9));
    view = view_of(f, PEER);
    assert_int_equal(view.state, MEMBER_ALIVE);
    assert_true(view.incarnation == BOOT);
    assert_true(view.addr.ip[3] == addr_of(PEER).ip[3]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(neighbours_are_probed_in_every_period_others_now_and_then),
        TEST(beyond_the_ring_everybody_is_probed_in_rounds),
        TEST(a_suspicion_that_others_confirm_is_shorter),
        TEST(a_path_that_loses_much_needs_more_evidence),
        TEST(the_living_are_reminded_of_the_dead),
        TEST(nobody_speaks_in_the_name_of_another),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
