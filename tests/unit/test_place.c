/* Placement: spread, stability when a node dies or returns, selectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/core/place.h"
#include "proto/record/value.h"

#define NODES 5
#define REPLICAS 12

static struct place_node nodes[NODES];
static const struct desired_pair fast_pairs[] = {{"disk", "ssd"}};
static const struct desired_map fast = {fast_pairs, 1};

static void make_nodes(size_t count)
{
    static char names[NODES][24];

    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "pi%zu", i + 1);
        nodes[i] =
            (struct place_node){.id = {hash64_string(names[i])}, .name = names[i], .usable = true};
    }
}

static void place(const struct desired_workload *w, size_t count, int *owner)
{
    uint32_t scratch[NODES];
    for (size_t i = 0; i < count; i++)
        nodes[i].memory_set = nodes[i].cpu_set = 0;
    place_home(w, nodes, count, scratch, owner);
    place_move(w, nodes, count, scratch, owner);
}

static void replicas_spread_evenly(void **state)
{
    char name[32];
    (void)state;

    make_nodes(NODES);
    for (int n = 0; n < 50; n++) {
        struct desired_workload w = {.name = name, .replicas = REPLICAS};
        int owner[REPLICAS];
        int load[NODES] = {0};

        snprintf(name, sizeof name, "workload-%d", n);
        place(&w, NODES, owner);
        for (int r = 0; r < REPLICAS; r++)
            load[owner[r]]++;
        for (int i = 0; i < NODES; i++)
            assert_in_range(load[i], REPLICAS / NODES, REPLICAS / NODES + 1);
    }
}

static void secrets_keep_a_workload_on_nodes_that_open_them(void **state)
{
    static const char *const sealed_for[] = {"pi4", "pi2", NULL};
    struct desired_workload w = {.name = "w", .replicas = 2, .sealed_for = sealed_for};
    int owner[REPLICAS];
    (void)state;

    make_nodes(NODES);
    place(&w, NODES, owner);
    assert_int_equal(owner[0] + owner[1], 1 + 3);
    nodes[1].usable = nodes[3].usable = false;
    place(&w, NODES, owner);
    assert_int_equal(owner[0], -1);
    assert_int_equal(owner[1], -1);
}

static void requests_are_set_aside(void **state)
{
    struct desired_workload big = {
        .name = "big", .replicas = 3, .memory_request = 300 << 20, .cpu_request_milli = 100};
    struct desired_workload small = {.name = "small", .replicas = 1, .memory_request = 200 << 20};
    uint32_t scratch[NODES];
    int owner[REPLICAS], other[REPLICAS];
    char why[VALUE_REASON_MAX];
    (void)state;

    make_nodes(2);
    nodes[0].memory = nodes[1].memory = (uint64_t)512 << 20;
    nodes[0].cpu_milli = nodes[1].cpu_milli = 4000;
    place_home(&big, nodes, 2, scratch, owner);
    place_home(&small, nodes, 2, scratch, other);
    assert_int_equal(owner[0] + owner[1], 1); /* one on each */
    assert_int_equal(owner[2], -1);
    assert_true(other[0] >= 0);
    assert_int_equal(nodes[other[0]].memory_set, (uint64_t)500 << 20);
    place_why(&big, nodes, 2, why, sizeof why);
    assert_string_equal(
        why, other[0] == 0
                 ? "no room for its requests (300 MiB, 0.10 cores): pi1 has 12 of 512 MiB and 3.90 "
                   "of 4 cores left; pi2 has 212 of 512 MiB and 3.90 of 4 cores left"
                 : "no room for its requests (300 MiB, 0.10 cores): pi1 has 212 of 512 MiB and "
                   "3.90 of 4 cores left; pi2 has 12 of 512 MiB and 3.90 of 4 cores left");
    /* A node that dies takes its room along; the other has none for what it ran. */
    nodes[1].usable = false;
    place_move(&big, nodes, 2, scratch, owner);
    assert_int_equal(owner[0] < 0 ? owner[1] : owner[0], 0);
    assert_int_equal(owner[0] + owner[1], -1);
}

static void why_it_runs_nowhere(void **state)
{
    static const struct desired_pair pairs[] = {{"disk", "none"}};
    struct desired_workload w = {.name = "w", .node_selector = {pairs, 1}};
    char why[VALUE_REASON_MAX];
    (void)state;

    make_nodes(2);
    place_why(&w, nodes, 2, why, sizeof why);
    assert_string_equal(why, "no node has the labels of its nodeSelector");
    w.node_selector.count = 0;
    nodes[0].usable = nodes[1].usable = false;
    place_why(&w, nodes, 2, why, sizeof why);
    assert_string_equal(why, "the nodes that it may run on are away");
}

static void a_death_moves_only_the_dead_nodes_replicas(void **state)
{
    char name[32];
    (void)state;

    for (int n = 0; n < 50; n++) {
        for (size_t dead = 0; dead < NODES; dead++) {
            struct desired_workload w = {.name = name, .replicas = REPLICAS};
            int before[REPLICAS];
            int after[REPLICAS];

            snprintf(name, sizeof name, "workload-%d", n);
            make_nodes(NODES);
            place(&w, NODES, before);
            nodes[dead].usable = false;
            place(&w, NODES, after);
            for (int r = 0; r < REPLICAS; r++) {
                assert_int_not_equal(after[r], (int)dead);
                if (before[r] != (int)dead)
                    assert_int_equal(after[r], before[r]);
            }
        }
    }
}

