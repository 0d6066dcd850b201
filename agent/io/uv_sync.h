/* From a commit to the node's desired state: read it from the repository, or from a peer, check
 * that it continues what is applied, parse and validate it, store it, hand it to the node. Git runs
 * on a worker's thread, the store on another; nothing blocks the loop. */
#ifndef COVEY_IO_UV_SYNC_H
#define COVEY_IO_UV_SYNC_H

#include "agent/core/effect.h"
#include "agent/core/rollout.h"
#include "agent/io/os_git.h"
#include "agent/io/os_git_frozen.h"
#include "agent/io/post.h"
#include "agent/io/uv_worker.h"
#include "proto/base/err.h"

#define SYNC_WAITING_MAX 8 /* commits of peers that wait for their turn */

struct uv_sync;

struct uv_sync_config {
    const struct git_repo *repo; /* borrowed for the life of the object, as the workers are */
    struct worker *git;
    struct worker *store;
    struct post post;
    /* Asks the peer @from for a bundle that leads from @have ("" for nothing) to @want, and calls
     * uv_sync_bundle_done exactly once, later. */
    void (*ask)(void *context, node_id from, const char *have, const char *want);
    /* Nothing is under way or waits any more; @failed: the branch stands at a commit that could not
     * be applied now (the store, the disk), and uv_sync_branch is to be called again later. */
    void (*idle)(void *context, bool failed);
    /* What became of a look at the remotes: @reason NULL: one has answered. */
    void (*remote)(void *context, const char *reason);
    const struct git_remote *remotes; /* borrowed for the life of the object */
    size_t remote_count;
    void *context;
};

/* Errors: ERR_NOMEM. */
int uv_sync_create(const struct uv_sync_config *config, struct uv_sync **sync, struct err *err);

/* Before the workers are stopped, git's first: what is under way ends, nothing follows it, and idle
 * is called a last time if there was something. NULL is allowed. */
void uv_sync_close(struct uv_sync *sync);

/* Free only when both workers have stopped. NULL is allowed. */
void uv_sync_free(struct uv_sync *sync);

/* The branch may have moved (start, push, agentctl sync): apply what it stands at. This and
 * uv_sync_fetch do nothing after uv_sync_close. */
void uv_sync_branch(struct uv_sync *sync);

/* Commits that are good, and those that were given up: the branch may stand at one of these, and
 * then the last good one is applied instead. At the start and with EFFECT_MARKS. */
void uv_sync_marks(struct uv_sync *sync, const struct rollout_marks *marks);

/* Apps that stay as an earlier commit had them, whatever is applied. At the start, and with
 * EFFECT_SUSPENDED: what is applied is then read again. */
void uv_sync_frozen(struct uv_sync *sync, const struct git_frozen *frozen, size_t count);

/* EFFECT_APPLY: posts NODE_DESIRED, or NODE_COMMIT. */
void uv_sync_apply(struct uv_sync *sync, const char *commit);

/* Looks at the remotes, in their order until one answers; what continues the branch is taken on. */
void uv_sync_remote(struct uv_sync *sync);

/* EFFECT_FETCH. Posts NODE_DESIRED or NODE_COMMIT. */
void uv_sync_fetch(struct uv_sync *sync, const struct effect_fetch *effect);

/* The answer to config.ask; also after uv_sync_close. @bundle is the sync's from then on. */
void uv_sync_bundle_done(struct uv_sync *sync, int code, char *bundle, size_t size,
                         const char *reason);

/* The commit that is applied, "" for none. */
const char *uv_sync_applied(const struct uv_sync *sync);

/* Nothing is under way and nothing waits. */
bool uv_sync_idle(const struct uv_sync *sync);

#endif
