/* The channel: handshake, sessions, restarts, replays, clones, epochs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/rng.h"
#include "proto/wire/channel.h"

#define RECORDED_MAX 4096

static const struct keys_epoch epochs[] = {{.number = 1, .secret = {0xe1}},
                                           {.number = 2, .secret = {0xe2}},
                                           {.number = 3, .secret = {0xe3}},
                                           {.number = 4, .secret = {0xe4}},
                                           {.number = 5, .secret = {0xe5}}};

struct side {
    struct keys_identity identity;
    struct addr addr;
    struct channel *ch;
};

/* What one call gave. */
static struct channel_in in;
static struct channel_out out;

/* Everything that was ever on the air, for replays. */
static struct channel_datagram *recorded;
static size_t recorded_count;

static void record(const struct channel_datagram *d)
{
    if (recorded_count < RECORDED_MAX)
        recorded[recorded_count++] = *d;
}

static mono_t at(int64_t ms)
{
    return (mono_t){ms};
}

static void start_release(struct side *s, uint64_t boot, uint8_t version_min, uint8_t version_max)
{
    struct channel_config config = {.identity = &s->identity,
                                    .boot = boot,
                                    .version_min = version_min,
                                    .version_max = version_max};

    channel_destroy(s->ch);
    s->ch = NULL;
    assert_int_equal(channel_create(&config, &s->ch, NULL), ERR_NONE);
    assert_int_equal(channel_set_epochs(s->ch, epochs, 1), ERR_NONE);
}

static void start(struct side *s, uint64_t boot)
{
    start_release(s, boot, 0, 0);
}

static struct side make_side(uint8_t fill, uint64_t boot)
{
    struct side s = {.addr = {.family = 4, .ip = {10, 0, 0, fill}, .port = 8801}};
    uint8_t seed[KEYS_SEED];

    memset(seed, fill, sizeof seed);
    keys_from_seed(seed, &s.identity);
    start(&s, boot);
    return s;
}

static void meet(struct side *a, struct side *b)
{
    assert_int_equal(channel_add_peer(a->ch, b->identity.public_key, NULL), ERR_NONE);
    assert_int_equal(channel_add_peer(b->ch, a->identity.public_key, NULL), ERR_NONE);
}

static int seal(struct side *from, int64_t now, const struct side *to, const char *text)
{
    int rc = channel_seal(from->ch, at(now), to->identity.id, &to->addr, (const uint8_t *)text,
                          strlen(text), &out);

    for (size_t i = 0; i < out.count; i++)
        record(&out.datagrams[i]);
    return rc;
}

/* Takes @d, which comes from @from, at @to; results are in @in and @out. */
static enum wire_reason take(struct side *to, int64_t now, const struct side *from,
                             const struct channel_datagram *d)
{
    struct channel_datagram copy = *d;
    enum wire_reason reason =
        channel_open(to->ch, at(now), &from->addr, copy.bytes, copy.len, &in, &out);

    for (size_t i = 0; i < out.count; i++)
        record(&out.datagrams[i]);
    return reason;
}

static void check_body(const char *text)
{
    assert_non_null(in.body);
    assert_int_equal(in.len, strlen(text));
    assert_memory_equal(in.body, text, in.len);
}

/* Carries what is in @out to and fro until nobody answers any more. */
static void settle(struct side *a, struct side *b, int64_t now)
{
    struct side *from = a, *to = b;
    struct channel_out todo = out;

    for (int round = 0; round < 10 && todo.count > 0; round++) {
        struct channel_out next = {0};

        for (size_t i = 0; i < todo.count; i++) {
            take(to, now, from, &todo.datagrams[i]);
            for (size_t k = 0; k < out.count && next.count < CHANNEL_OUT_MAX; k++)
                next.datagrams[next.count++] = out.datagrams[k];
        }
        todo = next;
        from = from == a ? b : a;
        to = to == a ? b : a;
    }
    assert_int_equal(todo.count, 0);
}

/* A session that both use, by a body each way. */
static void converse(struct side *a, struct side *b, int64_t now)
{
    struct channel_datagram d;

    assert_int_equal(seal(a, now, b, "ping"), ERR_NONE);
    settle(a, b, now);
    assert_int_equal(seal(b, now, a, "pong"), ERR_NONE);
    assert_int_equal(out.count, 1);
    d = out.datagrams[0];
    assert_int_equal(take(a, now, b, &d), WIRE_OK);
    check_body("pong");
    assert_int_equal(seal(a, now, b, "ping"), ERR_NONE);
    assert_int_equal(out.count, 1);
    d = out.datagrams[0];
    assert_int_equal(take(b, now, a, &d), WIRE_OK);
    check_body("ping");
}

static void stop(struct side *a, struct side *b)
{
    channel_destroy(a->ch);
    channel_destroy(b->ch);
}

static uint8_t kind(const struct channel_datagram *d)
{
    return envelope_kind(d->bytes, d->len);
}

