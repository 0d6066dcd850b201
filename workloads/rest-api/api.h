/* rest-api: what its handlers share. */
#ifndef COVEY_WORKLOADS_REST_API_API_H
#define COVEY_WORKLOADS_REST_API_API_H

#include <stdint.h>

#include "workloads/lib/env.h"
#include "workloads/lib/route.h"
#include "workloads/rest-api/users.h"

/* The context of every handler. */
struct rest_api {
    struct users *users;
    int64_t process_min_ms;
    int64_t process_max_ms;
    double process_failure_rate;
};

/* users_http.c: /api/users and /api/users/{id} */
#define USERS_BODY_MAX 4096
void users_list(struct request *request, void *context);
void users_create(struct request *request, void *context);
void users_get(struct request *request, void *context);
void users_replace(struct request *request, void *context);
void users_patch(struct request *request, void *context);
void users_delete(struct request *request, void *context);

/* process.c: /api/process, a request that takes its time and sometimes fails. It waits as
 * configured and replies {"status":"success","processing_time":0.213,"items":42} or, as often as
 * configured, a 500 with {"status":"error","error":"processing failed"}. A body, where there is
 * one, may say how many items: {"items": 1 to 1000}. */
#define PROCESS_BODY_MAX 4096
void process_configure(struct rest_api *api, struct env *env);
void process_handle(struct request *request, void *context);

#endif
