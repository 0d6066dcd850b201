/* Text that grows, and JSON written into it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "workloads/lib/emit.h"

static void assert_out(const struct out *o, const char *expected)
{
    assert_false(o->failed);
    assert_int_equal(o->len, strlen(expected));
    assert_memory_equal(o->data, expected, o->len);
}

static void text_moves_to_the_heap_and_keeps_its_head(void **state)
{
    char storage[8];
    char expected[1001];
    struct out o;
    (void)state;

    out_init(&o, storage, sizeof storage, 1000);
    for (int i = 0; i < 100; i++)
        out_text(&o, "0123456789");
    assert_true(o.heap);
    for (int i = 0; i < 100; i++)
        memcpy(expected + (ptrdiff_t)10 * i, "0123456789", 11);
    assert_out(&o, expected);
    out_char(&o, 'x');
    assert_true(o.failed);
    assert_int_equal(o.len, 1000);
    out_reset(&o);
    out_text(&o, "again");
    assert_out(&o, "again");
    out_free(&o);
}

static void what_does_not_fit_writes_nothing_and_stays_failed(void **state)
{
    char storage[4];
    struct out o;
    (void)state;

    out_init(&o, storage, sizeof storage, 0);
    out_text(&o, "abc");
    out_text(&o, "de");
    assert_true(o.failed);
    out_char(&o, 'd');
    assert_int_equal(o.len, 3);
    assert_memory_equal(storage, "abc", 3);
}

static void numbers_at_their_ends(void **state)
{
    char storage[256];
    struct out o;
    (void)state;

    out_init(&o, storage, sizeof storage, 0);
    out_int(&o, INT64_MIN);
    out_char(&o, ' ');
    out_int(&o, INT64_MAX);
    out_char(&o, ' ');
    out_uint(&o, UINT64_MAX);
    out_char(&o, ' ');
    out_padded(&o, 7, 6);
    assert_out(&o, "-9223372036854775808 9223372036854775807 18446744073709551615 000007");
}

static void decimals_are_exact(void **state)
{
    static const struct {
        int64_t scaled;
        unsigned digits;
        const char *text;
    } cases[] = {{12345, 2, "123.45"}, {5, 3, "0.005"}, {-5, 2, "-0.05"},
                 {0, 2, "0.00"},       {7, 0, "7"},     {INT64_MIN, 9, "-9223372036.854775808"}};
    char storage[64];
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct out o;
        out_init(&o, storage, sizeof storage, 0);
        emit_decimal(&o, cases[i].scaled, cases[i].digits);
        assert_out(&o, cases[i].text);
    }
}

static void commas_come_by_themselves(void **state)
{
    char storage[256];
    struct out o;
    (void)state;

    out_init(&o, storage, sizeof storage, 0);
    emit_object(&o);
    emit_key(&o, "a");
    emit_array(&o);
    emit_int(&o, 1);
    emit_object(&o);
    emit_object_end(&o);
    emit_array(&o);
    emit_array_end(&o);
    emit_null(&o);
    emit_array_end(&o);
    emit_key_bool(&o, "b", true);
    emit_key_string(&o, "c", "");
    emit_key_decimal(&o, "d", -150, 2);
    emit_object_end(&o);
    assert_out(&o, "{\"a\":[1,{},[],null],\"b\":true,\"c\":\"\",\"d\":-1.50}");
}

static void strings_are_valid_json_whatever_they_hold(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *text;
    } cases[] = {
        {"plain", 5, "\"plain\""},
        {"\"\\\n\r\t", 5, "\"\\\"\\\\\\n\\r\\t\""},
        {"\0\x01\x1f\x7f", 4, "\"\\u0000\\u0001\\u001f\\u007f\""},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"\xff", 1, "\"\\ufffd\""},
        {"\xc0\xaf", 2, "\"\\ufffd\\ufffd\""},                       /* overlong '/' */
        {"\xed\xa0\x80", 3, "\"\\ufffd\\ufffd\\ufffd\""},            /* surrogate */
        {"\xf4\x90\x80\x80", 4, "\"\\ufffd\\ufffd\\ufffd\\ufffd\""}, /* beyond U+10FFFF */
        {"a\xe2\x82", 3, "\"a\\ufffd\\ufffd\""},                     /* cut off */
        {"\xc3(", 2, "\"\\ufffd(\""},
    };
    char storage[128];
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct out o;
        out_init(&o, storage, sizeof storage, 0);
        emit_string_n(&o, cases[i].bytes, cases[i].len);
        assert_out(&o, cases[i].text);
    }
}

/* Plain characters are looked at eight at a time: each byte at each place of a long text. */
static void a_special_byte_is_found_wherever_it_stands(void **state)
{
    (void)state;

    for (unsigned c = 0; c < 256; c++) {
        char byte = (char)c;
        char alone_storage[16];
        struct out alone;
        out_init(&alone, alone_storage, sizeof alone_storage, 0);
        emit_string_n(&alone, &byte, 1);
        for (size_t at = 0; at < 20; at++) {
            char text[20];
            char storage[64];
            char wanted[64];
            struct out o;
            memset(text, 'x', sizeof text);
            text[at] = byte;
            memset(wanted, 'x', sizeof wanted);
            wanted[0] = '"';
            memcpy(wanted + 1 + at, alone.data + 1, alone.len - 2);
            wanted[alone.len + sizeof text - 2] = '"';
            wanted[alone.len + sizeof text - 1] = '\0';
            out_init(&o, storage, sizeof storage, 0);
            emit_string_n(&o, text, sizeof text);
            assert_out(&o, wanted);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_special_byte_is_found_wherever_it_stands),
        cmocka_unit_test(text_moves_to_the_heap_and_keeps_its_head),
        cmocka_unit_test(what_does_not_fit_writes_nothing_and_stays_failed),
        cmocka_unit_test(numbers_at_their_ends),
        cmocka_unit_test(decimals_are_exact),
        cmocka_unit_test(commas_come_by_themselves),
        cmocka_unit_test(strings_are_valid_json_whatever_they_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
