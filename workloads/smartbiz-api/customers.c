/* /customers/{id} */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "workloads/lib/emit.h"
#include "workloads/smartbiz-api/call.h"

enum {
    NAME,
    EMAIL,
    PHONE,
    ADDRESS,
    FIELDS,
};

#define VERSION_COLUMN 5
#define FOUND_VERSION 8
#define WAS_CHANGED 9

const struct column customer_columns[] = {
    {"id", COLUMN_NUMBER},       {"name", COLUMN_TEXT},       {"email", COLUMN_TEXT},
    {"phone", COLUMN_TEXT},      {"address", COLUMN_TEXT},    {"version", COLUMN_NUMBER},
    {"created_at", COLUMN_TIME}, {"updated_at", COLUMN_TIME},
};
const size_t customer_column_count = sizeof customer_columns / sizeof customer_columns[0];

static const char *check_not_blank(const char *text)
{
    return text[strspn(text, " ")] != '\0' ? NULL : "must not be blank";
}

#define COMMON(need)                                                                               \
    [NAME] = {"name", FIELD_STRING, need, 1, 200, check_not_blank}, [EMAIL] = {"email",            \
                                                                               FIELD_STRING,       \
                                                                               need,               \
                                                                               3,                  \
                                                                               254,                \
                                                                               check_email},       \
    [PHONE] = {"phone", FIELD_STRING, FIELD_OPTIONAL, 0, 50, NULL}, [ADDRESS] = {"address",        \
                                                                                 FIELD_TEXT,       \
                                                                                 FIELD_OPTIONAL,   \
                                                                                 0,                \
                                                                                 500,              \
                                                                                 NULL}

static const struct field whole[FIELDS] = {COMMON(FIELD_REQUIRED)};
static const struct field part[FIELDS] = {COMMON(FIELD_OPTIONAL)};

struct customer_input {
    char version[VERSION_TEXT];
    const char *texts[FIELDS];
    char storage[];
};

static struct customer_input *read_customer(struct request *request, const struct field *fields)
{
    struct field_value values[FIELDS];
    json_t *root = request_fields(request, fields, FIELDS, values);
    size_t size = sizeof(struct customer_input);
    struct customer_input *input;
    char *at;

    if (root == NULL)
        return NULL;
    for (size_t i = 0; i < FIELDS; i++)
        size += values[i].present ? strlen(values[i].string) + 1 : 0;
    input = calloc(1, size);
    if (input == NULL) {
        reply_problem(request, 503, NULL, "out of memory");
        json_decref(root);
        return NULL;
    }
    at = input->storage;
    for (size_t i = 0; i < FIELDS; i++) {
        size_t len = values[i].present ? strlen(values[i].string) + 1 : 0;
        if (len > 0)
            input->texts[i] = memcpy(at, values[i].string, len);
        at += len;
    }
    json_decref(root);
    return input;
}

static void print_etag(const PGresult *result, char tag[40])
{
    snprintf(tag, 40, "\"v%s\"", PQgetvalue(result, 0, VERSION_COLUMN));
}

static void show(struct call *call, const PGresult *result, int status)
{
    struct out *o = reply_json(call->request, status);
    char text[48];

    emit_object(o);
    emit_columns(o, result, 0, 0, customer_columns, customer_column_count);
    emit_object_end(o);
    print_etag(result, text);
    reply_header(call->request, "ETag", text);
    if (status == 201) {
        snprintf(text, sizeof text, "/customers/%s", PQgetvalue(result, 0, 0));
        reply_header(call->request, "Location", text);
    }
}

static void got(struct call *call, const PGresult *result)
{
    const char *known = request_header(call->request, "If-None-Match");
    char tag[40];

    if (PQntuples(result) == 0) {
        call_problem(call, 404, "id", "there is no customer with this id");
        return;
    }
    print_etag(result, tag);
    if (known != NULL && strcmp(known, tag) == 0) {
        reply_empty(call->request, 304);
        reply_header(call->request, "ETag", tag);
    } else {
        show(call, result, 200);
    }
    call_end(call);
}

