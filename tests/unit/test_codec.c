/* Messages to bytes and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <msgpack.h>
#include <string.h>

#include "proto/wire/codec.h"
#include "proto/wire/codec_io.h"

static struct msg_update update(uint8_t kind, uint64_t subject, uint64_t author)
{
    struct msg_update u = {
        .kind = kind, .subject = {subject}, .author = {author}, .incarnation = 5};

    if (kind == MSG_ALIVE)
        u.addr = (struct addr){.family = 4, .ip = {10, 77, 0, 2}, .port = 8801};
    memset(u.signature, 0xab, sizeof u.signature);
    return u;
}

static struct msg_record record(const char *key, uint16_t value_len, uint64_t version)
{
    static const uint8_t value[RECORD_VALUE_MAX] = {1, 2, 3};
    struct msg_record r = {.key = key,
                           .key_len = (uint8_t)strlen(key),
                           .value = value,
                           .value_len = value_len,
                           .version = version,
                           .floor = UINT64_C(1) << 32};

    memset(r.signature, 0xcd, sizeof r.signature);
    return r;
}

/* One message of every type, with all that it can carry. */
static struct msg sample(uint8_t type)
{
    struct msg m;

    memset(&m, 0, sizeof m);
    m.type = type;
    switch (type) {
    case MSG_PING:
    case MSG_ACK:
    case MSG_PING_REQ:
    case MSG_NACK:
    case MSG_GOSSIP:
        if (type != MSG_GOSSIP) {
            m.probe.sequence = 70000;
            m.probe.root = UINT64_MAX;
        }
        if (type != MSG_PING && type != MSG_GOSSIP)
            m.probe.target.v = 0x1122334455667788;
        if (type == MSG_PING_REQ)
            m.probe.address = (struct addr){.family = 6, .ip = {0xfe, 0x80, [15] = 1}, .port = 1};
        m.probe.update_count = 2;
        m.probe.updates[0] = update(MSG_ALIVE, 77, 77);
        m.probe.updates[1] = update(MSG_SUSPECT, 78, 79);
        break;
    case MSG_DIGEST:
        m.digest = (struct msg_digest){.reply = true, .last = {UINT64_MAX}, .count = 2};
        m.digest.entries[0] = (struct msg_digest_entry){{5}, 1};
        m.digest.entries[1] = (struct msg_digest_entry){{6}, UINT64_MAX};
        break;
    case MSG_DELTA:
        m.delta = (struct msg_delta){.author = {9}, .from = 10, .to = 40, .count = 3};
        m.delta.records[0] = record("", 40, 20);
        m.delta.records[1] = record("instance/shop/api.0", 300, 30);
        m.delta.records[2] = record("node", 0, 31);
        break;
    default:
        m.lease = (struct msg_lease){
            .sequence = 3, .set = 1, .lease_ms = 500, .fence_ms = 50, .item_count = 4};
        if (m.type == MSG_LEASE_REQUEST)
            m.lease.digest = UINT64_MAX;
        if (m.type == MSG_LEASE_REPLY)
            m.lease.renewed = MSG_REFUSE;
        m.lease.items[0] = (struct msg_lease_item){.lease = UINT64_MAX, .session = 1};
        m.lease.items[1] = (struct msg_lease_item){.lease = 2, .session = 1, .verdict = MSG_GRANT};
        m.lease.items[2] = (struct msg_lease_item){
            .lease = 3, .session = 1, .verdict = MSG_REFUSE, .left = 499, .to = {8}};
        m.lease.items[3] =
            (struct msg_lease_item){.lease = 4, .session = 1, .verdict = MSG_VERDICT_MAX};
        break;
    }
    return m;
}

#define TYPES_MAX MSG_LEASE_TRANSFER

