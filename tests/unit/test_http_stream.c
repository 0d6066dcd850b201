/* Streams of the agent's HTTP server, and its end while much is under way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/web/uv_http.h"
#include "tests/unit/http_bench.h"

#define LONG_TEXT 60100
#define GET(path) "GET " path " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

static int setup(void **state)
{
    *state = bench_start(false);
    return 0;
}

static int teardown(void **state)
{
    bench_stop(*state);
    return 0;
}

static int open_stream(struct bench *bench)
{
    int fd = bench_connect(bench, 1);

    bench_ask(fd, GET("/stream"));
    bench_until(fd, "data: first");
    return fd;
}

static void say(struct bench *bench, const char *text)
{
    char head[128];
    struct reply reply;
    int fd = bench_connect(bench, 1);

    snprintf(head, sizeof head, "POST /say HTTP/1.1\r\nHost: pi1\r\nContent-Length: %zu\r\n\r\n",
             strlen(text));
    bench_ask(fd, head);
    bench_ask(fd, text);
    bench_reply(fd, false, &reply);
    assert_int_equal(reply.status, 200);
    free(reply.body);
    close(fd);
}

static void expect_streams(struct bench *bench, unsigned count)
{
    char text[8];

    snprintf(text, sizeof text, "%u", count);
    bench_expect(bench, "GET /streams", 200, text);
}

/* Asks until there are @count: the server learns by itself when a client goes away. */
static void await_streams(struct bench *bench, unsigned count)
{
    int fd = bench_connect(bench, 1);
    unsigned have = count + 1;

    for (int i = 0; have != count && i < 100000; i++) {
        struct reply reply;
        bench_ask(fd, GET("/streams"));
        bench_reply(fd, false, &reply);
        have = (unsigned)strtoul(reply.body, NULL, 10);
        free(reply.body);
    }
    assert_int_equal(have, count);
    close(fd);
}

static void all_streams_hear_it(void **state)
{
    int fds[HTTP_STREAMS_MAX];

    for (size_t i = 0; i < HTTP_STREAMS_MAX; i++)
        fds[i] = open_stream(*state);
    expect_streams(*state, HTTP_STREAMS_MAX);
    bench_expect(*state, "GET /stream", 503,
                 "16 pages watch already, which is the limit: close one\n");
    say(*state, "data: one\n\n");
    for (size_t i = 0; i < HTTP_STREAMS_MAX; i++)
        bench_until(fds[i], "data: one");
    say(*state, "data: two\n\n");
    for (size_t i = 0; i < HTTP_STREAMS_MAX; i++) {
        bench_until(fds[i], "data: two");
        close(fds[i]);
    }
    await_streams(*state, 0);
}

/* Nothing is said meanwhile: a page that was reloaded must not hold a place. */
static void stream_that_goes_away_is_noticed(void **state)
{
    int fds[HTTP_STREAMS_MAX];
    struct linger reset = {.l_onoff = 1};

    for (size_t i = 0; i < HTTP_STREAMS_MAX; i++)
        fds[i] = open_stream(*state);
    close(fds[3]);
    await_streams(*state, HTTP_STREAMS_MAX - 1);
    setsockopt(fds[4], SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fds[4]);
    await_streams(*state, HTTP_STREAMS_MAX - 2);
    fds[3] = open_stream(*state);
    fds[4] = open_stream(*state);
    say(*state, "data: again\n\n");
    for (size_t i = 0; i < HTTP_STREAMS_MAX; i++) {
        bench_until(fds[i], "data: again");
        close(fds[i]);
    }
}

/* One that does not read delays nobody, and gets the newest once it reads. */
static void slow_reader_gets_the_newest(void **state)
{
    char *text = malloc(LONG_TEXT);
    int slow = bench_connect(*state, 1);
    int quick = open_stream(*state);

    assert_non_null(text);
    bench_ask(slow, GET("/stream"));
    bench_until(slow, "data: first");
    for (int i = 0; i < 200; i++) {
        char expected[32];
        snprintf(expected, sizeof expected, "number %d ", i);
        snprintf(text, LONG_TEXT, "data: %s%060000d\n\n", expected, 0);
        say(*state, text);
        bench_until(quick, expected);
    }
    bench_until(slow, "number 199 ");
    free(text);
    close(slow);
    close(quick);
}

static void expect_end(int fd)
{
    char byte;

    while (bench_read(fd, &byte, 1) == 1)
        continue;
    close(fd);
}

static void close_under_way(void **state)
{
    struct bench *bench = bench_start(false);
    int stream = open_stream(bench);
    int silent = open_stream(bench);
    int idle = bench_connect(bench, 1);
    int half = bench_connect(bench, 1);
    int hanging[2] = {bench_connect(bench, 1), bench_connect(bench, 1)};
    struct reply reply;

    (void)state;
    bench_ask(half, GET("/") "POST /echo HTTP/1.1\r\nHost: pi1\r\nContent-Length: 9\r\n\r\nha");
    bench_reply(half, false, &reply);
    free(reply.body);
    for (int i = 0; i < 2; i++) {
        bench_ask(hanging[i], GET("/") GET("/hang"));
        bench_reply(hanging[i], false, &reply);
        free(reply.body);
    }
    bench_expect(bench, "POST /close", 200, "closing");
    assert_true(bench_closed(bench));
    for (int i = 0; i < 2; i++) {
        bench_reply(hanging[i], false, &reply);
        assert_int_equal(reply.status, 503);
        assert_string_equal(reply.body, "this agent is ending\n");
        free(reply.body);
        expect_end(hanging[i]);
    }
    bench_until(stream, "0"); /* the last chunk: an end, not an error */
    expect_end(stream);
    expect_end(silent);
    expect_end(idle);
    expect_end(half);
    assert_int_equal(bench_connect(bench, 1), -1);
    bench_stop(bench);
}

static void close_when_nothing_happened(void **state)
{
    struct bench *bench = bench_start(true);

    (void)state;
    bench_stop(bench);
}

#define ON_BENCH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BENCH(all_streams_hear_it),
        ON_BENCH(stream_that_goes_away_is_noticed),
        ON_BENCH(slow_reader_gets_the_newest),
        cmocka_unit_test(close_under_way),
        cmocka_unit_test(close_when_nothing_happened),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
