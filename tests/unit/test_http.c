/* The HTTP server of the agent, by real sockets. */
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

static void answers(void **state)
{
    bench_expect(*state, "GET /", 200, "hello");
    bench_expect(*state, "GET /args?name=a%20b", 200, "a b");
    bench_expect(*state, "GET /args", 200, "none");
    bench_expect(*state, "GET /nothing%20here?x", 404, "nothing at /nothing here");
    bench_expect(*state, "GET /who", 200, "remote");
    bench_expect(*state, "GET /timer", 200, "timed");
}

static void headers(void **state)
{
    int fd = bench_connect(*state, 1);
    struct reply reply;

    bench_ask(fd, GET("/"));
    bench_reply(fd, false, &reply);
    assert_non_null(strstr(reply.head, "X-Content-Type-Options: nosniff\r\n"));
    assert_non_null(strstr(reply.head, "Referrer-Policy: no-referrer\r\n"));
    assert_non_null(strstr(reply.head, "Cache-Control: no-store\r\n"));
    free(reply.body);
    bench_ask(fd, GET("/cached"));
    bench_reply(fd, false, &reply);
    assert_non_null(strstr(reply.head, "Content-Type: text/css\r\n"));
    assert_non_null(strstr(reply.head, "Cache-Control: no-cache\r\n"));
    assert_non_null(strstr(reply.head, "ETag: \"1\"\r\n"));
    assert_null(strstr(reply.head, "no-store"));
    free(reply.body);
    close(fd);
}

static void head_has_no_body(void **state)
{
    int fd = bench_connect(*state, 1);
    struct reply reply;

    bench_ask(fd, "HEAD / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" GET("/args?name=next"));
    bench_reply(fd, true, &reply);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.size, strlen("hello"));
    free(reply.body);
    bench_reply(fd, false, &reply);
    assert_string_equal(reply.body, "next");
    free(reply.body);
    close(fd);

    fd = bench_connect(*state, 1); /* of a stream: it ends at once and takes no place */
    bench_ask(fd, "HEAD /stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" GET("/streams"));
    bench_reply(fd, true, &reply);
    assert_int_equal(reply.status, 200);
    free(reply.body);
    bench_reply(fd, false, &reply);
    assert_string_equal(reply.body, "0");
    free(reply.body);
    close(fd);
}

/* ---- the Host header ---- */

static unsigned status_for_host(struct bench *bench, const char *line)
{
    char request[1024];
    struct reply reply;
    int fd = bench_connect(bench, 1);

    snprintf(request, sizeof request, "GET / HTTP/1.1\r\n%sConnection: close\r\n\r\n", line);
    bench_ask(fd, request);
    bench_reply(fd, false, &reply);
    if (reply.status == 200)
        assert_string_equal(reply.body, "hello");
    free(reply.body);
    close(fd);
    return reply.status;
}

static void host_is_ours(void **state)
{
    static const char *const lines[] = {
        "Host: 127.0.0.1\r\n",      "Host: 127.0.0.1:8800\r\n",
        "Host: 192.168.1.10\r\n",   "Host: [::1]\r\n",
        "Host: [fe80::1]:8800\r\n", "Host: localhost\r\n",
        "Host: LocalHost:8800\r\n", "Host: pi1\r\n",
        "Host: PI1:80\r\n",         "Host: pi1.local\r\n",
        "Host: pi1.local:8800\r\n",
    };

    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (status_for_host(*state, lines[i]) != 200)
            fail_msg("refused: %s", lines[i]);
}

