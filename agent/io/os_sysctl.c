#include "agent/io/os_sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_LEN 128

static int path_of(const char *interface, const char *name, char path[PATH_LEN], struct err *err)
{
    int n;

    if (interface[0] == '.' || strchr(interface, '/') != NULL || name[0] == '.' ||
        strchr(name, '/') != NULL)
        return err_set(err, ERR_INVALID, "\"%s\" of \"%s\" is not a setting", name, interface);
    n = snprintf(path, PATH_LEN, "/proc/sys/net/ipv4/conf/%s/%s", interface, name);
    if (n < 0 || n >= PATH_LEN)
        return err_set(err, ERR_INVALID, "the name of the setting is too long");
    return ERR_NONE;
}

static int code_of(int errnum)
{
    if (errnum == ENOENT)
        return ERR_NOTFOUND;
    return errnum == EACCES || errnum == EPERM || errnum == EROFS ? ERR_DENIED : ERR_IO;
}

int os_sysctl_get(const char *interface, const char *name, int *value, struct err *err)
{
    char path[PATH_LEN];
    char text[32];
    char *end;
    long number;
    ssize_t n;
    int fd;
    int rc = path_of(interface, name, path, err);

    if (rc != ERR_NONE)
        return rc;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, code_of(errno), errno, "open %s", path);
    n = read(fd, text, sizeof text - 1);
    if (n < 0) {
        rc = err_errno(err, ERR_IO, errno, "read %s", path);
        goto err_after_open;
    }
    text[n] = '\0';
    errno = 0;
    number = strtol(text, &end, 10);
    if (end == text || errno != 0 || number < INT_MIN || number > INT_MAX)
        rc = err_set(err, ERR_INVALID, "%s is not a number", path);
    else
        *value = (int)number;

err_after_open:
    close(fd);
    return rc;
}

int os_sysctl_set(const char *interface, const char *name, int value, struct err *err)
{
    char path[PATH_LEN];
    char text[16];
    int len = snprintf(text, sizeof text, "%d", value);
    int fd;
    int rc = path_of(interface, name, path, err);

    if (rc != ERR_NONE)
        return rc;
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, code_of(errno), errno, "open %s", path);
    if (write(fd, text, (size_t)len) < 0)
        rc = err_errno(err, code_of(errno), errno, "write %d to %s", value, path);
    close(fd);
    return rc;
}
