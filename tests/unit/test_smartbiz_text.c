/* CSV, rows of an import, cursors and list statements, heads of replies: what is pure in SmartBiz.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/err.h"
#include "workloads/lib/body.h"
#include "workloads/smartbiz-api/csv.h"
#include "workloads/smartbiz-api/import_rows.h"
#include "workloads/smartbiz-api/list_sql.h"
#include "workloads/smartbiz-ui/reply_head.h"

/* The records of @text as "a|b/c|d", each with its line before it. */
static void assert_csv(const char *text, enum csv_result last, const char *expected)
{
    size_t len = strlen(text);
    char *copy = malloc(len + 1);
    char found[512] = "";
    char *fields[CSV_FIELDS_MAX];
    struct csv_reader reader;
    enum csv_result result;
    size_t count;

    assert_non_null(copy);
    memcpy(copy, text, len);
    csv_open(&reader, copy, len);
    while ((result = csv_read(&reader, fields, &count)) == CSV_RECORD) {
        snprintf(found + strlen(found), sizeof found - strlen(found), "%zu:", reader.line);
        for (size_t i = 0; i < count; i++)
            snprintf(found + strlen(found), sizeof found - strlen(found), "%s%s", i > 0 ? "|" : "",
                     fields[i]);
        strcat(found, "/");
    }
    assert_string_equal(found, expected);
    assert_int_equal(result, last);
    free(copy);
}

static void csv_records(void **state)
{
    (void)state;
    assert_csv("", CSV_END, "");
    assert_csv("\r\n\n", CSV_END, "");
    assert_csv("a,b\nc,d", CSV_END, "1:a|b/2:c|d/");
    assert_csv("\xef\xbb\xbf"
               "a;b,c;d\r\n\r\ne;;\r\n",
               CSV_END, "1:a|b,c|d/3:e||/");
    assert_csv("a,\"b\"\"c\",\"d,\ne\"\nf", CSV_END, "1:a|b\"c|d,\ne/3:f/");
    assert_csv("\"\",\"\"", CSV_END, "1:|/");
    assert_csv("a,\n", CSV_END, "1:a|/");
}

static void csv_mistakes(void **state)
{
    char many[CSV_FIELDS_MAX + 2];
    char *big = malloc(CSV_FIELD_MAX + 3);
    (void)state;

    assert_non_null(big);
    assert_csv("a,\"b", CSV_BAD_QUOTE, "");
    assert_csv("a\"b", CSV_BAD_QUOTE, "");
    assert_csv("\"a\"b", CSV_BAD_QUOTE, "");
    assert_csv("x\na\x01", CSV_BAD_TEXT, "1:x/");
    assert_csv("\xc0\x80", CSV_BAD_TEXT, "");
    memset(many, ',', CSV_FIELDS_MAX);
    many[CSV_FIELDS_MAX] = '\0';
    assert_csv(many, CSV_TOO_MANY, "");
    memset(big, 'x', CSV_FIELD_MAX + 1);
    big[CSV_FIELD_MAX + 1] = '\0';
    assert_csv(big, CSV_TOO_LONG, "");
    free(big);
}

static void csv_written(void **state)
{
    char storage[256];
    struct out o;
    (void)state;

    out_init(&o, storage, sizeof storage, 0);
    csv_put(&o, "plain", 5, true, true);
    csv_put(&o, "a,\"b\"\n", 6, false, true);
    csv_put(&o, "=1+1", 4, false, true);
    csv_put(&o, "-5", 2, false, false);
    out_char(&o, '\0');
    assert_string_equal(storage, "plain,\"a,\"\"b\"\"\n\",'=1+1,-5");
    assert_string_equal(csv_unguard("'=1"), "=1");
    assert_string_equal(csv_unguard("''s"), "'s");
    assert_string_equal(csv_unguard("'s"), "'s");
}

static void prices(void **state)
{
    (void)state;
    assert_int_equal(import_price("12"), 1200);
    assert_int_equal(import_price("12.3"), 1230);
    assert_int_equal(import_price("12,34"), 1234);
    assert_int_equal(import_price("0.05"), 5);
    assert_int_equal(import_price("10000000"), 1000000000);
    assert_int_equal(import_price("10000000.01"), -1);
    for (size_t i = 0; i < 8; i++) {
        static const char *const wrong[] = {"",      "-1",    "1.",  ".5",
                                            "1.234", "1,2,3", "1e3", "999999999"};
        assert_int_equal(import_price(wrong[i]), -1);
    }
}

static void import_literals(void **state)
{
    char text[] = "stock,sku,name,id\n5,A,\"x \"\"y\"\" \\\",7\n,B,NULL,8\n";
    struct import_rows *rows = malloc(sizeof *rows);
    (void)state;

    assert_non_null(rows);
    assert_int_equal(import_read(rows, text, sizeof text - 1), ERR_NONE);
    assert_int_equal(rows->error_count, 0);
    assert_int_equal(rows->rows, 2);
    assert_string_equal(rows->arrays[IMPORT_SKU].data, "{\"A\",\"B\"}");
    assert_string_equal(rows->arrays[IMPORT_NAME].data, "{\"x \\\"y\\\" \\\\\",\"NULL\"}");
    assert_string_equal(rows->arrays[IMPORT_STOCK].data, "{\"5\",NULL}");
    assert_string_equal(rows->arrays[IMPORT_CURRENCY].data, "{NULL,NULL}");
    import_free(rows);
    free(rows);
}

