/* The flock's repository, by the git program.
 *
 * Every call runs git one or more times, waits for it (GIT_TIMEOUT_MS at most for each) and never
 * asks anybody anything. Neither the system's nor the user's Git configuration is read. Called from
 * a worker thread or from a command-line tool.
 *
 * Errors of every call, besides those named: ERR_IO (git failed; its words are in @err; the
 * repository may be gone or damaged), ERR_TIMEOUT, ERR_NOSPACE, ERR_NOMEM, and ERR_INVALID for a
 * commit id that is not 40 hexadecimal digits or a branch that is no plain name. Outputs are
 * untouched on failure. */
#ifndef COVEY_IO_OS_GIT_H
#define COVEY_IO_OS_GIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/desired/desired.h"
#include "proto/base/err.h"
#include "proto/base/id.h"

#define GIT_TIMEOUT_MS 30000
#define GIT_PUSH_MAX (64 * 1024 * 1024) /* receive.maxInputSize: bytes of one push */
#define GIT_BUNDLE_MAX (64 * 1024 * 1024)
#define GIT_BRANCH_MAX 64    /* bytes of a branch's name, terminating zero included */
#define GIT_REVISION_MAX 128 /* bytes of what names a commit, terminating zero included */
#define GIT_SUBJECT_MAX 160  /* bytes, terminating zero included */
#define GIT_AUTHOR_MAX 96

struct git_repo {
    const char *path;   /* absolute path of the bare repository */
    const char *branch; /* the flock's branch: "main" */
    bool set_ids;       /* run git as @uid and @gid (the repository's owner); needs root */
    uid_t uid;
    gid_t gid;
    bool in_hook; /* called below pre-receive: pushed objects stand in Git's quarantine, which this
                     process has in its environment (GIT_QUARANTINE_PATH) and git is to see */
};

/* What the hooks run: "<agentctl> hook pre-receive --socket <socket>", and post-receive likewise,
 * in the repository's folder, with the lines that Git gives a hook on stdin. */
struct git_hooks {
    const char *agentctl; /* absolute path */
    const char *socket;
};

/* Creates the repository if it is not there (owned by uid and gid where set_ids), and brings its
 * settings and hooks to what Covey needs: no force-push, no deletion of a branch, objects checked
 * on arrival, bounded size. Writes nothing where all is so already. @hooks NULL: none are written.
 */
int git_init_bare(const struct git_repo *repo, const struct git_hooks *hooks, struct err *err);

/* The commit that the branch stands at. ERR_NOTFOUND while the branch has none. */
int git_head(const struct git_repo *repo, char commit[COMMIT_TEXT], struct err *err);

/* The commit that @revision names: an id or the beginning of one, a branch, "main~2".
 * Errors: ERR_NOTFOUND; ERR_INVALID for characters that no such name has. */
int git_resolve(const struct git_repo *repo, const char *revision, char commit[COMMIT_TEXT],
                struct err *err);

/* ERR_NONE if the repository has @commit, ERR_NOTFOUND if not. */
int git_commit_exists(const struct git_repo *repo, const char *commit, struct err *err);

/* Whether @ancestor is @commit or stands in its history. ERR_NOTFOUND if either is missing. */
int git_is_ancestor(const struct git_repo *repo, const char *ancestor, const char *commit,
                    bool *is_ancestor, struct err *err);

struct git_commit {
    char parent[COMMIT_TEXT]; /* the first one; "" for none */
    int64_t time;             /* Unix seconds, as the committer says */
    char author[GIT_AUTHOR_MAX];
    char canary[DESIRED_CANARY_MAX]; /* of its trailers "Canary: pi1, pi2"; "" for none */
    char subject[GIT_SUBJECT_MAX];   /* control characters replaced, cut where too long */
};

/* ERR_NOTFOUND if it is missing. */
int git_describe(const struct git_repo *repo, const char *commit, struct git_commit *info,
                 struct err *err);

/* ---- trust (os_git_trust.c) ---- */

