#include "store/db.h"

static int write_boot(struct store *store, int64_t number, struct err *err, const char *what)
{
    struct query q;

    query_start(&q, store,
                "INSERT INTO boot (one, number) VALUES (1, ?)"
                " ON CONFLICT (one) DO UPDATE SET number = excluded.number");
    query_int(&q, number);
    return query_finish(&q, err, what);
}

int store_next_boot(struct store *store, uint32_t fallback, uint32_t *boot, struct err *err)
{
    static const char what[] = "count this start";
    int64_t number = -1;
    int rc = db_begin(store, DB_DURABLE, err);

    if (rc != ERR_NONE)
        return rc;
    rc = db_number(store, "SELECT number FROM boot", &number, err, what);
    if (number < 0)
        number = fallback > 0 ? fallback : 1;
    else
        number += STORE_BOOT_STRIDE;
    if (rc == ERR_NONE && number > UINT32_MAX)
        rc = err_set(err, ERR_LIMIT,
                     "cannot %s: the boot number of this node is used up; give it a new identity",
                     what);
    if (rc == ERR_NONE)
        rc = write_boot(store, number, err, what);
    rc = db_end(store, rc, err, what);
    if (rc != ERR_NONE)
        return rc;
    store->boot = (uint32_t)number;
    *boot = (uint32_t)number;
    return ERR_NONE;
}

int store_raise_boot(struct store *store, uint32_t at_least, struct err *err)
{
    static const char what[] = "raise the boot number";
    int64_t number = 0;
    int rc = db_begin(store, DB_DURABLE, err);

    if (rc != ERR_NONE)
        return rc;
    rc = db_number(store, "SELECT number FROM boot", &number, err, what);
    if (rc == ERR_NONE && number < at_least)
        rc = write_boot(store, at_least, err, what);
    rc = db_end(store, rc, err, what);
    if (rc == ERR_NONE && store->boot < at_least)
        store->boot = at_least;
    return rc;
}
