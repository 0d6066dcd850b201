/* Time zones of this machine. */
#ifndef COVEY_IO_OS_ZONE_H
#define COVEY_IO_OS_ZONE_H

#include <stddef.h>

#include "proto/base/err.h"

#define OS_ZONE_TEXT 128

/* The rule of zone @name ("Europe/Berlin") for all times to come, as a POSIX TZ text: the last line
 * of its file in the tz database (RFC 8536 section 3.3). Errors: ERR_NOTFOUND: there is no such
 * zone here; ERR_INVALID: its file is not understood. */
int os_zone_rule(const char *name, char text[OS_ZONE_TEXT], struct err *err);

#endif
