/* Inside of the store: the handle, transactions, and statements whose first error sticks. */
#ifndef COVEY_STORE_DB_H
#define COVEY_STORE_DB_H

#include <sqlite3.h>

#include "store/store.h"

struct store {
    sqlite3 *db;   /* NULL after a rebuild that failed */
    bool damaged;  /* every call answers ERR_CORRUPT until store_rebuild */
    int full_sync; /* PRAGMA synchronous: 1 FULL, 0 NORMAL, -1 not set yet */
    uint32_t boot; /* number that this process was given; 0 for none */
    char dir[STORE_PATH_MAX];
    char path[STORE_PATH_MAX];
};

struct db_migration {
    const char *name; /* 0001_initial.sql */
    const char *sql;
};

extern const struct db_migration db_migrations[];
extern const int db_migration_count;

/* The error of SQLite's result @rc: "cannot <what>: why, what next". Marks the store as damaged
 * where the file is. @what may be NULL to keep it out of the text. */
int db_error(struct store *store, int rc, struct err *err, const char *what);

/* Runs statements that give no rows and take no arguments. */
int db_run(struct store *store, const char *sql, struct err *err, const char *what);

enum db_durability {
    DB_LAZY,    /* survives a crash of the agent; a power cut may take the newest of them */
    DB_DURABLE, /* survives a power cut once db_end has succeeded */
};

/* Begins a transaction. When it succeeds db_end must follow. */
int db_begin(struct store *store, enum db_durability durability, struct err *err);

/* Commits if @code is ERR_NONE, else rolls back; gives @code, or why the commit failed. */
int db_end(struct store *store, int code, struct err *err, const char *what);

/* A statement. After the first failure all calls do nothing until query_end, which reports it. */
struct query {
    struct store *store;
    sqlite3_stmt *stmt;
    int rc;    /* first failure, else SQLITE_OK */
    int bound; /* arguments bound since the start or query_again */
};

void query_start(struct query *q, struct store *store, const char *sql);

/* Bind the next argument. Text and blobs are borrowed until query_again or query_end. */
void query_int(struct query *q, int64_t value);
void query_text(struct query *q, const char *text);
void query_blob(struct query *q, const void *data, size_t size);

/* Steps: true for a row, false at the end or after a failure. */
bool query_row(struct query *q);

/* Ready for the next arguments. */
void query_again(struct query *q);

/* Columns of the row. A value that cannot be what was written marks the file as damaged. */
int64_t query_get_int(struct query *q, int column, int64_t min, int64_t max);
void query_get_text(struct query *q, int column, char *text, size_t size);
void query_get_blob(struct query *q, int column, void *data, size_t size);   /* exactly @size */
size_t query_get_bytes(struct query *q, int column, void *data, size_t max); /* at most @max */

/* Frees the statement; ERR_NONE or the first failure. */
int query_end(struct query *q, struct err *err, const char *what);

/* One statement from start to end, without rows or arguments other than those given by the caller
 * before; steps it to its end. */
int query_finish(struct query *q, struct err *err, const char *what);

/* Rows changed by the last INSERT, UPDATE or DELETE. */
int db_changes(struct store *store);

/* The result of a statement that gives one number; @value is untouched when there is no row. */
int db_number(struct store *store, const char *sql, int64_t *value, struct err *err,
              const char *what);

/* A growing array of rows. */
struct rows {
    void *data;
    size_t size; /* of one */
    size_t count, capacity;
};

/* A zeroed element at the end; NULL (and q->rc set) when memory ran out. */
void *rows_add(struct rows *rows, struct query *q);

/* Hands over to the caller's @list and @count if @code is ERR_NONE, else frees. Gives @code. */
int rows_give(struct rows *rows, int code, void **list, size_t *count);

/* ERR_LIMIT if @text has @max bytes or more, its zero included. */
int db_check_text(const char *text, size_t max, const char *what, struct err *err);

#endif
