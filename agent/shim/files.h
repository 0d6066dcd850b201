/* The files in an instance's folder. @dir is a descriptor of that folder. */
#ifndef COVEY_SHIM_FILES_H
#define COVEY_SHIM_FILES_H

#include <stdbool.h>
#include <sys/types.h>

#include "agent/shim/shim.h"

/* Takes the instance's lock; it is held until *fd is closed. Errors: ERR_EXISTS: a shim holds it,
 * ERR_IO. */
int shim_lock_take(int dir, int *fd, struct err *err);

/* Whether a shim holds the lock. */
bool shim_lock_held(int dir);

/* Writes @record as file @name: whole or not at all, also over a power cut where @sync. Errors:
 * ERR_IO, ERR_NOSPACE. */
int shim_file_write(int dir, const char *name, const struct shim_record *record, bool sync,
                    struct err *err);

/* Errors: ERR_NOTFOUND, ERR_IO, ERR_INVALID, ERR_VERSION. */
int shim_file_read(int dir, const char *name, struct shim_record *record);

#endif
