#include "agent/io/os_arp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#define FRAME_MAX 128 /* bytes read of a frame: ARP and its padding to 60 fit */

struct os_arp {
    int fd;
    unsigned int index;
};

/* Ethertype ARP; Ethernet and IPv4; lengths 6 and 4; operation 1 or 2. What arp_decode asks, so
 * that other traffic does not wake the agent. */
static const struct sock_filter filter[] = {
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_ARP, 0, 8),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 14),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x00010800, 0, 6),
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 18),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x0604, 0, 4),
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 20),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARP_REQUEST, 1, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARP_REPLY, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, FRAME_MAX),
    BPF_STMT(BPF_RET | BPF_K, 0),
};

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

int os_arp_open(unsigned int index, struct os_arp **arp, struct err *err)
{
    struct sock_fprog program = {.len = sizeof filter / sizeof filter[0],
                                 .filter = (struct sock_filter *)filter};
    struct sockaddr_ll place = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP), .sll_ifindex = (int)index};
    struct os_arp *a = calloc(1, sizeof *a);
    int rc;

    if (a == NULL)
        return err_set(err, ERR_NOMEM, "open an ARP socket");
    a->index = index;
    /* Protocol 0 hears nothing, so no frame comes in before the filter stands. */
    a->fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (a->fd < 0) {
        rc = err_errno(err, code_of(errno), errno, "open an ARP socket");
        goto err_after_alloc;
    }
    if (setsockopt(a->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0) {
        rc = err_errno(err, ERR_IO, errno, "set the filter of the ARP socket");
        goto err_after_socket;
    }
    if (bind(a->fd, (struct sockaddr *)&place, sizeof place) < 0) {
        rc = err_errno(err, code_of(errno), errno, "bind the ARP socket to interface %u", index);
        goto err_after_socket;
    }
    *arp = a;
    return ERR_NONE;

err_after_socket:
    close(a->fd);
err_after_alloc:
    free(a);
    return rc;
}

void os_arp_close(struct os_arp *arp)
{
    if (arp == NULL)
        return;
    close(arp->fd);
    free(arp);
}

int os_arp_fd(const struct os_arp *arp)
{
    return arp->fd;
}

int os_arp_send(struct os_arp *arp, const struct arp_frame *frame, struct err *err)
{
    uint8_t bytes[ARP_FRAME_LEN];
    struct sockaddr_ll to = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(ETH_P_ARP),
                             .sll_ifindex = (int)arp->index,
                             .sll_halen = ARP_MAC_LEN};
    ssize_t n;

    arp_encode(frame, bytes);
    memcpy(to.sll_addr, frame->to.byte, ARP_MAC_LEN);
    do {
        n = sendto(arp->fd, bytes, sizeof bytes, 0, (struct sockaddr *)&to, sizeof to);
    } while (n < 0 && errno == EINTR);
    if (n >= 0)
        return ERR_NONE;
    if (errno == ENETDOWN || errno == ENXIO || errno == ENODEV)
        return err_errno(err, ERR_UNREACHABLE, errno, "send ARP on interface %u", arp->index);
    if (errno == EAGAIN || errno == ENOBUFS)
        return err_errno(err, ERR_BUSY, errno, "send ARP on interface %u", arp->index);
    return err_errno(err, ERR_IO, errno, "send ARP on interface %u", arp->index);
}

size_t os_arp_receive(struct os_arp *arp, struct arp_frame *frames, size_t max)
{
    uint8_t bytes[FRAME_MAX];
    size_t count = 0;
    size_t i;

    for (i = 0; i < max; i++) {
        ssize_t n = recv(arp->fd, bytes, sizeof bytes, 0);

        /* ENETDOWN comes once when the interface goes down; frames may wait behind it. */
        if (n < 0 && errno != EINTR && errno != ENETDOWN)
            break;
        if (n >= 0 && arp_decode(bytes, (size_t)n, &frames[count]))
            count++;
    }
    return count;
}
