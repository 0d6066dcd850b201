/* How the voter set changes (rule 11 of docs/vip.md). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/lease/lease.h"

#define B LEASE_SILENCE_BOOT
#define NODES_MAX 8

static struct voters v;
static struct voters_state next;
static struct voters_node nodes[NODES_MAX];
static unsigned count;

static void admit(uint64_t id)
{
    nodes[count++] = (struct voters_node){.id = {id}};
}

static void revoke(uint64_t id)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < count; i++)
        if (nodes[i].id.v != id)
            nodes[kept++] = nodes[i];
    count = kept;
}

static void adopt(uint64_t id, uint32_t number)
{
    for (unsigned i = 0; i < count; i++)
        if (nodes[i].id.v == id)
            nodes[i].adopted = number;
}

static bool decide(int64_t now)
{
    if (!voters_next(&v, (mono_t){now}, nodes, count, &next))
        return false;
    assert_true(voter_set_valid(&next.current));
    assert_int_equal(next.current.number, v.state.current.number + 1);
    assert_int_equal(next.previous.number, v.state.current.number);
    voters_init(&v, &next);
    return true;
}

/* Everybody adopts; the time runs on until no step is left. Returns the steps. */
static int settle(int64_t *now)
{
    int steps = 0;

    for (int i = 0; i < 20; i++) {
        for (unsigned n = 0; n < count; n++)
            nodes[n].adopted = v.state.current.number;
        steps += decide(*now);
        *now += B;
    }
    return steps;
}

static int setup(void **state)
{
    (void)state;
    memset(&next, 0, sizeof next);
    memset(nodes, 0, sizeof nodes);
    voters_init(&v, &next);
    count = 0;
    return 0;
}

static void the_founder_is_the_first_set(void **state)
{
    (void)state;
    assert_false(decide(0));
    admit(1);
    assert_true(decide(0));
    assert_int_equal(v.state.current.count, 1);
    assert_false(decide(100000));
    assert_true(mono_is_never(voters_deadline(&v)));
}

static void one_voter_at_a_time_up_to_five_and_odd(void **state)
{
    static const int sizes[] = {0, 1, 2, 3, 3, 5, 5, 5};
    int64_t now = 0;
    (void)state;

    for (unsigned n = 1; n < 8; n++) {
        admit(n);
        settle(&now);
        assert_int_equal(v.state.current.count, sizes[n]);
    }
    for (uint64_t id = 1; id <= 5; id++)
        assert_true(voter_set_has(&v.state.current, (node_id){id}));
}

static void a_step_waits_for_the_majority_of_the_set_before_and_then_b(void **state)
{
    int64_t now = 0;
    (void)state;

    for (uint64_t id = 1; id <= 3; id++)
        admit(id);
    settle(&now);
    assert_int_equal(v.state.current.number, 3);
    admit(4);
    admit(5);
    assert_true(decide(now)); /* set 4: {1,2,3,4} */
    assert_false(decide(now + 10 * B));
    adopt(4, 4);
    adopt(5, 4);
    assert_false(decide(now + 20 * B)); /* not voters of set 3 */
    adopt(1, 4);
    assert_false(decide(now + 20 * B));
    adopt(2, 4);
    assert_false(decide(now + 30 * B));
    assert_int_equal(voters_deadline(&v).ms, now + 31 * B);
    assert_false(decide(now + 31 * B - 1));
    assert_true(decide(now + 31 * B));
    assert_int_equal(v.state.current.count, 5);
}

static void a_restart_of_the_coordinator_waits_again(void **state)
{
    struct voters_state stored;
    int64_t now = 0;
    (void)state;

    for (uint64_t id = 1; id <= 3; id++)
        admit(id);
    settle(&now);
    stored = v.state;
    voters_init(&v, &stored);
    admit(4);
    admit(5);
    assert_false(decide(now));
    assert_true(decide(now + B));
}

static void a_revoked_voter_is_replaced_without_a_set_of_two(void **state)
{
    int64_t now = 0;
    (void)state;

    for (uint64_t id = 1; id <= 4; id++)
        admit(id);
    settle(&now);
    revoke(2);
    assert_true(decide(now)); /* the new one first */
    assert_int_equal(v.state.current.count, 4);
    adopt(1, v.state.current.number);
    adopt(3, v.state.current.number);
    assert_false(decide(now + 1));
    assert_true(decide(now + 1 + B));
    assert_int_equal(v.state.current.count, 3);
    assert_false(voter_set_has(&v.state.current, (node_id){2}));
    assert_true(voter_set_has(&v.state.current, (node_id){4}));
}

static void with_the_set_before_lost_all_must_have_adopted(void **state)
{
    struct voters_state lost = {.current = {.number = 9, .count = 3, .voters = {{1}, {2}, {3}}}};
    (void)state;

    voters_init(&v, &lost);
    for (uint64_t id = 1; id <= 5; id++)
        admit(id);
    adopt(1, 9);
    adopt(2, 9);
    assert_false(decide(0));
    assert_false(decide(B));
    adopt(3, 9);
    assert_false(decide(B));
    assert_true(decide(2 * B));
}

static void a_node_adopts_only_what_is_newer_and_sound(void **state)
{
    struct voter_set mine = {.number = 3, .count = 1, .voters = {{1}}};
    struct voter_set seen = {.number = 7, .count = 2, .voters = {{1}, {2}}};
    (void)state;

    assert_true(voters_adopt(&mine, &seen));
    seen.number = 3;
    assert_false(voters_adopt(&mine, &seen));
    seen.number = 4;
    seen.voters[1].v = 1;
    assert_false(voters_adopt(&mine, &seen));
    seen.voters[1].v = 0;
    assert_false(voters_adopt(&mine, &seen));
    seen.count = MSG_VOTERS_MAX + 1;
    assert_false(voters_adopt(&mine, &seen));
    seen.count = 0;
    assert_false(voters_adopt(&mine, &seen));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_founder_is_the_first_set, setup),
        cmocka_unit_test_setup(one_voter_at_a_time_up_to_five_and_odd, setup),
        cmocka_unit_test_setup(a_step_waits_for_the_majority_of_the_set_before_and_then_b, setup),
        cmocka_unit_test_setup(a_restart_of_the_coordinator_waits_again, setup),
        cmocka_unit_test_setup(a_revoked_voter_is_replaced_without_a_set_of_two, setup),
        cmocka_unit_test_setup(with_the_set_before_lost_all_must_have_adopted, setup),
        cmocka_unit_test_setup(a_node_adopts_only_what_is_newer_and_sound, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