static void check_record(const struct msg_record *a, const struct msg_record *b)
{
    assert_int_equal(a->version, b->version);
    assert_int_equal(a->floor, b->floor);
    assert_int_equal(a->key_len, b->key_len);
    assert_memory_equal(a->key, b->key, a->key_len);
    assert_int_equal(a->value_len, b->value_len);
    assert_memory_equal(a->value, b->value, a->value_len);
    assert_memory_equal(a->signature, b->signature, MSG_SIGNATURE);
}

static void check_updates(const struct msg_probe *a, const struct msg_probe *b)
{
    assert_int_equal(a->update_count, b->update_count);
    for (size_t i = 0; i < a->update_count; i++) {
        const struct msg_update *x = &a->updates[i], *y = &b->updates[i];
        assert_int_equal(x->kind, y->kind);
        assert_true(node_id_equal(x->subject, y->subject));
        assert_true(node_id_equal(x->author, y->author));
        assert_int_equal(x->incarnation, y->incarnation);
        assert_true(addr_equal(&x->addr, &y->addr));
        assert_memory_equal(x->signature, y->signature, MSG_SIGNATURE);
    }
}

static void check_equal(const struct msg *a, const struct msg *b)
{
    assert_int_equal(a->type, b->type);
    if (a->type <= MSG_GOSSIP) {
        assert_int_equal(a->probe.sequence, b->probe.sequence);
        assert_true(node_id_equal(a->probe.target, b->probe.target));
        assert_true(addr_equal(&a->probe.address, &b->probe.address));
        assert_int_equal(a->probe.root, b->probe.root);
        check_updates(&a->probe, &b->probe);
    } else if (a->type == MSG_DIGEST) {
        assert_int_equal(a->digest.reply, b->digest.reply);
        assert_true(node_id_equal(a->digest.first, b->digest.first));
        assert_true(node_id_equal(a->digest.last, b->digest.last));
        assert_int_equal(a->digest.count, b->digest.count);
        assert_memory_equal(a->digest.entries, b->digest.entries,
                            a->digest.count * sizeof a->digest.entries[0]);
    } else if (a->type == MSG_DELTA) {
        assert_true(node_id_equal(a->delta.author, b->delta.author));
        assert_int_equal(a->delta.from, b->delta.from);
        assert_int_equal(a->delta.to, b->delta.to);
        assert_int_equal(a->delta.count, b->delta.count);
        for (size_t i = 0; i < a->delta.count; i++)
            check_record(&a->delta.records[i], &b->delta.records[i]);
    } else {
        assert_int_equal(a->lease.sequence, b->lease.sequence);
        assert_int_equal(a->lease.set, b->lease.set);
        assert_int_equal(a->lease.lease_ms, b->lease.lease_ms);
        assert_int_equal(a->lease.fence_ms, b->lease.fence_ms);
        assert_true(a->lease.digest == b->lease.digest);
        assert_int_equal(a->lease.renewed, b->lease.renewed);
        assert_int_equal(a->lease.item_count, b->lease.item_count);
        for (size_t i = 0; i < a->lease.item_count; i++) {
            const struct msg_lease_item *x = &a->lease.items[i], *y = &b->lease.items[i];
            assert_int_equal(x->lease, y->lease);
            assert_int_equal(x->session, y->session);
            assert_int_equal(x->verdict, y->verdict);
            assert_int_equal(x->left, y->left);
            assert_true(node_id_equal(x->to, y->to));
        }
    }
}

static void test_round_trip(void **state)
{
    (void)state;
    for (uint8_t type = MSG_PING; type <= TYPES_MAX; type++) {
        const struct msg m = sample(type);
        struct msg back;
        uint8_t body[CODEC_BODY_MAX];
        size_t len;

        assert_int_equal(codec_encode(&m, body, &len), ERR_NONE);
        assert_int_equal(codec_decode(body, len, &back), WIRE_OK);
        check_equal(&m, &back);
    }
}

