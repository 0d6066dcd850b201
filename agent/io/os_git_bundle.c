/* Commits from agent to agent: Git's bundle format, version 2 (gitformat-bundle(5)). The header is
 * a few lines of text and the rest a pack, so git only packs and unpacks: its own `bundle` command
 * names no commit without a branch, and reads from files alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/io/os_git_run.h"

static const char signature[] = "# v2 git bundle\n";

#define HEADER_LINES_MAX 16
#define HEADER_MAX 512 /* bytes of a header that is written here */

static int pack(const struct git_repo *repo, const char *have, const char *want, size_t max,
                struct child_result *result, struct err *err)
{
    static const char what[] = "pack commits";
    char revisions[2 * COMMIT_TEXT + 2];
    struct git_call call = {.args = {"-c", "pack.threads=1", "-c", "pack.windowMemory=16m",
                                     "pack-objects", "--revs", "--thin", "--stdout", "-q",
                                     "--delta-base-offset"},
                            .input = revisions,
                            .output_max = max};
    int n = snprintf(revisions, sizeof revisions, "%s\n%s%s%s", want, have != NULL ? "^" : "",
                     have != NULL ? have : "", have != NULL ? "\n" : "");
    int rc;

    call.input_size = (size_t)n;
    rc = git_run(repo, &call, result, err);
    if (rc == ERR_NONE && result->status != 0) {
        rc = git_failed(result, ERR_IO, err, what);
        child_result_free(result);
    }
    return rc;
}

/* What is to be sent: @have becomes NULL where it is unknown here. */
static int check_request(const struct git_repo *repo, const char **have, const char *want,
                         struct err *err)
{
    char head[COMMIT_TEXT];
    bool yes = false;
    int rc = git_check_commit(want, err);

    if (rc == ERR_NONE && *have != NULL)
        rc = git_check_commit(*have, err);
    if (rc == ERR_NONE)
        rc = git_head(repo, head, err);
    if (rc == ERR_NONE)
        rc = git_is_ancestor(repo, want, head, &yes, err);
    if (rc != ERR_NONE)
        return rc;
    if (!yes)
        return err_set(err, ERR_NOTFOUND, "commit %s is not in branch %s", want, repo->branch);
    if (*have == NULL)
        return ERR_NONE;
    rc = git_is_ancestor(repo, want, *have, &yes, err);
    if (rc == ERR_NOTFOUND) {
        *have = NULL;
        return ERR_NONE;
    }
    if (rc == ERR_NONE && yes)
        return err_set(err, ERR_EXISTS, "commit %s holds %s already", *have, want);
    return rc;
}

int git_bundle_create(const struct git_repo *repo, const char *have, const char *want, size_t max,
                      char **bundle, size_t *size, struct err *err)
{
    char header[HEADER_MAX];
    struct child_result packed;
    const char *base = have == NULL || have[0] == '\0' ? NULL : have;
    size_t length;
    char *data;
    int n;
    int rc = check_request(repo, &base, want, err);

    if (rc != ERR_NONE)
        return rc;
    n = snprintf(header, sizeof header, "%s%s%s%s%s refs/heads/%s\n\n", signature,
                 base != NULL ? "-" : "", base != NULL ? base : "", base != NULL ? "\n" : "", want,
                 repo->branch);
    length = (size_t)n;
    if (max <= length)
        return err_set(err, ERR_LIMIT, "a bundle needs more than %zu bytes", max);
    rc = pack(repo, base, want, max - length, &packed, err);
    if (rc == ERR_LIMIT)
        return err_set(err, ERR_LIMIT, "a bundle of the commits up to %s exceeds %zu bytes", want,
                       max);
    if (rc != ERR_NONE)
        return rc;
    data = realloc(packed.output, length + packed.output_size);
    if (data == NULL) {
        child_result_free(&packed);
        return err_set(err, ERR_NOMEM, "cannot make a bundle: out of memory");
    }
    memmove(data + length, data, packed.output_size);
    memcpy(data, header, length);
    *bundle = data;
    *size = length + packed.output_size;
    return ERR_NONE;
}

/* The header's end: where the pack begins. Prerequisites must be here, @expect must be named. */
static int read_header(const struct git_repo *repo, const char *bundle, size_t size,
                       const char *expect, size_t *pack_at, struct err *err)
{
    size_t at = sizeof signature - 1;
    bool named = false;

    if (size < at || memcmp(bundle, signature, at) != 0)
        return err_set(err, ERR_INVALID, "not a Git bundle of version 2");
    for (int lines = 0; lines < HEADER_LINES_MAX; lines++) {
        const char *line = bundle + at;
        const char *end = memchr(line, '\n', size - at);
        char id[COMMIT_TEXT];
        bool prerequisite;

        if (end == NULL)
            return err_set(err, ERR_INVALID, "the bundle ends within its header");
        at += (size_t)(end - line) + 1;
        if (end == line) {
            *pack_at = at;
            return named
                       ? ERR_NONE
                       : err_set(err, ERR_INVALID, "the bundle does not lead to commit %s", expect);
        }
        prerequisite = *line == '-';
        line += prerequisite;
        snprintf(id, sizeof id, "%.*s", (int)(end - line), line);
        if (git_check_commit(id, err) != ERR_NONE) {
            err_wrap(err, "the bundle's header");
            return ERR_INVALID;
        }
        if (prerequisite) {
            int rc = git_commit_exists(repo, id, err);
            if (rc == ERR_NOTFOUND)
                return err_set(err, ERR_CONFLICT,
                               "the bundle builds on commit %s, which is not here", id);
            if (rc != ERR_NONE)
                return rc;
        } else {
            named = named || strcmp(id, expect) == 0;
        }
    }
    return err_set(err, ERR_INVALID, "the bundle's header has more than %d lines",
                   HEADER_LINES_MAX);
}

static int unpack(const struct git_repo *repo, const char *data, size_t size, struct err *err)
{
    struct git_call call = {
        .args = {"index-pack", "--stdin", "--fix-thin", "--strict", "--threads=1"},
        .input = data,
        .input_size = size};

    return git_do(repo, &call, ERR_INVALID, err, "unpack the bundle");
}

/* All that @commit needs is here. What hangs on a branch already is known to be whole. */
static int check_whole(const struct git_repo *repo, const char *commit, struct err *err)
{
    struct git_call call = {.args = {"rev-list", "--objects", "--quiet", commit, "--not", "--all"}};

    return git_do(repo, &call, ERR_INVALID, err, "check that the bundle is complete");
}

int git_bundle_apply(const struct git_repo *repo, const char *bundle, size_t size,
                     const char *expect, struct err *err)
{
    size_t pack_at = 0;
    int rc = git_check_commit(expect, err);

    if (rc == ERR_NONE && size > GIT_BUNDLE_MAX)
        rc =
            err_set(err, ERR_LIMIT, "the bundle has %zu bytes, more than %d", size, GIT_BUNDLE_MAX);
    if (rc == ERR_NONE)
        rc = read_header(repo, bundle, size, expect, &pack_at, err);
    if (rc == ERR_NONE)
        rc = unpack(repo, bundle + pack_at, size - pack_at, err);
    if (rc == ERR_NONE) {
        rc = git_commit_exists(repo, expect, err);
        if (rc == ERR_NOTFOUND)
            rc = err_set(err, ERR_INVALID, "the bundle does not hold commit %s", expect);
    }
    if (rc == ERR_NONE)
        rc = check_whole(repo, expect, err);
    return rc;
}
