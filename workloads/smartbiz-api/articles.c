/* /articles/{id} and the adjustment of stock. */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "workloads/lib/emit.h"
#include "workloads/smartbiz-api/call.h"

enum {
    SKU,
    NAME,
    DESCRIPTION,
    PRICE,
    CURRENCY,
    STOCK,
    MIN_STOCK,
    FIELDS,
};

/* Where the columns behind an article's begin. */
#define FOUND_VERSION 11
#define WAS_CHANGED 12
#define STOCK_COLUMN 6
#define VERSION_COLUMN 8

const struct column article_columns[] = {
    {"id", COLUMN_NUMBER},        {"sku", COLUMN_TEXT},           {"name", COLUMN_TEXT},
    {"description", COLUMN_TEXT}, {"price_cents", COLUMN_NUMBER}, {"currency", COLUMN_TEXT},
    {"stock", COLUMN_NUMBER},     {"min_stock", COLUMN_NUMBER},   {"version", COLUMN_NUMBER},
    {"created_at", COLUMN_TIME},  {"updated_at", COLUMN_TIME},
};
const size_t article_column_count = sizeof article_columns / sizeof article_columns[0];

static const char *check_sku(const char *text)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./";

    return text[strspn(text, good)] == '\0' ? NULL : "must consist of A-Z a-z 0-9 - _ . /";
}

static const char *check_currency(const char *text)
{
    return text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] == '\0'
               ? NULL
               : "must be three capital letters (ISO 4217)";
}

static const char *check_not_blank(const char *text)
{
    return text[strspn(text, " ")] != '\0' ? NULL : "must not be blank";
}

#define COMMON(need)                                                                               \
    [SKU] = {"sku", FIELD_STRING, FIELD_OPTIONAL, 1, 64, check_sku}, [NAME] = {"name",             \
                                                                               FIELD_STRING,       \
                                                                               need,               \
                                                                               1,                  \
                                                                               200,                \
                                                                               check_not_blank},   \
    [DESCRIPTION] = {"description", FIELD_TEXT, FIELD_OPTIONAL, 0, 2000, NULL},                    \
    [PRICE] = {"price_cents", FIELD_INT, need, 0, CENTS_MAX, NULL}, [CURRENCY] = {"currency",      \
                                                                                  FIELD_STRING,    \
                                                                                  FIELD_OPTIONAL,  \
                                                                                  3,               \
                                                                                  3,               \
                                                                                  check_currency}, \
    [STOCK] = {"stock", FIELD_INT, FIELD_OPTIONAL, 0, STOCK_MAX, NULL},                            \
    [MIN_STOCK] = {"min_stock", FIELD_INT, FIELD_OPTIONAL, 0, STOCK_MAX, NULL}

static const struct field whole[FIELDS] = {COMMON(FIELD_REQUIRED)};
static const struct field part[FIELDS] = {COMMON(FIELD_OPTIONAL)};

/* What a write keeps of its body; texts are allocated behind it. */
struct article_input {
    int64_t id;
    char version[VERSION_TEXT];
    bool present[FIELDS];
    const char *texts[FIELDS];
    struct number_text numbers[FIELDS];
    char storage[];
};

/* Copies what was read, since the document does not live as long. NULL when memory is out. */
static struct article_input *keep(const struct field_value *values)
{
    size_t size = sizeof(struct article_input);
    struct article_input *input;
    char *at;

    for (size_t i = 0; i < FIELDS; i++)
        size += values[i].string != NULL ? strlen(values[i].string) + 1 : 0;
    input = calloc(1, size);
    if (input == NULL)
        return NULL;
    at = input->storage;
    for (size_t i = 0; i < FIELDS; i++) {
        input->present[i] = values[i].present;
        if (values[i].string != NULL) {
            size_t len = strlen(values[i].string) + 1;
            input->texts[i] = memcpy(at, values[i].string, len);
            at += len;
        } else if (values[i].present) {
            input->numbers[i] = number(values[i].integer);
            input->texts[i] = input->numbers[i].text;
        }
    }
    return input;
}

static struct article_input *read_article(struct request *request, const struct field *fields)
{
    struct field_value values[FIELDS];
    json_t *root = request_fields(request, fields, FIELDS, values);
    struct article_input *input;

