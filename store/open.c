/* Opening: schema, locks, and what is done with a damaged file. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/db.h"

#define FILE_NAME "covey.db"
#define ASIDE_PREFIX FILE_NAME ".corrupt-"
#define ASIDE_STAMP "YYYYmmddTHHMMSSZ"
#define BUSY_MS 2000 /* an agent that is just ending gives its file free */

/* Bytes that paths of the files beside the store need behind the folder. */
#define NAME_ROOM (sizeof "/" ASIDE_PREFIX ASIDE_STAMP "-wal")

/* The file holds secrets of tokens: nobody else may read it. Made before SQLite opens it, which
 * would make it readable. A file that exists already is not opened here: closing it would drop the
 * locks of this process on it (POSIX). */
static int create_private(const char *path, struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd >= 0) {
        close(fd);
        return ERR_NONE;
    }
    if (errno == EEXIST)
        return ERR_NONE;
    return err_errno(err, errno == EACCES ? ERR_DENIED : ERR_IO, errno, "cannot create %s", path);
}

static int check_pages(struct store *store, struct err *err)
{
    static const char what[] = "check the store";
    struct query q;
    char first[200] = "";

    query_start(&q, store, "PRAGMA quick_check(1)");
    if (query_row(&q)) {
        const unsigned char *text = sqlite3_column_text(q.stmt, 0);
        snprintf(first, sizeof first, "%s", text != NULL ? (const char *)text : "no answer");
    }
    if (q.rc == SQLITE_OK && strcmp(first, "ok") != 0) {
        (void)query_end(&q, NULL, what);
        store->damaged = true;
        return err_set(err, ERR_CORRUPT, "%s is damaged: %s", store->path, first);
    }
    return query_end(&q, err, what);
}

static int use_wal(struct store *store, struct err *err)
{
    static const char what[] = "switch to write-ahead logging";
    struct query q;
    char mode[16] = "";
    int rc;

    query_start(&q, store, "PRAGMA journal_mode=WAL");
    if (query_row(&q))
        query_get_text(&q, 0, mode, sizeof mode);
    rc = query_end(&q, err, what);
    if (rc == ERR_NONE && strcmp(mode, "wal") != 0)
        rc = err_set(err, ERR_IO, "cannot %s: %s stays in mode \"%s\"", what, store->path, mode);
    return rc;
}

static int migrate(struct store *store, int from, struct err *err)
{
    for (int i = from; i < db_migration_count; i++) {
        char version[48];
        int rc = db_begin(store, DB_DURABLE, err);

        if (rc != ERR_NONE)
            return rc;
        snprintf(version, sizeof version, "PRAGMA user_version=%d", i + 1);
        rc = db_run(store, db_migrations[i].sql, err, db_migrations[i].name);
        if (rc == ERR_NONE)
            rc = db_run(store, version, err, db_migrations[i].name);
        rc = db_end(store, rc, err, db_migrations[i].name);
        if (rc != ERR_NONE) {
            err_wrap(err, "bring the schema of the store up to date");
            return rc;
        }
    }
    return ERR_NONE;
}

/* Closing is not to write the log into the file: somebody may want to look at both as they are. */
static void leave_log_alone(struct store *store)
{
    (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)NULL);
}

/* Nothing before the version check may write: a file of a newer release is left as it is. */
static int read_version(struct store *store, int *version, struct err *err)
{
    int64_t found = 0;
    int rc = db_number(store, "PRAGMA user_version", &found, err, "read the store's version");

    if (rc != ERR_NONE)
        return rc;
    if (found > db_migration_count || found < 0) {
        leave_log_alone(store);
        return err_set(err, ERR_VERSION,
                       "%s has schema version %lld, this agentd knows up to %d: it was written by "
                       "a newer release; install that one again, or move the file away",
                       store->path, (long long)found, db_migration_count);
    }
    *version = (int)found;
    return ERR_NONE;
}

