/* The users of rest-api. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "workloads/lib/body.h"
#include "workloads/rest-api/users.h"

static int setup(void **state)
{
    struct users *users;
    int rc = users_new(&users, NULL);
    *state = users;
    return rc;
}

static int teardown(void **state)
{
    users_free(*state);
    return 0;
}

static void assert_page(struct users *users, int64_t after, size_t limit, const char *tail)
{
    struct out o;
    size_t len = strlen(tail);

    out_init(&o, NULL, 0, 1 << 20);
    users_emit_page(users, after, limit, &o);
    assert_true(o.len >= len);
    assert_memory_equal(o.data + o.len - len, tail, len);
    out_free(&o);
}

static struct out discard(void)
{
    struct out o;
    out_init(&o, NULL, 0, 0);
    return o;
}

static void pages_follow_one_another_to_the_end(void **state)
{
    assert_page(*state, 0, 2,
                "\"email\":\"bob@example.com\"}],\"count\":2,\"total\":5,\"next\":2}");
    assert_page(*state, 2, 2, "\"count\":2,\"total\":5,\"next\":4}");
    assert_page(*state, 4, 2,
                "\"email\":\"eve@example.com\"}],\"count\":1,\"total\":5,\"next\":null}");
    assert_page(*state, 4, 1, "\"count\":1,\"total\":5,\"next\":null}");
    assert_page(*state, 5, 2, "{\"users\":[],\"count\":0,\"total\":5,\"next\":null}");
    assert_page(*state, INT64_MAX, 2, "{\"users\":[],\"count\":0,\"total\":5,\"next\":null}");
}

static void users_are_added_changed_and_removed(void **state)
{
    char storage[256];
    struct out o;
    int64_t id;

    out_init(&o, storage, sizeof storage, 0);
    assert_int_equal(users_add(*state, "Zoe", "zoe@example.com", &id, &o), ERR_NONE);
    assert_int_equal(id, 6);
    assert_int_equal(users_remove(*state, 3), ERR_NONE);
    assert_int_equal(users_remove(*state, 3), ERR_NOTFOUND);
    assert_int_equal(users_emit(*state, 3, &o), ERR_NOTFOUND);
    out_reset(&o);
    assert_int_equal(users_change(*state, 6, "Zora", NULL, &o), ERR_NONE);
    assert_memory_equal(o.data, "{\"id\":6,\"name\":\"Zora\",\"email\":\"zoe@example.com\"}",
                        o.len);
    assert_page(*state, 2, 1, "\"count\":1,\"total\":5,\"next\":4}");
    /* An id is never used again. */
    assert_int_equal(users_remove(*state, 6), ERR_NONE);
    o = discard();
    assert_int_equal(users_add(*state, "Zoe", "zoe@example.com", &id, &o), ERR_NONE);
    assert_int_equal(id, 7);
}

static void an_address_belongs_to_one_user(void **state)
{
    struct out o = discard();
    int64_t id;

    assert_int_equal(users_add(*state, "Alice", "ALICE@example.com", &id, &o), ERR_EXISTS);
    assert_int_equal(users_change(*state, 2, NULL, "alice@example.com", &o), ERR_EXISTS);
    assert_int_equal(users_change(*state, 1, "Al", "Alice@example.com", &o), ERR_NONE);
    assert_int_equal(users_change(*state, 99, "Al", NULL, &o), ERR_NOTFOUND);
}

static void the_list_has_an_end(void **state)
{
    char email[32];
    int64_t id;

    for (int i = 5; i < USERS_MAX; i++) {
        struct out o = discard();
        snprintf(email, sizeof email, "u%d@example.com", i);
        assert_int_equal(users_add(*state, "U", email, &id, &o), ERR_NONE);
    }
    struct out o = discard();
    assert_int_equal(users_add(*state, "U", "one@more", &id, &o), ERR_FULL);
    assert_int_equal(users_remove(*state, 1), ERR_NONE);
    assert_int_equal(users_add(*state, "U", "one@more", &id, &o), ERR_NONE);
}

static void addresses_are_checked_by_form(void **state)
{
    static const char *const bad[] = {"",     "a",    "@b",     "a@",    "a@b@c", "a b@c",
                                      "a@.b", "a@b.", "a@b..c", "<a>@b", "a,b@c", "\"a\"@b"};
    char big[USER_EMAIL_MAX + 2];
    (void)state;

    assert_null(check_email("first.last+tag@sub.example.com"));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_non_null(check_email(bad[i]));
    memset(big, 'a', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    big[1] = '@';
    assert_non_null(check_email(big));
    big[USER_EMAIL_MAX] = '\0';
    assert_null(check_email(big));
}

int main(void)
{
#define WITH_USERS(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_USERS(pages_follow_one_another_to_the_end),
        WITH_USERS(users_are_added_changed_and_removed),
        WITH_USERS(an_address_belongs_to_one_user),
        WITH_USERS(the_list_has_an_end),
        cmocka_unit_test(addresses_are_checked_by_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
