/* Reads the log of one instance forwards, over its rotated files, while its shim goes on writing
 * and rotating. A position stays good over rotation: it names the file by inode and first time, not
 * by name. */
#ifndef COVEY_LOGS_OS_READER_H
#define COVEY_LOGS_OS_READER_H

#include "agent/logs/line.h"
#include "proto/base/err.h"

#define LOG_JOIN_MAX 65536 /* a line that was split is joined up to this */

struct log_position { /* all zero: before everything */
    uint64_t inode;   /* of the file */
    int64_t begin_ms; /* time of its first frame: inodes are used again */
    uint64_t offset;  /* bytes */
};

struct log_filter {
    enum log_level level; /* this and graver ones; 0: all */
    int64_t since_ms;     /* 0: from the beginning */
    bool whole;           /* a line whose end has not been written yet is left for later */
};

struct log_line { /* borrowed until log_reader_next */
    int64_t time_ms;
    enum log_stream stream;
    enum log_level level; /* 0: it does not say */
    const char *text;
    size_t len;
};

enum log_state {
    LOG_LINE,   /* there is one */
    LOG_END,    /* nothing more was written yet */
    LOG_PAUSED, /* the budget is used up; what was passed by did not match */
};

struct log_reader;

/* Opens <@dir>/<@instance>'s files as they are now; one of the log_reader_seek… comes next.
 * @budget: bytes that may be read before LOG_PAUSED. Errors: ERR_NOMEM, ERR_IO, ERR_INVALID (no
 * name); a folder without files is an empty log. */
int log_reader_open(const char *dir, const char *instance, const struct log_filter *filter,
                    uint64_t budget, struct log_reader **reader, struct err *err);
void log_reader_close(struct log_reader *reader); /* NULL is allowed */

/* Each stands before the first line from there on that the filter lets through.
 * Goes to where an earlier reader stood. False: that file is gone, and with it lines that were
 * never read; the reader stands at the oldest that are left. */
bool log_reader_seek(struct log_reader *reader, const struct log_position *position);
/* Before the first line of the last @lines that match, or some more. */
void log_reader_seek_tail(struct log_reader *reader, size_t lines);
/* Before the first line of the run that ended last; it is as if nothing followed that, also for a
 * seek to a position in it. Nothing, where none has ended. */
void log_reader_seek_previous(struct log_reader *reader);
/* Near the first line since filter.since_ms, without reading all before it. */
void log_reader_seek_since(struct log_reader *reader);

enum log_state log_reader_state(const struct log_reader *reader);
const struct log_line *log_reader_line(const struct log_reader *reader); /* in LOG_LINE */
void log_reader_next(struct log_reader *reader);

/* In the order of the file never falling: of the line, or of the last that was passed by. */
int64_t log_reader_time(const struct log_reader *reader);
/* Of the line that it stands before, and behind that line (in LOG_LINE). */
void log_reader_position(const struct log_reader *reader, struct log_position *position);
void log_reader_behind(const struct log_reader *reader, struct log_position *position);

#endif
