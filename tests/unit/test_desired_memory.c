/* Every allocation of the desired state and of the configuration fails once. */
#include "tests/unit/desired_fixture.h"

#include "agent/config/config.h"

/* The linker sends allocations of the code under test here (--wrap). */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static long countdown = -1; /* allocations until one fails; negative: none does */

static bool fails(void)
{
    return countdown >= 0 && countdown-- == 0;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

static const struct desired_file good[] = {
    FILE_OF("cluster.yaml", ""),
    FILE_OF("apps/a/a.yaml", ""),
    FILE_OF("apps/k/kustomization.yaml", "resources: []\n"),
    FILE_OF("apps/k8s/x.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"),
    {0},
};
static const char cluster[] = CLUSTER "  nodes: [{name: pi1, labels: {a: b, c: d}}]\n";
static const char objects[] = WORKLOAD_HEAD(
    "a") "  command: [w]\n"
         "  args: [x]\n"
         "  ports: [{port: 80}]\n"
         "  dependsOn: [b]\n"
         "  resources: {limits: {memory: 1Gi}}\n"
         "  livenessProbe: {httpGet: {path: /x}}\n"
         "  env:\n"
         "    - {name: A, value: '${service:a/http}'}\n"
         "---\n" WORKLOAD_HEAD("b") "  command: [w]\n"
                                    "---\n" VIP("v", "") "---\n" VIP("w", "address: 10.0.0.212");

/* Fails the first, the second, ... allocation of @try, until it gets by without a failure. */
static void each_failure_is_survived(int (*try)(void), int expected)
{
    int rc = ERR_NOMEM;
    long failures = 0;

    for (;; failures++) {
        countdown = failures;
        rc = try();
        if (countdown >= 0)
            break;
        if (rc != ERR_NOMEM && rc != expected)
            fail_msg("failure %ld: %d", failures, rc);
        if (expected == 0)
            assert_int_equal(rc, ERR_NOMEM);
    }
    countdown = -1;
    assert_int_equal(rc, expected);
    assert_true(failures > 3);
}

static int parse(const struct desired_file *files, size_t count)
{
    struct desired *desired;
    struct err err = {0};
    char *report;
    int rc = desired_parse(COMMIT, files, count, &desired, &report, &err);

    assert_int_equal(rc, err.code);
    assert_true((rc == 0) == (desired != NULL));
    free(report);
    desired_free(desired);
    return rc;
}

static int parse_good(void)
{
    struct desired_file files[4];

    memcpy(files, good, sizeof files);
    files[0] = (struct desired_file)FILE_OF("cluster.yaml", cluster);
    files[1] = (struct desired_file)FILE_OF("apps/a/a.yaml", objects);
    return parse(files, 4);
}

static int parse_bad(void)
{
    const struct desired_file files[] = {
        FILE_OF("apps/a/a.yaml", WORKLOAD_HEAD("a") "  comand: [w]\n  replicas: x\n"),
        FILE_OF("apps/a/b.yaml", "a: {"),
    };

    return parse(files, 2);
}

static int parse_dangling(void)
{
    const struct desired_file file =
        FILE_OF("apps/a/a.yaml", WORKLOAD_HEAD("a") "  command: [w]\n  dependsOn: [b]\n");

    return parse(&file, 1);
}

static int parse_config(void)
{
    static const char text[] = "node: pi1\njoin: [10.0.0.1]\nweb: {hosts: [a.local]}\n"
                               "repository: {branch: live}\n";
    struct config *config;
    struct err err = {0};
    int rc = config_parse("agent.yaml", text, strlen(text), &config, NULL, &err);

    assert_int_equal(rc, err.code);
    config_free(config);
    return rc;
}

static struct desired *state;

static int diff(void)
{
    char *text = desired_diff(NULL, state);
    int rc = text != NULL ? 0 : ERR_NOMEM;

    free(text);
    return rc;
}

static void parsing_survives_every_failure(void **unused)
{
    (void)unused;
    each_failure_is_survived(parse_good, 0);
    each_failure_is_survived(parse_bad, ERR_INVALID);
    each_failure_is_survived(parse_dangling, ERR_INVALID);
    each_failure_is_survived(parse_config, 0);
}

static void diff_survives_every_failure(void **unused)
{
    (void)unused;
    state = accepted(FILES(FILE_OF("cluster.yaml", cluster), FILE_OF("apps/a/a.yaml", objects),
                           good[2], good[3]));
    each_failure_is_survived(diff, 0);
    desired_free(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parsing_survives_every_failure),
        cmocka_unit_test(diff_survives_every_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
