#include "agent/io/uv_sync.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/node.h"
#include "agent/io/uv_sync_inside.h"

static void start(struct uv_sync *sync, enum phase phase);

static void next(struct uv_sync *sync)
{
    sync->busy = false;
    if (sync->apply_waits) {
        sync->apply_waits = false;
        memcpy(sync->commit, sync->to_apply, sizeof sync->commit);
        start(sync, PHASE_APPLY);
        return;
    }
    if (sync->remote_waits) {
        sync->remote_waits = false;
        start(sync, PHASE_REMOTE);
        return;
    }
    if (sync->branch_waits) {
        uv_sync_branch(sync);
        return;
    }
    if (sync->waiting_count == 0) {
        sync->config.idle(sync->config.context, sync->branch_failed);
        return;
    }
    sync->fetch = sync->waiting[0];
    sync->waiting_count--;
    memmove(&sync->waiting[0], &sync->waiting[1], sync->waiting_count * sizeof sync->waiting[0]);
    snprintf(sync->commit, sizeof sync->commit, "%s", sync->fetch.commit);
    start(sync, PHASE_CHECK);
}

static void post_result(struct uv_sync *sync, enum node_commit_result result)
{
    struct node_event event = {.type = NODE_COMMIT};

    snprintf(event.commit.commit, sizeof event.commit.commit, "%s", sync->commit);
    event.commit.result = result;
    event.commit.reason = sync->err.text;
    sync->config.post.event(sync->config.post.context, &event);
}

static void finish(struct uv_sync *sync)
{
    struct node_event event = {.type = NODE_DESIRED};

    switch (sync->outcome) {
    case OUTCOME_LOADED:
        snprintf(sync->applied, sizeof sync->applied, "%s", sync->commit);
        sync->branch_failed = false;
        event.desired.desired = sync->desired;
        event.desired.subject = sync->info.subject;
        event.desired.applied = sync->applied_at;
        event.desired.canary = sync->info.canary;
        event.desired.instead = sync->instead[0] != '\0' ? sync->instead : NULL;
        sync->desired = NULL;
        sync->config.post.event(sync->config.post.context, &event);
        break;
    case OUTCOME_OLDER:
        post_result(sync, NODE_COMMIT_OLDER);
        break;
    case OUTCOME_DIVERGED:
        post_result(sync, NODE_COMMIT_DIVERGED);
        break;
    case OUTCOME_FAILED:
        post_result(sync, NODE_COMMIT_FAILED);
        break;
    case OUTCOME_BLOCKED:
        /* What cannot be stored leaves the running state as it is, and says so. The branch stands
         * at it already: it is the branch that is looked at again. */
        sync->branch_failed =
            sync->branch_failed || sync->phase == PHASE_STORE || sync->phase == PHASE_BRANCH;
        post_result(sync, sync->phase == PHASE_STORE ? NODE_COMMIT_FAILED : NODE_COMMIT_BLOCKED);
        break;
    case OUTCOME_UNREACHABLE:
        if (sync->phase == PHASE_REMOTE)
            break;
        post_result(sync, NODE_COMMIT_UNREACHABLE);
        break;
    default:
        break;
    }
    desired_free(sync->desired);
    sync->desired = NULL;
    free(sync->bundle); /* no worker took it */
    sync->bundle = NULL;
    next(sync);
}

static void stored(struct worker_job *job)
{
    finish((struct uv_sync *)job);
}

/* It was given up while it was read, or by somebody else before it came here. */
static bool gone_bad(const struct uv_sync *sync)
{
    for (size_t i = 0; i < ROLLOUT_BAD_MAX; i++)
        if (strcmp(sync->next_marks.bad[i], sync->commit) == 0)
            return true;
    return false;
}

/* The remote's commit that is at fault would be found so with every look. */
static void remote_done(struct uv_sync *sync)
{
    bool answered = sync->outcome != OUTCOME_UNREACHABLE;

    if (sync->outcome == OUTCOME_FAILED)
        memcpy(sync->remote_failed, sync->commit, sizeof sync->remote_failed);
    if (sync->config.remote != NULL)
        sync->config.remote(sync->config.context, answered ? NULL : sync->err.text);
}

static void git_done(struct worker_job *job)
{
    struct uv_sync *sync = (struct uv_sync *)job;

    if (sync->phase == PHASE_REMOTE)
        remote_done(sync);

    if (sync->outcome == OUTCOME_NEED_BUNDLE && sync->closing) {
        sync->outcome = OUTCOME_NOTHING;
        finish(sync);
        return;
    }
    if (sync->outcome == OUTCOME_NEED_BUNDLE) {
        sync->config.ask(sync->config.context, sync->fetch.from, sync->applied, sync->commit);
        return;
    }
    if (sync->outcome == OUTCOME_LOADED && gone_bad(sync)) {
        sync->branch_waits = true; /* it may stand there: the last good one is applied instead */
        sync->outcome = OUTCOME_NOTHING;
    }
    if (sync->outcome == OUTCOME_LOADED || sync->outcome == OUTCOME_FAILED)
        start(sync, PHASE_STORE);
    else
        finish(sync);
}

