/* A page of this node's logs of a workload: which folders there are, and their lines merged. Blocks
 * while it reads; for a worker's thread. */
#ifndef COVEY_LOGS_OS_PAGES_H
#define COVEY_LOGS_OS_PAGES_H

#include "agent/logs/page.h"

struct log_query {
    char name[INSTANCE_MAX]; /* of a workload, or of one of its instances */
    size_t tail;             /* the last lines, up to LOG_TAIL_MAX; 0: from the beginning on */
    int64_t since_ms;        /* 0: none */
    enum log_level level;    /* this and graver ones; 0: all */
    bool follow;             /* lines that are not complete yet wait */
    bool previous;           /* of the run that ended last, alone */
    bool resume;             /* go on at @cursor instead of @tail and the beginning */
    char cursor[LOG_NODE_CURSOR_MAX]; /* this node's part */
};

/* The query as a request to a peer, and back. Errors: ERR_LIMIT, ERR_INVALID. */
int log_query_write(const struct log_query *query, char *text, size_t size, struct err *err);
int log_query_read(const char *text, size_t len, struct log_query *query, struct err *err);

/* *text (malloc, with a zero behind it) is the page. Instances are those whose logs are in @dir,
 * whether they still run or not; none is no error. @now_ms: Unix time before anything is read.
 * Errors: ERR_NOMEM, ERR_LIMIT (more than LOG_SOURCES_MAX instances), ERR_IO. */
int os_pages_make(const char *dir, const struct log_query *query, int64_t now_ms, char **text,
                  size_t *size, struct err *err);

#endif