static void test_handshake(void **state)
{
    struct side a = make_side(1, 101), b = make_side(2, 202);
    struct channel_datagram hello, accept, first, data;
    struct channel_peer peer;

    (void)state;
    meet(&a, &b);
    assert_int_equal(seal(&a, 0, &b, "one"), ERR_NONE);
    assert_int_equal(out.count, 1);
    hello = out.datagrams[0];
    assert_int_equal(kind(&hello), ENVELOPE_HELLO);
    assert_true(addr_equal(&hello.to, &b.addr));
    assert_int_equal(seal(&a, 1, &b, "two"), ERR_NONE);
    assert_int_equal(out.count, 0); /* waits for the answer */

    assert_int_equal(take(&b, 2, &a, &hello), WIRE_OK);
    assert_true(node_id_none(in.from)); /* proves nothing yet */
    assert_null(in.body);
    assert_int_equal(out.count, 1);
    accept = out.datagrams[0];
    assert_int_equal(kind(&accept), ENVELOPE_ACCEPT);
    assert_true(accept.len <= hello.len); /* no amplification */

    assert_int_equal(take(&a, 3, &b, &accept), WIRE_OK);
    assert_true(node_id_equal(in.from, b.identity.id));
    assert_false(in.restarted);
    assert_int_equal(out.count, 2);
    first = out.datagrams[0];
    data = out.datagrams[1];
    assert_int_equal(kind(&first), ENVELOPE_FIRST);
    assert_int_equal(take(&b, 4, &a, &data), WIRE_OK); /* they overtake each other */
    check_body("two");
    assert_true(node_id_equal(in.from, a.identity.id));
    assert_int_equal(take(&b, 5, &a, &first), WIRE_OK);
    check_body("one");

    assert_int_equal(seal(&b, 6, &a, "three"), ERR_NONE);
    assert_int_equal(kind(&out.datagrams[0]), ENVELOPE_DATA);
    data = out.datagrams[0];
    assert_int_equal(take(&a, 7, &b, &data), WIRE_OK);
    check_body("three");
    assert_int_equal(seal(&a, 8, &b, "four"), ERR_NONE);
    assert_int_equal(kind(&out.datagrams[0]), ENVELOPE_DATA); /* answered: the short header */
    assert_int_equal(out.datagrams[0].len, ENVELOPE_SHORT + 4 + ENVELOPE_TAG);

    assert_int_equal(channel_find_peer(a.ch, b.identity.id, &peer), ERR_NONE);
    assert_true(peer.session);
    assert_int_equal(peer.heard.ms, 7);
    assert_int_equal(peer.epoch, 1);
    assert_int_equal(peer.restarts, 0);
    assert_true(addr_equal(&peer.addr, &b.addr));
    assert_int_equal(channel_counters(b.ch)->count[WIRE_OK], 3);
    stop(&a, &b);
}

/* The whole key schedule, computed by Python's cryptography and hashlib. */
static void test_golden(void **state)
{
    struct side a = make_side(1, 101), b = make_side(2, 202);
    struct channel_datagram d;
    char text[2 * 128 + 1];

    (void)state;
    meet(&a, &b);
    seal(&a, 0, &b, "one");
    d = out.datagrams[0];
    take(&b, 0, &a, &d);
    d = out.datagrams[0];
    take(&a, 0, &b, &d);
    d = out.datagrams[0];
    assert_int_equal(kind(&d), ENVELOPE_FIRST);
    for (size_t i = 0; i < d.len; i++)
        snprintf(text + 2 * i, 3, "%02x", d.bytes[i]);
    assert_string_equal(
        text, "1400000127b04e45c5e21ab1c9f6022d000000000000000100000000000000650000000100000001"
              "91c67aa973d219f1ffd72e6237c0bf433c4df8");
    stop(&a, &b);
}

static void test_both_ask(void **state)
{
    struct side a = make_side(1, 101), b = make_side(2, 202);
    struct channel_datagram from_a, from_b;

    (void)state;
    meet(&a, &b);
    for (int i = 0; i < 3; i++) { /* one by one, in step: HELLO, ACCEPT, FIRST cross */
        if (i == 0) {
            seal(&a, 0, &b, "from a");
            from_a = out.datagrams[0];
            seal(&b, 0, &a, "from b");
            from_b = out.datagrams[0];
        }
        struct channel_datagram next_b, next_a;
        assert_int_equal(take(&b, i, &a, &from_a), WIRE_OK);
        if (i == 2)
            check_body("from a");
        next_b = out.datagrams[0];
        assert_int_equal(out.count, i < 2 ? 1 : 0);
        assert_int_equal(take(&a, i, &b, &from_b), WIRE_OK);
        if (i == 2)
            check_body("from b");
        next_a = out.datagrams[0];
        from_a = next_a;
        from_b = next_b;
    }
    /* Both send with the short header, and both are heard. */
    for (int i = 0; i < 4; i++) {
        seal(&a, 10 + i, &b, "again");
        assert_int_equal(kind(&out.datagrams[0]), ENVELOPE_DATA);
        from_a = out.datagrams[0];
        assert_int_equal(take(&b, 10 + i, &a, &from_a), WIRE_OK);
        seal(&b, 10 + i, &a, "again");
        assert_int_equal(kind(&out.datagrams[0]), ENVELOPE_DATA);
        from_b = out.datagrams[0];
        assert_int_equal(take(&a, 10 + i, &b, &from_b), WIRE_OK);
    }
    stop(&a, &b);
}

/* A datagram of each kind, with any bit changed or cut at any length, is refused and changes
 * nothing: the true one is taken after it. */
