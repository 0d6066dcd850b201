/* rest-api: a small service with users in memory and simulated work.
 *
 *     PROCESS_MIN, PROCESS_MAX  seconds that /api/process takes (0.1, 0.5)
 *     PROCESS_FAILURE_RATE      share of /api/process that fails with a 500 (0.1)
 *
 * and the variables of workloads/lib/service.h; PORT is 5000. The interface is described by
 * openapi.json, which is also served. */
#include <stdio.h>

#include "workloads/lib/service.h"
#include "workloads/lib/stop.h"
#include "workloads/rest-api/api.h"

extern const char rest_api_openapi[];
extern const size_t rest_api_openapi_len;

static void openapi(struct request *request, void *context)
{
    (void)context;
    reply_constant(request, 200, "application/json", rest_api_openapi, rest_api_openapi_len);
}

int main(void)
{
    static const struct route routes[] = {
        {"GET", "/health", handle_health, 0},
        {"GET", "/ready", handle_ready, 0},
        {"GET", "/metrics", handle_metrics, 0},
        {"GET", "/openapi.json", openapi, 0},
        {"GET", "/api/users", users_list, 0},
        {"POST", "/api/users", users_create, USERS_BODY_MAX},
        {"GET", "/api/users/{id}", users_get, 0},
        {"PUT", "/api/users/{id}", users_replace, USERS_BODY_MAX},
        {"PATCH", "/api/users/{id}", users_patch, USERS_BODY_MAX},
        {"DELETE", "/api/users/{id}", users_delete, 0},
        {"GET", "/api/process", process_handle, 0},
        {"POST", "/api/process", process_handle, PROCESS_BODY_MAX},
    };
    struct rest_api api = {0};
    struct service service;
    struct err err;
    int status = service_init(&service, "rest-api", 5000);

    if (status != 0)
        goto out;
    process_configure(&api, &service.env);
    if (users_new(&api.users, &err) != ERR_NONE) {
        fprintf(stderr, "rest-api: %s\n", err.text);
        status = 1;
        goto out;
    }
    status = service_start(&service, routes, sizeof routes / sizeof routes[0], &api, true);
    if (status != 0)
        goto out;
    stop_wait(-1);
    status = service_stop(&service);
out:
    users_free(api.users);
    service_free(&service);
    return status;
}