/* The allowed signers, as ssh-keygen(1) has them: a file beside the repository, which no commit can
 * change. While it is there only commits that one of them signed are taken on. */
int git_signers_path(const struct git_repo *repo, char *path, size_t size); /* ERR_LIMIT */
bool git_is_strict(const struct git_repo *repo);

/* ERR_INVALID unless @commit has a valid SSH signature by an allowed signer, whose name goes to
 * @signer. */
int git_verify(const struct git_repo *repo, const char *commit, char signer[GIT_AUTHOR_MAX],
               struct err *err);

struct git_remote {
    const char *url; /* https, ssh or file */
    const char *branch;
    const char *key;         /* deploy key: path of a private SSH key; NULL: none */
    const char *ca_file;     /* path of certificates for https; NULL: the system's */
    const char *known_hosts; /* path; NULL: a host that is new is trusted once */
};

/* Brings the objects of the remote's branch here; no branch of this repository moves. Never asks
 * anybody; bounded in time. Errors: ERR_UNREACHABLE (git's words are in @err), ERR_NOTFOUND. */
int git_fetch_remote(const struct git_repo *repo, const struct git_remote *remote,
                     char commit[COMMIT_TEXT], struct err *err);

/* The text of a commit on top of @head that has the content of @to; unsigned. */
int git_revert_text(const struct git_repo *repo, const char *to, const char *head, int64_t now,
                    char *text, size_t size, struct err *err);

/* Stores a commit by its text. ERR_INVALID if it is none. */
int git_write_commit(const struct git_repo *repo, const char *text, size_t size,
                     char commit[COMMIT_TEXT], struct err *err);

struct git_tree; /* owns the files of a commit */

/* Reads all files of @commit. Refused with ERR_INVALID: symbolic links, submodules, paths with
 * control characters or "..". Refused with ERR_LIMIT: more than DESIRED_FILES_MAX files, a file of
 * more than DESIRED_FILE_MAX bytes, DESIRED_TREE_MAX together, paths of DESIRED_PATH_MAX. Sizes are
 * judged before any content is read. ERR_NOTFOUND if the commit is missing. */
int git_read_tree(const struct git_repo *repo, const char *commit, struct git_tree **tree,
                  struct err *err);

/* Sorted by path (bytewise); borrowed from @tree. */
const struct desired_file *git_tree_files(const struct git_tree *tree, size_t *count);
void git_tree_free(struct git_tree *tree); /* NULL is allowed */

/* A bundle (Git's format, version 2) that brings a repository which has @have to @want; @have "" or
 * NULL, or unknown here: the whole history. *@bundle is freed by free().
 * Errors: ERR_NOTFOUND (@want is not in the branch's history), ERR_EXISTS (@have holds @want
 * already), ERR_LIMIT (more than @max bytes). */
int git_bundle_create(const struct git_repo *repo, const char *have, const char *want, size_t max,
                      char **bundle, size_t *size, struct err *err);

/* Takes in the objects of a peer's bundle, which must lead to @expect: each is checked (fsck), and
 * all that @expect needs must be there afterwards. No branch moves; what is not taken on by
 * git_advance is dropped by git_tidy in time.
 * Errors: ERR_INVALID (no bundle, or of another commit, or broken objects), ERR_CONFLICT (builds
 * on commits that this repository does not have: ask again, with what it has), ERR_LIMIT. */
int git_bundle_apply(const struct git_repo *repo, const char *bundle, size_t size,
                     const char *expect, struct err *err);

/* Moves the branch from @old ("" or NULL: it does not exist yet) to @new, atomically; checking that
 * @new descends from @old is the caller's. Errors: ERR_CONFLICT (it does not stand at @old). */
int git_advance(const struct git_repo *repo, const char *old, const char *new, struct err *err);

/* Packs and drops what is old and unused, if there is enough of it (git gc --auto). */
int git_tidy(const struct git_repo *repo, struct err *err);

#endif
