/* The API behind this server: requests are handed on over a few connections that are kept open,
 * within the caller's loop. */
#ifndef COVEY_WORKLOADS_SMARTBIZ_UI_UPSTREAM_H
#define COVEY_WORKLOADS_SMARTBIZ_UI_UPSTREAM_H

#include <stdint.h>

#include "proto/base/err.h"
#include "workloads/lib/http.h"

#define UPSTREAM_CONNECTIONS 32
#define UPSTREAM_WAITING_MAX 256

struct upstream;

struct upstream_config {
    const char *url;    /* http://host:port, borrowed */
    const char *prefix; /* of the paths here that the API does not know: "/api" */
    unsigned timeout_ms;
};

/* Looks up the host's name. Errors name the address. */
int upstream_new(const struct upstream_config *config, struct upstream **out, struct err *err);
void upstream_free(struct upstream *upstream); /* NULL is allowed; nothing may be asked any more */

/* Hands the request on and replies with what the API says, or with a problem. */
void upstream_ask(struct upstream *upstream, struct request *request);

int upstream_fd(const struct upstream *upstream);
int upstream_wait_ms(const struct upstream *upstream);
void upstream_run(struct upstream *upstream);
void upstream_cancel(struct upstream *upstream);

#endif