static void test_tampering(void **state)
{
    struct side a = make_side(1, 101), b = make_side(2, 202);
    struct side *to = &b, *from = &a;
    struct channel_datagram d;

    (void)state;
    meet(&a, &b);
    seal(&a, 0, &b, "body");
    d = out.datagrams[0];
    for (int step = 0; step < 4; step++) {
        struct side *other = to;

        for (size_t bit = 0; bit < 8 * d.len; bit++) {
            struct channel_datagram bad = d;
            bad.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_not_equal(take(to, 0, from, &bad), WIRE_OK);
            assert_null(in.body);
            assert_true(node_id_none(in.from));
        }
        for (size_t len = 0; len < d.len; len++) {
            struct channel_datagram bad = d;
            bad.len = len;
            assert_int_not_equal(take(to, 0, from, &bad), WIRE_OK);
            assert_null(in.body);
        }
        assert_int_equal(take(to, 0, from, &d), WIRE_OK);
        if (step == 2) {
            check_body("body");
            seal(&b, 0, &a, "answer");
        }
        if (step == 3)
            check_body("answer");
        d = out.datagrams[0];
        to = from;
        from = other;
    }
    assert_true(channel_counters(a.ch)->count[WIRE_AUTHENTICATION] > 0);
    assert_true(channel_counters(a.ch)->count[WIRE_TRUNCATED] > 0);
    stop(&a, &b);
}

/* Replays all that was recorded at @to, from *@now on, so slowly that HELLOs are answered. */
static void replay_everything(struct side *to, const struct side *from, int64_t *now)
{
    size_t count = recorded_count;

    for (size_t i = 0; i < count; i++) {
        *now += CHANNEL_ANSWER_EVERY_MS;
        take(to, *now, from, &recorded[i]);
        assert_true(node_id_none(in.from));
        assert_null(in.body);
        assert_false(in.restarted);
    }
}

static void test_replays_over_restarts(void **state)
{
    struct side a = make_side(1, 101), b = make_side(2, 202);
    int64_t now = 0;

    (void)state;
    meet(&a, &b);
    recorded_count = 0;
    converse(&a, &b, now);
    replay_everything(&b, &a, &now);
    replay_everything(&a, &b, &now);
    for (uint64_t life = 0; life < 4; life++) { /* receiver and sender start again, in turn */
        struct side *again = life % 2 == 0 ? &b : &a;
        struct side *other = life % 2 == 0 ? &a : &b;

        start(again, 1000 + life);
        meet(&a, &b);
        replay_everything(again, other, &now);
        converse(again, other, now += CHANNEL_HELLO_MAX_MS);
        replay_everything(&b, &a, &now);
        replay_everything(&a, &b, &now);
        converse(&b, &a, now += CHANNEL_HELLO_MAX_MS);
    }
    assert_true(recorded_count < RECORDED_MAX);
    stop(&a, &b);
}

/* B starts again; A goes on in the old session and learns of it by what B answers. */
static void test_receiver_restarts(void **state)
{
    struct side a = make_side(1, 101), b = make_side(2, 202);
    struct channel_datagram d;
    struct channel_peer peer;

    (void)state;
    meet(&a, &b);
    converse(&a, &b, 0);
    start(&b, 203);
    meet(&a, &b);
    seal(&a, 1000, &b, "lost");
    d = out.datagrams[0];
    assert_int_equal(kind(&d), ENVELOPE_DATA);
    assert_int_equal(take(&b, 1000, &a, &d), WIRE_UNKNOWN_SESSION);
    assert_int_equal(out.count, 1); /* B asks at once */
    assert_int_equal(kind(&out.datagrams[0]), ENVELOPE_HELLO);
    d = out.datagrams[0];
    assert_int_equal(take(&a, 1001, &b, &d), WIRE_OK);
    assert_false(in.restarted);
    d = out.datagrams[0];
    assert_int_equal(take(&b, 1002, &a, &d), WIRE_OK);
    d = out.datagrams[0]; /* an empty FIRST */
    assert_int_equal(take(&a, 1003, &b, &d), WIRE_OK);
    assert_true(in.restarted);
    assert_false(in.cloned);
    assert_null(in.body);
    assert_int_equal(channel_find_peer(a.ch, b.identity.id, &peer), ERR_NONE);
    assert_int_equal(peer.restarts, 1);
    converse(&a, &b, 2000);
    stop(&a, &b);
}

/* A HELLO of an earlier life, or many of them, does not displace what lives. */
static void test_hello_flood(void **state)
{
    struct side a = make_side(1, 101), b = make_side(2, 202);
    struct channel_datagram hellos[8], d;
    uint64_t answers = 0;

    (void)state;
    meet(&a, &b);
    for (uint64_t life = 0; life < 8; life++) { /* HELLOs that nobody has answered */
        start(&a, 500 + life);
        meet(&a, &b);
        seal(&a, 0, &b, "x");
        hellos[life] = out.datagrams[0];
    }
    converse(&a, &b, 500);
    for (int i = 0; i < 10000; i++) {
        enum wire_reason reason = take(&b, 1000 + i / 10, &a, &hellos[i % 8]);

        assert_true(reason == WIRE_OK || reason == WIRE_REPLAY || reason == WIRE_RATE);
        answers += out.count;
        assert_true(node_id_none(in.from));
        if (i % 100 == 0) {
            seal(&a, 1000 + i / 10, &b, "live");
            d = out.datagrams[0];
            assert_int_equal(take(&b, 1000 + i / 10, &a, &d), WIRE_OK);
            check_body("live");
        }
    }
    assert_true(answers <= CHANNEL_ANSWER_BURST + 1000 / CHANNEL_ANSWER_EVERY_MS);
    converse(&b, &a, 3000);
    stop(&a, &b);
}

