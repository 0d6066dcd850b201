#include "store/db.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_damage(int rc)
{
    switch (rc) {
    case SQLITE_IOERR_READ: /* a bad sector reads like this: the data is gone all the same */
    case SQLITE_IOERR_SHORT_READ:
    case SQLITE_IOERR_DATA:
        return true;
    default:
        return (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB;
    }
}

int db_error(struct store *store, int rc, struct err *err, const char *what)
{
    int system = store->db != NULL ? sqlite3_system_errno(store->db) : 0;
    const char *said = store->db != NULL && sqlite3_extended_errcode(store->db) == rc
                           ? sqlite3_errmsg(store->db)
                           : sqlite3_errstr(rc);

    if (is_damage(rc)) {
        store->damaged = true;
        return err_set(err, ERR_CORRUPT, "cannot %s: %s is damaged (%s)", what, store->path, said);
    }
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return err_set(err, ERR_NOSPACE,
                       "cannot %s: the disk that holds %s is full; nothing was changed, "
                       "free some space there",
                       what, store->path);
    case SQLITE_IOERR:
        if (system == ENOSPC || system == EDQUOT)
            return err_set(err, ERR_NOSPACE,
                           "cannot %s: the disk that holds %s is full; nothing was changed, "
                           "free some space there",
                           what, store->path);
        return err_set(err, ERR_IO, "cannot %s: %s: %s (%s)", what, store->path, said,
                       system != 0 ? strerror(system) : "no further reason known");
    case SQLITE_NOMEM:
        return err_set(err, ERR_NOMEM, "cannot %s: out of memory", what);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return err_set(err, ERR_BUSY,
                       "cannot %s: another process has %s open; is a second agentd running with "
                       "the same state_dir?",
                       what, store->path);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return err_set(err, ERR_DENIED, "cannot %s: %s may not be written: %s", what, store->path,
                       said);
    case SQLITE_TOOBIG:
        return err_set(err, ERR_LIMIT, "cannot %s: %s", what, said);
    default:
        return err_set(err, ERR_IO, "cannot %s: %s: %s", what, store->path, said);
    }
}

int db_run(struct store *store, const char *sql, struct err *err, const char *what)
{
    int rc = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? ERR_NONE : db_error(store, rc, err, what);
}

int db_begin(struct store *store, enum db_durability durability, struct err *err)
{
    static const char what[] = "begin a transaction";
    int full_sync = durability == DB_DURABLE;
    int rc;

    if (store->damaged)
        return db_error(store, SQLITE_CORRUPT, err, what);
    if (store->full_sync != full_sync) {
        rc = db_run(store, full_sync ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL", err,
                    what);
        if (rc != ERR_NONE)
            return rc;
        store->full_sync = full_sync;
    }
    return db_run(store, "BEGIN IMMEDIATE", err, what);
}

