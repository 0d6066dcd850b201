#include "agent/io/os_keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/id.h"
#include "proto/wire/keys.h"

static int damaged(const struct keyfile_dir *d, const struct keyfile_kind *kind, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "%s/%s is damaged: %s", d->path, kind->name, kind->remedy);
}

static int check_access(const struct keyfile_dir *d, const struct keyfile_kind *kind, int fd,
                        struct err *err)
{
    const char *name = kind->name;
    mode_t refused = kind->secret ? 077 : 022;
    struct stat st;

    if (fstat(fd, &st) != 0)
        return err_errno(err, ERR_IO, errno, "look at %s/%s", d->path, name);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_DENIED, "%s/%s is no regular file", d->path, name);
    if (st.st_uid != geteuid())
        return err_set(err, ERR_DENIED,
                       "%s/%s belongs to user %lu, the agent runs as %lu: chown it, if it is yours",
                       d->path, name, (unsigned long)st.st_uid, (unsigned long)geteuid());
    if ((st.st_mode & refused) != 0)
        return err_set(err, ERR_DENIED,
                       "%s/%s is open to other users (mode %03o): run `chmod 600 %s/%s`%s", d->path,
                       name, (unsigned)(st.st_mode & 0777), d->path, name,
                       kind->secret ? ", and replace the key if somebody may have read it" : "");
    return ERR_NONE;
}

static int read_all(const struct keyfile_dir *d, const struct keyfile_kind *kind, int fd,
                    struct keyfile *t, struct err *err)
{
    t->len = 0;
    while (t->len < sizeof t->bytes) {
        ssize_t n = read(fd, t->bytes + t->len, sizeof t->bytes - t->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, ERR_IO, errno, "read %s/%s", d->path, kind->name);
        if (n == 0)
            return ERR_NONE;
        t->len += (size_t)n;
    }
    return damaged(d, kind, err); /* longer than any of ours */
}

/* The next line, without its end, into @line; false: there is none, or it is too long. */
static bool next_line(struct keyfile *t, char *line, size_t size)
{
    const char *start = t->bytes + t->at;
    const char *end = memchr(start, '\n', t->len - t->at);
    size_t len;

    if (end == NULL)
        return false;
    len = (size_t)(end - start);
    if (len >= size || memchr(start, '\0', len) != NULL)
        return false;
    memcpy(line, start, len);
    line[len] = '\0';
    t->at += len + 1;
    return true;
}

