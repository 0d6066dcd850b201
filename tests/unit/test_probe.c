/* Health probes against real sockets and programs. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "agent/io/os_udp.h"
#include "agent/io/uv_probe.h"

#define LONG_MS 20000 /* what has not happened by then never will */

struct world {
    uv_loop_t loop;
    unsigned done;
    bool success;
    char reason[PROBE_REASON_MAX];
    /* a server that answers one connection */
    int listener;
    const char *answer;
    char request[2048];
    pthread_t thread;
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    if (w == NULL)
        return -1;
    *state = w;
    w->listener = -1;
    return uv_loop_init(&w->loop);
}

static int tear_down(void **state)
{
    struct world *w = *state;

    assert_int_equal(uv_loop_close(&w->loop), 0);
    if (w->listener >= 0)
        close(w->listener);
    free(w);
    return 0;
}

static void note_done(void *context, bool success, const char *reason)
{
    struct world *w = context;

    w->done++;
    w->success = success;
    snprintf(w->reason, sizeof w->reason, "%s", reason);
}

static struct addr listen_here(struct world *w)
{
    struct addr at;
    struct sockaddr_in bound;
    socklen_t len = sizeof bound;
    struct err err;

    assert_int_equal(addr_parse("127.0.0.1", 0, &at, &err), ERR_NONE);
    assert_int_equal(os_tcp_listen(&at, &w->listener, &err), ERR_NONE);
    assert_int_equal(getsockname(w->listener, (struct sockaddr *)&bound, &len), 0);
    at.port = ntohs(bound.sin_port);
    return at;
}

static struct uv_probe *begin(struct world *w, const struct desired_probe *probe,
                              const struct addr *target, int64_t timeout_ms)
{
    static const char *const env[] = {"PATH=/usr/bin:/bin", NULL};
    struct uv_probe_spec spec = {
        .probe = probe, .timeout_ms = timeout_ms, .env = env, .done = note_done, .context = w};
    struct uv_probe *started = NULL;

    if (target != NULL)
        spec.target = *target;
    assert_int_equal(uv_probe_start(&w->loop, &spec, &started), ERR_NONE);
    assert_int_equal(w->done, 0); /* later, always */
    return started;
}

static void run(struct world *w)
{
    uv_run(&w->loop, UV_RUN_DEFAULT); /* all of the probe's handles are closed then */
    assert_int_equal(w->done, 1);
}

