/* Brings the database to the schema of this program: every migration in a transaction of its own,
 * one program at a time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "workloads/smartbiz-api/api.h"

#define TIMEOUT_MS 600000 /* a migration of a large table takes its time */
#define LOCK "7310869316452216"

static int fail(PGconn *db, int code, const char *what, struct err *err)
{
    const char *why = PQerrorMessage(db);

    return err_set(err, code, "%s: %.*s", what, (int)strcspn(why, "\n"), why);
}

static int execute(PGconn *db, const char *sql, const char *what, struct err *err)
{
    PGresult *result = PQexec(db, sql);
    ExecStatusType status = PQresultStatus(result);

    PQclear(result);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
        return ERR_NONE;
    return fail(db, PQstatus(db) == CONNECTION_OK ? ERR_INVALID : ERR_UNREACHABLE, what, err);
}

/* The number of the last migration that was applied; 0 in an empty database, -1: failed. */
static int read_version(PGconn *db, struct err *err)
{
    PGresult *result = PQexec(db, "SELECT to_regclass('schema_migrations') IS NOT NULL");
    int version = -1;

    if (PQresultStatus(result) == PGRES_TUPLES_OK && *PQgetvalue(result, 0, 0) == 't') {
        PQclear(result);
        result = PQexec(db, "SELECT coalesce(max(number), 0) FROM schema_migrations");
    }
    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        version = atoi(PQgetvalue(result, 0, 0)); /* 0 for "f" too */
    else
        fail(db, ERR_INVALID, "read the schema's version", err);
    PQclear(result);
    return version;
}

static int apply(PGconn *db, int number, struct err *err)
{
    const struct migration *migration = &migrations[number - 1];
    char number_text[16];
    const char *const params[] = {number_text, migration->name};
    PGresult *result;
    int rc = execute(db, "BEGIN", migration->name, err);

    snprintf(number_text, sizeof number_text, "%d", number);
    if (rc == ERR_NONE)
        rc = execute(db, migration->text, migration->name, err);
    if (rc == ERR_NONE) {
        result = PQexecParams(db, "INSERT INTO schema_migrations (number, name) VALUES ($1, $2)", 2,
                              NULL, params, NULL, NULL, 0);
        if (PQresultStatus(result) != PGRES_COMMAND_OK)
            rc = fail(db, ERR_INVALID, migration->name, err);
        PQclear(result);
    }
    if (rc == ERR_NONE)
        rc = execute(db, "COMMIT", migration->name, err);
    return rc;
}

static int apply_all(PGconn *db, struct err *err)
{
    int rc = execute(db, "SELECT pg_advisory_lock(" LOCK ")", "lock the schema", err);
    int version = rc == ERR_NONE ? read_version(db, err) : -1;

    if (rc == ERR_NONE && version < 0)
        rc = ERR_INVALID;
    if (rc == ERR_NONE)
        rc = execute(db,
                     "CREATE TABLE IF NOT EXISTS schema_migrations (number integer PRIMARY KEY, "
                     "name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
                     "make the table of migrations", err);
    while (rc == ERR_NONE && version < migration_count)
        rc = apply(db, ++version, err);
    return rc;
}

int migrate(const struct pg_config *config, struct err *err)
{
    PGconn *db = pg_connect_blocking(config, TIMEOUT_MS);
    int version;
    int rc = ERR_NONE;

    if (PQstatus(db) != CONNECTION_OK) {
        rc = fail(db, ERR_UNREACHABLE, "connect to the database", err);
        PQfinish(db);
        return rc;
    }
    version = read_version(db, err);
    if (version < 0)
        rc = ERR_INVALID;
    else if (version > migration_count)
        rc = err_set(err, ERR_VERSION,
                     "the database has migration %d, this program knows %d: start a newer one",
                     version, migration_count);
    else if (version < migration_count)
        rc = apply_all(db, err);
    PQfinish(db);
    return rc;
}
