/* The spread of addresses (core/node_balance.c): when a holder hands an address over by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/core/node_internal.h"

#define START 100000
#define STEADY 30000
#define LOOK 1000 /* between two looks */
#define STEP 50   /* the lease is renewed meanwhile */

static const node_id self = {11};
static const node_id voters[MSG_VOTERS_MAX] = {{11}};
static struct node *node;
static struct held_vip *vip;
static node_id best; /* preferred for the address, and not this node */

static mono_t at(int64_t ms)
{
    return (mono_t){ms};
}

/* A node whom the address prefers to this one, for this one has the lower rank. */
static node_id find_better(uint64_t lease)
{
    for (uint64_t id = 100;; id++) {
        struct place_node two[] = {{.id = self, .usable = true}, {.id = {id}, .usable = true}};
        if (place_rank(lease, two, 2, 1) == 0)
            return two[1].id;
    }
}

static struct peer *peer(void)
{
    return node_find_peer(node, best);
}

/* The kernel does at once what is asked of it. */
static void answer_fences(void)
{
    struct node_event_fence answers[8];
    size_t count = 0;

    for (size_t i = 0; i < node->effect_count && count < 8; i++) {
        const struct effect *e = &node->effects[i];
        if (e->type == EFFECT_FENCE_OPEN || e->type == EFFECT_FENCE_CLOSE)
            answers[count++] = (struct node_event_fence){.lease = e->fence.lease,
                                                         .number = e->fence.number,
                                                         .open = e->type == EFFECT_FENCE_OPEN};
    }
    node_effects_reset(node);
    for (size_t i = 0; i < count; i++)
        node_lease_fence(node, &answers[i]);
}

/* This node alone votes, so that it holds the address without asking anybody. */
static void hold(void)
{
    struct addr address = {.family = 4, .ip = {10, 77, 0, 210}};

    vip = node_vip_add(node, &address);
    assert_non_null(vip);
    vip->desired = true;
    node_vip_ranks(node);
    while (!vip->value.holding) {
        answer_fences();
        node->now = mono_max(node->now, node_lease_deadline(node));
        node_lease_tick(node);
        assert_true(mono_before(node->now, at(START + 5000)));
    }
}

static int set_up(void **state)
{
    struct node_config config = {.self = self,
                                 .head = {.name = "pi1", .role = VALUE_ROLE_AGENT, .serial = 1},
                                 .boot = 1,
                                 .seed = 7,
                                 .now = at(START),
                                 .first_since_boot = true,
                                 .adopted = {.number = 1, .count = 1}};
    struct node_event_peer other = {.head = {.name = "pi2", .role = VALUE_ROLE_AGENT, .serial = 2}};
    struct err err;
    (void)state;

    memcpy(config.adopted.voters, voters, sizeof voters);
    assert_int_equal(node_create(&config, &node, &err), ERR_NONE);
    hold();
    best = find_better(vip->lease);
    other.id = best;
    node_peers_admit(node, &other);
    peer()->state = MEMBER_ALIVE;
    vip->steady = node->now;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    node_free(node);
    return 0;
}

/* Lets @ms pass in looks. When the address was offered to the other node: milliseconds from the
 * beginning; -1: it was not. */
static int64_t offered_within(int64_t ms)
{
    mono_t from = node->now;

    for (int64_t passed = 0; passed <= ms; passed += STEP) {
        node->now = mono_add(from, passed);
        node_lease_tick(node);
        answer_fences();
        node_balance_tick(node);
        node_lease_tick(node);
        for (size_t i = 0; i < node->effect_count; i++) {
            const struct effect *e = &node->effects[i];
            if (e->type == EFFECT_SEND && e->send->msg.type == MSG_LEASE_TRANSFER &&
                node_id_equal(e->send->to, best))
                return passed;
        }
    }
    return -1;
}

static void it_goes_to_the_preferred_node_after_half_a_minute(void **state)
{
    int64_t when;
    (void)state;

    when = offered_within(2 * STEADY);
    assert_in_range(when, STEADY, STEADY + 2 * LOOK);
}

static void who_was_away_meanwhile_waits_anew(void **state)
{
    int64_t when;
    (void)state;

    assert_int_equal(offered_within(STEADY - 5000), -1);
    peer()->state = MEMBER_DEAD;
    assert_int_equal(offered_within(2 * LOOK), -1);
    peer()->state = MEMBER_ALIVE;
    when = offered_within(2 * STEADY);
    assert_in_range(when, STEADY, STEADY + 2 * LOOK);
}

static void who_is_not_fit_gets_nothing(void **state)
{
    (void)state;
    peer()->facts.draining = true;
    assert_int_equal(offered_within(2 * STEADY), -1);
    peer()->facts.draining = false;
    peer()->head.role = VALUE_ROLE_WITNESS;
    assert_int_equal(offered_within(2 * STEADY), -1);
    peer()->head.role = VALUE_ROLE_AGENT;
    snprintf(peer()->commit.commit, sizeof peer()->commit.commit, "%s", "another");
    assert_int_equal(offered_within(2 * STEADY), -1);
}

static void what_was_moved_by_hand_stays_until_the_preference_changes(void **state)
{
    (void)state;
    node_balance_acquired(node, vip, true);
    assert_int_equal(offered_within(4 * STEADY), -1);
    peer()->state = MEMBER_DEAD;
    assert_int_equal(offered_within(2 * LOOK), -1);
    peer()->state = MEMBER_ALIVE;
    assert_in_range(offered_within(2 * STEADY), STEADY, STEADY + 2 * LOOK);
}

static void nobody_looks_while_nothing_is_held(void **state)
{
    (void)state;
    vip->value.holding = false;
    assert_int_equal(offered_within(2 * STEADY), -1);
    assert_true(mono_is_never(node_balance_deadline(node)));
    vip->value.holding = true;
    node_balance_acquired(node, vip, false);
    assert_false(mono_is_never(node_balance_deadline(node)));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(it_goes_to_the_preferred_node_after_half_a_minute),
        TEST(who_was_away_meanwhile_waits_anew),
        TEST(who_is_not_fit_gets_nothing),
        TEST(what_was_moved_by_hand_stays_until_the_preference_changes),
        TEST(nobody_looks_while_nothing_is_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
