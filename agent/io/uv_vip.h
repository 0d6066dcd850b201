/* Carries out what the node decides about virtual addresses: both fences, the address itself, the
 * announcements, the gateway's test and the watch over it all. Synchronous where the kernel is
 * (netlink, microseconds); ARP by the loop. */
#ifndef COVEY_IO_UV_VIP_H
#define COVEY_IO_UV_VIP_H

#include "agent/core/effect.h"
#include "agent/io/post.h"
#include "proto/base/err.h"

struct uv_loop_s;
struct uv_vip;

/* Takes over the fence and the addresses of an earlier life: @resumed addresses stay (their leases
 * may be taken up), other addresses that are ours are removed. Posts NODE_FENCE, NODE_GATEWAY and
 * NODE_CONFLICT. Errors: ERR_NOTFOUND (no such interface), ERR_DENIED, ERR_IO. */
int uv_vip_create(struct uv_loop_s *loop, const char *interface, const struct addr *resumed,
                  size_t resumed_count, struct post post, struct uv_vip **vip, struct err *err);

/* EFFECT_FENCE_OPEN: guard, set the address with a lifetime of max(1, ceil(rest of the lease)) s,
 * open the fence; posts NODE_FENCE open or failed. A fresh claim of an address is preceded by no
 * probe here: conflicts are watched for all the time. */
void uv_vip_open(struct uv_vip *vip, const struct effect_fence *effect);

/* EFFECT_FENCE_CLOSE: shut the fence, delete the address; posts NODE_FENCE closed or failed. */
void uv_vip_shut(struct uv_vip *vip, const struct effect_fence *effect);

/* EFFECT_ANNOUNCE: broadcast, and unicast to the gateway, the neighbours and @peers until they
 * answer (edge/announce.h). Ends by itself, or when the address is shut. */
void uv_vip_announce(struct uv_vip *vip, const struct effect_fence *effect,
                     const struct addr *peers, size_t peer_count);

/* EFFECT_GATEWAY: one ARP request; NODE_GATEWAY with a time read before it left, if it answers. */
void uv_vip_gateway(struct uv_vip *vip);

/* The addresses of the desired state: watched for foreign claims (an ARP answer or request from an
 * address of these by a MAC that is neither ours nor in @members). */
void uv_vip_watch(struct uv_vip *vip, const struct addr *addresses, size_t count);

/* Shuts every fence, deletes every address (@keep false: an orderly end), or leaves all as it is
 * (@keep true: a restart), closes the sockets and calls @closed on the loop. NULL is allowed. */
void uv_vip_close(struct uv_vip *vip, bool keep, void (*closed)(void *context), void *context);

#endif
