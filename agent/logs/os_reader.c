#include "agent/logs/os_reader.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/shim/shim.h"

#define FILES_MAX (SHIM_LOG_FILES_MAX + 1)
#define BUFFER (64 * 1024)
#define BACK_BLOCK (256 * 1024)       /* bytes looked at in one go, from the end */
#define BACK_MAX (256u * 1024 * 1024) /* and in all */
#define NEAR (64 * 1024)              /* a search by time need not be closer */
#define PATH_SIZE 4096

struct file {
    int fd;
    uint64_t inode;
    int64_t begin_ms;
    uint64_t size; /* when it was opened */
};

struct log_reader {
    struct log_filter filter;
    uint64_t budget;
    struct file files[FILES_MAX]; /* oldest first */
    size_t file_count;

    size_t file;       /* of what is in the buffer */
    uint64_t offset;   /* of the buffer's first byte in it */
    size_t at, filled; /* in the buffer */
    bool bounded;      /* it ends at the end of a run: */
    size_t end_file;
    uint64_t end_offset;
    size_t line_file; /* where the present line begins */
    uint64_t line_offset;
    enum log_state state;
    struct log_line line;
    int64_t time_ms; /* the latest so far */
    size_t joined;   /* bytes in join */
    char join[LOG_JOIN_MAX + SHIM_LINE_MAX];
    char buffer[BUFFER];
};

/* ---- files ---- */

static ssize_t read_at(int fd, char *data, size_t size, uint64_t from)
{
    ssize_t n;

    do
        n = pread(fd, data, size, (off_t)from);
    while (n < 0 && errno == EINTR);
    return n;
}

static bool open_file(int folder, const char *name, struct file *file)
{
    char stamp[LOG_STAMP];
    struct stat info;
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0)
        return false;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return false;
    }
    *file = (struct file){.fd = fd, .inode = info.st_ino, .size = (uint64_t)info.st_size};
    if (read_at(fd, stamp, sizeof stamp, 0) != (ssize_t)sizeof stamp ||
        !log_time_read(stamp, &file->begin_ms))
        file->begin_ms = 0;
    return true;
}

/* Newest first: a rotation in between shows a file twice, and never hides an older one. */
static void open_files(struct log_reader *r, int folder)
{
    char name[24] = SHIM_LOG;

    for (unsigned n = 1; r->file_count < FILES_MAX; n++) {
        struct file *file = &r->files[r->file_count];
        if (open_file(folder, name, file)) {
            if (r->file_count > 0 && file[-1].inode == file->inode)
                close(file->fd);
            else
                r->file_count++;
        } else if (n > 1) {
            break; /* without "log", a rotation may be under way */
        }
        snprintf(name, sizeof name, SHIM_LOG ".%u", n);
    }
    for (size_t i = 0; i < r->file_count / 2; i++) {
        struct file swap = r->files[i];
        r->files[i] = r->files[r->file_count - 1 - i];
        r->files[r->file_count - 1 - i] = swap;
    }
}

static void stand(struct log_reader *r, size_t file, uint64_t offset)
{
    r->file = file;
    r->offset = offset;
    r->at = 0;
    r->filled = 0;
}

/* More of the file behind what is left in the buffer. False: there is no more now. */
static bool fill(struct log_reader *r)
{
    ssize_t n;

    if (r->file >= r->file_count)
        return false;
    memmove(r->buffer, r->buffer + r->at, r->filled - r->at);
    r->offset += r->at;
    r->filled -= r->at;
    r->at = 0;
    if (r->filled == sizeof r->buffer) { /* no frame is so long: not a shim's */
        r->offset += r->filled;
        r->filled = 0;
    }
    n = read_at(r->files[r->file].fd, r->buffer + r->filled, sizeof r->buffer - r->filled,
                r->offset + r->filled);
    if (n <= 0)
        return false;
    r->filled += (size_t)n;
    r->budget -= r->budget < (uint64_t)n ? r->budget : (uint64_t)n;
    return true;
}

/* The next frame; @used: its bytes in the buffer, its line end included. */
static bool next_frame(struct log_reader *r, struct log_frame *frame, size_t *used)
{
    for (;;) {
        const char *end = memchr(r->buffer + r->at, '\n', r->filled - r->at);
        if (end != NULL) {
            *used = (size_t)(end - (r->buffer + r->at)) + 1;
            if (log_frame_read(r->buffer + r->at, *used - 1, frame))
                return true;
            r->at += *used;
        } else if (!fill(r)) {
            /* An older file grows no more: what is behind its last line end is nothing. */
            if (r->file + 1 >= r->file_count)
                return false;
            stand(r, r->file + 1, 0);
        }
    }
}