static void two_pis_share_and_one_takes_all(void **state)
{
    struct desired_workload w = {.name = "rest-api", .replicas = 2};
    int owner[2];
    (void)state;

    make_nodes(2);
    place(&w, 2, owner);
    assert_int_not_equal(owner[0], owner[1]);
    nodes[0].usable = false;
    place(&w, 2, owner);
    assert_int_equal(owner[0], 1);
    assert_int_equal(owner[1], 1);
    nodes[1].usable = false;
    place(&w, 2, owner);
    assert_int_equal(owner[0], -1);
}

static void selectors_keep_a_workload_on_its_nodes(void **state)
{
    static const struct desired_pair by_name[] = {{"covey.dev/node", "pi2"}};
    struct desired_workload w = {.name = "db", .replicas = 1};
    int owner[1];
    (void)state;

    make_nodes(3);
    nodes[2].labels = &fast;
    w.node_selector = fast;
    place(&w, 3, owner);
    assert_int_equal(owner[0], 2);
    nodes[2].usable = false; /* pinned: it waits for its node and goes nowhere else */
    place(&w, 3, owner);
    assert_int_equal(owner[0], -1);
    w.node_selector = (struct desired_map){by_name, 1};
    place(&w, 3, owner);
    assert_int_equal(owner[0], 1);
}

static void the_order_of_nodes_does_not_matter(void **state)
{
    struct desired_workload w = {.name = "web", .replicas = 7};
    int a[7];
    int b[7];
    (void)state;

    make_nodes(4);
    place(&w, 4, a);
    struct place_node swap = nodes[0];
    nodes[0] = nodes[3];
    nodes[3] = swap;
    place(&w, 4, b);
    for (int r = 0; r < 7; r++) {
        int expected = a[r] == 0 ? 3 : a[r] == 3 ? 0 : a[r];
        assert_int_equal(b[r], expected);
    }
}

static void ranks_are_a_permutation(void **state)
{
    (void)state;
    make_nodes(NODES);
    for (uint64_t key = 0; key < 100; key++) {
        unsigned seen = 0;
        for (size_t i = 0; i < NODES; i++)
            seen |= 1u << place_rank(key, nodes, NODES, i);
        assert_int_equal(seen, (1u << NODES) - 1);
    }
}

static const struct desired_pair zone_a[] = {{"zone", "a"}}, zone_b[] = {{"zone", "b"}};
static const struct desired_map in_a = {zone_a, 1}, in_b = {zone_b, 1};

/* pi1, pi2, pi3 in zone a, pi4 in zone b, pi5 in none. */
static void make_zones(void)
{
    make_nodes(NODES);
    for (int i = 0; i < 3; i++)
        nodes[i].labels = &in_a;
    nodes[3].labels = &in_b;
}

static void replicas_spread_over_zones(void **state)
{
    static const struct desired_spread strict = {.key = "zone", .max_skew = 1, .strict = true};
    struct desired_workload w = {.name = "w", .replicas = 6, .spread = &strict, .spread_count = 1};
    int owner[REPLICAS];
    int in_zone_b = 0;
    (void)state;

    make_zones();
    place(&w, NODES, owner);
    for (int r = 0; r < 6; r++) {
        assert_in_range(owner[r], 0, 3); /* never where the label is missing */
        in_zone_b += owner[r] == 3;
    }
    assert_int_equal(in_zone_b, 3);
}

static void a_zone_that_is_gone_counts_no_more(void **state)
{
    static const struct desired_spread strict = {.key = "zone", .max_skew = 1, .strict = true};
    static const struct desired_spread soft = {.key = "zone", .max_skew = 1};
    struct desired_workload w = {.name = "w", .replicas = 4, .spread = &strict, .spread_count = 1};
    int owner[REPLICAS];
    int placed = 0;
    (void)state;

    make_zones();
    nodes[3].usable = false; /* zone b is gone, and its replicas move */
    place(&w, NODES, owner);
    for (int r = 0; r < 4; r++)
        placed += owner[r] >= 0;
    assert_int_equal(placed, 4); /* a place without usable nodes is none: all are in zone a */

    w.spread = &soft;
    nodes[3].usable = true;
    nodes[4].usable = false;
    place(&w, NODES, owner);
    for (int r = 0; r < 4; r++)
        assert_true(owner[r] >= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_set_aside),
        cmocka_unit_test(why_it_runs_nowhere),
        cmocka_unit_test(secrets_keep_a_workload_on_nodes_that_open_them),
        cmocka_unit_test(replicas_spread_over_zones),
        cmocka_unit_test(a_zone_that_is_gone_counts_no_more),
        cmocka_unit_test(replicas_spread_evenly),
        cmocka_unit_test(a_death_moves_only_the_dead_nodes_replicas),
        cmocka_unit_test(two_pis_share_and_one_takes_all),
        cmocka_unit_test(selectors_keep_a_workload_on_its_nodes),
        cmocka_unit_test(the_order_of_nodes_does_not_matter),
        cmocka_unit_test(ranks_are_a_permutation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
