/* Sealed values: who can open them, and under which names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/seal.h"

static struct keys_identity node(uint8_t fill)
{
    struct keys_identity identity;
    uint8_t seed[KEYS_SEED];

    memset(seed, fill, sizeof seed);
    keys_from_seed(seed, &identity);
    return identity;
}

static void test_key(void **state)
{
    const struct keys_identity pi1 = node(1), pi2 = node(2);
    uint8_t key[SEAL_KEY], opened[SEAL_KEY] = {0};
    char text[SEAL_KEY_TEXT], again[SEAL_KEY_TEXT];
    static const uint8_t no_point[KEYS_PUBLIC] = {2};

    (void)state;
    seal_new_key(key);
    assert_int_equal(seal_key(pi1.public_key, key, text), ERR_NONE);
    assert_int_equal(strlen(text), SEAL_KEY_TEXT - 1);
    assert_int_equal(seal_open_key(&pi2, text, opened), ERR_DENIED);
    assert_int_equal(opened[0] | opened[31], 0); /* untouched */
    assert_int_equal(seal_open_key(&pi1, text, opened), ERR_NONE);
    assert_memory_equal(opened, key, sizeof key);
    /* Whoever compares two boxes does not learn that they hold the same key. */
    assert_int_equal(seal_key(pi1.public_key, key, again), ERR_NONE);
    assert_string_not_equal(text, again);
    assert_int_equal(seal_key(no_point, key, text), ERR_INVALID);
}

/* What was sealed opens for ever. Made by PyNaCl's crypto_box_seal and crypto_aead_… */
static void test_golden(void **state)
{
    static const char box[] =
        "AVEcRJ0Jw3XRQ3F6dhrDNKyVb/GaOgD72w0BLpXFXs4O+rCHgidNCtjVsnlNrjG0YP6+YXRx"
        "tUzzztsIIFoDsVFzKPI2rb/P/aiGbdedTshs";
    static const char sealed[] =
        "AQABAgMEBQYHCAkKCwwNDg8QERITFBUWF8BixfGfbmklJceBR+bir6xf1jgXFPc3cfMdt4Ga"
        "zJSXGLHSUkKWdC4K2hqgzo567w==";
    const struct keys_identity pi1 = node(1);
    uint8_t key[SEAL_KEY], wanted[SEAL_KEY];
    char *value = malloc(SEAL_VALUE_MAX + 1);
    size_t len;

    (void)state;
    assert_non_null(value);
    memset(wanted, 7, sizeof wanted);
    assert_int_equal(seal_open_key(&pi1, box, key), ERR_NONE);
    assert_memory_equal(key, wanted, sizeof key);
    assert_int_equal(seal_open_value(key, "db", "password", sealed, value, &len), ERR_NONE);
    assert_string_equal(value, "hunter2");
    free(value);
}

static void test_damaged_key(void **state)
{
    const struct keys_identity pi1 = node(1);
    uint8_t key[SEAL_KEY];
    char text[SEAL_KEY_TEXT];

    (void)state;
    seal_new_key(key);
    for (size_t i = 0; i + 1 < SEAL_KEY_TEXT; i += 7) {
        assert_int_equal(seal_key(pi1.public_key, key, text), ERR_NONE);
        text[i] = text[i] == 'A' ? 'B' : 'A';
        assert_int_not_equal(seal_open_key(&pi1, text, key), ERR_NONE);
    }
    assert_int_equal(seal_open_key(&pi1, "", key), ERR_INVALID);
    assert_int_equal(seal_open_key(&pi1, "AQ==", key), ERR_INVALID);
    assert_int_equal(seal_open_key(&pi1, "Ag==", key), ERR_VERSION);
    assert_int_equal(seal_open_key(&pi1, "not base64", key), ERR_INVALID);
    assert_int_equal(seal_open_key(&pi1, "\xff\xfe", key), ERR_INVALID);
}

struct opened {
    char value[SEAL_VALUE_MAX + 1];
    char text[SEAL_VALUE_TEXT_MAX];
    char large[SEAL_VALUE_MAX + 1];
};

