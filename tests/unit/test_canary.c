/* Which nodes try a commit first, and who waits for them (core/node_canary.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/core/node_internal.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "cccccccccccccccccccccccccccccccccccccccc"
#define START 100000

static const node_id self = {11};
static const node_id pi1 = {12};
static const node_id pi3 = {13};
static struct node *node;
static struct rollout_marks marks; /* as the store has them */
static char applied[COMMIT_TEXT];  /* of the latest step: EFFECT_APPLY; "" for none */
static unsigned warnings;

static void step(struct node_event *event, int64_t ms)
{
    struct node_out out;

    event->wall = 1700000000;
    assert_int_equal(node_step(node, mono_add(node->now, ms), event, &out), ERR_NONE);
    applied[0] = '\0';
    for (size_t i = 0; i < out.count; i++) {
        const struct effect *e = &out.effects[i];
        if (e->type == EFFECT_APPLY)
            snprintf(applied, sizeof applied, "%s", e->apply.commit);
        else if (e->type == EFFECT_MARKS)
            marks = e->marks->marks;
        else if (e->type == EFFECT_EVENT && e->event->severity == EFFECT_WARNING &&
                 strcmp(e->event->subject, "commit") == 0)
            warnings++;
    }
}

static void wait_ms(int64_t ms)
{
    struct node_event timer = {.type = NODE_TIMER};

    step(&timer, ms);
}

static void admit(node_id id, const char *name)
{
    struct node_event event = {.type = NODE_ADMIT, .peer = {.id = id}};

    event.peer.head = (struct value_head){.role = VALUE_ROLE_AGENT, .serial = (uint32_t)id.v};
    snprintf(event.peer.head.name, sizeof event.peer.head.name, "%s", name);
    step(&event, 0);
}

/* What the executor does with a commit that it has read and stored. */
static void push(const char *commit, const char *canary, const char *in_cluster_yaml)
{
    char text[512];
    struct desired_file file = {.path = "cluster.yaml", .data = text};
    struct node_event event = {.type = NODE_DESIRED, .desired = {.canary = canary}};
    struct err err;

    snprintf(text, sizeof text,
             "apiVersion: covey.dev/v1\nkind: Cluster\nmetadata: {name: test}\nspec:\n"
             "  pool: 10.77.0.210-10.77.0.230\n  sync: {healthTimeoutSeconds: 20%s%s}\n",
             in_cluster_yaml != NULL ? ", canary: " : "",
             in_cluster_yaml != NULL ? in_cluster_yaml : "");
    file.size = strlen(text);
    assert_int_equal(desired_parse(commit, &file, 1, &event.desired.desired, NULL, &err), ERR_NONE);
    step(&event, 0);
}

static void create(void)
{
    struct node_config config = {.self = self,
                                 .head = {.name = "pi2", .role = VALUE_ROLE_AGENT, .serial = 1},
                                 .boot = 1,
                                 .seed = 7,
                                 .now = {START},
                                 .marks = &marks,
                                 .adopted = {.number = 1, .count = 1, .voters = {self}}};
    struct err err;

    assert_int_equal(node_create(&config, &node, &err), ERR_NONE);
    admit(pi1, "pi1");
    admit(pi3, "pi3");
    warnings = 0;
}

static void restart(void)
{
    node_free(node);
    create();
}

static void is(node_id id, enum member_state state)
{
    node_find_peer(node, id)->state = state;
}

static void shows(node_id id, const char *commit, uint8_t health)
{
    struct value_commit *value = &node_find_peer(node, id)->commit;

    snprintf(value->commit, sizeof value->commit, "%s", commit);
    value->health = health;
    wait_ms(1);
}

static bool runs(const char *commit)
{
    return strcmp(node->commit.commit, commit) == 0 && node->desired != NULL &&
           strcmp(node->desired->commit, commit) == 0;
}

static bool holds(const char *commit)
{
    const char *held, *canary;

    return node_held(node, &held, &canary) && strcmp(held, commit) == 0 &&
           node->commit.health == VALUE_HEALTH_HELD && strcmp(node->commit.next, commit) == 0;
}

/* A runs here and is good. */
static int set_up(void **state)
{
    (void)state;
    marks = (struct rollout_marks){.good = {A}};
    create();
    is(pi1, MEMBER_ALIVE);
    is(pi3, MEMBER_ALIVE);
    push(A, NULL, NULL);
    assert_true(runs(A));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    node_free(node);
    return 0;
}

static void it_waits_until_the_canary_has_shown_it_ready(void **state)
{
    (void)state;
    push(B, "pi1", NULL);
    assert_true(holds(B) && runs(A));
    assert_string_equal(node->commit.reason, "bbbbbbbbbb waits until pi1 has shown it ready");
    shows(pi1, A, VALUE_HEALTH_GOOD);
    shows(pi1, B, VALUE_HEALTH_TRYING);
    shows(pi3, B, VALUE_HEALTH_READY); /* not the one that was named */
    wait_ms(600000);
    assert_true(holds(B) && runs(A));
    shows(pi1, B, VALUE_HEALTH_READY);
    assert_true(runs(B));
    assert_string_equal(node->commit.reason, "");
    shows(pi1, B, VALUE_HEALTH_TRYING); /* what was let go on goes on */
    assert_true(runs(B));
}

