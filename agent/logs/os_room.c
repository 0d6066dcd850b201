#include "agent/logs/os_room.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/shim/shim.h"

#define BLOCK 512 /* of st_blocks */

struct looked {
    struct log_file *files;
    size_t count, room;
    char (*folders)[INSTANCE_MAX];
    size_t folder_count, folder_room;
};

/* Room for one more of @size bytes; false: no memory. */
static bool grow(void **list, size_t count, size_t *room, size_t size)
{
    void *grown;

    if (count < *room)
        return true;
    grown = realloc(*list, (*room * 2 + 64) * size);
    if (grown == NULL)
        return false;
    *list = grown;
    *room = *room * 2 + 64;
    return true;
}

static bool is_log(const char *name)
{
    size_t len = strlen(SHIM_LOG);

    if (strlen(name) >= LOG_FILE_NAME || strncmp(name, SHIM_LOG, len) != 0)
        return false;
    return name[len] == '\0' || (name[len] == '.' && name[len + 1] != '\0' &&
                                 strspn(name + len + 1, "0123456789") == strlen(name + len + 1));
}

static int look_at_file(struct looked *l, int folder, const char *name, bool gone)
{
    struct log_file *file;
    struct stat info;

    if (!is_log(name) || l->count >= LOG_ROOM_FILES_MAX ||
        fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(info.st_mode))
        return ERR_NONE;
    if (!grow((void **)&l->files, l->count, &l->room, sizeof *l->files))
        return ERR_NOMEM;
    file = &l->files[l->count++];
    *file = (struct log_file){.inode = info.st_ino,
                              .folder = l->folder_count - 1,
                              .gone = gone,
                              .present = strcmp(name, SHIM_LOG) == 0,
                              .bytes = (uint64_t)info.st_blocks * BLOCK,
                              .at_s = info.st_mtim.tv_sec};
    memcpy(file->name, name, strlen(name) + 1);
    return ERR_NONE;
}

static int look_at_folder(struct looked *l, int dir, const char *name, bool gone)
{
    int fd = openat(dir, name, O_DIRECTORY | O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    size_t first = l->count;
    int64_t newest = INT64_MIN;
    struct dirent *entry;
    int rc = ERR_NONE;

    if (folder == NULL) {
        if (fd >= 0)
            close(fd);
        return ERR_NONE; /* no folder, or gone meanwhile */
    }
    if (!grow((void **)&l->folders, l->folder_count, &l->folder_room, sizeof *l->folders)) {
        closedir(folder);
        return ERR_NOMEM;
    }
    snprintf(l->folders[l->folder_count++], INSTANCE_MAX, "%.*s", INSTANCE_MAX - 1, name);
    while (rc == ERR_NONE && (entry = readdir(folder)) != NULL)
        rc = look_at_file(l, fd, entry->d_name, gone);
    closedir(folder);
    for (size_t i = first; i < l->count; i++)
        newest = l->files[i].at_s > newest ? l->files[i].at_s : newest;
    for (size_t i = first; i < l->count; i++)
        l->files[i].folder_at_s = newest;
    return rc;
}

/* @name is a folder's: '@' stands for '/', and the second process of a hand-over has a '_'. */
static bool is_gone(const struct log_room_instances *instances, int shims, const char *name)
{
    char file[INSTANCE_MAX];

    if (!instances->known || faccessat(shims, name, F_OK, 0) == 0)
        return false;
    for (size_t i = 0; i < instances->count; i++) {
        size_t len;
        shim_instance_file(instances->names[i], file);
        len = strlen(file);
        if (strncmp(name, file, len) == 0 && (name[len] == '\0' || strcmp(name + len, "_") == 0))
            return false;
    }
    return true;
}

static int look(struct looked *l, int dir, int shims, const struct log_room_instances *instances)
{
    int fd = openat(dir, ".", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    int rc = ERR_NONE;

    if (folder == NULL) {
        if (fd >= 0)
            close(fd);
        return ERR_IO;
    }
    while (rc == ERR_NONE && (entry = readdir(folder)) != NULL)
        if (entry->d_name[0] != '.' && strlen(entry->d_name) < INSTANCE_MAX)
            rc = look_at_folder(l, dir, entry->d_name, is_gone(instances, shims, entry->d_name));
    closedir(folder);
    return rc;
}

/* What has another name by now was rotated. */
static void remove_file(int dir, const struct looked *l, const struct log_file *file,
                        struct log_room_found *found)
{
    char path[INSTANCE_MAX + LOG_FILE_NAME + 1];
    struct stat info;

    snprintf(path, sizeof path, "%s/%s", l->folders[file->folder], file->name);
    if (fstatat(dir, path, &info, AT_SYMLINK_NOFOLLOW) != 0 || info.st_ino != file->inode ||
        unlinkat(dir, path, 0) != 0) {
        found->bytes += file->bytes;
        return;
    }
    found->removed_bytes += file->bytes;
    found->removed++;
    /* Its last one: the folder goes too. One that a new shim is about to open is made by it. */
    if (file->gone && unlinkat(dir, l->folders[file->folder], AT_REMOVEDIR) == 0)
        found->removed_gone++;
}

int os_room_make(const char *dir, const char *shims, const struct log_room *room,
                 const struct log_room_instances *instances, int64_t now_s,
                 struct log_room_found *found, struct err *err)
{
    struct looked looked = {0};
    int shims_fd = open(shims, O_DIRECTORY | O_PATH | O_CLOEXEC);
    int fd = open(dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    int rc;

    *found = (struct log_room_found){0};
    if (fd < 0 || shims_fd < 0) {
        rc = errno == ENOENT ? ERR_NONE : err_errno(err, ERR_IO, errno, "open %s", dir);
        goto out;
    }
    rc = look(&looked, fd, shims_fd, instances);
    if (rc != ERR_NONE) {
        err_set(err, rc, "look at the logs in %s: %s", dir, err_text(rc));
        goto out;
    }
    found->bytes = log_room_plan(looked.files, looked.count, room, now_s);
    for (size_t i = 0; i < looked.count; i++)
        if (looked.files[i].remove)
            remove_file(fd, &looked, &looked.files[i], found);
out:
    if (fd >= 0)
        close(fd);
    if (shims_fd >= 0)
        close(shims_fd);
    free(looked.files);
    free(looked.folders);
    return rc;
}