/* HELLOs that are replayed without end leave the real handshake a way: each is answered once. */
static void test_hello_flood_leaves_a_way(void **state)
{
    struct side a = make_side(1, 101), b = make_side(2, 202);
    struct channel_datagram old, d;

    (void)state;
    meet(&a, &b);
    seal(&a, 0, &b, "x");
    old = out.datagrams[0];
    start(&a, 102);
    meet(&a, &b);
    for (int i = 0; i < 1000; i++)
        take(&b, 10, &a, &old);
    seal(&a, 10, &b, "x");
    d = out.datagrams[0];
    assert_int_equal(take(&b, 10, &a, &d), WIRE_OK);
    assert_int_equal(out.count, 1);
    d = out.datagrams[0];
    for (int i = 0; i < 1000; i++) /* between ACCEPT and FIRST */
        take(&b, 10, &a, &old);
    assert_int_equal(take(&a, 11, &b, &d), WIRE_OK);
    d = out.datagrams[0];
    assert_int_equal(take(&b, 12, &a, &d), WIRE_OK);
    check_body("x");
    stop(&a, &b);
}

/* Two machines with one identity: the second life is a restart, the first one's return is not. */
/* Both machines try until the other side is heard; returns what @to made of the last datagram. */
static enum wire_reason insist(struct side *from, struct side *to, int64_t now, bool *whole)
{
    enum wire_reason reason = WIRE_UNKNOWN_SESSION;
    struct channel_out sent;

    seal(from, now, to, "still here");
    sent = out;
    for (size_t i = 0; i < sent.count; i++) {
        struct channel_out answer;

        reason = take(to, now, from, &sent.datagrams[i]);
        *whole = *whole || in.whole;
        if (kind(&sent.datagrams[i]) != ENVELOPE_HELLO || out.count == 0)
            continue;
        answer = out;
        take(from, now, to, &answer.datagrams[0]);
        sent = out;
        i = SIZE_MAX; /* FIRST and what waited */
    }
    return reason;
}

static void test_clone(void **state)
{
    struct side a = make_side(1, 101), b = make_side(2, 202), clone = make_side(2, 203);
    struct channel_peer peer;
    bool cloned = false, whole = false;
    int64_t now;

    (void)state;
    meet(&a, &b);
    assert_int_equal(channel_add_peer(clone.ch, a.identity.public_key, NULL), ERR_NONE);
    converse(&b, &a, 0);
    converse(&clone, &a, 1000);
    assert_int_equal(channel_find_peer(a.ch, b.identity.id, &peer), ERR_NONE);
    assert_int_equal(peer.restarts, 1);
    assert_false(peer.cloned);
    for (now = 2000; now < 20000 && !cloned; now += 1000) { /* b hears nothing any more */
        enum wire_reason reason = insist(&b, &a, now, &whole);
        assert_int_not_equal(reason, WIRE_OK);
        channel_find_peer(a.ch, b.identity.id, &peer);
        cloned = peer.cloned;
    }
    assert_true(cloned);

    /* Nothing of either is taken, nothing is said to either but what is about keys. */
    for (int64_t end = now + 3 * CHANNEL_CLONE_MS; now < end; now += 1000) {
        assert_int_not_equal(insist(&b, &a, now, &whole), WIRE_OK);
        assert_true(node_id_none(in.from) && in.body == NULL);
        assert_int_not_equal(insist(&clone, &a, now, &whole), WIRE_OK);
        assert_true(node_id_none(in.from) && in.body == NULL);
    }
    assert_int_equal(seal(&a, now, &b, "secret"), ERR_CONFLICT);
    assert_int_equal(out.count, 0);
    assert_int_equal(
        channel_seal_keys(a.ch, at(now), b.identity.id, &b.addr, (const uint8_t *)"k", 1, &out),
        ERR_NONE);

    /* The copy is switched off: some time later the other is a member again, by itself. */
    assert_false(whole);
    for (int64_t end = now + 2 * CHANNEL_CLONE_MS; now < end && !whole; now += 1000) {
        enum wire_reason reason = insist(&b, &a, now, &whole);
        assert_true(whole == (reason == WIRE_OK));
    }
    assert_true(whole);
    assert_true(node_id_equal(in.from, b.identity.id));
    insist(&b, &a, now, &whole);
    check_body("still here");
    channel_destroy(clone.ch);
    stop(&a, &b);
}

/* Carries all that is in @out from @from to @to; returns the last verdict. */
static enum wire_reason carry(struct side *from, struct side *to, int64_t now)
{
    struct channel_out todo = out;
    enum wire_reason reason = WIRE_OK;

    for (size_t i = 0; i < todo.count; i++)
        reason = take(to, now, from, &todo.datagrams[i]);
    return reason;
}

