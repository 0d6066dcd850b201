/* The files of a commit. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/io/os_git_run.h"

#define LISTING_MAX ((size_t)DESIRED_FILES_MAX * (DESIRED_PATH_MAX + 64))
#define FRAME_MAX 80 /* bytes that cat-file puts around a blob: "<id> blob <size>\n" and "\n" */

struct git_tree {
    char *listing; /* of ls-tree: the paths stand in it */
    char *content; /* of cat-file: the data stands in it */
    size_t count;
    struct desired_file files[];
};

/* One entry of the listing. */
struct entry {
    const char *mode;
    char id[COMMIT_TEXT];
    size_t size;
    const char *path;
};

static int refuse_path(const char *path, struct err *err)
{
    const char *part = path;

    if (strlen(path) >= DESIRED_PATH_MAX)
        return err_set(err, ERR_LIMIT, "%.80s...: the path is longer than %d bytes", path,
                       DESIRED_PATH_MAX - 1);
    for (const char *p = path; *p != '\0'; p++) {
        if ((unsigned char)*p < ' ' || *p == 127)
            return err_set(err, ERR_INVALID,
                           "a path begins with \"%.*s\" and goes on with a control character; "
                           "rename that file",
                           (int)(p - path), path);
    }
    /* Git's own checks on arrival refuse these too; a repository may have been filled without. */
    while (part != NULL) {
        size_t length = strcspn(part, "/");

        if (length == 0 || (length == 1 && part[0] == '.') ||
            (length == 2 && part[0] == '.' && part[1] == '.'))
            return err_set(err, ERR_INVALID, "%s: not a plain path", path);
        part = part[length] == '/' ? part + length + 1 : NULL;
    }
    return ERR_NONE;
}

static int refuse_mode(const struct entry *entry, struct err *err)
{
    if (strncmp(entry->mode, "100", 3) == 0)
        return ERR_NONE;
    if (strncmp(entry->mode, "120000", 6) == 0)
        return err_set(err, ERR_INVALID,
                       "%s: a symbolic link; put the file itself there, links are not followed",
                       entry->path);
    if (strncmp(entry->mode, "160000", 6) == 0)
        return err_set(err, ERR_INVALID,
                       "%s: a submodule; put its files into this repository instead", entry->path);
    return err_set(err, ERR_INVALID, "%s: neither a file nor a folder", entry->path);
}

/* "100644 blob <id>    <size>\t<path>\0". False if it is not. */
static bool split_entry(char *line, struct entry *entry)
{
    char *id = strchr(line, ' ');
    char *size, *tab, *end;

    entry->mode = line;
    if (id == NULL || (id = strchr(id + 1, ' ')) == NULL || (size = strchr(id + 1, ' ')) == NULL ||
        (tab = strchr(size, '\t')) == NULL || size - (id + 1) != COMMIT_TEXT - 1)
        return false;
    memcpy(entry->id, id + 1, COMMIT_TEXT - 1);
    entry->id[COMMIT_TEXT - 1] = '\0';
    entry->path = tab + 1;
    entry->size = strtoul(size, &end, 10); /* "-" for what is no file: refused by its mode */
    return true;
}

static int check_entry(const struct entry *entry, const char *previous, size_t *total,
                       struct err *err)
{
    int rc = refuse_path(entry->path, err);

    if (rc == ERR_NONE)
        rc = refuse_mode(entry, err);
    if (rc != ERR_NONE)
        return rc;
    if (previous != NULL && strcmp(previous, entry->path) >= 0)
        return err_set(err, ERR_INVALID, "%s: twice in the commit, or out of order", entry->path);
    if (entry->size > DESIRED_FILE_MAX)
        return err_set(err, ERR_LIMIT, "%s: %zu bytes, more than %d; keep large files elsewhere",
                       entry->path, entry->size, DESIRED_FILE_MAX);
    *total += entry->size;
    if (*total > DESIRED_TREE_MAX)
        return err_set(err, ERR_LIMIT, "%s: with it the files of the commit exceed %d bytes",
                       entry->path, DESIRED_TREE_MAX);
    return ERR_NONE;
}

static int count_entries(const char *listing, size_t size, size_t *count, struct err *err)
{
    size_t found = 0;

    for (size_t at = 0; at < size; at += strlen(listing + at) + 1)
        found++;
    if (found > DESIRED_FILES_MAX)
        return err_set(err, ERR_LIMIT, "the commit has %zu files, more than %d", found,
                       DESIRED_FILES_MAX);
    *count = found;
    return ERR_NONE;
}

