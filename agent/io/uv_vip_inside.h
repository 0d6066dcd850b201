/* The executor of virtual addresses, seen by its files: uv_vip.c (fences and addresses),
 * uv_vip_loop.c (its life on the loop), uv_vip_watch.c (links and addresses that others change),
 * uv_vip_arp.c (what is said on the air), uv_vip_clients.c (whom to tell), uv_vip_gateway.c. */
#ifndef COVEY_IO_UV_VIP_INSIDE_H
#define COVEY_IO_UV_VIP_INSIDE_H

#include <uv.h>

#include "agent/core/node.h"
#include "agent/edge/announce.h"
#include "agent/edge/gateway_test.h"
#include "agent/edge/reach.h"
#include "agent/io/os_arp.h"
#include "agent/io/os_echo.h"
#include "agent/io/os_fence.h"
#include "agent/io/os_netlink.h"
#include "agent/io/os_watch.h"
#include "agent/io/uv_vip.h"

#define VIP_NEIGHBOURS_MAX 256 /* looked at for an announcement */

enum vip_news { VIP_NO_NEWS, VIP_LEFT_REMOVED, VIP_CORRECTED, VIP_BACK };

/* One that is held, watched, or under lease control from an earlier life. */
struct vip_address {
    struct addr address;
    struct ipv4 ip;
    uint64_t lease;
    bool guarded; /* known to the fence's rules */
    bool held;
    bool watched;
    bool announced;     /* @announce has begun */
    bool present;       /* on the interface, as far as the kernel has told */
    bool leave;         /* it stays away if somebody removes it, */
    bool removed;       /* and somebody has */
    enum vip_news news; /* that the node is to be told */
    mono_t until;       /* held: end of the lease */
    mono_t set_at;      /* when its lifetime was set last, */
    mono_t lives_till;  /* and to when */
    mono_t probe_at;    /* next probe for a foreign holder */
    unsigned probes;    /* that are to follow it soon: one alone may be lost */
    bool suspected;     /* claimed by a MAC that may be a member's which has not answered yet */
    mono_t suspected_at;
    bool writing;       /* the gateway was told of it and has not answered: uv_vip_write */
    bool reading;       /* its cache was read, and it has not answered: uv_vip_read, */
    mono_t read_sent;   /* asked for with this time */
    mono_t write_until; /* it is told as soon as its MAC is known, but not later; or zero */
    bool conflict;      /* claimed by a foreign host */
    mono_t conflict_at;
    struct announce announce;
};

/* Somebody this host has talked with while it held an address. */
struct vip_client {
    struct value_client value;
    mono_t seen; /* in the kernel's table of neighbours, last */
};

struct vip_member {
    struct ipv4 ip;
    bool known;
    struct mac mac; /* if known */
};

struct vip_source { /* one of them */
    struct os_arp *arp;
    struct os_echo *echo;
    struct os_watch *watch;
};

/* A socket on the loop. It outlives its use by the time that libuv needs to close the handle. */
struct vip_socket {
    uv_poll_t poll;
    struct uv_vip *vip;
    struct os_arp *arp; /* one of these three, the others are NULL */
    struct os_echo *echo;
    struct os_watch *watch;
};

struct uv_vip {
    uv_loop_t *loop;
    struct post post;
    char interface[OS_LINK_NAME];
    struct os_netlink *netlink;
    struct os_fence_begun *begun; /* NULL once it was used */
    struct os_fence *fence;
    mono_t fence_retry; /* the rules are not set up again before */

    struct os_link link; /* index 0: it is gone */
    bool was_down;       /* and has not come back since */
    bool came_back;      /* or is another one: addresses are to be set anew */
    struct vip_socket *watch;
    struct vip_socket *arp;  /* NULL while there is no interface */
    struct vip_socket *echo; /* NULL until the gateway is asked for an echo */
    uv_timer_t timer;        /* announcements and probes */

    struct vip_address **addresses;
    size_t address_count;
    struct vip_member *members;
    size_t member_count;

    bool promiscuous; /* the interface is kept so */
    struct vip_client clients[VALUE_CLIENTS_MAX];
    size_t client_count;
    mono_t clients_at; /* when to look for further ones; MONO_NEVER while nothing is held */
    struct value_client told[VALUE_CLIENTS_MAX]; /* clients of an earlier holder */
    size_t told_count;

    mono_t looked_up; /* the gateway and our own address */
    struct ipv4 own_ip;
    bool own_known;
    struct vip_member gateway;
    bool gateway_known;
    struct reach reach;
    uint64_t echo_nonce; /* 0: none yet */
    uint16_t echo_sequence;
    struct gateway_test test;
    struct ipv4 tested;

    unsigned handles; /* of libuv, not closed yet */
    bool closing;
    void (*closed)(void *context);
    void *closed_context;
};

/* uv_vip.c */
struct vip_address *vip_find(const struct uv_vip *vip, struct ipv4 ip);
void vip_stay_promiscuous(struct uv_vip *vip); /* if that is asked for */
int vip_set(struct uv_vip *vip, struct vip_address *a, mono_t until, struct err *err);
int vip_guard(struct uv_vip *vip, struct vip_address *a, struct err *err);
int vip_take_over(struct uv_vip *vip, const struct addr *resumed, size_t count, struct err *err);
void vip_tell_news(struct uv_vip *vip); /* the list of addresses may change within */
int vip_shut_both(struct uv_vip *vip, const struct addr *address, struct err *err);

/* uv_vip_loop.c: a socket's new handle, and its end. Takes @source over, also on failure. */
int vip_socket_open(struct uv_vip *vip, const struct vip_source *source, uv_poll_cb readable,
                    struct vip_socket **socket, struct err *err);
void vip_socket_close(struct vip_socket *socket); /* NULL is allowed */

/* uv_vip_watch.c: begins to watch, and looks up how things are. */
int vip_watch_open(struct uv_vip *vip, struct err *err);

/* uv_vip_arp.c */
int vip_arp_open(struct uv_vip *vip, struct err *err); /* for the present link; closes the old */
void vip_arp_run(struct uv_vip *vip);                  /* sends what is due and sets the timer */
size_t vip_neighbours(struct uv_vip *vip, struct os_neighbour list[VIP_NEIGHBOURS_MAX]);
bool vip_is_member(const struct uv_vip *vip, struct ipv4 ip); /* or the gateway */
void vip_look_up(struct uv_vip *vip); /* the gateway and our own address, now and then */
void vip_ask(struct uv_vip *vip, struct ipv4 target, const struct mac *mac);
/* (Again) from the beginning, to everybody known now. */
void vip_announce(struct uv_vip *vip, struct vip_address *a);

/* uv_vip_gateway.c */
void vip_gateway_written(struct uv_vip *vip, struct vip_address *a); /* it answered a write */
void vip_gateway_answered(struct uv_vip *vip); /* by ARP, to our own address */
/* Its MAC is known: what waits is written, and what a holder had from the one before, asked again.
 */
void vip_gateway_learned(struct uv_vip *vip, bool changed);
void vip_gateway_meet(struct uv_vip *vip);              /* asks for its MAC, unless that is known */
mono_t vip_gateway_run(struct uv_vip *vip, mono_t now); /* the test; returns when to call again */

/* uv_vip_clients.c: looks for clients if it is time; returns when to call it again. */
mono_t vip_clients_run(struct uv_vip *vip, mono_t now);

#endif
