/* Pages: what one node answers about the logs of a workload, and how pages of several nodes become
 * one text in the order of time. Pure.
 *
 * A page is text:
 *   covey-logs 1
 *   until MS MORE SKIPPED            MORE 1: there is more already; SKIPPED 1: lines were removed
 *                                    before they were read
 *   source INSTANCE START END        one for each instance: positions before the page and behind it
 *   .
 *   SOURCE MS STREAM LEVEL POSITION text of the line
 * Numbers are decimal; a position is INODE.BEGIN.OFFSET in hexadecimal, and behind the line. No
 * line that this node writes later is older than MS.
 *
 * A cursor says how far a reader has come: "pi1,api.0:1f.19a3.8ab,api.1:0.0.0~pi2,api.2:…". It
 * holds no more than a page needs, and whoever has it may come back with it at any time. */
#ifndef COVEY_LOGS_PAGE_H
#define COVEY_LOGS_PAGE_H

#include <stdio.h>

#include "agent/logs/line.h"
#include "agent/logs/os_reader.h"
#include "proto/base/err.h"
#include "proto/base/id.h"

#define LOG_SOURCES_MAX 48         /* instances of one workload on one node */
#define LOG_NODES_MAX 64           /* nodes in one answer */
#define LOG_PAGE_MAX (1024 * 1024) /* bytes of lines in a page, but for one line */
#define LOG_TAIL_MAX 10000         /* lines from the end */
#define LOG_TAIL_BYTES (4 << 20)   /* and their bytes, on each node */
#define LOG_NODE_CURSOR_MAX 3500   /* bytes: of one node */
#define LOG_CURSOR_MAX 16000       /* of all */
#define LOG_SKEW_MAX_MS 2000       /* a node whose clock is behind holds others up for so long */
#define LOG_POSITION_TEXT 56

struct log_source {
    char instance[INSTANCE_MAX];
    struct log_position start, end;
};

struct log_page { /* of one node; borrows from the text */
    int64_t until_ms;
    bool more;
    bool skipped;
    struct log_source sources[LOG_SOURCES_MAX];
    size_t source_count;
    const char *lines; /* @size bytes */
    size_t size;
};

struct log_page_line {
    size_t source;
    struct log_position behind;
    struct log_line line;
};

void log_position_write(const struct log_position *position, char text[LOG_POSITION_TEXT]);
bool log_position_read(const char *text, size_t len, struct log_position *position);

/* Writing a page: the head, then lines. */
void log_page_head(FILE *out, const struct log_page *page);
void log_page_line(FILE *out, const struct log_page_line *line);

/* Reads the head of a page that came from a peer. Errors: ERR_INVALID. */
int log_page_read(const char *text, size_t size, struct log_page *page, struct err *err);
/* The line at *@at (0 first), which is moved on. 1: a line; 0: the end; −1: it is malformed. */
int log_page_next(const struct log_page *page, size_t *at, struct log_page_line *line);

/* The part of @cursor about @node: "api.0:1f.19a3.8ab,…" with its length, or false. */
bool log_cursor_find(const char *cursor, const char *node, const char **part, size_t *len);
/* The position of @instance in such a part; false: it is not there. */
bool log_cursor_position(const char *part, size_t len, const char *instance,
                         struct log_position *position);

struct log_answer { /* a node's, for log_merge */
    const char *node;
    struct log_page page;
};

struct log_merge {
    size_t tail; /* the last lines of all; 0: all */
    bool follow; /* lines that another node may still precede are left for later */
    bool more;   /* set: there is more already */
};

/* Calls @emit for each line that is due, in the order of time, and changes the pages: source.end of
 * each is how far it was emitted. Returns how many. Lines of one instance keep their order whatever
 * their times. */
size_t log_merge(struct log_answer *answers, size_t count, struct log_merge *merge,
                 void (*emit)(void *context, const struct log_answer *answer,
                              const struct log_page_line *line),
                 void *context);

/* Appends @node's part, as it stands in @page after log_merge. Errors: ERR_LIMIT. */
int log_cursor_add(char cursor[LOG_CURSOR_MAX], const char *node, const struct log_page *page);
/* Appends a part as it was: @node did not answer. Errors: ERR_LIMIT. */
int log_cursor_keep(char cursor[LOG_CURSOR_MAX], const char *node, const char *part, size_t len);

#endif
