/* What systemd is told, and what it hands over. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/io/os_notify.h"

/* A socket as systemd's, at @name; '@' stands for an abstract one. */
static int listen_at(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    memcpy(address.sun_path, name, strlen(name));
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
                     0);
    return fd;
}

static void expect(int fd, const char *state)
{
    char buffer[64] = "";

    assert_int_equal(recv(fd, buffer, sizeof buffer - 1, 0), strlen(state));
    assert_string_equal(buffer, state);
}

static void a_state_arrives(void **state)
{
    char name[64];
    int fd;

    (void)state;
    snprintf(name, sizeof name, "@covey-test-notify-%ld", (long)getpid());
    fd = listen_at(name);
    setenv("NOTIFY_SOCKET", name, 1);
    os_notify("READY=1");
    os_notify("STOPPING=1");
    expect(fd, "READY=1");
    expect(fd, "STOPPING=1");
    close(fd);
    snprintf(name, sizeof name, "/tmp/test_notify.%ld", (long)getpid());
    fd = listen_at(name);
    setenv("NOTIFY_SOCKET", name, 1);
    os_notify("WATCHDOG=1");
    expect(fd, "WATCHDOG=1");
    close(fd);
    unlink(name);
    os_notify("WATCHDOG=1"); /* nobody there: no harm */
}

static void without_systemd_nothing_happens(void **state)
{
    char name[256];

    (void)state;
    unsetenv("NOTIFY_SOCKET");
    os_notify("READY=1");
    setenv("NOTIFY_SOCKET", "", 1);
    os_notify("READY=1");
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    setenv("NOTIFY_SOCKET", name, 1);
    os_notify("READY=1");
}

static void set_listen(const char *pid, const char *count)
{
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", count, 1);
    setenv("LISTEN_FDNAMES", "page", 1);
}

static void a_socket_is_taken_once_and_kept_from_children(void **state)
{
    char pid[32];
    int saved = fcntl(3, F_DUPFD_CLOEXEC, 10); /* whatever the test was started with */
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    (void)state;
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    assert_true(fd == 3 || dup2(fd, 3) == 3);
    set_listen(pid, "1");
    assert_int_equal(os_notify_listen_fd(), 3);
    assert_int_equal(fcntl(3, F_GETFD), FD_CLOEXEC);
    assert_null(getenv("LISTEN_PID"));
    assert_null(getenv("LISTEN_FDS"));
    assert_null(getenv("LISTEN_FDNAMES"));
    assert_int_equal(os_notify_listen_fd(), -1);
    set_listen("1", "1"); /* for another process */
    assert_int_equal(os_notify_listen_fd(), -1);
    set_listen(pid, "0");
    assert_int_equal(os_notify_listen_fd(), -1);
    close(3);
    set_listen(pid, "1"); /* said, and not there */
    assert_int_equal(os_notify_listen_fd(), -1);
    if (fd != 3)
        close(fd);
    if (saved >= 0) {
        assert_int_equal(dup2(saved, 3), 3);
        close(saved);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_state_arrives),
        cmocka_unit_test(without_systemd_nothing_happens),
        cmocka_unit_test(a_socket_is_taken_once_and_kept_from_children),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
