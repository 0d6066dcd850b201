/* desired_parse: documents of a commit, and what each of them is. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/desired/files.h"
#include "proto/base/id.h"

static_assert(DESIRED_DEPTH_MAX == TREE_DEPTH_MAX, "one limit of nesting");

/* The result and the memory that it lies in. */
struct owner {
    struct desired desired;
    struct arena arena;
};

int object_error(const struct object *object, const char *path, const char *format, ...)
{
    char text[REPORT_LINE];
    va_list args;

    va_start(args, format);
    if (vsnprintf(text, sizeof text, format, args) < 0)
        text[0] = '\0';
    va_end(args);
    return report_add(&object->build->report, ERR_INVALID, object->file,
                      tree_line(object->root, path), "%s: %s", path, text);
}

int object_line(const struct object *object)
{
    return tree_line(object->root, "metadata.name");
}

static const char *scalar_of(const struct tree_node *node)
{
    return node != NULL && node->kind == TREE_SCALAR ? node->text : "";
}

static int count_object(struct build *build, const char *file, int line)
{
    if (++build->objects > DESIRED_OBJECTS_MAX)
        return report_add(&build->report, ERR_LIMIT, file, line,
                          "more than %d objects in the repository", DESIRED_OBJECTS_MAX);
    return 0;
}

static int read_foreign(struct build *build, const char *file, const struct tree_document *document)
{
    const struct tree_node *root = document->root;
    const struct tree_node *metadata = tree_get(root, "metadata");
    int rc = count_object(build, file, root->line);

    if (rc != 0)
        return rc;
    return foreign_add(build,
                       &(struct desired_foreign){
                           .file = file,
                           .line = root->line,
                           .api_version = scalar_of(tree_get(root, "apiVersion")),
                           .kind = scalar_of(tree_get(root, "kind")),
                           .name = scalar_of(tree_get(metadata, "name")),
                           .digest = tree_hash(root),
                       },
                       root);
}

/* The folder below apps/ that @file lies in; NULL and a report where there is none. */
static const char *app_of(struct build *build, const char *file, int line, const char *kind)
{
    const char *name = file + strlen(APPS);
    const char *slash;
    const char *app;

    if (strncmp(file, APPS, strlen(APPS)) != 0 || (slash = strchr(name, '/')) == NULL) {
        report_add(&build->report, ERR_INVALID, file, line,
                   "a %s belongs into a folder below apps/, such as apps/web/", kind);
        return NULL;
    }
    app = arena_text(build->arena, name, (size_t)(slash - name));
    if (app == NULL)
        report_no_memory(&build->report);
    else if (!name_valid(app)) {
        report_add(&build->report, ERR_INVALID, file, line,
                   "the folder \"%s\" cannot be the name of an app; expected a-z, 0-9 and -", app);
        return NULL;
    }
    return app;
}

static int unknown_kind(struct build *build, const char *file, const struct tree_node *root,
                        const char *name)
{
    const char *names[KIND_COUNT + 1] = {NULL};
    const char *close;
    char quoted[REPORT_QUOTED];
    int line = tree_line(root, "kind");

    for (int kind = 0; kind < KIND_COUNT; kind++)
        names[kind] = kinds[kind].name;
    close = report_suggest(name, names);
    report_quote(name, quoted);
    if (close != NULL)
        return report_add(&build->report, ERR_INVALID, file, line,
                          "kind: there is no kind \"%s\"; did you mean \"%s\"?", quoted, close);
    return report_add(&build->report, ERR_INVALID, file, line,
                      "kind: there is no kind \"%s\" in " KIND_API_VERSION "; expected Workload, "
                      "CronWorkload, VirtualIP, Cluster, Route, K3s or SealedSecret",
                      quoted);
}

static int read_object(struct build *build, const char *file, const struct tree_node *root,
                       enum kind kind)
{
    struct kind_document document = {0};
    struct object object = {.build = build, .file = file, .root = root, .document = &document};
    struct schema_reader reader = {.arena = build->arena, .report = &build->report, .file = file};
    bool in_cluster_file = strcmp(file, CLUSTER_FILE) == 0;
    int line = tree_line(root, "kind");
    int rc;