static void host_is_not_ours(void **state)
{
    static const char *const lines[] = {
        "Host: evil.example\r\n",
        "Host: evil.example:8800\r\n",
        "Host: pi1.evil.example\r\n",
        "Host: pi\r\n",
        "Host: pi1.localx\r\n",
        "Host: localhost.evil.example\r\n",
        "Host: localhost.\r\n",
        "Host: pi1:80:80\r\n",
        "Host: pi1:x\r\n",
        "Host: 127.0.0.1.evil.example\r\n",
        "Host: 2130706433\r\n",
        "Host: 0x7f.1\r\n",
        "Host: [pi1]\r\n",
        "Host: [::1\r\n",
        "Host: [::1]evil.example\r\n",
        "Host: :8800\r\n",
        "Host: user@127.0.0.1\r\n",
        "Host: 127.0.0.1, evil.example\r\n",
        "Host:\r\n",
    };

    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (status_for_host(*state, lines[i]) != 421)
            fail_msg("served: %s", lines[i]);
    /* no Host at all: libmicrohttpd 1.0 refuses it by itself */
    assert_true(status_for_host(*state, "") == 421 || status_for_host(*state, "") == 400);
}

static void unix_socket_needs_no_host(void **state)
{
    struct bench *bench = bench_start(true);
    char expected[32];
    struct reply reply;
    int fd = bench_connect(bench, 1);

    (void)state;
    snprintf(expected, sizeof expected, "local %u", (unsigned)geteuid());
    bench_ask(fd, "GET /who HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    bench_reply(fd, false, &reply);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, expected);
    free(reply.body);
    close(fd);
    bench_stop(bench);
}

/* ---- bodies ---- */

static unsigned post(int fd, size_t size, struct reply *reply)
{
    char head[128];
    char *body = malloc(size + 1);

    assert_non_null(body);
    memset(body, 'x', size);
    snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\nHost: pi1\r\nContent-Length: %zu\r\n\r\n",
             size);
    bench_ask(fd, head);
    bench_send(fd, body, size);
    bench_reply(fd, false, reply);
    if (reply->status == 200) {
        assert_int_equal(reply->size, size);
        assert_memory_equal(reply->body, body, size);
    }
    free(body);
    return reply->status;
}

static void body_has_a_limit(void **state)
{
    struct reply reply;
    int fd = bench_connect(*state, 1);

    assert_int_equal(post(fd, 0, &reply), 200);
    free(reply.body);
    assert_int_equal(post(fd, HTTP_BODY_MAX, &reply), 200);
    free(reply.body);
    assert_int_equal(post(fd, HTTP_BODY_MAX + 1, &reply), 413);
    assert_string_equal(reply.body, "the body is larger than 65536 bytes\n");
    free(reply.body);
    close(fd);

    fd = bench_connect(*state, 1); /* beyond what is read only to be able to answer: cut */
    assert_int_not_equal(post(fd, 16 * HTTP_DRAIN_MAX, &reply), 200);
    free(reply.body);
    close(fd);
    bench_expect(*state, "GET /", 200, "hello");
}

static void chunks_have_the_same_limit(void **state)
{
    char chunk[6 + 4096 + 2 + 1];
    struct reply reply;
    int fd = bench_connect(*state, 1);

    bench_ask(fd, "POST /echo HTTP/1.1\r\nHost: pi1\r\nTransfer-Encoding: chunked\r\n\r\n");
    snprintf(chunk, sizeof chunk, "1000\r\n%04096d\r\n", 0);
    for (int i = 0; i < 17; i++)
        bench_ask(fd, chunk);
    bench_ask(fd, "0\r\n\r\n");
    bench_reply(fd, false, &reply);
    assert_int_equal(reply.status, 413);
    free(reply.body);
    close(fd);
}

static void headers_have_a_limit(void **state)
{
    struct reply reply;
    int fd = bench_connect(*state, 1);
    char *line = malloc(65536);

    assert_non_null(line);
    memset(line, 'a', 65535);
    line[65535] = '\0';
    bench_ask(fd, "GET / HTTP/1.1\r\nHost: pi1\r\nX-Long: ");
    bench_ask(fd, line);
    bench_ask(fd, "\r\n\r\n");
    bench_reply(fd, false, &reply);
    assert_true(reply.status == 0 || reply.status == 413 || reply.status == 431);
    free(reply.body);
    free(line);
    close(fd);
    bench_expect(*state, "GET /", 200, "hello");
}