/* The bytes are msgpack by msgpack-c's own reader, too. */
static void test_is_msgpack(void **state)
{
    (void)state;
    for (uint8_t type = MSG_PING; type <= TYPES_MAX; type++) {
        const struct msg m = sample(type);
        uint8_t body[CODEC_BODY_MAX];
        msgpack_unpacked unpacked;
        size_t len, offset = 0;

        assert_int_equal(codec_encode(&m, body, &len), ERR_NONE);
        msgpack_unpacked_init(&unpacked);
        assert_int_equal(msgpack_unpack_next(&unpacked, (const char *)body, len, &offset),
                         MSGPACK_UNPACK_SUCCESS);
        assert_int_equal(offset, len);
        assert_int_equal(unpacked.data.type, MSGPACK_OBJECT_ARRAY);
        assert_int_equal(unpacked.data.via.array.ptr[0].via.u64, type);
        msgpack_unpacked_destroy(&unpacked);
    }
}

static void test_truncated_everywhere(void **state)
{
    (void)state;
    for (uint8_t type = MSG_PING; type <= TYPES_MAX; type++) {
        const struct msg m = sample(type);
        struct msg back;
        uint8_t body[CODEC_BODY_MAX + 1];
        size_t len;

        assert_int_equal(codec_encode(&m, body, &len), ERR_NONE);
        for (size_t cut = 0; cut < len; cut++)
            assert_int_equal(codec_decode(body, cut, &back), WIRE_BODY_TRUNCATED);
        body[len] = 0xc0;
        assert_int_equal(codec_decode(body, len + 1, &back), WIRE_BODY_TRAILING);
    }
}

/* Whatever one changed byte makes of a message, if it is still taken it has one form only. */
static void test_one_form(void **state)
{
    (void)state;
    for (uint8_t type = MSG_PING; type <= TYPES_MAX; type++) {
        const struct msg m = sample(type);
        struct msg back;
        uint8_t body[CODEC_BODY_MAX], again[CODEC_BODY_MAX];
        size_t len, again_len;

        assert_int_equal(codec_encode(&m, body, &len), ERR_NONE);
        for (size_t i = 0; i < len; i++) {
            for (unsigned v = 1; v < 256; v++) {
                body[i] ^= (uint8_t)v;
                if (codec_decode(body, len, &back) == WIRE_OK) {
                    assert_int_equal(codec_encode(&back, again, &again_len), ERR_NONE);
                    assert_int_equal(again_len, len);
                    assert_memory_equal(again, body, len);
                }
                body[i] ^= (uint8_t)v;
            }
        }
    }
}

static enum wire_reason decode(const void *bytes, size_t len)
{
    struct msg m;

    return codec_decode(bytes, len, &m);
}
#define DECODE(text) decode(text, sizeof(text) - 1)

