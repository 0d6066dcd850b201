/* What agentctl get and history read, against golden files; tests/agentctl prints tables of the
 * same files. COVEY_GOLDEN=write build/debug/bin/test_state_json writes them anew: look at the
 * difference.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "agent/daemon/state_json.h"
#include "agent/io/os_tree.h"
#include "agent/web/status_json.h"
#include "tests/unit/golden.h"

#define COMMIT "1111111111111111111111111111111111111111"
#define NOW INT64_C(1795366962) /* 2026-11-22T17:02:42Z */
#define MINUTE INT64_C(60)

static const struct addr *address_of(const void *context, const struct desired_vip *vip)
{
    return strcmp(vip->name, "front") == 0 ? context : NULL;
}

static void objects(void **state)
{
    struct desired *desired = NULL;
    const struct desired_file *files;
    struct os_tree *tree;
    struct addr address;
    struct err err;
    size_t count;

    (void)state;
    assert_int_equal(addr_parse("10.77.0.210", 1, &address, &err), ERR_NONE);
    if (os_tree_read(STATE, &tree, &err) != ERR_NONE)
        fail_msg("%s", err.text);
    files = os_tree_files(tree, &count);
    if (desired_parse(COMMIT, files, count, &desired, NULL, &err) != ERR_NONE)
        fail_msg("%s", err.text);
    expect_golden(status_json_list("ObjectList", state_json_objects(desired, address_of, &address)),
                  "objects");
    desired_free(desired);
    os_tree_free(tree);
}

static void nothing_is_applied(void **state)
{
    json_t *items = state_json_objects(NULL, address_of, NULL);

    (void)state;
    assert_true(json_is_array(items));
    assert_int_equal(json_array_size(items), 0);
    json_decref(items);
}

static void history(void **state)
{
    static const struct store_history list[] = {
        {.number = 4,
         .state = STORE_FAILED,
         .reason = "rest-api.0 was not ready within 60 s: HTTP 500 from /healthz",
         .commit = {.commit = "4444444444444444444444444444444444444444",
                    .parent = "3333333333333333333333333333333333333333",
                    .subject = "rest-api: a new database driver",
                    .applied_at = NOW - 1 * MINUTE}},
        {.number = 3,
         .state = STORE_APPLIED,
         .commit = {.commit = "3333333333333333333333333333333333333333",
                    .parent = COMMIT,
                    .subject = "rest-api: two replicas",
                    .applied_at = NOW - 3 * MINUTE}},
        /* The state came back to a commit that had failed: it is another entry. */
        {.number = 2,
         .state = STORE_FAILED,
         .reason = "orders ended with status 1",
         .commit = {.commit = "3333333333333333333333333333333333333333",
                    .parent = COMMIT,
                    .subject = "rest-api: two replicas",
                    .applied_at = NOW - 45 * MINUTE}},
        {.number = 1,
         .state = STORE_APPLIED,
         .commit = {.commit = COMMIT,
                    .subject = "the first state",
                    .applied_at = NOW - 100 * MINUTE}},
    };

    (void)state;
    expect_golden(
        status_json_list("HistoryList", state_json_history(list, sizeof list / sizeof list[0],
                                                           list[1].commit.commit)),
        "history");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects),
        cmocka_unit_test(nothing_is_applied),
        cmocka_unit_test(history),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