static int open_file(struct store *store, struct store_opened *opened, struct err *err)
{
    static const char what[] = "open the store";
    static const char settings[] =
        /* One process, one connection: no shared memory file, and a second agentd is refused. */
        "PRAGMA locking_mode=EXCLUSIVE;"
        "PRAGMA cache_size=-512;"
        "PRAGMA temp_store=MEMORY;"
        "PRAGMA foreign_keys=ON;"
        "PRAGMA trusted_schema=OFF;"
        "PRAGMA cell_size_check=ON;"
        "PRAGMA wal_autocheckpoint=256;" /* pages: a log of 1 MiB */
        "PRAGMA journal_size_limit=1048576;";
    /* What store_apply_commit compares the inventory with; lives in memory. */
    static const char scratch[] = "CREATE TEMP TABLE incoming (file TEXT, line INTEGER, kind TEXT,"
                                  " app TEXT, name TEXT, generation INTEGER, digest INTEGER,"
                                  " PRIMARY KEY (file, line)) STRICT, WITHOUT ROWID";
    int rc = create_private(store->path, err);

    if (rc != ERR_NONE)
        return rc;
    store->damaged = false;
    store->full_sync = -1;
    rc =
        sqlite3_open_v2(store->path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        return db_error(store, rc, err, what);
    (void)sqlite3_extended_result_codes(store->db, 1);
    (void)sqlite3_busy_timeout(store->db, BUSY_MS);
    (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    rc = db_run(store, settings, err, what);
    if (rc == ERR_NONE)
        rc = read_version(store, &opened->version, err);
    if (rc == ERR_NONE && opened->version > 0)
        rc = check_pages(store, err);
    if (rc == ERR_NONE)
        rc = use_wal(store, err);
    if (rc == ERR_NONE)
        rc = migrate(store, opened->version, err);
    if (rc == ERR_NONE)
        rc = db_run(store, scratch, err, what);
    opened->created = opened->version == 0;
    return rc;
}

static void close_file(struct store *store)
{
    int rc;

    if (store->damaged && store->db != NULL)
        leave_log_alone(store);
    rc = sqlite3_close(store->db);
    assert(rc == SQLITE_OK); /* else a statement was left open */
    (void)rc;
    store->db = NULL;
}

static int is_aside(const struct dirent *entry)
{
    /* Without the logs beside them, which go with their file. */
    return strncmp(entry->d_name, ASIDE_PREFIX, strlen(ASIDE_PREFIX)) == 0 &&
           strlen(entry->d_name) == strlen(ASIDE_PREFIX ASIDE_STAMP);
}

/* Keeps @newest and the latest others, STORE_SET_ASIDE_MAX in all; @newest is named because a clock
 * that was set back gives it an early date. Best effort: the store works without it. */
static void drop_old_asides(const char *dir, const char *newest)
{
    struct dirent **names;
    int count = scandir(dir, &names, is_aside, alphasort);
    int extra = count - STORE_SET_ASIDE_MAX;
    int folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;

        if (extra > 0 && folder >= 0 && strcmp(name, newest) != 0) {
            char log[sizeof ASIDE_PREFIX ASIDE_STAMP "-wal"];

            snprintf(log, sizeof log, "%.*s-wal", (int)strlen(ASIDE_PREFIX ASIDE_STAMP), name);
            (void)unlinkat(folder, name, 0);
            (void)unlinkat(folder, log, 0);
            extra--;
        }
        free(names[i]);
    }
    if (count >= 0)
        free(names);
    if (folder >= 0)
        close(folder);
}

/* Renames the file and its log to a name that is not taken. */
static int set_aside(struct store *store, struct store_opened *opened, struct err *err)
{
    time_t now = time(NULL);
    char to[STORE_PATH_MAX], log_from[STORE_PATH_MAX], log_to[STORE_PATH_MAX];
    struct stat st;
    int length;

    do {
        char stamp[sizeof ASIDE_STAMP];
        struct tm utc;

        if (gmtime_r(&now, &utc) == NULL ||
            strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &utc) != sizeof stamp - 1)
            return err_set(err, ERR_IO, "cannot set %s aside: the clock gives no date",
                           store->path);
        length = snprintf(to, sizeof to, "%s.corrupt-%s", store->path, stamp);
        now++;
    } while (length > 0 && (size_t)length < sizeof to && lstat(to, &st) == 0);

    length = snprintf(log_to, sizeof log_to, "%s-wal", to);
    if (length < 0 || (size_t)length >= sizeof log_to)
        return err_set(err, ERR_LIMIT, "cannot set %s aside: its path is too long", store->path);
    snprintf(log_from, sizeof log_from, "%.*s-wal", (int)(sizeof log_from - sizeof "-wal"),
             store->path);
    /* The log first: a new file must never find the log of the old one. */
    if (rename(log_from, log_to) != 0 && errno != ENOENT)
        return err_errno(err, ERR_IO, errno, "cannot rename %s to %s", log_from, log_to);
    if (rename(store->path, to) != 0)
        return err_errno(err, ERR_IO, errno, "cannot rename %s to %s", store->path, to);
    memcpy(opened->set_aside, to, sizeof to);
    drop_old_asides(store->dir, to + strlen(store->dir) + 1);
    return ERR_NONE;
}

