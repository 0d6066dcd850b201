/* Questions about the repository, and the step of its branch. */
#include "agent/io/os_git.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/io/os_git_run.h"

#define REF_MAX (GIT_BRANCH_MAX + 16)
#define STALE_LOCK_S 15 /* git holds a branch's lock for milliseconds, at worst seconds */
#define TIDY_TIMEOUT_MS (10 * 60 * 1000)

/* @name leads to a commit, by git's rules; @missing is the error where there is none. */
static int look_up(const struct git_repo *repo, const char *name, const char *what,
                   const char *missing, char commit[COMMIT_TEXT], struct err *err)
{
    struct git_call call = {.args = {"rev-parse", "--verify", "--quiet", "--end-of-options", name}};
    struct child_result result;
    int rc = git_run(repo, &call, &result, err);

    if (rc != ERR_NONE)
        return rc;
    if (result.status == 1 && result.output_size == 0)
        rc = err_set(err, ERR_NOTFOUND, "%s", missing);
    else if (result.status != 0)
        rc = git_failed(&result, ERR_IO, err, what);
    else if (result.output_size != COMMIT_TEXT || result.output[COMMIT_TEXT - 1] != '\n')
        rc = err_set(err, ERR_IO, "cannot %s: git's answer is no commit id", what);
    if (rc == ERR_NONE) {
        result.output[COMMIT_TEXT - 1] = '\0';
        memcpy(commit, result.output, COMMIT_TEXT);
    }
    child_result_free(&result);
    return rc;
}

int git_head(const struct git_repo *repo, char commit[COMMIT_TEXT], struct err *err)
{
    char name[REF_MAX + 16], missing[ERR_TEXT_MAX];
    int rc = git_check_branch(repo, err);

    if (rc != ERR_NONE)
        return rc;
    snprintf(name, sizeof name, "refs/heads/%s^{commit}", repo->branch);
    snprintf(missing, sizeof missing, "branch %s of %.200s has no commit yet", repo->branch,
             repo->path);
    return look_up(repo, name, "look up the branch", missing, commit, err);
}

int git_resolve(const struct git_repo *repo, const char *revision, char commit[COMMIT_TEXT],
                struct err *err)
{
    char name[GIT_REVISION_MAX + 16], missing[ERR_TEXT_MAX];

    if (revision[0] == '\0' || revision[0] == '-' || strlen(revision) >= GIT_REVISION_MAX ||
        strspn(revision, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-~^") !=
            strlen(revision))
        return err_set(err, ERR_INVALID, "\"%.64s\" names no commit", revision);
    snprintf(name, sizeof name, "%s^{commit}", revision);
    snprintf(missing, sizeof missing, "the repository has no commit %s. See agentctl history",
             revision);
    return look_up(repo, name, "look up a commit", missing, commit, err);
}

int git_commit_exists(const struct git_repo *repo, const char *commit, struct err *err)
{
    char line[COMMIT_TEXT + 1], expected[COMMIT_TEXT + 16];
    struct git_call call = {.args = {"cat-file", "--batch-check=%(objectname) %(objecttype)"},
                            .input = line,
                            .input_size = COMMIT_TEXT};
    struct child_result result;
    int rc = git_check_commit(commit, err);

    if (rc != ERR_NONE)
        return rc;
    snprintf(line, sizeof line, "%s\n", commit);
    snprintf(expected, sizeof expected, "%s commit\n", commit);
    rc = git_run(repo, &call, &result, err);
    if (rc != ERR_NONE)
        return rc;
    if (result.status != 0)
        rc = git_failed(&result, ERR_IO, err, "look for a commit");
    else if (strcmp(result.output, expected) != 0)
        rc = err_set(err, ERR_NOTFOUND, "%s has no commit %s", repo->path, commit);
    child_result_free(&result);
    return rc;
}

int git_is_ancestor(const struct git_repo *repo, const char *ancestor, const char *commit,
                    bool *is_ancestor, struct err *err)
{
    struct git_call call = {.args = {"merge-base", "--is-ancestor", ancestor, commit}};
    struct child_result result;
    int rc = git_check_commit(ancestor, err);

    if (rc == ERR_NONE)
        rc = git_check_commit(commit, err);
    if (rc == ERR_NONE)
        rc = git_run(repo, &call, &result, err);
    if (rc != ERR_NONE)
        return rc;
    if (result.status == 0 || result.status == 1)
        *is_ancestor = result.status == 0;
    else
        rc = git_or_missing(repo, ancestor, commit,
                            git_failed(&result, ERR_IO, err, "compare two commits"), err);
    child_result_free(&result);
    return rc;
}

/* Copies a line without control characters, which would reach terminals and pages; cut at a whole
 * character where it is too long. Gives the beginning of the next line. */
static const char *take_line(const char *line, char *text, size_t size)
{
    size_t length = strcspn(line, "\n");
    size_t used = length < size ? length : size - 1;

    while (used < length && used > 0 && ((unsigned char)line[used] & 0xc0) == 0x80)
        used--;
    for (size_t i = 0; i < used; i++)
        text[i] = (unsigned char)line[i] < ' ' || line[i] == 127 ? ' ' : line[i];
    text[used] = '\0';
    return line[length] == '\n' ? line + length + 1 : line + length;
}

#define CANARY "%(trailers:key=Canary,valueonly,unfold,separator=%x2C)"

int git_describe(const struct git_repo *repo, const char *commit, struct git_commit *info,
                 struct err *err)
{
    struct git_call call = {.args = {"log", "-1", "--no-show-signature", "--encoding=UTF-8",
                                     "--format=%P%n%ct%n%an%n" CANARY "%n%s", commit, "--"},
                            .output_max = 256 * 1024};
    struct git_commit found = {0};
    struct child_result result;
    int rc = git_check_commit(commit, err);

