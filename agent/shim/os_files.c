#include "agent/shim/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static struct flock whole_file(void)
{
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
}

/* The lock counts only while the file can be found by its name: one that was removed between open
 * and lock guards nothing. */
static bool same_file(int dir, int fd)
{
    struct stat named;
    struct stat opened;

    return fstat(fd, &opened) == 0 && fstatat(dir, SHIM_LOCK, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           named.st_ino == opened.st_ino && named.st_dev == opened.st_dev;
}

int shim_lock_take(int dir, int *fd, struct err *err)
{
    struct flock lock = whole_file();
    int rc;
    int f = openat(dir, SHIM_LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (f < 0)
        return err_errno(err, ERR_IO, errno, "open the lock of the instance");
    /* A lock of the open file, not of the process: the one of the process would be lost with the
     * first descriptor closed. */
    if (fcntl(f, F_OFD_SETLK, &lock) != 0) {
        rc = errno == EAGAIN || errno == EACCES
                 ? err_set(err, ERR_EXISTS, "the instance runs already under another shim")
                 : err_errno(err, ERR_IO, errno, "lock the instance");
        goto err_after_open;
    }
    if (!same_file(dir, f)) {
        rc = err_set(err, ERR_EXISTS, "the instance is being removed; try again");
        goto err_after_open;
    }
    *fd = f;
    return ERR_NONE;

err_after_open:
    close(f);
    return rc;
}

bool shim_lock_held(int dir)
{
    struct flock lock = whole_file();
    int fd = openat(dir, SHIM_LOCK, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    bool held;

    if (fd < 0)
        return false;
    /* Asks only: a lock taken for a moment could turn a start away. */
    held = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    close(fd);
    return held;
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

int shim_file_write(int dir, const char *name, const struct shim_record *record, bool sync,
                    struct err *err)
{
    char buffer[SHIM_RECORD_MAX];
    char temporary[32];
    size_t len = shim_record_encode(record, buffer);
    int rc;
    int fd;

    snprintf(temporary, sizeof temporary, "%s.new", name);
    fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(err, ERR_IO, errno, "create the record %s of %s", name, record->instance);
    if (write_all(fd, buffer, len) != 0 || (sync && fsync(fd) != 0))
        goto err_after_open;
    if (renameat(dir, temporary, dir, name) != 0 || (sync && fsync(dir) != 0))
        goto err_after_open;
    close(fd);
    return ERR_NONE;

err_after_open:
    rc = err_errno(err, ERR_IO, errno, "write the record %s of %s", name, record->instance);
    close(fd);
    unlinkat(dir, temporary, 0);
    return rc;
}

int shim_file_read(int dir, const char *name, struct shim_record *record)
{
    char buffer[SHIM_RECORD_MAX];
    ssize_t n;
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return errno == ENOENT ? ERR_NOTFOUND : ERR_IO;
    do
        n = read(fd, buffer, sizeof buffer);
    while (n < 0 && errno == EINTR);
    close(fd);
    return n < 0 ? ERR_IO : shim_record_decode(buffer, (size_t)n, record);
}