void customers_get(struct request *request, void *context)
{
    const char *id = request_param(request, 0);
    struct call *call;
    int64_t ignored;

    if (path_id(request, &ignored) && call_begin(&call, request, context, NULL))
        call_ask_for(call, ST_CUSTOMER_GET, &id, 1, got);
}

static void created(struct call *call, const PGresult *result)
{
    if (PQntuples(result) == 0) {
        call_key_taken(call);
        return;
    }
    show(call, result, 201);
    call_end(call);
}

static void create(struct call *call)
{
    const struct customer_input *in = call->state;
    const char *const params[] = {
        in->texts[NAME],
        in->texts[EMAIL],
        in->texts[PHONE] != NULL ? in->texts[PHONE] : "",
        in->texts[ADDRESS] != NULL ? in->texts[ADDRESS] : "",
        call->actor,
        request_id(call->request),
        call_key(call),
        call->fingerprint,
    };

    call_ask_for(call, ST_CUSTOMER_CREATE, params, sizeof params / sizeof params[0], created);
}

void customers_create(struct request *request, void *context)
{
    struct customer_input *input = read_customer(request, whole);
    struct call *call;

    if (input != NULL && call_begin(&call, request, context, input))
        call_write(call, ST_CUSTOMER_GET, show, create);
}

static void changed(struct call *call, const PGresult *result)
{
    if (PQntuples(result) == 0) {
        call_problem(call, 404, "id", "there is no customer with this id");
    } else if (*PQgetvalue(result, 0, WAS_CHANGED) != 't') {
        call_problem(call, 412, "If-Match",
                     "the customer was changed meanwhile: it is version %s now",
                     PQgetvalue(result, 0, FOUND_VERSION));
    } else {
        show(call, result, 200);
        call_end(call);
    }
}

static void change(struct call *call)
{
    const struct customer_input *in = call->state;
    const char *const params[] = {
        request_param(call->request, 0),
        in->version[0] != '\0' ? in->version : NULL,
        in->texts[NAME],
        in->texts[EMAIL],
        in->texts[PHONE],
        in->texts[ADDRESS],
        call->actor,
        request_id(call->request),
    };

    call_ask_for(call, ST_CUSTOMER_UPDATE, params, sizeof params / sizeof params[0], changed);
}

static void update(struct request *request, void *context, bool replace)
{
    struct customer_input *input;
    struct call *call;
    int64_t id;

    if (!path_id(request, &id))
        return;
    input = read_customer(request, replace ? whole : part);
    if (input == NULL)
        return;
    if (replace && input->texts[PHONE] == NULL)
        input->texts[PHONE] = "";
    if (replace && input->texts[ADDRESS] == NULL)
        input->texts[ADDRESS] = "";
    if (!read_if_match(request, input->version)) {
        free(input);
        return;
    }
    if (!call_begin(&call, request, context, input))
        return;
    call->run = change;
    change(call);
}

void customers_replace(struct request *request, void *context)
{
    update(request, context, true);
}

void customers_patch(struct request *request, void *context)
{
    update(request, context, false);
}

static void deleted(struct call *call, const PGresult *result)
{
    if (PQntuples(result) == 0) {
        call_problem(call, 404, "id", "there is no customer with this id");
    } else if (*PQgetvalue(result, 0, 1) != 't') {
        call_problem(call, 412, "If-Match",
                     "the customer was changed meanwhile: it is version %s now",
                     PQgetvalue(result, 0, 0));
    } else {
        reply_empty(call->request, 204);
        call_end(call);
    }
}

void customers_delete(struct request *request, void *context)
{
    char version[VERSION_TEXT];
    struct call *call;
    int64_t id;

    if (!path_id(request, &id) || !read_if_match(request, version) ||
        !call_begin(&call, request, context, NULL))
        return;
    call_ask_for(call, ST_CUSTOMER_DELETE,
                 (const char *const[]){request_param(request, 0),
                                       version[0] != '\0' ? version : NULL, call->actor,
                                       request_id(request)},
                 4, deleted);
}
