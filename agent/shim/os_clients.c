#include "agent/shim/clients.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 8

int shim_clients_listen(struct shim_clients *c, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = SHIM_SOCKET};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int rc;

    if (fd < 0)
        return err_errno(err, ERR_IO, errno, "make the shim's socket");
    unlink(SHIM_SOCKET);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        chmod(SHIM_SOCKET, 0600) != 0 || listen(fd, BACKLOG) != 0) {
        rc = err_errno(err, ERR_IO, errno, "listen on the shim's socket");
        close(fd);
        return rc;
    }
    c->listener = fd;
    return ERR_NONE;
}

static void drop(struct shim_clients *c, size_t i)
{
    assert(i < c->count);
    close(c->fd[i]);
    c->count--;
    memmove(&c->fd[i], &c->fd[i + 1], (c->count - i) * sizeof c->fd[0]);
}

void shim_clients_add(struct shim_clients *c, int fd)
{
    if (c->count == SHIM_CLIENTS_MAX)
        drop(c, 0);
    c->fd[c->count++] = fd;
}

static bool send_record(int fd, const struct shim_record *record)
{
    char buffer[SHIM_RECORD_MAX];
    size_t len = shim_record_encode(record, buffer);

    return send(fd, buffer, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len;
}

/* An agent that was started anew has lost the sockets that it held. */
static bool send_sockets(const struct shim_clients *c, int fd, const struct shim_record *record)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int) * SHIM_LISTEN_MAX)];
    } control = {0};
    char buffer[SHIM_RECORD_MAX];
    struct iovec part = {.iov_base = buffer, .iov_len = shim_record_encode(record, buffer)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = CMSG_SPACE(sizeof(int) * c->sockets)};
    int sockets[SHIM_LISTEN_MAX];

    for (uint32_t i = 0; i < c->sockets; i++)
        sockets[i] = SHIM_FD_LISTEN + (int)i;
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int) * c->sockets);
    memcpy(CMSG_DATA(&control.header), sockets, sizeof(int) * c->sockets);
    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)part.iov_len;
}

void shim_clients_accept(struct shim_clients *c, const struct shim_record *record)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    int fd = accept4(c->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 ||
        (peer.uid != 0 && peer.uid != geteuid()) ||
        !(c->sockets > 0 ? send_sockets(c, fd, record) : send_record(fd, record))) {
        close(fd);
        return;
    }
    shim_clients_add(c, fd);
}

void shim_clients_push(struct shim_clients *c, const struct shim_record *record)
{
    for (size_t i = c->count; i-- > 0;) {
        if (!send_record(c->fd[i], record))
            drop(c, i);
    }
}

static ssize_t receive(int socket, char *buffer, size_t size, int *fd)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))]; /* more descriptors than one: the kernel closes them */
    } control;
    struct iovec part = {.iov_base = buffer, .iov_len = size};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    /* MSG_TRUNC: the true length, so that one that is too long is not taken for its beginning. */
    ssize_t n = recvmsg(socket, &message, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
    const struct cmsghdr *header = n >= 0 ? CMSG_FIRSTHDR(&message) : NULL;

    *fd = -1;
    if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof *fd))
        memcpy(fd, CMSG_DATA(header), sizeof *fd);
    return n;
}

int shim_clients_read(struct shim_clients *c, size_t i, struct shim_request *request, int *fd)
{
    char buffer[SHIM_REQUEST_MAX];
    int rc;
    ssize_t n = receive(c->fd[i], buffer, sizeof buffer, fd);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return ERR_BUSY;
    if (n <= 0)
        rc = ERR_IO;
    else if ((size_t)n > sizeof buffer)
        rc = ERR_INVALID;
    else
        rc = shim_request_decode(buffer, (size_t)n, request);
    if (rc == ERR_NONE)
        return rc;
    if (*fd >= 0)
        close(*fd);
    drop(c, i);
    return rc;
}
