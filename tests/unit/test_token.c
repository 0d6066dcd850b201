/* Join tokens as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "proto/wire/token.h"

static struct token sample(void)
{
    struct token t;

    memset(&t, 0, sizeof t);
    for (size_t i = 0; i < TOKEN_ID; i++)
        t.id[i] = (uint8_t)i;
    memset(t.secret, 0x55, sizeof t.secret);
    memset(t.cluster_key, 0x66, sizeof t.cluster_key);
    t.addr_count = 2;
    t.addrs[0] = (struct addr){.family = 4, .ip = {10, 77, 0, 2}, .port = 8801};
    t.addrs[1] = (struct addr){.family = 6, .ip = {0xfe, 0x80, [15] = 1}, .port = 9};
    return t;
}

/* Computed by Python's base64 and hashlib. */
static const char golden[] =
    "covey1-AQABAgMEBQYHVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVV"
    "VVmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZgIECk0AAiJhBv6AAAAAAAAAAAA"
    "AAAAAAAEACS0bYDI";

static void test_golden(void **state)
{
    const struct token t = sample();
    struct token back;
    char text[TOKEN_TEXT_MAX], id[TOKEN_ID_TEXT_MAX];

    (void)state;
    assert_int_equal(token_format(&t, text), ERR_NONE);
    assert_string_equal(text, golden);
    assert_int_equal(token_parse(text, &back, NULL), ERR_NONE);
    assert_memory_equal(&back, &t, sizeof t);
    token_id_format(t.id, id);
    assert_string_equal(id, "0001020304050607");
}

static void test_largest(void **state)
{
    struct token t = sample(), back;
    char text[TOKEN_TEXT_MAX];

    (void)state;
    t.addr_count = TOKEN_ADDRS_MAX;
    for (size_t i = 0; i < TOKEN_ADDRS_MAX; i++)
        t.addrs[i] = t.addrs[1];
    assert_int_equal(token_format(&t, text), ERR_NONE);
    assert_int_equal(token_parse(text, &back, NULL), ERR_NONE);
    assert_memory_equal(&back, &t, sizeof t);
    t.addr_count = 0;
    assert_int_equal(token_format(&t, text), ERR_INVALID);
    t.addr_count = TOKEN_ADDRS_MAX + 1;
    assert_int_equal(token_format(&t, text), ERR_INVALID);
    t.addr_count = 1;
    t.addrs[0].family = 0;
    assert_int_equal(token_format(&t, text), ERR_INVALID);
}

/* People paste tokens: blanks around are no matter, damage anywhere is seen. */
static void test_pasting(void **state)
{
    struct token back;
    struct err err;
    char text[2 * TOKEN_TEXT_MAX];

    (void)state;
    snprintf(text, sizeof text, " \n%s\r\n", golden);
    assert_int_equal(token_parse(text, &back, &err), ERR_NONE);
    for (size_t cut = 0; cut < strlen(golden); cut++) {
        snprintf(text, sizeof text, "%.*s", (int)cut, golden);
        assert_int_equal(token_parse(text, &back, &err), ERR_INVALID);
    }
    for (size_t i = 0; i < strlen(golden); i++) {
        strcpy(text, golden);
        text[i] = text[i] == 'A' ? 'B' : 'A';
        assert_int_not_equal(token_parse(text, &back, &err), ERR_NONE);
        strcpy(text, golden);
        text[i] = '\xe2';
        assert_int_equal(token_parse(text, &back, &err), ERR_INVALID);
    }
    snprintf(text, sizeof text, "%sA", golden);
    assert_int_equal(token_parse(text, &back, &err), ERR_INVALID);
    memset(text, 'A', sizeof text - 1);
    memcpy(text, TOKEN_PREFIX, strlen(TOKEN_PREFIX));
    text[sizeof text - 1] = '\0';
    assert_int_equal(token_parse(text, &back, &err), ERR_INVALID);
}

static void test_messages(void **state)
{
    struct token back;
    struct err err;
    char text[2 * TOKEN_TEXT_MAX];

    (void)state;
    assert_int_equal(token_parse("hello", &back, &err), ERR_INVALID);
    assert_string_equal(err.text, "this is no join token: one starts with covey1-; make one by "
                                  "`agentctl token create` on a node of the flock");
    assert_int_equal(token_parse("covey1-AQAB", &back, &err), ERR_INVALID);
    assert_string_equal(err.text, "the join token is damaged (11 characters): copy it whole, from "
                                  "covey1- to its last character");
    snprintf(text, sizeof text, "%.20s %s", golden, golden + 20);
    assert_int_equal(token_parse(text, &back, &err), ERR_INVALID);
    assert_string_equal(err.text, "the join token has a blank inside: copy it as one word");
    assert_int_equal(token_parse("covey1-AgAA5fcB6w", &back, &err), ERR_VERSION);
    assert_string_equal(err.text, "the join token is of version 2, this agent knows version 1: "
                                  "install the release that the flock runs");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_largest),
        cmocka_unit_test(test_pasting),
        cmocka_unit_test(test_messages),
    };

    if (keys_start(NULL) != ERR_NONE)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