static void all_that_are_named_go_first(void **state)
{
    (void)state;
    push(B, "pi1, pi3", "pi9");
    shows(pi1, B, VALUE_HEALTH_READY);
    assert_true(holds(B));
    assert_string_equal(node->commit.reason, "bbbbbbbbbb waits until pi3 has shown it ready");
    shows(pi3, B, VALUE_HEALTH_READY);
    assert_true(runs(B));
    push(C, "pi1, pi2", NULL); /* this one, too */
    assert_true(runs(C));
}

static void a_canary_that_vanishes_has_shown_nothing(void **state)
{
    (void)state;
    push(B, NULL, "pi1");
    shows(pi1, B, VALUE_HEALTH_TRYING);
    is(pi1, MEMBER_DEAD);
    wait_ms(1);
    assert_true(node_deadline(node).ms <= node->now.ms + 10000);
    for (int i = 0; i < 100; i++)
        wait_ms(10000);
    assert_true(holds(B) && runs(A));
    assert_int_equal(warnings, 1);
    assert_string_equal(node->commit.reason,
                        "bbbbbbbbbb waits until pi1 has shown it ready, which is not here");
    is(pi1, MEMBER_ALIVE);
    wait_ms(1);
    assert_string_equal(node->commit.reason, "bbbbbbbbbb waits until pi1 has shown it ready");
    shows(pi1, B, VALUE_HEALTH_READY);
    assert_true(runs(B));
}

static void a_canary_that_is_away_from_the_beginning_is_waited_for(void **state)
{
    (void)state;
    is(pi1, MEMBER_DEAD);
    push(B, NULL, "pi1");
    wait_ms(600000);
    assert_true(holds(B));
    /* What says so: another commit with another canary, or without one; or that others, who did
     * not wait in vain, call it good. */
    push(C, "pi3", "pi1");
    assert_true(holds(C));
    shows(pi3, C, VALUE_HEALTH_READY);
    assert_true(runs(C));
    push(B, NULL, "pi1");
    shows(pi3, B, VALUE_HEALTH_GOOD);
    assert_true(runs(B));
}

static void a_later_commit_takes_its_place(void **state)
{
    (void)state;
    push(B, "pi1", NULL);
    push(C, NULL, NULL);
    assert_true(runs(C));
    shows(pi1, B, VALUE_HEALTH_READY);
    assert_true(runs(C));
}

static void what_the_canary_gives_up_is_never_applied(void **state)
{
    struct peer *canary = node_find_peer(node, pi1);
    const char *commit, *name;
    (void)state;

    push(B, "pi1", NULL);
    snprintf(canary->commit.bad, sizeof canary->commit.bad, "%s", B);
    canary->commit.health = VALUE_HEALTH_BACK;
    node_commit_seen(node, canary);
    wait_ms(1);
    assert_false(node_held(node, &commit, &name));
    assert_true(runs(A));
    push(B, NULL, NULL);
    assert_true(runs(A));
}

static void a_restart_while_it_waits_goes_on_with_what_ran(void **state)
{
    (void)state;
    push(C, NULL, NULL); /* not good yet: it is what runs that counts */
    push(B, "pi1", NULL);
    assert_true(holds(B) && runs(C));
    restart();
    push(B, "pi1", NULL); /* the branch stands there */
    assert_string_equal(applied, C);
    wait_ms(5000);
    assert_string_equal(applied, C); /* until it comes */
    push(C, NULL, NULL);
    assert_true(runs(C) && holds(B));
    assert_string_equal(applied, "");
    shows(pi1, B, VALUE_HEALTH_READY);
    assert_true(runs(B));
    assert_string_equal(applied, B); /* stored is what runs */
    restart();
    push(B, "pi1", NULL); /* it was let go on before */
    assert_true(runs(B));
    assert_string_equal(applied, "");
}

static void a_commit_that_came_with_the_restart_waits_too(void **state)
{
    (void)state;
    restart();
    push(B, NULL, "pi1");
    assert_string_equal(applied, A);
    push(A, NULL, NULL);
    assert_true(runs(A) && holds(B));
    /* A node without anything keeps it as well. */
    marks = (struct rollout_marks){.good = {""}};
    restart();
    push(B, NULL, "pi1");
    assert_string_equal(applied, "");
    assert_null(node->desired);
    assert_string_equal(node->commit.next, B);
    shows(pi1, B, VALUE_HEALTH_READY);
    assert_true(runs(B));
}

static void names_that_the_flock_does_not_know(void **state)
{
    (void)state;
    push(B, NULL, "pi9");
    assert_true(runs(B));
    push(C, "pi9", NULL);
    wait_ms(1);
    wait_ms(20000);
    assert_true(holds(C) && runs(B));
    assert_int_equal(warnings, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_waits_until_the_canary_has_shown_it_ready),
        TEST(all_that_are_named_go_first),
        TEST(a_canary_that_vanishes_has_shown_nothing),
        TEST(a_canary_that_is_away_from_the_beginning_is_waited_for),
        TEST(a_later_commit_takes_its_place),
        TEST(what_the_canary_gives_up_is_never_applied),
        TEST(a_restart_while_it_waits_goes_on_with_what_ran),
        TEST(a_commit_that_came_with_the_restart_waits_too),
        TEST(names_that_the_flock_does_not_know),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
