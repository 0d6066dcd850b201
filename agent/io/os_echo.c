#include "agent/io/os_echo.h"

#include <stdlib.h>
#include <unistd.h>

#include <linux/if_ether.h>

#include "agent/io/os_packet.h"

#define WHAT "echo requests"

struct os_echo {
    int fd;
    unsigned int index;
};

int os_echo_open(unsigned int index, uint16_t identifier, struct os_echo **echo, struct err *err)
{
    /* IPv4 without options, ICMP, no fragment; an echo reply; its identifier. What echo_decode
     * asks, save for the checksums. */
    const struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 14),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x45, 0, 9),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 23),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 7),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 20),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x3fff, 5, 0),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 34),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 38),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, identifier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, PACKET_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct os_echo *e = calloc(1, sizeof *e);
    int rc;

    if (e == NULL)
        return err_set(err, ERR_NOMEM, "open a socket for echo requests");
    e->index = index;
    rc = os_packet_open(index, ETH_P_IP, filter, sizeof filter / sizeof *filter, WHAT, &e->fd, err);
    if (rc != ERR_NONE) {
        free(e);
        return rc;
    }
    *echo = e;
    return ERR_NONE;
}

void os_echo_close(struct os_echo *echo)
{
    if (echo == NULL)
        return;
    close(echo->fd);
    free(echo);
}

int os_echo_fd(const struct os_echo *echo)
{
    return echo->fd;
}

int os_echo_send(struct os_echo *echo, const struct echo_frame *frame, struct err *err)
{
    uint8_t bytes[ECHO_FRAME_LEN];

    echo_encode(frame, bytes);
    return os_packet_send(echo->fd, echo->index, ETH_P_IP, bytes, sizeof bytes, WHAT, err);
}

size_t os_echo_receive(struct os_echo *echo, struct echo_frame *frames, size_t max)
{
    uint8_t bytes[PACKET_MAX];
    size_t count = 0;
    size_t i;

    for (i = 0; i < max; i++) {
        ssize_t n = os_packet_receive(echo->fd, bytes);

        if (n < 0)
            break;
        if (echo_decode(bytes, (size_t)n, &frames[count]))
            count++;
    }
    return count;
}