    if (kind == KIND_CLUSTER && !in_cluster_file)
        return report_add(&build->report, ERR_INVALID, file, line,
                          "a Cluster belongs into " CLUSTER_FILE " at the top of the repository");
    if (kind != KIND_CLUSTER) {
        object.app = app_of(build, file, line, kinds[kind].name);
        if (object.app == NULL)
            return ERR_INVALID;
    }
    rc = count_object(build, file, line);
    if (rc == 0)
        rc = schema_read(&reader, root, kinds[kind].table, &document);
    if (rc != 0)
        return rc;
    switch (kind) {
    case KIND_CLUSTER:
        return cluster_read(&object);
    case KIND_VIRTUAL_IP:
        return vip_read(&object);
    case KIND_ROUTE:
        return route_read(&object);
    case KIND_K3S:
        return k3s_read(&object);
    case KIND_SEALED_SECRET:
        return secret_read(&object);
    default:
        return workload_read(&object, kind == KIND_CRON_WORKLOAD);
    }
}

static int read_native(struct build *build, const char *file, const struct tree_document *document)
{
    const struct tree_node *root = document->root;
    const char *version = scalar_of(tree_get(root, "apiVersion"));
    const char *name = scalar_of(tree_get(root, "kind"));
    char quoted[REPORT_QUOTED];

    if (document->problem[0] != '\0')
        return report_add(&build->report, ERR_INVALID, file, document->problem_line, "%s",
                          document->problem);
    if (strcmp(version, KIND_API_VERSION) != 0)
        return report_add(&build->report, ERR_INVALID, file, tree_line(root, "apiVersion"),
                          "apiVersion: \"%s\" is unknown; expected " KIND_API_VERSION,
                          report_quote(version, quoted));
    for (int kind = 0; kind < KIND_COUNT; kind++)
        if (strcmp(name, kinds[kind].name) == 0)
            return read_object(build, file, root, (enum kind)kind);
    return unknown_kind(build, file, root, name);
}

static int read_document(struct build *build, const char *file,
                         const struct tree_document *document, bool native_only)
{
    const struct tree_node *root = document->root;
    const char *version = scalar_of(tree_get(root, "apiVersion"));

    if (root == NULL || tree_is_null(root))
        return 0;
    if (strncmp(version, KIND_API_GROUP, strlen(KIND_API_GROUP)) == 0)
        return read_native(build, file, document);
    if (native_only)
        return 0;
    if (version[0] == '\0' || scalar_of(tree_get(root, "kind"))[0] == '\0')
        return report_add(&build->report, ERR_INVALID, file, root->line,
                          "no object: apiVersion and kind are missing (Covey's own have "
                          "apiVersion: " KIND_API_VERSION ")");
    if (strcmp(file, CLUSTER_FILE) == 0)
        return report_add(&build->report, ERR_INVALID, file, root->line,
                          CLUSTER_FILE " is for the kind Cluster of " KIND_API_VERSION
                                       ": move other documents below apps/");
    return read_foreign(build, file, document);
}

static int read_documents(struct build *build, const struct desired_file *file, bool native_only)
{
    struct arena trees = {0};
    const struct tree_document *document;
    const char *path = arena_text(build->arena, file->path, strlen(file->path));
    struct err err;
    int rc;

    if (path == NULL)
        return report_no_memory(&build->report);
    rc = tree_parse(&trees, file->path, file->data, file->size, &document, &err);
    if (rc != 0)
        report_err(&build->report, &err);
    for (; rc == 0 && document != NULL; document = document->next)
        read_document(build, path, document, native_only);
    arena_free(&trees);
    return rc;
}

