#include "agent/io/os_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct os_tree {
    struct desired_file *files;
    size_t count, room;
    size_t total; /* bytes of all files */
};

/* A folder being read. */
struct place {
    struct os_tree *tree;
    const char *top;  /* as the caller named it, for messages */
    const char *path; /* below @top, "" for itself */
    int fd;
    int depth;
    struct err *err;
};

static int add_file(const struct place *place, const char *path, char *data, size_t size)
{
    struct os_tree *tree = place->tree;
    char *copy;

    if (tree->count == DESIRED_FILES_MAX)
        return err_set(place->err, ERR_LIMIT, "%s/%s: more than %d files", place->top, path,
                       DESIRED_FILES_MAX);
    if (tree->count == tree->room) {
        size_t room = tree->room > 0 ? 2 * tree->room : 64;
        struct desired_file *grown = realloc(tree->files, room * sizeof *grown);
        if (grown == NULL)
            return err_set(place->err, ERR_NOMEM, "read %s: out of memory", place->top);
        tree->files = grown;
        tree->room = room;
    }
    copy = strdup(path);
    if (copy == NULL)
        return err_set(place->err, ERR_NOMEM, "read %s: out of memory", place->top);
    tree->files[tree->count++] = (struct desired_file){.path = copy, .data = data, .size = size};
    tree->total += size;
    return 0;
}

