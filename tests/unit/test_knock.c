/* Joining without a token, introductions and notices of revocation: datagrams that prove
 * themselves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proto/wire/knock.h"
#include "proto/wire/notice.h"

static struct keys_identity cluster, holder, newcomer, attacker;

static struct keys_identity make(uint8_t fill)
{
    struct keys_identity identity;
    uint8_t seed[KEYS_SEED];

    memset(seed, fill, sizeof seed);
    keys_from_seed(seed, &identity);
    return identity;
}

static int setup(void **state)
{
    (void)state;
    assert_int_equal(keys_start(NULL), ERR_NONE);
    cluster = make(1);
    holder = make(2);
    newcomer = make(3);
    attacker = make(4);
    return 0;
}

static struct keys_admission admit(const struct keys_identity *by, const struct keys_identity *node,
                                   const char *name)
{
    struct keys_admission a = {.role = 1, .serial = 7};

    memcpy(a.public_key, node->public_key, KEYS_PUBLIC);
    memcpy(a.name, name, strlen(name));
    keys_sign_admission(by, &a);
    return a;
}

static struct knock make_knock(void)
{
    return (struct knock){
        .nonce = {9}, .addr = {.family = 4, .ip = {10, 0, 0, 3}, .port = 8801}, .name = "pi3"};
}

static struct knock_reply make_reply(const struct keys_identity *by,
                                     const struct keys_identity *node)
{
    struct knock_reply reply = {.nonce = {9}, .holder = admit(by, node, "pi1")};

    memcpy(reply.cluster_key, by->public_key, KEYS_PUBLIC);
    return reply;
}

static void test_knock(void **state)
{
    struct knock knock = make_knock(), back;
    uint8_t datagram[KNOCK_SIZE + 1] = {0};

    (void)state;
    assert_int_equal(knock_seal(&newcomer, &knock, datagram), ERR_NONE);
    assert_int_equal(knock_open(datagram, KNOCK_SIZE, &back), WIRE_OK);
    assert_memory_equal(back.public_key, newcomer.public_key, KEYS_PUBLIC);
    assert_memory_equal(back.nonce, knock.nonce, KNOCK_NONCE);
    assert_string_equal(back.name, "pi3");
    assert_true(addr_equal(&back.addr, &knock.addr));
    for (size_t i = 0; i < KNOCK_SIZE; i++) {
        datagram[i] ^= 0x20;
        assert_int_not_equal(knock_open(datagram, KNOCK_SIZE, &back), WIRE_OK);
        datagram[i] ^= 0x20;
    }
    assert_int_equal(knock_open(datagram, KNOCK_SIZE - 1, &back), WIRE_TRUNCATED);
    assert_int_equal(knock_open(datagram, KNOCK_SIZE + 1, &back), WIRE_OVERSIZED);
    memcpy(knock.name, "Pi 3", 5);
    assert_int_equal(knock_seal(&newcomer, &knock, datagram), ERR_INVALID);
}

static void test_reply(void **state)
{
    struct knock_reply reply = make_reply(&cluster, &holder), back;
    uint8_t datagram[KNOCK_REPLY_SIZE + 1] = {0};

    (void)state;
    knock_reply_seal(&holder, &reply, datagram);
    assert_int_equal(knock_reply_open(datagram, KNOCK_REPLY_SIZE, &back), WIRE_OK);
    assert_memory_equal(back.cluster_key, cluster.public_key, KEYS_PUBLIC);
    assert_string_equal(back.holder.name, "pi1");
    for (size_t i = 0; i < KNOCK_REPLY_SIZE; i++) {
        datagram[i] ^= 0x20;
        assert_int_not_equal(knock_reply_open(datagram, KNOCK_REPLY_SIZE, &back), WIRE_OK);
        datagram[i] ^= 0x20;
    }
    assert_int_equal(knock_reply_open(datagram, KNOCK_REPLY_SIZE - 1, &back), WIRE_TRUNCATED);
    /* Somebody who names the flock's key, and was not admitted by it. */
    reply = make_reply(&attacker, &attacker);
    memcpy(reply.cluster_key, cluster.public_key, KEYS_PUBLIC);
    knock_reply_seal(&attacker, &reply, datagram);
    assert_int_equal(knock_reply_open(datagram, KNOCK_REPLY_SIZE, &back), WIRE_AUTHENTICATION);
}

