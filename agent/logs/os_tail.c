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

/* All of the @size bytes from @from that there are; the file may have been cut meanwhile. */
static ssize_t read_part(int fd, char *data, size_t size, off_t from)
{
    size_t used = 0;
    ssize_t n = 1;

    while (used < size && n > 0) {
        n = pread(fd, data + used, size - used, from + (off_t)used);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            used += (size_t)n;
    }
    return n < 0 ? n : (ssize_t)used;
}

static void drop_cut_frame(char *data, size_t *size)
{
    const char *end = memchr(data, '\n', *size);
    size_t cut = end != NULL ? (size_t)(end - data) + 1 : *size;

    *size -= cut;
    memmove(data, data + cut, *size);
}

/* The last part of the file, from the beginning of a frame; a missing one is no error. */
static int read_end(const char *path, size_t max, char **data, size_t *size, bool *whole,
                    struct err *err)
{
    struct stat info;
    off_t from = 0;
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int rc = ERR_NONE;

    *data = NULL;
    *size = 0;
    *whole = true;
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
        n = read_part(fd, *data, (size_t)(info.st_size - from), from);
        if (n < 0)
            rc = err_errno(err, ERR_IO, errno, "read %s", path);
        else
            *size = (size_t)n;
    }
    if (rc == ERR_NONE && from > 0)
        drop_cut_frame(*data, size);
    *whole = from == 0;
    if (rc != ERR_NONE) {
        free(*data);
        *data = NULL;
    }
    close(fd);
    return rc;
}

/* Where the last @lines (at least 1) lines of @data begin. */
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

struct part { /* of a line that was split, if any: the stream that it belongs to */
    const char *stream;
    size_t len;
};

/* One frame "TIME STREAM F|P text" to @out. */
static void write_frame(FILE *out, const char *instance, const char *frame, size_t len,
                        struct part *part)
{
    const char *stream = memchr(frame, ' ', len);
    const char *tag =
        stream != NULL ? memchr(stream + 1, ' ', len - (size_t)(stream + 1 - frame)) : NULL;
    struct part own;

    if (tag == NULL || len - (size_t)(tag - frame) < 3)
        return;
    own = (struct part){.stream = stream + 1, .len = (size_t)(tag - stream) - 1};
    if (part->stream != NULL &&
        (part->len != own.len || memcmp(part->stream, own.stream, own.len) != 0)) {
        fputc('\n', out); /* another stream's line came between */
        part->stream = NULL;
    }
    if (part->stream == NULL)
        fprintf(out, "%.*s %s %.*s ", (int)(stream - frame), frame, instance, (int)own.len,
                own.stream);
    for (const char *c = tag + 3; c < frame + len; c++)
        fputc((unsigned char)*c < ' ' && *c != '\t' ? '?' : *c, out);
    if (tag[1] == 'P') {
        *part = own;
    } else {
        fputc('\n', out);
        part->stream = NULL;
    }
}

static void write_frames(FILE *out, const char *instance, const char *data, size_t size)
{
    struct part part = {0};
    size_t at = 0;

    while (at < size) {
        const char *end = memchr(data + at, '\n', size - at);
        size_t len = end != NULL ? (size_t)(end - data) - at : size - at;
        write_frame(out, instance, data + at, len, &part);
        at += len + 1;
    }
    if (part.stream != NULL)
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
    bool whole;
    size_t from;
    FILE *out;
    int rc;

    if (!shim_instance_valid(instance))
        return err_set(err, ERR_INVALID, "\"%.64s\" is no name of an instance", instance);
    if (lines == 0 || lines > TAIL_LINES_MAX)
        lines = TAIL_LINES_MAX;
    shim_instance_file(instance, name);
    snprintf(path, sizeof path, "%.3800s/%s/log", log_dir, name);
    rc = read_end(path, TAIL_BYTES_MAX / 2, &newer, &newer_size, &whole, err);
    if (rc != ERR_NONE)
        return rc;
    from = last_lines(newer, newer_size, lines);
    if (from == 0 && whole) {
        size_t have = 0;
        for (size_t i = 0; i < newer_size; i++)
            have += newer[i] == '\n';
        snprintf(path, sizeof path, "%.3800s/%s/log.1", log_dir, name);
        if (have < lines)
            rc = read_end(path, TAIL_BYTES_MAX / 2, &older, &older_size, &whole, err);
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
    if (fclose(out) != 0) {
        free(*text);
        rc = err_set(err, ERR_NOMEM, "read the log of %s: %s", instance, err_text(ERR_NOMEM));
    }

out:
    free(newer);
    free(older);
    return rc;
}
