/* The TCP link between agents: two ends on loopback, and strangers that talk to one. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/io/os_udp.h"
#include "proto/wire/stream.h"
#include "tests/unit/link_world.h"

#define LARGE (10 * 1024 * 1024)

/* A stranger's socket, connected to @side. */
static int stranger(const struct side *side)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(side->at.port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

/* Has the other side closed? Reads whatever it said before. */
static bool is_closed(int fd)
{
    uint8_t bytes[4096];
    ssize_t n;

    do {
        n = recv(fd, bytes, sizeof bytes, 0);
    } while (n > 0);
    return n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

static void tick(uv_timer_t *timer)
{
    (void)timer;
}

static void await_closed(struct world *w, int fd)
{
    uv_timer_t timer;

    uv_timer_init(&w->loop, &timer);
    uv_timer_start(&timer, tick, 1, 1); /* the stranger's socket does not wake the loop */
    uv_timer_start(&w->bound, link_note_late, BOUND_MS, 0);
    while (!is_closed(fd) && !w->late)
        uv_run(&w->loop, UV_RUN_ONCE);
    assert_false(w->late);
    uv_timer_stop(&w->bound);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&w->loop, UV_RUN_NOWAIT);
    close(fd);
}

/* ---- the two ends ---- */

static void a_large_answer_comes_whole(void **state)
{
    struct world *w = *state;

    w->b.answer_size = LARGE;
    link_ask_and_wait(w, LINK_REQUEST_MAX);
    assert_int_equal(w->code, ERR_NONE);
    assert_int_equal(w->size, LARGE);
    for (size_t i = 0; i < LARGE; i++)
        if (w->data[i] != link_pattern(i))
            fail_msg("byte %zu differs", i);
    assert_int_equal(w->b.served, 1);
    assert_true(node_id_equal(w->b.asked_by, w->a.identity.id));
    assert_int_equal(w->b.asked_len, LINK_REQUEST_MAX);
}

static void answers_of_every_size_come_whole(void **state)
{
    static const size_t sizes[] = {0, 1, 64999, 65000, 65001, 130000};
    struct world *w = *state;

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        w->b.answer_size = sizes[i];
        link_ask_and_wait(w, i);
        assert_int_equal(w->code, ERR_NONE);
        assert_int_equal(w->size, sizes[i]);
        assert_int_equal(w->b.asked_len, i);
    }
}

static void many_at_a_time_do_not_mix(void **state)
{
    struct world *w = *state;

    w->b.answer_size = 100000;
    for (int i = 0; i < 10; i++)
        link_ask(w, 10);
    link_run_until(w, &w->done, 10);
    assert_int_equal(w->b.served, 10);
    assert_int_equal(w->code, ERR_NONE);
}

static void a_refusal_comes_with_its_reason(void **state)
{
    struct world *w = *state;

    w->b.answer_code = ERR_NOTFOUND;
    w->b.answer_size = 100; /* not sent */
    link_ask_and_wait(w, 10);
    assert_int_equal(w->code, ERR_NOTFOUND);
    assert_string_equal(w->reason, "it is not here");
    assert_null(w->data);
}

static void what_is_too_long_is_not_asked(void **state)
{
    struct world *w = *state;

    link_ask_and_wait(w, LINK_REQUEST_MAX + 1);
    assert_int_equal(w->code, ERR_LIMIT);
    assert_int_equal(w->b.served, 0);
}

static void nobody_there_is_said_so(void **state)
{
    struct world *w = *state;

    link_stop(w, &w->b);
    link_ask_and_wait(w, 10);
    assert_int_equal(w->code, ERR_UNREACHABLE);
}

/* ---- who is there ---- */

static void another_node_in_its_place_is_refused(void **state)
{
    struct world *w = *state;
    struct side other = {.knows = NULL};

    /* A expects another identity than the one that answers. */
    keys_generate(&other.identity);
    uv_link_ask(w->a.link, other.identity.id, &w->b.at, "x", 1, link_note_done, w);
    link_run_until(w, &w->done, 1);
    assert_int_equal(w->code, ERR_AUTH);
    assert_int_equal(w->b.served, 0);
}