/* ---- lines ---- */

static void join(struct log_reader *r, const struct log_frame *frame)
{
    size_t len = frame->len < sizeof r->join - r->joined ? frame->len : sizeof r->join - r->joined;

    memcpy(r->join + r->joined, frame->text, len);
    r->joined += len;
}

static bool is_over(const struct log_reader *r)
{
    return r->bounded && (r->file > r->end_file ||
                          (r->file == r->end_file && r->offset + r->at >= r->end_offset));
}

/* The next line, whatever it is. False: there is none yet; a begun one is left where it begins. */
static bool next_line(struct log_reader *r)
{
    struct log_frame frame;
    size_t used;
    bool begun = false;

    for (;;) {
        if (!next_frame(r, &frame, &used) || is_over(r)) {
            if (begun && !r->filter.whole)
                break;
            if (begun)
                stand(r, r->line_file, r->line_offset);
            return false;
        }
        if (begun && frame.stream != r->line.stream)
            break; /* another stream's line came between */
        if (frame.stream == LOG_RUN) {
            r->at += used;
            continue;
        }
        if (!begun) {
            r->joined = 0;
            r->line_file = r->file;
            r->line_offset = r->offset + r->at;
            r->line = (struct log_line){.time_ms = frame.time_ms, .stream = frame.stream};
        }
        r->at += used;
        if (!begun && !frame.part) { /* nearly every line: nothing is copied */
            r->line.text = frame.text;
            r->line.len = frame.len;
            return true;
        }
        begun = true;
        join(r, &frame);
        if (!frame.part || r->joined >= LOG_JOIN_MAX)
            break;
    }
    r->line.text = r->join;
    r->line.len = r->joined;
    return true;
}

static bool matches(const struct log_reader *r, struct log_line *line)
{
    enum log_level level;

    if (line->time_ms < r->filter.since_ms)
        return false;
    line->level = line->stream == LOG_SHIM ? LOG_WARNING : log_level_of(line->text, line->len);
    level = line->level != 0 ? line->level : LOG_INFO;
    return level >= r->filter.level;
}

void log_reader_next(struct log_reader *r)
{
    for (;;) {
        if (r->budget == 0 && r->at == r->filled) {
            r->state = LOG_PAUSED;
            break;
        }
        if (!next_line(r)) {
            r->state = LOG_END;
            break;
        }
        if (r->line.time_ms > r->time_ms)
            r->time_ms = r->line.time_ms;
        if (matches(r, &r->line)) {
            r->state = LOG_LINE;
            return;
        }
    }
    r->line_file = r->file;
    r->line_offset = r->offset + r->at;
}

/* ---- going somewhere ---- */

bool log_reader_seek(struct log_reader *r, const struct log_position *position)
{
    bool begin = position->inode == 0;
    bool found = begin;

    stand(r, 0, 0);
    for (size_t i = 0; !begin && i < r->file_count; i++)
        if (r->files[i].inode == position->inode &&
            (position->begin_ms == 0 || r->files[i].begin_ms == position->begin_ms)) {
            stand(r, i, position->offset);
            found = true;
        }
    r->time_ms = 0;
    log_reader_next(r);
    return found;
}

/* The first frame of @file that begins at or behind @from; the file's size if there is none. */
static uint64_t frame_from(struct log_reader *r, size_t file, uint64_t from)
{
    const char *end;

    if (from == 0)
        return 0;
    stand(r, file, from - 1);
    if (!fill(r))
        return r->files[file].size;
    end = memchr(r->buffer, '\n', r->filled);
    return end != NULL ? from + (uint64_t)(end - r->buffer) : r->files[file].size;
}

/* Lines that match between two frames; the last @want of them begin at *from. */
static size_t count_back(struct log_reader *r, size_t file, uint64_t begin, uint64_t end,
                         size_t want, uint64_t *from)
{
    uint64_t *starts = calloc(want, sizeof *starts);
    size_t count = 0;

    stand(r, file, begin);
    while (starts != NULL && next_line(r) && r->line_file == file && r->line_offset < end)
        if (matches(r, &r->line))
            starts[count++ % want] = r->line_offset;
    *from = count >= want && starts != NULL ? starts[count % want] : begin;
    free(starts);
    return count < want ? count : want;
}

