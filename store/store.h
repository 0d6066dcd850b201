/* What an agent remembers: one SQLite file, <dir>/covey.db.
 *
 * Every call blocks and may wait for the disk, so all calls for one store come from one thread at a
 * time (io/uv_worker.h has that thread). Nothing is written unless a call changes something: a
 * store at rest costs no flash. What survives a power cut is argued in docs/store.md; in short,
 * every call that changes something is durable when it returns ERR_NONE, save store_events_append,
 * whose last rows may be lost. A call either takes place as a whole or not at all.
 *
 * Errors of every call, besides those named: ERR_NOSPACE (the disk is full; nothing was changed),
 * ERR_CORRUPT (the file is damaged: call store_rebuild), ERR_IO, ERR_NOMEM, ERR_LIMIT (an argument
 * is longer than the limits below). Lists are one block, freed by free(); they are NULL and 0 when
 * empty. Outputs are untouched on failure. */
#ifndef COVEY_STORE_STORE_H
#define COVEY_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/id.h"

#define STORE_PATH_MAX 4096       /* bytes of the file's path, terminating zero included */
#define STORE_SET_ASIDE_MAX 3     /* damaged files that are kept; the oldest goes first */
#define STORE_HISTORY_MAX 256     /* commits remembered, applied and failed together */
#define STORE_OBJECTS_MAX 8192    /* objects of the applied commit */
#define STORE_OBJECT_TEXT_MAX 512 /* bytes of an object's kind, app, name or file */
#define STORE_PEERS_MAX FLOCK_NODES_MAX
#define STORE_TOKENS_MAX 64       /* tokens that are neither revoked nor long expired */
#define STORE_EVENTS_MAX 2000     /* rows of the journal: at most 1.2 MiB by the limits below */
#define STORE_EVENT_BATCH_MAX 256 /* events of one append */
#define STORE_META_MAX 4096       /* keys */
#define STORE_TEXT_MAX 160        /* bytes of a commit's subject, terminating zero included */
#define STORE_TOKEN_ID_MAX 33     /* bytes, terminating zero included */
#define STORE_SECRET_MAX 64
#define STORE_KEY_MAX 192    /* bytes of a meta key, terminating zero included */
#define STORE_VALUE_MAX 1024 /* bytes of a meta value */

struct store;

/* ---- Opening ----------------------------------------------------------------------------------
 */

/* What store_open or store_rebuild found, for the caller to report. */
struct store_opened {
    bool created;                   /* the file is new: Git and the peers must fill it again */
    char set_aside[STORE_PATH_MAX]; /* where the damaged file lies now; "" if none was damaged */
    char damage[ERR_TEXT_MAX];      /* what was wrong with it; "" if nothing */
    int version;                    /* schema version before migrations; 0 for a new file */
};

/* Opens <@dir>/covey.db, creates it if there is none, brings its schema up to date and locks it
 * until store_close. A damaged file is renamed to covey.db.corrupt-<UTC time> and replaced by an
 * empty one, which @opened says. @dir must exist.
 * Errors: ERR_BUSY (another process has it open), ERR_VERSION (written by a newer release: it is
 * left alone), ERR_DENIED. */
int store_open(const char *dir, struct store **store, struct store_opened *opened, struct err *err);

/* Writes what is pending and closes. NULL is allowed. */
void store_close(struct store *store);

/* After ERR_CORRUPT: sets the file aside as store_open does and goes on with an empty one, which
 * keeps the boot number. When that fails the store stays unusable (every call ERR_CORRUPT) and the
 * call may be repeated. */
int store_rebuild(struct store *store, struct store_opened *opened, struct err *err);

/* Before an upgrade: a copy beside the file, which store_restore, with no store open, puts into its
 * place: for a release that does not understand what a newer one made of it (ERR_VERSION).
 * Errors of store_restore: ERR_NOTFOUND (there is no copy), ERR_IO. */
int store_backup(struct store *store, const char *dir, struct err *err);
int store_restore(const char *dir, struct err *err);
void store_drop_backup(const char *dir);

/* ---- Boot number ------------------------------------------------------------------------------
 */

/* Starts within one boot of the machine are counted on tmpfs, and raise the number here only
 * afterwards (store_raise_boot). So many of them may be lost with the power. */
#define STORE_BOOT_STRIDE 4096

/* Counts the first start since the machine booted: gives a number higher than all before, durable
 * before it returns. A file without one (new, or its predecessor was damaged or removed) begins at
 * @fallback, which is Unix time in seconds, so that an agent that lost its file still rises.
 * Errors: ERR_LIMIT when the number is used up (UINT32_MAX): after half a million boots. */
int store_next_boot(struct store *store, uint32_t fallback, uint32_t *boot, struct err *err);

/* Raises the boot number to at least @at_least: peers remember a higher one than the file does. */
int store_raise_boot(struct store *store, uint32_t at_least, struct err *err);

/* ---- The applied commit -----------------------------------------------------------------------
 */

struct store_object {
    const char *kind, *app, *name; /* "" where there is none */
    const char *file;              /* with @line the object's identity within a commit */
    int line;
    uint64_t generation; /* as struct desired_workload; 0 for kinds without one */
    uint64_t digest;     /* of all that the document says */
};

struct store_commit {
    char commit[COMMIT_TEXT];
    char parent[COMMIT_TEXT]; /* "" for the first commit */
    char subject[STORE_TEXT_MAX];
    int64_t applied_at; /* Unix seconds */
};

/* Makes @commit the applied one and @objects its inventory, in one transaction. The same commit
 * with the same objects writes nothing, and rows that do not change are not written. Errors:
 * ERR_INVALID (two objects with the same file and line). */
