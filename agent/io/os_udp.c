#include "agent/io/os_udp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTEN_BACKLOG 64

union sockaddr_any {
    struct sockaddr any;
    struct sockaddr_in in4;
    struct sockaddr_in6 in6;
};

static socklen_t to_sockaddr(const struct addr *a, union sockaddr_any *s)
{
    memset(s, 0, sizeof *s);
    if (a->family == 6) {
        s->in6.sin6_family = AF_INET6;
        s->in6.sin6_port = htons(a->port);
        memcpy(&s->in6.sin6_addr, a->ip, 16);
        return sizeof s->in6;
    }
    s->in4.sin_family = AF_INET;
    s->in4.sin_port = htons(a->port);
    memcpy(&s->in4.sin_addr, a->ip, 4);
    return sizeof s->in4;
}

static void from_sockaddr(const union sockaddr_any *s, struct addr *a)
{
    memset(a, 0, sizeof *a);
    if (s->any.sa_family == AF_INET6) {
        a->family = 6;
        a->port = ntohs(s->in6.sin6_port);
        memcpy(a->ip, &s->in6.sin6_addr, 16);
    } else if (s->any.sa_family == AF_INET) {
        a->family = 4;
        a->port = ntohs(s->in4.sin_port);
        memcpy(a->ip, &s->in4.sin_addr, 4);
    }
}

static int open_bound(const struct addr *listen, int type, int *fd, struct err *err)
{
    union sockaddr_any address;
    socklen_t size = to_sockaddr(listen, &address);
    const int on = 1;
    char text[ADDR_TEXT];
    int s = socket(address.any.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    addr_format(listen, text);
    if (s < 0)
        return err_errno(err, ERR_IO, errno, "make a socket for %s", text);
    /* A restarted agent takes its port at once, although old connections linger. */
    if (type == SOCK_STREAM)
        (void)setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(s, &address.any, size) != 0) {
        int code = errno == EADDRINUSE ? ERR_EXISTS : ERR_IO;
        err_errno(err, code, errno, "listen on %s", text);
        close(s);
        return code;
    }
    *fd = s;
    return ERR_NONE;
}

int os_udp_open(const struct addr *listen, int *fd, struct err *err)
{
    return open_bound(listen, SOCK_DGRAM, fd, err);
}

int os_tcp_listen(const struct addr *listen_on, int *fd, struct err *err)
{
    int s;
    int rc = open_bound(listen_on, SOCK_STREAM, &s, err);

    if (rc != ERR_NONE)
        return rc;
    if (listen(s, LISTEN_BACKLOG) != 0) {
        rc = err_errno(err, ERR_IO, errno, "listen for connections");
        close(s);
        return rc;
    }
    *fd = s;
    return ERR_NONE;
}

void os_tcp_session(int fd, unsigned unanswered_ms)
{
    int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered_ms, sizeof unanswered_ms);
}

int os_unix_listen(const char *path, unsigned mode, int *fd, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int code = ERR_IO;
    int s;

    if (strlen(path) >= sizeof address.sun_path)
        return err_set(err, ERR_LIMIT,
                       "the socket's path %s is longer than %zu bytes: choose a shorter run_dir",
                       path, sizeof address.sun_path - 1);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    s = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s < 0)
        return err_errno(err, ERR_IO, errno, "make the socket %s", path);
    (void)unlink(path);
    if (bind(s, (struct sockaddr *)&address, sizeof address) != 0 || chmod(path, mode) != 0 ||
        listen(s, LISTEN_BACKLOG) != 0) {
        code = err_errno(err, ERR_IO, errno, "listen on %s", path);
        close(s);
        return code;
    }
    *fd = s;
    return ERR_NONE;
}

size_t os_udp_receive(int fd, struct os_udp_datagram batch[OS_UDP_BATCH])
{
    struct mmsghdr headers[OS_UDP_BATCH];
    struct iovec parts[OS_UDP_BATCH];
    union sockaddr_any senders[OS_UDP_BATCH];
    int count;

    memset(headers, 0, sizeof headers);
    for (size_t i = 0; i < OS_UDP_BATCH; i++) {
        parts[i] = (struct iovec){.iov_base = batch[i].data, .iov_len = sizeof batch[i].data};
        headers[i].msg_hdr.msg_iov = &parts[i];
        headers[i].msg_hdr.msg_iovlen = 1;
        headers[i].msg_hdr.msg_name = &senders[i];
        headers[i].msg_hdr.msg_namelen = sizeof senders[i];
    }
    do
        count = recvmmsg(fd, headers, OS_UDP_BATCH, MSG_DONTWAIT, NULL);
    while (count < 0 && errno == EINTR);
    for (int i = 0; i < count; i++) {
        from_sockaddr(&senders[i], &batch[i].from);
        batch[i].len = headers[i].msg_len;
    }
    return count > 0 ? (size_t)count : 0;
}

int os_udp_send(int fd, const struct addr *to, const uint8_t *data, size_t len)
{
    union sockaddr_any address;
    socklen_t size = to_sockaddr(to, &address);
    ssize_t n;

    do
        n = sendto(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL, &address.any, size);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return ERR_NONE;
    if (errno == EAGAIN || errno == ENOBUFS)
        return ERR_BUSY;
    if (errno == ENETUNREACH || errno == EHOSTUNREACH || errno == ENETDOWN)
        return ERR_UNREACHABLE;
    return ERR_IO;
}
