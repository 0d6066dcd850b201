/* The applied commit, its inventory, and the history of commits. */
#include <stdlib.h>
#include <string.h>

#include "store/db.h"

#define COMMIT_COLUMNS "number, id, parent, subject, time, state, reason"

static int check_commit(const struct store_commit *commit, struct err *err)
{
    int rc = db_check_text(commit->commit, sizeof commit->commit, "a commit id", err);

    if (rc == ERR_NONE)
        rc = db_check_text(commit->parent, sizeof commit->parent, "a commit's parent", err);
    if (rc == ERR_NONE)
        rc = db_check_text(commit->subject, sizeof commit->subject, "a commit's subject", err);
    return rc;
}

static int check_objects(const struct store_object *objects, size_t count, struct err *err)
{
    int rc = ERR_NONE;

    if (count > STORE_OBJECTS_MAX)
        return err_set(err, ERR_LIMIT, "the commit has %zu objects, more than %d", count,
                       STORE_OBJECTS_MAX);
    for (size_t i = 0; i < count && rc == ERR_NONE; i++) {
        const struct store_object *o = &objects[i];

        rc = db_check_text(o->kind, STORE_OBJECT_TEXT_MAX, "an object's kind", err);
        if (rc == ERR_NONE)
            rc = db_check_text(o->app, STORE_OBJECT_TEXT_MAX, "an object's app", err);
        if (rc == ERR_NONE)
            rc = db_check_text(o->name, STORE_OBJECT_TEXT_MAX, "an object's name", err);
        if (rc == ERR_NONE)
            rc = db_check_text(o->file, STORE_OBJECT_TEXT_MAX, "an object's file", err);
    }
    return rc;
}

static void read_history(struct query *q, struct store_history *entry)
{
    entry->number = query_get_int(q, 0, 1, INT64_MAX);
    query_get_text(q, 1, entry->commit.commit, sizeof entry->commit.commit);
    query_get_text(q, 2, entry->commit.parent, sizeof entry->commit.parent);
    query_get_text(q, 3, entry->commit.subject, sizeof entry->commit.subject);
    entry->commit.applied_at = query_get_int(q, 4, INT64_MIN, INT64_MAX);
    entry->state = query_get_int(q, 5, STORE_APPLIED, STORE_FAILED) == STORE_APPLIED ? STORE_APPLIED
                                                                                     : STORE_FAILED;
    query_get_text(q, 6, entry->reason, sizeof entry->reason);
}

/* The newest entry; of @commit unless that is NULL; applied ones only if @applied. @found tells
 * whether there is one. */
static int newest(struct store *store, const char *commit, bool applied,
                  struct store_history *entry, bool *found, struct err *err)
{
    struct query q;

    *found = false;
    query_start(&q, store,
                commit != NULL ? "SELECT " COMMIT_COLUMNS " FROM commits WHERE id = ?"
                                 " ORDER BY number DESC LIMIT 1"
                : applied      ? "SELECT " COMMIT_COLUMNS " FROM commits WHERE state = 1"
                                 " ORDER BY number DESC LIMIT 1"
                               : "SELECT " COMMIT_COLUMNS " FROM commits"
                                 " ORDER BY number DESC LIMIT 1");
    if (commit != NULL)
        query_text(&q, commit);
    if (query_row(&q)) {
        read_history(&q, entry);
        *found = true;
    }
    return query_end(&q, err, "read the history of commits");
}

/* Adds an entry and drops the oldest, never the applied one. */
static int add_history(struct store *store, const struct store_commit *commit,
                       enum store_commit_state state, const char *reason, struct err *err)
{
    static const char what[] = "add to the history of commits";
    struct query q;
    int rc;

    query_start(&q, store,
                "INSERT INTO commits (id, parent, subject, time, state, reason)"
                " VALUES (?, ?, ?, ?, ?, ?)");
    query_text(&q, commit->commit);
    query_text(&q, commit->parent);
    query_text(&q, commit->subject);
    query_int(&q, commit->applied_at);
    query_int(&q, state);
    query_text(&q, reason);
    rc = query_finish(&q, err, what);
    if (rc != ERR_NONE)
        return rc;
    query_start(&q, store,
                "DELETE FROM commits WHERE number <= (SELECT max(number) FROM commits) - ?"
                " AND number <> (SELECT max(number) FROM commits WHERE state = 1)");
    query_int(&q, STORE_HISTORY_MAX);
    return query_finish(&q, err, what);
}