/* All that the folder of the kustomization @file holds, as far as it is read at all. */
static uint64_t folder_digest(const struct files *files, const char *folder)
{
    size_t len = strlen(folder);
    uint64_t digest = 1;

    for (size_t i = 0; i < files->count; i++) {
        const struct desired_file *file = files->sorted[i];
        if (strncmp(file->path, folder, len) != 0 || file->path[len] != '/')
            continue;
        digest = hash64_mix(digest, hash64_string(file->path));
        digest = hash64_mix(digest, hash64(file->data, file->size));
    }
    return digest;
}

static int add_folder(struct build *build, const struct files *files, const char *file)
{
    const char *path = arena_text(build->arena, file, strlen(file));
    char *folder = arena_text(&build->scratch, file, (size_t)(files_base_name(file) - file) - 1);
    int rc;

    if (path == NULL || folder == NULL)
        return report_no_memory(&build->report);
    rc = count_object(build, path, 1);
    if (rc != 0)
        return rc;
    return foreign_add(build,
                       &(struct desired_foreign){
                           .file = path,
                           .line = 1,
                           .api_version = "",
                           .kind = "Kustomization",
                           .name = folder,
                           .digest = folder_digest(files, folder),
                       },
                       NULL);
}

/* What lies in a folder of kustomize is its business (patches, values, templates that are no YAML),
 * but for documents of Covey: losing one because of its neighbours would go unnoticed. */
static void read_file(struct build *build, const struct files *files,
                      const struct desired_file *file)
{
    bool foreign = files_in_folder(files, file->path, true);

    if (!files_document(file))
        return;
    if (files_kustomization(file->path)) {
        if (!files_in_folder(files, file->path, false))
            add_folder(build, files, file->path);
        return;
    }
    if (foreign && memmem(file->data, file->size, KIND_API_GROUP, strlen(KIND_API_GROUP)) == NULL)
        return;
    read_documents(build, file, foreign);
}

static void read_all(struct build *build, const struct desired_file *all, size_t count)
{
    struct files files = {0};

    if (files_sort(build, all, count, &files) != 0 || files_folders(build, &files) != 0)
        return;
    build->sources = files.sorted;
    build->source_count = files.count;
    /* The cluster's variables are known before the workloads that they stand in. */
    for (int others = 0; others <= 1; others++)
        for (size_t i = 0; i < files.count && !report_full(&build->report); i++)
            if ((strcmp(files.sorted[i]->path, CLUSTER_FILE) != 0) == (others == 1))
                read_file(build, &files, files.sorted[i]);
    /* An object with an error is missing below, and would cause errors elsewhere. */
    if (build->report.count > 0 || build->report.no_memory)
        return;
    graph_finish(build);
    vips_finish(build);
    if (build->report.count > 0 || build->report.no_memory)
        return;
    secrets_finish(build);
    workloads_finish(build);
    objects_finish(build);
    foreign_finish(build);
}

int desired_parse(const char *commit, const struct desired_file *files, size_t count,
                  struct desired **desired, char **report, struct err *err)
{
    struct owner *owner = calloc(1, sizeof *owner);
    struct build build = {0};
    int rc;

    *desired = NULL;
    if (report != NULL)
        *report = NULL;
    if (owner == NULL)
        return err_set(err, ERR_NOMEM, "reading the desired state: out of memory");
    build.desired = &owner->desired;
    build.arena = &owner->arena;
    snprintf(owner->desired.commit, sizeof owner->desired.commit, "%s", commit);
    owner->desired.cluster_name = "flock";
    owner->desired.hold_down_s = DESIRED_HOLD_DOWN_S;
    owner->desired.sync =
        (struct desired_sync){.health_timeout_s = DESIRED_HEALTH_TIMEOUT_S, .rollback = true};
    read_all(&build, files, count);
    arena_free(&build.scratch);
    rc = report_finish(&build.report, report, err);
    if (rc != 0)
        desired_free(&owner->desired);
    else
        *desired = &owner->desired;
    return rc;
}

void desired_free(struct desired *desired)
{
    struct owner *owner = (struct owner *)desired; /* its first member */

    if (desired == NULL)
        return;
    arena_free(&owner->arena);
    free(owner);
}