    if (rc == ERR_NONE)
        rc = git_run(repo, &call, &result, err);
    if (rc != ERR_NONE)
        return rc;
    if (result.status != 0) {
        rc = git_or_missing(repo, commit, NULL,
                            git_failed(&result, ERR_IO, err, "describe a commit"), err);
    } else {
        char time_text[24];
        const char *at = take_line(result.output, found.parent, sizeof found.parent);

        at = take_line(at, time_text, sizeof time_text);
        found.time = strtoll(time_text, NULL, 10);
        at = take_line(at, found.author, sizeof found.author);
        at = take_line(at, found.canary, sizeof found.canary);
        (void)take_line(at, found.subject, sizeof found.subject);
        *info = found;
    }
    child_result_free(&result);
    return rc;
}

/* A git that was killed leaves the branch locked for ever. True if such a lock was removed. */
static bool remove_stale_lock(const struct git_repo *repo)
{
    char path[DESIRED_PATH_MAX + REF_MAX + 8];
    struct stat st;
    time_t now = time(NULL);

    snprintf(path, sizeof path, "%s/refs/heads/%s.lock", repo->path, repo->branch);
    if (lstat(path, &st) != 0)
        return false;
    /* From the future: the clock was set back since. */
    if (st.st_mtime <= now && now - st.st_mtime < STALE_LOCK_S)
        return false;
    return unlink(path) == 0;
}

/* Whether the branch stands at @old; what cannot be read does. */
static bool stands_at(const struct git_repo *repo, const char *old)
{
    char head[COMMIT_TEXT];
    int rc = git_head(repo, head, NULL);

    if (rc == ERR_NOTFOUND)
        return strcmp(old, GIT_ZERO_ID) == 0;
    return rc != ERR_NONE || strcmp(head, old) == 0;
}

int git_advance(const struct git_repo *repo, const char *old, const char *new, struct err *err)
{
    static const char what[] = "move branch";
    char ref[REF_MAX];
    const char *from = old == NULL || old[0] == '\0' ? GIT_ZERO_ID : old;
    struct git_call call = {.args = {"update-ref", "--no-deref", ref, new, from}};
    int rc = git_check_branch(repo, err);

    if (rc == ERR_NONE)
        rc = git_check_commit(from, err);
    if (rc == ERR_NONE)
        rc = git_check_commit(new, err);
    if (rc != ERR_NONE)
        return rc;
    snprintf(ref, sizeof ref, "refs/heads/%s", repo->branch);
    rc = git_do(repo, &call, ERR_IO, err, what);
    if (rc == ERR_IO && remove_stale_lock(repo))
        rc = git_do(repo, &call, ERR_IO, err, what);
    if (rc == ERR_IO && !stands_at(repo, from))
        rc = err_set(err, ERR_CONFLICT, "cannot %s %s: it does not stand at %s (any more)", what,
                     repo->branch, from);
    return rc;
}

int git_tidy(const struct git_repo *repo, struct err *err)
{
    struct git_call call = {.args = {"-c", "gc.autoDetach=false", "gc", "--auto", "--quiet"},
                            .timeout_ms = TIDY_TIMEOUT_MS};

    return git_do(repo, &call, ERR_IO, err, "tidy the repository");
}
