/* Replies, and what a handler asks about its request. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "workloads/lib/emit.h"
#include "workloads/lib/http_internal.h"

struct http *request_server(const struct request *request)
{
    return request->http;
}

const char *request_id(const struct request *request)
{
    return request->id;
}

const char *request_method(const struct request *request)
{
    return request->method;
}

const char *request_path(const struct request *request)
{
    return request->url;
}

bool request_is_replied(const struct request *request)
{
    return request->status != 0;
}

int64_t request_elapsed_us(const struct request *request)
{
    return now_us() - request->started;
}

const char *request_param(const struct request *request, size_t index)
{
    assert(index < request->match.param_count);
    return request->match.params[index];
}

const char *request_header(const struct request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

const char *request_body(const struct request *request, size_t *len)
{
    *len = request->body.len;
    return request->body.data;
}

struct rng *request_rng(struct request *request)
{
    return &request->rng;
}

struct query_check {
    struct request *request;
    const char *const *names;
    uint32_t seen; /* bit i: names[i] */
};

static enum MHD_Result check_parameter(void *cls, enum MHD_ValueKind kind, const char *key,
                                       const char *value)
{
    struct query_check *check = cls;
    char name[64];
    size_t i = 0;
    (void)kind;
    (void)value;

    snprintf(name, sizeof name, "%s", key);
    if (strlen(key) >= sizeof name || !percent_decode(name)) {
        reply_problem(check->request, 400, NULL, "the query has a parameter with a bad name");
        return MHD_NO;
    }
    while (check->names[i] != NULL && strcmp(check->names[i], name) != 0)
        i++;
    if (check->names[i] == NULL)
        reply_problem(check->request, 400, name, "is not a parameter of this resource");
    else if (check->seen & (1u << i))
        reply_problem(check->request, 400, name, "is given twice");
    check->seen |= 1u << i;
    return check->request->status == 0 ? MHD_YES : MHD_NO;
}

bool request_query_only(struct request *request, const char *const *names)
{
    struct query_check check = {.request = request, .names = names};

    MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, check_parameter, &check);
    return request->status == 0;
}

bool request_query_int(struct request *request, const char *name, int64_t fallback, int64_t min,
                       int64_t max, int64_t *value)
{
    const char *raw = MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
    char text[64];

    *value = fallback;
    if (raw == NULL)
        return true;
    snprintf(text, sizeof text, "%s", raw);
    if (strlen(raw) < sizeof text && percent_decode(text) && read_int(text, value) &&
        *value >= min && *value <= max)
        return true;
    reply_problem(request, 400, name, "must be a whole number from %lld to %lld", (long long)min,
                  (long long)max);
    return false;
}

/* libmicrohttpd has made spaces of "+". */
static void write_encoded(struct out *o, const char *text)
{
    for (; *text != '\0'; text++)
        out_char(o, *text == ' ' ? '+' : *text);
}

static enum MHD_Result write_parameter(void *cls, enum MHD_ValueKind kind, const char *key,
                                       const char *value)
{
    struct out *o = cls;
    (void)kind;

    out_char(o, o->comma ? '&' : '?');
    o->comma = true;
    write_encoded(o, key);
    if (value != NULL) {
        out_char(o, '=');
        write_encoded(o, value);
    }
    return MHD_YES;
}

void request_query_write(const struct request *request, struct out *o)
{
    o->comma = false;
    MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, write_parameter, o);
}

