/* The sealed stream between two agents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/rng.h"
#include "proto/wire/stream.h"

static const uint8_t epoch_secret[KEYS_EPOCH_SECRET] = {0xe1};
static const uint8_t random_a[STREAM_RANDOM] = {1}, random_b[STREAM_RANDOM] = {2};

static struct keys_identity identity(uint8_t fill)
{
    struct keys_identity id;
    uint8_t bytes[KEYS_SEED];

    memset(bytes, fill, sizeof bytes);
    keys_from_seed(bytes, &id);
    return id;
}

static enum stream_event feed(struct stream *s, const void *data, size_t len, size_t *used)
{
    const uint8_t *frame;
    size_t frame_len;

    return stream_feed(s, data, len, used, &frame, &frame_len);
}

struct pair {
    struct keys_identity ia, ib;
    struct stream *a, *b;
};

static struct pair make_pair(void)
{
    struct pair p = {.ia = identity(1), .ib = identity(2)};
    uint8_t hello[STREAM_HELLO];
    size_t used;

    p.a = stream_create(&p.ia, true, 5, random_a);
    p.b = stream_create(&p.ib, false, 4, random_b);
    assert_non_null(p.a);
    assert_non_null(p.b);
    stream_hello(p.a, hello);
    assert_int_equal(feed(p.b, hello, 10, &used), STREAM_MORE);
    assert_int_equal(used, 10);
    assert_int_equal(feed(p.b, hello + 10, STREAM_HELLO - 10, &used), STREAM_HELLO_CAME);
    stream_hello(p.b, hello);
    assert_int_equal(feed(p.a, hello, STREAM_HELLO, &used), STREAM_HELLO_CAME);
    assert_true(node_id_equal(stream_peer(p.a), p.ib.id));
    assert_true(node_id_equal(stream_peer(p.b), p.ia.id));
    assert_int_equal(stream_epoch(p.a), 4); /* the lower one: both have it */
    assert_int_equal(stream_epoch(p.b), 4);
    return p;
}

static struct pair keyed_pair(void)
{
    struct pair p = make_pair();

    assert_int_equal(stream_key(p.a, p.ib.public_key, epoch_secret), ERR_NONE);
    assert_int_equal(stream_key(p.b, p.ia.public_key, epoch_secret), ERR_NONE);
    return p;
}

static void end_pair(struct pair *p)
{
    stream_destroy(p->a);
    stream_destroy(p->b);
}

static void test_frames(void **state)
{
    struct pair p = keyed_pair();
    uint8_t out[64 + 2 * STREAM_OVERHEAD];
    const uint8_t *frame;
    size_t used, len;

    (void)state;
    assert_false(stream_authenticated(p.b));
    assert_int_equal(stream_seal(p.a, NULL, 0, out), ERR_NONE);
    assert_int_equal(stream_feed(p.b, out, STREAM_OVERHEAD, &used, &frame, &len), STREAM_FRAME);
    assert_int_equal(len, 0);
    assert_true(stream_authenticated(p.b));
    assert_false(stream_authenticated(p.a));
    /* Two frames at once come one by one. */
    assert_int_equal(stream_seal(p.b, (const uint8_t *)"hello", 5, out), ERR_NONE);
    assert_int_equal(stream_seal(p.b, (const uint8_t *)"world!", 6, out + 25), ERR_NONE);
    assert_int_equal(stream_feed(p.a, out, 51, &used, &frame, &len), STREAM_FRAME);
    assert_int_equal(used, 25);
    assert_int_equal(len, 5);
    assert_memory_equal(frame, "hello", 5);
    assert_int_equal(stream_feed(p.a, out + used, 51 - used, &used, &frame, &len), STREAM_FRAME);
    assert_int_equal(used, 26);
    assert_memory_equal(frame, "world!", 6);
    assert_int_equal(stream_feed(p.a, out, 0, &used, &frame, &len), STREAM_MORE);
    end_pair(&p);
}

/* Any content in any pieces. */
static void test_pieces(void **state)
{
    struct pair p = keyed_pair();
    uint8_t *content = malloc(STREAM_FRAME_MAX + 1);
    uint8_t *out = malloc(STREAM_FRAME_MAX + STREAM_OVERHEAD);
    struct rng rng;

    (void)state;
    assert_non_null(content);
    assert_non_null(out);
    rng_seed(&rng, 3);
    for (int i = 0; i < 60; i++) {
        size_t len = i == 0 ? STREAM_FRAME_MAX : (size_t)rng_below(&rng, i < 10 ? 70000 : 300);
        size_t total, at = 0;
        enum stream_event event = STREAM_MORE;
        const uint8_t *frame = NULL;
        size_t frame_len = 0;

        len = len > STREAM_FRAME_MAX ? STREAM_FRAME_MAX : len;
        for (size_t k = 0; k < len; k++)
            content[k] = (uint8_t)rng_next(&rng);
        assert_int_equal(stream_seal(p.a, content, len, out), ERR_NONE);
        total = len + STREAM_OVERHEAD;
        while (at < total) {
            size_t piece = 1 + (size_t)rng_below(&rng, i < 10 ? 9000 : 7), used;

            assert_int_equal(event, STREAM_MORE);
            piece = piece > total - at ? total - at : piece;
            event = stream_feed(p.b, out + at, piece, &used, &frame, &frame_len);
            assert_int_equal(used, piece);
            at += piece;
        }
        assert_int_equal(event, STREAM_FRAME);
        assert_int_equal(frame_len, len);
        assert_memory_equal(frame, content, len);
    }
    assert_int_equal(stream_seal(p.a, content, STREAM_FRAME_MAX + 1, out), ERR_LIMIT);
    free(content);
    free(out);
    end_pair(&p);
}

