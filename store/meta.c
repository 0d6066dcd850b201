/* Small facts by key. */
#include <string.h>

#include "store/db.h"

static int check_key(const char *key, struct err *err)
{
    if (key[0] == '\0')
        return err_set(err, ERR_INVALID, "a key is empty");
    return db_check_text(key, STORE_KEY_MAX, "a key", err);
}

static int remove_key(struct store *store, const char *key, struct err *err, const char *what)
{
    struct query q;

    query_start(&q, store, "DELETE FROM meta WHERE key = ?");
    query_text(&q, key);
    return query_finish(&q, err, what);
}

static int put_key(struct store *store, const char *key, const void *value, size_t size,
                   struct err *err, const char *what)
{
    struct query q;
    int64_t count = 0;
    int rc;

    query_start(&q, store,
                "INSERT INTO meta (key, value) VALUES (?, ?)"
                " ON CONFLICT (key) DO UPDATE SET value = excluded.value"
                " WHERE value <> excluded.value");
    query_text(&q, key);
    query_blob(&q, value, size);
    rc = query_finish(&q, err, what);
    if (rc != ERR_NONE || db_changes(store) == 0)
        return rc;
    rc = db_number(store, "SELECT count(*) FROM meta", &count, err, what);
    if (rc == ERR_NONE && count > STORE_META_MAX)
        rc = err_set(err, ERR_FULL, "cannot remember %s: %d keys exist already", key,
                     STORE_META_MAX);
    return rc;
}

int store_meta_set(struct store *store, const char *key, const void *value, size_t size,
                   struct err *err)
{
    static const char what[] = "remember a fact";
    int rc = check_key(key, err);

    if (rc == ERR_NONE && size > STORE_VALUE_MAX)
        rc = err_set(err, ERR_LIMIT, "the value of %s is longer than %d bytes", key,
                     STORE_VALUE_MAX);
    if (rc == ERR_NONE)
        rc = db_begin(store, DB_DURABLE, err);
    if (rc != ERR_NONE)
        return rc;
    rc = value == NULL ? remove_key(store, key, err, what)
                       : put_key(store, key, value, size, err, what);
    return db_end(store, rc, err, what);
}

static void read_meta(struct query *q, struct store_meta *meta)
{
    query_get_text(q, 0, meta->key, sizeof meta->key);
    meta->size = query_get_bytes(q, 1, meta->value, STORE_VALUE_MAX);
    meta->value[meta->size] = 0;
}

int store_meta_get(struct store *store, const char *key, struct store_meta *meta, struct err *err)
{
    struct store_meta found;
    bool known = false;
    struct query q;
    int rc = check_key(key, err);

    if (rc != ERR_NONE)
        return rc;
    query_start(&q, store, "SELECT key, value FROM meta WHERE key = ?");
    query_text(&q, key);
    if (query_row(&q)) {
        read_meta(&q, &found);
        known = true;
    }
    rc = query_end(&q, err, "look up a fact");
    if (rc != ERR_NONE)
        return rc;
    if (!known)
        return err_set(err, ERR_NOTFOUND, "nothing is known of %s", key);
    *meta = found;
    return ERR_NONE;
}

int store_meta_list(struct store *store, const char *prefix, struct store_meta **list,
                    size_t *count, struct err *err)
{
    struct rows rows = {.size = sizeof **list};
    struct query q;
    void *data = NULL;
    int rc = db_check_text(prefix, STORE_KEY_MAX, "a prefix", err);

    if (rc != ERR_NONE)
        return rc;
    query_start(&q, store,
                "SELECT key, value FROM meta WHERE key >= ?1 AND substr(key, 1, length(?1)) = ?1"
                " ORDER BY key");
    query_text(&q, prefix);
    while (query_row(&q)) {
        struct store_meta *meta = rows_add(&rows, &q);
        if (meta != NULL)
            read_meta(&q, meta);
    }
    rc = rows_give(&rows, query_end(&q, err, "list facts"), &data, count);
    if (rc == ERR_NONE)
        *list = data;
    return rc;
}
