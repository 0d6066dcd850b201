/* Joining by token: request, welcome, refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proto/wire/join.h"

static struct keys_identity cluster, seed, newcomer;
static struct token token;
static const struct addr newcomer_addr = {.family = 4, .ip = {10, 77, 0, 3}, .port = 8801};
static const uint8_t request_nonce[JOIN_NONCE] = {1}, reply_nonce[JOIN_NONCE] = {2};
static const uint8_t epoch_secret[KEYS_EPOCH_SECRET] = {0xe1, 0xe2};

static uint8_t request_bytes[MSG_DATAGRAM_MAX], reply_bytes[MSG_DATAGRAM_MAX];
static size_t request_len, reply_len;

#define ROLE 2 /* a witness; wire passes it on */

static struct keys_identity identity(uint8_t fill)
{
    struct keys_identity id;
    uint8_t bytes[KEYS_SEED];

    memset(bytes, fill, sizeof bytes);
    keys_from_seed(bytes, &id);
    return id;
}

static int set_up(void **state)
{
    (void)state;
    cluster = identity(1);
    seed = identity(2);
    newcomer = identity(3);
    memset(&token, 0, sizeof token);
    memset(token.id, 7, sizeof token.id);
    memset(token.secret, 8, sizeof token.secret);
    memcpy(token.cluster_key, cluster.public_key, KEYS_PUBLIC);
    assert_int_equal(join_request_seal(&token, &newcomer, "pi2", ROLE, &newcomer_addr,
                                       request_nonce, request_bytes, &request_len),
                     ERR_NONE);
    return 0;
}

static struct keys_admission admit(const struct keys_identity *by, const struct keys_identity *who,
                                   const char *name)
{
    struct keys_admission a = {.role = 1, .serial = 5};

    memcpy(a.public_key, who->public_key, KEYS_PUBLIC);
    strcpy(a.name, name);
    keys_sign_admission(by, &a);
    return a;
}

static struct join_welcome good_welcome(void)
{
    struct join_welcome w = {
        .admission = admit(&cluster, &newcomer, "pi2"),
        .seed = admit(&cluster, &seed, "pi1"),
        .seed_addr = {.family = 4, .ip = {10, 77, 0, 2}, .port = 8801},
        .epoch = {.number = 3, .revoked = 2, .revoked_digest = 77},
    };

    memcpy(w.cluster_key, cluster.public_key, KEYS_PUBLIC);
    memcpy(w.epoch.secret, epoch_secret, sizeof epoch_secret);
    keys_sign_epoch(&cluster, &w.epoch);
    return w;
}

static struct join_request opened_request(void)
{
    struct join_request r;

    assert_int_equal(join_request_open(token.secret, request_bytes, request_len, &r), WIRE_OK);
    return r;
}

static int open_reply(struct join_welcome *w, struct err *err)
{
    return join_reply_open(&token, &newcomer, "pi2", request_nonce, reply_bytes, reply_len, w, err);
}

static void test_request(void **state)
{
    struct join_request r = opened_request();
    uint8_t id[TOKEN_ID];

    (void)state;
    assert_true(join_token_id(request_bytes, request_len, id));
    assert_memory_equal(id, token.id, TOKEN_ID);
    assert_memory_equal(r.token, token.id, TOKEN_ID);
    assert_memory_equal(r.public_key, newcomer.public_key, KEYS_PUBLIC);
    assert_string_equal(r.name, "pi2");
    assert_int_equal(r.role, ROLE);
    assert_true(addr_equal(&r.addr, &newcomer_addr));
    assert_int_equal(join_request_seal(&token, &newcomer, "Pi 2", ROLE, &newcomer_addr,
                                       request_nonce, reply_bytes, &reply_len),
                     ERR_INVALID);
}

static void test_welcome(void **state)
{
    const struct join_welcome w = good_welcome();
    struct join_request r = opened_request();
    struct join_welcome back;

    (void)state;
    assert_int_equal(
        join_welcome_seal(token.secret, &r, &seed, &w, reply_nonce, reply_bytes, &reply_len),
        ERR_NONE);
    assert_true(reply_len <= 700);
    assert_int_equal(open_reply(&back, NULL), ERR_NONE);
    assert_memory_equal(back.epoch.secret, epoch_secret, sizeof epoch_secret);
    assert_int_equal(back.epoch.number, 3);
    assert_true(keys_verify_epoch(cluster.public_key, &back.epoch));
    assert_string_equal(back.seed.name, "pi1");
    assert_memory_equal(back.seed.public_key, seed.public_key, KEYS_PUBLIC);
    assert_true(addr_equal(&back.seed_addr, &w.seed_addr));
    assert_string_equal(back.admission.name, "pi2");
    assert_int_equal(back.admission.serial, 5);
    assert_true(keys_verify_admission(cluster.public_key, &back.admission));
    assert_true(keys_verify_admission(cluster.public_key, &back.seed));
}

static void test_refusal(void **state)
{
    struct join_request r = opened_request();
    struct join_welcome w;
    struct err err;
    char long_text[1000];

    (void)state;
    join_refusal_seal(token.secret, &r, "the token has expired", reply_nonce, reply_bytes,
                      &reply_len);
    assert_int_equal(open_reply(&w, &err), ERR_DENIED);
    assert_string_equal(err.text, "the flock refused: the token has expired");
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    join_refusal_seal(token.secret, &r, long_text, reply_nonce, reply_bytes, &reply_len);
    assert_int_equal(open_reply(&w, &err), ERR_DENIED);
}

