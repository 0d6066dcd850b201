/* Identities, shared secrets and signatures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "proto/wire/keys.h"

static struct keys_identity identity(uint8_t fill)
{
    struct keys_identity id;
    uint8_t seed[KEYS_SEED];

    memset(seed, fill, sizeof seed);
    keys_from_seed(seed, &id);
    return id;
}

static void hex(const uint8_t *data, size_t len, char *text)
{
    for (size_t i = 0; i < len; i++)
        snprintf(text + 2 * i, 3, "%02x", data[i]);
}

/* RFC 8032 section 7.1, test 1: the pair of a seed. */
static void test_pair(void **state)
{
    static const uint8_t seed[KEYS_SEED] = {0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60,
                                            0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
                                            0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19,
                                            0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60};
    struct keys_identity id;
    char text[2 * KEYS_PUBLIC + 1];

    (void)state;
    keys_from_seed(seed, &id);
    hex(id.public_key, KEYS_PUBLIC, text);
    assert_string_equal(text, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    assert_true(node_id_equal(id.id, keys_node_id(id.public_key)));
    assert_false(node_id_none(id.id));
    assert_memory_equal(id.seed, seed, KEYS_SEED);
}

static void test_generate(void **state)
{
    struct keys_identity a, b;

    (void)state;
    keys_generate(&a);
    keys_generate(&b);
    assert_memory_not_equal(a.public_key, b.public_key, KEYS_PUBLIC);
    keys_wipe(&a, sizeof a);
    assert_true(keys_equal(&a, &(struct keys_identity){{0}, {0}, {0}}, sizeof a));
}

static void test_shared(void **state)
{
    struct keys_identity a = identity(1), b = identity(2), c = identity(3);
    uint8_t ab[KEYS_SHARED], ba[KEYS_SHARED], ac[KEYS_SHARED];
    uint8_t weak[KEYS_PUBLIC] = {1}; /* the neutral element: a point of small order */

    (void)state;
    assert_int_equal(keys_shared(&a, b.public_key, ab), ERR_NONE);
    assert_int_equal(keys_shared(&b, a.public_key, ba), ERR_NONE);
    assert_int_equal(keys_shared(&a, c.public_key, ac), ERR_NONE);
    assert_memory_equal(ab, ba, KEYS_SHARED);
    assert_memory_not_equal(ab, ac, KEYS_SHARED);
    assert_int_equal(keys_shared(&a, weak, ab), ERR_INVALID);
}

static void test_labels_separate(void **state)
{
    struct keys_identity a = identity(1);
    uint8_t signature[KEYS_SIGNATURE];

    (void)state;
    keys_sign(&a, "one", "data", 4, signature);
    assert_true(keys_verify(a.public_key, "one", "data", 4, signature));
    assert_false(keys_verify(a.public_key, "two", "data", 4, signature));
    assert_false(keys_verify(a.public_key, "oned", "ata", 3, signature));
    assert_false(keys_verify(a.public_key, "one", "datb", 4, signature));
    assert_false(keys_verify(identity(2).public_key, "one", "data", 4, signature));
}

static struct msg_update signed_update(const struct keys_identity *author)
{
    struct msg_update u = {.kind = MSG_ALIVE,
                           .subject = author->id,
                           .author = author->id,
                           .incarnation = 7,
                           .addr = {.family = 4, .ip = {10, 0, 0, 1}, .port = 8801}};

    keys_sign_update(author, &u);
    return u;
}

static void test_update(void **state)
{
    struct keys_identity a = identity(1), b = identity(2);
    const struct msg_update good = signed_update(&a);
    struct msg_update u = good;

    (void)state;
    assert_true(keys_verify_update(a.public_key, &u));
    assert_false(keys_verify_update(b.public_key, &u));
    u.kind = MSG_DEAD;
    assert_false(keys_verify_update(a.public_key, &u));
    u = good;
    u.subject = b.id;
    assert_false(keys_verify_update(a.public_key, &u));
    u = good;
    u.author = b.id;
    assert_false(keys_verify_update(a.public_key, &u));
    assert_false(keys_verify_update(b.public_key, &u));
    u = good;
    u.incarnation++;
    assert_false(keys_verify_update(a.public_key, &u));
    u = good;
    u.addr.ip[3]++;
    assert_false(keys_verify_update(a.public_key, &u));
    u = good;
    u.addr.port++;
    assert_false(keys_verify_update(a.public_key, &u));
    u = good;
    u.addr.family = 6;
    assert_false(keys_verify_update(a.public_key, &u));
    u = good;
    u.signature[63] ^= 1;
    assert_false(keys_verify_update(a.public_key, &u));
}

/* Bytes behind the address of the family are not part of the statement. */
static void test_update_unused_bytes(void **state)
{
    struct keys_identity a = identity(1);
    struct msg_update u = signed_update(&a);

    (void)state;
    u.addr.ip[9] = 1;
    assert_true(keys_verify_update(a.public_key, &u));
    u.addr = (struct addr){.port = 5};
    keys_sign_update(&a, &u);
    u.addr.port = 6;
    assert_true(keys_verify_update(a.public_key, &u));
}

static void test_record(void **state)
{
    struct keys_identity a = identity(1), b = identity(2);
    struct msg_record good = {.key = "node",
                              .key_len = 4,
                              .value = (const uint8_t *)"value",
                              .value_len = 5,
                              .version = 9,
                              .floor = 3};
    struct msg_record r;

    (void)state;
    keys_sign_record(&a, &good);
    assert_true(keys_verify_record(a.public_key, &good));
    assert_false(keys_verify_record(b.public_key, &good));
    r = good;
    r.key = "nodf";
    assert_false(keys_verify_record(a.public_key, &r));
    r = good;
    r.value = (const uint8_t *)"valuf";
    assert_false(keys_verify_record(a.public_key, &r));
    r = good;
    r.version++;
    assert_false(keys_verify_record(a.public_key, &r));
    r = good;
    r.floor++;
    assert_false(keys_verify_record(a.public_key, &r));
    /* A byte moved from the value to the key changes what is signed. */
    r = good;
    r.key = "nodev";
    r.key_len = 5;
    r.value = (const uint8_t *)"alue";
    r.value_len = 4;
    assert_false(keys_verify_record(a.public_key, &r));
    r = (struct msg_record){.version = 10}; /* an empty key and an empty value */
    keys_sign_record(&a, &r);
    assert_true(keys_verify_record(a.public_key, &r));
}

static void test_admission(void **state)
{
    struct keys_identity cluster = identity(9), a = identity(1), b = identity(2);
    struct keys_admission good = {.name = "pi1", .role = 1, .serial = 4}, x;

    (void)state;
    memcpy(good.public_key, a.public_key, KEYS_PUBLIC);
    keys_sign_admission(&cluster, &good);
    assert_true(keys_verify_admission(cluster.public_key, &good));
    assert_false(keys_verify_admission(a.public_key, &good));
    x = good;
    memcpy(x.public_key, b.public_key, KEYS_PUBLIC);
    assert_false(keys_verify_admission(cluster.public_key, &x));
    x = good;
    x.name[2] = '2';
    assert_false(keys_verify_admission(cluster.public_key, &x));
    x = good;
    x.role = 2;
    assert_false(keys_verify_admission(cluster.public_key, &x));
    x = good;
    x.serial = 5;
    assert_false(keys_verify_admission(cluster.public_key, &x));
}

/* Golden bytes, computed by other tools (Python's hashlib, openssl): what older agents have signed
 * must verify for ever. */
static void test_golden(void **state)
{
    struct keys_identity a = identity(1);
    struct msg_update u = signed_update(&a);
    char id[NODE_ID_TEXT], text[2 * KEYS_SIGNATURE + 1];

    (void)state;
    node_id_format(a.id, id);
    hex(u.signature, KEYS_SIGNATURE, text);
    assert_string_equal(id, "c5e21ab1c9f6022d");
    assert_string_equal(text, "f7685eeb92774d3d973e01f0e4daaba3abc35112b8585d26245b4f5ee85f51ea"
                              "5f455cc1a995f1cdf5d6e432f947938b0932fad1bd5098cc46e4779212187a09");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pair),   cmocka_unit_test(test_generate),
        cmocka_unit_test(test_shared), cmocka_unit_test(test_labels_separate),
        cmocka_unit_test(test_update), cmocka_unit_test(test_update_unused_bytes),
        cmocka_unit_test(test_record), cmocka_unit_test(test_admission),
        cmocka_unit_test(test_golden),
    };

    if (keys_start(NULL) != ERR_NONE)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
