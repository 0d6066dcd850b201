#include "agent/shim/clients.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/shim/message.h"

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

/* With @sockets: an agent that was started anew has lost those that it held. */
static bool send_record(int fd, const struct shim_record *record, uint32_t sockets)
{
    char buffer[SHIM_RECORD_MAX];
    int fds[SHIM_LISTEN_MAX];

    for (uint32_t i = 0; i < sockets; i++)
        fds[i] = SHIM_FD_LISTEN + (int)i;
    return shim_message_send(fd, buffer, shim_record_encode(record, buffer), fds, sockets);
}

void shim_clients_accept(struct shim_clients *c, const struct shim_record *record)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    int fd = accept4(c->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 ||
        (peer.uid != 0 && peer.uid != geteuid()) || !send_record(fd, record, c->sockets)) {
        close(fd);
        return;
    }
    shim_clients_add(c, fd);
}

void shim_clients_push(struct shim_clients *c, const struct shim_record *record)
{
    for (size_t i = c->count; i-- > 0;) {
        if (!send_record(c->fd[i], record, 0))
            drop(c, i);
    }
}

int shim_clients_read(struct shim_clients *c, size_t i, struct shim_request *request, int *fd)
{
    char buffer[SHIM_REQUEST_MAX];
    size_t count;
    int rc;
    /* The true length, so that one that is too long is not taken for its beginning. */
    ssize_t n = shim_message_receive(c->fd[i], buffer, sizeof buffer, fd, 1, &count);

    if (count == 0)
        *fd = -1;
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
