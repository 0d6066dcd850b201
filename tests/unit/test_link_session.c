/* Sessions of the TCP link: connections that are kept, for messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/link_world.h"

static void say(struct side *from, struct side *to, const char *text)
{
    uv_link_send(from->link, to->identity.id, &to->at, text, strlen(text));
}

static void assert_said(const struct side *to, const struct side *from, const char *text)
{
    assert_int_equal(to->message_len, strlen(text));
    assert_memory_equal(to->message, text, strlen(text));
    assert_true(node_id_equal(to->told_by, from->identity.id));
}

/* Lets the loop run for a while, for what must not happen. */
static void run_for(struct world *w, unsigned ms)
{
    uv_timer_start(&w->bound, link_note_late, ms, 0);
    while (!w->late)
        uv_run(&w->loop, UV_RUN_ONCE);
    w->late = false;
}

/* What waits for the session is the newest; then one session serves both sides. */
static void messages_go_both_ways_over_one_session(void **state)
{
    struct world *w = *state;
    struct addr nowhere = {0};

    say(&w->a, &w->b, "old");
    say(&w->a, &w->b, "new");
    link_run_until(w, &w->b.messages, 1);
    assert_said(&w->b, &w->a, "new");
    for (unsigned i = 1; i <= 20; i++) {
        uv_link_send(w->b.link, w->a.identity.id, &nowhere, "back", 4);
        link_run_until(w, &w->a.messages, i);
        assert_said(&w->a, &w->b, "back");
        say(&w->a, &w->b, "");
        link_run_until(w, &w->b.messages, i + 1);
        assert_said(&w->b, &w->a, "");
    }
    assert_int_equal(w->b.served, 0);
    link_ask_and_wait(w, 10); /* and questions have their own connections */
    assert_int_equal(w->code, ERR_NONE);
}

static void a_session_outlives_the_time_for_a_step(void **state)
{
    struct world *w = *state;

    link_restart(w, 50);
    for (unsigned i = 0; i < 100 && w->b.messages == 0; i++) { /* a busy machine takes longer */
        say(&w->a, &w->b, "one");
        run_for(w, 60);
    }
    assert_true(w->b.messages > 0);
    run_for(w, 200);
    uv_link_send(w->b.link, w->a.identity.id, &(struct addr){0}, "two", 3);
    link_run_until(w, &w->a.messages, 1);
    assert_said(&w->a, &w->b, "two");
}

static void a_session_is_opened_anew_when_the_peer_was(void **state)
{
    struct world *w = *state;

    say(&w->a, &w->b, "one");
    link_run_until(w, &w->b.messages, 1);
    link_stop(w, &w->b);
    link_start(w, &w->b);
    for (unsigned i = 0; i < 1000 && w->b.messages < 2; i++) { /* the first ones find it broken */
        say(&w->a, &w->b, "two");
        run_for(w, 5);
    }
    assert_said(&w->b, &w->a, "two");
}

static void a_peer_without_sessions_is_left_alone(void **state)
{
    struct world *w = *state;

    w->b.no_sessions = true;
    link_restart(w, BOUND_MS);
    say(&w->a, &w->b, "one");
    link_run_until(w, &w->b.refused, 1);
    run_for(w, 50);
    say(&w->a, &w->b, "two");
    run_for(w, 50);
    assert_int_equal(w->b.refused, 1);
    assert_int_equal(w->b.messages, 0);
}

static void who_is_not_admitted_has_no_session(void **state)
{
    struct world *w = *state;

    w->b.knows = NULL;
    say(&w->a, &w->b, "one");
    run_for(w, 100);
    assert_int_equal(w->b.messages, 0);
}

static void a_session_ends_with_the_membership(void **state)
{
    struct world *w = *state;

    say(&w->a, &w->b, "one");
    link_run_until(w, &w->b.messages, 1);
    w->b.knows = NULL;
    uv_link_drop(w->b.link, w->a.identity.id);
    for (int i = 0; i < 5; i++) {
        say(&w->a, &w->b, "two");
        run_for(w, 20);
    }
    assert_int_equal(w->b.messages, 1);
}

static void what_is_too_long_for_a_message_is_not_sent(void **state)
{
    static const uint8_t large[LINK_MESSAGE_MAX + 1];
    struct world *w = *state;

    uv_link_send(w->a.link, w->b.identity.id, &w->b.at, large, sizeof large);
    uv_link_send(w->a.link, w->b.identity.id, &w->b.at, large, sizeof large - 1);
    link_run_until(w, &w->b.messages, 1);
    assert_int_equal(w->b.message_len, LINK_MESSAGE_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, link_set_up, link_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(messages_go_both_ways_over_one_session),
        TEST(a_session_outlives_the_time_for_a_step),
        TEST(a_session_is_opened_anew_when_the_peer_was),
        TEST(a_peer_without_sessions_is_left_alone),
        TEST(who_is_not_admitted_has_no_session),
        TEST(a_session_ends_with_the_membership),
        TEST(what_is_too_long_for_a_message_is_not_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
