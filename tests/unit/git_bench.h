/* Real repositories for tests of os_git: a person's clone and two Pis' bare ones. */
#ifndef COVEY_TESTS_GIT_BENCH_H
#define COVEY_TESTS_GIT_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/io/os_child.h"
#include "agent/io/os_git.h"

#define PATH_ROOM 256
#define HUGE_COMMIT "ffffffffffffffffffffffffffffffffffffffff"

/* A person's clone "work" and two Pis' repositories "one" and "two" in a folder of their own. */
struct bench {
    char root[64];
    char work[PATH_ROOM];
    char paths[2][PATH_ROOM];
    struct git_repo one, two;
};

/* Runs @script by sh in the clone, as a person would; its exit code. @said gets its stderr. */
static inline int person(const struct bench *bench, const char *script, char said[CHILD_ERRORS_MAX])
{
    char home[PATH_ROOM];
    const char *argv[] = {"sh", "-euc", script, NULL};
    const char *env[] = {"PATH=" CHILD_PATH,       home,
                         "GIT_AUTHOR_NAME=Ada",    "GIT_AUTHOR_EMAIL=ada@example.org",
                         "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org",
                         "GIT_CONFIG_NOSYSTEM=1",  NULL};
    struct child_spec spec = {
        .argv = argv, .env = env, .cwd = bench->work, .output_max = 65536, .timeout_ms = 60000};
    struct child_result result;
    struct err err = {0};
    int status;

    snprintf(home, sizeof home, "HOME=%s", bench->root);
    if (child_run(&spec, &result, &err) != ERR_NONE)
        fail_msg("%s: %s", script, err.text);
    status = result.status;
    if (said != NULL)
        memcpy(said, result.errors, CHILD_ERRORS_MAX);
    else if (status != 0)
        fail_msg("%s: exit code %d: %s", script, status, result.errors);
    child_result_free(&result);
    return status;
}

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != ERR_NONE)                                                                    \
            fail_msg("%s: %s", #call, err.text);                                                   \
    } while (0)

#define FAILS(call, expected, part)                                                                \
    do {                                                                                           \
        int code_ = (call);                                                                        \
        if (code_ != (expected) || strstr(err.text, part) == NULL)                                 \
            fail_msg("%s: %s \"%s\", not %s with \"%s\"", #call, err_name(code_), err.text,        \
                     err_name(expected), part);                                                    \
    } while (0)

static inline int set_up(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);

    if (bench == NULL)
        return -1;
    *state = bench;
    snprintf(bench->root, sizeof bench->root, "/tmp/covey-git-XXXXXX");
    if (mkdtemp(bench->root) == NULL)
        return -1;
    snprintf(bench->work, sizeof bench->work, "%s/work", bench->root);
    snprintf(bench->paths[0], PATH_ROOM, "%s/one.git", bench->root);
    snprintf(bench->paths[1], PATH_ROOM, "%s/two.git", bench->root);
    bench->one = (struct git_repo){.path = bench->paths[0], .branch = "main"};
    bench->two = (struct git_repo){.path = bench->paths[1], .branch = "main"};
    if (mkdir(bench->work, 0700) != 0)
        return -1;
    return person(bench, "git init -q -b main . && git remote add one ../one.git", NULL);
}

static inline int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline int tear_down(void **state)
{
    struct bench *bench = *state;
    int rc = nftw(bench->root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);

    free(bench);
    return rc;
}

/* A file of the clone with the text, committed and pushed to "one" as a first repository. */
static inline void push_first(const struct bench *bench)
{
    struct err err = {0};

    OK(git_init_bare(&bench->one, NULL, &err));
    person(bench,
           "mkdir -p apps/a && echo 'kind: Workload' >apps/a/a.yaml && echo x >cluster.yaml"
           " && git add . && git commit -qm 'first change' && git push -q one main",
           NULL);
}

static inline void bundle_of(const struct git_repo *repo, const char *have, const char *want,
                             char **bundle, size_t *size)
{
    struct err err = {0};

    OK(git_bundle_create(repo, have, want, GIT_BUNDLE_MAX, bundle, size, &err));
}

#endif
