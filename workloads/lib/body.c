#include "workloads/lib/body.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "workloads/lib/emit.h"

void problem_set(struct problem *problem, int status, const char *field, const char *detail, ...)
{
    va_list args;

    problem->status = status;
    snprintf(problem->field, sizeof problem->field, "%s", field == NULL ? "" : field);
    va_start(args, detail);
    vsnprintf(problem->detail, sizeof problem->detail, detail, args);
    va_end(args);
}

bool read_int(const char *text, int64_t *value)
{
    const char *digits = text + (*text == '-');
    char *end;
    long long number;

    if (*digits < '0' || *digits > '9')
        return false;
    errno = 0;
    number = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0')
        return false;
    *value = number;
    return true;
}

/* jansson's parser goes 2048 levels deep by recursion; this is far more than anybody's form. */
static bool too_deep(const char *body, size_t len)
{
    unsigned depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < len; i++) {
        char c = body[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > BODY_DEPTH_MAX)
                return true;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

static int64_t characters(const char *text)
{
    int64_t n = 0;

    for (; *text != '\0'; text++)
        if (((unsigned char)*text & 0xc0) != 0x80)
            n++;
    return n;
}

static bool has_control(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

static void read_string(const struct field *field, const char *text, struct field_value *value,
                        struct problem *problem)
{
    int64_t len = characters(text);
    const char *wrong;

    if (len < field->min || len > field->max) {
        problem_set(problem, 422, field->name,
                    "has %" PRId64 " characters; expected %" PRId64 " to %" PRId64, len, field->min,
                    field->max);
        return;
    }
    wrong = has_control(text)      ? "must not contain control characters"
            : field->check != NULL ? field->check(text)
                                   : NULL;
    if (wrong != NULL) {
        problem_set(problem, 422, field->name, "%s", wrong);
        return;
    }
    value->string = text;
}

static void read_field(const struct field *field, const json_t *json, struct field_value *value,
                       struct problem *problem)
{
    static const char *const expected[] = {[FIELD_STRING] = "a string",
                                           [FIELD_INT] = "a whole number",
                                           [FIELD_BOOL] = "true or false"};
    bool fits = field->type == FIELD_STRING ? json_is_string(json)
                : field->type == FIELD_INT  ? json_is_integer(json)
                                            : json_is_boolean(json);

    if (!fits) {
        problem_set(problem, 422, field->name, "must be %s", expected[field->type]);
        return;
    }
    value->present = true;
    if (field->type == FIELD_STRING) {
        read_string(field, json_string_value(json), value, problem);
    } else if (field->type == FIELD_BOOL) {
        value->boolean = json_is_true(json);
    } else {
        value->integer = json_integer_value(json);
        if (value->integer < field->min || value->integer > field->max)
            problem_set(problem, 422, field->name,
                        "is %" PRId64 "; expected %" PRId64 " to %" PRId64, value->integer,
                        field->min, field->max);
    }
}

static json_t *parse(const char *body, size_t len, struct problem *problem)
{
    json_error_t error;
    json_t *root;

    if (len == 0) {
        problem_set(problem, 400, NULL, "the body is empty; expected a JSON object");
        return NULL;
    }
    if (too_deep(body, len)) {
        problem_set(problem, 400, NULL, "the JSON nests deeper than %d levels", BODY_DEPTH_MAX);
        return NULL;
    }
    root = json_loadb(body, len, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        if (json_error_code(&error) == json_error_out_of_memory)
            problem_set(problem, 500, NULL, "out of memory");
        else
            problem_set(problem, 400, NULL, "the body is not valid JSON: line %d, column %d: %s",
                        error.line, error.column, error.text);
        return NULL;
    }
    if (!json_is_object(root)) {
        problem_set(problem, 400, NULL, "the body must be a JSON object");
        json_decref(root);
        return NULL;
    }
    return root;
}

static void refuse_unknown(json_t *root, const struct field *fields, size_t count,
                           struct problem *problem)
{
    const char *key;
    json_t *ignored;

    json_object_foreach(root, key, ignored)
    {
        size_t i = 0;
        while (i < count && strcmp(fields[i].name, key) != 0)
            i++;
        if (*key == '\0') {
            problem_set(problem, 400, NULL, "the body has a member without a name");
            return;
        }
        if (i == count) {
            problem_set(problem, 422, key, "is not a field of this request");
            return;
        }
    }
}

json_t *body_read(const char *body, size_t len, const struct field *fields, size_t count,
                  struct field_value *values, struct problem *problem)
{
    json_t *root;

    assert(count <= BODY_FIELDS_MAX);
    problem->status = 0;
    memset(values, 0, count * sizeof *values);
    root = parse(body, len, problem);
    if (root == NULL)
        return NULL;
    refuse_unknown(root, fields, count, problem);
    for (size_t i = 0; i < count && problem->status == 0; i++) {
        const json_t *json = json_object_get(root, fields[i].name);
        if (json != NULL)
            read_field(&fields[i], json, &values[i], problem);
        else if (fields[i].need == FIELD_REQUIRED)
            problem_set(problem, 422, fields[i].name, "is missing");
    }
    if (problem->status != 0) {
        json_decref(root);
        return NULL;
    }
    return root;
}
