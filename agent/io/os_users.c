#include "agent/io/os_users.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/id.h"

#define PATH_BYTES 4096

/* Reads "<workload> <uid>" lines. @taken: a bit per number; true: @workload has one. */
static bool read_users(FILE *file, const char *workload, uint8_t taken[OS_USERS_COUNT / 8],
                       uid_t *uid)
{
    char name[INSTANCE_MAX];
    unsigned long number;
    bool found = false;

    while (file != NULL && fscanf(file, "%127s %lu", name, &number) == 2) {
        if (number < OS_USERS_FIRST || number - OS_USERS_FIRST >= OS_USERS_COUNT)
            continue;
        number -= OS_USERS_FIRST;
        taken[number / 8] |= (uint8_t)(1u << number % 8);
        if (strcmp(name, workload) == 0) {
            *uid = (uid_t)(OS_USERS_FIRST + number);
            found = true;
        }
    }
    return found;
}

static int append(const char *path, const char *workload, uid_t uid, struct err *err)
{
    FILE *file = fopen(path, "ae");
    bool failed;

    if (file == NULL)
        return err_errno(err, ERR_IO, errno, "open %s", path);
    failed = fprintf(file, "%s %lu\n", workload, (unsigned long)uid) < 0 || fflush(file) != 0 ||
             fsync(fileno(file)) != 0;
    if (fclose(file) != 0 || failed)
        return err_errno(err, ERR_IO, errno, "write %s", path);
    return ERR_NONE;
}

int os_users_get(const char *state_dir, const char *workload, uid_t *uid, struct err *err)
{
    uint8_t taken[OS_USERS_COUNT / 8] = {0};
    uint32_t first = (uint32_t)(hash64_string(workload) % OS_USERS_COUNT);
    char path[PATH_BYTES];
    FILE *file;
    bool found;

    if (snprintf(path, sizeof path, "%s/users", state_dir) >= (int)sizeof path)
        return err_set(err, ERR_LIMIT, "state_dir is too long");
    file = fopen(path, "re");
    if (file == NULL && errno != ENOENT)
        return err_errno(err, ERR_IO, errno, "open %s", path);
    found = read_users(file, workload, taken, uid);
    if (file != NULL)
        fclose(file);
    if (found)
        return ERR_NONE;
    for (uint32_t i = 0; i < OS_USERS_COUNT; i++) {
        uint32_t n = (first + i) % OS_USERS_COUNT;
        if ((taken[n / 8] & 1u << n % 8) != 0)
            continue;
        *uid = (uid_t)(OS_USERS_FIRST + n);
        return append(path, workload, *uid, err);
    }
    return err_set(err, ERR_FULL, "%s has no user left for %s", path, workload);
}
