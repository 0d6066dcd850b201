/* The datagram format and the replay window. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/rng.h"
#include "proto/wire/envelope.h"
#include "proto/wire/keys.h"

static const uint8_t key[ENVELOPE_KEY] = {1, 2, 3, 4, 5, 6, 7, 8};

static const struct envelope data_header = {
    .kind = ENVELOPE_DATA,
    .version = 1,
    .epoch = 3,
    .tag = 0xaabbccdd,
    .sender = {0x0102030405060708},
    .counter = 42,
};

static const struct envelope first_header = {
    .kind = ENVELOPE_FIRST,
    .version = 1,
    .epoch = ENVELOPE_EPOCH_MAX,
    .tag = 1,
    .sender = {9},
    .counter = UINT64_MAX,
    .boot = 0x1112131415161718,
    .initiator = 7,
    .responder = UINT32_MAX,
};

static void test_golden(void **state)
{
    uint8_t out[MSG_DATAGRAM_MAX];
    size_t len = envelope_seal(&data_header, key, (const uint8_t *)"hello", 5, out);
    char text[2 * 64 + 1];

    (void)state;
    assert_int_equal(len, ENVELOPE_SHORT + 5 + ENVELOPE_TAG);
    for (size_t i = 0; i < len; i++)
        snprintf(text + 2 * i, 3, "%02x", out[i]);
    /* Computed by Python's cryptography package. */
    assert_string_equal(text, "11000003aabbccdd0102030405060708000000000000002a"
                              "2ab8563e0208803e3c232d030a3b360b91db10f9e6");
}

static void check_round_trip(const struct envelope *header, size_t body_len)
{
    uint8_t body[ENVELOPE_BODY_MAX], out[MSG_DATAGRAM_MAX], back[MSG_DATAGRAM_MAX];
    struct envelope e;
    size_t len, back_len;

    for (size_t i = 0; i < body_len; i++)
        body[i] = (uint8_t)i;
    len = envelope_seal(header, key, body, body_len, out);
    assert_true(len <= MSG_DATAGRAM_MAX);
    assert_int_equal(envelope_kind(out, len), header->kind);
    assert_int_equal(envelope_parse(out, len, &e), WIRE_OK);
    assert_int_equal(e.kind, header->kind);
    assert_int_equal(e.epoch, header->epoch);
    assert_int_equal(e.tag, header->tag);
    assert_true(node_id_equal(e.sender, header->sender));
    assert_int_equal(e.counter, header->counter);
    assert_int_equal(e.boot, header->boot);
    assert_int_equal(e.initiator, header->initiator);
    assert_int_equal(e.responder, header->responder);
    assert_true(envelope_open(&e, key, out, len, back, &back_len));
    assert_int_equal(back_len, body_len);
    assert_memory_equal(back, body, body_len);
}

static void test_round_trip(void **state)
{
    (void)state;
    check_round_trip(&data_header, 0);
    check_round_trip(&data_header, ENVELOPE_BODY_MAX);
    check_round_trip(&first_header, 0);
    check_round_trip(&first_header, ENVELOPE_BODY_MAX);
}