static void who_is_not_admitted_is_not_served(void **state)
{
    struct world *w = *state;

    w->b.knows = NULL;
    link_ask_and_wait(w, 10);
    assert_int_equal(w->code, ERR_UNREACHABLE);
    assert_int_equal(w->b.served, 0);
}

static void another_epoch_secret_is_refused(void **state)
{
    struct world *w = *state;

    memset(w->b.secret, 6, sizeof w->b.secret);
    link_ask_and_wait(w, 10);
    assert_int_equal(w->code, ERR_UNREACHABLE);
    assert_int_equal(w->b.served, 0);
}

static void garbage_ends_the_connection(void **state)
{
    struct world *w = *state;
    uint8_t garbage[4096];
    int fd = stranger(&w->b);

    memset(garbage, 0xa5, sizeof garbage);
    assert_int_equal(send(fd, garbage, sizeof garbage, MSG_NOSIGNAL), sizeof garbage);
    await_closed(w, fd);
    assert_int_equal(w->b.served, 0);
    link_ask_and_wait(w, 10);
    assert_int_equal(w->code, ERR_NONE);
}

/* The hello is sent in clear, so anybody can say a member's; the frame behind it nobody can. */
static void a_members_hello_alone_opens_nothing(void **state)
{
    static const uint8_t random[STREAM_RANDOM] = {1, 2, 3};
    struct world *w = *state;
    struct stream *stream = stream_create(&w->a.identity, true, EPOCH, random);
    uint8_t bytes[STREAM_HELLO + 100] = {0};
    int fd = stranger(&w->b);

    assert_non_null(stream);
    stream_hello(stream, bytes);
    stream_destroy(stream);
    bytes[STREAM_HELLO + 3] = 96; /* the length of a frame */
    /* Only when its keys are known, or more than a hello would be refused for its haste. */
    assert_int_equal(send(fd, bytes, STREAM_HELLO, MSG_NOSIGNAL), STREAM_HELLO);
    assert_int_equal(send(fd, bytes + STREAM_HELLO, 100, MSG_NOSIGNAL), 100);
    await_closed(w, fd);
    assert_int_equal(w->b.served, 0);
}

/* ---- those that do not go on ---- */

static void a_peer_that_stalls_is_given_up(void **state)
{
    struct world *w = *state;

    link_restart(w, 100);
    w->b.hold = true;
    link_ask_and_wait(w, 10);
    assert_true(w->code == ERR_TIMEOUT || w->code == ERR_UNREACHABLE); /* whoever is first */
    await_closed(w, stranger(&w->b));                                  /* it says nothing at all */
}

static void a_host_that_takes_and_says_nothing_is_given_up(void **state)
{
    struct world *w = *state;
    struct addr at = w->b.at;
    struct sockaddr_in bound;
    socklen_t len = sizeof bound;
    struct err err;
    int fd;

    link_restart(w, 50);
    at.port = 0;
    assert_int_equal(os_tcp_listen(&at, &fd, &err), ERR_NONE);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&bound, &len), 0);
    at.port = ntohs(bound.sin_port);
    uv_link_ask(w->a.link, w->b.identity.id, &at, "x", 1, link_note_done, w);
    link_run_until(w, &w->done, 1);
    assert_int_equal(w->code, ERR_TIMEOUT);
    close(fd);
}