    if (root == NULL)
        return NULL;
    input = keep(values);
    json_decref(root);
    if (input == NULL)
        reply_problem(request, 503, NULL, "out of memory");
    return input;
}

static void set_etag(struct call *call, const PGresult *result)
{
    char tag[64];

    snprintf(tag, sizeof tag, "\"v%s-s%s\"", PQgetvalue(result, 0, VERSION_COLUMN),
             PQgetvalue(result, 0, STOCK_COLUMN));
    reply_header(call->request, "ETag", tag);
}

static void show(struct call *call, const PGresult *result, int status)
{
    struct out *o = reply_json(call->request, status);
    char location[48];

    emit_object(o);
    emit_columns(o, result, 0, 0, article_columns, article_column_count);
    emit_object_end(o);
    set_etag(call, result);
    if (status == 201) {
        snprintf(location, sizeof location, "/articles/%s", PQgetvalue(result, 0, 0));
        reply_header(call->request, "Location", location);
    }
}

/* --- reading ------------------------------------------------------------------------------ */

static void got(struct call *call, const PGresult *result)
{
    const char *known = request_header(call->request, "If-None-Match");
    char tag[64];

    if (PQntuples(result) == 0) {
        call_problem(call, 404, "id", "there is no article with this id");
        return;
    }
    snprintf(tag, sizeof tag, "\"v%s-s%s\"", PQgetvalue(result, 0, VERSION_COLUMN),
             PQgetvalue(result, 0, STOCK_COLUMN));
    if (known != NULL && strcmp(known, tag) == 0) {
        reply_empty(call->request, 304);
        reply_header(call->request, "ETag", tag);
    } else {
        show(call, result, 200);
    }
    call_end(call);
}

void articles_get(struct request *request, void *context)
{
    const char *id = request_param(request, 0);
    struct call *call;
    int64_t number_of_id;

    if (path_id(request, &number_of_id) && call_begin(&call, request, context, NULL))
        call_ask_for(call, ST_ARTICLE_GET, &id, 1, got);
}

/* --- creating ----------------------------------------------------------------------------- */

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
    const struct article_input *in = call->state;
    const char *const params[] = {
        in->texts[SKU],
        in->texts[NAME],
        in->present[DESCRIPTION] ? in->texts[DESCRIPTION] : "",
        in->texts[PRICE],
        in->present[CURRENCY] ? in->texts[CURRENCY] : "EUR",
        in->present[STOCK] ? in->texts[STOCK] : "0",
        in->present[MIN_STOCK] ? in->texts[MIN_STOCK] : "0",
        call->actor,
        request_id(call->request),
        call_key(call),
        call->fingerprint,
    };

    call_ask_for(call, ST_ARTICLE_CREATE, params, sizeof params / sizeof params[0], created);
}

void articles_create(struct request *request, void *context)
{
    struct article_input *input = read_article(request, whole);
    struct call *call;

    if (input != NULL && call_begin(&call, request, context, input))
        call_write(call, ST_ARTICLE_GET, show, create);
}

/* --- changing ----------------------------------------------------------------------------- */

static void changed(struct call *call, const PGresult *result)
{
    if (PQntuples(result) == 0) {
        call_problem(call, 404, "id", "there is no article with this id");
    } else if (*PQgetvalue(result, 0, WAS_CHANGED) != 't') {
        call_problem(call, 412, "If-Match",
                     "the article was changed meanwhile: it is version %s now",
                     PQgetvalue(result, 0, FOUND_VERSION));
    } else {
        show(call, result, 200);
        call_end(call);
    }
}

static void change(struct call *call)
{
    const struct article_input *in = call->state;
    struct number_text id = number(in->id);
    const char *const params[] = {
        id.text,
        in->version[0] != '\0' ? in->version : NULL,
        in->texts[SKU],
        in->texts[NAME],
        in->texts[DESCRIPTION],
        in->texts[PRICE],
        in->texts[CURRENCY],
        in->texts[MIN_STOCK],
        call->actor,
        request_id(call->request),
    };

    call_ask_for(call, ST_ARTICLE_UPDATE, params, sizeof params / sizeof params[0], changed);
}

