/* A copy of the whole store, for the way back from a newer schema. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "store/db.h"

#define BACKUP "covey.db.before-upgrade"

static int backup_path(const char *dir, const char *name, char path[STORE_PATH_MAX],
                       struct err *err)
{
    if (snprintf(path, STORE_PATH_MAX, "%s/%s", dir, name) >= STORE_PATH_MAX)
        return err_set(err, ERR_LIMIT, "the path of the store is too long");
    return ERR_NONE;
}

int store_backup(struct store *store, const char *dir, struct err *err)
{
    static const char what[] = "copy the store before the upgrade";
    char path[STORE_PATH_MAX];
    struct query q;
    int rc = backup_path(dir, BACKUP, path, err);

    if (rc != ERR_NONE)
        return rc;
    unlink(path);
    query_start(&q, store, "VACUUM INTO ?");
    query_text(&q, path);
    return query_finish(&q, err, what);
}

int store_restore(const char *dir, struct err *err)
{
    static const char *const side[] = {"covey.db-wal", "covey.db-shm"};
    char path[STORE_PATH_MAX];
    char backup[STORE_PATH_MAX];
    int rc = backup_path(dir, BACKUP, backup, err);

    for (size_t i = 0; rc == ERR_NONE && i < 2; i++) {
        rc = backup_path(dir, side[i], path, err);
        if (rc == ERR_NONE)
            unlink(path);
    }
    if (rc == ERR_NONE)
        rc = backup_path(dir, "covey.db", path, err);
    if (rc == ERR_NONE && rename(backup, path) != 0)
        rc = err_errno(err, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, errno,
                       "restore the store of before the upgrade");
    return rc;
}

void store_drop_backup(const char *dir)
{
    char path[STORE_PATH_MAX];

    if (backup_path(dir, BACKUP, path, NULL) == ERR_NONE)
        unlink(path);
}