/* The value of the line "NAME = VALUE", which must come next. */
bool keyfile_field(struct keyfile *t, const char *name, char value[KEYFILE_VALUE_MAX])
{
    char line[KEYFILE_VALUE_MAX + 32];
    size_t len = strlen(name);
    bool good = next_line(t, line, sizeof line) && strncmp(line, name, len) == 0 &&
                strncmp(line + len, " = ", 3) == 0 && strlen(line + len + 3) < KEYFILE_VALUE_MAX;

    if (good)
        memcpy(value, line + len + 3, strlen(line + len + 3) + 1);
    keys_wipe(line, sizeof line);
    return good;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_hex(const char *text, uint8_t *out, size_t len)
{
    if (strlen(text) != 2 * len)
        return false;
    for (size_t i = 0; i < len; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool keyfile_hex(struct keyfile *t, const char *name, uint8_t *out, size_t len)
{
    char value[KEYFILE_VALUE_MAX];
    bool good = keyfile_field(t, name, value) && parse_hex(value, out, len);

    keys_wipe(value, sizeof value);
    return good;
}

static bool parse_number(const char *text, uint32_t *number)
{
    uint64_t value = 0;

    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        value = 10 * value + (uint64_t)(*text - '0');
        if (value > UINT32_MAX)
            return false;
    }
    *number = (uint32_t)value;
    return true;
}

bool keyfile_number(struct keyfile *t, const char *name, uint32_t *number)
{
    char value[KEYFILE_VALUE_MAX];

    return keyfile_field(t, name, value) && parse_number(value, number);
}

/* Checks the last line against all before it, and takes it away. */
static bool check_sum(struct keyfile *t)
{
    static const char field[] = "check = ";
    const size_t size = sizeof field - 1 + 16 + 1;
    char expected[32];

    if (t->len < size)
        return false;
    t->len -= size;
    snprintf(expected, sizeof expected, "%s%016" PRIx64 "\n", field, hash64(t->bytes, t->len));
    return memcmp(t->bytes + t->len, expected, size) == 0;
}

/* Reads a file up to its first field. On success its text must be wiped. */
int keyfile_load(const struct keyfile_dir *d, const struct keyfile_kind *kind, struct keyfile *t,
                 struct err *err)
{
    const char *name = kind->name, *title = kind->title;
    char line[KEYFILE_VALUE_MAX];
    size_t title_len = strlen(title);
    int rc, fd = openat(d->fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 && errno == ELOOP)
        return err_set(err, ERR_DENIED, "%s/%s is a symbolic link, a key file must not be one",
                       d->path, name);
    if (fd < 0)
        return err_errno(err, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, errno, "open %s/%s", d->path,
                         name);
    rc = check_access(d, kind, fd, err);
    t->at = 0;
    if (rc == ERR_NONE)
        rc = read_all(d, kind, fd, t, err);
    close(fd);
    if (rc == ERR_NONE &&
        (!next_line(t, line, sizeof line) || strncmp(line, title, title_len) != 0 ||
         strncmp(line + title_len, ", version ", 10) != 0))
        rc = damaged(d, kind, err);
    else if (rc == ERR_NONE && strcmp(line + title_len, ", version 1") != 0)
        rc = err_set(err, ERR_VERSION, "%s/%s was written by a newer release: install that, or %s",
                     d->path, name, kind->remedy);
    if (rc == ERR_NONE && (!check_sum(t) || !next_line(t, line, sizeof line)))
        rc = damaged(d, kind, err);
    if (rc != ERR_NONE)
        keys_wipe(t, sizeof *t);
    return rc;
}

/* Ends reading: all fields were @good, and nothing is left. */
int keyfile_end(const struct keyfile_dir *d, const struct keyfile_kind *kind, struct keyfile *t,
                bool good, struct err *err)
{
    good = good && t->at == t->len;
    keys_wipe(t, sizeof *t);
    return good ? ERR_NONE : damaged(d, kind, err);
}

/* All that is written is far below KEYFILE_MAX. */
void keyfile_put(struct keyfile *t, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(t->bytes + t->len, sizeof t->bytes - t->len, format, args);
    va_end(args);
    if (n > 0)
        t->len += (size_t)n;
}

void keyfile_put_hex(struct keyfile *t, const char *before, const uint8_t *data, size_t len)
{
    keyfile_put(t, "%s", before);
    for (size_t i = 0; i < len; i++)
        keyfile_put(t, "%02x", data[i]);
    keyfile_put(t, "\n");
}

void keyfile_begin(const struct keyfile_kind *kind, struct keyfile *t)
{
    t->len = 0;
    keyfile_put(t, "%s, version 1\n%s\n", kind->title, kind->notice);
}

static int write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        bytes += n;
        len -= (size_t)n;
    }
    return fsync(fd);
}

/* Adds the checksum, writes the file durably, and wipes the text. */
int keyfile_save(const struct keyfile_dir *d, const struct keyfile_kind *kind, struct keyfile *t,
                 struct err *err)
{
    const char *name = kind->name;
    char temporary[64];
    int rc = ERR_NONE, fd;

    keyfile_put(t, "check = %016" PRIx64 "\n", hash64(t->bytes, t->len));
    snprintf(temporary, sizeof temporary, ".%s.new", name);
    if (unlinkat(d->fd, temporary, 0) != 0 && errno != ENOENT) {
        rc = err_errno(err, ERR_IO, errno, "remove %s/%s", d->path, temporary);
        goto out;
    }
    fd = openat(d->fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        rc = err_errno(err, ERR_IO, errno, "create %s/%s", d->path, temporary);
        goto out;
    }
    if (write_all(fd, t->bytes, t->len) != 0)
        rc = err_errno(err, ERR_IO, errno, "write %s/%s", d->path, temporary);
    close(fd);
    if (rc == ERR_NONE && renameat(d->fd, temporary, d->fd, name) != 0)
        rc = err_errno(err, ERR_IO, errno, "rename %s/%s to %s", d->path, temporary, name);
    if (rc != ERR_NONE)
        unlinkat(d->fd, temporary, 0);
    else if (fsync(d->fd) != 0)
        rc = err_errno(err, ERR_IO, errno, "make %s/%s durable", d->path, name);
out:
    keys_wipe(t, sizeof *t);
    return rc;
}