/* Opens; a damaged file is set aside and replaced once. */
static int open_or_replace(struct store *store, struct store_opened *opened, struct err *err)
{
    struct err why = {0};
    int rc = open_file(store, opened, &why);

    if (rc == ERR_CORRUPT) {
        close_file(store);
        memcpy(opened->damage, why.text, sizeof opened->damage);
        rc = set_aside(store, opened, err);
        if (rc != ERR_NONE) {
            err_wrap(err, "%s", why.text);
            return rc;
        }
        rc = open_file(store, opened, &why);
    }
    if (rc == ERR_NONE)
        return rc;
    close_file(store);
    return err_set(err, rc, "%s", why.text);
}

int store_open(const char *dir, struct store **store, struct store_opened *opened, struct err *err)
{
    struct store_opened found = {0};
    struct store *s;
    int rc;

    if (strlen(dir) + NAME_ROOM > STORE_PATH_MAX)
        return err_set(err, ERR_LIMIT, "the path of the state folder is longer than %zu bytes",
                       STORE_PATH_MAX - NAME_ROOM);
    s = calloc(1, sizeof *s);
    if (s == NULL)
        return err_set(err, ERR_NOMEM, "cannot open the store: out of memory");
    snprintf(s->dir, sizeof s->dir, "%s", dir);
    snprintf(s->path, sizeof s->path, "%s/%s", dir, FILE_NAME);
    rc = open_or_replace(s, &found, err);
    if (rc != ERR_NONE) {
        free(s);
        return rc;
    }
    *store = s;
    if (opened != NULL)
        *opened = found;
    return ERR_NONE;
}

void store_close(struct store *store)
{
    if (store == NULL)
        return;
    close_file(store);
    free(store);
}

int store_rebuild(struct store *store, struct store_opened *opened, struct err *err)
{
    struct store_opened found = {0};
    int rc = ERR_NONE;

    if (store->db != NULL) {
        struct err why;

        (void)err_set(&why, ERR_CORRUPT, "%s was found damaged while in use", store->path);
        memcpy(found.damage, why.text, sizeof found.damage);
        close_file(store);
        rc = set_aside(store, &found, err);
    }
    if (rc == ERR_NONE)
        rc = open_or_replace(store, &found, err);
    if (rc == ERR_NONE && store->boot != 0)
        rc = store_raise_boot(store, store->boot, err);
    if (rc != ERR_NONE) {
        store->damaged = true;
        return rc;
    }
    if (opened != NULL)
        *opened = found;
    return ERR_NONE;
}