const char *request_query_raw(const struct request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

bool request_query_text(struct request *request, const char *name, char text[HTTP_QUERY_VALUE_MAX])
{
    const char *raw = MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
    size_t len = raw == NULL ? 0 : strlen(raw);

    text[0] = '\0';
    if (len == 0)
        return true;
    if (len < HTTP_QUERY_VALUE_MAX) {
        memcpy(text, raw, len + 1);
        if (percent_decode(text))
            return true;
    }
    reply_problem(request, 400, name,
                  "must be UTF-8 without control characters, shorter than %d bytes",
                  HTTP_QUERY_VALUE_MAX);
    return false;
}

/* application/json, with or without parameters; a client that says nothing is believed. */
static bool says_json(const struct request *request)
{
    static const char json[] = "application/json";
    const char *type = request_header(request, MHD_HTTP_HEADER_CONTENT_TYPE);

    if (type == NULL)
        return true;
    return strncasecmp(type, json, sizeof json - 1) == 0 &&
           strchr("; \t", type[sizeof json - 1]) != NULL;
}

json_t *request_fields(struct request *request, const struct field *fields, size_t count,
                       struct field_value *values)
{
    struct problem problem;
    json_t *root;

    if (!says_json(request)) {
        reply_problem(request, 415, "Content-Type", "must be application/json");
        return NULL;
    }
    root = body_read(request->body.data, request->body.len, fields, count, values, &problem);
    if (root == NULL)
        reply_problem(request, problem.status, problem.field, "%s", problem.detail);
    return root;
}

static void begin(struct request *request, int status, const char *content_type)
{
    assert(status >= STATUS_MIN && status <= STATUS_MAX);
    request->status = status;
    request->content_type = content_type;
    request->constant = NULL;
    request->constant_len = 0;
    request->header_count = 0;
    out_reset(&request->reply);
}

struct out *reply_begin(struct request *request, int status, const char *content_type)
{
    begin(request, status, content_type);
    return &request->reply;
}

struct out *reply_begin_copy(struct request *request, int status, const char *content_type)
{
    begin(request, status, content_type[0] != '\0' ? request->content_type_text : NULL);
    snprintf(request->content_type_text, sizeof request->content_type_text, "%s", content_type);
    return &request->reply;
}

struct out *reply_body(struct request *request)
{
    return &request->reply;
}

struct out *reply_json(struct request *request, int status)
{
    return reply_begin(request, status, "application/json");
}

void reply_constant(struct request *request, int status, const char *content_type, const char *body,
                    size_t len)
{
    begin(request, status, content_type);
    request->constant = body;
    request->constant_len = len;
}

void reply_empty(struct request *request, int status)
{
    begin(request, status, NULL);
}

void reply_problem(struct request *request, int status, const char *field, const char *detail, ...)
{
    struct out *o = reply_begin(request, status, "application/problem+json");
    char text[512];
    va_list args;

    va_start(args, detail);
    if (vsnprintf(text, sizeof text, detail, args) < 0)
        text[0] = '\0';
    va_end(args);
    emit_object(o);
    emit_key_string(o, "type", "about:blank");
    emit_key_string(o, "title", MHD_get_reason_phrase_for((unsigned)status));
    emit_key_int(o, "status", status);
    emit_key_string(o, "detail", text);
    emit_key_string(o, "instance", request->path);
    if (field != NULL && field[0] != '\0')
        emit_key_string(o, "field", field);
    emit_key_string(o, "request_id", request->id);
    emit_object_end(o);
}

void reply_header(struct request *request, const char *name, const char *value)
{
    size_t i = request->header_count;

    assert(i < REPLY_HEADERS_MAX && strlen(value) < REPLY_HEADER_VALUE_MAX);
    request->headers[i].name = name;
    snprintf(request->headers[i].value, sizeof request->headers[i].value, "%s", value);
    request->header_count++;
}

void request_defer(struct request *request, unsigned delay_ms, route_handler *resume)
{
    assert(request->status == 0);
    request->resume = resume;
    request->wants_resume = now_us() + (int64_t)delay_ms * 1000;
    request->stage = STAGE_DEFERRED;
}

void request_wait(struct request *request)
{
    assert(request->http->config.turn != NULL && request->stage == STAGE_READING);
    request->stage = STAGE_WAITING;
    request->finished = false;
    request->suspended = false;
}

void request_finish(struct request *request)
{
    assert(request->stage == STAGE_WAITING && request->status != 0 && !request->finished);
    request->finished = true;
    if (request->suspended) {
        request->suspended = false;
        MHD_resume_connection(request->connection);
    }
}

static bool add_headers(struct request *request, struct MHD_Response *response)
{
    enum MHD_Result ok = MHD_add_response_header(response, "X-Request-Id", request->id);

    if (ok == MHD_YES && request->content_type != NULL)
        ok = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, request->content_type);
    for (size_t i = 0; ok == MHD_YES && i < request->header_count; i++)
        ok = MHD_add_response_header(response, request->headers[i].name, request->headers[i].value);
    if (ok == MHD_YES && atomic_load_explicit(&request->http->draining, memory_order_relaxed))
        ok = MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    return ok == MHD_YES;
}

enum MHD_Result reply_send(struct request *request)
{
    const struct http_config *config = &request->http->config;
    struct MHD_Response *response;
    enum MHD_Result result = MHD_NO;
    const char *body;
    size_t len;

    if (request->constant == NULL && request->reply.failed)
        reply_problem(request, 500, NULL, "the reply is too long or memory is out");
    body = request->constant != NULL ? request->constant : request->reply.data;
    len = request->constant != NULL ? request->constant_len : request->reply.len;
    /* The body lies in this request until on_completed: no copy. The cast drops const from what
     * libmicrohttpd only reads. */
    response = MHD_create_response_from_buffer(len, (void *)body, MHD_RESPMEM_PERSISTENT);
    if (response == NULL)
        return MHD_NO;
    if (add_headers(request, response)) {
        request->stage = STAGE_REPLIED;
        atomic_store_explicit(&request->deadline, now_us() + (int64_t)config->timeout_s * 1000000,
                              memory_order_relaxed);
        result = MHD_queue_response(request->connection, (unsigned)request->status, response);
    }
    MHD_destroy_response(response);
    return result;
}
