/* A socket that tells of changes to interfaces and IPv4 addresses, whoever makes them: an address
 * that NetworkManager wipes, a link that goes down, a wlan0 that comes back with another index. */
#ifndef COVEY_IO_OS_WATCH_H
#define COVEY_IO_OS_WATCH_H

#include "agent/io/os_netlink.h"
#include "proto/base/err.h"

enum os_watch_kind {
    OS_WATCH_LINK,         /* is new or has changed; @link says how it is */
    OS_WATCH_LINK_GONE,    /* deleted */
    OS_WATCH_ADDRESS,      /* is new, or its lifetime was set anew; @address says */
    OS_WATCH_ADDRESS_GONE, /* deleted, or its lifetime is over */
    OS_WATCH_MISSED        /* events were lost: look everything up anew */
};

struct os_watch_event {
    enum os_watch_kind kind;
    union {
        struct os_link link;
        struct os_address address;
    };
};

struct os_watch;

/* The caller ends *watch with os_watch_close. Errors: ERR_IO, ERR_NOMEM. */
int os_watch_open(struct os_watch **watch, struct err *err);

/* NULL is allowed. */
void os_watch_close(struct os_watch *watch);

/* Readable when os_watch_read has something; to be polled, not to be read. */
int os_watch_fd(const struct os_watch *watch);

/* Hands what has happened to @event, in the kernel's order; does not block. It reads a bounded part
 * and what is left makes os_watch_fd readable again. Errors: ERR_IO (the socket is of no use any
 * more). */
int os_watch_read(struct os_watch *watch,
                  void (*event)(const struct os_watch_event *event, void *context), void *context,
                  struct err *err);

#endif
