/* What becomes of a commit that is applied: awaited until what it changed is ready everywhere, then
 * good; or given up after its time, for the last good one. And whether it is this node's turn.
 *
 * Pure. Marks of bad commits only ever grow, travel in the nodes' records, and win: whoever sees
 * one for the commit that it runs goes back too, and nobody applies it again. So all nodes come to
 * the same, in whatever order they hear of it. */
#ifndef COVEY_CORE_ROLLOUT_H
#define COVEY_CORE_ROLLOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/id.h"
#include "proto/base/mono.h"
#include "proto/record/value.h"

#define ROLLOUT_BAD_MAX 8      /* bad commits that are remembered, newest first */
#define ROLLOUT_GOOD_MAX 2     /* good ones likewise: the last may turn out bad elsewhere */
#define ROLLOUT_STABLE_MS 2000 /* ready for so long, without a break, is ready */
#define ROLLOUT_EXTENSIONS 5   /* timeouts that pass while what is waited for is on a node away */

struct rollout_marks {                        /* what must outlive the agent */
    char good[ROLLOUT_GOOD_MAX][COMMIT_TEXT]; /* "" for none */
    char bad[ROLLOUT_BAD_MAX][COMMIT_TEXT];
    char passed[COMMIT_TEXT]; /* the last that others tried first, and that was let go on here */
    char before[COMMIT_TEXT]; /* what runs while another one waits for those; "" none waits */
};

enum rollout_state {
    ROLLOUT_NONE, /* nothing is applied */
    ROLLOUT_WAITING,
    ROLLOUT_GOOD,
    ROLLOUT_UNHEALTHY, /* its time has passed, and there is nothing to go back to, or it is not to
                        */
    ROLLOUT_BACK,      /* given up: on the way to, or at, the last good one */
};

/* What this node sees when it looks. */
struct rollout_view {
    bool ready;        /* all that the commit changed and that runs here is ready */
    bool blocked;      /* what is not ready waits for something else */
    mono_t since;      /* the latest of what is not ready came here */
    bool waits;        /* for its turn to replace something that goes on meanwhile */
    bool peers_ready;  /* every peer that is present, or went away over it, has it and is ready */
    bool peers_trying; /* a present peer has it and is not ready yet */
    bool peers_wait;   /* a present peer has it and waits for its turn */
    bool peers_good;   /* a present peer calls it good */
    bool peers_away;   /* a node that belongs to the flock is not here */
};

struct rollout {
    struct rollout_marks marks;
    enum rollout_state state;
    char commit[COMMIT_TEXT]; /* that runs; BACK: that was given up */
    int64_t timeout_ms;       /* 0: every commit is good at once */
    bool roll_back;
    mono_t deadline, limit; /* WAITING */
    mono_t ready_since;     /* MONO_NEVER: not ready */
    unsigned extensions;
};

enum rollout_verdict {
    ROLLOUT_NO_CHANGE,
    ROLLOUT_BECOMES_READY, /* here; published, so that others can call it good */
    ROLLOUT_BECOMES_UNREADY,
    ROLLOUT_BECOMES_GOOD,      /* marks have changed */
    ROLLOUT_BECOMES_BAD,       /* marks have changed; go to marks.good[0] */
    ROLLOUT_BECOMES_UNHEALTHY, /* it stays */
};

void rollout_init(struct rollout *rollout, const struct rollout_marks *marks);

bool rollout_is_bad(const struct rollout *rollout, const char *commit);

/* @commit runs from now on. */
void rollout_applied(struct rollout *rollout, mono_t now, const char *commit, int64_t timeout_ms,
                     bool roll_back);

/* A peer has given @commit up. True: this is news, marks have changed; *@go_back: this node runs it
 * and is to go to marks.good[0]. */
bool rollout_given_up(struct rollout *rollout, const char *commit, bool *go_back);

/* Looks, whenever something changed and at the deadline. */
enum rollout_verdict rollout_look(struct rollout *rollout, mono_t now,
                                  const struct rollout_view *view);

mono_t rollout_deadline(const struct rollout *rollout, mono_t now);

/* What the record says (enum value_commit_health). */
uint8_t rollout_health(const struct rollout *rollout, mono_t now);

#endif
