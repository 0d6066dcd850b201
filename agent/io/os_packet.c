#include "agent/io/os_packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_packet.h>

static int code_of(int errnum)
{
    switch (errnum) {
    case EPERM:
    case EACCES:
        return ERR_DENIED;
    case ENODEV:
        return ERR_NOTFOUND;
    default:
        return ERR_IO;
    }
}

int os_packet_open(unsigned int index, uint16_t type, const struct sock_filter *filter, size_t len,
                   const char *what, int *fd, struct err *err)
{
    struct sock_fprog program = {.len = (unsigned short)len,
                                 .filter = (struct sock_filter *)filter};
    struct sockaddr_ll place = {
        .sll_family = AF_PACKET, .sll_protocol = htons(type), .sll_ifindex = (int)index};
    int rc;

    /* Protocol 0 hears nothing, so no frame comes in before the filter stands. */
    *fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (*fd < 0)
        return err_errno(err, code_of(errno), errno, "open a raw socket for %s", what);
    if (setsockopt(*fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0) {
        rc = err_errno(err, ERR_IO, errno, "set the filter of the raw socket for %s", what);
        goto err_after_socket;
    }
    if (bind(*fd, (struct sockaddr *)&place, sizeof place) < 0) {
        rc = err_errno(err, code_of(errno), errno, "bind the raw socket for %s to interface %u",
                       what, index);
        goto err_after_socket;
    }
    return ERR_NONE;

err_after_socket:
    close(*fd);
    return rc;
}

int os_packet_send(int fd, unsigned int index, uint16_t type, const uint8_t *bytes, size_t len,
                   const char *what, struct err *err)
{
    struct sockaddr_ll to = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(type),
                             .sll_ifindex = (int)index,
                             .sll_halen = ARP_MAC_LEN};
    ssize_t n;

    memcpy(to.sll_addr, bytes, ARP_MAC_LEN); /* a frame begins with its destination */
    do {
        n = sendto(fd, bytes, len, 0, (struct sockaddr *)&to, sizeof to);
    } while (n < 0 && errno == EINTR);
    if (n >= 0)
        return ERR_NONE;
    if (errno == ENETDOWN || errno == ENXIO || errno == ENODEV)
        return err_errno(err, ERR_UNREACHABLE, errno, "send %s on interface %u", what, index);
    if (errno == EAGAIN || errno == ENOBUFS)
        return err_errno(err, ERR_BUSY, errno, "send %s on interface %u", what, index);
    return err_errno(err, ERR_IO, errno, "send %s on interface %u", what, index);
}

ssize_t os_packet_receive(int fd, uint8_t bytes[PACKET_MAX])
{
    ssize_t n = recv(fd, bytes, PACKET_MAX, 0);

    /* ENETDOWN comes once when the interface goes down; frames may wait behind it. */
    if (n < 0 && (errno == EINTR || errno == ENETDOWN))
        return 0;
    return n;
}