static void test_value(void **state)
{
    struct opened *o = malloc(sizeof *o);
    uint8_t key[SEAL_KEY], other[SEAL_KEY];
    size_t len;

    (void)state;
    assert_non_null(o);
    seal_new_key(key);
    seal_new_key(other);
    assert_int_equal(seal_value(key, "db", "password", "hunter2", 7, o->text), ERR_NONE);
    assert_int_equal(seal_open_value(key, "db", "password", o->text, o->value, &len), ERR_NONE);
    assert_int_equal(len, 7);
    assert_string_equal(o->value, "hunter2");
    /* Bound to both names and the key; a name that only reads alike is another one. */
    assert_int_equal(seal_open_value(other, "db", "password", o->text, o->value, &len), ERR_DENIED);
    assert_int_equal(seal_open_value(key, "db2", "password", o->text, o->value, &len), ERR_DENIED);
    assert_int_equal(seal_open_value(key, "db", "user", o->text, o->value, &len), ERR_DENIED);
    assert_int_equal(seal_open_value(key, "dbpass", "word", o->text, o->value, &len), ERR_DENIED);
    free(o);
}

static void test_lengths(void **state)
{
    struct opened *o = malloc(sizeof *o);
    uint8_t key[SEAL_KEY];
    size_t len, first;

    (void)state;
    assert_non_null(o);
    seal_new_key(key);
    memset(o->large, 'x', sizeof o->large);
    assert_int_equal(seal_value(key, "a", "b", "", 0, o->text), ERR_NONE);
    first = strlen(o->text);
    assert_int_equal(seal_open_value(key, "a", "b", o->text, o->value, &len), ERR_NONE);
    assert_int_equal(len, 0);
    /* Lengths are told by the block alone. */
    assert_int_equal(seal_value(key, "a", "b", o->large, SEAL_BLOCK - 1, o->text), ERR_NONE);
    assert_int_equal(strlen(o->text), first);
    assert_int_equal(seal_value(key, "a", "b", o->large, SEAL_VALUE_MAX, o->text), ERR_NONE);
    assert_int_equal(seal_open_value(key, "a", "b", o->text, o->value, &len), ERR_NONE);
    assert_int_equal(len, SEAL_VALUE_MAX);
    assert_memory_equal(o->value, o->large, SEAL_VALUE_MAX);
    assert_int_equal(seal_value(key, "a", "b", o->large, SEAL_VALUE_MAX + 1, o->text), ERR_LIMIT);
    assert_int_equal(seal_value(key, "a", "b", "a\0b", 3, o->text), ERR_INVALID);
    free(o);
}

static void test_damaged_value(void **state)
{
    struct opened *o = malloc(sizeof *o);
    uint8_t key[SEAL_KEY];
    size_t len;

    (void)state;
    assert_non_null(o);
    seal_new_key(key);
    assert_int_equal(seal_value(key, "a", "b", "value", 5, o->text), ERR_NONE);
    for (size_t i = 0; o->text[i] != '\0'; i++) {
        char was = o->text[i];
        o->text[i] = was == 'A' ? 'B' : 'A';
        assert_int_not_equal(seal_open_value(key, "a", "b", o->text, o->value, &len), ERR_NONE);
        o->text[i] = '\0'; /* and cut there */
        assert_int_not_equal(seal_open_value(key, "a", "b", o->text, o->value, &len), ERR_NONE);
        o->text[i] = was;
    }
    assert_int_equal(seal_open_value(key, "a", "b", o->text, o->value, &len), ERR_NONE);
    free(o);
}

static void test_public(void **state)
{
    const struct keys_identity pi1 = node(1);
    uint8_t back[KEYS_PUBLIC];
    char text[SEAL_PUBLIC_TEXT];

    (void)state;
    seal_public_format(pi1.public_key, text);
    assert_int_equal(seal_public_parse(text, back), ERR_NONE);
    assert_memory_equal(back, pi1.public_key, KEYS_PUBLIC);
    assert_int_equal(seal_public_parse("AAAA", back), ERR_INVALID);
    assert_int_equal(seal_public_parse("", back), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key),         cmocka_unit_test(test_golden),
        cmocka_unit_test(test_damaged_key), cmocka_unit_test(test_value),
        cmocka_unit_test(test_lengths),     cmocka_unit_test(test_damaged_value),
        cmocka_unit_test(test_public),
    };

    if (keys_start(NULL) != ERR_NONE)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
