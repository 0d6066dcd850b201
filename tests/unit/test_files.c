/* Files that agentd writes for a workload. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/io/os_files.h"

static char run_dir[64];
static const struct os_files_owner nobody;

static int make_dir(void **state)
{
    (void)state;
    snprintf(run_dir, sizeof run_dir, "/tmp/covey-files.XXXXXX");
    return mkdtemp(run_dir) == NULL;
}

static int remove_dir(void **state)
{
    char path[96];
    (void)state;
    os_files_remove(run_dir, "web.0");
    snprintf(path, sizeof path, "%s/files", run_dir);
    (void)rmdir(path);
    return rmdir(run_dir); /* fails if something was left */
}

static struct desired_content file_of(const char *path, const char *text,
                                      enum desired_change change)
{
    return (struct desired_content){.path = path, .text = text, .mode = 0440, .change = change};
}

static bool write_files(const struct desired_content *files, size_t count, bool all)
{
    struct err err = {0};
    struct os_files_found found;

    if (os_files_write(run_dir, "web.0", files, count, all, false, &nobody, &found, &err) !=
        ERR_NONE)
        fail_msg("%s", err.text);
    return found.signal;
}

/* The text of a file, "" if it is not there. */
static const char *text_of(const char *path, struct stat *st)
{
    static char text[256];
    char whole[160];
    FILE *in;

    snprintf(whole, sizeof whole, "%s/files/web.0/%s", run_dir, path);
    text[0] = '\0';
    in = fopen(whole, "r");
    if (in == NULL)
        return text;
    text[fread(text, 1, sizeof text - 1, in)] = '\0';
    if (st != NULL)
        assert_int_equal(fstat(fileno(in), st), 0);
    fclose(in);
    return text;
}

static void a_start_writes_all_and_removes_the_rest(void **state)
{
    const struct desired_content first[] = {
        file_of("etc/app/a.conf", "one", DESIRED_CHANGE_RESTART),
        file_of("b", "two", DESIRED_CHANGE_SIGNAL),
    };
    struct stat st, again;
    (void)state;

    write_files(first, 2, true);
    assert_string_equal(text_of("etc/app/a.conf", &st), "one");
    assert_int_equal(st.st_mode & 07777, 0440);
    assert_string_equal(text_of("b", NULL), "two");
    write_files(first, 2, true);
    text_of("etc/app/a.conf", &again);
    assert_int_equal(st.st_ino, again.st_ino); /* what is as it should be is left alone */
    write_files(&first[1], 1, true);
    assert_string_equal(text_of("etc/app/a.conf", NULL), "");
    assert_string_equal(text_of("b", NULL), "two");
}

static void a_running_process_gets_what_needs_no_restart(void **state)
{
    const struct desired_content before[] = {
        file_of("a", "one", DESIRED_CHANGE_RESTART),
        file_of("b", "one", DESIRED_CHANGE_SIGNAL),
        file_of("c", "one", DESIRED_CHANGE_NOTHING),
    };
    struct desired_content after[3];
    (void)state;

    write_files(before, 3, true);
    memcpy(after, before, sizeof after);
    for (int i = 0; i < 3; i++)
        after[i].text = "other";
    after[1].text = before[1].text;
    assert_false(write_files(after, 3, false));
    assert_string_equal(text_of("a", NULL), "one");
    assert_string_equal(text_of("c", NULL), "other");
    after[1].text = "other";
    assert_true(write_files(after, 3, false));
    assert_string_equal(text_of("b", NULL), "other");
    assert_false(write_files(after, 3, false)); /* no signal without a change */
}

static void what_somebody_edited_is_brought_back(void **state)
{
    const struct desired_content file = file_of("a", "one", DESIRED_CHANGE_SIGNAL);
    struct os_files_found found;
    char path[160];
    FILE *out;
    (void)state;

    write_files(&file, 1, true);
    snprintf(path, sizeof path, "%s/files/web.0/a", run_dir);
    assert_int_equal(chmod(path, 0600), 0);
    out = fopen(path, "w");
    assert_non_null(out);
    fputs("two", out);
    fclose(out);
    assert_int_equal(os_files_write(run_dir, "web.0", &file, 1, true, true, &nobody, &found, NULL),
                     ERR_NONE);
    assert_true(found.differs); /* drift: warn only tells */
    assert_string_equal(text_of("a", NULL), "two");
    assert_true(write_files(&file, 1, false));
    assert_string_equal(text_of("a", NULL), "one");
    assert_int_equal(os_files_write(run_dir, "web.0", &file, 1, true, true, &nobody, &found, NULL),
                     ERR_NONE);
    assert_false(found.differs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_start_writes_all_and_removes_the_rest, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(a_running_process_gets_what_needs_no_restart, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(what_somebody_edited_is_brought_back, make_dir, remove_dir),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
