/* The git worker's part of taking a commit on: what the branch, a remote or a peer's bundle brings.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/io/uv_sync_inside.h"

/* Reads, parses and validates sync->commit. */
static enum outcome load(struct uv_sync *sync)
{
    const struct git_repo *repo = sync->config.repo;
    const struct desired_file *files;
    struct git_mixed *tree;
    size_t count;
    int rc;

    rc = git_describe(repo, sync->commit, &sync->info, &sync->err);
    if (rc != ERR_NONE)
        return OUTCOME_BLOCKED;
    rc = git_mixed_read(repo, sync->commit, sync->frozen, sync->frozen_count, &tree, &sync->err);
    if (rc != ERR_NONE)
        return rc == ERR_INVALID || rc == ERR_LIMIT ? OUTCOME_FAILED : OUTCOME_BLOCKED;
    files = git_mixed_files(tree, &count);
    rc = desired_parse(sync->commit, files, count, &sync->desired, NULL, &sync->err);
    git_mixed_free(tree);
    if (rc == ERR_NONE)
        return OUTCOME_LOADED;
    return rc == ERR_NOMEM ? OUTCOME_BLOCKED : OUTCOME_FAILED;
}

static bool is_bad(const struct uv_sync *sync, const char *commit)
{
    for (size_t i = 0; i < ROLLOUT_BAD_MAX; i++)
        if (strcmp(sync->marks.bad[i], commit) == 0)
            return true;
    return false;
}

static enum outcome load_branch(struct uv_sync *sync)
{
    int rc = git_head(sync->config.repo, sync->commit, &sync->err);

    if (rc == ERR_NOTFOUND)
        return OUTCOME_NOTHING;
    if (rc != ERR_NONE)
        return OUTCOME_BLOCKED;
    if (is_bad(sync, sync->commit)) {
        memcpy(sync->instead, sync->commit, sizeof sync->instead);
        memcpy(sync->commit, sync->marks.good[0], sizeof sync->commit);
    }
    if (sync->commit[0] == '\0' || strcmp(sync->commit, sync->applied) == 0)
        return OUTCOME_NOTHING;
    return load(sync);
}

/* A peer's commit whose objects are here. Only what continues the branch is taken on. */
static enum outcome load_foreign(struct uv_sync *sync)
{
    const struct git_repo *repo = sync->config.repo;
    char head[COMMIT_TEXT] = "";
    bool newer = true;
    bool older = false;
    enum outcome outcome;
    int rc = git_head(repo, head, &sync->err);

    if (rc != ERR_NONE && rc != ERR_NOTFOUND)
        return OUTCOME_BLOCKED;
    if (head[0] != '\0') {
        rc = git_is_ancestor(repo, sync->commit, head, &older, &sync->err);
        if (rc == ERR_NONE && !older)
            rc = git_is_ancestor(repo, head, sync->commit, &newer, &sync->err);
        if (rc != ERR_NONE)
            return OUTCOME_BLOCKED;
    }
    if (older)
        return OUTCOME_OLDER;
    if (!newer) {
        err_set(&sync->err, ERR_CONFLICT,
                "it does not continue %.10s, which this node has accepted. Merge both and push the "
                "merge",
                head);
        return OUTCOME_DIVERGED;
    }
    if (git_is_strict(repo)) {
        char signer[GIT_AUTHOR_MAX];
        rc = git_verify(repo, sync->commit, signer, &sync->err);
        if (rc != ERR_NONE)
            return rc == ERR_INVALID ? OUTCOME_FAILED : OUTCOME_BLOCKED;
    }
    outcome = load(sync);
    if (outcome != OUTCOME_LOADED)
        return outcome;
    rc = git_advance(repo, head, sync->commit, &sync->err);
    if (rc == ERR_NONE)
        return OUTCOME_LOADED;
    desired_free(sync->desired);
    sync->desired = NULL;
    return OUTCOME_BLOCKED;
}

static enum outcome look_at_remotes(struct uv_sync *sync)
{
    int rc = ERR_UNREACHABLE;

    for (size_t i = 0; i < sync->config.remote_count && rc != ERR_NONE; i++)
        rc =
            git_fetch_remote(sync->config.repo, &sync->config.remotes[i], sync->commit, &sync->err);
    if (rc != ERR_NONE)
        return OUTCOME_UNREACHABLE;
    if (strcmp(sync->commit, sync->applied) == 0 || strcmp(sync->commit, sync->remote_failed) == 0)
        return OUTCOME_NOTHING;
    return load_foreign(sync);
}

static enum outcome check(struct uv_sync *sync)
{
    int rc = git_commit_exists(sync->config.repo, sync->commit, &sync->err);

    if (rc == ERR_NOTFOUND)
        return OUTCOME_NEED_BUNDLE;
    return rc == ERR_NONE ? load_foreign(sync) : OUTCOME_BLOCKED;
}

static enum outcome take_bundle(struct uv_sync *sync)
{
    int rc = git_bundle_apply(sync->config.repo, sync->bundle, sync->bundle_size, sync->commit,
                              &sync->err);

    free(sync->bundle);
    sync->bundle = NULL;
    if (rc == ERR_NONE)
        return load_foreign(sync);
    return rc == ERR_INVALID || rc == ERR_LIMIT ? OUTCOME_FAILED : OUTCOME_BLOCKED;
}

void uv_sync_load(struct worker_job *job, struct store *store)
{
    struct uv_sync *sync = (struct uv_sync *)job;

    (void)store;
    sync->desired = NULL;
    sync->instead[0] = '\0';
    switch (sync->phase) {
    case PHASE_BRANCH:
        sync->outcome = load_branch(sync);
        break;
    case PHASE_REMOTE:
        sync->outcome = look_at_remotes(sync);
        break;
    case PHASE_APPLY:
        sync->outcome = load(sync);
        break;
    case PHASE_CHECK:
        sync->outcome = check(sync);
        break;
    default:
        sync->outcome = take_bundle(sync);
        break;
    }
}
