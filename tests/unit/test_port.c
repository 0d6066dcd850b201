/* Ports, against real listeners on the loopback interface. */
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/io/os_port.h"

static const struct addr loopback = {.family = 4, .ip = {127, 0, 0, 1}};

/* A listener on a port that the kernel chose. */
static int listener(uint32_t address, uint16_t *port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    socklen_t len = sizeof in;
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    *port = ntohs(in.sin_port);
    return fd;
}

static uint16_t pick(uint16_t declared, const struct addr *address, const uint16_t *exclude,
                     size_t count)
{
    struct err err = {.code = ERR_NONE};
    uint16_t port = 0;

    if (os_port_pick(declared, address, "app/web.0", exclude, count, &port, &err) != ERR_NONE)
        fail_msg("%s", err.text);
    return port;
}

static void the_declared_port_is_kept_while_it_is_free(void **state)
{
    struct addr any = {.family = 0};
    uint16_t port;
    uint16_t other;
    int fd = listener(INADDR_LOOPBACK, &port);
    (void)state;

    other = pick(port, &loopback, NULL, 0);
    assert_int_not_equal(other, port);
    assert_in_range(other, OS_PORT_FIRST, OS_PORT_LAST);
    /* Taken on one address is taken for all. */
    assert_int_not_equal(pick(port, &any, NULL, 0), port);
    close(fd);
    assert_int_equal(pick(port, &loopback, NULL, 0), port);
    assert_int_not_equal(pick(port, &loopback, &port, 1), port);
}

static void an_instance_tends_to_keep_its_port(void **state)
{
    uint16_t first = pick(0, &loopback, NULL, 0);
    uint16_t next;
    (void)state;

    assert_int_equal(pick(0, &loopback, NULL, 0), first);
    next = pick(0, &loopback, &first, 1);
    assert_in_range(next, OS_PORT_FIRST, OS_PORT_LAST);
    assert_int_not_equal(next, first);
}

static void a_full_range_is_an_error(void **state)
{
    static uint16_t all[OS_PORT_LAST - OS_PORT_FIRST + 1];
    struct err err;
    uint16_t port;
    (void)state;

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        all[i] = (uint16_t)(OS_PORT_FIRST + i);
    assert_int_equal(os_port_pick(0, &loopback, "a", all, sizeof all / sizeof all[0], &port, &err),
                     ERR_FULL);
}

static void a_socket_listens_alone(void **state)
{
    static const struct addr any6 = {.family = 6};
    struct err err;
    uint16_t port = 0;
    uint16_t again = 0;
    int fd = -1;
    int other = -1;

    (void)state;
    assert_int_equal(os_port_listen(&loopback, 0, &fd, &port, &err), ERR_NONE);
    assert_int_not_equal(port, 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(os_port_listen(&loopback, port, &other, &again, &err), ERR_EXISTS);
    assert_non_null(strstr(err.text, "listen on port"));
    assert_int_not_equal(pick(port, &loopback, NULL, 0), port);
    close(fd);
    assert_int_equal(os_port_listen(&loopback, port, &fd, &again, &err), ERR_NONE);
    assert_int_equal(again, port);
    close(fd);
    assert_int_equal(os_port_listen(&any6, 0, &fd, &port, &err), ERR_NONE);
    assert_int_not_equal(port, 0);
    close(fd);
    /* An address that this machine does not have (RFC 5737). */
    assert_int_equal(
        os_port_listen(&(struct addr){.family = 4, .ip = {192, 0, 2, 1}}, 0, &fd, &port, &err),
        ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_declared_port_is_kept_while_it_is_free),
        cmocka_unit_test(an_instance_tends_to_keep_its_port),
        cmocka_unit_test(a_full_range_is_an_error),
        cmocka_unit_test(a_socket_listens_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
