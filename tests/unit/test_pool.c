/* Which address each name gets from the pool, and that nodes that know the same agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/core/pool.h"
#include "proto/base/err.h"
#include "proto/base/rng.h"

struct state {
    struct desired desired;
    struct desired_vip vips[DESIRED_VIPS_MAX];
    char names[DESIRED_VIPS_MAX][8];
    struct addr addresses[DESIRED_VIPS_MAX];
};

static struct addr ip(uint8_t last)
{
    return (struct addr){.family = 4, .ip = {10, 0, 0, last}};
}

/* @names: "a b c=212", in their order; the pool is 10.0.0.@first to 10.0.0.@last. */
static void want(struct state *s, uint8_t first, uint8_t last, const char *names)
{
    char text[256], *at = text, *name;

    memset(s, 0, sizeof *s);
    s->desired.pool_first = ip(first);
    s->desired.pool_last = ip(last);
    s->desired.vips = s->vips;
    snprintf(text, sizeof text, "%s", names);
    while ((name = strsep(&at, " ")) != NULL) {
        size_t i = s->desired.vip_count;
        unsigned pin = 0;
        assert_true(sscanf(name, "%7[a-z]=%u", s->names[i], &pin) >= 1);
        s->vips[i].name = s->names[i];
        if (pin > 0)
            s->vips[i].address = ip((uint8_t)pin);
        s->desired.vip_count++;
    }
}

/* @expected: the last bytes of the addresses, "-" for none. */
static void is(const struct state *s, const char *expected)
{
    char text[256] = "";
    size_t n = 0;

    for (size_t i = 0; i < s->desired.vip_count; i++)
        n += s->addresses[i].family == 0
                 ? (size_t)snprintf(text + n, sizeof text - n, "%s-", i > 0 ? " " : "")
                 : (size_t)snprintf(text + n, sizeof text - n, "%s%u", i > 0 ? " " : "",
                                    s->addresses[i].ip[3]);
    assert_string_equal(text, expected);
}

static void gives(struct pool *pool, int64_t stamp, uint8_t first, uint8_t last, const char *names,
                  const char *expected)
{
    struct state s;

    want(&s, first, last, names);
    pool_assign(pool, &s.desired, stamp, true, s.addresses);
    is(&s, expected);
}

static void the_lowest_free_one_and_those_of_documents(void **state)
{
    struct pool pool = {0};
    (void)state;

    gives(&pool, 1, 210, 213, "alpha beta gamma=211 omega=210 zeta zz", "212 213 211 210 - -");
}

static void other_names_do_not_renumber(void **state)
{
    struct pool pool = {0};
    (void)state;

    gives(&pool, 1, 210, 220, "m", "210");
    gives(&pool, 2, 210, 220, "a m z", "211 210 212");
    gives(&pool, 3, 210, 220, "m z", "210 212");
    gives(&pool, 4, 210, 220, "z", "212");
}

static void who_returns_gets_its_address_again(void **state)
{
    struct pool pool = {0};
    (void)state;

    gives(&pool, 1, 210, 213, "a b", "210 211");
    gives(&pool, 2, 210, 213, "b c", "211 212"); /* another one is taken while there are any */
    gives(&pool, 3, 210, 213, "a b c", "210 211 212");
}

static void what_was_given_on_is_not_taken_back(void **state)
{
    struct pool pool = {0};
    (void)state;

    gives(&pool, 1, 210, 211, "a b", "210 211");
    gives(&pool, 2, 210, 211, "b c", "211 210");     /* the pool is narrow: a's */
    gives(&pool, 3, 210, 211, "a b c", "- 211 210"); /* b and c stay; a has to wait */
    gives(&pool, 4, 210, 212, "a b c", "212 211 210");
    gives(&pool, 5, 210, 212, "a b", "212 211");
}

static void documents_and_the_pool_itself_go_first(void **state)
{
    struct pool pool = {0};
    (void)state;

    gives(&pool, 1, 210, 213, "a b", "210 211");
    gives(&pool, 2, 210, 213, "a b x=210", "212 211 210");
    gives(&pool, 3, 210, 213, "a b x", "212 211 210"); /* no longer written there: it stays */
    gives(&pool, 4, 211, 213, "a b x", "212 211 213");
}

static void without_news_nothing_new_is_given(void **state)
{
    struct pool pool = {0};
    struct state s;
    (void)state;

    gives(&pool, 1, 210, 213, "a", "210");
    want(&s, 210, 213, "a b c=213");
    pool_assign(&pool, &s.desired, 2, false, s.addresses);
    is(&s, "210 - 213");
    assert_null(pool_find(&pool, "b"));
}

static void exchange(struct pool *pools, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++)
            for (size_t k = 0; k < pools[j].count; k++)
                (void)pool_merge(&pools[i], pools[j].entries[k].name, &pools[j].entries[k].value);
}