int db_end(struct store *store, int code, struct err *err, const char *what)
{
    if (code == ERR_NONE)
        code = db_run(store, "COMMIT", err, what);
    /* SQLite rolls back by itself after some failures; then there is nothing to do. A rollback that
     * fails leaves nothing on the disk either: the transaction has no commit record. */
    if (code != ERR_NONE && !sqlite3_get_autocommit(store->db))
        (void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

void query_start(struct query *q, struct store *store, const char *sql)
{
    *q = (struct query){.store = store};
    if (store->damaged)
        q->rc = SQLITE_CORRUPT;
    else
        q->rc = sqlite3_prepare_v2(store->db, sql, -1, &q->stmt, NULL);
}

void query_int(struct query *q, int64_t value)
{
    if (q->rc == SQLITE_OK)
        q->rc = sqlite3_bind_int64(q->stmt, ++q->bound, value);
}

void query_text(struct query *q, const char *text)
{
    if (q->rc == SQLITE_OK)
        q->rc = sqlite3_bind_text(q->stmt, ++q->bound, text, -1, SQLITE_STATIC);
}

void query_blob(struct query *q, const void *data, size_t size)
{
    if (q->rc != SQLITE_OK)
        return;
    if (size == 0) /* a NULL pointer would bind NULL instead of an empty blob */
        q->rc = sqlite3_bind_zeroblob(q->stmt, ++q->bound, 0);
    else
        q->rc = sqlite3_bind_blob64(q->stmt, ++q->bound, data, size, SQLITE_STATIC);
}

bool query_row(struct query *q)
{
    int rc;

    if (q->rc != SQLITE_OK)
        return false;
    rc = sqlite3_step(q->stmt);
    if (rc == SQLITE_ROW)
        return true;
    if (rc != SQLITE_DONE)
        q->rc = rc;
    return false;
}

void query_again(struct query *q)
{
    if (q->rc != SQLITE_OK)
        return;
    q->rc = sqlite3_reset(q->stmt);
    q->bound = 0;
}

int64_t query_get_int(struct query *q, int column, int64_t min, int64_t max)
{
    int64_t value;

    if (q->rc != SQLITE_OK)
        return min;
    value = sqlite3_column_int64(q->stmt, column);
    if (value >= min && value <= max)
        return value;
    q->rc = SQLITE_CORRUPT;
    return min;
}

void query_get_text(struct query *q, int column, char *text, size_t size)
{
    const unsigned char *value;
    size_t bytes;

    text[0] = '\0';
    if (q->rc != SQLITE_OK)
        return;
    value = sqlite3_column_text(q->stmt, column);
    if (value == NULL) {
        q->rc = SQLITE_NOMEM; /* no column may be NULL */
        return;
    }
    bytes = (size_t)sqlite3_column_bytes(q->stmt, column);
    if (bytes >= size || memchr(value, '\0', bytes) != NULL) {
        q->rc = SQLITE_CORRUPT;
        return;
    }
    memcpy(text, value, bytes);
    text[bytes] = '\0';
}

size_t query_get_bytes(struct query *q, int column, void *data, size_t max)
{
    const void *value;
    size_t bytes;

    if (q->rc != SQLITE_OK)
        return 0;
    value = sqlite3_column_blob(q->stmt, column);
    bytes = (size_t)sqlite3_column_bytes(q->stmt, column);
    if (bytes > max) {
        q->rc = SQLITE_CORRUPT;
        return 0;
    }
    if (bytes > 0 && value == NULL) {
        q->rc = SQLITE_NOMEM;
        return 0;
    }
    if (bytes > 0)
        memcpy(data, value, bytes);
    return bytes;
}

void query_get_blob(struct query *q, int column, void *data, size_t size)
{
    if (query_get_bytes(q, column, data, size) != size && q->rc == SQLITE_OK)
        q->rc = SQLITE_CORRUPT;
}

int query_end(struct query *q, struct err *err, const char *what)
{
    int code = q->rc == SQLITE_OK ? ERR_NONE : db_error(q->store, q->rc, err, what);

    sqlite3_finalize(q->stmt); /* repeats the error of the last step, which q->rc holds */
    q->stmt = NULL;
    return code;
}

int query_finish(struct query *q, struct err *err, const char *what)
{
    while (query_row(q))
        ;
    return query_end(q, err, what);
}

int db_changes(struct store *store)
{
    return sqlite3_changes(store->db);
}

int db_number(struct store *store, const char *sql, int64_t *value, struct err *err,
              const char *what)
{
    struct query q;
    int64_t found = *value;
    int code;

    query_start(&q, store, sql);
    if (query_row(&q))
        found = query_get_int(&q, 0, INT64_MIN, INT64_MAX);
    code = query_end(&q, err, what);
    if (code == ERR_NONE)
        *value = found;
    return code;
}

void *rows_add(struct rows *rows, struct query *q)
{
    char *element;

    if (rows->count == rows->capacity) {
        size_t capacity = rows->capacity == 0 ? 16 : rows->capacity * 2;
        void *data = reallocarray(rows->data, capacity, rows->size);
        if (data == NULL) {
            q->rc = SQLITE_NOMEM;
            return NULL;
        }
        rows->data = data;
        rows->capacity = capacity;
    }
    element = (char *)rows->data + rows->count * rows->size;
    memset(element, 0, rows->size);
    rows->count++;
    return element;
}

int rows_give(struct rows *rows, int code, void **list, size_t *count)
{
    if (code == ERR_NONE) {
        *list = rows->data;
        *count = rows->count;
    } else {
        free(rows->data);
    }
    return code;
}

int db_check_text(const char *text, size_t max, const char *what, struct err *err)
{
    size_t length = strnlen(text, max);

    if (length < max)
        return ERR_NONE;
    return err_set(err, ERR_LIMIT, "%s is longer than %zu bytes", what, max - 1);
}
