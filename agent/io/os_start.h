/* The number of the agent's last start, in the runtime folder (tmpfs): a restart within one boot of
 * the machine counts on without waiting for the disk, which on a busy SD card takes longer than its
 * leases last (docs/vip.md, rule 9). The store gets the number afterwards, and makes up for what a
 * power cut took with it (store_next_boot). */
#ifndef COVEY_IO_OS_START_H
#define COVEY_IO_OS_START_H

#include <stdint.h>

#include "proto/base/err.h"

/* The number after that in <@run_dir>/start, which it has replaced there when it returns. Errors:
 * ERR_NOTFOUND none of this boot of the machine, or a damaged file; ERR_LIMIT (path, UINT32_MAX is
 * used up), ERR_IO, ERR_NOSPACE: then the file is as it was. */
int os_start_next(const char *run_dir, uint32_t *number, struct err *err);

/* Raises it to at least @number; what is not of this boot of the machine counts as none. Errors:
 * ERR_LIMIT (path), ERR_IO, ERR_NOSPACE: as it was. */
int os_start_raise(const char *run_dir, uint32_t number, struct err *err);

#endif
