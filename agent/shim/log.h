/* The log of one workload: frames, rotation, counts. The format is described in shim.h. */
#ifndef COVEY_SHIM_LOG_H
#define COVEY_SHIM_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/shim/shim.h"

#define SHIM_READ_MAX 65536 /* bytes taken from a pipe at a time */

struct shim_stream {
    const char *name; /* "stdout" */
    int fd;           /* non-blocking read end of the workload's pipe; -1: closed */
    size_t held;      /* bytes of a line whose end is not there yet */
    char line[SHIM_LINE_MAX];
};

struct shim_log {
    int dir; /* -1: output is thrown away */
    int fd;
    uint64_t size; /* of the present file */
    uint64_t file_bytes;
    uint32_t files;
    int64_t age_s;   /* a file that began longer ago is rotated; 0: never */
    int64_t began_s; /* the present file */
    uint64_t lines;
    uint64_t bytes;  /* of text */
    uint64_t binary; /* blocks of text with a zero byte in them */
    uint64_t dropped;
    uint64_t unreported; /* dropped since the log last said so */
    int errnum;          /* why */
    int64_t stamp_s;     /* of the second that stamp describes */
    size_t queued;
    uint64_t queued_frames; /* in the buffer */
    uint64_t queued_lines;  /* of them, those that end a line */
    char stamp[32];
    char buffer[SHIM_READ_MAX];
};

/* Opens <spec->log_dir>/log for appending; NULL: nothing is kept. A file that cannot be opened now
 * is tried again with every write, and what is lost meanwhile is counted. Errors: ERR_IO: there is
 * no such folder. */
int shim_log_open(struct shim_log *log, const struct shim_spec *spec, struct err *err);

/* Words of the shim's own, in one line. */
void shim_log_say(struct shim_log *log, const char *text);
/* A run of the workload has ended, as @text says: "code 0", "signal 9", "failed 0", and "lost 0"
 * where its shim was killed, or the machine lost its power: then the next one says so. */
void shim_log_end(struct shim_log *log, const char *text);

/* Takes at most SHIM_READ_MAX bytes that @stream has and writes their frames. True: there may be
 * more. At its end, closes the stream. */
bool shim_log_take(struct shim_log *log, struct shim_stream *stream);

/* Takes what is there, writes an unfinished line as well, and closes the stream. */
void shim_log_finish(struct shim_log *log, struct shim_stream *stream);

#endif