/* A new epoch is used towards a peer when that has it, so that nothing is ever lost. */
static void test_epochs(void **state)
{
    struct side a = make_side(1, 101), b = make_side(2, 202);
    struct channel_datagram old, d;
    struct channel_peer peer;

    (void)state;
    meet(&a, &b);
    converse(&a, &b, 0);
    seal(&a, 1, &b, "under one");
    old = out.datagrams[0];
    assert_int_equal(channel_set_epochs(a.ch, epochs, 2), ERR_NONE);
    assert_int_equal(channel_epoch(a.ch), 2);
    seal(&a, 2, &b, "still under one");
    assert_int_equal(carry(&a, &b, 2), WIRE_OK);
    check_body("still under one");

    assert_int_equal(channel_set_epochs(b.ch, epochs, 2), ERR_NONE);
    channel_peer_has(b.ch, at(3), a.identity.id, 2, &out);
    seal(&b, 3, &a, "under two"); /* which says that b has it */
    d = out.datagrams[0];
    assert_int_equal(d.bytes[3], 2);
    assert_int_equal(take(&a, 3, &b, &d), WIRE_OK);
    assert_int_equal(channel_find_peer(a.ch, b.identity.id, &peer), ERR_NONE);
    assert_int_equal(peer.epoch, 2);
    seal(&a, 4, &b, "under two");
    assert_int_equal(out.datagrams[0].bytes[3], 2);
    assert_int_equal(carry(&a, &b, 4), WIRE_OK);
    assert_int_equal(channel_set_epochs(b.ch, epochs, 4), ERR_NONE);
    assert_int_equal(take(&b, 5, &a, &old), WIRE_OK); /* under way through three changes */
    check_body("under one");
    stop(&a, &b);
}

/* Who was away for longer than epochs are kept meets the others all the same, for keys alone. */
static void test_epochs_apart(void **state)
{
    struct side a = make_side(1, 101), b = make_side(2, 202);
    struct channel_datagram d;

    (void)state;
    meet(&a, &b);
    assert_int_equal(channel_set_epochs(b.ch, epochs + 1, 4), ERR_NONE);
    for (int turn = 0; turn < 2; turn++) {
        struct side *from = turn == 0 ? &a : &b, *to = turn == 0 ? &b : &a;
        int64_t now = 10000 * turn;

        seal(from, now, to, "waits");
        d = out.datagrams[0];
        if (kind(&d) == ENVELOPE_HELLO) {
            assert_int_equal(take(to, now, from, &d), WIRE_OK);
            d = out.datagrams[0];
            assert_int_equal(take(from, now, to, &d), WIRE_OK);
            assert_int_equal(kind(&out.datagrams[0]), ENVELOPE_FIRST);
            d = out.datagrams[0];
            assert_int_equal(take(to, now, from, &d), WIRE_OK); /* a session, without an epoch */
            assert_true(node_id_equal(in.from, from->identity.id));
            assert_null(in.body);
        }
        assert_int_equal(channel_seal_keys(to->ch, at(now), from->identity.id, &from->addr,
                                           (const uint8_t *)"keys", 4, &out),
                         ERR_NONE);
        d = out.datagrams[0];
        assert_int_equal(take(from, now, to, &d), WIRE_OK);
        check_body("keys");
        assert_true(in.keys);
    }
    /* What is sealed under an epoch that the other lacks is not lost on the way, but refused. */
    seal(&a, 20000, &b, "under one");
    assert_int_equal(carry(&a, &b, 20000), WIRE_UNKNOWN_EPOCH);
    assert_true(node_id_equal(in.doubt, a.identity.id));
    assert_true(node_id_none(in.from));
    seal(&b, 20001, &a, "waits for an epoch");
    assert_int_equal(out.count, 0);
    assert_int_equal(channel_set_epochs(a.ch, epochs + 4, 1), ERR_NONE);
    channel_peer_has(b.ch, at(20002), a.identity.id, 5, &out);
    assert_int_equal(carry(&b, &a, 20003), WIRE_OK);
    check_body("waits for an epoch");
    assert_false(in.keys);
    stop(&a, &b);
}

/* Only the newest datagram of a session says where its sender is: one that was lost can be sent
 * again by anybody, from anywhere. */
static void test_where_a_peer_is(void **state)
{
    struct side a = make_side(1, 101), b = make_side(2, 202), elsewhere = make_side(9, 909);
    struct channel_datagram lost, d;
    struct channel_peer peer;

    (void)state;
    meet(&a, &b);
    converse(&a, &b, 0);
    seal(&a, 1, &b, "lost");
    lost = out.datagrams[0];
    seal(&a, 2, &b, "came");
    d = out.datagrams[0];
    assert_int_equal(take(&b, 2, &a, &d), WIRE_OK);
    assert_int_equal(take(&b, 3, &elsewhere, &lost), WIRE_OK); /* new here, and authentic */
    check_body("lost");
    assert_true(addr_equal(&in.addr, &a.addr));
    channel_find_peer(b.ch, a.identity.id, &peer);
    assert_true(addr_equal(&peer.addr, &a.addr));
    a.addr.ip[3] = 77; /* a truly moves */
    seal(&a, 4, &b, "moved");
    d = out.datagrams[0];
    assert_int_equal(take(&b, 4, &a, &d), WIRE_OK);
    assert_true(addr_equal(&in.addr, &a.addr));
    channel_destroy(elsewhere.ch);
    stop(&a, &b);
}