static void start(struct uv_sync *sync, enum phase phase)
{
    struct worker *worker = phase == PHASE_STORE ? sync->config.store : sync->config.git;

    if (!sync->busy) {
        sync->marks = sync->next_marks;
        memcpy(sync->frozen, sync->next_frozen, sizeof sync->frozen);
        sync->frozen_count = sync->next_frozen_count;
    }
    sync->busy = true;
    sync->phase = phase;
    sync->job.run = phase == PHASE_STORE ? uv_sync_store : uv_sync_load;
    sync->job.done = phase == PHASE_STORE ? stored : git_done;
    if (worker_submit(worker, &sync->job, &sync->err) == ERR_NONE)
        return;
    sync->outcome = OUTCOME_BLOCKED;
    finish(sync);
}

void uv_sync_branch(struct uv_sync *sync)
{
    if (sync->closing)
        return;
    sync->branch_waits = sync->busy;
    if (sync->busy)
        return;
    sync->branch_failed = false; /* whatever was wrong with it is found again, or is not any more */
    start(sync, PHASE_BRANCH);
}

void uv_sync_marks(struct uv_sync *sync, const struct rollout_marks *marks)
{
    sync->next_marks = *marks;
    if (!sync->busy)
        sync->marks = *marks;
}

void uv_sync_frozen(struct uv_sync *sync, const struct git_frozen *frozen, size_t count)
{
    bool same = count == sync->next_frozen_count &&
                memcmp(frozen, sync->next_frozen, count * sizeof *frozen) == 0;

    if (same || count > SUSPEND_MAX)
        return;
    memcpy(sync->next_frozen, frozen, count * sizeof *frozen);
    sync->next_frozen_count = count;
    if (sync->applied[0] != '\0' && !sync->apply_waits)
        uv_sync_apply(sync, sync->applied);
}

void uv_sync_apply(struct uv_sync *sync, const char *commit)
{
    if (sync->closing)
        return;
    snprintf(sync->to_apply, sizeof sync->to_apply, "%s", commit);
    sync->apply_waits = true;
    if (!sync->busy)
        next(sync);
}

void uv_sync_remote(struct uv_sync *sync)
{
    if (sync->closing || sync->config.remote_count == 0)
        return;
    sync->remote_waits = true;
    if (!sync->busy)
        next(sync);
}

void uv_sync_fetch(struct uv_sync *sync, const struct effect_fetch *effect)
{
    if (sync->closing)
        return;
    if (sync->waiting_count == SYNC_WAITING_MAX) { /* the oldest wish is the least of interest */
        sync->waiting_count--;
        memmove(&sync->waiting[0], &sync->waiting[1],
                sync->waiting_count * sizeof sync->waiting[0]);
    }
    sync->waiting[sync->waiting_count++] = *effect;
    if (!sync->busy)
        next(sync);
}

void uv_sync_bundle_done(struct uv_sync *sync, int code, char *bundle, size_t size,
                         const char *reason)
{
    if (code == ERR_NONE && !sync->closing) {
        sync->bundle = bundle;
        sync->bundle_size = size;
        start(sync, PHASE_BUNDLE);
        return;
    }
    free(bundle);
    err_set(&sync->err, code, "%s", reason);
    sync->outcome = sync->closing ? OUTCOME_NOTHING : OUTCOME_UNREACHABLE;
    finish(sync);
}

int uv_sync_create(const struct uv_sync_config *config, struct uv_sync **out, struct err *err)
{
    struct uv_sync *sync = calloc(1, sizeof *sync);

    if (sync == NULL)
        return err_set(err, ERR_NOMEM, "prepare for commits: %s", err_text(ERR_NOMEM));
    sync->config = *config;
    *out = sync;
    return ERR_NONE;
}

void uv_sync_close(struct uv_sync *sync)
{
    if (sync == NULL)
        return;
    sync->closing = true;
    sync->branch_waits = false;
    sync->apply_waits = false;
    sync->remote_waits = false;
    sync->waiting_count = 0;
}

void uv_sync_free(struct uv_sync *sync)
{
    if (sync == NULL)
        return;
    free(sync->bundle);
    desired_free(sync->desired);
    free(sync);
}

const char *uv_sync_applied(const struct uv_sync *sync)
{
    return sync->applied;
}

bool uv_sync_idle(const struct uv_sync *sync)
{
    return !sync->busy && !sync->branch_waits && !sync->apply_waits && !sync->remote_waits &&
           sync->waiting_count == 0;
}
