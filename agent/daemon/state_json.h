/* The JSON of the desired state: what agentctl get and history print. Pure, so that golden files
 * can hold it. */
#ifndef COVEY_DAEMON_STATE_JSON_H
#define COVEY_DAEMON_STATE_JSON_H

#include <jansson.h>

#include "agent/desired/desired.h"
#include "store/store.h"

/* Where a VirtualIP answers: family 0 or NULL, as long as it has no address. */
typedef const struct addr *(*state_json_address)(const void *context,
                                                 const struct desired_vip *vip);

/* New references; NULL when memory ran out. */

/* Every object of @desired (NULL: none) as an array. Of secrets the names of values, never a value.
 */
json_t *state_json_objects(const struct desired *desired, state_json_address address,
                           const void *context);

/* @list as an array; @running is the commit that is applied now. */
json_t *state_json_history(const struct store_history *list, size_t count, const char *running);

#endif