/* Who stands between the two cannot show both the same fingerprint. */
static void test_fingerprint(void **state)
{
    char shown[KEYS_FINGERPRINT], other[KEYS_FINGERPRINT];

    (void)state;
    keys_fingerprint(cluster.public_key, newcomer.public_key, shown);
    assert_int_equal(strlen(shown), KEYS_FINGERPRINT - 1);
    assert_int_equal(strspn(shown, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567-"), KEYS_FINGERPRINT - 1);
    keys_fingerprint(attacker.public_key, newcomer.public_key, other); /* a false flock */
    assert_string_not_equal(shown, other);
    keys_fingerprint(cluster.public_key, attacker.public_key, other); /* a false newcomer */
    assert_string_not_equal(shown, other);
    keys_fingerprint(cluster.public_key, newcomer.public_key, other);
    assert_string_equal(shown, other);
}

/* Only the two can compute the token of their join. */
static void test_token(void **state)
{
    const struct knock knock = make_knock();
    struct token here, there, others;
    uint8_t again[KNOCK_NONCE] = {8};

    (void)state;
    assert_int_equal(
        knock_token(&newcomer, holder.public_key, knock.nonce, cluster.public_key, &here),
        ERR_NONE);
    assert_int_equal(
        knock_token(&holder, newcomer.public_key, knock.nonce, cluster.public_key, &there),
        ERR_NONE);
    assert_memory_equal(&here, &there, sizeof here);
    knock_token(&attacker, newcomer.public_key, knock.nonce, cluster.public_key, &others);
    assert_memory_not_equal(here.secret, others.secret, TOKEN_SECRET);
    assert_memory_not_equal(here.id, others.id, TOKEN_ID);
    knock_token(&newcomer, holder.public_key, again, cluster.public_key, &others);
    assert_memory_not_equal(here.secret, others.secret, TOKEN_SECRET);
}

static void test_introduce(void **state)
{
    struct keys_admission a = admit(&cluster, &newcomer, "pi3"), back;
    uint8_t datagram[NOTICE_SIZE + 1] = {0};
    struct keys_revocation none;

    (void)state;
    notice_introduce(&a, datagram);
    assert_int_equal(notice_open_introduce(cluster.public_key, datagram, NOTICE_SIZE, &back),
                     WIRE_OK);
    assert_memory_equal(&back, &a, sizeof a);
    for (size_t i = 0; i < NOTICE_SIZE; i++) {
        datagram[i] ^= 0x20;
        assert_int_not_equal(
            notice_open_introduce(cluster.public_key, datagram, NOTICE_SIZE, &back), WIRE_OK);
        datagram[i] ^= 0x20;
    }
    assert_int_equal(notice_open_introduce(attacker.public_key, datagram, NOTICE_SIZE, &back),
                     WIRE_AUTHENTICATION);
    assert_int_equal(notice_open_revoked(cluster.public_key, datagram, NOTICE_SIZE, &none),
                     WIRE_KIND);
    assert_int_equal(notice_open_introduce(cluster.public_key, datagram, NOTICE_SIZE - 1, &back),
                     WIRE_TRUNCATED);
    assert_int_equal(notice_open_introduce(cluster.public_key, datagram, NOTICE_SIZE + 1, &back),
                     WIRE_OVERSIZED);
}

static void test_notice(void **state)
{
    struct keys_revocation r = {.name = "pi3", .time = 1234567890}, back;
    uint8_t datagram[NOTICE_SIZE];

    (void)state;
    memcpy(r.public_key, newcomer.public_key, KEYS_PUBLIC);
    keys_sign_revocation(&cluster, &r);
    notice_revoked(&r, datagram);
    assert_int_equal(notice_open_revoked(cluster.public_key, datagram, NOTICE_SIZE, &back),
                     WIRE_OK);
    assert_memory_equal(&back, &r, sizeof r);
    for (size_t i = 0; i < NOTICE_SIZE; i++) {
        datagram[i] ^= 0x20;
        assert_int_not_equal(notice_open_revoked(cluster.public_key, datagram, NOTICE_SIZE, &back),
                             WIRE_OK);
        datagram[i] ^= 0x20;
    }
    keys_sign_revocation(&attacker, &r);
    notice_revoked(&r, datagram);
    assert_int_equal(notice_open_revoked(cluster.public_key, datagram, NOTICE_SIZE, &back),
                     WIRE_AUTHENTICATION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_knock),       cmocka_unit_test(test_reply),
        cmocka_unit_test(test_fingerprint), cmocka_unit_test(test_token),
        cmocka_unit_test(test_introduce),   cmocka_unit_test(test_notice),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
