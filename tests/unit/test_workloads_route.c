/* Routes, percent-decoding, and request bodies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "workloads/lib/body.h"
#include "workloads/lib/route.h"

static void ignore(struct request *request, void *context)
{
    (void)request;
    (void)context;
}

static const struct route routes[] = {
    {"GET", "/", ignore, 0},
    {"GET", "/api/users", ignore, 0},
    {"POST", "/api/users", ignore, 100},
    {"GET", "/api/users/{id}", ignore, 0},
    {"DELETE", "/api/users/{id}", ignore, 0},
    {"GET", "/api/users/{id}/orders/{order}", ignore, 0},
};

static enum route_result find(const char *method, const char *path, struct route_match *match)
{
    return route_find(routes, sizeof routes / sizeof routes[0], method, path, match);
}

static void routes_are_found_with_their_parameters(void **state)
{
    struct route_match m;
    (void)state;

    assert_int_equal(find("GET", "/", &m), ROUTE_FOUND);
    assert_ptr_equal(m.route, &routes[0]);
    assert_int_equal(find("POST", "/api/users", &m), ROUTE_FOUND);
    assert_ptr_equal(m.route, &routes[2]);
    assert_int_equal(find("HEAD", "/api/users", &m), ROUTE_FOUND);
    assert_ptr_equal(m.route, &routes[1]);
    assert_int_equal(find("GET", "/api/users/42", &m), ROUTE_FOUND);
    assert_int_equal(m.param_count, 1);
    assert_string_equal(m.params[0], "42");
    assert_int_equal(find("GET", "/api/users/a%2Fb%20c/orders/%C3%A4", &m), ROUTE_FOUND);
    assert_ptr_equal(m.route, &routes[5]);
    assert_string_equal(m.params[0], "a/b c");
    assert_string_equal(m.params[1], "\xc3\xa4");
    assert_int_equal(find("GET", "/%61pi/users", &m), ROUTE_FOUND);
}

static void what_is_not_there_is_not_found(void **state)
{
    static const char *const paths[] = {"/api",         "/api/users/",          "/api/users/1/",
                                        "/api/user",    "/api/userss",          "//api/users",
                                        "/api%2Fusers", "/api/users//orders/1", "/{id}"};
    struct route_match m;
    (void)state;

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        assert_int_equal(find("GET", paths[i], &m), ROUTE_NO_PATH);
    assert_int_equal(find("PUT", "/api/users", &m), ROUTE_NO_METHOD);
    assert_string_equal(m.allowed, "GET, HEAD, POST");
    assert_null(m.route);
    assert_int_equal(find("get", "/api/users/1", &m), ROUTE_NO_METHOD);
    assert_string_equal(m.allowed, "GET, HEAD, DELETE");
}

static void bad_paths_are_refused_as_a_whole(void **state)
{
    static const char *const paths[] = {"",
                                        "api",
                                        "*",
                                        "/api/../api/users",
                                        "/api/%2e%2e/users",
                                        "/./api",
                                        "/api/users/%00",
                                        "/api/users/%",
                                        "/api/users/%4",
                                        "/api/users/%zz",
                                        "/api/users/%ff",
                                        "/api/users/%C0%AF",
                                        "/api/users/%0a",
                                        "/api/users/\xff"};
    struct route_match m;
    (void)state;

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        assert_int_equal(find("GET", paths[i], &m), ROUTE_BAD_PATH);
}

static void long_paths_are_refused(void **state)
{
    char path[ROUTE_PATH_MAX + 2];
    struct route_match m;
    (void)state;

    memset(path, 'a', sizeof path);
    path[0] = '/';
    path[ROUTE_PATH_MAX] = '\0';
    assert_int_equal(find("GET", path, &m), ROUTE_NO_PATH);
    path[ROUTE_PATH_MAX] = 'a';
    path[ROUTE_PATH_MAX + 1] = '\0';
    assert_int_equal(find("GET", path, &m), ROUTE_TOO_LONG);
    path[0] = '\0';
    for (int i = 0; i <= ROUTE_SEGMENTS_MAX; i++)
        strcat(path, "/a");
    assert_int_equal(find("GET", path, &m), ROUTE_TOO_LONG);
}

static const char *no_spaces(const char *text)
{
    return strchr(text, ' ') == NULL ? NULL : "has a space";
}

static const struct field fields[] = {
    {"name", FIELD_STRING, FIELD_REQUIRED, 2, 4, no_spaces},
    {"age", FIELD_INT, FIELD_OPTIONAL, 0, 150, NULL},
    {"admin", FIELD_BOOL, FIELD_OPTIONAL, 0, 0, NULL},
};
#define FIELDS (sizeof fields / sizeof fields[0])

static void good_bodies_are_read(void **state)
{
    static const char body[] =
        " {\"name\":\"\xc3\xa4\xc3\xb6\\u00fc\xf0\x9f\x98\x80\",\"age\":0,\"admin\":true}\n";
    struct field_value v[FIELDS];
    struct problem p;
    json_t *root = body_read(body, sizeof body - 1, fields, FIELDS, v, &p);
    (void)state;

    assert_non_null(root);
    assert_string_equal(v[0].string, "\xc3\xa4\xc3\xb6\xc3\xbc\xf0\x9f\x98\x80"); /* 4 characters */
    assert_true(v[1].present);
    assert_int_equal(v[1].integer, 0);
    assert_true(v[2].boolean);
    json_decref(root);
    root = body_read("{\"name\":\"ab\"}", 13, fields, FIELDS, v, &p);
    assert_non_null(root);
    assert_false(v[1].present);
    json_decref(root);
}

