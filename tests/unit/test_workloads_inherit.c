/* Sockets that agentd has passed (sd_listen_fds(3)): found by port and by name, each given once. */
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "workloads/lib/inherit.h"

#define FIRST 3
#define COUNT 3

static uint16_t ports[COUNT];

/* Sockets from descriptor 3 on, as after an execve: whatever was open there is not needed here. */
static int pass_sockets(void **state)
{
    char text[24];

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof in;
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (bind(fd, (struct sockaddr *)&in, len) != 0 || listen(fd, 1) != 0 ||
            getsockname(fd, (struct sockaddr *)&in, &len) != 0)
            return -1;
        ports[i] = ntohs(in.sin_port);
        if (fd != FIRST + i) {
            dup2(fd, FIRST + i);
            close(fd);
        }
    }
    snprintf(text, sizeof text, "%d", (int)getpid());
    setenv("LISTEN_PID", text, 1);
    setenv("LISTEN_FDS", "3", 1);
    setenv("LISTEN_FDNAMES", "http:metrics:probe", 1);
    return 0;
}

static int close_sockets(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT; i++)
        close(FIRST + i);
    return unsetenv("LISTEN_FDNAMES");
}

static void each_socket_is_given_once(void **state)
{
    (void)state;
    assert_int_equal(inherit_socket(ports[1]), FIRST + 1);
    assert_true((fcntl(FIRST + 1, F_GETFD) & FD_CLOEXEC) != 0);
    assert_true((fcntl(FIRST + 1, F_GETFL) & O_NONBLOCK) != 0);
    assert_int_equal(inherit_socket(ports[1]), -1);
    assert_int_equal(inherit_socket(ports[0]), FIRST);
    assert_int_equal(inherit_socket(0), -1);
    assert_int_equal(inherit_probe(), FIRST + 2);
    assert_int_equal(inherit_probe(), -1);
    assert_int_equal(inherit_socket(ports[2]), -1);
}

static void those_of_another_process_are_not_taken(void **state)
{
    (void)state;
    setenv("LISTEN_PID", "1", 1);
    assert_int_equal(inherit_socket(ports[0]), -1);
    assert_int_equal(inherit_probe(), -1);
    unsetenv("LISTEN_PID");
    assert_int_equal(inherit_socket(ports[0]), -1);
}

static void what_makes_no_sense_is_nothing(void **state)
{
    static const char *const counts[] = {"", "-1", "65", "many"};

    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        setenv("LISTEN_FDS", counts[i], 1);
        assert_int_equal(inherit_socket(ports[0]), -1);
        assert_int_equal(inherit_probe(), -1);
    }
    setenv("LISTEN_FDS", "3", 1);
    setenv("LISTEN_FDNAMES", "probes:aprobe:", 1);
    assert_int_equal(inherit_probe(), -1);
    unsetenv("LISTEN_FDNAMES");
    assert_int_equal(inherit_probe(), -1);
    close(FIRST); /* gone, though it was announced */
    assert_int_equal(inherit_socket(ports[0]), -1);
    assert_int_equal(inherit_socket(ports[1]), FIRST + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_socket_is_given_once, pass_sockets, close_sockets),
        cmocka_unit_test_setup_teardown(those_of_another_process_are_not_taken, pass_sockets,
                                        close_sockets),
        cmocka_unit_test_setup_teardown(what_makes_no_sense_is_nothing, pass_sockets,
                                        close_sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