/* Who has the token's id but not its secret gets no answer; no byte can be changed or left out. */
static void test_request_tampering(void **state)
{
    uint8_t wrong[TOKEN_SECRET] = {9};
    uint8_t copy[MSG_DATAGRAM_MAX + 1] = {0};
    uint8_t id[TOKEN_ID];
    struct join_request r;

    (void)state;
    assert_int_equal(join_request_open(wrong, request_bytes, request_len, &r), WIRE_AUTHENTICATION);
    memcpy(copy, request_bytes, request_len);
    for (size_t i = 0; i < request_len; i++) {
        copy[i] ^= 0x40;
        assert_int_not_equal(join_request_open(token.secret, copy, request_len, &r), WIRE_OK);
        copy[i] ^= 0x40;
    }
    for (size_t cut = 0; cut < request_len; cut++)
        assert_int_not_equal(join_request_open(token.secret, copy, cut, &r), WIRE_OK);
    assert_int_equal(join_request_open(token.secret, copy, sizeof copy, &r), WIRE_OVERSIZED);
    assert_false(join_token_id(copy, 20, id));
    assert_int_equal(join_request_open(token.secret, copy, 20, &r), WIRE_TRUNCATED);
}

static void test_reply_tampering(void **state)
{
    const struct join_welcome w = good_welcome();
    struct join_request r = opened_request();
    struct join_welcome back;
    uint8_t other_nonce[JOIN_NONCE] = {3};

    (void)state;
    join_welcome_seal(token.secret, &r, &seed, &w, reply_nonce, reply_bytes, &reply_len);
    for (size_t i = 0; i < reply_len; i++) {
        reply_bytes[i] ^= 0x40;
        assert_int_equal(open_reply(&back, NULL), ERR_AUTH);
        reply_bytes[i] ^= 0x40;
    }
    /* An answer to another request of the same newcomer. */
    assert_int_equal(
        join_reply_open(&token, &newcomer, "pi2", other_nonce, reply_bytes, reply_len, &back, NULL),
        ERR_AUTH);
    /* Somebody else with the token can read the reply, but not what is in the box. */
    assert_int_equal(join_reply_open(&token, &cluster, "pi2", request_nonce, reply_bytes, reply_len,
                                     &back, NULL),
                     ERR_AUTH);
    assert_memory_not_equal(back.epoch.secret, epoch_secret, sizeof epoch_secret);
    assert_int_equal(open_reply(&back, NULL), ERR_NONE);
}

static void check_refused(const struct join_welcome *w, const struct keys_identity *by)
{
    struct join_request r = opened_request();
    struct join_welcome back;
    struct err err;

    assert_int_equal(
        join_welcome_seal(token.secret, &r, by, w, reply_nonce, reply_bytes, &reply_len), ERR_NONE);
    assert_int_equal(open_reply(&back, &err), ERR_AUTH);
    assert_string_equal(err.text, "the answer is not of the flock that the token names");
}

/* A man in the middle who has the token, but not the cluster's key. */
static void test_false_flock(void **state)
{
    struct keys_identity other = identity(9);
    struct join_welcome w;

    (void)state;
    w = good_welcome();
    memcpy(w.cluster_key, other.public_key, KEYS_PUBLIC);
    w.admission = admit(&other, &newcomer, "pi2");
    w.seed = admit(&other, &other, "pi1");
    check_refused(&w, &other);
    memcpy(w.cluster_key, cluster.public_key, KEYS_PUBLIC);
    check_refused(&w, &other);
    w = good_welcome();
    w.seed = admit(&other, &other, "pi1"); /* an admitted newcomer, but no admitted seed */
    check_refused(&w, &other);
    w = good_welcome();
    w.cluster_key[0] ^= 1; /* names another key than the one that signed */
    check_refused(&w, &seed);
    w = good_welcome();
    check_refused(&w, &other); /* says that it is the seed, and is not */
    w = good_welcome();
    w.admission = admit(&cluster, &newcomer, "pi3"); /* another name */
    check_refused(&w, &seed);
    w = good_welcome();
    w.admission = admit(&cluster, &other, "pi2"); /* another key */
    check_refused(&w, &seed);
}

/* A request that one newcomer signed cannot be passed off with another name or key. */
static void test_request_signature(void **state)
{
    struct join_request r;
    struct keys_identity thief = newcomer;

    (void)state;
    thief.seed[0] ^= 1; /* claims the newcomer's public key without its secret */
    assert_int_equal(join_request_seal(&token, &thief, "pi2", ROLE, &newcomer_addr, request_nonce,
                                       request_bytes, &request_len),
                     ERR_NONE);
    assert_int_equal(join_request_open(token.secret, request_bytes, request_len, &r),
                     WIRE_AUTHENTICATION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_request, set_up),
        cmocka_unit_test_setup(test_welcome, set_up),
        cmocka_unit_test_setup(test_refusal, set_up),
        cmocka_unit_test_setup(test_request_tampering, set_up),
        cmocka_unit_test_setup(test_reply_tampering, set_up),
        cmocka_unit_test_setup(test_false_flock, set_up),
        cmocka_unit_test_setup(test_request_signature, set_up),
    };

    if (keys_start(NULL) != ERR_NONE)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