static void of_one_name_the_later_gift_counts(void **state)
{
    const struct value_pool first = {{10, 0, 0, 210}, 1, 10}, next = {{10, 0, 0, 211}, 2, 20};
    const struct value_pool early = {{10, 0, 0, 212}, 2, 19}, lower = {{10, 0, 0, 209}, 2, 19};
    struct pool pool = {0};
    (void)state;

    assert_int_equal(pool_merge(&pool, "a", &first), ERR_NONE);
    assert_int_equal(pool_merge(&pool, "a", &next), ERR_NONE);
    assert_int_equal(pool_merge(&pool, "a", &first), ERR_EXISTS);
    assert_int_equal(pool_merge(&pool, "a", &early), ERR_NONE);
    assert_int_equal(pool_merge(&pool, "a", &next), ERR_EXISTS);
    assert_int_equal(pool_merge(&pool, "a", &lower), ERR_NONE);
    assert_int_equal(pool_merge(&pool, "a", &early), ERR_EXISTS);
    assert_int_equal(pool_merge(&pool, "a", &lower), ERR_EXISTS);
}

/* A partition: each side gives one address to a name of its own. */
static void two_sides_that_gave_one_address_agree(void **state)
{
    struct pool pools[2] = {0};
    (void)state;

    gives(&pools[0], 10, 210, 213, "b", "210");
    gives(&pools[1], 11, 210, 213, "a", "210");
    exchange(pools, 2);
    gives(&pools[0], 20, 210, 213, "a b", "211 210"); /* who has had it longer keeps it */
    gives(&pools[1], 21, 210, 213, "a b", "211 210");
    exchange(pools, 2);
    gives(&pools[1], 22, 210, 213, "a b", "211 210");
    assert_int_equal(pool_find(&pools[0], "a")->value.stamp, 20);
    assert_int_equal(pool_find(&pools[1], "a")->value.stamp, 20);
}

/* Whatever happened before: nodes that hear each other and want the same come to the same, with
 * nobody on another's address. */
static void any_histories_come_to_the_same(void **state)
{
    static const char *const wishes[] = {"a b c", "c d",     "a d=211",   "b e f=210", "a b c d e",
                                         "f",     "e=212 f", "a b=213 c", "d e f",     "a"};
    (void)state;

    for (uint64_t seed = 1; seed <= 2000; seed++) {
        struct pool pools[3] = {0};
        struct state s[3];
        struct rng rng;

        rng_seed(&rng, seed);
        for (int64_t stamp = 1; stamp < 12; stamp++) {
            struct pool *pool = &pools[rng_next(&rng) % 3];
            want(&s[0], 210, (uint8_t)(212 + rng_next(&rng) % 4), wishes[rng_next(&rng) % 10]);
            pool_assign(pool, &s[0].desired, stamp, true, s[0].addresses);
            if (rng_next(&rng) % 4 == 0)
                exchange(pools, 2 + rng_next(&rng) % 2);
        }
        for (int round = 0; round < 4; round++) {
            exchange(pools, 3);
            for (size_t i = 0; i < 3; i++) {
                want(&s[i], 210, 213, "a b c d=212 e f");
                pool_assign(&pools[i], &s[i].desired, 20 + round, true, s[i].addresses);
            }
        }
        for (size_t i = 0; i < 6; i++) {
            assert_true(addr_equal(&s[0].addresses[i], &s[1].addresses[i]));
            assert_true(addr_equal(&s[0].addresses[i], &s[2].addresses[i]));
            for (size_t k = 0; k < i; k++)
                assert_false(s[0].addresses[i].family == 4 &&
                             addr_equal(&s[0].addresses[i], &s[0].addresses[k]));
        }
    }
}

static void the_past_is_forgotten_in_its_order(void **state)
{
    struct pool pool = {0};
    struct state s;
    char name[NODE_NAME_MAX + 1];
    size_t trimmed = 0;
    (void)state;

    for (uint8_t i = 0; i < POOL_MAX; i++) {
        const struct value_pool value = {{10, 0, 0, i}, 1, 1000 - i};
        snprintf(name, sizeof name, "n%03u", i);
        assert_int_equal(pool_merge(&pool, name, &value), ERR_NONE);
    }
    assert_int_equal(pool_merge(&pool, "one-more", &(struct value_pool){{10}, 1, 1}), ERR_FULL);
    want(&s, 0, 255, "a");
    s.vips[0].name = "n127"; /* the oldest, and desired */
    for (unsigned i = 126; pool_trim(&pool, &s.desired, name); i--, trimmed++) {
        char expected[16];
        snprintf(expected, sizeof expected, "n%03u", i);
        assert_string_equal(name, expected);
        assert_null(pool_find(&pool, name));
    }
    assert_int_equal(trimmed, POOL_MAX - POOL_KEPT);
    assert_non_null(pool_find(&pool, "n127"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lowest_free_one_and_those_of_documents),
        cmocka_unit_test(other_names_do_not_renumber),
        cmocka_unit_test(who_returns_gets_its_address_again),
        cmocka_unit_test(what_was_given_on_is_not_taken_back),
        cmocka_unit_test(documents_and_the_pool_itself_go_first),
        cmocka_unit_test(without_news_nothing_new_is_given),
        cmocka_unit_test(of_one_name_the_later_gift_counts),
        cmocka_unit_test(two_sides_that_gave_one_address_agree),
        cmocka_unit_test(any_histories_come_to_the_same),
        cmocka_unit_test(the_past_is_forgotten_in_its_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