static void test_refusals(void **state)
{
    (void)state;
    assert_int_equal(DECODE("\x94\x01\x05\x00\x90"), WIRE_OK); /* PING 5, root 0 */
    assert_int_equal(DECODE(""), WIRE_BODY_TRUNCATED);
    assert_int_equal(DECODE("\x95\x01\x05\x00\x90\xc0"), WIRE_BODY_FIELDS); /* unknown field */
    assert_int_equal(DECODE("\x93\x01\x05\x00"), WIRE_BODY_FIELDS);
    assert_int_equal(DECODE("\x94\x0c\x05\x00\x90"), WIRE_BODY_TYPE);
    assert_int_equal(DECODE("\x94\x00\x05\x00\x90"), WIRE_BODY_TYPE);
    assert_int_equal(DECODE("\x94\xcc\xff\x05\x00\x90"), WIRE_BODY_TYPE);
    assert_int_equal(DECODE("\x94\xcd\x01\x01\x05\x00\x90"), WIRE_BODY_VALUE);
    assert_int_equal(DECODE("\x81\x01\x05"), WIRE_BODY_VALUE);             /* a map */
    assert_int_equal(DECODE("\x94\x01\xa1z\x00\x90"), WIRE_BODY_VALUE);    /* a string */
    assert_int_equal(DECODE("\x94\x01\xff\x00\x90"), WIRE_BODY_VALUE);     /* -1 */
    assert_int_equal(DECODE("\x94\x01\xcc\x05\x00\x90"), WIRE_BODY_VALUE); /* 5, too long */
    assert_int_equal(DECODE("\xdc\x00\x04\x01\x05\x00\x90"), WIRE_BODY_VALUE);
    assert_int_equal(DECODE("\xdd\xff\xff\xff\xff\x01"), WIRE_BODY_VALUE); /* 2^32 elements */
    assert_int_equal(DECODE("\x94\x01\x05\x00\xdc\xff\xff"), WIRE_BODY_VALUE);
    assert_int_equal(DECODE("\x94\x01\x05\x00\x99"), WIRE_BODY_VALUE);     /* 9 updates */
    assert_int_equal(DECODE("\x95\x06\xc2\x02\x01\x90"), WIRE_BODY_VALUE); /* first > last */
    assert_int_equal(DECODE("\x95\x06\xc2\x01\x09\x91\x92\x0a\x01"), WIRE_BODY_VALUE);
    assert_int_equal(DECODE("\x95\x06\xc2\x01\x09\x92\x92\x03\x01\x92\x03\x01"), WIRE_BODY_VALUE);
    assert_int_equal(DECODE("\x95\x06\xc2\x01\x09\x91\x93\x03\x01\x01"), WIRE_BODY_FIELDS);
    assert_int_equal(DECODE("\x96\x08\x01\x01\x01\x01\x91\x93\x01\x01\x00"), WIRE_BODY_FIELDS);
    assert_int_equal(DECODE("\x96\x08\x01\x01\x01\x01\x91\x93\x01\x01\x07"), WIRE_BODY_VALUE);
    assert_int_equal(DECODE("\x97\x08\x01\x01\x01\x01\x90\x07"), WIRE_OK); /* a digest */
    assert_int_equal(DECODE("\x97\x08\x01\x01\x01\x01\x90\x00"), WIRE_BODY_VALUE);
    assert_int_equal(DECODE("\x97\x09\x01\x01\x01\x01\x90\x02"), WIRE_OK); /* its verdict */
    assert_int_equal(DECODE("\x97\x09\x01\x01\x01\x01\x90\x03"), WIRE_BODY_VALUE);
    assert_int_equal(DECODE("\x97\x0a\x01\x01\x01\x01\x90\x01"), WIRE_BODY_FIELDS);
    assert_int_equal(DECODE("\x95\x07\x00\x01\x02\x90"), WIRE_BODY_VALUE); /* no author */
    assert_int_equal(DECODE("\x95\x07\x01\x03\x02\x90"), WIRE_BODY_VALUE); /* from > to */
}

static void test_encode_refuses(void **state)
{
    struct msg m;
    uint8_t body[CODEC_BODY_MAX];
    size_t len = 1;

    (void)state;
    m = sample(MSG_PING);
    m.type = 0;
    assert_int_equal(codec_encode(&m, body, &len), ERR_INVALID);
    assert_int_equal(len, 0);
    m = sample(MSG_PING);
    m.probe.updates[0].addr.family = 0; /* an ALIVE without address */
    assert_int_equal(codec_encode(&m, body, &len), ERR_INVALID);
    m = sample(MSG_PING);
    m.probe.updates[0].author.v = 4;
    assert_int_equal(codec_encode(&m, body, &len), ERR_INVALID);
    m = sample(MSG_PING);
    m.probe.update_count = MSG_UPDATES_MAX + 1;
    assert_int_equal(codec_encode(&m, body, &len), ERR_INVALID);
    m = sample(MSG_PING_REQ);
    m.probe.address.family = 5;
    assert_int_equal(codec_encode(&m, body, &len), ERR_INVALID);
    m = sample(MSG_DELTA);
    m.delta.records[0].version = m.delta.from;
    assert_int_equal(codec_encode(&m, body, &len), ERR_INVALID);
    m = sample(MSG_DELTA);
    m.delta.records[1].key = "instance/shop\n/api.0";
    assert_int_equal(codec_encode(&m, body, &len), ERR_INVALID);
    m = sample(MSG_DIGEST);
    m.digest.entries[1].author.v = 1;
    assert_int_equal(codec_encode(&m, body, &len), ERR_INVALID);
}

