#include "workloads/lib/inherit.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST 3
#define SOCKETS_MAX 64

/* FD_CLOEXEC marks those that have been given away: they come without it. */
static bool is_open(int fd)
{
    int flags = fcntl(fd, F_GETFD);

    return flags >= 0 && (flags & FD_CLOEXEC) == 0;
}

static int socket_count(void)
{
    const char *pid = getenv("LISTEN_PID");
    const char *count = getenv("LISTEN_FDS");
    long n = count != NULL ? strtol(count, NULL, 10) : 0;

    if (pid == NULL || strtol(pid, NULL, 10) != (long)getpid() || n < 0 || n > SOCKETS_MAX)
        return 0;
    return (int)n;
}

static uint16_t port_of(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    socklen_t len = sizeof address;

    if (getsockname(fd, &address.any, &len) != 0)
        return 0;
    if (address.any.sa_family == AF_INET)
        return ntohs(address.v4.sin_port);
    return address.any.sa_family == AF_INET6 ? ntohs(address.v6.sin6_port) : 0;
}

static int take(int fd)
{
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return fd;
}

int inherit_socket(uint16_t port)
{
    int count = socket_count();

    for (int fd = FIRST; port != 0 && fd < FIRST + count; fd++)
        if (is_open(fd) && port_of(fd) == port)
            return take(fd);
    return -1;
}

int inherit_probe(void)
{
    const char *names = getenv("LISTEN_FDNAMES");
    int count = socket_count();

    for (int fd = FIRST; names != NULL && fd < FIRST + count; fd++) {
        size_t len = strcspn(names, ":");
        if (len == strlen("probe") && strncmp(names, "probe", len) == 0)
            return is_open(fd) ? take(fd) : -1;
        names = names[len] == ':' ? names + len + 1 : NULL;
    }
    return -1;
}