static void *serve(void *context)
{
    struct world *w = context;
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    size_t used = 0;
    int fd = -1;

    while (fd < 0) { /* the listening socket does not block */
        fd = accept(w->listener, (struct sockaddr *)&from, &len);
        if (fd < 0)
            sched_yield();
    }
    while (strstr(w->request, "\r\n\r\n") == NULL && used + 1 < sizeof w->request) {
        ssize_t n = recv(fd, w->request + used, sizeof w->request - used - 1, 0);
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    for (const char *c = w->answer; *c != '\0'; c++) /* byte by byte: no luck with packets */
        if (send(fd, c, 1, MSG_NOSIGNAL) != 1)
            break;
    close(fd);
    return NULL;
}

static void probe_http(struct world *w, const char *answer)
{
    const struct desired_probe probe = {.kind = DESIRED_PROBE_HTTP, .path = "/ready?x=1"};
    struct addr at = listen_here(w);

    w->answer = answer;
    assert_int_equal(pthread_create(&w->thread, NULL, serve, w), 0);
    begin(w, &probe, &at, LONG_MS);
    run(w);
    assert_int_equal(pthread_join(w->thread, NULL), 0);
}

static void a_good_answer_is_success(void **state)
{
    struct world *w = *state;

    probe_http(w, "HTTP/1.1 204 No Content\r\nA: b\r\n\r\n");
    assert_true(w->success);
    assert_string_equal(w->reason, "");
    assert_memory_equal(w->request, "GET /ready?x=1 HTTP/1.0\r\nHost: 127.0.0.1:", 41);
}

static void a_redirection_is_success_and_not_followed(void **state)
{
    struct world *w = *state;

    probe_http(w, "HTTP/1.0 302 Found\r\nLocation: /elsewhere\r\n\r\n");
    assert_true(w->success);
}

static void a_bad_status_is_named(void **state)
{
    struct world *w = *state;

    probe_http(w, "HTTP/1.1 503 Unavailable\r\n\r\n");
    assert_false(w->success);
    assert_string_equal(w->reason, "HTTP status 503");
}

static void what_is_no_http_is_said_so(void **state)
{
    struct world *w = *state;

    probe_http(w, "SSH-2.0-OpenSSH_9.2p1\r\n");
    assert_false(w->success);
    assert_string_equal(w->reason, "the answer is no HTTP");
}

static void an_end_without_an_answer_is_a_failure(void **state)
{
    struct world *w = *state;

    probe_http(w, "HTTP/1");
    assert_false(w->success);
}

static void nobody_there_is_a_failure(void **state)
{
    const struct desired_probe probe = {.kind = DESIRED_PROBE_TCP};
    struct world *w = *state;
    struct addr at = listen_here(w);

    close(w->listener);
    w->listener = -1;
    begin(w, &probe, &at, LONG_MS);
    run(w);
    assert_false(w->success);
    assert_memory_equal(w->reason, "connect: ", 9);
}

static void a_connection_is_enough_for_tcp(void **state)
{
    const struct desired_probe probe = {.kind = DESIRED_PROBE_TCP};
    struct world *w = *state;
    struct addr at = listen_here(w);

    begin(w, &probe, &at, LONG_MS);
    run(w);
    assert_true(w->success);
}

static void silence_is_a_failure_in_time(void **state)
{
    const struct desired_probe probe = {.kind = DESIRED_PROBE_HTTP, .path = "/"};
    struct world *w = *state;
    struct addr at = listen_here(w); /* the kernel takes the connection, nobody answers */

    begin(w, &probe, &at, 30);
    run(w);
    assert_false(w->success);
    assert_string_equal(w->reason, "no answer in time");
}

static void probe_command(struct world *w, const char *script, int64_t timeout_ms)
{
    const char *const command[] = {"sh", "-c", script, NULL};
    const struct desired_probe probe = {.kind = DESIRED_PROBE_EXEC, .command = command};

    begin(w, &probe, NULL, timeout_ms);
    run(w);
}

static void a_command_is_judged_by_its_exit(void **state)
{
    struct world *w = *state;

    probe_command(w, "exit 0", LONG_MS);
    assert_true(w->success);
    w->done = 0;
    probe_command(w, "exit 3", LONG_MS);
    assert_false(w->success);
    assert_string_equal(w->reason, "the command ended with exit code 3");
    w->done = 0;
    probe_command(w, "kill -TERM $$", LONG_MS);
    assert_false(w->success);
    assert_string_equal(w->reason, "the command ended by signal 15");
}

static void a_command_finds_nothing_of_the_agents(void **state)
{
    struct world *w = *state;

    setenv("SECRET", "x", 1);
    probe_command(
        w,
        "test -z \"$SECRET\" && for fd in 0 1 2; do test \"$(readlink /proc/$$/fd/$fd)\" = "
        "/dev/null || exit 1; done",
        LONG_MS);
    assert_true(w->success);
}

static void a_command_that_hangs_is_killed_with_its_children(void **state)
{
    struct world *w = *state;
    char script[128];
    int ends[2];
    char byte;

    /* Whoever of them lives holds the pipe's writing end. */
    assert_int_equal(pipe(ends), 0);
    snprintf(script, sizeof script, "exec 9<>/proc/%ld/fd/%d; sleep 1000 & sleep 1000",
             (long)getpid(), ends[1]);
    probe_command(w, script, 50);
    assert_false(w->success);
    assert_string_equal(w->reason, "no answer in time");
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 0);
    close(ends[0]);
}

static void a_command_that_is_missing_is_a_failure(void **state)
{
    const char *const command[] = {"/no/such/program", NULL};
    const struct desired_probe probe = {.kind = DESIRED_PROBE_EXEC, .command = command};
    struct world *w = *state;

    begin(w, &probe, NULL, LONG_MS);
    run(w);
    assert_false(w->success);
    assert_memory_equal(w->reason, "start: ", 7);
}

static void a_probe_that_is_given_up_ends_at_once(void **state)
{
    const char *const command[] = {"sleep", "1000", NULL};
    const struct desired_probe exec = {.kind = DESIRED_PROBE_EXEC, .command = command};
    const struct desired_probe http = {.kind = DESIRED_PROBE_HTTP, .path = "/"};
    const struct desired_probe none = {.kind = DESIRED_PROBE_EXEC,
                                       .command = (const char *const[]){"/no/such", NULL}};
    struct world *w = *state;
    struct addr at = listen_here(w);
    struct uv_probe *probe = begin(w, &exec, NULL, LONG_MS);

    uv_probe_cancel(probe);
    assert_int_equal(w->done, 1);
    run(w);
    w->done = 0;
    probe = begin(w, &http, &at, LONG_MS);
    uv_probe_cancel(probe);
    run(w);
    w->done = 0;
    probe = begin(w, &none, NULL, LONG_MS);
    uv_probe_cancel(probe);
    run(w);
    assert_false(w->success);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_good_answer_is_success),
        TEST(a_redirection_is_success_and_not_followed),
        TEST(a_bad_status_is_named),
        TEST(what_is_no_http_is_said_so),
        TEST(an_end_without_an_answer_is_a_failure),
        TEST(nobody_there_is_a_failure),
        TEST(a_connection_is_enough_for_tcp),
        TEST(silence_is_a_failure_in_time),
        TEST(a_command_is_judged_by_its_exit),
        TEST(a_command_finds_nothing_of_the_agents),
        TEST(a_command_that_hangs_is_killed_with_its_children),
        TEST(a_command_that_is_missing_is_a_failure),
        TEST(a_probe_that_is_given_up_ends_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
