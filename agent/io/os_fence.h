/* The fence of virtual addresses: what the kernel lets through after the agent has died.
 *
 * Two nftables tables, `inet covey` and `arp covey`, hold two sets each. `vips` names every address
 * that is under lease control on this node; nothing passes to or from an address in it, and no ARP
 * request for it is answered, unless the address is in `leased` too. Elements of `leased` expire:
 * the kernel compares their end with its clock at every packet, so a lease ends on time although
 * nobody runs (kill -9, SIGSTOP, a stuck disk). The grain is one jiffy, at most 10 ms.
 *
 * What is dropped for an address in `vips` but not in `leased`:
 *   - packets to it that come in by the guarded interface (before kube-proxy may redirect them) or
 *     are for this host, whichever way they came;
 *   - packets from it that this host makes, or that leave by the guarded interface;
 *   - ARP requests and replies for it, and ARP from it, on every interface.
 * Other hosts' traffic with the real holder passes, so a node reaches an address that it has not.
 * AF_PACKET (os_arp) is not fenced: it carries probes.
 *
 * The tables belong to the network namespace and outlive the agent; os_fence_setup takes over those
 * of an earlier life. "nft flush ruleset", which Debian's nftables.service does at start, removes
 * them: os_fence_open then says ERR_NOTFOUND, and the caller sets up again. Until that the
 * address's lifetime (os_netlink) is the only fence. */
#ifndef COVEY_IO_OS_FENCE_H
#define COVEY_IO_OS_FENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/id.h"
#include "proto/base/mono.h"

#define OS_FENCE_VIPS_MAX 256       /* addresses under lease control on one node */
#define OS_FENCE_LATE_MS 20         /* clock read to fence written; later is an error */
#define OS_FENCE_LEASE_MIN_MS 30    /* a lease with less left is over: two jiffies and some air */
#define OS_FENCE_LEASE_MAX_MS 10000 /* above the longest lease (4 s): longer is a bug upstream */

struct os_fence;

/* Sets the rules, or takes them over, in one transaction: leases that run go on, addresses guarded
 * before stay guarded, and there is no moment without rules. The @count addresses in @vips are
 * guarded in the same transaction. @interface is the link that clients come by. Runs `nft` and
 * blocks for some milliseconds. The caller ends *fence with os_fence_free.
 * Errors: ERR_INVALID (an address or name), ERR_LIMIT, ERR_NOTFOUND (no nft program), ERR_DENIED,
 * ERR_IO, ERR_TIMEOUT. */
int os_fence_setup(const char *interface, const struct addr *vips, size_t count,
                   struct os_fence **fence, struct err *err);

/* nft takes some 25 ms, most of them in the kernel. An agent that starts anew, and has rules
 * already, begins with it, does what else a start needs, and hands *begun to os_fence_setup_begun,
 * which frees it; or to os_fence_drop. NULL: could not begin, and the setup will say why. */
struct os_fence_begun;
struct os_fence_begun *os_fence_begin(const char *interface);
void os_fence_drop(struct os_fence_begun *begun); /* NULL is allowed */
int os_fence_setup_begun(struct os_fence_begun *begun, const char *interface,
                         const struct addr *vips, size_t count, struct os_fence **fence,
                         struct err *err);

/* Frees what the agent holds; the tables stay and go on fencing. NULL is allowed. */
void os_fence_free(struct os_fence *fence);

/* Puts @vip under lease control, closed unless leased already. Must succeed before the address is
 * set on an interface. Idempotent. Errors: ERR_INVALID, ERR_NOTFOUND (no tables), ERR_FULL, ERR_IO.
 */
int os_fence_guard(struct os_fence *fence, const struct addr *vip, struct err *err);

/* Ends lease control of @vip: packets pass again. Only after the address is gone from the
 * interface. Idempotent. Errors as above. */
int os_fence_unguard(struct os_fence *fence, const struct addr *vip, struct err *err);

/* Opens the fence for @vip, or refreshes it, until @lease_end (CLOCK_BOOTTIME) and never later than
 * that plus OS_FENCE_LATE_MS. The kernel has acknowledged when this returns. A timeout is relative,
 * so the clock is read again afterwards: if the writing took OS_FENCE_LATE_MS or more, it is
 * written anew at once, by the time that it is then; the third time, or if the lease has ended
 * meanwhile, the fence is shut and the result is ERR_TIMEOUT (docs/vip.md, rule 5). A lease that
 * has (almost) ended shuts the fence likewise. On every error the caller must take the fence for
 * shut and the address for not held. Errors: ERR_INVALID, ERR_LIMIT (ends too far ahead),
 * ERR_TIMEOUT, ERR_NOTFOUND (no tables: call os_fence_setup), ERR_IO. */
int os_fence_open(struct os_fence *fence, const struct addr *vip, mono_t lease_end,
                  struct err *err);

/* Shuts the fence for @vip at once, acknowledged by the kernel. Idempotent. Errors: ERR_INVALID,
 * ERR_NOTFOUND (no tables), ERR_IO. */
int os_fence_shut(struct os_fence *fence, const struct addr *vip, struct err *err);

struct os_fence_entry {
    struct addr vip;
    int64_t left_ms; /* until the kernel closes it; 0 is closed */
};

/* Lists the guarded addresses, at most @max, in no order. An address counts as open for as long as
 * either table lets it pass. Errors: ERR_NOTFOUND (no tables), ERR_LIMIT (more than @max), ERR_IO.
 */
int os_fence_list(struct os_fence *fence, struct os_fence_entry *entries, size_t max, size_t *count,
                  struct err *err);

/* Deletes both tables, if they are there: nothing is fenced any more. For the removal of Covey from
 * a machine, and only when no virtual address is set. Errors: as os_fence_setup. */
int os_fence_purge(struct err *err);

#endif
