/* HMAC-SHA-256 as webhooks are signed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/wire/hmac.h"

/* GitHub's own example of a signed delivery, and RFC 4231, test cases 1 and 2. */
static void known_answers(void **state)
{
    static const char secret[] = "It's a Secret to Everybody";
    char key[20], text[HMAC_SHA256_TEXT];
    (void)state;

    hmac_sha256_text(secret, strlen(secret), "Hello, World!", 13, text);
    assert_string_equal(text, "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
    memset(key, 0x0b, sizeof key);
    hmac_sha256_text(key, sizeof key, "Hi There", 8, text);
    assert_string_equal(text, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    hmac_sha256_text("Jefe", 4, "what do ya want for nothing?", 28, text);
    assert_string_equal(text, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

static void other_texts_are_others(void **state)
{
    (void)state;

    assert_true(hmac_same_text("abc", "abc"));
    assert_false(hmac_same_text("abc", "abd"));
    assert_false(hmac_same_text("abc", "ab"));
    assert_false(hmac_same_text("abc", "abcd"));
    assert_false(hmac_same_text("abc", ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(other_texts_are_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
