/* POST /articles/import: a CSV file, applied as a whole or not at all. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "workloads/lib/emit.h"
#include "workloads/smartbiz-api/call.h"
#include "workloads/smartbiz-api/import_rows.h"

struct import_call {
    struct import_rows rows;
    bool dry_run;
};

static void free_rows(struct call *call)
{
    struct import_call *import = call->state;

    import_free(&import->rows);
}

static void emit_errors(struct out *o, const struct import_rows *rows)
{
    size_t told = rows->error_count < IMPORT_ERRORS_MAX ? rows->error_count : IMPORT_ERRORS_MAX;

    emit_key(o, "errors");
    emit_array(o);
    for (size_t i = 0; i < told; i++) {
        emit_object(o);
        emit_key_int(o, "line", (int64_t)rows->errors[i].line);
        if (rows->errors[i].field[0] != '\0')
            emit_key_string(o, "field", rows->errors[i].field);
        emit_key_string(o, "detail", rows->errors[i].detail);
        emit_object_end(o);
    }
    emit_array_end(o);
    emit_key_int(o, "error_count", (int64_t)rows->error_count);
}

/* With mistakes nothing is asked of the database: a try tells them, the real thing is refused. */
static void reply_mistakes(struct request *request, const struct import_call *import)
{
    struct out *o;

    if (import->dry_run) {
        o = reply_json(request, 200);
        emit_object(o);
        emit_key_bool(o, "dry_run", true);
        emit_key_int(o, "rows", (int64_t)import->rows.rows);
    } else {
        o = reply_begin(request, 422, "application/problem+json");
        emit_object(o);
        emit_key_string(o, "type", "about:blank");
        emit_key_string(o, "title", "Unprocessable Content");
        emit_key_int(o, "status", 422);
        emit_key_string(o, "detail", "the file has mistakes; nothing was imported");
        emit_key_string(o, "request_id", request_id(request));
    }
    emit_errors(o, &import->rows);
    emit_object_end(o);
}

static void imported(struct call *call, const PGresult *result)
{
    const struct import_call *import = call->state;
    static const char *const counts[] = {"created", "updated", "unchanged"};
    struct out *o = reply_json(call->request, 200);

    emit_object(o);
    emit_key_bool(o, "dry_run", import->dry_run);
    emit_key_int(o, "rows", (int64_t)import->rows.rows);
    for (int i = 0; i < 3; i++) {
        emit_key(o, counts[i]);
        emit_raw(o, PQgetvalue(result, 0, i), (size_t)PQgetlength(result, 0, i));
    }
    emit_errors(o, &import->rows);
    emit_object_end(o);
    call_end(call);
}

static void ask(struct call *call)
{
    const struct import_call *import = call->state;
    const char *params[IMPORT_COLUMNS + 3];

    for (size_t i = 0; i < IMPORT_COLUMNS; i++)
        params[i] = import->rows.arrays[i].data;
    params[IMPORT_COLUMNS] = call->actor;
    params[IMPORT_COLUMNS + 1] = request_id(call->request);
    params[IMPORT_COLUMNS + 2] = import->dry_run ? "true" : "false";
    call_ask_for(call, ST_IMPORT_ARTICLES, params, IMPORT_COLUMNS + 3, imported);
}

static bool read_dry_run(struct request *request, bool *dry_run)
{
    static const char *const parameters[] = {"dry_run", NULL};
    char text[HTTP_QUERY_VALUE_MAX];

    if (!request_query_only(request, parameters) || !request_query_text(request, "dry_run", text))
        return false;
    *dry_run = strcmp(text, "true") == 0;
    if (*dry_run || text[0] == '\0' || strcmp(text, "false") == 0)
        return true;
    reply_problem(request, 400, "dry_run", "must be true or false");
    return false;
}

static bool says_csv(struct request *request)
{
    const char *type = request_header(request, "Content-Type");

    if (type != NULL && strncasecmp(type, "text/csv", 8) == 0 && strchr("; \t", type[8]) != NULL)
        return true;
    reply_problem(request, 415, "Content-Type", "must be text/csv");
    return false;
}

static int read_rows(struct request *request, struct import_call *import)
{
    size_t len;
    const char *body = request_body(request, &len);
    char *text = malloc(len + 1);
    int rc;

    if (text == NULL)
        return ERR_NOMEM;
    if (len > 0)
        memcpy(text, body, len);
    rc = import_read(&import->rows, text, len);
    free(text);
    return rc;
}

void import_articles(struct request *request, void *context)
{
    struct import_call *import;
    struct call *call;
    bool dry_run;

    if (!read_dry_run(request, &dry_run) || !says_csv(request))
        return;
    import = calloc(1, sizeof *import);
    if (import == NULL || read_rows(request, import) != ERR_NONE) {
        if (import != NULL)
            import_free(&import->rows);
        free(import);
        reply_problem(request, 503, NULL, "out of memory");
        return;
    }
    import->dry_run = dry_run;
    if (import->rows.error_count > 0) {
        reply_mistakes(request, import);
        import_free(&import->rows);
        free(import);
        return;
    }
    if (!call_begin(&call, request, context, NULL)) {
        import_free(&import->rows);
        free(import);
        return;
    }
    call->state = import;
    call->on_free = free_rows;
    call->run = ask;
    ask(call);
}
