/* The store worker's part of taking a commit on: the commit, and the inventory of its objects. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/io/uv_sync_inside.h"

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

void uv_sync_store(struct worker_job *job, struct store *store)
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
