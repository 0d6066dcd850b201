#include "agent/io/os_git_frozen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct git_mixed {
    struct desired_file *files;
    size_t count;
    struct git_tree **trees; /* the commit's, then those of frozen apps; NULL where there is none */
    size_t tree_count;
};

static bool in_app(const char *path, const char *app)
{
    size_t len = strlen(app);

    return strncmp(path, "apps/", 5) == 0 && strncmp(path + 5, app, len) == 0 &&
           path[5 + len] == '/';
}

/* Which of @frozen has the file; @count: none of them. */
static size_t owner_of(const char *path, const struct git_frozen *frozen, size_t count)
{
    size_t i = 0;

    while (i < count && !in_app(path, frozen[i].app))
        i++;
    return i;
}

/* Of the commit all that is of no frozen app, of the frozen apps their own. */
static int collect(struct git_mixed *mixed, const struct git_frozen *frozen, size_t count)
{
    size_t room = 0, n;

    for (size_t t = 0; t < mixed->tree_count; t++)
        if (mixed->trees[t] != NULL) {
            (void)git_tree_files(mixed->trees[t], &n);
            room += n;
        }
    mixed->files = calloc(room + 1, sizeof *mixed->files);
    if (mixed->files == NULL)
        return ERR_NOMEM;
    for (size_t t = 0; t < mixed->tree_count; t++) {
        const struct desired_file *files =
            mixed->trees[t] != NULL ? git_tree_files(mixed->trees[t], &n) : NULL;
        for (size_t i = 0; files != NULL && i < n; i++) {
            size_t owner = owner_of(files[i].path, frozen, count);
            bool of_commit = owner == count || mixed->trees[owner + 1] == NULL;
            if (t == 0 ? of_commit : owner == t - 1)
                mixed->files[mixed->count++] = files[i];
        }
    }
    return ERR_NONE;
}

/* Only what was accepted before the commit itself: which commit an app stays at is another node's
 * word. */
static bool continued_by(const struct git_repo *repo, const char *old, const char *commit)
{
    bool yes = false;

    return old[0] != '\0' && strcmp(old, commit) != 0 &&
           git_is_ancestor(repo, old, commit, &yes, NULL) == ERR_NONE && yes;
}

int git_mixed_read(const struct git_repo *repo, const char *commit, const struct git_frozen *frozen,
                   size_t count, struct git_mixed **out, struct err *err)
{
    struct git_mixed *mixed = calloc(1, sizeof *mixed);
    int rc;

    if (mixed == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    mixed->tree_count = count + 1;
    mixed->trees = calloc(mixed->tree_count, sizeof *mixed->trees);
    if (mixed->trees == NULL) {
        rc = err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
        goto err_after_mixed;
    }
    rc = git_read_tree(repo, commit, &mixed->trees[0], err);
    if (rc != ERR_NONE)
        goto err_after_mixed;
    for (size_t i = 0; i < count; i++)
        if (continued_by(repo, frozen[i].commit, commit) &&
            git_read_tree(repo, frozen[i].commit, &mixed->trees[i + 1], NULL) != ERR_NONE)
            mixed->trees[i + 1] = NULL;
    if (collect(mixed, frozen, count) != ERR_NONE) {
        rc = err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
        goto err_after_mixed;
    }
    *out = mixed;
    return ERR_NONE;

err_after_mixed:
    git_mixed_free(mixed);
    return rc;
}

const struct desired_file *git_mixed_files(const struct git_mixed *mixed, size_t *count)
{
    *count = mixed->count;
    return mixed->files;
}

void git_mixed_free(struct git_mixed *mixed)
{
    if (mixed == NULL)
        return;
    for (size_t t = 0; mixed->trees != NULL && t < mixed->tree_count; t++)
        git_tree_free(mixed->trees[t]);
    free(mixed->trees);
    free(mixed->files);
    free(mixed);
}
