/* Commits written down in C, for the tests of the desired state. */
#ifndef COVEY_TESTS_DESIRED_FIXTURE_H
#define COVEY_TESTS_DESIRED_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/desired/desired.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define FILES(...) ((const struct desired_file[]){__VA_ARGS__, {0}})
#define FILE_OF(name, text)                                                                        \
    {                                                                                              \
        .path = (name), .data = (text), .size = strlen(text)                                       \
    }

#define WORKLOAD_HEAD(name)                                                                        \
    "apiVersion: covey.dev/v1\n"                                                                   \
    "kind: Workload\n"                                                                             \
    "metadata: {name: " name "}\n"                                                                 \
    "spec:\n"
#define CLUSTER                                                                                    \
    "apiVersion: covey.dev/v1\n"                                                                   \
    "kind: Cluster\n"                                                                              \
    "metadata: {name: home}\n"                                                                     \
    "spec:\n"                                                                                      \
    "  pool: 10.0.0.210-10.0.0.213\n"
#define VIP(name, spec)                                                                            \
    "apiVersion: covey.dev/v1\nkind: VirtualIP\nmetadata: {name: " name "}\nspec: {" spec "}\n"

static inline int parse_files(const struct desired_file *files, struct desired **desired,
                              char **report, struct err *err)
{
    size_t count = 0;

    while (files[count].path != NULL)
        count++;
    return desired_parse(COMMIT, files, count, desired, report, err);
}

/* @files must be accepted; freed by the caller. */
static inline struct desired *accepted(const struct desired_file *files)
{
    struct desired *desired;
    struct err err = {0};

    if (parse_files(files, &desired, NULL, &err) != 0)
        fail_msg("refused: %s", err.text);
    return desired;
}

/* @files must be refused with the text @first, and @rest on the following lines (NULL: nothing). */
static inline void refused(const struct desired_file *files, const char *first, const char *rest)
{
    struct desired *desired;
    struct err err = {0};
    char *report;
    int rc = parse_files(files, &desired, &report, &err);

    assert_string_equal(err.text, first);
    assert_int_equal(rc, err.code);
    assert_null(desired);
    if (rest == NULL)
        assert_null(report);
    else
        assert_string_equal(report, rest);
    free(report);
}

#endif
