/* The rules of the fence as nft's input. Private to os_fence. */
#ifndef COVEY_IO_OS_FENCE_RULES_H
#define COVEY_IO_OS_FENCE_RULES_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/io/os_command.h"
#include "proto/base/err.h"
#include "proto/base/id.h"

/* Sets tables, sets and rules in one transaction and adds @vips (at most 2 * OS_FENCE_VIPS_MAX) to
 * the guarded addresses. With @replace tables that are there go first, with their leases.
 * Errors: as os_fence_setup; ERR_IO when nft refuses. */
int os_fence_rules_apply(const char *interface, const struct addr *vips, size_t count, bool replace,
                         struct err *err);

/* The same without addresses, in two steps, of which the second waits. */
int os_fence_rules_begin(const char *interface, struct os_command *nft, struct err *err);
int os_fence_rules_end(struct os_command *nft, struct err *err);

/* Deletes the tables if they are there. */
int os_fence_rules_remove(struct err *err);

#endif