/* No bit of a datagram can be changed: header, body or tag. */
static void test_tampering(void **state)
{
    const struct envelope *headers[] = {&data_header, &first_header};

    (void)state;
    for (size_t h = 0; h < 2; h++) {
        uint8_t out[MSG_DATAGRAM_MAX], back[MSG_DATAGRAM_MAX];
        size_t len = envelope_seal(headers[h], key, (const uint8_t *)"hello", 5, out);
        size_t back_len;

        for (size_t bit = 0; bit < 8 * len; bit++) {
            struct envelope e;

            out[bit / 8] ^= (uint8_t)(1 << bit % 8);
            if (envelope_parse(out, len, &e) == WIRE_OK)
                assert_false(envelope_open(&e, key, out, len, back, &back_len));
            out[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

static void test_lengths(void **state)
{
    uint8_t out[MSG_DATAGRAM_MAX + 1] = {0}, back[MSG_DATAGRAM_MAX];
    size_t len = envelope_seal(&first_header, key, (const uint8_t *)"hello", 5, out);
    size_t back_len;
    struct envelope e;

    (void)state;
    for (size_t cut = 0; cut < len; cut++) {
        enum wire_reason reason = envelope_parse(out, cut, &e);

        if (cut < ENVELOPE_LONG + ENVELOPE_TAG)
            assert_int_equal(reason, WIRE_TRUNCATED);
        else
            assert_false(envelope_open(&e, key, out, cut, back, &back_len));
    }
    assert_int_equal(envelope_parse(out, MSG_DATAGRAM_MAX + 1, &e), WIRE_OVERSIZED);
    for (uint8_t version = 0; version < 16; version++) { /* handshakes have one form for ever */
        out[0] = (uint8_t)(version << 4 | ENVELOPE_HELLO);
        assert_int_equal(envelope_parse(out, len, &e), version == 1 ? WIRE_OK : WIRE_VERSION);
        assert_int_equal(envelope_kind(out, len), version == 1 ? ENVELOPE_HELLO : 0);
        out[0] = (uint8_t)(version << 4 | ENVELOPE_FIRST);
        assert_int_equal(envelope_parse(out, len, &e), version > 0 ? WIRE_OK : WIRE_VERSION);
        assert_int_equal(e.version, version);
    }
    for (uint8_t kind = 0; kind < 16; kind++) {
        out[0] = (uint8_t)(0x10 | kind);
        assert_int_equal(envelope_parse(out, len, &e),
                         kind >= ENVELOPE_DATA && kind <= ENVELOPE_FIRST ? WIRE_OK : WIRE_KIND);
    }
    assert_int_equal(envelope_kind(out, 0), 0);
}

/* The window against a model that remembers everything. */
static void test_replay_model(void **state)
{
    enum { COUNTERS = 8192, STEPS = 200000 };
    static bool seen[COUNTERS];
    struct replay r = {0};
    struct rng rng;
    uint64_t highest = 0, accepted = 0;

    (void)state;
    rng_seed(&rng, 7);
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < STEPS; i++) {
        uint64_t base = highest > 1200 ? highest - 1200 : 0;
        uint64_t counter = base + rng_below(&rng, 1300);
        bool expected;

        if (rng_below(&rng, 100) == 0)
            counter += rng_below(&rng, 200);
        if (counter >= COUNTERS) {
            memset(seen, 0, sizeof seen);
            r = (struct replay){0};
            highest = 0;
            continue;
        }
        expected = counter != 0 && !seen[counter] &&
                   (counter > highest || highest - counter < REPLAY_WINDOW);
        assert_int_equal(replay_fresh(&r, counter), expected);
        if (!expected || rng_below(&rng, 3) == 0) /* a third fails authentication */
            continue;
        replay_mark(&r, counter);
        seen[counter] = true;
        accepted++;
        if (counter > highest)
            highest = counter;
    }
    assert_true(accepted > 1000);
}

static void test_replay_edges(void **state)
{
    struct replay r = {0};

    (void)state;
    assert_false(replay_fresh(&r, 0));
    replay_mark(&r, 1);
    assert_false(replay_fresh(&r, 1));
    replay_mark(&r, 1 + REPLAY_WINDOW);
    assert_false(replay_fresh(&r, 1)); /* out of the window */
    assert_true(replay_fresh(&r, 2));
    replay_mark(&r, UINT64_C(1) << 40); /* a long jump clears all */
    for (uint64_t i = 1; i < REPLAY_WINDOW; i++)
        assert_true(replay_fresh(&r, (UINT64_C(1) << 40) - i));
    replay_mark(&r, UINT64_MAX);
    assert_false(replay_fresh(&r, UINT64_MAX));
    assert_true(replay_fresh(&r, UINT64_MAX - 1));
    assert_false(replay_fresh(&r, 5));
}

static void test_reason_names(void **state)
{
    (void)state;
    for (int reason = 0; reason < WIRE_REASONS; reason++)
        assert_true(wire_reason_name(reason)[0] != '\0');
    assert_string_equal(wire_reason_name(WIRE_REPLAY), "replay");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),       cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_tampering),    cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_replay_model), cmocka_unit_test(test_replay_edges),
        cmocka_unit_test(test_reason_names),
    };

    if (keys_start(NULL) != ERR_NONE)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