static void test_epochs_refused(void **state)
{
    struct keys_epoch twice[2] = {epochs[0], epochs[0]};
    struct keys_epoch high = {.number = ENVELOPE_EPOCH_MAX + 1};
    struct keys_epoch none = {.number = 0};
    struct side a = make_side(1, 101);

    (void)state;
    assert_int_equal(channel_set_epochs(a.ch, epochs, CHANNEL_EPOCHS + 1), ERR_INVALID);
    assert_int_equal(channel_set_epochs(a.ch, twice, 2), ERR_INVALID);
    assert_int_equal(channel_set_epochs(a.ch, &high, 1), ERR_INVALID);
    assert_int_equal(channel_set_epochs(a.ch, &none, 1), ERR_INVALID);
    assert_int_equal(channel_epoch(a.ch), 1);
    channel_destroy(a.ch);
}

static void test_epoch_secret_matters(void **state)
{
    struct keys_epoch other = {.number = 1, .secret = {0x11}};
    struct side a = make_side(1, 101), b = make_side(2, 202);
    struct channel_datagram d;

    (void)state;
    meet(&a, &b);
    channel_set_epochs(b.ch, &other, 1);
    seal(&a, 0, &b, "x");
    d = out.datagrams[0];
    assert_int_equal(take(&b, 0, &a, &d), WIRE_OK);
    d = out.datagrams[0];
    assert_int_equal(take(&a, 0, &b, &d), WIRE_OK);
    d = out.datagrams[0];
    assert_int_equal(take(&b, 0, &a, &d), WIRE_AUTHENTICATION);
    assert_true(node_id_none(in.from));
    assert_true(node_id_equal(in.doubt, a.identity.id));
    stop(&a, &b);
}

/* A release speaks its own version and the one before it. */
static void test_releases(void **state)
{
    static const struct {
        uint8_t a_min, a_max, b_min, b_max, spoken;
    } cases[] = {{1, 1, 1, 1, 1}, {1, 1, 1, 2, 1}, {1, 2, 1, 1, 1},     {1, 2, 1, 2, 2},
                 {1, 2, 2, 3, 2}, {2, 3, 1, 2, 2}, {1, 1, 2, 3, 0},     {3, 4, 1, 2, 0},
                 {1, 1, 1, 7, 1}, {4, 5, 1, 3, 0}, {14, 15, 15, 15, 15}};
    struct channel_peer peer;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct side a = make_side(1, 101), b = make_side(2, 202);
        struct channel_datagram d;

        start_release(&a, 101, cases[i].a_min, cases[i].a_max);
        start_release(&b, 202, cases[i].b_min, cases[i].b_max);
        meet(&a, &b);
        if (cases[i].spoken != 0) {
            converse(&a, &b, 0);
            assert_int_equal(channel_find_peer(a.ch, b.identity.id, &peer), ERR_NONE);
            assert_int_equal(peer.version, cases[i].spoken);
            assert_int_equal(channel_find_peer(b.ch, a.identity.id, &peer), ERR_NONE);
            assert_int_equal(peer.version, cases[i].spoken);
        } else {
            seal(&a, 0, &b, "x");
            d = out.datagrams[0];
            assert_int_equal(take(&b, 0, &a, &d), WIRE_VERSION);
            assert_int_equal(out.count, 0);
            assert_true(node_id_equal(in.foreign, a.identity.id)); /* who, and what it speaks */
            assert_int_equal(in.version_min, cases[i].a_min);
            assert_int_equal(in.version_max, cases[i].a_max);
            assert_int_equal(channel_counters(b.ch)->count[WIRE_VERSION], 1);
        }
        stop(&a, &b);
    }
}

/* A session speaks the version that was agreed on, and no other. */
static void test_version_of_a_session(void **state)
{
    struct side a = make_side(1, 101), b = make_side(2, 202);
    struct channel_datagram d;

    (void)state;
    start_release(&a, 101, 1, 2);
    start_release(&b, 202, 1, 2);
    meet(&a, &b);
    converse(&a, &b, 0);
    seal(&a, 1, &b, "x");
    d = out.datagrams[0];
    assert_int_equal(d.bytes[0] >> 4, 2);
    for (uint8_t version = 0; version < 16; version++) {
        struct channel_datagram forged = d;

        forged.bytes[0] = (uint8_t)(version << 4 | (d.bytes[0] & 15));
        if (version != 2)
            assert_int_equal(take(&b, 1, &a, &forged), WIRE_VERSION);
    }
    assert_int_equal(take(&b, 1, &a, &d), WIRE_OK);
    stop(&a, &b);
}

static void test_removed_peer(void **state)
{
    struct side a = make_side(1, 101), b = make_side(2, 202);
    struct channel_datagram d;
    int64_t now = 0;

    (void)state;
    meet(&a, &b);
    recorded_count = 0;
    converse(&a, &b, now);
    seal(&a, 1, &b, "late");
    d = out.datagrams[0];
    channel_remove_peer(b.ch, a.identity.id);
    channel_remove_peer(b.ch, a.identity.id);
    assert_int_equal(channel_peer_count(b.ch), 0);
    assert_int_equal(take(&b, 1, &a, &d), WIRE_UNKNOWN_SENDER);
    assert_int_equal(seal(&b, 1, &a, "x"), ERR_NOTFOUND);
    meet(&a, &b); /* admitted again: nothing old counts */
    replay_everything(&b, &a, &now);
    converse(&b, &a, now + CHANNEL_HELLO_MAX_MS);
    stop(&a, &b);
}

