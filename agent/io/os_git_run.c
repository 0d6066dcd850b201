#include "agent/io/os_git_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENV_MAX 16
#define ENV_TEXT_MAX 4200

/* What Git hands to a pre-receive hook so that it sees the objects that were pushed. */
static const char *const quarantine[] = {"GIT_QUARANTINE_PATH", "GIT_OBJECT_DIRECTORY",
                                         "GIT_ALTERNATE_OBJECT_DIRECTORIES"};
#define QUARANTINE (sizeof quarantine / sizeof quarantine[0])

struct environment {
    const char *list[ENV_MAX];
    char inherited[QUARANTINE][ENV_TEXT_MAX];
};

static int make_environment(const struct git_repo *repo, struct environment *env, struct err *err)
{
    static const char *const fixed[] = {
        ("PATH=" CHILD_PATH),    "LC_ALL=C.UTF-8", /* messages that this code may compare */
        "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1",    "GIT_CONFIG_GLOBAL=/dev/null",
        "GIT_ATTR_NOSYSTEM=1",   "GIT_NO_REPLACE_OBJECTS=1", /* refs/replace would show other
                                                                content than was checked */
        "GIT_OPTIONAL_LOCKS=0",
    };
    size_t used = 0;

    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        env->list[used++] = fixed[i];
    for (size_t i = 0; i < QUARANTINE && repo->in_hook; i++) {
        const char *value = getenv(quarantine[i]);
        int n;

        if (value == NULL)
            continue;
        n = snprintf(env->inherited[i], ENV_TEXT_MAX, "%s=%s", quarantine[i], value);
        if (n < 0 || n >= ENV_TEXT_MAX)
            return err_set(err, ERR_LIMIT, "%s is too long", quarantine[i]);
        env->list[used++] = env->inherited[i];
    }
    env->list[used] = NULL;
    return ERR_NONE;
}

int git_run(const struct git_repo *repo, const struct git_call *call, struct child_result *result,
            struct err *err)
{
    const char *argv[GIT_ARGS_MAX + 3] = {"git"};
    struct environment env;
    struct child_spec spec = {
        .argv = argv,
        .env = env.list,
        .set_ids = repo->set_ids,
        .uid = repo->uid,
        .gid = repo->gid,
        .input = call->input,
        .input_size = call->input_size,
        .output_max = call->output_max != 0 ? call->output_max : GIT_SMALL_OUTPUT,
        .timeout_ms = call->timeout_ms != 0 ? call->timeout_ms : GIT_TIMEOUT_MS};
    char git_dir[DESIRED_PATH_MAX + 32];
    size_t used = 1;
    int rc;

    if (strlen(repo->path) >= DESIRED_PATH_MAX)
        return err_set(err, ERR_LIMIT, "the path of the repository is longer than %d bytes",
                       DESIRED_PATH_MAX - 1);
    snprintf(git_dir, sizeof git_dir, "--git-dir=%s", repo->path);
    if (!call->no_repository)
        argv[used++] = git_dir;
    for (size_t i = 0; i < GIT_ARGS_MAX && call->args[i] != NULL; i++)
        argv[used++] = call->args[i];
    argv[used] = NULL;
    rc = make_environment(repo, &env, err);
    if (rc != ERR_NONE)
        return rc;
    rc = child_run(&spec, result, err);
    if (rc == ERR_NOTFOUND)
        return err_set(err, ERR_IO, "git is not installed; install the package git");
    return rc;
}

int git_failed(const struct child_result *result, int code, struct err *err, const char *what)
{
    if (strstr(result->errors, "No space left on device") != NULL)
        code = ERR_NOSPACE;
    return child_failed(result, code, err, what);
}

int git_do(const struct git_repo *repo, const struct git_call *call, int code, struct err *err,
           const char *what)
{
    struct child_result result;
    int rc = git_run(repo, call, &result, err);

    if (rc != ERR_NONE) {
        err_wrap(err, "%s", what);
        return rc;
    }
    if (result.status != 0)
        rc = git_failed(&result, code, err, what);
    child_result_free(&result);
    return rc;
}

int git_check_commit(const char *commit, struct err *err)
{
    if (strnlen(commit, COMMIT_TEXT) == COMMIT_TEXT - 1 &&
        strspn(commit, "0123456789abcdef") == COMMIT_TEXT - 1)
        return ERR_NONE;
    return err_set(err, ERR_INVALID, "\"%.60s\" is not a commit id of 40 hexadecimal digits",
                   commit);
}

int git_check_branch(const struct git_repo *repo, struct err *err)
{
    const char *name = repo->branch;
    size_t length = strlen(name);

    if (length > 0 && length < GIT_BRANCH_MAX && strchr("-./", name[0]) == NULL &&
        strchr("./", name[length - 1]) == NULL && strstr(name, "..") == NULL &&
        strstr(name, "//") == NULL && strstr(name, "/.") == NULL && strstr(name, ".lock") == NULL &&
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/") ==
            length)
        return ERR_NONE;
    return err_set(err, ERR_INVALID,
                   "\"%.64s\" is no name of a branch: letters, digits, \".\", \"_\", \"-\", \"/\"",
                   name);
}

int git_or_missing(const struct git_repo *repo, const char *a, const char *b, int code,
                   struct err *err)
{
    const char *const commits[] = {a, b};

    for (int i = 0; i < 2; i++) {
        struct err why;

        if (commits[i] != NULL && git_commit_exists(repo, commits[i], &why) == ERR_NOTFOUND)
            return err_set(err, ERR_NOTFOUND, "%s", why.text);
    }
    return code;
}
