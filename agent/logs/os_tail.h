/* The last lines of an instance's log, as its shim wrote it (agent/shim/shim.h). */
#ifndef COVEY_LOGS_OS_TAIL_H
#define COVEY_LOGS_OS_TAIL_H

#include <stddef.h>

#include "proto/base/err.h"

#define TAIL_LINES_MAX 10000
#define TAIL_BYTES_MAX (4 * 1024 * 1024)

/* The last @lines lines (0: as many as there may be) of <@log_dir>/<@instance>/log and, if those
 * are too few, of log.1, as one text (malloc; freed by the caller), each as "TIME INSTANCE STREAM
 * text\n"; lines that were split are joined, control characters replaced by '?'. At most
 * TAIL_BYTES_MAX. Errors: ERR_NOTFOUND (nothing was logged), ERR_IO, ERR_NOMEM, ERR_INVALID (no
 * name). */
int os_tail(const char *log_dir, const char *instance, size_t lines, char **text, size_t *size,
            struct err *err);

#endif