int store_apply_commit(struct store *store, const struct store_commit *commit,
                       const struct store_object *objects, size_t count, struct err *err);

/* Remembers that @commit could not be applied. @commit->applied_at is when that was found. The same
 * commit failing again with the same reason writes nothing. */
int store_fail_commit(struct store *store, const struct store_commit *commit, const char *reason,
                      struct err *err);

enum store_commit_state { STORE_APPLIED = 1, STORE_FAILED = 2 };

struct store_history {
    struct store_commit commit;
    int64_t number; /* rises by one with each entry */
    enum store_commit_state state;
    char reason[ERR_TEXT_MAX]; /* STORE_FAILED */
};

/* ERR_NOTFOUND while none was applied; @err has no text then that is worth showing. */
int store_applied(struct store *store, struct store_commit *commit, struct err *err);

/* Whether @commit failed after the last time it was applied, and why. ERR_NOTFOUND if not. */
int store_failed(struct store *store, const char *commit, char reason[ERR_TEXT_MAX],
                 struct err *err);

/* The newest entries, newest first, at most @max. */
int store_history(struct store *store, size_t max, struct store_history **list, size_t *count,
                  struct err *err);

/* The inventory of the applied commit, by file and line. The strings live in the list's block. */
int store_objects(struct store *store, struct store_object **list, size_t *count, struct err *err);

/* ---- Peers ------------------------------------------------------------------------------------
 */

struct store_peer {
    node_id id;
    uint8_t public_key[32];
    char name[NODE_NAME_MAX + 1];
    uint8_t role;          /* as enum value_role */
    uint32_t serial;       /* of the admission */
    uint8_t admission[64]; /* signature */
    struct addr addr;      /* where it was last reached; family 0: unknown */
    bool revoked;
};

/* Inserts or replaces by id; an unchanged peer is not written. A revocation stays: it is not undone
 * by a later call without it. Errors: ERR_FULL at STORE_PEERS_MAX. */
int store_peer_put(struct store *store, const struct store_peer *peer, struct err *err);

int store_peers(struct store *store, struct store_peer **list, size_t *count, struct err *err);

/* ---- Join tokens, on the node that issued them ------------------------------------------------
 */

struct store_token {
    char id[STORE_TOKEN_ID_MAX];
    uint8_t secret[STORE_SECRET_MAX];
    uint8_t secret_len;
    int64_t created, expires; /* Unix seconds */
    uint32_t uses_left;
    uint32_t used; /* newcomers admitted by it */
    bool revoked;
};

/* @used and @revoked are ignored. Tokens that expired more than a week before @token->created are
 * forgotten. Errors: ERR_EXISTS, ERR_FULL at STORE_TOKENS_MAX. */
int store_token_create(struct store *store, const struct store_token *token, struct err *err);

/* Errors: ERR_NOTFOUND. */
int store_token_get(struct store *store, const char *id, struct store_token *token,
                    struct err *err);

/* Takes one use for @public_key, atomically. A newcomer that was admitted by this token before is
 * admitted again without taking a use, even when the token is used up or has expired meanwhile: the
 * answer may have been lost. @again (may be NULL) says so.
 * Errors: ERR_NOTFOUND, ERR_DENIED (expired, used up or revoked; @err says which). */
int store_token_use(struct store *store, const char *id, const uint8_t public_key[32], int64_t now,
                    bool *again, struct err *err);

/* Errors: ERR_NOTFOUND. */
int store_token_revoke(struct store *store, const char *id, struct err *err);

/* Newest first; revoked and expired ones too. */
int store_tokens(struct store *store, struct store_token **list, size_t *count, struct err *err);

/* ---- Journal of events ------------------------------------------------------------------------
 */

enum store_severity { STORE_INFO = 1, STORE_WARNING = 2, STORE_ERROR = 3 };

struct store_event {
    int64_t id;      /* given by the store, rising; store_events_append ignores it */
    int64_t time_ms; /* Unix milliseconds */
    enum store_severity severity;
    char kind[32];
    char subject[INSTANCE_MAX]; /* node, instance, address or commit it is about */
    char text[ERR_TEXT_MAX];
};

/* At most STORE_EVENT_BATCH_MAX in one call. Not durable: a power cut may take the last ones, and
 * nothing else. Beyond STORE_EVENTS_MAX the oldest are dropped. */
int store_events_append(struct store *store, const struct store_event *events, size_t count,
                        struct err *err);

/* The newest @max, oldest first. */
int store_events_newest(struct store *store, size_t max, struct store_event **list, size_t *count,
                        struct err *err);

/* The first @max after @id, oldest first. */
int store_events_since(struct store *store, int64_t id, size_t max, struct store_event **list,
                       size_t *count, struct err *err);

/* ---- Small facts ------------------------------------------------------------------------------
 */

/* Port assignments, epochs, last cron runs: keys are "part/name". @value NULL removes the key. An
 * equal value is not written. Errors: ERR_FULL at STORE_META_MAX. */
int store_meta_set(struct store *store, const char *key, const void *value, size_t size,
                   struct err *err);

struct store_meta {
    char key[STORE_KEY_MAX];
    size_t size;
    uint8_t value[STORE_VALUE_MAX + 1]; /* a zero stands behind the value */
};

/* Errors: ERR_NOTFOUND. */
int store_meta_get(struct store *store, const char *key, struct store_meta *meta, struct err *err);

/* All keys that begin with @prefix, sorted. */
int store_meta_list(struct store *store, const char *prefix, struct store_meta **list,
                    size_t *count, struct err *err);

#endif
