/* Hosts with all that the edge of an agent uses, and a prober that asks a virtual address for life
 * every few milliseconds and knows when the kernel received the last answer. */
#ifndef COVEY_TESTS_EDGE_FIXTURE_H
#define COVEY_TESTS_EDGE_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/io/os_arp.h"
#include "agent/io/os_clock.h"
#include "agent/io/os_fence.h"
#include "agent/io/os_netlink.h"
#include "tests/lib/netlab.h"

#define BOUND_MS 10000 /* what has not happened by then never will */
#define PROBE_MS 10    /* between two probes */

enum { HOLDER, CLIENT, SECOND };

struct edge_host {
    struct ipv4 ip;
    struct os_netlink *netlink;
    struct os_link link;
    struct os_arp *arp;
    struct os_fence *fence;
};

struct edge {
    struct netlab lab;
    struct edge_host host[NETLAB_HOSTS];
    struct addr vip;
    struct ipv4 vip_ip;
    struct err err;
};

/* cmocka set-up and tear-down of one test: *state is a struct edge; the vip is guarded on every
 * host but CLIENT, and set nowhere. */
int edge_set_up(void **state);
int edge_tear_down(void **state);

/* Fails the test with the text in e->err unless @rc is 0. */
void edge_ok(struct edge *e, int rc);

/* Sets the address on a host, for long enough that only the fence ends its answers. */
void edge_set_vip(struct edge *e, int host);

struct prober {
    struct edge *edge;
    int host;
    int icmp;
    int64_t wall_minus_boot_ms;
    mono_t next;
    unsigned sent; /* echo requests, and as many ARP requests */
    unsigned echo_answers;
    unsigned arp_answers;
    mono_t last_answer;     /* when the kernel received it */
    struct mac answered_by; /* sender of the last ARP answer */
};

/* A prober on @host. Its ARP requests use the host's socket. */
void prober_open(struct prober *p, struct edge *e, int host);
void prober_close(struct prober *p);

/* Probes every PROBE_MS until @end. */
void prober_run(struct prober *p, mono_t end);

/* Waits until every echo request has been answered; false when one is not within BOUND_MS. */
bool prober_all_answered(struct prober *p);

/* Probes until an answer comes; false when none comes within BOUND_MS. */
bool prober_wait_answer(struct prober *p);

#endif
