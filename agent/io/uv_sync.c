#include "agent/io/uv_sync.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/core/node.h"

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

static void start(struct uv_sync *sync, enum phase phase);

/* ---- on the git worker's thread ---- */

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

static void run_git(struct worker_job *job, struct store *store)
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

/* ---- on the store worker's thread ---- */

static size_t inventory(const struct desired *desired, struct store_object *objects)
{
    size_t n = 0;

    for (size_t i = 0; i < desired->workload_count; i++) {
        const struct desired_workload *w = &desired->workloads[i];
        objects[n++] = (struct store_object){.kind = w->cron ? "CronWorkload" : "Workload",
                                             .app = w->app,
                                             .name = w->name,
                                             .file = w->file,
                                             .line = w->line,
                                             .generation = w->generation,
                                             .digest = w->digest};
    }
    for (size_t i = 0; i < desired->vip_count; i++) {
        const struct desired_vip *v = &desired->vips[i];
        objects[n++] = (struct store_object){
            .kind = "VirtualIP", .app = v->app, .name = v->name, .file = v->file, .line = v->line};
    }
    for (size_t i = 0; i < desired->route_count; i++) {
        const struct desired_route *r = &desired->routes[i];
        objects[n++] = (struct store_object){
            .kind = "Route", .app = r->app, .name = r->name, .file = r->file, .line = r->line};
    }
    for (size_t i = 0; i < desired->k3s_count; i++) {
        const struct desired_k3s *k = &desired->k3s[i];
        objects[n++] = (struct store_object){.kind = "K3s",
                                             .app = k->app,
                                             .name = k->name,
                                             .file = k->file,
                                             .line = k->line,
                                             .generation = k->generation,
                                             .digest = k->generation};
    }
    for (size_t i = 0; i < desired->secret_count; i++) {
        const struct desired_secret *s = &desired->secrets[i];
        objects[n++] = (struct store_object){.kind = "SealedSecret",
                                             .app = s->app,
                                             .name = s->name,
                                             .file = s->file,
                                             .line = s->line,
                                             .digest = s->digest};
    }
    for (size_t i = 0; i < desired->foreign_count; i++) {
        const struct desired_foreign *f = &desired->foreign[i];
        objects[n++] = (struct store_object){.kind = f->kind,
                                             .app = "",
                                             .name = f->name,
                                             .file = f->file,
                                             .line = f->line,
                                             .digest = f->digest};
    }
    return n;
}

static void fill_commit(const struct uv_sync *sync, struct store_commit *commit)
{
    memset(commit, 0, sizeof *commit);
    snprintf(commit->commit, sizeof commit->commit, "%s", sync->commit);
    snprintf(commit->parent, sizeof commit->parent, "%s", sync->info.parent);
    snprintf(commit->subject, sizeof commit->subject, "%s", sync->info.subject);
    commit->applied_at = (int64_t)time(NULL);
}

static void run_store(struct worker_job *job, struct store *store)
{
    struct uv_sync *sync = (struct uv_sync *)job;
    const struct desired *desired = sync->desired;
    struct store_commit commit;
    struct store_commit before;
    struct store_object *objects;
    size_t room;
    int rc;

    fill_commit(sync, &commit);
    if (sync->outcome != OUTCOME_LOADED) { /* a commit at fault is remembered, best effort */
        struct err ignored;
        store_fail_commit(store, &commit, sync->err.text, &ignored);
        return;
    }
    room = desired->workload_count + desired->vip_count + desired->route_count +
           desired->k3s_count + desired->secret_count + desired->foreign_count + 1;
    objects = calloc(room, sizeof *objects);
    if (objects == NULL) {
        sync->outcome = OUTCOME_BLOCKED;
        err_set(&sync->err, ERR_NOMEM, "store the commit: %s", err_text(ERR_NOMEM));
        return;
    }
    if (store_applied(store, &before, NULL) == ERR_NONE &&
        strcmp(before.commit, commit.commit) == 0)
        commit.applied_at = before.applied_at;
    rc = store_apply_commit(store, &commit, objects, inventory(desired, objects), &sync->err);
    free(objects);
    sync->applied_at = commit.applied_at;
    if (rc != ERR_NONE)
        sync->outcome = OUTCOME_BLOCKED;
}

/* ---- on the loop's thread ---- */

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
    sync->job.run = phase == PHASE_STORE ? run_store : run_git;
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
