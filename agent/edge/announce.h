/* Telling the neighbourhood that a virtual address has a new holder: which ARP frames go out when.
 * Pure: the caller sends what announce_step hands out and reports the answers.
 *
 * Access points drop or delay broadcast, and nobody acknowledges it. So the broadcast forms, three
 * times, are a courtesy; every host that must not keep a stale entry gets unicast requests from the
 * address until it answers. Measured with broadcast dropped: 0.1 s of outage against 35-45 s. */
#ifndef COVEY_EDGE_ANNOUNCE_H
#define COVEY_EDGE_ANNOUNCE_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/io/arp_frame.h"
#include "proto/base/mono.h"

#define ANNOUNCE_TARGETS_MAX 128  /* gateway, peers, neighbours, and 64 clients of the last holder \
                                   */
#define ANNOUNCE_FRAMES_MAX 32    /* frames handed out by one step */
#define ANNOUNCE_BROADCASTS 3     /* each in both forms */
#define ANNOUNCE_BROADCAST_MS 250 /* between the first and second; four times that to the third */
#define ANNOUNCE_TRIES 5          /* unicast, each a request and a reply */
#define ANNOUNCE_RETRY_MS 50      /* between the first and second try; doubles with each */

struct announce_target {
    struct ipv4 ip;
    struct mac mac;
    uint8_t tries; /* made so far */
    bool answered;
    mono_t next; /* time of the next try */
};

struct announce {
    struct mac own;
    struct ipv4 vip;
    uint8_t broadcasts; /* sent so far */
    mono_t next_broadcast;
    size_t count;
    struct announce_target targets[ANNOUNCE_TARGETS_MAX];
};

struct announce_out {
    size_t count;
    struct arp_frame frames[ANNOUNCE_FRAMES_MAX];
};

/* Begins: @vip is held since @now, on the interface with MAC @own. There are no targets yet. */
void announce_start(struct announce *a, mono_t now, struct mac own, struct ipv4 vip);

/* Adds a host to be told by unicast, at once. Those added first are told first. One that is there
 * already is told anew if its MAC has changed, else left alone. The address itself, our own MAC and
 * group addresses are ignored. False when the list is full. */
bool announce_add(struct announce *a, mono_t now, struct ipv4 ip, struct mac mac);

/* Begins anew with all targets, from the first broadcast: after a healed partition, a link that
 * came back, or a foreign claim. */
void announce_again(struct announce *a, mono_t now);

/* Hands out what is due. When @out comes back full, more may be due: call again. */
void announce_step(struct announce *a, mono_t now, struct announce_out *out);

/* @ip has answered (arp_meaning says ARP_ANSWER): nothing more is sent to it. */
void announce_answered(struct announce *a, struct ipv4 ip);

/* When announce_step is to be called; MONO_NEVER when all is said. */
mono_t announce_deadline(const struct announce *a);

/* Targets that have not answered, whether or not they are still being told. */
size_t announce_unanswered(const struct announce *a);

#endif
