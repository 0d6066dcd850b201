#include "agent/io/os_arp.h"

#include <stdlib.h>
#include <unistd.h>

#include <linux/if_ether.h>

#include "agent/io/os_packet.h"

#define WHAT "ARP"

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
    BPF_STMT(BPF_RET | BPF_K, PACKET_MAX),
    BPF_STMT(BPF_RET | BPF_K, 0),
};

int os_arp_open(unsigned int index, struct os_arp **arp, struct err *err)
{
    struct os_arp *a = calloc(1, sizeof *a);
    int rc;

    if (a == NULL)
        return err_set(err, ERR_NOMEM, "open an ARP socket");
    a->index = index;
    rc =
        os_packet_open(index, ETH_P_ARP, filter, sizeof filter / sizeof *filter, WHAT, &a->fd, err);
    if (rc != ERR_NONE) {
        free(a);
        return rc;
    }
    *arp = a;
    return ERR_NONE;
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

    arp_encode(frame, bytes);
    return os_packet_send(arp->fd, arp->index, ETH_P_ARP, bytes, sizeof bytes, WHAT, err);
}

size_t os_arp_receive(struct os_arp *arp, struct arp_frame *frames, size_t max)
{
    uint8_t bytes[PACKET_MAX];
    size_t count = 0;
    size_t i;

    for (i = 0; i < max; i++) {
        ssize_t n = os_packet_receive(arp->fd, bytes);

        if (n < 0)
            break;
        if (arp_decode(bytes, (size_t)n, &frames[count]))
            count++;
    }
    return count;
}
