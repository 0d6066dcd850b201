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

static bool has_control(const char *text, bool lines)
{
    for (; *text != '\0'; text++)
        if (((unsigned char)*text < 0x20 && !(lines && (*text == '\n' || *text == '\t'))) ||
            *text == 0x7f)
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
    wrong = has_control(text, field->type == FIELD_TEXT) ? "must not contain control characters"
            : field->check != NULL                       ? field->check(text)
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
    static const struct {
        json_type types[2];
        const char *expected;
    } forms[] = {[FIELD_STRING] = {{JSON_STRING, JSON_STRING}, "a string"},
                 [FIELD_TEXT] = {{JSON_STRING, JSON_STRING}, "a string"},
                 [FIELD_INT] = {{JSON_INTEGER, JSON_INTEGER}, "a whole number"},
                 [FIELD_BOOL] = {{JSON_TRUE, JSON_FALSE}, "true or false"},
                 [FIELD_ARRAY] = {{JSON_ARRAY, JSON_ARRAY}, "an array"}};
    bool fits = json_typeof(json) == forms[field->type].types[0] ||
                json_typeof(json) == forms[field->type].types[1];
    int64_t number;

    if (!fits) {
        problem_set(problem, 422, field->name, "must be %s", forms[field->type].expected);
        return;
    }
    value->present = true;
    if (field->type == FIELD_STRING || field->type == FIELD_TEXT) {
        read_string(field, json_string_value(json), value, problem);
    } else if (field->type == FIELD_BOOL) {
        value->boolean = json_is_true(json);
    } else {
        number = json_is_array(json) ? (int64_t)json_array_size(json) : json_integer_value(json);
        value->integer = number;
        value->array = json_is_array(json) ? json : NULL;
        if (number < field->min || number > field->max)
            problem_set(problem, 422, field->name,
                        "%s %" PRId64 "; expected %" PRId64 " to %" PRId64,
                        json_is_array(json) ? "has this many elements:" : "is", number, field->min,
                        field->max);
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

static void refuse_unknown(const json_t *root, const struct field *fields, size_t count,
                           struct problem *problem)
{
    const char *key;
    json_t *ignored;

    json_object_foreach((json_t *)root, key, ignored) /* the macro wants no const; it only reads */
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

static bool read_members(const json_t *root, const struct field *fields, size_t count,
                         struct field_value *values, struct problem *problem)
{
    assert(count <= BODY_FIELDS_MAX);
    memset(values, 0, count * sizeof *values);
    refuse_unknown(root, fields, count, problem);
    for (size_t i = 0; i < count && problem->status == 0; i++) {
        const json_t *json = json_object_get(root, fields[i].name);
        if (json != NULL)
            read_field(&fields[i], json, &values[i], problem);
        else if (fields[i].need == FIELD_REQUIRED)
            problem_set(problem, 422, fields[i].name, "is missing");
    }
    return problem->status == 0;
}

json_t *body_read(const char *body, size_t len, const struct field *fields, size_t count,
                  struct field_value *values, struct problem *problem)
{
    json_t *root;

    problem->status = 0;
    root = parse(body, len, problem);
    if (root == NULL)
        return NULL;
    if (!read_members(root, fields, count, values, problem)) {
        json_decref(root);
        return NULL;
    }
    return root;
}

bool object_read(const json_t *json, const char *array, size_t index, const struct field *fields,
                 size_t count, struct field_value *values, struct problem *problem)
{
    char path[sizeof problem->field];

    problem->status = 0;
    if (!json_is_object(json)) {
        snprintf(path, sizeof path, "%s[%zu]", array, index);
        problem_set(problem, 422, path, "must be an object");
        return false;
    }
    if (read_members(json, fields, count, values, problem))
        return true;
    if (snprintf(path, sizeof path, "%s[%zu].%s", array, index, problem->field) < 0)
        return false;
    memcpy(problem->field, path, sizeof path);
    return false;
}

const char *check_email(const char *email)
{
    const char *at = strrchr(email, '@');

    if (strlen(email) > 254) /* RFC 5321 */
        return "is longer than 254 bytes";
    if (at == NULL || at == email || at[1] == '\0' || strchr(email, '@') != at)
        return "must have the form name@domain";
    if (strpbrk(email, " ,;<>()[]\\\"") != NULL)
        return "must not contain spaces, quotes, brackets, commas or semicolons";
    if (at[1] == '.' || at[strlen(at) - 1] == '.' || strstr(at, "..") != NULL)
        return "has an empty label in its domain";
    return NULL;
}