/* Reads at most @max bytes of @fd into @data; -1 and errno. */
static ssize_t read_up_to(int fd, char *data, size_t max)
{
    size_t used = 0;

    while (used < max) {
        ssize_t n = read(fd, data + used, max - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        used += (size_t)n;
    }
    return (ssize_t)used;
}

static int read_open_file(const struct place *place, const char *path, int fd)
{
    struct stat st;
    char *data;
    ssize_t size;
    int rc;

    if (fstat(fd, &st) != 0)
        return err_errno(place->err, ERR_IO, errno, "read %s/%s", place->top, path);
    if (!S_ISREG(st.st_mode))
        return err_set(place->err, ERR_INVALID, "%s/%s: no regular file", place->top, path);
    if (st.st_size > DESIRED_FILE_MAX)
        return err_set(place->err, ERR_LIMIT, "%s/%s: the file has %lld bytes; expected at most %d",
                       place->top, path, (long long)st.st_size, DESIRED_FILE_MAX);
    if (place->tree->total + (size_t)st.st_size > DESIRED_TREE_MAX)
        return err_set(place->err, ERR_LIMIT, "%s/%s: all files together have more than %d bytes",
                       place->top, path, DESIRED_TREE_MAX);
    data = malloc((size_t)st.st_size + 1);
    if (data == NULL)
        return err_set(place->err, ERR_NOMEM, "read %s: out of memory", place->top);
    size = read_up_to(fd, data, (size_t)st.st_size);
    if (size < 0)
        rc = err_errno(place->err, ERR_IO, errno, "read %s/%s", place->top, path);
    else
        rc = add_file(place, path, data, (size_t)size);
    if (rc != 0)
        free(data);
    return rc;
}

static int read_file(const struct place *place, const char *name, const char *path)
{
    int fd = openat(place->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    int rc;

    if (fd < 0)
        return err_errno(place->err, ERR_IO, errno, "open %s/%s", place->top, path);
    rc = read_open_file(place, path, fd);
    close(fd);
    return rc;
}

static int read_folder(const struct place *place);

static int enter_folder(const struct place *place, const char *name, const char *path)
{
    struct place below = *place;
    int rc;

    if (place->depth == TREE_FOLDERS_MAX)
        return err_set(place->err, ERR_LIMIT, "%s/%s: more than %d folders inside each other",
                       place->top, path, TREE_FOLDERS_MAX);
    below.path = path;
    below.depth++;
    below.fd = openat(place->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (below.fd < 0)
        return err_errno(place->err, ERR_IO, errno, "open %s/%s", place->top, path);
    rc = read_folder(&below);
    close(below.fd);
    return rc;
}

/* At the top only cluster.yaml and apps/ are of interest. */
static bool passed_over(const struct place *place, const char *name)
{
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return true;
    return place->path[0] == '\0' && strcmp(name, "apps") != 0 && !desired_wants(name);
}

static int read_entry(const struct place *place, const char *name)
{
    char path[DESIRED_PATH_MAX];
    struct stat st;
    int len =
        snprintf(path, sizeof path, "%s%s%s", place->path, place->path[0] != '\0' ? "/" : "", name);

    if (len < 0 || (size_t)len >= sizeof path)
        return err_set(place->err, ERR_LIMIT, "%s/%.80s...: the path is longer than %d bytes",
                       place->top, path, DESIRED_PATH_MAX - 1);
    if (fstatat(place->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return err_errno(place->err, ERR_IO, errno, "read %s/%s", place->top, path);
    if (S_ISLNK(st.st_mode))
        return err_set(place->err, ERR_INVALID,
                       "%s/%s: a symbolic link; put the file itself there, links are not followed",
                       place->top, path);
    if (S_ISDIR(st.st_mode))
        return enter_folder(place, name, path);
    return desired_wants(path) ? read_file(place, name, path) : 0;
}

static int read_folder(const struct place *place)
{
    int fd = fcntl(place->fd, F_DUPFD_CLOEXEC, 0);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    int rc = 0;

    if (dir == NULL) {
        rc = err_errno(place->err, ERR_IO, errno, "open %s/%s", place->top, place->path);
        if (fd >= 0)
            close(fd);
        return rc;
    }
    while (rc == 0) {
        const struct dirent *entry;
        errno = 0;
        entry = readdir(dir);
        if (entry == NULL && errno != 0)
            rc = err_errno(place->err, ERR_IO, errno, "read %s/%s", place->top, place->path);
        if (entry == NULL)
            break;
        if (!passed_over(place, entry->d_name))
            rc = read_entry(place, entry->d_name);
    }
    closedir(dir);
    return rc;
}

static int by_path(const void *left, const void *right)
{
    const struct desired_file *a = left, *b = right;

    return strcmp(a->path, b->path);
}

static int read_top(struct place *place)
{
    struct stat st;
    int rc;

    place->fd = open(place->top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (place->fd < 0)
        return err_errno(place->err, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, errno, "open %s",
                         place->top);
    if (fstatat(place->fd, "apps", &st, AT_SYMLINK_NOFOLLOW) != 0 &&
        fstatat(place->fd, "cluster.yaml", &st, AT_SYMLINK_NOFOLLOW) != 0)
        rc = err_set(place->err, ERR_NOTFOUND,
                     "%s holds neither cluster.yaml nor apps/: is it the top of the repository?",
                     place->top);
    else
        rc = read_folder(place);
    close(place->fd);
    return rc;
}

int os_tree_read(const char *dir, struct os_tree **tree, struct err *err)
{
    struct os_tree *made = calloc(1, sizeof *made);
    struct place place = {.tree = made, .top = dir, .path = "", .err = err};
    int rc;

    if (made == NULL)
        return err_set(err, ERR_NOMEM, "read %s: out of memory", dir);
    rc = read_top(&place);
    if (rc != 0) {
        os_tree_free(made);
        return rc;
    }
    if (made->count > 0)
        qsort(made->files, made->count, sizeof *made->files, by_path);
    *tree = made;
    return 0;
}

const struct desired_file *os_tree_files(const struct os_tree *tree, size_t *count)
{
    *count = tree->count;
    return tree->files;
}

void os_tree_free(struct os_tree *tree)
{
    if (tree == NULL)
        return;
    for (size_t i = 0; i < tree->count; i++) {
        free((char *)tree->files[i].path);
        free((char *)tree->files[i].data);
    }
    free(tree->files);
    free(tree);
}
