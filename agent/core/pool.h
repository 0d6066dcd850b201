/* Which address of the pool each VirtualIP has.
 *
 * A register per name, which every node keeps and passes on: a name keeps its address whatever
 * other names come and go, and gets it back when it returns to the desired state and the address is
 * still free. Nobody coordinates: entries merge in a fixed order, and what is to be given is a
 * function of the desired state and the entries, so nodes that know the same come to the same.
 * Pure. */
#ifndef COVEY_CORE_POOL_H
#define COVEY_CORE_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/desired/desired.h"
#include "proto/base/id.h"
#include "proto/record/value.h"

#define POOL_MAX (2 * DESIRED_VIPS_MAX)
#define POOL_KEPT (DESIRED_VIPS_MAX + 32) /* after pool_trim: names of the past included */

struct pool_entry {
    char name[NODE_NAME_MAX + 1];
    struct value_pool value;
    bool changed; /* since somebody has set this to false */
};

struct pool { /* {0} is empty */
    size_t count;
    struct pool_entry entries[POOL_MAX]; /* sorted by name */
};

const struct pool_entry *pool_find(const struct pool *pool, const char *name); /* or NULL */

/* Takes @value in if it comes before what is known of @name. ERR_EXISTS: it does not; ERR_FULL. */
int pool_merge(struct pool *pool, const char *name, const struct value_pool *value);

/* Writes the address of each of @desired's VirtualIPs to @addresses, family 0 for those that have
 * to wait, and enters what is new as of @stamp (Unix seconds). An address that its document names
 * is always given. @fresh: names may be given new addresses; otherwise those without one wait. */
void pool_assign(struct pool *pool, const struct desired *desired, int64_t stamp, bool fresh,
                 struct addr addresses[DESIRED_VIPS_MAX]);

/* Forgets a name that is not desired, the one that was given its address first, and writes it to
 * @name, while there are more than POOL_KEPT; false: there are not. */
bool pool_trim(struct pool *pool, const struct desired *desired, char name[NODE_NAME_MAX + 1]);

#endif
