#include "tests/lab/edge_fixture.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define VIP "10.77.0.210"
#define ECHO_ID 0xc0e7

void edge_ok(struct edge *e, int rc)
{
    if (rc != ERR_NONE)
        fail_msg("%s: %s", err_name(rc), e->err.text);
}

static void open_host(struct edge *e, int i)
{
    struct edge_host *h = &e->host[i];

    netlab_enter(e->lab.host[i]);
    h->ip = (struct ipv4){{10, 77, 0, (uint8_t)(i + 1)}};
    edge_ok(e, os_netlink_open(&h->netlink, &e->err));
    edge_ok(e, os_link_get(h->netlink, "wlan0", &h->link, &e->err));
    edge_ok(e, os_arp_open(h->link.index, &h->arp, &e->err));
    if (i != CLIENT)
        edge_ok(e, os_fence_setup("wlan0", &e->vip, 1, &h->fence, &e->err));
    netlab_enter(e->lab.home);
}

int edge_set_up(void **state)
{
    struct edge *e = calloc(1, sizeof *e);
    int i;

    if (e == NULL)
        return -1;
    *state = e;
    if (netlab_create(&e->lab) < 0)
        return -1;
    edge_ok(e, addr_parse(VIP, 0, &e->vip, &e->err));
    ipv4_from_addr(&e->vip, &e->vip_ip);
    for (i = 0; i < NETLAB_HOSTS; i++)
        open_host(e, i);
    return 0;
}

int edge_tear_down(void **state)
{
    struct edge *e = *state;
    int i;

    for (i = 0; i < NETLAB_HOSTS; i++) {
        os_fence_free(e->host[i].fence);
        os_arp_close(e->host[i].arp);
        os_netlink_close(e->host[i].netlink);
    }
    netlab_destroy(&e->lab);
    free(e);
    return 0;
}

void edge_set_vip(struct edge *e, int host)
{
    struct edge_host *h = &e->host[host];

    edge_ok(e, os_address_set(h->netlink, h->link.index, &e->vip, 60, &e->err));
}

static int64_t wall_ms(const struct timespec *t)
{
    return (int64_t)t->tv_sec * 1000 + t->tv_nsec / 1000000;
}

void prober_open(struct prober *p, struct edge *e, int host)
{
    int on = 1;

    *p = (struct prober){.edge = e, .host = host};
    netlab_enter(e->lab.host[host]);
    p->icmp = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMP);
    netlab_enter(e->lab.home);
    assert_true(p->icmp >= 0);
    assert_int_equal(setsockopt(p->icmp, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on), 0);
    assert_int_equal(
        setsockopt(os_arp_fd(e->host[host].arp), SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on), 0);
    p->wall_minus_boot_ms = os_clock_wall_ms() - os_clock_now().ms;
}

void prober_close(struct prober *p)
{
    close(p->icmp);
}

static uint16_t checksum(const uint8_t *bytes, size_t len)
{
    uint32_t sum = 0;
    size_t i;

    for (i = 0; i < len; i += 2)
        sum += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static void send_probes(struct prober *p)
{
    struct edge_host *h = &p->edge->host[p->host];
    struct sockaddr_in to = {.sin_family = AF_INET};
    struct icmphdr echo = {.type = ICMP_ECHO};
    struct arp_frame ask;

    echo.un.echo.id = htons(ECHO_ID);
    echo.un.echo.sequence = htons((uint16_t)p->sent);
    echo.checksum = htons(checksum((const uint8_t *)&echo, sizeof echo));
    memcpy(&to.sin_addr, p->edge->vip.ip, sizeof to.sin_addr);
    p->sent++;
    /* One that cannot be sent counts as one that is not answered. */
    if (sendto(p->icmp, &echo, sizeof echo, 0, (struct sockaddr *)&to, sizeof to) < 0)
        assert_int_not_equal(errno, EPERM);
    arp_ask(&ask, h->link.mac, h->ip, p->edge->vip_ip, NULL);
    edge_ok(p->edge, os_arp_send(h->arp, &ask, &p->edge->err));
}

/* Reads one packet and the kernel's time of it. Returns its length, or -1. */
static ssize_t receive(const struct prober *p, int fd, uint8_t *bytes, size_t size, mono_t *when)
{
    char control[128];
    struct iovec part = {.iov_base = bytes, .iov_len = size};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT);
    struct cmsghdr *c;

    *when = os_clock_now();
    for (c = n >= 0 ? CMSG_FIRSTHDR(&message) : NULL; c != NULL; c = CMSG_NXTHDR(&message, c)) {
        struct timespec t;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
            continue;
        memcpy(&t, CMSG_DATA(c), sizeof t);
        when->ms = wall_ms(&t) - p->wall_minus_boot_ms;
    }
    return n;
}

static void answered(struct prober *p, unsigned *counter, mono_t when)
{
    ++*counter;
    p->last_answer = mono_max(p->last_answer, when);
}

static void read_answers(struct prober *p)
{
    struct edge_host *h = &p->edge->host[p->host];
    uint8_t bytes[256];
    struct arp_frame frame;
    struct iphdr ip;
    struct icmphdr echo;
    mono_t when;
    ssize_t n;

    while ((n = receive(p, p->icmp, bytes, sizeof bytes, &when)) >= 0) {
        if ((size_t)n < sizeof ip + sizeof echo)
            continue;
        memcpy(&ip, bytes, sizeof ip);
        memcpy(&echo, bytes + sizeof ip, sizeof echo);
        if (echo.type == ICMP_ECHOREPLY && echo.un.echo.id == htons(ECHO_ID) &&
            memcmp(&ip.saddr, p->edge->vip.ip, sizeof ip.saddr) == 0)
            answered(p, &p->echo_answers, when);
    }
    while ((n = receive(p, os_arp_fd(h->arp), bytes, sizeof bytes, &when)) >= 0) {
        if (arp_decode(bytes, (size_t)n, &frame) && frame.operation == ARP_REPLY &&
            arp_meaning(&frame, h->link.mac, p->edge->vip_ip) == ARP_CLAIM) {
            answered(p, &p->arp_answers, when);
            p->answered_by = frame.sender_mac;
        }
    }
}

/* Waits for an answer, at most until @end, and reads all. */
static void wait_answers(struct prober *p, mono_t end)
{
    struct pollfd fds[] = {{.fd = p->icmp, .events = POLLIN},
                           {.fd = os_arp_fd(p->edge->host[p->host].arp), .events = POLLIN}};
    int64_t left = mono_diff(end, os_clock_now());

    poll(fds, 2, left > 0 ? (int)left : 0);
    read_answers(p);
}

void prober_run(struct prober *p, mono_t end)
{
    mono_t now = os_clock_now();

    p->next = mono_max(p->next, now);
    while (mono_before(now, end)) {
        if (mono_reached(now, p->next)) {
            send_probes(p);
            p->next = mono_add(now, PROBE_MS);
        }
        wait_answers(p, mono_min(end, p->next));
        now = os_clock_now();
    }
}

bool prober_all_answered(struct prober *p)
{
    mono_t bound = mono_add(os_clock_now(), BOUND_MS);

    while (p->echo_answers < p->sent && mono_before(os_clock_now(), bound))
        wait_answers(p, bound);
    return p->echo_answers == p->sent;
}

bool prober_wait_answer(struct prober *p)
{
    mono_t bound = mono_add(os_clock_now(), BOUND_MS);
    unsigned before = p->echo_answers;

    while (p->echo_answers == before && mono_before(os_clock_now(), bound))
        prober_run(p, mono_add(os_clock_now(), PROBE_MS));
    return p->echo_answers > before;
}
