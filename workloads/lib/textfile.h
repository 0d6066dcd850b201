/* Metrics of programs that end before anybody can ask them: left in a file for a text-file
 * collector (node_exporter's, or agentd's). */
#ifndef COVEY_WORKLOADS_TEXTFILE_H
#define COVEY_WORKLOADS_TEXTFILE_H

#include "proto/base/err.h"
#include "workloads/lib/metrics.h"

/* Writes what metrics_render writes to @path. A reader sees the old file or the whole new one: it
 * is written beside it (".tmp" and the process id behind the name) and renamed. Errors: ERR_IO,
 * ERR_NOSPACE, ERR_NOMEM, ERR_INVALID for a path that is too long; the old file then stays. */
int textfile_write(struct metrics *metrics, const char *path, struct err *err);

#endif
