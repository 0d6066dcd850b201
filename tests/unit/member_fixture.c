#include "tests/unit/member_fixture.h"

struct addr addr_of(uint64_t id)
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

void count_reset(struct fixture *f)
{
    memset(f->sent, 0, sizeof f->sent);
    f->streamed = 0;
    f->changes = 0;
}

int step(struct fixture *f, const struct membership_event *event)
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

void pass(struct fixture *f, int64_t ms)
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

int admit(struct fixture *f, uint64_t id)
{
    struct membership_event e = {.type = MEMBERSHIP_ADMIT, .from = {id}, .addr = addr_of(id)};

    return step(f, &e);
}

int receive(struct fixture *f, uint64_t from, const struct msg *msg)
{
    struct membership_event e = {
        .type = MEMBERSHIP_MESSAGE, .from = {from}, .addr = addr_of(from), .msg = msg};

    return step(f, &e);
}

struct msg_update update(uint8_t kind, uint64_t subject, uint64_t author, uint64_t incarnation)
{
    struct msg_update u = {
        .kind = kind, .subject = {subject}, .author = {author}, .incarnation = incarnation};

    if (kind == MSG_ALIVE)
        u.addr = addr_of(subject);
    return u;
}

int tell(struct fixture *f, uint64_t from, struct msg_update u)
{
    struct msg msg = {.type = MSG_GOSSIP};

    msg.probe.update_count = 1;
    msg.probe.updates[0] = u;
    return receive(f, from, &msg);
}

void answer(struct fixture *f, uint64_t from)
{
    struct msg ack = {.type = MSG_ACK};

    ack.probe.sequence = f->last[MSG_PING].msg.probe.sequence;
    ack.probe.target = (node_id){from};
    assert_int_equal(f->last[MSG_PING].to.v, from);
    assert_int_equal(receive(f, from, &ack), ERR_NONE);
}

void ping(struct fixture *f, uint64_t from)
{
    struct msg msg = {.type = MSG_PING};

    msg.probe.sequence = 4711;
    assert_int_equal(receive(f, from, &msg), ERR_NONE);
}

bool carries(const struct membership_send *s, uint8_t kind, uint64_t subject)
{
    for (size_t i = 0; i < s->msg.probe.update_count; i++)
        if (s->msg.probe.updates[i].kind == kind && s->msg.probe.updates[i].subject.v == subject)
            return true;
    return false;
}

void warm_up(struct fixture *f, uint64_t peer, int seconds)
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

int setup(void **state)
{
    return setup_with(state, false);
}

int setup_streams(void **state)
{
    return setup_with(state, true);
}

int teardown(void **state)
{
    struct fixture *f = *state;

    membership_destroy(f->m);
    free(f);
    return 0;
}
