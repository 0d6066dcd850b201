/* What the parts of uv_sync share: one piece of work at a time, which goes from the loop's thread
 * to the git worker's (uv_sync_load.c) and the store worker's (uv_sync_store.c) and back. */
#ifndef COVEY_IO_UV_SYNC_INSIDE_H
#define COVEY_IO_UV_SYNC_INSIDE_H

#include "agent/io/uv_sync.h"

enum phase {
    PHASE_BRANCH, /* apply what the branch stands at */
    PHASE_CHECK,  /* a peer's commit: is it here, older, newer, of another history? */
    PHASE_REMOTE, /* what a remote's branch stands at */
    PHASE_APPLY,  /* an earlier commit, whose turn has come again */
    PHASE_BUNDLE, /* take in a peer's bundle, then as above */
    PHASE_STORE,
};

enum outcome {
    OUTCOME_NOTHING, /* nothing new */
    OUTCOME_LOADED,
    OUTCOME_NEED_BUNDLE,
    OUTCOME_OLDER,
    OUTCOME_DIVERGED,
    OUTCOME_FAILED,      /* the commit itself is at fault */
    OUTCOME_BLOCKED,     /* something is wrong here: said, and tried again */
    OUTCOME_UNREACHABLE, /* the peer does not give it: tried again */
};

struct uv_sync {
    struct worker_job job; /* first: the job is the sync */
    struct uv_sync_config config;
    char applied[COMMIT_TEXT];
    bool busy;
    bool closing;
    bool branch_waits;
    bool apply_waits;
    bool remote_waits;
    char remote_failed[COMMIT_TEXT]; /* of a remote: found at fault, not looked at again */
    struct rollout_marks marks;      /* the worker's while it is busy */
    struct rollout_marks next_marks; /* of the next work */
    struct git_frozen frozen[SUSPEND_MAX], next_frozen[SUSPEND_MAX]; /* likewise */
    size_t frozen_count, next_frozen_count;
    char to_apply[COMMIT_TEXT];
    bool branch_failed; /* what the branch stands at could not be read or stored */
    struct effect_fetch waiting[SYNC_WAITING_MAX];
    size_t waiting_count;

    /* of the work under way; the workers' threads see nothing else but config.repo and applied */
    enum phase phase;
    struct effect_fetch fetch;
    char commit[COMMIT_TEXT];
    char instead[COMMIT_TEXT]; /* the branch's, where another one is applied; "" */
    char *bundle;
    size_t bundle_size;
    enum outcome outcome;
    struct desired *desired;
    struct git_commit info;
    int64_t applied_at;
    struct err err;
};

/* On the git worker's thread: reads, checks and parses what the phase asks for. */
void uv_sync_load(struct worker_job *job, struct store *store);

/* On the store worker's thread: the commit with its inventory, or that it is at fault. */
void uv_sync_store(struct worker_job *job, struct store *store);

#endif
