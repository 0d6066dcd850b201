#include "agent/shim/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX 64 /* bytes before a frame's text: time, stream, mark */

/* When the first line of a file was written that others began; where it does not say, the file's
 * last line says how new it is. */
static int64_t began_at(int dir, const struct stat *st)
{
    char stamp[sizeof "2026-01-31T13:37:00"] = "";
    struct tm tm = {0};
    int fd = openat(dir, SHIM_LOG, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd >= 0 ? pread(fd, stamp, sizeof stamp - 1, 0) : -1;

    if (fd >= 0)
        close(fd);
    if (n != sizeof stamp - 1 || strptime(stamp, "%Y-%m-%dT%H:%M:%S", &tm) == NULL)
        return st->st_mtim.tv_sec;
    return timegm(&tm);
}

static void open_file(struct shim_log *log)
{
    struct stat st;

    log->fd =
        openat(log->dir, SHIM_LOG, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (log->fd < 0) {
        log->errnum = errno;
        return;
    }
    log->size = fstat(log->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
    log->began_s = log->size > 0 ? began_at(log->dir, &st) : time(NULL);
}

/* log.2 becomes log.3, log.1 log.2, log log.1; what exceeds the number is overwritten. */
static void rotate(struct shim_log *log)
{
    char from[24];
    char to[24];

    close(log->fd);
    log->fd = -1;
    for (uint32_t n = log->files; n > 1; n--) {
        snprintf(from, sizeof from, SHIM_LOG ".%" PRIu32, n - 1);
        snprintf(to, sizeof to, SHIM_LOG ".%" PRIu32, n);
        renameat(log->dir, from, log->dir, to);
    }
    if (log->files > 0)
        renameat(log->dir, SHIM_LOG, log->dir, SHIM_LOG ".1");
    else
        unlinkat(log->dir, SHIM_LOG, 0);
    open_file(log);
}

/* All of it, or nothing: a frame cut by a full disk is taken back. */
static bool write_whole(struct shim_log *log, const char *data, size_t len)
{
    size_t done = 0;

    if (log->fd >= 0 && log->size > 0 &&
        (log->size + len > log->file_bytes ||
         (log->age_s > 0 && log->stamp_s - log->began_s >= log->age_s)))
        rotate(log);
    if (log->fd < 0)
        open_file(log);
    if (log->fd < 0)
        return false;
    while (done < len) {
        ssize_t n = write(log->fd, data + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            log->errnum = n < 0 ? errno : EIO;
            if (done > 0 && ftruncate(log->fd, (off_t)log->size) != 0)
                log->size += done;
            return false;
        }
        done += (size_t)n;
    }
    log->size += len;
    return true;
}

static void refresh_stamp(struct shim_log *log)
{
    struct timespec now;
    struct tm tm;
    unsigned ms;

    clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec != log->stamp_s) {
        gmtime_r(&now.tv_sec, &tm);
        log->stamp_s = now.tv_sec;
        strftime(log->stamp, sizeof log->stamp, "%Y-%m-%dT%H:%M:%S.000Z", &tm);
    }
    ms = (unsigned)(now.tv_nsec / 1000000);
    log->stamp[20] = (char)('0' + ms / 100);
    log->stamp[21] = (char)('0' + ms / 10 % 10);
    log->stamp[22] = (char)('0' + ms % 10);
}

/* Says in the log what was lost, once the log can be written again. */
static void report_loss(struct shim_log *log)
{
    char text[160];
    int n = snprintf(text, sizeof text, "%s shim F %" PRIu64 " lines were lost: %s\n", log->stamp,
                     log->unreported, strerror(log->errnum));

    if (write_whole(log, text, (size_t)n))
        log->unreported = 0;
}

static void write_own(struct shim_log *log, const char *stream, const char *text)
{
    char line[512];
    int n;

    if (log->dir < 0)
        return;
    refresh_stamp(log);
    n = snprintf(line, sizeof line, "%s %s F %.400s\n", log->stamp, stream, text);
    write_whole(log, line, (size_t)n);
}

void shim_log_say(struct shim_log *log, const char *text)
{
    write_own(log, "shim", text);
}

void shim_log_end(struct shim_log *log, const char *text)
{
    write_own(log, "run", text);
}

/* ---- its beginning ---- */

enum log_tail {
    TAIL_ENDED, /* by the end of a run */
    TAIL_OPEN,
    TAIL_CUT /* within a line: a power cut did it */
};

static enum log_tail look_at_tail(const struct shim_log *log)
{
    static const char end[] = " run F ";
    const size_t stamp = sizeof "2026-01-31T13:37:00.123Z" - 1;
    char text[128]; /* more than the frame of an end */
    size_t want = log->size < sizeof text ? (size_t)log->size : sizeof text;
    int fd = openat(log->dir, SHIM_LOG, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd >= 0 ? pread(fd, text, want, (off_t)(log->size - want)) : -1;
    const char *line;

    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return TAIL_ENDED; /* what cannot be read is not judged */
    if (text[n - 1] != '\n')
        return TAIL_CUT;
    line = memrchr(text, '\n', (size_t)n - 1);
    line = line != NULL ? line + 1 : text;
    if ((size_t)(text + n - line) > stamp + sizeof end &&
        memcmp(line + stamp, end, sizeof end - 1) == 0)
        return TAIL_ENDED;
    return TAIL_OPEN;
}

/* The last run has no end in the log: its shim was killed. */
static void mark_lost(struct shim_log *log)
{
    enum log_tail tail = log->size > 0 ? look_at_tail(log) : TAIL_ENDED;

    if (tail == TAIL_CUT)
        write_whole(log, "\n", 1);
    if (tail != TAIL_ENDED)
        shim_log_end(log, "lost 0");
}

int shim_log_open(struct shim_log *log, const struct shim_spec *spec, struct err *err)
{
    const char *dir = spec->log_dir;

    log->dir = dir != NULL ? open(dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC) : -1;
    log->fd = -1;
    log->file_bytes =
        spec->log_file_bytes < SHIM_LOG_FILE_MIN ? SHIM_LOG_FILE_MIN : spec->log_file_bytes;
    log->files = spec->log_files;
    log->age_s = spec->log_age_s;
    log->stamp_s = INT64_MIN;
    /* The first one of a process reads /etc/localtime: better now than at the end of a run of few
     * words, when the next one waits. */
    refresh_stamp(log);
    if (dir != NULL && log->dir < 0)
        return err_errno(err, ERR_IO, errno, "open the folder of logs %s", dir);
    if (log->dir >= 0)
        open_file(log);
    if (log->fd >= 0)
        mark_lost(log);
    return ERR_NONE;
}

/* ---- what the workload writes ---- */

static void flush(struct shim_log *log)
{
    if (log->queued == 0)
        return;
    if (log->unreported > 0)
        report_loss(log);
    if (log->unreported == 0 && write_whole(log, log->buffer, log->queued)) {
        log->lines += log->queued_lines;
    } else {
        log->dropped += log->queued_frames;
        log->unreported += log->queued_frames;
    }
    log->queued = 0;
    log->queued_frames = 0;
    log->queued_lines = 0;
}

/* Queues "<time> <stream> <mark> <held><text>\n". */
static void frame(struct shim_log *log, struct shim_stream *s, char mark, const char *text,
                  size_t len)
{
    size_t name = strlen(s->name);
    size_t stamp = sizeof "2026-01-31T13:37:00.123Z" - 1;
    char *at;

    if (log->queued + HEAD_MAX + s->held + len > sizeof log->buffer)
        flush(log);
    at = log->buffer + log->queued;
    memcpy(at, log->stamp, stamp);
    at += stamp;
    *at++ = ' ';
    memcpy(at, s->name, name);
    at += name;
    *at++ = ' ';
    *at++ = mark;
    *at++ = ' ';
    memcpy(at, s->line, s->held);
    at += s->held;
    memcpy(at, text, len);
    at += len;
    *at++ = '\n';
    log->queued = (size_t)(at - log->buffer);
    log->queued_frames++;
    log->queued_lines += mark == 'F' ? 1 : 0;
    s->held = 0;
}

/* Frames the lines in @data; the beginning of an unfinished one is held in the stream. */
static void split(struct shim_log *log, struct shim_stream *s, const char *data, size_t len)
{
    const char *end = data + len;

    while (data < end) {
        size_t room = SHIM_LINE_MAX - s->held;
        size_t left = (size_t)(end - data);
        size_t look = left < room + 1 ? left : room + 1;
        const char *stop = memchr(data, '\n', look);

        if (stop != NULL) {
            frame(log, s, 'F', data, (size_t)(stop - data));
            data = stop + 1;
        } else if (left > room) {
            frame(log, s, 'P', data, room);
            data += room;
        } else {
            memcpy(s->line + s->held, data, left);
            s->held += left;
            data = end;
        }
    }
}

static void close_stream(struct shim_log *log, struct shim_stream *s)
{
    if (s->held > 0) {
        refresh_stamp(log);
        frame(log, s, 'F', "", 0);
        flush(log);
    }
    close(s->fd);
    s->fd = -1;
}

bool shim_log_take(struct shim_log *log, struct shim_stream *s)
{
    static char data[SHIM_READ_MAX];
    ssize_t n = read(s->fd, data, sizeof data);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return errno == EINTR;
    if (n <= 0) {
        close_stream(log, s);
        return false;
    }
    log->bytes += (uint64_t)n;
    log->binary += memchr(data, '\0', (size_t)n) != NULL;
    if (log->dir >= 0) {
        refresh_stamp(log);
        split(log, s, data, (size_t)n);
        flush(log);
    }
    return true;
}

void shim_log_finish(struct shim_log *log, struct shim_stream *s)
{
    while (s->fd >= 0 && shim_log_take(log, s))
        ;
    if (s->fd >= 0)
        close_stream(log, s);
}