static void cursors(void **state)
{
    char text[CURSOR_TEXT_MAX];
    char storage[CURSOR_VALUE_MAX + 32];
    const char *id;
    const char *value;
    (void)state;

    cursor_print("42", "käse: 100%", strlen("käse: 100%"), text);
    assert_true(cursor_read(text, storage, &id, &value));
    assert_string_equal(id, "42");
    assert_string_equal(value, "käse: 100%");
    cursor_print("9223372036854775807", "", 0, text);
    assert_true(cursor_read(text, storage, &id, &value));
    assert_string_equal(value, "");
    assert_false(cursor_read("", storage, &id, &value));
    assert_false(cursor_read("a b", storage, &id, &value));
    assert_false(cursor_read("MTI", storage, &id, &value));  /* "12" */
    assert_false(cursor_read("MDph", storage, &id, &value)); /* "0:a" */
    assert_false(cursor_read("MTr_", storage, &id, &value)); /* "1:" and half a character */
}

static void list_statements(void **state)
{
    static const struct list_spec spec = {
        "SELECT t.id",
        " FROM t WHERE true",
        {{"id", "t.id", true, true}, {"name", "lower(t.name)", false, false}},
        2,
        " AND (a ILIKE %s OR b ILIKE %s)",
        {{"status", " AND s = %s::text"}, {"x", " AND x = %s::bigint"}},
        2};
    const struct list_shape plain = {0};
    const struct list_shape full = {1, true, true, true, 3};
    bool seen[64] = {false};
    char text[LIST_SQL_MAX];
    (void)state;

    assert_true(list_sql(&spec, &plain, text, sizeof text));
    assert_string_equal(text, "SELECT t.id FROM t WHERE true ORDER BY t.id LIMIT $1::bigint");
    assert_true(list_sql(&spec, &full, text, sizeof text));
    assert_string_equal(
        text, "SELECT t.id, lower(t.name) FROM t WHERE true AND (lower(t.name), t.id) < ($2::text, "
              "$3::bigint) AND (a ILIKE $4 OR b ILIKE $4) AND s = $5::text AND x = "
              "$6::bigint ORDER BY lower(t.name) DESC, t.id DESC LIMIT $1::bigint");
    assert_false(list_sql(&spec, &full, text, 50));
    assert_int_equal(list_shapes(&spec), 64);
    for (unsigned i = 0; i < 64; i++) {
        const struct list_shape shape = {i & 1, i >> 1 & 1, i >> 2 & 1, i >> 3 & 1, i >> 4};
        unsigned index = list_shape_index(&spec, &shape);
        assert_true(index < 64 && !seen[index]);
        seen[index] = true;
    }
}

static void assert_head(const char *text, enum reply_head_result expected)
{
    struct reply_head head;
    size_t used;

    assert_int_equal(reply_head_read(text, strlen(text), &head, &used), expected);
}

static void reply_heads(void **state)
{
    static const char good[] =
        "HTTP/1.1 201 Created\r\ncontent-type: a/b\r\nETag:\"v1\" \r\nX: y\r\n"
        "Content-Length: 12\r\n\r\nbody";
    struct reply_head head;
    size_t used;
    (void)state;

    assert_int_equal(reply_head_read(good, sizeof good - 1, &head, &used), REPLY_HEAD_DONE);
    assert_int_equal(head.status, 201);
    assert_int_equal(head.length, 12);
    assert_true(head.keep_alive);
    assert_string_equal(head.values[REPLY_CONTENT_TYPE], "a/b");
    assert_string_equal(head.values[REPLY_ETAG], "\"v1\"");
    assert_string_equal(good + used, "body");
    for (size_t len = 0; len < used; len++)
        assert_int_equal(reply_head_read(good, len, &head, &(size_t){0}), REPLY_HEAD_MORE);
    assert_head("HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n", REPLY_HEAD_DONE);
    assert_head("HTTP/1.1 100 Continue\r\n\r\n", REPLY_HEAD_BAD);
    assert_head("HTTP/2 200\r\n\r\n", REPLY_HEAD_BAD);
    assert_head("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
                REPLY_HEAD_BAD);
    assert_head("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", REPLY_HEAD_BAD);
    assert_head("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", REPLY_HEAD_BAD);
    assert_head("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", REPLY_HEAD_BAD);
    assert_head("HTTP/1.1 200 OK\r\n folded: x\r\n\r\n", REPLY_HEAD_BAD);
}

static void bodies_with_lines(void **state)
{
    static const struct field fields[] = {{"lines", FIELD_ARRAY, FIELD_REQUIRED, 1, 2, NULL},
                                          {"note", FIELD_TEXT, FIELD_OPTIONAL, 0, 9, NULL}};
    static const struct field line[] = {{"n", FIELD_INT, FIELD_REQUIRED, 1, 5, NULL}};
    static const char good[] = "{\"lines\":[{\"n\":3},{\"n\":9}],\"note\":\"a\\nb\"}";
    static const char many[] = "{\"lines\":[1,2,3]}";
    struct field_value values[2];
    struct problem problem;
    json_t *root = body_read(good, sizeof good - 1, fields, 2, values, &problem);
    (void)state;

    assert_non_null(root);
    assert_string_equal(values[1].string, "a\nb");
    assert_true(
        object_read(json_array_get(values[0].array, 0), "lines", 0, line, 1, &values[1], &problem));
    assert_int_equal(values[1].integer, 3);
    assert_false(
        object_read(json_array_get(values[0].array, 1), "lines", 1, line, 1, &values[1], &problem));
    assert_string_equal(problem.field, "lines[1].n");
    json_decref(root);
    assert_null(body_read(many, sizeof many - 1, fields, 2, values, &problem));
    assert_string_equal(problem.field, "lines");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_records),       cmocka_unit_test(csv_mistakes),
        cmocka_unit_test(csv_written),       cmocka_unit_test(prices),
        cmocka_unit_test(import_literals),   cmocka_unit_test(cursors),
        cmocka_unit_test(list_statements),   cmocka_unit_test(reply_heads),
        cmocka_unit_test(bodies_with_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