static int fill_incoming(struct store *store, const struct store_object *objects, size_t count,
                         struct err *err)
{
    struct query q;

    query_start(&q, store,
                "INSERT OR IGNORE INTO incoming (file, line, kind, app, name, generation, digest)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)");
    for (size_t i = 0; i < count; i++) {
        const struct store_object *o = &objects[i];

        query_text(&q, o->file);
        query_int(&q, o->line);
        query_text(&q, o->kind);
        query_text(&q, o->app);
        query_text(&q, o->name);
        query_int(&q, (int64_t)o->generation);
        query_int(&q, (int64_t)o->digest);
        (void)query_row(&q);
        if (q.rc == SQLITE_OK && db_changes(store) != 1) {
            (void)query_end(&q, NULL, NULL);
            return err_set(err, ERR_INVALID, "%s:%d: two objects begin here", o->file, o->line);
        }
        query_again(&q);
    }
    return query_end(&q, err, "compare the inventory");
}

/* Rows that stay as they are are not written. */
static int replace_objects(struct store *store, const struct store_object *objects, size_t count,
                           struct err *err)
{
    static const char what[] = "write the inventory";
    int rc = db_run(store, "DELETE FROM incoming", err, what);

    if (rc == ERR_NONE)
        rc = fill_incoming(store, objects, count, err);
    if (rc == ERR_NONE)
        rc = db_run(store,
                    "DELETE FROM objects WHERE NOT EXISTS (SELECT 1 FROM incoming AS i"
                    " WHERE i.file = objects.file AND i.line = objects.line)",
                    err, what);
    if (rc == ERR_NONE)
        rc = db_run(store,
                    "INSERT INTO objects (file, line, kind, app, name, generation, digest)"
                    " SELECT file, line, kind, app, name, generation, digest FROM incoming"
                    " WHERE true ON CONFLICT (file, line) DO UPDATE SET kind = excluded.kind,"
                    " app = excluded.app, name = excluded.name, generation = excluded.generation,"
                    " digest = excluded.digest"
                    " WHERE kind <> excluded.kind OR app <> excluded.app OR name <> excluded.name"
                    " OR generation <> excluded.generation OR digest <> excluded.digest",
                    err, what);
    if (rc == ERR_NONE)
        rc = db_run(store, "DELETE FROM incoming", err, what);
    return rc;
}

int store_apply_commit(struct store *store, const struct store_commit *commit,
                       const struct store_object *objects, size_t count, struct err *err)
{
    struct store_history applied, last;
    bool has_applied, has_last;
    int rc = check_commit(commit, err);

    if (rc == ERR_NONE)
        rc = check_objects(objects, count, err);
    if (rc == ERR_NONE)
        rc = db_begin(store, DB_DURABLE, err);
    if (rc != ERR_NONE)
        return rc;
    rc = newest(store, NULL, true, &applied, &has_applied, err);
    if (rc == ERR_NONE)
        rc = newest(store, commit->commit, false, &last, &has_last, err);
    /* Known as applied, and no failure of it since. */
    if (rc == ERR_NONE && !(has_applied && has_last && applied.number == last.number))
        rc = add_history(store, commit, STORE_APPLIED, "", err);
    if (rc == ERR_NONE)
        rc = replace_objects(store, objects, count, err);
    return db_end(store, rc, err, "record the applied commit");
}

int store_fail_commit(struct store *store, const struct store_commit *commit, const char *reason,
                      struct err *err)
{
    struct store_history last;
    bool has_last;
    int rc = check_commit(commit, err);

    if (rc == ERR_NONE)
        rc = db_check_text(reason, sizeof last.reason, "the reason", err);
    if (rc == ERR_NONE)
        rc = db_begin(store, DB_DURABLE, err);
    if (rc != ERR_NONE)
        return rc;
    rc = newest(store, commit->commit, false, &last, &has_last, err);
    if (rc == ERR_NONE &&
        !(has_last && last.state == STORE_FAILED && strcmp(last.reason, reason) == 0))
        rc = add_history(store, commit, STORE_FAILED, reason, err);
    return db_end(store, rc, err, "record the failed commit");
}

