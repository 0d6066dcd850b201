/* Carries out what the node decides about virtual addresses: both fences, the address itself, the
 * announcements, the gateway's test and the watch over it all. Synchronous where the kernel is
 * (netlink, microseconds); ARP by the loop.
 *
 * While a lease is held, its address is put back whenever somebody wipes it, and taken off and set
 * anew, which tells a radio's firmware of it, when the link comes back from having been down, or
 * with another index. */
#ifndef COVEY_IO_UV_VIP_H
#define COVEY_IO_UV_VIP_H

#include "agent/core/effect.h"
#include "agent/io/post.h"
#include "proto/base/err.h"

#define UV_VIP_RAW_MAX 2

struct uv_loop_s;
struct os_fence_begun;
struct uv_vip;

/* Takes over the fence and the addresses of an earlier life: @resumed addresses stay (their leases
 * may be taken up), other addresses that are ours are removed and their fences shut. Runs nft and
 * blocks for some milliseconds, fewer if that was @begun before (os_fence.h; now this function's,
 * or NULL). An interface that is down, without carrier or without an address is no error; it may
 * come up later. Posts NODE_FENCE, NODE_GATEWAY and NODE_CONFLICT, the first also from within
 * uv_vip_open and uv_vip_shut. Errors: ERR_NOTFOUND (no such interface, no nft program),
 * ERR_INVALID (the interface has no Ethernet address, or one of @resumed is not IPv4), ERR_LIMIT,
 * ERR_NOMEM, ERR_DENIED, ERR_IO. */
int uv_vip_create(struct uv_loop_s *loop, const char *interface, struct os_fence_begun *begun,
                  const struct addr *resumed, size_t resumed_count, struct post post,
                  struct uv_vip **vip, struct err *err);

/* EFFECT_FENCE_OPEN: guard, set the address with a lifetime of max(1, ceil(rest of the lease)) s,
 * open the fence; posts NODE_FENCE open or failed. Repeated with each renewal of the lease, which
 * is cheap. A fresh claim waits for no probe; it sends one, and an answer is a NODE_CONFLICT. */
void uv_vip_open(struct uv_vip *vip, const struct effect_fence *effect);

/* EFFECT_FENCE_CLOSE: shut the fence, delete the address; posts NODE_FENCE closed or failed. */
void uv_vip_shut(struct uv_vip *vip, const struct effect_fence *effect);

/* EFFECT_ANNOUNCE: broadcast, and unicast to the gateway, the members and the neighbours until they
 * answer (edge/announce.h). Ends by itself, or when the address is shut. Nothing happens when the
 * address is not held. */
void uv_vip_announce(struct uv_vip *vip, const struct effect_fence *effect);

/* EFFECT_CHECK: asks, twice, whether a foreign host answers for an address that is watched; if so,
 * NODE_CONFLICT. */
void uv_vip_check(struct uv_vip *vip, const struct addr *address);

/* Whom an earlier holder of addresses talked with: told by each further announcement. @clients is
 * copied; at most VALUE_CLIENTS_MAX are kept. While an address is held, NODE_CLIENTS says whom this
 * host talks with, at most once a second. */
void uv_vip_clients(struct uv_vip *vip, const struct value_client *clients, size_t count);

/* Sets the interface's promiscuous flag now and whenever it has been cleared. It outlives the
 * agent;
 * @on false leaves it as it is. */
void uv_vip_promiscuous(struct uv_vip *vip, bool on);

/* EFFECT_GATEWAY: one ARP request; NODE_GATEWAY with a time read before it left, if it answers. */
void uv_vip_gateway(struct uv_vip *vip);

/* EFFECT_GATEWAY_WRITE: an ARP request to the gateway alone, from the address; NODE_WROTE when it
 * has left, NODE_WRITTEN when the gateway has answered. EFFECT_GATEWAY_READ: an echo request to it
 * from the address; NODE_READ if its reply comes to this host. Both work with the fence shut. What
 * cannot be sent now is as good as lost. */
void uv_vip_write(struct uv_vip *vip, const struct effect_gateway *effect);
void uv_vip_read(struct uv_vip *vip, const struct effect_gateway *effect);

/* EFFECT_GATEWAY_TEST: edge/gateway_test.h, with an address that is held; NODE_REGISTER unless it
 * is given up meanwhile. Takes up to four seconds. */
void uv_vip_test(struct uv_vip *vip, const struct addr *address);

/* The addresses of the desired state: watched for foreign claims (an ARP answer or request from an
 * address of these by a MAC that is neither ours nor a member's; NODE_CONFLICT at most once a
 * second and address). Others, unless held, are no longer under lease control from then on. */
void uv_vip_watch(struct uv_vip *vip, const struct addr *addresses, size_t count);

/* Where the other nodes of the flock are reached: their claims are no foreign ones, and they are
 * told first of a moved address. To be called when one comes, goes or changes its address. */
void uv_vip_members(struct uv_vip *vip, const struct addr *addresses, size_t count);

/* Its raw sockets, which the kernel takes long to close: at most UV_VIP_RAW_MAX descriptors, of
 * which the number is returned. They stay @vip's; NULL is allowed and has none. */
size_t uv_vip_raw_sockets(const struct uv_vip *vip, int fds[UV_VIP_RAW_MAX]);

/* Shuts every fence, deletes every address (@keep false: an orderly end), or leaves all as it is
 * (@keep true: a restart), closes the sockets and calls @closed (may be NULL) on the loop. @vip
 * NULL is allowed: @closed is called at once. */
void uv_vip_close(struct uv_vip *vip, bool keep, void (*closed)(void *context), void *context);

#endif