static void bad_bodies_are_told_by_field_and_reason(void **state)
{
    static const struct {
        const char *body;
        int status;
        const char *field;
        const char *reason;
    } cases[] = {
        {"", 400, "", "empty"},
        {"{\"name\":", 400, "", "not valid JSON: line 1, column 8"},
        {"{\"name\":\"ab\"} x", 400, "", "not valid JSON"},
        {"[1]", 400, "", "JSON object"},
        {"null", 400, "", "not valid JSON"},
        {"{\"name\":\"a\xff\x62\"}", 400, "", "not valid JSON"},
        {"{\"name\":\"a\\u0000b\"}", 400, "", "not valid JSON"},
        {"{\"name\":\"ab\",\"name\":\"cd\"}", 400, "", "duplicate"},
        {"{\"name\":\"ab\",\"age\":99999999999999999999}", 400, "", "too big"},
        {"{\"age\":1}", 422, "name", "missing"},
        {"{\"name\":\"ab\",\"colour\":1}", 422, "colour", "not a field"},
        {"{\"name\":\"ab\",\"\":1}", 400, "", "without a name"},
        {"{\"name\":7}", 422, "name", "must be a string"},
        {"{\"name\":null}", 422, "name", "must be a string"},
        {"{\"name\":\"a\"}", 422, "name", "has 1 characters; expected 2 to 4"},
        {"{\"name\":\"abcde\"}", 422, "name", "has 5 characters"},
        {"{\"name\":\"a\\nb\"}", 422, "name", "control"},
        {"{\"name\":\"a b\"}", 422, "name", "has a space"},
        {"{\"name\":\"ab\",\"age\":-1}", 422, "age", "is -1; expected 0 to 150"},
        {"{\"name\":\"ab\",\"age\":1.5}", 422, "age", "whole number"},
        {"{\"name\":\"ab\",\"age\":\"1\"}", 422, "age", "whole number"},
        {"{\"name\":\"ab\",\"admin\":1}", 422, "admin", "true or false"},
        {"[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", 400, "", "deeper than 16"},
    };
    struct field_value v[FIELDS];
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct problem p;
        assert_null(body_read(cases[i].body, strlen(cases[i].body), fields, FIELDS, v, &p));
        assert_int_equal(p.status, cases[i].status);
        assert_string_equal(p.field, cases[i].field);
        if (strstr(p.detail, cases[i].reason) == NULL)
            fail_msg("%s: \"%s\" lacks \"%s\"", cases[i].body, p.detail, cases[i].reason);
    }
}

static void brackets_in_strings_do_not_nest(void **state)
{
    static const char body[] = "{\"name\":\"\\\"[[\",\"age\":1}";
    struct field_value v[FIELDS];
    struct problem p;
    json_t *root = body_read(body, sizeof body - 1, fields, FIELDS, v, &p);
    (void)state;

    assert_non_null(root);
    assert_string_equal(v[0].string, "\"[[");
    json_decref(root);
}

static void whole_numbers_are_read_strictly(void **state)
{
    static const char *const bad[] = {
        "", "-", "+1", " 1", "1 ", "1.0", "0x10", "1e3", "9223372036854775808", "--1"};
    int64_t n;
    (void)state;

    assert_true(read_int("-9223372036854775808", &n));
    assert_int_equal(n, INT64_MIN);
    assert_true(read_int("007", &n));
    assert_int_equal(n, 7);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(read_int(bad[i], &n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes_are_found_with_their_parameters),
        cmocka_unit_test(what_is_not_there_is_not_found),
        cmocka_unit_test(bad_paths_are_refused_as_a_whole),
        cmocka_unit_test(long_paths_are_refused),
        cmocka_unit_test(good_bodies_are_read),
        cmocka_unit_test(bad_bodies_are_told_by_field_and_reason),
        cmocka_unit_test(brackets_in_strings_do_not_nest),
        cmocka_unit_test(whole_numbers_are_read_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
