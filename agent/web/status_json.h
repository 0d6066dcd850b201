/* The JSON of the API: what agentctl -o json prints, what the page reads and what curl gets from
 * the control socket. Every document has an apiVersion and a kind; fields are added, never changed.
 */
#ifndef COVEY_WEB_STATUS_JSON_H
#define COVEY_WEB_STATUS_JSON_H

#include <jansson.h>

#include "agent/core/status.h"

#define API_VERSION "covey.dev/v1"

/* New references; NULL when memory ran out. Times are RFC 3339 in UTC, null where there is none. */
json_t *status_json(const struct status *status);
json_t *status_json_nodes(const struct status *status);
json_t *status_json_vips(const struct status *status);
json_t *status_json_paths(const struct status *status);
json_t *status_json_apps(const struct status *status);

/* {"apiVersion", "kind", "items"}; steals @items (NULL is passed through). */
json_t *status_json_list(const char *kind, json_t *items);

/* "2026-11-22T17:02:42Z", or null for 0. */
json_t *status_json_time(int64_t seconds);

const char *status_health_name(enum status_health health); /* "ok" */

#endif
