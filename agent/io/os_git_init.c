/* The bare repository: its folder, settings and hooks. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/io/os_git_run.h"

#define SCRIPT_MAX 4096
#define CONFIG_MAX (64 * 1024)

static const struct {
    const char *name, *value;
} settings[] = {
    {"receive.denyNonFastForwards", "true"},
    {"receive.denyDeletes", "true"},
    {"receive.fsckObjects", "true"},
    {"receive.maxInputSize", "67108864"}, /* GIT_PUSH_MAX */
    /* A push stays one pack: fewer writes to flash than an object each, and synced as a whole. */
    {"receive.unpackLimit", "1"},
    {"core.fsync", "committed"},
    /* Memory of a small Pi. */
    {"pack.threads", "1"},
    {"pack.windowMemory", "16m"},
};

_Static_assert(GIT_PUSH_MAX == 67108864, "receive.maxInputSize says the same");

/* Whether git's listing ("name\nvalue\0" each, names in lower case) has the setting. */
static bool has_setting(const struct child_result *listing, const char *name, const char *value)
{
    const char *at = listing->output;
    const char *end = listing->output + listing->output_size;
    bool found = false;

    for (; at < end; at += strlen(at) + 1) {
        size_t length = strcspn(at, "\n");

        if (length == strlen(name) && strncasecmp(at, name, length) == 0)
            found = at[length] == '\n' && strcmp(at + length + 1, value) == 0; /* the last counts */
    }
    return found;
}

static int list_settings(const struct git_repo *repo, struct child_result *listing, struct err *err)
{
    struct git_call call = {.args = {"config", "--local", "--list", "-z"},
                            .output_max = CONFIG_MAX};

    return git_run(repo, &call, listing, err);
}

static int make_folder(const struct git_repo *repo, struct err *err)
{
    struct stat st;

    if (mkdir(repo->path, 0750) != 0) {
        if (errno != EEXIST)
            return err_errno(err, ERR_IO, errno, "cannot create the repository %s", repo->path);
        if (stat(repo->path, &st) != 0 || !S_ISDIR(st.st_mode))
            return err_set(err, ERR_IO, "cannot create the repository: %s is not a folder",
                           repo->path);
        return ERR_NONE;
    }
    if (repo->set_ids && lchown(repo->path, repo->uid, repo->gid) != 0)
        return err_errno(err, ERR_IO, errno, "cannot give %s to its user", repo->path);
    return ERR_NONE;
}

static int create(const struct git_repo *repo, struct err *err)
{
    char branch[GIT_BRANCH_MAX + 32];
    struct git_call call = {
        .args = {"init", "--bare", "--quiet", "--template=", branch, "--", repo->path},
        .no_repository = true};
    int rc = make_folder(repo, err);

    if (rc != ERR_NONE)
        return rc;
    snprintf(branch, sizeof branch, "--initial-branch=%s", repo->branch);
    return git_do(repo, &call, ERR_IO, err, "create the repository");
}

static int apply_settings(const struct git_repo *repo, const struct child_result *listing,
                          struct err *err)
{
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        struct git_call call = {
            .args = {"config", "--local", "--replace-all", settings[i].name, settings[i].value}};
        int rc = has_setting(listing, settings[i].name, settings[i].value)
                     ? ERR_NONE
                     : git_do(repo, &call, ERR_IO, err, "configure the repository");

        if (rc != ERR_NONE)
            return rc;
    }
    return ERR_NONE;
}

/* HEAD names the flock's branch, so that a clone checks it out. */
static int apply_head(const struct git_repo *repo, struct err *err)
{
    static const char what[] = "set the repository's HEAD";
    char ref[GIT_BRANCH_MAX + 16], expected[GIT_BRANCH_MAX + 17];
    struct git_call read = {.args = {"symbolic-ref", "-q", "HEAD"}};
    struct git_call write = {.args = {"symbolic-ref", "HEAD", ref}};
    struct child_result result;
    bool same;
    int rc;

    snprintf(ref, sizeof ref, "refs/heads/%s", repo->branch);
    snprintf(expected, sizeof expected, "%s\n", ref);
    rc = git_run(repo, &read, &result, err);
    if (rc != ERR_NONE)
        return rc;
    same = result.status == 0 && strcmp(result.output, expected) == 0;
    child_result_free(&result);
    return same ? ERR_NONE : git_do(repo, &write, ERR_IO, err, what);
}

/* Appends @text in single quotes for sh. False if there is no room. */
static bool append_quoted(char *script, size_t *used, const char *text)
{
    bool fits = true;

    for (const char *p = text; fits; p++) {
        const char *piece = p == text ? "'" : "";
        int n = *p == '\0'   ? snprintf(script + *used, SCRIPT_MAX - *used, "%s'", piece)
                : *p == '\'' ? snprintf(script + *used, SCRIPT_MAX - *used, "%s'\\''", piece)
                             : snprintf(script + *used, SCRIPT_MAX - *used, "%s%c", piece, *p);

        fits = n > 0 && (size_t)n < SCRIPT_MAX - *used;
        if (fits)
            *used += (size_t)n;
        if (*p == '\0')
            break;
    }
    return fits;
}