static size_t encoded_size(const struct msg *m)
{
    uint8_t body[CODEC_BODY_MAX];
    size_t len;

    assert_int_equal(codec_encode(m, body, &len), ERR_NONE);
    return len;
}

/* The size functions are exact: one item more is so many bytes more. */
static void test_sizes(void **state)
{
    struct msg m;

    (void)state;
    m = sample(MSG_GOSSIP);
    for (size_t i = 0; i < 2; i++) {
        size_t with, without;
        m.probe.update_count = (uint8_t)(i + 1);
        with = encoded_size(&m);
        m.probe.update_count = (uint8_t)i;
        without = encoded_size(&m);
        assert_int_equal(with - without, codec_update_size(&m.probe.updates[i]));
    }
    m = sample(MSG_DELTA);
    for (size_t i = 0; i < 3; i++) {
        size_t with, without;
        m.delta.count = (uint8_t)(i + 1);
        with = encoded_size(&m);
        m.delta.count = (uint8_t)i;
        without = encoded_size(&m);
        assert_int_equal(with - without, codec_record_size(&m.delta.records[i]));
    }
    m = sample(MSG_LEASE_REPLY);
    for (size_t i = 0; i < 3; i++) {
        size_t with, without;
        m.lease.item_count = (uint8_t)(i + 1);
        with = encoded_size(&m);
        m.lease.item_count = (uint8_t)i;
        without = encoded_size(&m);
        assert_int_equal(with - without, codec_lease_item_size(&m.lease.items[i]));
    }
}

/* What adds up to CODEC_ITEMS_MAX fits, under the largest fields; what does not, is refused. */
static void test_limits(void **state)
{
    static char long_key[RECORD_KEY_MAX];
    struct msg m = sample(MSG_PING_REQ);
    uint8_t body[CODEC_BODY_MAX];
    size_t len, sum = 0;

    (void)state;
    m.probe.sequence = UINT32_MAX;
    m.probe.update_count = 0;
    while (m.probe.update_count < MSG_UPDATES_MAX) {
        struct msg_update u = update(MSG_ALIVE, UINT64_MAX, UINT64_MAX);
        u.incarnation = UINT64_MAX;
        u.addr.family = 6;
        sum += codec_update_size(&u);
        m.probe.updates[m.probe.update_count++] = u;
    }
    assert_true(sum <= CODEC_ITEMS_MAX);
    assert_int_equal(codec_encode(&m, body, &len), ERR_NONE);

    memset(long_key, 'k', sizeof long_key - 1);
    m = sample(MSG_DELTA);
    m.delta = (struct msg_delta){
        .author = {UINT64_MAX}, .from = UINT64_MAX - 2, .to = UINT64_MAX, .count = 1};
    m.delta.records[0] = record(long_key, RECORD_VALUE_MAX, UINT64_MAX - 1);
    assert_true(codec_record_size(&m.delta.records[0]) <= CODEC_ITEMS_MAX);
    assert_int_equal(codec_encode(&m, body, &len), ERR_NONE);
    m.delta.records[1] = record("second", RECORD_VALUE_MAX, UINT64_MAX);
    m.delta.count = 2;
    assert_int_equal(codec_encode(&m, body, &len), ERR_LIMIT);
    assert_int_equal(len, 0);

    m = sample(MSG_DIGEST);
    m.digest = (struct msg_digest){.first = {UINT64_MAX - 100}, .last = {UINT64_MAX}};
    for (m.digest.count = 0; m.digest.count < MSG_DIGEST_MAX; m.digest.count++)
        m.digest.entries[m.digest.count] =
            (struct msg_digest_entry){{UINT64_MAX - 100 + m.digest.count}, UINT64_MAX};
    assert_int_equal(codec_encode(&m, body, &len), ERR_NONE);

    m = sample(MSG_LEASE_REPLY);
    for (m.lease.item_count = 0; m.lease.item_count < MSG_LEASE_ITEMS_MAX; m.lease.item_count++)
        m.lease.items[m.lease.item_count] = (struct msg_lease_item){
            .lease = UINT64_MAX, .session = UINT64_MAX, .verdict = MSG_GRANT};
    assert_int_equal(codec_encode(&m, body, &len), ERR_NONE);
}

