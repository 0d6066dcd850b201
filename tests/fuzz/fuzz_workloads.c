/* What clients of the workloads send: the first byte says whether the rest is a path, a body or a
 * text that is written as JSON. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "tests/fuzz/fuzz.h"
#include "workloads/lib/body.h"
#include "workloads/lib/emit.h"
#include "workloads/lib/route.h"

static void handle(struct request *request, void *context)
{
    (void)request;
    (void)context;
}

static bool clean(const char *text)
{
    size_t len = strlen(text);

    while (len > 0) {
        size_t n = utf8_sequence(text, len);
        if (n == 0 || (unsigned char)*text < 0x20 || *text == 0x7f)
            return false;
        text += n;
        len -= n;
    }
    return true;
}

static void try_path(const char *bytes, size_t len)
{
    static const struct route routes[] = {
        {"GET", "/", handle, 0},
        {"GET", "/a/{b}", handle, 0},
        {"POST", "/a/{b}/c/{d}", handle, 0},
    };
    struct route_match match;
    char *path = strndup(bytes, len);
    enum route_result result;

    if (path == NULL)
        return;
    result = route_find(routes, sizeof routes / sizeof routes[0], "GET", path, &match);
    if ((result == ROUTE_FOUND) != (match.route != NULL))
        abort();
    for (size_t i = 0; result == ROUTE_FOUND && i < match.param_count; i++)
        if (match.params[i][0] == '\0' || !clean(match.params[i]))
            abort();
    free(path);
}

static const char *no_digits(const char *text)
{
    return strpbrk(text, "0123456789") == NULL ? NULL : "has digits";
}

static void try_body(const char *bytes, size_t len)
{
    static const struct field fields[] = {
        {"name", FIELD_STRING, FIELD_REQUIRED, 1, 10, no_digits},
        {"n", FIELD_INT, FIELD_OPTIONAL, -5, 5, NULL},
        {"b", FIELD_BOOL, FIELD_OPTIONAL, 0, 0, NULL},
    };
    struct field_value values[3];
    struct problem problem;
    json_t *root = body_read(bytes, len, fields, 3, values, &problem);

    if (root == NULL) {
        if (problem.status != 400 && problem.status != 422)
            abort();
        if (problem.detail[0] == '\0' || (problem.status == 422) != (problem.field[0] != '\0'))
            abort();
        return;
    }
    if (values[0].string == NULL || !clean(values[0].string) ||
        no_digits(values[0].string) != NULL || values[1].integer < -5 || values[1].integer > 5)
        abort();
    json_decref(root);
}

static void try_text(const char *bytes, size_t len)
{
    struct out o;
    json_t *root;

    out_init(&o, NULL, 0, 8 * len + 2);
    emit_string_n(&o, bytes, len);
    if (o.failed)
        abort();
    root = json_loadb(o.data, o.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (root == NULL)
        abort();
    json_decref(root);
    out_free(&o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data + 1;

    if (size == 0)
        return 0;
    if (data[0] == 'p')
        try_path(bytes, size - 1);
    else if (data[0] == 'b')
        try_body(bytes, size - 1);
    else
        try_text(bytes, size - 1);
    return 0;
}
