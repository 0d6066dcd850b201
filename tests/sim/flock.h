/* A flock of nodes that have membership and records, and nothing else, on a simulated network; with
 * the model of what each node said last, and the invariants that hold after every step. */
#ifndef COVEY_TESTS_FLOCK_H
#define COVEY_TESTS_FLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/member/member.h"
#include "proto/record/record.h"
#include "tests/lib/simnet.h"

#define FLOCK_KEYS 24                      /* keys that a node's model writes, besides the head */
#define FLOCK_WIRE_OVERHEAD (24 + 16 + 28) /* envelope, IPv4 and UDP headers of a datagram */
/* A frame of a TCP session, its headers, and the segment that acknowledges it. */
#define FLOCK_STREAM_OVERHEAD (20 + 52 + 52)

struct flock_options {
    size_t nodes;
    uint64_t seed;
    uint32_t ring_max;    /* 0: as membership has it */
    bool strangers;       /* nodes know only node 0 at first, and it nobody */
    bool acquainted;      /* nodes have heard of each other before: they start alive */
    bool streams;         /* there is TCP between them */
    int64_t handshake_ms; /* a first message between two, since either has started, waits up to so
                           * long for a session, and what follows it waits as long as it does */
    bool bare;            /* no records, and no model of them: for thousands of nodes */
};

/* What one node thinks of another: its state, and since when in ms after SIMNET_START. */
struct flock_opinion {
    uint32_t since;
    uint8_t state;
};

/* What one node saw of another's records. */
struct flock_seen {
    uint64_t version;              /* complete up to */
    uint64_t keys[FLOCK_KEYS + 1]; /* highest version; the head is the last */
};

struct flock_context {
    struct flock *flock;
    size_t node;
};

struct flock_node {
    struct flock_context context; /* of the callbacks */
    node_id id;
    struct addr addr;
    uint32_t boot;
    uint32_t lowest_boot; /* ever used */
    uint32_t moves;
    bool revoked;
    bool sick; /* what is thought of it, and what it thinks, is counted apart */
    mono_t started;
    mono_t crashed; /* MONO_NEVER while up */
    struct membership *members;
    struct records *records;
    uint64_t root;
    uint32_t truth[FLOCK_KEYS]; /* value of each key in this life; 0: none */
    struct flock_opinion *opinions;
    struct flock_seen *seen; /* NULL in a bare flock */
};

struct flock_place {
    node_id id;
    size_t node;
};

struct flock {
    struct flock_options options;
    struct simnet *net;
    size_t count;
    struct flock_node *nodes;
    struct flock_place *places; /* ascending by id */
    mono_t *sessions;           /* lower index * count + higher: there from then on; NULL: always */
    bool *revoked_at;           /* observer * count + subject; NULL: nobody is */
    struct membership_out *members_out;

    /* Statistics since flock_reset_counts. */
    uint64_t deaths_false; /* (observer, subject) declared dead while up and not paused */
    uint64_t deaths_sick;  /* of them those that a sick node declared, or that it suffered */
    uint64_t suspicions_false;
    uint64_t conflicts;
    const char *broken; /* the invariant that failed, NULL: none */
};

struct flock *flock_create(const struct flock_options *options);
void flock_destroy(struct flock *f);

/* Runs to @until; false when an invariant failed (f->broken). Scripted events go to @script. */
bool flock_run(struct flock *f, mono_t until,
               void (*script)(struct flock *f, uint64_t tag, void *ctx), void *ctx);

void flock_crash(struct flock *f, size_t node);
/* @lost: the boot number falls below all that it ever had, as after the loss of the store. */
void flock_restart(struct flock *f, size_t node, bool lost);
void flock_move(struct flock *f, size_t node); /* it gets another address */
void flock_leave(struct flock *f, size_t node);
void flock_revoke_at(struct flock *f, size_t observer, size_t subject);
void flock_write(struct flock *f, size_t node);                  /* sets or deletes a random key */
void flock_greet(struct flock *f, size_t node, size_t other);    /* introduces itself once more */
void flock_discover(struct flock *f, size_t node, size_t other); /* learns its address by a hint */
void flock_reset_counts(struct flock *f);

/* Whether every running node sees exactly the running ones as alive, and all others not. */
bool flock_views_whole(const struct flock *f);
/* Whether every running node holds exactly what the running authors said in this life. */
bool flock_records_equal(const struct flock *f);
bool flock_sees(const struct flock *f, size_t observer, size_t subject, uint8_t state);
/* When the observer came to its present opinion. */
mono_t flock_since(const struct flock *f, size_t observer, size_t subject);
/* Whether the observer hears the subject over TCP alone. */
bool flock_streams(const struct flock *f, size_t observer, size_t subject);
/* Whether every running node holds what the author said last. */
bool flock_heard(const struct flock *f, size_t author);
/* Whether every running node has the node at its present address. */
bool flock_located(const struct flock *f, size_t node);

/* One line about the first difference, for a failed run. */
void flock_explain(const struct flock *f);

#endif
