/* What people ask of the desired state: its files, objects and history. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/daemon/agent_api.h"
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

static json_t *texts_json(const char *const *texts)
{
    json_t *list = json_array();

    for (size_t i = 0; texts != NULL && texts[i] != NULL; i++)
        json_array_append_new(list, json_string(texts[i]));
    return list;
}

static json_t *object_json(const char *kind, const char *app, const char *name, const char *file,
                           int line)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:i}", "kind", kind, "name", name, "app", app, "file",
                     file, "line", line);
}

static void add_workloads(json_t *items, const struct desired *d)
{
    for (size_t i = 0; i < d->workload_count; i++) {
        const struct desired_workload *w = &d->workloads[i];
        json_t *o =
            object_json(w->cron ? "CronWorkload" : "Workload", w->app, w->name, w->file, w->line);
        char generation[24];

        snprintf(generation, sizeof generation, "%016llx", (unsigned long long)w->generation);
        json_object_set_new(o, "generation", json_string(generation));
        json_object_set_new(o, "replicas", json_integer(w->replicas));
        json_object_set_new(o, "command", texts_json(w->command));
        json_object_set_new(o, "dependsOn", texts_json(w->depends_on));
        if (w->cron)
            json_object_set_new(o, "schedule", json_string(w->schedule.expression));
        json_array_append_new(items, o);
    }
}

static void add_vips(json_t *items, const struct node *node, const struct desired *d)
{
    for (size_t i = 0; i < d->vip_count; i++) {
        const struct desired_vip *v = &d->vips[i];
        json_t *o = object_json("VirtualIP", v->app, v->name, v->file, v->line);
        char address[ADDR_TEXT] = "";

        if (node_vip_address(node, v)->family != 0)
            addr_format_ip(node_vip_address(node, v), address);
        json_object_set_new(o, "address", json_string(address));
        json_object_set_new(o, "mode", json_string(v->strict ? "strict" : "solo"));
        json_array_append_new(items, o);
    }
}

static void add_others(json_t *items, const struct desired *d)
{
    for (size_t i = 0; i < d->route_count; i++) {
        const struct desired_route *r = &d->routes[i];
        json_t *o = object_json("Route", r->app, r->name, r->file, r->line);

        json_object_set_new(o, "hosts", texts_json(r->hosts));
        json_object_set_new(o, "path", json_string(r->path));
        json_object_set_new(o, "workload", json_string(r->workload));
        json_object_set_new(o, "port", json_string(r->port));
        json_array_append_new(items, o);
    }
    for (size_t i = 0; i < d->k3s_count; i++) {
        json_t *o =
            object_json("K3s", d->k3s[i].app, d->k3s[i].name, d->k3s[i].file, d->k3s[i].line);

        json_object_set_new(o, "servers", texts_json(d->k3s[i].servers));
        json_array_append_new(items, o);
    }
    for (size_t i = 0; i < d->secret_count; i++) { /* names of values, never the values */
        const struct desired_secret *s = &d->secrets[i];
        json_t *o = object_json("SealedSecret", s->app, s->name, s->file, s->line);
        json_t *keys = json_array(), *nodes = json_array();

        for (size_t k = 0; k < s->data.count; k++)
            json_array_append_new(keys, json_string(s->data.pairs[k].name));
        for (size_t k = 0; k < s->recipient_count; k++)
            json_array_append_new(nodes, json_string(s->recipients[k].node));
        json_object_set_new(o, "keys", keys);
        json_object_set_new(o, "nodes", nodes);
        json_array_append_new(items, o);
    }
    for (size_t i = 0; i < d->foreign_count; i++) {
        const struct desired_foreign *f = &d->foreign[i];
        json_t *o = object_json(f->kind, "", f->name, f->file, f->line);
        char waits[64];

        desired_waiting(f, waits, sizeof waits);
        json_object_set_new(o, "objectApiVersion", json_string(f->api_version));
        json_object_set_new(o, "waitingFor", json_string(waits));
        json_array_append_new(items, o);
    }
}

void api_get_objects(struct agent *agent, struct http_request *request)
{
    const struct desired *desired = node_desired(agent->node);
    const char *kind = http_query(request, "kind");
    const char *name = http_query(request, "name");
    json_t *items = json_array();
    json_t *kept = json_array();
    json_t *o;
    size_t i;

    if (desired != NULL) {
        add_workloads(items, desired);
        add_vips(items, agent->node, desired);
        add_others(items, desired);
    }
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
    json_t *items = json_array();

    if (h->rc != ERR_NONE) {
        json_decref(items);
        api_reply_error(h->request, &h->err);
        free(h);
        return;
    }
    for (size_t i = 0; i < h->count; i++) {
        const struct store_history *entry = &h->list[i];
        bool failed = entry->state == STORE_FAILED;
        bool running = !failed && strcmp(entry->commit.commit, h->applied.commit) == 0;
        json_array_append_new(
            items, json_pack("{s:I, s:s, s:s, s:s, s:s, s:o, s:b, s:s}", "number",
                             (json_int_t)entry->number, "commit", entry->commit.commit, "parent",
                             entry->commit.parent, "subject", entry->commit.subject, "state",
                             failed ? "failed" : "applied", "time",
                             status_json_time(entry->commit.applied_at), "running", (int)running,
                             "reason", failed ? entry->reason : ""));
    }
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
