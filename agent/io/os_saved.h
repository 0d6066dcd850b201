/* The file in the runtime folder (tmpfs) that carries promises and held leases over a restart of
 * the agent within one boot of the machine (docs/vip.md, rules 8 and 9).
 *
 * Two slots, written in turn, each with a number, the boot id and a checksum: an agent that is
 * killed in the middle of a write leaves the other slot whole. No fsync: what a power cut takes is
 * void after it anyway. */
#ifndef COVEY_IO_OS_SAVED_H
#define COVEY_IO_OS_SAVED_H

#include "agent/core/node.h"
#include "proto/base/err.h"

struct os_saved;

/* Opens or creates <@run_dir>/leases. *found says whether it holds what an agent of this boot wrote
 * last, which is then in @saved. Errors: ERR_IO, ERR_NOSPACE, ERR_NOMEM, ERR_LIMIT (path). */
int os_saved_open(const char *run_dir, struct os_saved **file, struct node_saved *saved,
                  bool *found, struct err *err);

/* Errors: ERR_IO, ERR_NOSPACE; the slot written before is whole. */
int os_saved_write(struct os_saved *file, const struct node_saved *saved, struct err *err);

void os_saved_close(struct os_saved *file); /* NULL is allowed */

#endif
