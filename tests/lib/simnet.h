/* A network of nodes on a virtual clock, for simulations: datagrams that are lost, delayed,
 * duplicated and overtaken, cuts in one direction, partitions, crashes, pauses. One seed replays
 * one run. It knows nothing of what the datagrams hold.
 *
 * A simulation is a loop over simnet_next: it hands a datagram to its node, or wakes the node at
 * the time that it asked for, or returns what simnet_script planned. */
#ifndef COVEY_TESTS_SIMNET_H
#define COVEY_TESTS_SIMNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/mono.h"
#include "proto/base/rng.h"

#define SIMNET_START ((mono_t){1000000}) /* the clock at creation */

enum simnet_delay {
    SIMNET_LAN,       /* 1 to 3 ms, now and then 40 */
    SIMNET_WIFI,      /* 1 to 5 ms, 2 % up to 30: round trips with p50 6 ms, p99 31 ms */
    SIMNET_POWERSAVE, /* round trips of p50 127 ms, p90 554 ms, p99 1,319 ms, as measured on a
                       * Raspberry Pi with power save on (raspberrypi/linux issue 7533) */
};

enum simnet_kind {
    SIMNET_DELIVER = 1, /* node, from, data, len */
    SIMNET_WAKE,        /* node */
    SIMNET_SCRIPT,      /* tag */
};

struct simnet_event {
    mono_t at;
    uint8_t kind; /* enum simnet_kind */
    size_t node;
    size_t from;
    bool stream; /* DELIVER: it came by simnet_send_stream */
    const void
        *data; /* owned by the net, until the next call of simnet_next; aligned for anything */
    size_t len;
    uint64_t tag;
};

struct simnet_counts {
    uint64_t packets; /* sent, lost ones included */
    uint64_t bytes;
};

struct simnet;

/* Nodes start up, at address 0 to @nodes - 1. Aborts when memory is short. */
struct simnet *simnet_create(size_t nodes, uint64_t seed);
void simnet_destroy(struct simnet *net);

mono_t simnet_now(const struct simnet *net);
struct rng *simnet_rng(struct simnet *net); /* for the simulation's own dice */

/* Conditions of the network; all may change at any time. Probabilities are 0 to 1. */
void simnet_set_delay(struct simnet *net, enum simnet_delay delay);
void simnet_set_loss(struct simnet *net, double loss); /* of every datagram, independently */
void simnet_set_node_loss(struct simnet *net, size_t node,
                          double loss); /* to and from it, besides */
void simnet_set_duplicate(struct simnet *net, double probability);
/* Total loss of a node's radio for 200 to 1000 ms, with this mean gap; 0 is never. */
void simnet_set_bursts(struct simnet *net, int64_t mean_gap_ms);
void simnet_cut(struct simnet *net, size_t from, size_t to, bool cut); /* one direction */
/* The same for datagrams alone: TCP goes through. */
void simnet_cut_datagrams(struct simnet *net, size_t from, size_t to, bool cut);
void simnet_set_side(struct simnet *net, size_t node,
                     unsigned side);  /* sides do not hear each other */
void simnet_heal(struct simnet *net); /* no loss, duplicates, bursts, cuts, sides */

/* A stopped node loses what is under way to it and its wake-up. */
void simnet_stop(struct simnet *net, size_t node);
void simnet_start(struct simnet *net, size_t node);
bool simnet_up(const struct simnet *net, size_t node);

/* Until then the node gets nothing; afterwards all that waited, in order, late. */
void simnet_pause(struct simnet *net, size_t node, mono_t until);
bool simnet_paused(const struct simnet *net, size_t node);

/* Sends a copy of @len bytes. @wire_bytes is what the datagram counts for. */
void simnet_send(struct simnet *net, size_t from, size_t to, const void *data, size_t len,
                 size_t wire_bytes);

/* The same after it has waited at its sender, for a session. */
void simnet_send_after(struct simnet *net, int64_t wait_ms, size_t from, size_t to,
                       const void *data, size_t len, size_t wire_bytes);

/* The same over a TCP session that is open: what is lost is repeated, after 200 ms and then ever
 * later. A cut of either direction takes it: no acknowledgement comes. */
void simnet_send_stream(struct simnet *net, size_t from, size_t to, const void *data, size_t len,
                        size_t wire_bytes);

/* The node's only wake-up; replaces the one before. MONO_NEVER for none. */
void simnet_wake(struct simnet *net, size_t node, mono_t at);

/* Returns @tag at that time, whatever the nodes do. */
void simnet_script(struct simnet *net, mono_t at, uint64_t tag);

/* The next event up to and including @until: true; the clock stands at its time then. Else false;
 * the clock stands at @until. */
bool simnet_next(struct simnet *net, mono_t until, struct simnet_event *event);

struct simnet_counts simnet_sent(const struct simnet *net, size_t node);

#endif