static int write_script(const struct git_hooks *hooks, const char *name, char script[SCRIPT_MAX],
                        struct err *err)
{
    size_t used = (size_t)snprintf(script, SCRIPT_MAX,
                                   "#!/bin/sh\n"
                                   "# Written by agentd when it starts: changes are lost.\n"
                                   "exec ");
    bool fits = append_quoted(script, &used, hooks->agentctl);
    int n = fits ? snprintf(script + used, SCRIPT_MAX - used, " hook %s --socket ", name) : -1;

    if (n > 0 && (size_t)n < SCRIPT_MAX - used) {
        used += (size_t)n;
        fits = append_quoted(script, &used, hooks->socket) && used + 1 < SCRIPT_MAX;
    } else {
        fits = false;
    }
    if (!fits)
        return err_set(err, ERR_LIMIT, "cannot write the hook %s: paths are too long", name);
    memcpy(script + used, "\n", 2);
    return ERR_NONE;
}

static bool file_holds(int folder, const char *name, const char *text)
{
    char now[SCRIPT_MAX];
    struct stat st;
    ssize_t n;
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return false;
    n = read(fd, now, sizeof now);
    if (fstat(fd, &st) != 0 || (st.st_mode & 0777) != 0755)
        n = -1;
    close(fd);
    return n == (ssize_t)strlen(text) && memcmp(now, text, (size_t)n) == 0;
}

/* Writes under another name and renames: a push that comes meanwhile finds a whole script. Links
 * are not followed: the folder may belong to a user with fewer rights than this process. */
static int put_script(int folder, const char *name, const char *text, struct err *err)
{
    static const char what[] = "cannot write the hook";
    char temporary[64];
    size_t length = strlen(text);
    int rc = ERR_NONE;
    int fd;

    if (file_holds(folder, name, text))
        return ERR_NONE;
    snprintf(temporary, sizeof temporary, ".%s.new", name);
    (void)unlinkat(folder, temporary, 0);
    fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0700);
    if (fd < 0)
        return err_errno(err, ERR_IO, errno, "%s %s", what, name);
    errno = EIO; /* for a write that is cut short without a word */
    if (write(fd, text, length) != (ssize_t)length || fchmod(fd, 0755) != 0 || fsync(fd) != 0)
        rc = err_errno(err, ERR_IO, errno, "%s %s", what, name);
    close(fd);
    if (rc == ERR_NONE && renameat(folder, temporary, folder, name) != 0)
        rc = err_errno(err, ERR_IO, errno, "%s %s", what, name);
    if (rc != ERR_NONE)
        (void)unlinkat(folder, temporary, 0);
    return rc;
}

static int apply_hooks(const struct git_repo *repo, const struct git_hooks *hooks, struct err *err)
{
    static const char *const names[] = {"pre-receive", "post-receive"};
    char script[SCRIPT_MAX];
    int rc = ERR_NONE;
    int base, folder;

    base = open(repo->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (base < 0)
        return err_errno(err, ERR_IO, errno, "cannot open %s", repo->path);
    if (mkdirat(base, "hooks", 0755) != 0 && errno != EEXIST) {
        rc = err_errno(err, ERR_IO, errno, "cannot create %s/hooks", repo->path);
        goto err_after_base;
    }
    folder = openat(base, "hooks", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (folder < 0) {
        rc = err_errno(err, ERR_IO, errno, "cannot open %s/hooks", repo->path);
        goto err_after_base;
    }
    for (size_t i = 0; i < 2 && rc == ERR_NONE; i++) {
        rc = write_script(hooks, names[i], script, err);
        if (rc == ERR_NONE)
            rc = put_script(folder, names[i], script, err);
    }
    close(folder);
err_after_base:
    close(base);
    return rc;
}

int git_init_bare(const struct git_repo *repo, const struct git_hooks *hooks, struct err *err)
{
    struct child_result listing;
    int rc = git_check_branch(repo, err);

    if (rc == ERR_NONE)
        rc = list_settings(repo, &listing, err);
    if (rc != ERR_NONE)
        return rc;
    if (listing.status != 0) { /* no repository, or one that was not finished */
        child_result_free(&listing);
        rc = create(repo, err);
        if (rc == ERR_NONE)
            rc = list_settings(repo, &listing, err);
        if (rc != ERR_NONE)
            return rc;
    }
    if (listing.status != 0)
        rc = git_failed(&listing, ERR_IO, err, "read the repository's settings");
    if (rc == ERR_NONE)
        rc = apply_settings(repo, &listing, err);
    child_result_free(&listing);
    if (rc == ERR_NONE)
        rc = apply_head(repo, err);
    if (rc == ERR_NONE && hooks != NULL)
        rc = apply_hooks(repo, hooks, err);
    return rc;
}
