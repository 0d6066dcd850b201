/* The files of a commit: which of them concern Covey, their order, folders of kustomize. */
#include "agent/desired/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOURCES "files/" /* in the folder of an app */

const char *files_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);

    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

bool files_kustomization(const char *path)
{
    const char *name = files_base_name(path);

    return strcmp(name, "kustomization.yaml") == 0 || strcmp(name, "kustomization.yml") == 0 ||
           strcmp(name, "Kustomization") == 0;
}

/* Below apps/APP/files/: what workloads may take in as it is. */
static bool is_source(const char *path)
{
    const char *app = path + strlen(APPS);
    const char *slash;

    if (strncmp(path, APPS, strlen(APPS)) != 0 || (slash = strchr(app, '/')) == NULL)
        return false;
    return strncmp(slash + 1, SOURCES, strlen(SOURCES)) == 0;
}

bool desired_wants(const char *path)
{
    if (strcmp(path, CLUSTER_FILE) == 0)
        return true;
    if (strncmp(path, APPS, strlen(APPS)) != 0)
        return false;
    return ends_with(path, ".yaml") || ends_with(path, ".yml") || files_kustomization(path) ||
           is_source(path);
}

/* Whether a file that might be a source is a document all the same: none may be lost. */
bool files_document(const struct desired_file *file)
{
    static const char version[] = "apiVersion:";
    const char *at = file->data;
    size_t left = file->size;

    if (!is_source(file->path))
        return true;
    if (!ends_with(file->path, ".yaml") && !ends_with(file->path, ".yml"))
        return false;
    while (left > strlen(version)) {
        const char *end = memchr(at, '\n', left);
        if (strncmp(at, version, strlen(version)) == 0)
            return true;
        if (end == NULL)
            return false;
        left -= (size_t)(end - at) + 1;
        at = end + 1;
    }
    return false;
}

const struct desired_file *build_source(const struct build *build, const char *app,
                                        const char *path)
{
    char whole[DESIRED_PATH_MAX];
    size_t low = 0, high = build->source_count;
    int n = snprintf(whole, sizeof whole, APPS "%s/" SOURCES "%s", app, path);

    if (n < 0 || (size_t)n >= sizeof whole)
        return NULL;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(build->sources[middle]->path, whole) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < build->source_count && strcmp(build->sources[low]->path, whole) == 0
               ? build->sources[low]
               : NULL;
}

static int by_path(const void *left, const void *right)
{
    const struct desired_file *a = *(const struct desired_file *const *)left;
    const struct desired_file *b = *(const struct desired_file *const *)right;

    return strcmp(a->path, b->path);
}

static int by_text(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

/* The folder of @path with the part behind its first @len bytes cut off is in @files. */
static bool is_folder(const struct files *files, const char *path, size_t len)
{
    char folder[DESIRED_PATH_MAX];
    const char *key = folder;

    memcpy(folder, path, len);
    folder[len] = '\0';
    return files->folder_count > 0 && bsearch(&key, files->folders, files->folder_count,
                                              sizeof *files->folders, by_text) != NULL;
}

/* A folder above the one that holds @path, or with @own that one itself, belongs to kustomize. */
bool files_in_folder(const struct files *files, const char *path, bool own)
{
    const char *slash = strrchr(path, '/');

    for (const char *p = strchr(path, '/'); p != NULL && p <= slash; p = strchr(p + 1, '/')) {
        if (p == slash && !own)
            return false;
        if (is_folder(files, path, (size_t)(p - path)))
            return true;
    }
    return false;
}

int files_folders(struct build *build, struct files *files)
{
    for (size_t i = 0; i < files->count; i++)
        files->folder_count += files_kustomization(files->sorted[i]->path);
    files->folders = arena_array(&build->scratch, files->folder_count, sizeof(char *));
    if (files->folders == NULL)
        return report_no_memory(&build->report);
    files->folder_count = 0;
    for (size_t i = 0; i < files->count; i++) {
        const char *path = files->sorted[i]->path;
        char *folder;
        if (!files_kustomization(path))
            continue;
        folder = arena_text(&build->scratch, path, (size_t)(files_base_name(path) - path) - 1);
        if (folder == NULL)
            return report_no_memory(&build->report);
        files->folders[files->folder_count++] = folder;
    }
    qsort(files->folders, files->folder_count, sizeof *files->folders, by_text);
    return 0;
}

static int check_limits(struct build *build, const struct files *files)
{
    size_t total = 0;

    for (size_t i = 0; i < files->count; i++) {
        const struct desired_file *file = files->sorted[i];
        if (strlen(file->path) >= DESIRED_PATH_MAX)
            return report_add(&build->report, ERR_LIMIT, file->path, 1,
                              "the path is longer than %d bytes", DESIRED_PATH_MAX - 1);
        if (i > 0 && strcmp(files->sorted[i - 1]->path, file->path) == 0)
            return report_add(&build->report, ERR_INVALID, file->path, 1, "two files of one path");
        if (file->size > DESIRED_FILE_MAX)
            return report_add(&build->report, ERR_LIMIT, file->path, 1,
                              "the file has %zu bytes; expected at most %d", file->size,
                              DESIRED_FILE_MAX);
        total += file->size;
        if (total > DESIRED_TREE_MAX)
            return report_add(&build->report, ERR_LIMIT, file->path, 1,
                              "all files together have more than %d bytes", DESIRED_TREE_MAX);
    }
    return 0;
}

int files_sort(struct build *build, const struct desired_file *all, size_t count,
               struct files *files)
{
    if (count > DESIRED_FILES_MAX)
        return report_add(&build->report, ERR_LIMIT, "apps", 0, "%zu files; expected at most %d",
                          count, DESIRED_FILES_MAX);
    files->sorted = arena_array(&build->scratch, count, sizeof(struct desired_file *));
    if (files->sorted == NULL)
        return report_no_memory(&build->report);
    for (size_t i = 0; i < count; i++)
        if (desired_wants(all[i].path))
            files->sorted[files->count++] = &all[i];
    qsort(files->sorted, files->count, sizeof(struct desired_file *), by_path);
    return check_limits(build, files);
}
