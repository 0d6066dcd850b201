/* Join tokens, on the node that issued them. */
#include <string.h>

#include "store/db.h"

#define FORGET_AFTER_S (7 * 24 * 3600)

#define TOKEN_COLUMNS                                                                              \
    "id, secret, created, expires, uses_left, revoked,"                                            \
    " (SELECT count(*) FROM token_admissions WHERE token = tokens.id)"

static void read_token(struct query *q, struct store_token *token)
{
    query_get_text(q, 0, token->id, sizeof token->id);
    token->secret_len = (uint8_t)query_get_bytes(q, 1, token->secret, sizeof token->secret);
    token->created = query_get_int(q, 2, INT64_MIN, INT64_MAX);
    token->expires = query_get_int(q, 3, INT64_MIN, INT64_MAX);
    token->uses_left = (uint32_t)query_get_int(q, 4, 0, UINT32_MAX);
    token->revoked = query_get_int(q, 5, 0, 1) != 0;
    token->used = (uint32_t)query_get_int(q, 6, 0, UINT32_MAX);
}

static int forget_old(struct store *store, int64_t now, struct err *err)
{
    struct query q;

    query_start(&q, store, "DELETE FROM tokens WHERE expires < ?");
    query_int(&q, now - FORGET_AFTER_S);
    return query_finish(&q, err, "forget expired tokens");
}

static int check_room(struct store *store, struct err *err)
{
    int64_t count = 0;
    int rc = db_number(store, "SELECT count(*) FROM tokens", &count, err, "count the tokens");

    if (rc == ERR_NONE && count >= STORE_TOKENS_MAX)
        rc =
            err_set(err, ERR_FULL,
                    "cannot create a token: %d exist already; they are forgotten a week after they "
                    "expire",
                    STORE_TOKENS_MAX);
    return rc;
}

static int insert_token(struct store *store, const struct store_token *token, struct err *err)
{
    static const char what[] = "create a token";
    struct query q;
    int rc;

    query_start(&q, store,
                "INSERT INTO tokens (id, secret, created, expires, uses_left, revoked)"
                " VALUES (?, ?, ?, ?, ?, 0) ON CONFLICT (id) DO NOTHING");
    query_text(&q, token->id);
    query_blob(&q, token->secret, token->secret_len);
    query_int(&q, token->created);
    query_int(&q, token->expires);
    query_int(&q, token->uses_left);
    rc = query_finish(&q, err, what);
    if (rc == ERR_NONE && db_changes(store) == 0)
        rc = err_set(err, ERR_EXISTS, "cannot %s: %s exists already", what, token->id);
    return rc;
}

int store_token_create(struct store *store, const struct store_token *token, struct err *err)
{
    int rc = db_check_text(token->id, sizeof token->id, "a token's id", err);

    if (rc == ERR_NONE && token->secret_len > sizeof token->secret)
        rc = err_set(err, ERR_LIMIT, "a token's secret is longer than %zu bytes",
                     sizeof token->secret);
    if (rc == ERR_NONE)
        rc = db_begin(store, DB_DURABLE, err);
    if (rc != ERR_NONE)
        return rc;
    rc = forget_old(store, token->created, err);
    if (rc == ERR_NONE)
        rc = check_room(store, err);
    if (rc == ERR_NONE)
        rc = insert_token(store, token, err);
    return db_end(store, rc, err, "create a token");
}

int store_token_get(struct store *store, const char *id, struct store_token *token, struct err *err)
{
    struct store_token found = {0};
    bool known = false;
    struct query q;
    int rc;

    query_start(&q, store, "SELECT " TOKEN_COLUMNS " FROM tokens WHERE id = ?");
    query_text(&q, id);
    if (query_row(&q)) {
        read_token(&q, &found);
        known = true;
    }
    rc = query_end(&q, err, "look up a token");
    if (rc != ERR_NONE)
        return rc;
    if (!known)
        return err_set(err, ERR_NOTFOUND, "there is no token %.*s", STORE_TOKEN_ID_MAX, id);
    *token = found;
    return ERR_NONE;
}

static int was_admitted(struct store *store, const char *id, const uint8_t public_key[32],
                        bool *admitted, struct err *err)
{
    struct query q;

    query_start(&q, store, "SELECT 1 FROM token_admissions WHERE token = ? AND public_key = ?");
    query_text(&q, id);
    query_blob(&q, public_key, 32);
    *admitted = query_row(&q);
    return query_end(&q, err, "look up an admission");
}

static int take_use(struct store *store, const struct store_token *token,
                    const uint8_t public_key[32], int64_t now, struct err *err)
{
    static const char what[] = "use a token";
    struct query q;
    int rc;

    if (now >= token->expires)
        return err_set(err, ERR_DENIED, "token %s has expired; create a new one", token->id);
    if (token->uses_left == 0)
        return err_set(err, ERR_DENIED, "token %s is used up; create a new one", token->id);
    query_start(&q, store, "UPDATE tokens SET uses_left = uses_left - 1 WHERE id = ?");
    query_text(&q, token->id);
    rc = query_finish(&q, err, what);
    if (rc != ERR_NONE)
        return rc;
    query_start(&q, store, "INSERT INTO token_admissions (token, public_key) VALUES (?, ?)");
    query_text(&q, token->id);
    query_blob(&q, public_key, 32);
    return query_finish(&q, err, what);
}

int store_token_use(struct store *store, const char *id, const uint8_t public_key[32], int64_t now,
                    bool *again, struct err *err)
{
    struct store_token token = {0};
    bool admitted = false;
    int rc = db_begin(store, DB_DURABLE, err);

    if (rc != ERR_NONE)
        return rc;
    rc = store_token_get(store, id, &token, err);
    if (rc == ERR_NONE && token.revoked)
        rc = err_set(err, ERR_DENIED, "token %s was revoked; create a new one", token.id);
    if (rc == ERR_NONE)
        rc = was_admitted(store, id, public_key, &admitted, err);
    if (rc == ERR_NONE && !admitted)
        rc = take_use(store, &token, public_key, now, err);
    rc = db_end(store, rc, err, "use a token");
    if (rc == ERR_NONE && again != NULL)
        *again = admitted;
    return rc;
}

int store_token_revoke(struct store *store, const char *id, struct err *err)
{
    static const char what[] = "revoke a token";
    struct store_token token = {0};
    struct query q;
    int rc = db_begin(store, DB_DURABLE, err);

    if (rc != ERR_NONE)
        return rc;
    rc = store_token_get(store, id, &token, err);
    if (rc == ERR_NONE && !token.revoked) {
        query_start(&q, store, "UPDATE tokens SET revoked = 1 WHERE id = ?");
        query_text(&q, id);
        rc = query_finish(&q, err, what);
    }
    return db_end(store, rc, err, what);
}

int store_tokens(struct store *store, struct store_token **list, size_t *count, struct err *err)
{
    struct rows rows = {.size = sizeof **list};
    struct query q;
    void *data = NULL;
    int rc;

    query_start(&q, store, "SELECT " TOKEN_COLUMNS " FROM tokens ORDER BY created DESC, id");
    while (query_row(&q)) {
        struct store_token *token = rows_add(&rows, &q);
        if (token != NULL)
            read_token(&q, token);
    }
    rc = rows_give(&rows, query_end(&q, err, "list the tokens"), &data, count);
    if (rc == ERR_NONE)
        *list = data;
    return rc;
}