static void test_tampering(void **state)
{
    uint8_t out[8 + STREAM_OVERHEAD];
    size_t used;

    (void)state;
    for (size_t i = 0; i < sizeof out; i++) {
        struct pair p = keyed_pair();
        enum stream_event event;

        assert_int_equal(stream_seal(p.a, (const uint8_t *)"contents", 8, out), ERR_NONE);
        out[i] ^= 1;
        event = feed(p.b, out, sizeof out, &used);
        for (int more = 0; event == STREAM_MORE && more < 300; more++)
            event = feed(p.b, out, 1, &used); /* a larger length: it waits, then does not open */
        assert_int_equal(event, STREAM_BROKEN);
        out[i] ^= 1;
        assert_int_equal(feed(p.b, out, sizeof out, &used), STREAM_BROKEN); /* for good */
        assert_false(stream_authenticated(p.b));
        end_pair(&p);
    }
}

static void test_order(void **state)
{
    struct pair p = keyed_pair();
    uint8_t one[STREAM_OVERHEAD], two[STREAM_OVERHEAD];
    size_t used;

    (void)state;
    stream_seal(p.a, NULL, 0, one);
    stream_seal(p.a, NULL, 0, two);
    assert_int_equal(feed(p.b, one, sizeof one, &used), STREAM_FRAME);
    assert_int_equal(feed(p.b, one, sizeof one, &used), STREAM_BROKEN); /* repeated */
    assert_int_equal(stream_reason(p.b), WIRE_AUTHENTICATION);
    end_pair(&p);
    p = keyed_pair();
    assert_int_equal(feed(p.b, two, sizeof two, &used), STREAM_BROKEN); /* one left out */
    end_pair(&p);
    p = keyed_pair();
    stream_seal(p.a, NULL, 0, one);
    assert_int_equal(feed(p.a, one, sizeof one, &used), STREAM_BROKEN); /* sent back */
    end_pair(&p);
}

static void test_lengths(void **state)
{
    static const uint8_t too_long[] = {0, 1, 0, 17}, too_short[] = {0, 0, 0, 15},
                         huge[] = {0xff, 0xff, 0xff, 0xff};
    struct pair p;
    size_t used;

    (void)state;
    p = keyed_pair();
    assert_int_equal(feed(p.b, too_long, 4, &used), STREAM_BROKEN);
    assert_int_equal(stream_reason(p.b), WIRE_OVERSIZED);
    assert_int_equal(feed(p.a, too_short, 4, &used), STREAM_BROKEN);
    assert_int_equal(stream_reason(p.a), WIRE_TRUNCATED);
    end_pair(&p);
    p = keyed_pair();
    assert_int_equal(feed(p.b, huge, 4, &used), STREAM_BROKEN);
    end_pair(&p);
}

/* What was recorded cannot be played to a later stream: its random bytes differ. */
static void test_replay(void **state)
{
    struct pair p = keyed_pair();
    struct keys_identity ib = identity(2);
    const uint8_t other_random[STREAM_RANDOM] = {3};
    struct stream *later = stream_create(&ib, false, 4, other_random);
    uint8_t hello[STREAM_HELLO], frame[STREAM_OVERHEAD];
    size_t used;

    (void)state;
    stream_hello(p.a, hello);
    stream_seal(p.a, NULL, 0, frame);
    assert_int_equal(feed(later, hello, sizeof hello, &used), STREAM_HELLO_CAME);
    assert_int_equal(stream_key(later, p.ia.public_key, epoch_secret), ERR_NONE);
    assert_int_equal(feed(later, frame, sizeof frame, &used), STREAM_BROKEN);
    stream_destroy(later);
    end_pair(&p);
}

static void test_keys(void **state)
{
    const uint8_t other_secret[KEYS_EPOCH_SECRET] = {0xe9};
    struct pair p = make_pair();
    struct keys_identity other = identity(9);
    uint8_t frame[STREAM_OVERHEAD], hello[STREAM_HELLO];
    struct stream *s;
    size_t used;

    (void)state;
    assert_int_equal(stream_seal(p.a, NULL, 0, frame), ERR_DENIED);
    assert_int_equal(stream_key(p.a, other.public_key, epoch_secret), ERR_INVALID);
    assert_int_equal(stream_key(p.a, p.ib.public_key, epoch_secret), ERR_NONE);
    assert_int_equal(stream_key(p.a, p.ib.public_key, epoch_secret), ERR_DENIED);
    assert_int_equal(stream_key(p.b, p.ia.public_key, other_secret), ERR_NONE);
    stream_seal(p.a, NULL, 0, frame);
    assert_int_equal(feed(p.b, frame, sizeof frame, &used), STREAM_BROKEN);
    end_pair(&p);

    p = make_pair(); /* bytes before the key */
    assert_int_equal(feed(p.a, frame, 1, &used), STREAM_BROKEN);
    end_pair(&p);

    p.ia = identity(1);
    s = stream_create(&p.ia, true, 1, random_a);
    stream_hello(s, hello);
    assert_int_equal(feed(s, hello, sizeof hello, &used), STREAM_BROKEN); /* our own hello */
    stream_destroy(s);
    s = stream_create(&p.ia, true, 1, random_a);
    hello[0] = 'G';
    assert_int_equal(feed(s, hello, sizeof hello, &used), STREAM_BROKEN);
    assert_int_equal(stream_reason(s), WIRE_VERSION);
    stream_destroy(s);
    stream_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames),    cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_tampering), cmocka_unit_test(test_order),
        cmocka_unit_test(test_lengths),   cmocka_unit_test(test_replay),
        cmocka_unit_test(test_keys),
    };

    if (keys_start(NULL) != ERR_NONE)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
