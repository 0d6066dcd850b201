/* Reading a desired state from a folder, and the files that the project ships. */
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

#include "agent/config/config.h"
#include "agent/io/os_tree.h"

static char top[64];

static const char *in_top(const char *name)
{
    static char path[256];

    snprintf(path, sizeof path, "%s/%s", top, name);
    return path;
}

static void make_folder(const char *name)
{
    assert_int_equal(mkdir(in_top(name), 0755), 0);
}

static void make_file(const char *name, const char *text)
{
    FILE *file = fopen(in_top(name), "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int make_top(void **state)
{
    (void)state;
    snprintf(top, sizeof top, "/tmp/covey-tree.XXXXXX");
    assert_non_null(mkdtemp(top));
    return 0;
}

static int remove_top(void **state)
{
    char command[128];
    (void)state;

    snprintf(command, sizeof command, "rm -rf '%s'", top);
    return system(command);
}

static void refused(int code, const char *expected)
{
    struct os_tree *tree;
    struct err err;
    char text[2 * ERR_TEXT_MAX];

    assert_int_equal(os_tree_read(top, &tree, &err), code);
    snprintf(text, sizeof text, "%s%s", top, expected);
    assert_string_equal(err.text, text);
}

static void what_concerns_covey_is_read(void **state)
{
    const struct desired_file *files;
    struct os_tree *tree;
    struct err err;
    size_t count;
    (void)state;

    make_folder("apps");
    make_folder("apps/web");
    make_folder("apps/web/deep");
    make_folder("other");
    make_file("cluster.yaml", "a");
    make_file("other.yaml", "no");
    make_file("other/x.yaml", "no");
    make_file("apps/web/b.yml", "bb");
    make_file("apps/web/README.md", "no");
    make_file("apps/web/deep/c.yaml", "");
    assert_int_equal(symlink("/etc", in_top("link")), 0); /* not below apps/ */
    assert_int_equal(os_tree_read(top, &tree, &err), 0);
    files = os_tree_files(tree, &count);
    assert_int_equal(count, 3);
    assert_string_equal(files[0].path, "apps/web/b.yml");
    assert_int_equal(files[0].size, 2);
    assert_memory_equal(files[0].data, "bb", 2);
    assert_string_equal(files[1].path, "apps/web/deep/c.yaml");
    assert_int_equal(files[1].size, 0);
    assert_string_equal(files[2].path, "cluster.yaml");
    os_tree_free(tree);
    os_tree_free(NULL);
}

static void links_are_not_followed(void **state)
{
    (void)state;
    make_folder("apps");
    make_folder("apps/web");
    assert_int_equal(symlink("/etc/passwd", in_top("apps/web/x.yaml")), 0);
    refused(ERR_INVALID, "/apps/web/x.yaml: a symbolic link; put the file itself there, links are "
                         "not followed");
    assert_int_equal(unlink(in_top("apps/web/x.yaml")), 0);
    assert_int_equal(symlink("/etc", in_top("apps/web/etc")), 0);
    refused(ERR_INVALID, "/apps/web/etc: a symbolic link; put the file itself there, links are not "
                         "followed");
}

static void what_is_no_file_or_too_large_is_refused(void **state)
{
    (void)state;
    refused(ERR_NOTFOUND,
            " holds neither cluster.yaml nor apps/: is it the top of the repository?");
    make_folder("apps");
    make_folder("apps/web");
    assert_int_equal(mkfifo(in_top("apps/web/x.yaml"), 0644), 0);
    refused(ERR_INVALID, "/apps/web/x.yaml: no regular file"); /* and does not wait for a writer */
    assert_int_equal(unlink(in_top("apps/web/x.yaml")), 0);
    make_file("apps/web/x.yaml", "");
    assert_int_equal(truncate(in_top("apps/web/x.yaml"), 100 << 20), 0);
    refused(ERR_LIMIT, "/apps/web/x.yaml: the file has 104857600 bytes; expected at most 1048576");
}

static void folders_end_somewhere(void **state)
{
    char path[128] = "apps";
    (void)state;

    for (int i = 0; i <= TREE_FOLDERS_MAX; i++) {
        make_folder(path);
        strcat(path, "/a");
    }
    refused(ERR_LIMIT,
            "/apps/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a: more than 16 folders inside each other");
}

static void a_folder_that_is_missing_is_named(void **state)
{
    struct os_tree *tree;
    struct err err;
    (void)state;

    assert_int_equal(os_tree_read("/nowhere/at/all", &tree, &err), ERR_NOTFOUND);
    assert_string_equal(err.text, "open /nowhere/at/all: No such file or directory");
}

/* provisioning/example must stay a valid desired state that shows what there is. */
static void the_example_is_accepted(void **state)
{
    const struct desired_file *files;
    struct desired *desired;
    struct os_tree *tree;
    struct err err = {0};
    size_t count;
    (void)state;

    if (os_tree_read(PROVISIONING "/example", &tree, &err) != 0)
        fail_msg("%s", err.text);
    files = os_tree_files(tree, &count);
    if (desired_parse("", files, count, &desired, NULL, &err) != 0)
        fail_msg("%s", err.text);
    os_tree_free(tree);
    assert_int_equal(desired->workload_count, 12);
    assert_string_equal(desired_workload(desired, "postgres")->user, "postgres");
    assert_int_equal(desired_workload(desired, "rabbitmq")->replicas, 0);
    assert_int_equal(desired_workload(desired, "smartbiz-api")->replicas, 0);
    assert_true(desired_workload(desired, "smartbiz-backup")->schedule.suspend);
    assert_int_equal(desired_workload(desired, "rest-api")->replicas, 2);
    assert_int_equal(desired_workload(desired, "rest-api")->listen, DESIRED_LISTEN_ALL);
    assert_true(desired_workload(desired, "batch-job")->cron);
    assert_non_null(desired_workload(desired, "metrics-app"));
    assert_int_equal(desired->vip_count, 1);
    assert_memory_equal(desired->pool_first.ip, ((uint8_t[]){10, 77, 0, 210}), 4);
    desired_free(desired);
}

/* provisioning/agent.yaml says of every key what it is where nothing is said. */
static void the_shipped_configuration_holds_the_defaults(void **state)
{
    static char text[CONFIG_FILE_MAX];
    FILE *file = fopen(PROVISIONING "/agent.yaml", "r");
    struct config *shipped, *none;
    struct err err = {0};
    size_t size;
    (void)state;

    assert_non_null(file);
    size = fread(text, 1, sizeof text, file);
    fclose(file);
    if (config_parse("agent.yaml", text, size, &shipped, NULL, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(config_parse("", "", 0, &none, NULL, &err), 0);
    assert_null(shipped->node);
    assert_string_equal(shipped->interface, none->interface);
    assert_true(addr_equal(&shipped->listen, &none->listen));
    assert_int_equal(shipped->join_count, none->join_count);
    assert_string_equal(shipped->state_dir, none->state_dir);
    assert_string_equal(shipped->run_dir, none->run_dir);
    assert_int_equal(shipped->role, none->role);
    assert_int_equal(shipped->power_save, none->power_save);
    assert_int_equal(shipped->web.enabled, none->web.enabled);
    assert_true(addr_equal(&shipped->web.listen, &none->web.listen));
    assert_string_equal(shipped->repository.path, none->repository.path);
    assert_string_equal(shipped->repository.branch, none->repository.branch);
    assert_string_equal(shipped->workload_path, none->workload_path);
    assert_null(shipped->workload_user);
    assert_null(none->workload_user);
    config_free(shipped);
    config_free(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_concerns_covey_is_read, make_top, remove_top),
        cmocka_unit_test_setup_teardown(links_are_not_followed, make_top, remove_top),
        cmocka_unit_test_setup_teardown(what_is_no_file_or_too_large_is_refused, make_top,
                                        remove_top),
        cmocka_unit_test_setup_teardown(folders_end_somewhere, make_top, remove_top),
        cmocka_unit_test(a_folder_that_is_missing_is_named),
        cmocka_unit_test(the_example_is_accepted),
        cmocka_unit_test(the_shipped_configuration_holds_the_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
