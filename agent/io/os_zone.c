#include "agent/io/os_zone.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "/usr/share/zoneinfo"

int os_zone_rule(const char *name, char text[OS_ZONE_TEXT], struct err *err)
{
    char path[256];
    char end[OS_ZONE_TEXT + 2];
    struct stat info;
    char *begin;
    ssize_t n = -1;
    off_t from;
    int fd;

    snprintf(path, sizeof path, FOLDER "/%.200s", name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, ERR_NOTFOUND,
                       "this node knows no time zone %.64s: is tzdata installed, and is it spelt "
                       "as in Europe/Berlin?",
                       name);
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) {
        from = info.st_size > (off_t)sizeof end - 1 ? info.st_size - (off_t)sizeof end + 1 : 0;
        n = pread(fd, end, sizeof end - 1, from);
    }
    close(fd);
    /* "\nRULE\n" ends the file. */
    if (n < 3 || end[n - 1] != '\n')
        return err_set(err, ERR_INVALID, "%s is no file of the tz database", path);
    end[n - 1] = '\0';
    begin = memrchr(end, '\n', (size_t)n - 1);
    if (begin == NULL || strlen(begin + 1) >= OS_ZONE_TEXT || begin[1] == '\0')
        return err_set(err, ERR_INVALID, "%s has no rule for times to come", path);
    memcpy(text, begin + 1, strlen(begin + 1) + 1);
    return ERR_NONE;
}
