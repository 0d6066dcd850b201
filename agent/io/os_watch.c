#include "agent/io/os_watch.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

#include "agent/io/os_rtnl.h"

#define PACKET_MAX 32768
#define READS_MAX 64 /* packets per call */

struct os_watch {
    struct mnl_socket *socket;
};

int os_watch_open(struct os_watch **watch, struct err *err)
{
    struct os_watch *w = calloc(1, sizeof *w);
    int rc;

    if (w == NULL)
        return err_set(err, ERR_NOMEM, "watch the network");
    w->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (w->socket == NULL) {
        rc = err_errno(err, ERR_IO, errno, "watch the network: open a netlink socket");
        goto err_after_alloc;
    }
    if (mnl_socket_bind(w->socket, RTMGRP_LINK | RTMGRP_IPV4_IFADDR, MNL_SOCKET_AUTOPID) < 0) {
        rc = err_errno(err, ERR_IO, errno, "watch the network: join the groups");
        goto err_after_open;
    }
    *watch = w;
    return ERR_NONE;

err_after_open:
    mnl_socket_close(w->socket);
err_after_alloc:
    free(w);
    return rc;
}

void os_watch_close(struct os_watch *watch)
{
    if (watch == NULL)
        return;
    mnl_socket_close(watch->socket);
    free(watch);
}

int os_watch_fd(const struct os_watch *watch)
{
    return mnl_socket_get_fd(watch->socket);
}

static bool translate(const struct nlmsghdr *message, struct os_watch_event *event)
{
    switch (message->nlmsg_type) {
    case RTM_NEWLINK:
        event->kind = OS_WATCH_LINK;
        return os_rtnl_parse_link(message, &event->link);
    case RTM_DELLINK:
        event->kind = OS_WATCH_LINK_GONE;
        return os_rtnl_parse_link(message, &event->link);
    case RTM_NEWADDR:
        event->kind = OS_WATCH_ADDRESS;
        return os_rtnl_parse_address(message, &event->address);
    case RTM_DELADDR:
        event->kind = OS_WATCH_ADDRESS_GONE;
        return os_rtnl_parse_address(message, &event->address);
    default:
        return false;
    }
}

int os_watch_read(struct os_watch *watch,
                  void (*event)(const struct os_watch_event *event, void *context), void *context,
                  struct err *err)
{
    _Alignas(struct nlmsghdr) char packet[PACKET_MAX];
    int i;

    for (i = 0; i < READS_MAX; i++) {
        ssize_t n = mnl_socket_recvfrom(watch->socket, packet, sizeof packet);
        const struct nlmsghdr *message = (const struct nlmsghdr *)packet;
        struct os_watch_event e;
        int left = (int)n;

        if (n < 0 && errno == EAGAIN)
            return ERR_NONE;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == ENOBUFS || errno == ENOSPC)) {
            e = (struct os_watch_event){.kind = OS_WATCH_MISSED};
            event(&e, context);
            continue;
        }
        if (n < 0)
            return err_errno(err, ERR_IO, errno, "watch the network");
        for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
            if (translate(message, &e))
                event(&e, context);
        }
    }
    return ERR_NONE;
}