static void test_pending(void **state)
{
    struct side a = make_side(1, 101), b = make_side(2, 202);
    struct channel_datagram d;
    char text[2] = "0";

    (void)state;
    meet(&a, &b);
    assert_true(mono_is_never(channel_deadline(a.ch)));
    for (int i = 0; i < CHANNEL_PENDING_MAX + 2; i++) {
        text[0] = (char)('0' + i);
        assert_int_equal(seal(&a, 100, &b, text), ERR_NONE);
    }
    /* The HELLO is lost; it is repeated with growing pauses. */
    assert_int_equal(channel_deadline(a.ch).ms, 100 + CHANNEL_HELLO_MIN_MS);
    channel_step(a.ch, at(100 + CHANNEL_HELLO_MIN_MS - 1), &out);
    assert_int_equal(out.count, 0);
    channel_step(a.ch, at(100 + CHANNEL_HELLO_MIN_MS), &out);
    assert_int_equal(out.count, 1);
    assert_int_equal(channel_deadline(a.ch).ms, 100 + 3 * CHANNEL_HELLO_MIN_MS);
    d = out.datagrams[0];
    assert_int_equal(take(&b, 500, &a, &d), WIRE_OK);
    d = out.datagrams[0];
    assert_int_equal(take(&a, 500, &b, &d), WIRE_OK);
    assert_int_equal(out.count, CHANNEL_PENDING_MAX); /* the newest ones, in order */
    assert_true(mono_is_never(channel_deadline(a.ch)));
    d = out.datagrams[0];
    assert_int_equal(take(&b, 500, &a, &d), WIRE_OK);
    check_body("2");

    start(&a, 102); /* nobody answers: bodies are dropped, and HELLOs end */
    meet(&a, &b);
    seal(&a, 1000, &b, "x");
    for (int i = 0; i < 20 && !mono_is_never(channel_deadline(a.ch)); i++)
        channel_step(a.ch, channel_deadline(a.ch), &out);
    assert_true(mono_is_never(channel_deadline(a.ch)));
    stop(&a, &b);
}

static void test_refusals(void **state)
{
    struct side a = make_side(1, 101), b = make_side(2, 202), c = make_side(3, 303);
    struct channel_config config = {.identity = &a.identity, .boot = 0};
    uint8_t big[ENVELOPE_BODY_MAX + 1] = {0};
    uint8_t datagram[MSG_DATAGRAM_MAX + 1] = {0x11};
    uint8_t weak[KEYS_PUBLIC] = {1};
    struct channel *other;
    struct err err;

    (void)state;
    meet(&a, &b);
    assert_int_equal(channel_create(&config, &other, &err), ERR_INVALID);
    assert_int_equal(seal(&a, 0, &c, "x"), ERR_NOTFOUND);
    assert_int_equal(channel_seal(a.ch, at(0), b.identity.id, &b.addr, big, sizeof big, &out),
                     ERR_LIMIT);
    assert_int_equal(channel_seal(a.ch, at(0), b.identity.id, &(struct addr){0}, big, 1, &out),
                     ERR_INVALID);
    assert_int_equal(channel_add_peer(a.ch, a.identity.public_key, &err), ERR_INVALID);
    assert_int_equal(channel_add_peer(a.ch, weak, &err), ERR_INVALID);
    assert_string_equal(err.text, "the public key of the peer is not usable");
    assert_int_equal(channel_add_peer(a.ch, b.identity.public_key, &err), ERR_NONE);
    assert_int_equal(channel_peer_count(a.ch), 1);

    assert_int_equal(channel_open(a.ch, at(0), &b.addr, datagram, sizeof datagram, &in, &out),
                     WIRE_OVERSIZED);
    assert_int_equal(channel_open(a.ch, at(0), &b.addr, datagram, 0, &in, &out), WIRE_TRUNCATED);
    assert_int_equal(channel_open(a.ch, at(0), &b.addr, datagram, 100, &in, &out),
                     WIRE_UNKNOWN_SENDER);
    datagram[0] = 0x18;
    assert_int_equal(channel_open(a.ch, at(0), &b.addr, datagram, 100, &in, &out), WIRE_KIND);
    datagram[0] = 0x21;
    assert_int_equal(channel_open(a.ch, at(0), &b.addr, datagram, 100, &in, &out), WIRE_VERSION);
    assert_int_equal(channel_counters(a.ch)->count[WIRE_VERSION], 1);
    channel_count(a.ch, WIRE_BODY_FIELDS);
    assert_int_equal(channel_counters(a.ch)->count[WIRE_BODY_FIELDS], 1);

    config = (struct channel_config){.identity = &a.identity, .boot = 1, .peer_max = 1};
    assert_int_equal(channel_create(&config, &other, &err), ERR_NONE);
    assert_int_equal(channel_add_peer(other, b.identity.public_key, &err), ERR_NONE);
    assert_int_equal(channel_seal(other, at(0), b.identity.id, &b.addr, big, 1, &out),
                     ERR_UNREACHABLE); /* no epoch */
    assert_int_equal(channel_add_peer(other, c.identity.public_key, &err), ERR_FULL);
    channel_destroy(other);
    channel_destroy(NULL);
    channel_destroy(c.ch);
    stop(&a, &b);
}

