#include "agent/io/os_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PATH_BYTES 4096
#define TEMPORARY ".covey-new"
#define DEPTH_MAX 100 /* folders inside each other: a path has at most 200 bytes */

int os_files_dir(const char *run_dir, const char *instance, char *path, size_t size,
                 struct err *err)
{
    int n = snprintf(path, size, "%s/files/%s", run_dir, instance);

    if (n < 0 || (size_t)n >= size)
        return err_set(err, ERR_LIMIT, "the path of the files of %s is too long", instance);
    return ERR_NONE;
}

static int failed(struct err *err, const char *what, const char *path)
{
    int errnum = errno;

    return err_errno(err, errnum == ENOSPC || errnum == EDQUOT ? ERR_NOSPACE : ERR_IO, errnum,
                     "%s %s", what, path);
}

/* A folder stays the agent's: its user reads it by the group. Who could rename in it could lead the
 * next write elsewhere. */
static int give(const char *path, const struct os_files_owner *owner, struct err *err)
{
    if (owner->set && lchown(path, (uid_t)-1, owner->gid) != 0)
        return failed(err, "give to its group", path);
    return ERR_NONE;
}

/* Makes <run_dir>/files, the instance's folder and those of the path in it. */
static int make_folders(const char *run_dir, char *path, const struct os_files_owner *owner,
                        struct err *err)
{
    size_t base = strlen(run_dir) + 1;
    char *slash = strchr(path + base, '/');
    bool own = false; /* the first is everybody's way to the others */
    int rc = ERR_NONE;

    while (slash != NULL && rc == ERR_NONE) {
        *slash = '\0';
        if (mkdir(path, own ? 0750 : 0711) == 0)
            rc = own ? give(path, owner, err) : ERR_NONE;
        else if (errno != EEXIST)
            rc = failed(err, "make the folder", path);
        *slash = '/';
        slash = strchr(slash + 1, '/');
        own = true;
    }
    return rc;
}

/* What lies there is a plain file with these bytes, permissions and owner. */
static bool same(const char *path, const struct desired_content *file,
                 const struct os_files_owner *owner)
{
    size_t size = strlen(file->text), done = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    bool equal = false;
    char block[4096];

    if (fd < 0)
        return false;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (size_t)st.st_size == size &&
        (st.st_mode & 07777) == file->mode && (!owner->set || st.st_uid == owner->uid)) {
        ssize_t n = 0;
        while (done < size && (n = read(fd, block, sizeof block)) > 0 && (size_t)n <= size - done &&
               memcmp(block, file->text + done, (size_t)n) == 0)
            done += (size_t)n;
        equal = done == size;
    }
    close(fd);
    return equal;
}

static int write_new(const char *path, const struct desired_content *file,
                     const struct os_files_owner *owner, struct err *err)
{
    size_t size = strlen(file->text), done = 0;
    char temporary[PATH_BYTES];
    int n = snprintf(temporary, sizeof temporary, "%s" TEMPORARY, path);
    int rc = ERR_NONE;
    int fd;

    if (n < 0 || (size_t)n >= sizeof temporary)
        return err_set(err, ERR_LIMIT, "the path of %s is too long", file->path);
    (void)unlink(temporary);
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return failed(err, "make", temporary);
    while (rc == ERR_NONE && done < size) {
        ssize_t written = write(fd, file->text + done, size - done);
        if (written < 0 && errno != EINTR)
            rc = failed(err, "write", temporary);
        done += written > 0 ? (size_t)written : 0;
    }
    if (rc == ERR_NONE && owner->set && fchown(fd, owner->uid, owner->gid) != 0)
        rc = failed(err, "give to its user", temporary);
    if (rc == ERR_NONE && fchmod(fd, file->mode) != 0)
        rc = failed(err, "set the permissions of", temporary);
    close(fd);
    if (rc == ERR_NONE && rename(temporary, path) != 0)
        rc = failed(err, "rename to", path);
    if (rc != ERR_NONE)
        (void)unlink(temporary);
    return rc;
}

