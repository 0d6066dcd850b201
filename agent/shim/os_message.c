#include "agent/shim/message.h"

#include <assert.h>
#include <string.h>
#include <sys/socket.h>

union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int) * SHIM_LISTEN_MAX)];
};

bool shim_message_send(int socket, const char *text, size_t len, const int *fds, size_t count)
{
    union control control = {0};
    struct iovec part = {.iov_base = (void *)(uintptr_t)text, .iov_len = len};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    assert(count <= SHIM_LISTEN_MAX);
    if (count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof *fds * count);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof *fds * count);
        memcpy(CMSG_DATA(&control.header), fds, sizeof *fds * count);
    }
    return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len;
}

ssize_t shim_message_receive(int socket, char *text, size_t size, int *fds, size_t max,
                             size_t *count)
{
    union control control;
    struct iovec part = {.iov_base = text, .iov_len = size};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             /* Without room to align: what is more than @max the kernel closes. */
                             .msg_controllen = CMSG_LEN(sizeof *fds * max)};
    const struct cmsghdr *header;
    ssize_t n;

    assert(max <= SHIM_LISTEN_MAX);
    *count = 0;
    n = recvmsg(socket, &message, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
    header = n >= 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (header == NULL || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
        return n;
    *count = (header->cmsg_len - CMSG_LEN(0)) / sizeof *fds;
    memcpy(fds, CMSG_DATA(header), *count * sizeof *fds);
    return n;
}