int store_applied(struct store *store, struct store_commit *commit, struct err *err)
{
    struct store_history entry;
    bool found;
    int rc = newest(store, NULL, true, &entry, &found, err);

    if (rc != ERR_NONE)
        return rc;
    if (!found)
        return err_set(err, ERR_NOTFOUND, "no commit has been applied yet");
    *commit = entry.commit;
    return ERR_NONE;
}

int store_failed(struct store *store, const char *commit, char reason[ERR_TEXT_MAX],
                 struct err *err)
{
    struct store_history entry;
    bool found;
    int rc = newest(store, commit, false, &entry, &found, err);

    if (rc != ERR_NONE)
        return rc;
    if (!found || entry.state != STORE_FAILED)
        return err_set(err, ERR_NOTFOUND, "commit %.*s has not failed", COMMIT_TEXT, commit);
    memcpy(reason, entry.reason, ERR_TEXT_MAX);
    return ERR_NONE;
}

int store_history(struct store *store, size_t max, struct store_history **list, size_t *count,
                  struct err *err)
{
    struct rows rows = {.size = sizeof **list};
    struct query q;
    void *data = NULL;
    int rc;

    query_start(&q, store, "SELECT " COMMIT_COLUMNS " FROM commits ORDER BY number DESC LIMIT ?");
    query_int(&q, max < STORE_HISTORY_MAX ? (int64_t)max : STORE_HISTORY_MAX);
    while (query_row(&q)) {
        struct store_history *entry = rows_add(&rows, &q);
        if (entry != NULL)
            read_history(&q, entry);
    }
    rc = query_end(&q, err, "read the history of commits");
    rc = rows_give(&rows, rc, &data, count);
    if (rc == ERR_NONE)
        *list = data;
    return rc;
}

/* Copies a text column behind the array and gives its new place. */
static const char *take_text(struct query *q, int column, char **at, const char *end)
{
    char text[STORE_OBJECT_TEXT_MAX];
    char *place = *at;
    size_t size;

    query_get_text(q, column, text, sizeof text);
    size = strlen(text) + 1;
    if (size > (size_t)(end - place)) {
        q->rc = SQLITE_CORRUPT; /* longer than the sum that was asked for a moment ago */
        return "";
    }
    memcpy(place, text, size);
    *at += size;
    return place;
}

int store_objects(struct store *store, struct store_object **list, size_t *count, struct err *err)
{
    static const char what[] = "read the inventory";
    struct store_object *objects = NULL;
    size_t total = 0, used = 0;
    int64_t bytes = 0, number = 0;
    char *at = NULL, *end = NULL;
    struct query q;
    int rc;

    rc = db_number(store, "SELECT count(*) FROM objects", &number, err, what);
    if (rc == ERR_NONE)
        rc = db_number(store,
                       "SELECT coalesce(sum(length(CAST(file AS BLOB)) + length(CAST(kind AS BLOB))"
                       " + length(CAST(app AS BLOB)) + length(CAST(name AS BLOB)) + 4), 0)"
                       " FROM objects",
                       &bytes, err, what);
    if (rc != ERR_NONE)
        return rc;
    if (number > 0) {
        total = (size_t)number;
        objects = malloc(total * sizeof *objects + (size_t)bytes);
        if (objects == NULL)
            return err_set(err, ERR_NOMEM, "cannot %s: out of memory", what);
        at = (char *)(objects + total);
        end = at + bytes;
    }
    query_start(&q, store,
                "SELECT file, line, kind, app, name, generation, digest FROM objects"
                " ORDER BY file, line");
    while (used < total && query_row(&q)) {
        struct store_object *o = &objects[used++];

        o->file = take_text(&q, 0, &at, end);
        o->line = (int)query_get_int(&q, 1, INT32_MIN, INT32_MAX);
        o->kind = take_text(&q, 2, &at, end);
        o->app = take_text(&q, 3, &at, end);
        o->name = take_text(&q, 4, &at, end);
        o->generation = (uint64_t)query_get_int(&q, 5, INT64_MIN, INT64_MAX);
        o->digest = (uint64_t)query_get_int(&q, 6, INT64_MIN, INT64_MAX);
    }
    rc = query_end(&q, err, what);
    if (rc != ERR_NONE) {
        free(objects);
        return rc;
    }
    *list = objects;
    *count = used;
    return ERR_NONE;
}