static void strangers_do_not_take_every_place(void **state)
{
    struct world *w = *state;
    int fds[LINK_STRANGERS_MAX];
    unsigned before;

    for (int i = 0; i < LINK_STRANGERS_MAX; i++)
        fds[i] = stranger(&w->b);
    await_closed(w, stranger(&w->b)); /* one too many, whose turn comes after theirs */
    /* B can still ask, and A, too, once a place is free. */
    w->a.answer_size = 5;
    before = w->done;
    uv_link_ask(w->b.link, w->a.identity.id, &w->a.at, "", 0, link_note_done, w);
    link_run_until(w, &w->done, before + 1);
    assert_int_equal(w->code, ERR_NONE);
    link_ask_and_wait(w, 10);
    assert_int_equal(w->code, ERR_UNREACHABLE);
    for (int i = 0; i < LINK_STRANGERS_MAX; i++)
        close(fds[i]);
    do {
        link_ask_and_wait(w, 10);
    } while (w->code == ERR_UNREACHABLE && w->done < 1000);
    assert_int_equal(w->code, ERR_NONE);
}

/* ---- the end ---- */

static void closing_answers_what_was_asked(void **state)
{
    struct world *w = *state;

    w->b.hold = true;
    link_ask(w, 10);
    link_run_until(w, &w->b.served, 1);
    link_stop(w, &w->a);
    assert_int_equal(w->done, 1);
    assert_int_equal(w->code, ERR_UNREACHABLE);
    /* The server answers a peer that has gone, after its own end: link_tear_down. */
}

/* A worker's answer comes between the end of a connection and the loop's last word on it. */
static void an_answer_to_a_closing_connection_is_dropped(void **state)
{
    struct world *w = *state;
    struct uv_link *link = w->b.link;

    w->b.hold = true;
    link_ask(w, 10);
    link_run_until(w, &w->b.served, 1);
    uv_link_close(link, link_note_closed, w);
    w->b.link = NULL;
    uv_link_answer(w->b.ticket, ERR_NONE, malloc(10), 10, NULL);
    w->b.ticket = NULL;
    link_run_until(w, &w->closed, 1);
    link_run_until(w, &w->done, 1);
    assert_int_equal(w->code, ERR_UNREACHABLE);
}

static void closing_in_the_middle_of_an_answer_is_clean(void **state)
{
    struct world *w = *state;

    w->b.answer_size = LARGE;
    link_ask(w, 10);
    link_run_until(w, &w->b.served, 1);
    link_stop(w, &w->b);
    link_run_until(w, &w->done, 1);
    assert_int_equal(w->code, ERR_UNREACHABLE);
    assert_null(w->data);
}

static void ask_again(void *context, int code, uint8_t *data, size_t size, const char *reason)
{
    struct world *w = context;

    link_note_done(context, code, data, size, reason);
    if (w->done == 1)
        uv_link_ask(w->a.link, w->b.identity.id, &w->b.at, "x", 1, ask_again, w);
}

static void nothing_is_asked_of_a_link_that_ends(void **state)
{
    struct world *w = *state;
    struct uv_link *link = w->a.link;

    w->b.hold = true;
    uv_link_ask(link, w->b.identity.id, &w->b.at, "", 0, ask_again, w);
    link_run_until(w, &w->b.served, 1);
    uv_link_close(link, link_note_closed, w);
    link_run_until(w, &w->closed, 1);
    w->a.link = NULL;
    assert_int_equal(w->done, 2);
    assert_int_equal(w->code, ERR_UNREACHABLE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, link_set_up, link_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_large_answer_comes_whole),
        TEST(answers_of_every_size_come_whole),
        TEST(many_at_a_time_do_not_mix),
        TEST(a_refusal_comes_with_its_reason),
        TEST(what_is_too_long_is_not_asked),
        TEST(nobody_there_is_said_so),
        TEST(another_node_in_its_place_is_refused),
        TEST(who_is_not_admitted_is_not_served),
        TEST(another_epoch_secret_is_refused),
        TEST(garbage_ends_the_connection),
        TEST(a_members_hello_alone_opens_nothing),
        TEST(a_peer_that_stalls_is_given_up),
        TEST(a_host_that_takes_and_says_nothing_is_given_up),
        TEST(strangers_do_not_take_every_place),
        TEST(closing_answers_what_was_asked),
        TEST(an_answer_to_a_closing_connection_is_dropped),
        TEST(closing_in_the_middle_of_an_answer_is_clean),
        TEST(nothing_is_asked_of_a_link_that_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
