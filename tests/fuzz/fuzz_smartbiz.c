/* What SmartBiz reads of others: the first byte says whether the rest is a CSV file, a cursor, the
 * head of a reply or the lines of an order. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "workloads/lib/body.h"
#include "workloads/lib/emit.h"
#include "workloads/smartbiz-api/import_rows.h"
#include "workloads/smartbiz-api/list_sql.h"
#include "workloads/smartbiz-ui/reply_head.h"

static void try_csv(const char *bytes, size_t len)
{
    struct import_rows *rows = malloc(sizeof *rows);
    char *text = malloc(len + 1);

    if (rows == NULL || text == NULL)
        abort();
    memcpy(text, bytes, len);
    if (import_read(rows, text, len) == 0) {
        for (size_t i = 0; i < IMPORT_COLUMNS; i++) {
            const struct out *array = &rows->arrays[i];
            if (array->data[0] != '{' || array->data[array->len - 2] != '}' ||
                array->data[array->len - 1] != '\0')
                abort();
        }
        if (rows->rows > IMPORT_ROWS_MAX || (rows->rows == 0 && rows->arrays[0].len != 3))
            abort();
    }
    import_free(rows);
    free(rows);
    free(text);
}

static void try_cursor(const char *bytes, size_t len)
{
    char *text = strndup(bytes, len);
    char storage[CURSOR_VALUE_MAX + 32];
    char again[CURSOR_TEXT_MAX];
    char second[CURSOR_VALUE_MAX + 32];
    const char *id;
    const char *value;

    if (text == NULL)
        abort();
    if (cursor_read(text, storage, &id, &value) && strlen(id) < 20) {
        const char *id_again;
        const char *value_again;
        cursor_print(id, value, strlen(value), again);
        if (!cursor_read(again, second, &id_again, &value_again) || strcmp(id, id_again) != 0 ||
            strcmp(value, value_again) != 0)
            abort();
    }
    free(text);
}

static void try_head(const char *bytes, size_t len)
{
    struct reply_head head;
    size_t used = 0;

    if (reply_head_read(bytes, len, &head, &used) != REPLY_HEAD_DONE)
        return;
    if (used > len || used > REPLY_HEAD_MAX || head.status < 200 || head.status > 599)
        abort();
    for (size_t i = 0; i < REPLY_HEADERS; i++)
        if (strpbrk(head.values[i], "\r\n") != NULL)
            abort();
}

static void try_lines(const char *bytes, size_t len)
{
    static const struct field fields[] = {{"lines", FIELD_ARRAY, FIELD_REQUIRED, 1, 8, NULL}};
    static const struct field line[] = {{"n", FIELD_INT, FIELD_REQUIRED, 1, 5, NULL},
                                        {"t", FIELD_TEXT, FIELD_OPTIONAL, 0, 5, NULL}};
    struct field_value values[2];
    struct problem problem;
    json_t *root = body_read(bytes, len, fields, 1, values, &problem);
    const json_t *array;

    if (root == NULL)
        return;
    array = values[0].array;
    if (json_array_size(array) < 1 || json_array_size(array) > 8)
        abort();
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (!object_read(json_array_get(array, i), "lines", i, line, 2, values, &problem)) {
            if (problem.status == 0 || strncmp(problem.field, "lines[", 6) != 0)
                abort();
        } else if (values[0].integer < 1 || values[0].integer > 5) {
            abort();
        }
    }
    json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data + 1;

    if (size == 0)
        return 0;
    if (data[0] == 'v')
        try_csv(bytes, size - 1);
    else if (data[0] == 'c')
        try_cursor(bytes, size - 1);
    else if (data[0] == 'h')
        try_head(bytes, size - 1);
    else
        try_lines(bytes, size - 1);
    return 0;
}
