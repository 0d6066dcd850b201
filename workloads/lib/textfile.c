#include "workloads/lib/textfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static int write_beside(const char *path, const char *beside, const struct out *text,
                        struct err *err)
{
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int rc;

    if (fd < 0)
        return err_errno(err, ERR_IO, errno, "create %s", beside);
    rc = write_all(fd, text->data, text->len);
    /* Synced before the rename: after a power cut the file must not be empty. */
    if (rc == 0 && fsync(fd) != 0)
        rc = errno;
    if (close(fd) != 0 && rc == 0)
        rc = errno;
    if (rc == 0 && rename(beside, path) != 0)
        rc = errno;
    if (rc == 0)
        return ERR_NONE;
    unlink(beside);
    return err_errno(err, ERR_IO, rc, "write %s", path);
}

int textfile_write(struct metrics *metrics, const char *path, struct err *err)
{
    char beside[PATH_MAX];
    struct out text;
    int n = snprintf(beside, sizeof beside, "%s.tmp%ld", path, (long)getpid());
    int rc;

    if (n < 0 || (size_t)n >= sizeof beside)
        return err_set(err, ERR_INVALID, "the path of the metrics file is too long");
    out_init(&text, NULL, 0, METRICS_TEXT_MAX);
    metrics_render(metrics, &text);
    if (text.failed)
        rc = err_set(err, ERR_NOMEM, "write %s: the metrics do not fit into memory", path);
    else
        rc = write_beside(path, beside, &text, err);
    out_free(&text);
    return rc;
}