/* Fills in paths and sizes, and the ids as cat-file reads them, one a line. */
static int read_listing(struct git_tree *tree, char *ids, size_t *total, struct err *err)
{
    char *line = tree->listing;

    *total = 0;
    for (size_t i = 0; i < tree->count; i++) {
        size_t length = strlen(line);
        struct entry entry;
        int rc;

        if (!split_entry(line, &entry))
            return err_set(err, ERR_IO,
                           "cannot read the commit's files: git's listing is not as "
                           "expected");
        rc = check_entry(&entry, i > 0 ? tree->files[i - 1].path : NULL, total, err);
        if (rc != ERR_NONE)
            return rc;
        tree->files[i] = (struct desired_file){.path = entry.path, .size = entry.size};
        memcpy(ids + i * COMMIT_TEXT, entry.id, COMMIT_TEXT - 1);
        ids[i * COMMIT_TEXT + COMMIT_TEXT - 1] = '\n';
        line += length + 1;
    }
    return ERR_NONE;
}

/* Finds each file's data in what cat-file printed. */
static int place_content(struct git_tree *tree, size_t size, const char *ids, struct err *err)
{
    const char *at = tree->content;
    const char *end = tree->content + size;

    for (size_t i = 0; i < tree->count; i++) {
        char header[FRAME_MAX];
        int length = snprintf(header, sizeof header, "%.*s blob %zu\n", COMMIT_TEXT - 1,
                              ids + i * COMMIT_TEXT, tree->files[i].size);

        if (length < 0 || (size_t)(end - at) < (size_t)length + tree->files[i].size + 1 ||
            memcmp(at, header, (size_t)length) != 0)
            return err_set(err, ERR_IO, "%s: its content cannot be read; the repository is damaged",
                           tree->files[i].path);
        tree->files[i].data = at + length;
        at += (size_t)length + tree->files[i].size + 1;
    }
    return ERR_NONE;
}

static int read_content(const struct git_repo *repo, struct git_tree *tree, const char *ids,
                        size_t total, struct err *err)
{
    struct git_call call = {.args = {"cat-file", "--batch", "--buffer"},
                            .input = ids,
                            .input_size = tree->count * COMMIT_TEXT,
                            .output_max = total + tree->count * FRAME_MAX};
    struct child_result result;
    int rc;

    if (tree->count == 0)
        return ERR_NONE;
    rc = git_run(repo, &call, &result, err);
    if (rc != ERR_NONE)
        return rc;
    if (result.status != 0) {
        rc = git_failed(&result, ERR_IO, err, "read the commit's files");
        child_result_free(&result);
        return rc;
    }
    tree->content = result.output;
    return place_content(tree, result.output_size, ids, err);
}

static int list_files(const struct git_repo *repo, const char *commit, struct child_result *result,
                      struct err *err)
{
    struct git_call call = {.args = {"ls-tree", "-r", "-z", "-l", "--full-tree", commit},
                            .output_max = LISTING_MAX};
    int rc = git_check_commit(commit, err);

    if (rc == ERR_NONE)
        rc = git_run(repo, &call, result, err);
    if (rc == ERR_LIMIT)
        return err_set(err, ERR_LIMIT, "the commit has more than %d files, or very long paths",
                       DESIRED_FILES_MAX);
    if (rc == ERR_NONE && result->status != 0) {
        rc = git_or_missing(repo, commit, NULL,
                            git_failed(result, ERR_IO, err, "list the commit's files"), err);
        child_result_free(result);
    }
    return rc;
}

int git_read_tree(const struct git_repo *repo, const char *commit, struct git_tree **tree,
                  struct err *err)
{
    struct child_result listing;
    struct git_tree *found;
    size_t count = 0, total = 0;
    char *ids;
    int rc = list_files(repo, commit, &listing, err);

    if (rc != ERR_NONE)
        return rc;
    rc = count_entries(listing.output, listing.output_size, &count, err);
    if (rc != ERR_NONE)
        goto err_after_listing;
    found = calloc(1, sizeof *found + count * sizeof found->files[0]);
    ids = malloc(count * COMMIT_TEXT + 1);
    if (found == NULL || ids == NULL) {
        rc = err_set(err, ERR_NOMEM, "cannot read the commit's files: out of memory");
        free(found);
        free(ids);
        goto err_after_listing;
    }
    found->listing = listing.output;
    found->count = count;
    rc = read_listing(found, ids, &total, err);
    if (rc == ERR_NONE)
        rc = read_content(repo, found, ids, total, err);
    free(ids);
    if (rc == ERR_NONE)
        *tree = found;
    else
        git_tree_free(found);
    return rc;

err_after_listing:
    child_result_free(&listing);
    return rc;
}

const struct desired_file *git_tree_files(const struct git_tree *tree, size_t *count)
{
    *count = tree->count;
    return tree->files;
}

void git_tree_free(struct git_tree *tree)
{
    if (tree == NULL)
        return;
    free(tree->listing);
    free(tree->content);
    free(tree);
}
