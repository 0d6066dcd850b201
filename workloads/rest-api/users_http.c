#include <stdio.h>

#include "workloads/lib/http.h"
#include "workloads/rest-api/api.h"

#define PAGE_DEFAULT 50
#define PAGE_MAX 100

enum {
    NAME,
    EMAIL,
    FIELDS,
};

static const struct field whole[FIELDS] = {
    [NAME] = {"name", FIELD_STRING, FIELD_REQUIRED, 1, USER_NAME_MAX, NULL},
    [EMAIL] = {"email", FIELD_STRING, FIELD_REQUIRED, 3, USER_EMAIL_MAX, check_email},
};
static const struct field part[FIELDS] = {
    [NAME] = {"name", FIELD_STRING, FIELD_OPTIONAL, 1, USER_NAME_MAX, NULL},
    [EMAIL] = {"email", FIELD_STRING, FIELD_OPTIONAL, 3, USER_EMAIL_MAX, check_email},
};

static void reply_failure(struct request *request, int rc)
{
    if (rc == ERR_NOTFOUND)
        reply_problem(request, 404, NULL, "there is no user with this id");
    else if (rc == ERR_EXISTS)
        reply_problem(request, 409, "email", "belongs to another user");
    else if (rc == ERR_FULL)
        reply_problem(request, 507, NULL, "there are %d users, which is the limit", USERS_MAX);
    else
        reply_problem(request, 503, NULL, "out of memory");
}

/* The id in the path. False: replied. */
static bool read_id(struct request *request, int64_t *id)
{
    if (read_int(request_param(request, 0), id) && *id > 0)
        return true;
    reply_problem(request, 400, "id", "must be a whole number greater than 0");
    return false;
}

void users_list(struct request *request, void *context)
{
    static const char *const parameters[] = {"limit", "after", NULL};
    struct rest_api *api = context;
    int64_t limit;
    int64_t after;

    if (!request_query_only(request, parameters) ||
        !request_query_int(request, "limit", PAGE_DEFAULT, 1, PAGE_MAX, &limit) ||
        !request_query_int(request, "after", 0, 0, INT64_MAX, &after))
        return;
    users_emit_page(api->users, after, (size_t)limit, reply_json(request, 200));
}

void users_create(struct request *request, void *context)
{
    struct rest_api *api = context;
    struct field_value values[FIELDS];
    json_t *root = request_fields(request, whole, FIELDS, values);
    char location[sizeof "/api/users/-9223372036854775808"];
    int64_t id;
    int rc;

    if (root == NULL)
        return;
    rc = users_add(api->users, values[NAME].string, values[EMAIL].string, &id,
                   reply_json(request, 201));
    json_decref(root);
    if (rc != ERR_NONE) {
        reply_failure(request, rc);
        return;
    }
    snprintf(location, sizeof location, "/api/users/%lld", (long long)id);
    reply_header(request, "Location", location);
}

void users_get(struct request *request, void *context)
{
    struct rest_api *api = context;
    int64_t id;
    int rc;

    if (!read_id(request, &id))
        return;
    rc = users_emit(api->users, id, reply_json(request, 200));
    if (rc != ERR_NONE)
        reply_failure(request, rc);
}

static void change(struct request *request, struct rest_api *api, const struct field *fields)
{
    struct field_value values[FIELDS];
    json_t *root;
    int64_t id;
    int rc;

    if (!read_id(request, &id))
        return;
    root = request_fields(request, fields, FIELDS, values);
    if (root == NULL)
        return;
    rc = users_change(api->users, id, values[NAME].string, values[EMAIL].string,
                      reply_json(request, 200));
    json_decref(root);
    if (rc != ERR_NONE)
        reply_failure(request, rc);
}

void users_replace(struct request *request, void *context)
{
    change(request, context, whole);
}

void users_patch(struct request *request, void *context)
{
    change(request, context, part);
}

void users_delete(struct request *request, void *context)
{
    struct rest_api *api = context;
    int64_t id;
    int rc;

    if (!read_id(request, &id))
        return;
    rc = users_remove(api->users, id);
    if (rc != ERR_NONE)
        reply_failure(request, rc);
    else
        reply_empty(request, 204);
}
