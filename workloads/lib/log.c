#include "workloads/lib/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "workloads/lib/emit.h"

#define BUFFER_SIZE 32768
#define LINE_TAIL 32 /* room kept for ,"truncated":true}\n */

_Static_assert(BUFFER_SIZE >= 2 * LOG_LINE_MAX, "a line must fit behind a gathered one");

const char *const log_level_names[] = {"debug",    "info", "warning", "error",
                                       "critical", "off",  NULL};

static const char *const printed_names[] = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"};

struct log {
    int fd;
    enum log_level limit;
    const char *origin_key;
    const char *origin;
    pthread_mutex_t lock;
    /* all below under the lock */
    pthread_cond_t gathered; /* signalled when the buffer is no longer empty, and to stop */
    pthread_t flusher;
    bool has_flusher;
    bool flusher_idle; /* it waits for a first line, not for a time */
    bool gathering;    /* a line has gathered since the flusher's last look */
    bool stopping;
    struct timespec last_write;
    struct timespec line_time;
    time_t second; /* that second_text stands for */
    char second_text[sizeof "2026-01-31T09:30:00"];
    uint64_t lost;
    size_t used;     /* bytes of whole lines in buffer */
    size_t intact;   /* length of the line's head, which a too long line keeps */
    struct out line; /* lies in buffer, behind the whole lines */
    char buffer[BUFFER_SIZE];
};

int log_open(struct log **out, int fd, const char *origin_key, const char *origin,
             enum log_level limit, struct err *err)
{
    struct log *log = calloc(1, sizeof *log);
    pthread_condattr_t attributes;

    if (log == NULL)
        return err_set(err, ERR_NOMEM, "open the log");
    log->fd = fd;
    log->limit = limit;
    log->origin_key = origin_key;
    log->origin = origin;
    log->second = -1;
    pthread_mutex_init(&log->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&log->gathered, &attributes);
    pthread_condattr_destroy(&attributes);
    *out = log;
    return ERR_NONE;
}

bool log_wants(const struct log *log, enum log_level level)
{
    return level >= log->limit;
}

static void wait_writable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    (void)poll(&p, 1, -1);
}

static void write_out(struct log *log)
{
    size_t at = 0;

    if (log->used == 0)
        return;
    while (at < log->used) {
        ssize_t n = write(log->fd, log->buffer + at, log->used - at);
        if (n >= 0) {
            at += (size_t)n;
        } else if (errno == EAGAIN) {
            wait_writable(log->fd);
        } else if (errno != EINTR) {
            log->lost += log->used - at;
            break;
        }
    }
    log->used = 0;
    log->last_write = log->line_time;
}

void log_flush(struct log *log)
{
    pthread_mutex_lock(&log->lock);
    write_out(log);
    pthread_mutex_unlock(&log->lock);
}

static struct timespec after_ms(long ms)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += ms * 1000000L;
    t.tv_sec += t.tv_nsec / 1000000000L;
    t.tv_nsec %= 1000000000L;
    return t;
}

static void *flush_in_time(void *arg)
{
    struct log *log = arg;

    pthread_mutex_lock(&log->lock);
    while (!log->stopping) {
        struct timespec due;
        /* While lines keep coming it looks by the clock, and nobody has to wake it. */
        if (!log->gathering) {
            log->flusher_idle = true;
            pthread_cond_wait(&log->gathered, &log->lock);
            log->flusher_idle = false;
            continue;
        }
        log->gathering = false;
        due = after_ms(LOG_GATHER_MS);
        while (!log->stopping &&
               pthread_cond_timedwait(&log->gathered, &log->lock, &due) != ETIMEDOUT)
            ;
        write_out(log);
    }
    pthread_mutex_unlock(&log->lock);
    return NULL;
}

int log_start_flusher(struct log *log, struct err *err)
{
    int rc = pthread_create(&log->flusher, NULL, flush_in_time, log);

    if (rc != 0)
        return err_errno(err, ERR_IO, rc, "start the thread that writes the log");
    log->has_flusher = true;
    return ERR_NONE;
}

void log_close(struct log *log)
{
    if (log == NULL)
        return;
    pthread_mutex_lock(&log->lock);
    log->stopping = true;
    pthread_cond_signal(&log->gathered);
    pthread_mutex_unlock(&log->lock);
    if (log->has_flusher)
        pthread_join(log->flusher, NULL);
    write_out(log);
    pthread_cond_destroy(&log->gathered);
    pthread_mutex_destroy(&log->lock);
    free(log);
}

/* The seconds' text changes once a second, so it is kept. */
static void put_timestamp(struct log *log)
{
    struct out *o = &log->line;

    if (log->line_time.tv_sec != log->second) {
        struct tm utc;
        log->second = log->line_time.tv_sec;
        gmtime_r(&log->second, &utc);
        if (strftime(log->second_text, sizeof log->second_text, "%Y-%m-%dT%H:%M:%S", &utc) == 0)
            log->second_text[0] = '\0';
    }
    out_bytes(o, "{\"timestamp\":\"", 14);
    out_text(o, log->second_text);
    out_char(o, '.');
    out_padded(o, (uint64_t)(log->line_time.tv_nsec / 1000), 6);
    out_bytes(o, "Z\"", 2);
    o->comma = true;
}

struct out *log_begin(struct log *log, enum log_level level, const char *message)
{
    if (!log_wants(log, level))
        return NULL;
    pthread_mutex_lock(&log->lock);
    clock_gettime(CLOCK_REALTIME, &log->line_time);
    if (log->used + LOG_LINE_MAX > sizeof log->buffer)
        write_out(log);
    out_init(&log->line, log->buffer + log->used, LOG_LINE_MAX - LINE_TAIL, 0);
    put_timestamp(log);
    emit_key_string(&log->line, "level", printed_names[level]);
    emit_key_string(&log->line, log->origin_key, log->origin);
    log->intact = log->line.len;
    emit_key_string(&log->line, "message", message);
    if (!log->line.failed)
        log->intact = log->line.len;
    return &log->line;
}

/* True when the line has to wait for company. A clock that was set back counts as time passed. */
static bool may_gather(const struct log *log)
{
    int64_t elapsed = (int64_t)(log->line_time.tv_sec - log->last_write.tv_sec) * 1000 +
                      (log->line_time.tv_nsec - log->last_write.tv_nsec) / 1000000;
    return elapsed >= 0 && elapsed < LOG_GATHER_MS;
}

void log_end(struct log *log)
{
    static const char tail[] = "}\n";
    static const char cut[] = ",\"truncated\":true}\n";
    struct out *o = &log->line;

    /* LINE_TAIL bytes are left for either ending. */
    if (o->failed) {
        o->len = log->intact;
        memcpy(o->data + o->len, cut, sizeof cut - 1);
        o->len += sizeof cut - 1;
    } else {
        memcpy(o->data + o->len, tail, sizeof tail - 1);
        o->len += sizeof tail - 1;
    }
    log->used += o->len;
    if (!may_gather(log)) {
        write_out(log);
    } else {
        log->gathering = true;
        if (log->flusher_idle)
            pthread_cond_signal(&log->gathered);
    }
    pthread_mutex_unlock(&log->lock);
}

void log_line(struct log *log, enum log_level level, const char *message)
{
    if (log_begin(log, level, message) != NULL)
        log_end(log);
}

uint64_t log_lost(struct log *log)
{
    uint64_t lost;

    pthread_mutex_lock(&log->lock);
    lost = log->lost;
    pthread_mutex_unlock(&log->lock);
    return lost;
}
