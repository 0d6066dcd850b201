#include "agent/logs/os_tail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/shim/shim.h"

#define PATH_SIZE 4096

/* Appends the last part of the file to @buffer's front part; missing files are no error. */
static int read_end(const char *path, size_t max, char **data, size_t *size, struct err *err)
{
    struct stat info;
    off_t from = 0;
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int rc = ERR_NONE;

    *data = NULL;
    *size = 0;
    if (fd < 0)
        return errno == ENOENT ? ERR_NONE : err_errno(err, ERR_IO, errno, "open %s", path);
    if (fstat(fd, &info) != 0)
        rc = err_errno(err, ERR_IO, errno, "look at %s", path);
    if (rc == ERR_NONE && (uintmax_t)info.st_size > max)
        from = info.st_size - (off_t)max;
    if (rc == ERR_NONE) {
        *data = malloc((size_t)(info.st_size - from) + 1);
        if (*data == NULL)
            rc = err_set(err, ERR_NOMEM, "read %s: %s", path, err_text(ERR_NOMEM));
    }
    if (rc == ERR_NONE) {
        n = pread(fd, *data, (size_t)(info.st_size - from), from);
        if (n < 0)
            rc = err_errno(err, ERR_IO, errno, "read %s", path);
        else
            *size = (size_t)n;
    }
    if (rc != ERR_NONE) {
        free(*data);
        *data = NULL;
    }
    close(fd);
    return rc;
}

/* Where the last @lines lines of @data begin. */
static size_t last_lines(const char *data, size_t size, size_t lines)
{
    size_t at = size;

    while (at > 0) {
        if (data[at - 1] == '\n' && at != size && --lines == 0)
            return at;
        at--;
    }
    return 0;
}

/* One frame "TIME STREAM F|P text\n" to @out; returns what was written. */
static size_t write_frame(FILE *out, const char *instance, const char *frame, size_t len,
                          bool *continued)
{
    const char *stream = memchr(frame, ' ', len);
    const char *tag =
        stream != NULL ? memchr(stream + 1, ' ', len - (size_t)(stream + 1 - frame)) : NULL;
    size_t used = tag != NULL ? (size_t)(tag - frame) : 0;

    if (tag == NULL || len - used < 3)
        return 0;
    if (!*continued)
        fprintf(out, "%.*s %s %.*s ", (int)(stream - frame), frame, instance,
                (int)(tag - stream - 1), stream + 1);
    for (const char *c = tag + 3; c < frame + len; c++)
        fputc((unsigned char)*c < ' ' && *c != '\t' ? '?' : *c, out);
    *continued = tag[1] == 'P';
    if (!*continued)
        fputc('\n', out);
    return len;
}

static void write_frames(FILE *out, const char *instance, const char *data, size_t size)
{
    bool continued = false;
    size_t at = 0;

    while (at < size) {
        const char *end = memchr(data + at, '\n', size - at);
        size_t len = end != NULL ? (size_t)(end - data) - at : size - at;
        write_frame(out, instance, data + at, len, &continued);
        at += len + 1;
    }
    if (continued)
        fputc('\n', out);
}

int os_tail(const char *log_dir, const char *instance, size_t lines, char **text, size_t *size,
            struct err *err)
{
    char name[INSTANCE_MAX];
    char path[PATH_SIZE];
    char *newer = NULL;
    char *older = NULL;
    size_t newer_size = 0;
    size_t older_size = 0;
    size_t from;
    FILE *out;
    int rc;

    if (!shim_instance_valid(instance))
        return err_set(err, ERR_INVALID, "\"%.64s\" is no name of an instance", instance);
    if (lines > TAIL_LINES_MAX)
        lines = TAIL_LINES_MAX;
    shim_instance_file(instance, name);
    snprintf(path, sizeof path, "%.3800s/%s/log", log_dir, name);
    rc = read_end(path, TAIL_BYTES_MAX / 2, &newer, &newer_size, err);
    if (rc != ERR_NONE)
        return rc;
    from = last_lines(newer, newer_size, lines);
    if (from == 0 && newer_size < TAIL_BYTES_MAX / 2) {
        size_t have = 0;
        for (size_t i = 0; i < newer_size; i++)
            have += newer[i] == '\n';
        snprintf(path, sizeof path, "%.3800s/%s/log.1", log_dir, name);
        if (have < lines)
            rc = read_end(path, TAIL_BYTES_MAX / 2, &older, &older_size, err);
        lines -= have < lines ? have : lines;
    }
    if (rc != ERR_NONE)
        goto out;
    if (newer == NULL && older == NULL) {
        rc = err_set(err, ERR_NOTFOUND, "%s has logged nothing yet on this node", instance);
        goto out;
    }
    out = open_memstream(text, size);
    if (out == NULL) {
        rc = err_set(err, ERR_NOMEM, "read the log of %s: %s", instance, err_text(ERR_NOMEM));
        goto out;
    }
    if (older != NULL && lines > 0) {
        size_t start = last_lines(older, older_size, lines);
        write_frames(out, instance, older + start, older_size - start);
    }
    write_frames(out, instance, newer + from, newer_size - from);
    if (fclose(out) != 0)
        rc = err_set(err, ERR_NOMEM, "read the log of %s: %s", instance, err_text(ERR_NOMEM));

out:
    free(newer);
    free(older);
    return rc;
}
