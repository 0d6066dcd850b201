#include "agent/io/os_start.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/io/os_clock.h"

#define PATH_SIZE 4096
#define LINE_SIZE (OS_BOOT_ID_TEXT + 12) /* the boot's id, a space, the number, a newline */

static int find_paths(const char *run_dir, char path[PATH_SIZE], char fresh[PATH_SIZE],
                      struct err *err)
{
    if (snprintf(path, PATH_SIZE, "%s/start", run_dir) >= PATH_SIZE ||
        snprintf(fresh, PATH_SIZE, "%s/start.new", run_dir) >= PATH_SIZE)
        return err_set(err, ERR_LIMIT, "run_dir %.100s… is too long", run_dir);
    return ERR_NONE;
}

static int format(uint32_t number, char line[LINE_SIZE], int *size, struct err *err)
{
    char id[OS_BOOT_ID_TEXT] = "";
    int rc = os_clock_boot_id(id, err);

    if (rc == ERR_NONE)
        *size = snprintf(line, LINE_SIZE, "%s %" PRIu32 "\n", id, number);
    return rc;
}

static int write_number(const char *path, const char *fresh, uint32_t number, struct err *err)
{
    char line[LINE_SIZE];
    int size = 0;
    ssize_t n;
    int fd;
    int rc = format(number, line, &size, err);

    if (rc != ERR_NONE)
        return rc;
    fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, ERR_IO, errno, "write %s", fresh);
    n = write(fd, line, (size_t)size);
    if (n != size)
        rc = err_errno(err, ERR_IO, n < 0 ? errno : ENOSPC, "write %s", fresh);
    if (close(fd) != 0 && rc == ERR_NONE)
        rc = err_errno(err, ERR_IO, errno, "write %s", fresh);
    if (rc == ERR_NONE && rename(fresh, path) != 0)
        rc = err_errno(err, ERR_IO, errno, "write %s", path);
    if (rc != ERR_NONE)
        unlink(fresh);
    return rc;
}

/* What another boot wrote, or nobody in full, is as good as none: it is compared whole. */
static int read_last(const char *path, uint32_t *number, struct err *err)
{
    char found[LINE_SIZE + 1] = "";
    char line[LINE_SIZE];
    int size = 0;
    ssize_t n;
    int rc;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return err_errno(err, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, errno, "open %s", path);
    n = read(fd, found, LINE_SIZE);
    close(fd);
    if (n < 0)
        return err_errno(err, ERR_IO, errno, "read %s", path);
    if (n < OS_BOOT_ID_TEXT || sscanf(found + OS_BOOT_ID_TEXT, "%" SCNu32, number) != 1)
        return err_set(err, ERR_NOTFOUND, "%s is damaged", path);
    rc = format(*number, line, &size, err);
    if (rc == ERR_NONE && (n != size || memcmp(found, line, (size_t)size) != 0))
        return err_set(err, ERR_NOTFOUND, "%s is of another boot of the machine", path);
    return rc;
}

int os_start_next(const char *run_dir, uint32_t *number, struct err *err)
{
    char path[PATH_SIZE];
    char fresh[PATH_SIZE];
    uint32_t last = 0;
    int rc = find_paths(run_dir, path, fresh, err);

    if (rc == ERR_NONE)
        rc = read_last(path, &last, err);
    if (rc == ERR_NONE && last == UINT32_MAX)
        rc = err_set(err, ERR_LIMIT, "the number of starts in %s is used up", path);
    if (rc == ERR_NONE)
        rc = write_number(path, fresh, last + 1, err);
    if (rc == ERR_NONE)
        *number = last + 1;
    return rc;
}

int os_start_raise(const char *run_dir, uint32_t number, struct err *err)
{
    char path[PATH_SIZE];
    char fresh[PATH_SIZE];
    uint32_t last = 0;
    int rc = find_paths(run_dir, path, fresh, err);

    if (rc != ERR_NONE)
        return rc;
    if (read_last(path, &last, NULL) == ERR_NONE && last >= number)
        return ERR_NONE;
    return write_number(path, fresh, number, err);
}