static void update(struct request *request, void *context, bool replace)
{
    struct article_input *input;
    struct call *call;
    int64_t id;

    if (!path_id(request, &id))
        return;
    input = read_article(request, replace ? whole : part);
    if (input == NULL)
        return;
    input->id = id;
    if (input->present[STOCK]) {
        reply_problem(request, 422, "stock",
                      "is changed by POST /articles/{id}/stock, so that each change has a reason");
        free(input);
        return;
    }
    if (replace && !input->present[DESCRIPTION])
        input->texts[DESCRIPTION] = "";
    if (replace && !input->present[MIN_STOCK])
        input->texts[MIN_STOCK] = "0";
    if (!read_if_match(request, input->version)) {
        free(input);
        return;
    }
    if (!call_begin(&call, request, context, input))
        return;
    call->run = change;
    change(call);
}

void articles_replace(struct request *request, void *context)
{
    update(request, context, true);
}

void articles_patch(struct request *request, void *context)
{
    update(request, context, false);
}

static void deleted(struct call *call, const PGresult *result)
{
    if (PQntuples(result) == 0) {
        call_problem(call, 404, "id", "there is no article with this id");
    } else if (*PQgetvalue(result, 0, 1) != 't') {
        call_problem(call, 412, "If-Match",
                     "the article was changed meanwhile: it is version %s now",
                     PQgetvalue(result, 0, 0));
    } else {
        reply_empty(call->request, 204);
        call_end(call);
    }
}

void articles_delete(struct request *request, void *context)
{
    char version[VERSION_TEXT];
    struct call *call;
    int64_t id;

    if (!path_id(request, &id) || !read_if_match(request, version) ||
        !call_begin(&call, request, context, NULL))
        return;
    call_ask_for(call, ST_ARTICLE_DELETE,
                 (const char *const[]){request_param(request, 0),
                                       version[0] != '\0' ? version : NULL, call->actor,
                                       request_id(request)},
                 4, deleted);
}

/* --- stock -------------------------------------------------------------------------------- */

struct adjustment {
    struct number_text change;
    char note[201 * 4];
};

static void adjusted(struct call *call, const PGresult *result)
{
    const struct adjustment *adjustment = call->state;

    if (PQntuples(result) == 0) {
        call_problem(call, 404, "id", "there is no article with this id");
    } else if (*PQgetvalue(result, 0, 12) != 't') {
        call_problem(call, 409, "change", "the stock is %s: a change by %s is not possible",
                     PQgetvalue(result, 0, 11), adjustment->change.text);
    } else if (PQgetisnull(result, 0, 0)) {
        call_key_taken(call);
    } else {
        show(call, result, 200);
        call_end(call);
    }
}

static void adjust(struct call *call)
{
    const struct adjustment *adjustment = call->state;
    const char *const params[] = {
        request_param(call->request, 0), adjustment->change.text, adjustment->note,  call->actor,
        request_id(call->request),       call_key(call),          call->fingerprint,
    };

    call_ask_for(call, ST_STOCK_ADJUST, params, sizeof params / sizeof params[0], adjusted);
}

void stock_adjust(struct request *request, void *context)
{
    static const struct field fields[] = {
        {"change", FIELD_INT, FIELD_REQUIRED, -QUANTITY_MAX, QUANTITY_MAX, NULL},
        {"note", FIELD_STRING, FIELD_OPTIONAL, 0, 200, NULL},
    };
    struct field_value values[2];
    struct adjustment *adjustment;
    struct call *call;
    json_t *root;
    int64_t id;

    if (!path_id(request, &id))
        return;
    root = request_fields(request, fields, 2, values);
    if (root == NULL)
        return;
    adjustment = calloc(1, sizeof *adjustment);
    if (values[0].integer == 0) {
        reply_problem(request, 422, "change", "must not be 0");
        free(adjustment);
    } else if (adjustment == NULL) {
        reply_problem(request, 503, NULL, "out of memory");
    } else {
        adjustment->change = number(values[0].integer);
        snprintf(adjustment->note, sizeof adjustment->note, "%s",
                 values[1].present ? values[1].string : "");
        if (call_begin(&call, request, context, adjustment))
            call_write(call, ST_ARTICLE_GET, show, adjust);
    }
    json_decref(root);
}
