#include "agent/io/os_port.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static socklen_t socket_address(const struct addr *a, uint16_t port, struct sockaddr_storage *out)
{
    struct sockaddr_in *in = (struct sockaddr_in *)out;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

    memset(out, 0, sizeof *out);
    if (a->family == 6) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
        memcpy(&in6->sin6_addr, a->ip, 16);
        return sizeof *in6;
    }
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    if (a->family == 4)
        memcpy(&in->sin_addr, a->ip, 4);
    return sizeof *in;
}

/* Connections of a former listener, in TIME_WAIT, do not matter: servers set SO_REUSEADDR. With it
 * two may bind, but only one can listen. The socket, or -1 and errno. */
static int listen_at(const struct addr *address, uint16_t port, int backlog)
{
    struct sockaddr_storage at;
    socklen_t len = socket_address(address, port, &at);
    int one = 1;
    int fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int errnum;

    if (fd < 0 || (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
                   bind(fd, (struct sockaddr *)&at, len) == 0 && listen(fd, backlog) == 0))
        return fd;
    errnum = errno;
    close(fd);
    errno = errnum;
    return -1;
}

static bool is_free(const struct addr *address, uint16_t port)
{
    int fd = listen_at(address, port, 1);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool excluded(uint16_t port, const uint16_t *exclude, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (exclude[i] == port)
            return true;
    }
    return false;
}

int os_port_pick(uint16_t declared, const struct addr *address, const char *instance,
                 const uint16_t *exclude, size_t exclude_count, uint16_t *port, struct err *err)
{
    const unsigned range = OS_PORT_LAST - OS_PORT_FIRST + 1;
    unsigned begin = (unsigned)(hash64_string(instance) % range);

    if (declared != 0 && !excluded(declared, exclude, exclude_count) &&
        is_free(address, declared)) {
        *port = declared;
        return ERR_NONE;
    }
    for (unsigned i = 0; i < range; i++) {
        uint16_t p = (uint16_t)(OS_PORT_FIRST + (begin + i) % range);
        if (!excluded(p, exclude, exclude_count) && is_free(address, p)) {
            *port = p;
            return ERR_NONE;
        }
    }
    return err_set(err, ERR_FULL, "no port from %d to %d is free for %s", OS_PORT_FIRST,
                   OS_PORT_LAST, instance);
}

int os_port_listen(const struct addr *address, uint16_t port, int *fd, uint16_t *bound,
                   struct err *err)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    int s = listen_at(address, port, SOMAXCONN);
    int rc;

    if (s < 0)
        return err_errno(err, errno == EADDRINUSE ? ERR_EXISTS : ERR_IO, errno, "listen on port %u",
                         (unsigned)port);
    if (getsockname(s, (struct sockaddr *)&at, &len) != 0) {
        rc = err_errno(err, ERR_IO, errno, "listen on port %u", (unsigned)port);
        close(s);
        return rc;
    }
    *fd = s;
    *bound = ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                            : ((struct sockaddr_in *)&at)->sin_port);
    return ERR_NONE;
}