static void test_many_peers(void **state)
{
    struct side a = make_side(1, 101);
    struct keys_identity peers[40];
    struct channel_peer peer;

    (void)state;
    for (uint8_t i = 0; i < 40; i++) {
        uint8_t seed[KEYS_SEED] = {i, 7};
        keys_from_seed(seed, &peers[i]);
        assert_int_equal(channel_add_peer(a.ch, peers[i].public_key, NULL), ERR_NONE);
    }
    for (size_t i = 0; i < 40; i += 3)
        channel_remove_peer(a.ch, peers[i].id);
    for (size_t i = 0; i < 40; i++)
        assert_int_equal(channel_find_peer(a.ch, peers[i].id, &peer),
                         i % 3 == 0 ? ERR_NOTFOUND : ERR_NONE);
    channel_destroy(a.ch);
}

/* Random loss, duplication, reordering and restarts: no body arrives twice, and once the network is
 * well again everything arrives. */
struct air {
    struct channel_datagram datagrams[64];
    bool to_b[64];
    size_t count;
};

static void put_air(struct air *air, bool to_b)
{
    for (size_t i = 0; i < out.count && air->count < 64; i++) {
        air->datagrams[air->count] = out.datagrams[i];
        air->to_b[air->count++] = to_b;
    }
}

static uint32_t body_number(void)
{
    uint32_t n = 0;

    if (in.body != NULL && in.len == sizeof n)
        memcpy(&n, in.body, sizeof n);
    return n;
}

static void random_run(uint64_t seed)
{
    enum { STEPS = 600, CALM = 500 };
    static struct air air;
    static bool arrived[2 * STEPS + 1];
    struct side a = make_side(1, 101), b = make_side(2, 202);
    struct rng rng;
    uint64_t boot = 1000;
    uint32_t sent = 0, calm_sent = 0, calm_arrived = 0;

    rng_seed(&rng, seed);
    memset(arrived, 0, sizeof arrived);
    air.count = 0;
    meet(&a, &b);
    for (int step = 0; step < STEPS; step++) {
        int64_t now = step * 100;
        bool calm = step >= CALM, by_a = rng_below(&rng, 2) == 0;

        if (!calm && rng_below(&rng, 60) == 0) {
            start(rng_below(&rng, 2) == 0 ? &a : &b, boot++);
            meet(&a, &b);
        }
        sent++;
        channel_seal(by_a ? a.ch : b.ch, at(now), by_a ? b.identity.id : a.identity.id,
                     by_a ? &b.addr : &a.addr, (const uint8_t *)&sent, sizeof sent, &out);
        put_air(&air, by_a);
        if (step >= CALM + 50)
            calm_sent++;
        channel_step(a.ch, at(now), &out);
        put_air(&air, true);
        channel_step(b.ch, at(now), &out);
        put_air(&air, false);
        while (air.count > 0 && (calm || rng_below(&rng, 4) != 0)) {
            size_t i = (size_t)rng_below(&rng, air.count);
            struct channel_datagram d = air.datagrams[i];
            bool to_b = air.to_b[i];
            uint32_t n;

            if (calm || rng_below(&rng, 5) != 0) { /* else a copy stays in the air */
                air.count--;
                air.datagrams[i] = air.datagrams[air.count];
                air.to_b[i] = air.to_b[air.count];
            }
            if (!calm && rng_below(&rng, 4) == 0)
                continue; /* lost */
            channel_open(to_b ? b.ch : a.ch, at(now), to_b ? &a.addr : &b.addr, d.bytes, d.len, &in,
                         &out);
            assert_false(in.cloned);
            n = body_number();
            if (n > 0) {
                assert_false(arrived[n]);
                arrived[n] = true;
                if (n > CALM + 50)
                    calm_arrived++;
            }
            put_air(&air, !to_b);
        }
    }
    assert_int_equal(calm_arrived, calm_sent);
    stop(&a, &b);
}

static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++)
        random_run(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handshake),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_both_ask),
        cmocka_unit_test(test_tampering),
        cmocka_unit_test(test_replays_over_restarts),
        cmocka_unit_test(test_receiver_restarts),
        cmocka_unit_test(test_hello_flood),
        cmocka_unit_test(test_hello_flood_leaves_a_way),
        cmocka_unit_test(test_clone),
        cmocka_unit_test(test_epochs),
        cmocka_unit_test(test_epochs_apart),
        cmocka_unit_test(test_epochs_refused),
        cmocka_unit_test(test_where_a_peer_is),
        cmocka_unit_test(test_releases),
        cmocka_unit_test(test_version_of_a_session),
        cmocka_unit_test(test_epoch_secret_matters),
        cmocka_unit_test(test_removed_peer),
        cmocka_unit_test(test_pending),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_many_peers),
        cmocka_unit_test(test_random),
    };
    int failed;

    recorded = calloc(RECORDED_MAX, sizeof *recorded);
    if (recorded == NULL || keys_start(NULL) != ERR_NONE)
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(recorded);
    return failed;
}