static void aborted_uploads(void **state)
{
    for (int i = 0; i < 20; i++) {
        int fd = bench_connect(*state, 1);
        struct linger reset = {.l_onoff = 1};
        bench_ask(fd, "POST /echo HTTP/1.1\r\nHost: pi1\r\nContent-Length: 1000\r\n\r\nhalf");
        if (i % 2 == 0) /* by a reset */
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
    }
    bench_expect(*state, "GET /", 200, "hello");
}

/* ---- answers that come later ---- */

static void pipelined_requests_keep_their_order(void **state)
{
    int fd = bench_connect(*state, 1);
    struct reply reply;

    bench_ask(fd, GET("/later") GET("/") GET("/timer"));
    bench_expect(*state, "GET /release", 200, "released");
    bench_reply(fd, false, &reply);
    assert_string_equal(reply.body, "at last");
    free(reply.body);
    bench_reply(fd, false, &reply);
    assert_string_equal(reply.body, "hello");
    free(reply.body);
    bench_reply(fd, false, &reply);
    assert_string_equal(reply.body, "timed");
    free(reply.body);
    close(fd);
}

static void who_asked_is_gone(void **state)
{
    int fd = bench_connect(*state, 1);
    struct reply reply;

    /* The answer to the first says that the second was read, for they come in one piece. */
    bench_ask(fd, GET("/") GET("/later"));
    bench_reply(fd, false, &reply);
    free(reply.body);
    close(fd);
    bench_expect(*state, "GET /release", 200, "released");
    bench_expect(*state, "GET /", 200, "hello");
}

/* ---- limits of connections ---- */

static void one_address_cannot_take_all(void **state)
{
    int fds[HTTP_CONNECTIONS_PER_ADDRESS];
    struct reply reply;
    char byte;
    int fd;

    for (size_t i = 0; i < HTTP_CONNECTIONS_PER_ADDRESS; i++) {
        fds[i] = bench_connect(*state, 2);
        bench_ask(fds[i], GET("/"));
        bench_reply(fds[i], false, &reply);
        assert_int_equal(reply.status, 200);
        free(reply.body);
    }
    fd = bench_connect(*state, 2);
    assert_int_equal(bench_read(fd, &byte, 1), 0); /* closed at once */
    close(fd);
    bench_expect(*state, "GET /", 200, "hello"); /* from another one */
    for (size_t i = 0; i < HTTP_CONNECTIONS_PER_ADDRESS; i++)
        close(fds[i]);
}

static void connections_have_a_limit(void **state)
{
    int fds[HTTP_CONNECTIONS_MAX];
    struct reply reply;
    int waiting;

    for (size_t i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
        fds[i] = bench_connect(*state, (uint8_t)(2 + i % 2));
        bench_ask(fds[i], GET("/"));
        bench_reply(fds[i], false, &reply);
        assert_int_equal(reply.status, 200);
        free(reply.body);
    }
    waiting = bench_connect(*state, 4); /* the kernel accepts it; the server when there is room */
    bench_ask(waiting, GET("/"));
    assert_int_equal(recv(waiting, reply.head, 1, MSG_DONTWAIT), -1);
    for (size_t i = 0; i < HTTP_CONNECTIONS_MAX; i++)
        close(fds[i]);
    bench_reply(waiting, false, &reply);
    assert_string_equal(reply.body, "hello");
    free(reply.body);
    close(waiting);
}

#define ON_BENCH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BENCH(answers),
        ON_BENCH(headers),
        ON_BENCH(head_has_no_body),
        ON_BENCH(host_is_ours),
        ON_BENCH(host_is_not_ours),
        cmocka_unit_test(unix_socket_needs_no_host),
        ON_BENCH(body_has_a_limit),
        ON_BENCH(chunks_have_the_same_limit),
        ON_BENCH(headers_have_a_limit),
        ON_BENCH(aborted_uploads),
        ON_BENCH(pipelined_requests_keep_their_order),
        ON_BENCH(who_asked_is_gone),
        ON_BENCH(one_address_cannot_take_all),
        ON_BENCH(connections_have_a_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
