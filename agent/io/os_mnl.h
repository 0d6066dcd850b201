/* A netlink socket that carries one request at a time and returns when the kernel has answered.
 * The kernel handles rtnetlink, nfnetlink and generic netlink requests inside sendmsg, so the
 * answer waits in the socket already: some microseconds, no need for a loop. Used by the os_
 * modules beside it only. */
#ifndef COVEY_IO_OS_MNL_H
#define COVEY_IO_OS_MNL_H

#include <stddef.h>
#include <stdint.h>

#include <libmnl/libmnl.h>

#include "proto/base/err.h"
#include "proto/base/id.h"

#define OS_MNL_ANSWER_MS 1000 /* an answer that takes longer is an error: the kernel is stuck */

struct os_mnl {
    struct mnl_socket *socket;
    uint32_t seq; /* of the last message sent */
};

/* @bus is NETLINK_ROUTE, NETLINK_NETFILTER or NETLINK_GENERIC. Errors: ERR_IO, ERR_NOMEM. */
int os_mnl_open(struct os_mnl *m, int bus, struct err *err);

void os_mnl_close(struct os_mnl *m);

/* Sends @len bytes that hold messages numbered from m->seq + 1 on, @acks of them with NLM_F_ACK,
 * and reads until all those are acknowledged or one fails. Returns 0 or the kernel's errno;
 * ETIMEDOUT when it did not answer. */
int os_mnl_transact(struct os_mnl *m, const void *request, size_t len, uint32_t messages,
                    uint32_t acks);

/* Sends one message (its sequence number is set here) and waits for its acknowledgement. Returns 0
 * or an errno, as above. */
int os_mnl_request(struct os_mnl *m, struct nlmsghdr *request);

/* Sends one message and hands every answer to @row until the kernel is done (a dump), or once
 * (anything else). @row returns MNL_CB_OK, or MNL_CB_STOP to ignore the rest. A dump that the
 * kernel calls inconsistent ends with EINTR: the caller begins anew. Returns 0 or an errno. */
int os_mnl_query(struct os_mnl *m, struct nlmsghdr *request, mnl_cb_t row, void *context);

/* What an errno of the kernel means to the rest of the agent. */
int os_mnl_code(int errnum);

/* The address of a struct addr of family 4 in network order, for a netlink attribute. */
int os_mnl_ipv4(const struct addr *a, uint32_t *ip, struct err *err);

/* The reverse, with port 0. */
struct addr os_mnl_addr(uint32_t ip);

#endif