/* An idle probe is what the airtime budget counts with. */
static void test_idle_size(void **state)
{
    struct msg m = sample(MSG_PING);

    (void)state;
    m.probe.update_count = 0;
    assert_int_equal(encoded_size(&m), 17);
}

static void test_texts(void **state)
{
    static const char dirty[] = "a\x1b[31m\n\xff\xc2\x9b\xe2\x82\xac\xe2\x82";
    uint8_t bytes[64];
    char text[64];
    struct pack p;
    struct unpack u;

    (void)state;
    pack_begin(&p, bytes, sizeof bytes);
    pack_text(&p, dirty, sizeof dirty);
    unpack_begin(&u, bytes, p.len);
    unpack_text(&u, text, sizeof text);
    assert_int_equal(unpack_end(&u), WIRE_OK);
    assert_string_equal(text, "a [31m ?  \xe2\x82\xac??");
    assert_false(text_valid(dirty, sizeof dirty - 1));
    assert_false(text_valid("\xed\xa0\x80", 3));     /* a surrogate */
    assert_false(text_valid("\xc0\x80", 2));         /* a long zero */
    assert_false(text_valid("\xf4\x90\x80\x80", 4)); /* above U+10FFFF */
    assert_true(text_valid("\xf4\x8f\xbf\xbf", 4));
}

static void test_signed_numbers(void **state)
{
    static const int64_t values[] = {0,         1,         127,    128,       INT32_MAX,
                                     INT64_MAX, -1,        -32,    -33,       INT8_MIN,
                                     -129,      INT16_MIN, -32769, INT32_MIN, INT64_C(-2147483649),
                                     INT64_MIN};

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        uint8_t bytes[16];
        struct pack p;
        struct unpack u;

        pack_begin(&p, bytes, sizeof bytes);
        pack_int(&p, values[i]);
        unpack_begin(&u, bytes, p.len);
        assert_int_equal(unpack_int(&u, INT64_MIN, INT64_MAX), values[i]);
        assert_int_equal(unpack_end(&u), WIRE_OK);
    }
    for (unsigned v = 0; v < 0x100; v++) { /* 0xd0: one byte, -33 and below only */
        const uint8_t bytes[] = {0xd0, (uint8_t)v};
        struct unpack u;

        unpack_begin(&u, bytes, 2);
        unpack_int(&u, INT64_MIN, INT64_MAX);
        assert_int_equal(unpack_end(&u), v >= 0x80 && v < 0xe0 ? WIRE_OK : WIRE_BODY_VALUE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_is_msgpack),
        cmocka_unit_test(test_one_form),       cmocka_unit_test(test_truncated_everywhere),
        cmocka_unit_test(test_refusals),       cmocka_unit_test(test_encode_refuses),
        cmocka_unit_test(test_sizes),          cmocka_unit_test(test_limits),
        cmocka_unit_test(test_idle_size),      cmocka_unit_test(test_texts),
        cmocka_unit_test(test_signed_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
