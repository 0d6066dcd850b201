/* Lines of workloads' logs: what a shim's frame says, and how grave a line is. Pure. */
#ifndef COVEY_LOGS_LINE_H
#define COVEY_LOGS_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_stream {
    LOG_STDOUT,
    LOG_STDERR,
    LOG_SHIM,
    LOG_RUN, /* no line: a run has ended here */
    LOG_STREAMS
};

/* Rising. A line that does not say is counted as LOG_INFO. */
enum log_level {
    LOG_TRACE = 1,
    LOG_DEBUG,
    LOG_INFO,
    LOG_WARNING,
    LOG_ERROR,
    LOG_FATAL,
    LOG_LEVELS
};

#define LOG_STAMP 24 /* bytes of "2026-01-31T13:37:00.123Z" */

struct log_frame { /* borrows from what it was read from */
    int64_t time_ms;
    enum log_stream stream;
    bool part; /* the next frame of the stream goes on with this line */
    const char *text;
    size_t len;
};

/* Reads one frame, without its line end, in the format of agent/shim/shim.h. False: it is none. */
bool log_frame_read(const char *data, size_t len, struct log_frame *frame);

/* "2026-01-31T13:37:00.123Z" to milliseconds since 1970; false: it is no such time. */
bool log_time_read(const char text[LOG_STAMP], int64_t *ms);
void log_time_write(int64_t ms, char text[LOG_STAMP + 1]);

const char *log_stream_name(enum log_stream stream); /* "stdout" */
const char *log_level_name(enum log_level level);    /* "warning" */

/* "warn", "WARNING", "err" …; 0: no level has that name. */
enum log_level log_level_find(const char *name, size_t len);

/* What a line says of itself: a member level, severity, lvl or loglevel of a JSON object (a name,
 * or a number as bunyan and pino write it), level= as in logfmt, "<4>" as of sd-daemon(3), or a
 * word such as "ERROR" or "[warn]" near its beginning. 0: nothing. */
enum log_level log_level_of(const char *text, size_t len);

#endif
