/* Claims on the ticks of a cron: none runs twice. Pure.
 *
 * The node on which a CronWorkload is placed claims a tick, makes that durable and publishes it
 * (struct value_cron, record "cron/WORKLOAD"). Every other node accepts one claim of a tick, makes
 * that durable and publishes it: a promise to accept no other of that tick, nor of an earlier one.
 * With the promises of a majority of the voters, its own included, the claimer starts. Two
 * majorities meet in a node, and that has promised once: so at most one claim of a tick is ever
 * started. A claim that was not started may be withdrawn, and the promises to it are void then; of
 * two claims that meet, the one of the greater node id is. After a claim was started nobody else
 * can have that tick, whatever becomes of it: a claimer that dies leaves it unknown, and only where
 * the document says retryLost another attempt of it is claimed, in the same way. */
#ifndef COVEY_CORE_TICK_H
#define COVEY_CORE_TICK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/id.h"
#include "proto/record/value.h"

#define TICK_SKEW_S                                                                                \
    60 /* a tick further ahead of this node's clock is no tick: a clock is wrong                   \
        */

struct tick_peer { /* another node */
    node_id id;
    const struct value_cron *value; /* NULL: it has said nothing yet */
    bool voter;
    bool gone; /* dead, or has left: what it was about nobody knows */
};

struct tick_view {
    node_id self;
    bool voter;
    unsigned majority; /* of the voters */
    int64_t now;       /* Unix seconds */
    const struct tick_peer *peers;
    size_t count;
};

/* Accepts a claim of another node, if one stands that may be. True: own->accepted has changed: make
 * it durable, then publish it. */
bool tick_accept(struct value_cron *own, const struct tick_view *view);

/* Claims attempt @attempt of the tick, to be run as @process. False: it is another's, or is over.
 * Else as tick_accept. @keep (1..VALUE_RUNS_MAX): how many runs are remembered; those that are
 * under way are in any case. */
struct tick_claim {
    int64_t tick;
    uint8_t attempt;
    uint8_t process;
    uint64_t number;
};
bool tick_begin(struct value_cron *own, const struct tick_view *view,
                const struct tick_claim *wanted, unsigned keep);

enum tick_verdict {
    TICK_NONE,     /* nothing is claimed by this node, or it was started */
    TICK_WAIT,     /* for promises */
    TICK_START,    /* a majority has promised */
    TICK_WITHDRAW, /* another claim goes first */
};

/* What becomes of the newest own claim, when all that was changed in @own is durable. */
enum tick_verdict tick_look(const struct value_cron *own, const struct tick_view *view);

/* An own run changes its state. */
void tick_started(struct value_run *run, int64_t now);
void tick_withdrawn(struct value_run *run, int64_t now);
void tick_ended(struct value_run *run, int exit_code, int64_t now); /* -1: nobody knows how */

/* The newest tick that anybody has claimed, as far as is known; 0: none. */
int64_t tick_newest(const struct value_cron *own, const struct tick_view *view);

/* Whether the newest tick was claimed and its end will not be known: then *tick, and the attempt
 * that would follow. */
bool tick_lost(const struct value_cron *own, const struct tick_view *view, int64_t *tick,
               uint8_t *attempt);

#endif
