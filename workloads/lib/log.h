/* Structured log: one JSON object per line.
 *
 *     {"timestamp":"2026-01-31T09:30:00.000001Z","level":"INFO","service":"rest-api",
 *      "message":"request", ...the caller's members...}
 *
 * Lines never mix and are never split between two processes' writes: each write(2) carries whole
 * lines. A line is written at once unless the last write is less than LOG_GATHER_MS ago; then lines
 * gather and leave together, at the latest LOG_GATHER_MS later (where log_start_flusher runs; a
 * program with one thread calls log_flush before it sleeps). A reader that does not read makes the
 * writers wait: no line is dropped for being slow. A write that fails for another reason loses its
 * lines and is counted. Safe to use from several threads. */
#ifndef COVEY_WORKLOADS_LOG_H
#define COVEY_WORKLOADS_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "workloads/lib/out.h"

#define LOG_LINE_MAX 8192 /* bytes; a longer line keeps its head and gains "truncated":true */
#define LOG_GATHER_MS 50

enum log_level {
    LEVEL_DEBUG,
    LEVEL_INFO,
    LEVEL_WARNING,
    LEVEL_ERROR,
    LEVEL_CRITICAL,
    LEVEL_OFF, /* only as a limit: nothing is written */
};

/* "debug", ..., "off": the values of LOG_LEVEL in the order of enum log_level; ends with NULL. */
extern const char *const log_level_names[];

struct log;

/* Writes to @fd, which stays the caller's. Each line carries @origin_key: @origin ("service":
 * "rest-api"); both are borrowed. Lines below @limit are not written. */
int log_open(struct log **out, int fd, const char *origin_key, const char *origin,
             enum log_level limit, struct err *err);

/* Starts the thread that writes gathered lines in time. Call it once, with signals blocked. */
int log_start_flusher(struct log *log, struct err *err);

/* Flushes, ends the flusher, frees. NULL is allowed. */
void log_close(struct log *log);

bool log_wants(const struct log *log, enum log_level level);

/* Begins a line and returns where its members are written (emit_key_*), or NULL when the level is
 * not wanted. After a line has begun other threads wait, so only write members and call log_end. */
struct out *log_begin(struct log *log, enum log_level level, const char *message);
void log_end(struct log *log);

/* A line without further members. */
void log_line(struct log *log, enum log_level level, const char *message);

void log_flush(struct log *log);

/* Bytes that could not be written since the start. */
uint64_t log_lost(struct log *log);

#endif