/* Removes what is below @dir, save the files of the list. @prefix is @dir's path in the instance.
 */
static void clean(int parent, const char *dir, const char *prefix,
                  const struct desired_content *files, size_t count, int depth)
{
    int fd = openat(parent, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;

    if (list == NULL && fd >= 0)
        close(fd);
    while (list != NULL && depth < DEPTH_MAX && (entry = readdir(list)) != NULL) {
        char path[PATH_BYTES];
        bool wanted = false;
        int n = snprintf(path, sizeof path, "%s%s", prefix, entry->d_name);
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || n < 0 ||
            (size_t)n + 1 >= sizeof path)
            continue;
        for (size_t i = 0; i < count; i++)
            wanted = wanted || strcmp(files[i].path, path) == 0;
        if (wanted || unlinkat(fd, entry->d_name, 0) == 0)
            continue;
        strcat(path, "/");
        clean(fd, entry->d_name, path, files, count, depth + 1);
        (void)unlinkat(fd, entry->d_name, AT_REMOVEDIR); /* fails while something is wanted in it */
    }
    if (list != NULL)
        closedir(list);
}

int os_files_write(const char *run_dir, const char *instance, const struct desired_content *files,
                   size_t count, bool all, bool leave, const struct os_files_owner *owner,
                   struct os_files_found *found, struct err *err)
{
    struct os_files_found ignored;
    char dir[PATH_BYTES], path[PATH_BYTES];
    int rc = os_files_dir(run_dir, instance, dir, sizeof dir, err);

    found = found != NULL ? found : &ignored;
    *found = (struct os_files_found){false, false};
    if (rc == ERR_NONE && all && !leave)
        clean(AT_FDCWD, dir, "", files, count, 0);
    for (size_t i = 0; i < count && rc == ERR_NONE; i++) {
        const struct desired_content *file = &files[i];
        int n = snprintf(path, sizeof path, "%s/%s", dir, file->path);
        if (n < 0 || (size_t)n >= sizeof path)
            return err_set(err, ERR_LIMIT, "the path of the file %s is too long", file->path);
        if ((!all && file->change == DESIRED_CHANGE_RESTART) || same(path, file, owner))
            continue;
        found->differs = true;
        if (leave)
            continue;
        rc = make_folders(run_dir, path, owner, err);
        if (rc == ERR_NONE)
            rc = write_new(path, file, owner, err);
        if (rc == ERR_NONE && file->change == DESIRED_CHANGE_SIGNAL)
            found->signal = true;
    }
    return rc;
}

int os_files_in_memory(const char *run_dir, struct err *err)
{
    struct statfs fs;

    if (statfs(run_dir, &fs) != 0)
        return err_errno(err, ERR_IO, errno, "look at the file system of %s", run_dir);
    if ((unsigned long)fs.f_type == TMPFS_MAGIC || (unsigned long)fs.f_type == RAMFS_MAGIC)
        return ERR_NONE;
    return err_set(err, ERR_DENIED,
                   "a file with a secret would be written to a disk: run_dir (%s) must lie on a "
                   "tmpfs, as /run does",
                   run_dir);
}

void os_files_remove(const char *run_dir, const char *instance)
{
    char dir[PATH_BYTES];

    if (os_files_dir(run_dir, instance, dir, sizeof dir, NULL) != ERR_NONE)
        return;
    clean(AT_FDCWD, dir, "", NULL, 0, 0);
    (void)rmdir(dir);
}

void os_child_signal(pid_t pid, pid_t parent, int signal)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    char path[64], line[128];
    long found = 0;
    FILE *status;

    if (fd < 0)
        return;
    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    status = fopen(path, "re");
    while (status != NULL && found == 0 && fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, "PPid:", 5) == 0)
            found = strtol(line + 5, NULL, 10);
    if (status != NULL)
        fclose(status);
    if (found != 0 && found == (long)parent)
        (void)syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0);
    close(fd);
}