void log_reader_seek_tail(struct log_reader *r, size_t lines)
{
    uint64_t budget = r->budget; /* for what follows */
    uint64_t looked = 0;
    uint64_t from = 0;
    size_t file = r->file_count;

    while (lines > 0 && file > 0 && looked < BACK_MAX) {
        uint64_t end = r->files[--file].size;
        do {
            uint64_t begin = frame_from(r, file, end > BACK_BLOCK ? end - BACK_BLOCK : 0);
            if (begin >= end)
                begin = end > 2 * BACK_BLOCK ? end - 2 * BACK_BLOCK : 0; /* no frame in a block */
            lines -= count_back(r, file, begin, end, lines, &from);
            looked += end - begin;
            end = begin;
        } while (lines > 0 && end > 0 && looked < BACK_MAX);
    }
    r->budget = budget;
    stand(r, file, from);
    r->time_ms = 0;
    log_reader_next(r);
}

void log_reader_seek_previous(struct log_reader *r)
{
    uint64_t budget = r->budget;
    size_t begin_file[2] = {0}; /* behind the last two ends */
    uint64_t begin[2] = {0};
    struct log_frame frame;
    size_t used;

    r->bounded = true;
    r->end_file = 0;
    r->end_offset = 0;
    stand(r, 0, 0);
    while (next_frame(r, &frame, &used)) {
        if (frame.stream == LOG_RUN) {
            begin_file[0] = begin_file[1];
            begin[0] = begin[1];
            begin_file[1] = r->file;
            begin[1] = r->offset + r->at + used;
            r->end_file = r->file;
            r->end_offset = r->offset + r->at;
        }
        r->at += used;
    }
    r->budget = budget;
    stand(r, begin_file[0], begin[0]);
    r->time_ms = 0;
    log_reader_next(r);
}

static int64_t time_at(struct log_reader *r, size_t file, uint64_t offset)
{
    struct log_frame frame;
    size_t used;

    stand(r, file, offset);
    return next_frame(r, &frame, &used) ? frame.time_ms : INT64_MAX;
}

void log_reader_seek_since(struct log_reader *r)
{
    int64_t since = r->filter.since_ms;
    uint64_t budget = r->budget;
    size_t file = r->file_count > 0 ? r->file_count - 1 : 0;
    uint64_t low = 0;
    uint64_t high = r->file_count > 0 ? r->files[file].size : 0;

    while (file > 0 && (r->files[file].begin_ms >= since || r->files[file].begin_ms == 0))
        high = r->files[--file].size;
    while (high - low > NEAR) {
        uint64_t middle = frame_from(r, file, low + (high - low) / 2);
        if (middle >= high || time_at(r, file, middle) >= since)
            high = low + (high - low) / 2;
        else
            low = middle;
    }
    r->budget = budget;
    stand(r, file, low);
    r->time_ms = 0;
    log_reader_next(r);
}

/* ---- the reader ---- */

int log_reader_open(const char *dir, const char *instance, const struct log_filter *filter,
                    uint64_t budget, struct log_reader **reader, struct err *err)
{
    struct log_reader *r;
    char name[INSTANCE_MAX];
    char path[PATH_SIZE];
    int folder;

    if (!shim_instance_valid(instance))
        return err_set(err, ERR_INVALID, "\"%.64s\" is no name of an instance", instance);
    shim_instance_file(instance, name);
    snprintf(path, sizeof path, "%.3800s/%s", dir, name);
    r = malloc(sizeof *r);
    if (r == NULL)
        return err_set(err, ERR_NOMEM, "read the log of %s: %s", instance, err_text(ERR_NOMEM));
    memset(r, 0, offsetof(struct log_reader, join));
    r->filter = *filter;
    r->budget = budget;
    folder = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (folder < 0 && errno != ENOENT) {
        free(r);
        return err_errno(err, ERR_IO, errno, "open the log of %s", instance);
    }
    if (folder >= 0) {
        open_files(r, folder);
        close(folder);
    }
    *reader = r;
    return ERR_NONE;
}

void log_reader_close(struct log_reader *r)
{
    for (size_t i = 0; r != NULL && i < r->file_count; i++)
        close(r->files[i].fd);
    free(r);
}

enum log_state log_reader_state(const struct log_reader *r)
{
    return r->state;
}

const struct log_line *log_reader_line(const struct log_reader *r)
{
    assert(r->state == LOG_LINE);
    return &r->line;
}

int64_t log_reader_time(const struct log_reader *r)
{
    return r->time_ms;
}

static void position(const struct log_reader *r, size_t file, uint64_t offset,
                     struct log_position *position)
{
    if (file >= r->file_count) {
        *position = (struct log_position){0};
        return;
    }
    *position = (struct log_position){
        .inode = r->files[file].inode, .begin_ms = r->files[file].begin_ms, .offset = offset};
}

void log_reader_position(const struct log_reader *r, struct log_position *p)
{
    position(r, r->line_file, r->line_offset, p);
}

void log_reader_behind(const struct log_reader *r, struct log_position *p)
{
    position(r, r->file, r->offset + r->at, p);
}
