/* What people ask of the desired state: its files, objects and history. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/daemon/agent_api.h"
#include "agent/daemon/state_json.h"
#include "agent/web/status_json.h"

#define HISTORY_DEFAULT 20

/* ---- the files of a commit: what agentctl diff compares ---- */

struct files_job {
    struct worker_job job; /* first */
    struct http_request *request;
    struct git_repo repo;
    char revision[GIT_REVISION_MAX]; /* "": the branch */
    char commit[COMMIT_TEXT];
    json_t *document;
    int rc;
    struct err err;
};

static json_t *files_json(const struct git_tree *tree)
{
    json_t *list = json_object();
    size_t count;
    const struct desired_file *files = git_tree_files(tree, &count);

    for (size_t i = 0; i < count; i++)
        if (desired_wants(files[i].path)) /* a text that is no UTF-8 is no document: left out */
            json_object_set_new(list, files[i].path, json_stringn(files[i].data, files[i].size));
    return list;
}

static void run_files(struct worker_job *job, struct store *store)
{
    struct files_job *f = (struct files_job *)job;
    struct git_tree *tree = NULL;

    (void)store;
    f->rc = f->revision[0] != '\0' ? git_resolve(&f->repo, f->revision, f->commit, &f->err)
                                   : git_head(&f->repo, f->commit, &f->err);
    if (f->rc == ERR_NONE)
        f->rc = git_read_tree(&f->repo, f->commit, &tree, &f->err);
    if (f->rc == ERR_NONE)
        f->document = json_pack("{s:s, s:s, s:s, s:o}", "apiVersion", API_VERSION, "kind", "Files",
                                "commit", f->commit, "files", files_json(tree));
    git_tree_free(tree);
}

static void files_done(struct worker_job *job)
{
    struct files_job *f = (struct files_job *)job;

    if (f->rc != ERR_NONE)
        api_reply_error(f->request, &f->err);
    else
        api_reply_json(f->request, 200, f->document);
    free(f);
}

void api_get_files(struct agent *agent, struct http_request *request)
{
    const char *revision = http_query(request, "rev");
    const char *applied = agent->sync != NULL ? uv_sync_applied(agent->sync) : "";
    struct files_job *f;
    struct err err;

    if (revision == NULL && applied[0] == '\0') { /* nothing is applied: nothing is there */
        api_reply_json(request, 200,
                       json_pack("{s:s, s:s, s:s, s:{}}", "apiVersion", API_VERSION, "kind",
                                 "Files", "commit", "", "files"));
        return;
    }
    if (revision != NULL && strlen(revision) >= GIT_REVISION_MAX) {
        uv_http_text(request, 400, "the revision is too long\n");
        return;
    }
    f = calloc(1, sizeof *f);
    if (f == NULL) {
        uv_http_text(request, 500, "%s\n", err_text(ERR_NOMEM));
        return;
    }
    f->request = request;
    f->repo = agent->repo;
    snprintf(f->revision, sizeof f->revision, "%s", revision != NULL ? revision : applied);
    if (revision != NULL && strcmp(revision, "branch") == 0)
        f->revision[0] = '\0';
    f->job.run = run_files;
    f->job.done = files_done;
    if (worker_submit(agent->git, &f->job, &err) == ERR_NONE)
        return;
    f->rc = err.code;
    f->err = err;
    files_done(&f->job);
}

/* ---- objects ---- */

static const struct addr *vip_address(const void *context, const struct desired_vip *vip)
{
    return node_vip_address(context, vip);
}

void api_get_objects(struct agent *agent, struct http_request *request)
{
    const char *kind = http_query(request, "kind");
    const char *name = http_query(request, "name");
    json_t *items = state_json_objects(node_desired(agent->node), vip_address, agent->node);
    json_t *kept = json_array();
    json_t *o;
    size_t i;

    json_array_foreach(items, i, o)
    {
        const char *k = json_string_value(json_object_get(o, "kind"));
        const char *n = json_string_value(json_object_get(o, "name"));
        if ((kind == NULL || strcasecmp(kind, k) == 0) && (name == NULL || strcmp(name, n) == 0))
            json_array_append(kept, o);
    }
    json_decref(items);
    if (name != NULL && json_array_size(kept) == 0) {
        json_decref(kept);
        uv_http_text(request, 404, "there is no %s %s in the desired state. See agentctl get\n",
                     kind != NULL ? kind : "object", name);
        return;
    }
    api_reply_json(request, 200, status_json_list("ObjectList", kept));
}

/* ---- history ---- */

struct history_job {
    struct worker_job job; /* first */
    struct http_request *request;
    size_t limit;
    struct store_history *list;
    size_t count;
    struct store_commit applied;
    int rc;
    struct err err;
};

static void run_history(struct worker_job *job, struct store *store)
{
    struct history_job *h = (struct history_job *)job;

    h->rc = store_history(store, h->limit, &h->list, &h->count, &h->err);
    if (h->rc == ERR_NONE)
        (void)store_applied(store, &h->applied, NULL);
}

static void history_done(struct worker_job *job)
{
    struct history_job *h = (struct history_job *)job;
    json_t *items;

    if (h->rc != ERR_NONE) {
        api_reply_error(h->request, &h->err);
        free(h);
        return;
    }
    items = state_json_history(h->list, h->count, h->applied.commit);
    api_reply_json(h->request, 200, status_json_list("HistoryList", items));
    free(h->list);
    free(h);
}

void api_get_history(struct agent *agent, struct http_request *request)
{
    const char *limit = http_query(request, "limit");
    struct history_job *h = calloc(1, sizeof *h);
    struct err err;

    if (h == NULL) {
        uv_http_text(request, 500, "%s\n", err_text(ERR_NOMEM));
        return;
    }
    h->request = request;
    h->limit = limit != NULL && atol(limit) > 0 ? (size_t)atol(limit) : HISTORY_DEFAULT;
    h->job.run = run_history;
    h->job.done = history_done;
    if (worker_submit(agent->store, &h->job, &err) == ERR_NONE)
        return;
    h->rc = err.code;
    h->err = err;
    history_done(&h->job);
}
