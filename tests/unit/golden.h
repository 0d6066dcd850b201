/* Comparison with a golden file of the folder GOLDEN, which the build names. With COVEY_GOLDEN set
 * the file is written anew. */
#ifndef COVEY_TESTS_UNIT_GOLDEN_H
#define COVEY_TESTS_UNIT_GOLDEN_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN_MAX 65536

static void write_golden(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fprintf(file, "%s\n", text) > 0);
    assert_int_equal(fclose(file), 0);
}

/* Fails with the first line that differs, and where it is. */
static void expect_same_lines(const char *path, const char *text, const char *golden)
{
    int line = 1;

    for (;;) {
        size_t size = strcspn(text, "\n");
        size_t golden_size = strcspn(golden, "\n");
        if (size != golden_size || memcmp(text, golden, size) != 0)
            fail_msg("%s:%d differs:\n-%.*s\n+%.*s", path, line, (int)golden_size, golden,
                     (int)size, text);
        if (text[size] == '\0' || golden[golden_size] == '\0')
            break;
        text += size + 1;
        golden += golden_size + 1;
        line++;
    }
    assert_string_equal(text, golden); /* neither ends before the other */
}

/* Steals @document. */
static void expect_golden(json_t *document, const char *name)
{
    static char golden[GOLDEN_MAX];
    char path[512];
    char *text;
    FILE *file;
    size_t size;

    assert_non_null(document);
    text = json_dumps(document, JSON_INDENT(2));
    json_decref(document);
    assert_non_null(text);
    snprintf(path, sizeof path, "%s/%s.json", GOLDEN, name);
    if (getenv("COVEY_GOLDEN") != NULL)
        write_golden(path, text);
    file = fopen(path, "r");
    if (file == NULL)
        fail_msg("%s is missing", path);
    size = fread(golden, 1, sizeof golden - 1, file);
    fclose(file);
    assert_true(size > 0);
    golden[size - 1] = '\0'; /* its last newline */
    expect_same_lines(path, text, golden);
    free(text);
}

#endif
