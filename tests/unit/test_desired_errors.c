/* What is refused, and the exact words: people act on nothing else. */
#include <stdio.h>

#include "agent/desired/tree.h"
#include "tests/unit/desired_fixture.h"

#define OPEN "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
#define CLOSE "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"
#define LINE(text) "apps/web/w.yaml:" text

/* A Workload "w" whose spec is @spec: its first line is line 5 of the file. */
static void spec_refused(const char *spec, const char *first, const char *rest)
{
    char text[4096];

    snprintf(text, sizeof text, WORKLOAD_HEAD("w") "%s", spec);
    refused(FILES(FILE_OF("apps/web/w.yaml", text)), first, rest);
}

static void document_refused(const char *text, const char *first)
{
    refused(FILES(FILE_OF("apps/web/w.yaml", text)), first, NULL);
}

static void values_of_the_wrong_type_name_field_and_range(void **state)
{
    (void)state;
    spec_refused("  command: [w]\n  replicas: two\n",
                 LINE("6: spec.replicas: \"two\" is no whole number; expected 0 to 256"), NULL);
    spec_refused("  command: [w]\n  replicas: 257\n",
                 LINE("6: spec.replicas: \"257\" is out of range; expected 0 to 256"), NULL);
    spec_refused("  command: [w]\n  replicas: -1\n",
                 LINE("6: spec.replicas: \"-1\" is out of range; expected 0 to 256"), NULL);
    spec_refused("  command: [w]\n  replicas: 99999999999999999999\n",
                 LINE("6: spec.replicas: \"99999999999999999999\" is no whole number; expected 0 "
                      "to 256"),
                 NULL);
    spec_refused("  command: [w]\n  replicas: '2'\n",
                 LINE("6: spec.replicas: \"2\" is in quotes, so it is no number; expected 0 to "
                      "256"),
                 NULL);
    spec_refused("  command: [w]\n  replicas: [2]\n",
                 LINE("6: spec.replicas: a list is no whole number; expected 0 to 256"), NULL);
    spec_refused("  command: [w]\n  replicas: 010\n",
                 LINE("6: spec.replicas: \"010\" is no whole number; expected 0 to 256"), NULL);
    spec_refused("  command: [w]\n  singleton: yes\n",
                 LINE("6: spec.singleton: \"yes\" is neither true nor false; expected true or "
                      "false"),
                 NULL);
    spec_refused("  command: [w]\n  listen: everywhere\n",
                 LINE("6: spec.listen: \"everywhere\" is not possible here; expected one of node, "
                      "all, local"),
                 NULL);
    spec_refused("  command: [w]\n  restartPolicy: onfailure\n",
                 LINE("6: spec.restartPolicy: \"onfailure\" is not possible here; did you mean "
                      "\"OnFailure\"? (expected one of Always, OnFailure, Never)"),
                 NULL);
    spec_refused("  command: w\n",
                 LINE("5: spec.command: \"w\" is not possible here; expected a list of texts, such "
                      "as [\"one\", \"two\"]"),
                 NULL);
    spec_refused("  command: []\n", LINE("5: spec.command: 0 entries; expected 1 to 64"), NULL);
    spec_refused("  command: [[w]]\n",
                 LINE("5: spec.command[0]: a list is no text; expected a text"), NULL);
    spec_refused("  command: [w]\n  env: {A: b}\n",
                 LINE("6: spec.env: a map of fields is not possible here; expected a list, each "
                      "entry with a \"- \" before it"),
                 NULL);
    spec_refused("  command: [w]\n  env:\n    - A=b\n",
                 LINE("7: spec.env[0]: \"A=b\" is not possible here; expected a map of fields"),
                 NULL);
    spec_refused("  command: [w]\n  resources: {limits: {memory: 1.5Gi}}\n",
                 LINE("6: spec.resources.limits.memory: \"1.5Gi\" is not possible here; expected a "
                      "whole number with a unit, 1Mi to 1Ti, such as 32Mi"),
                 NULL);
    spec_refused("  command: [w]\n  resources: {limits: {cpu: half}}\n",
                 LINE("6: spec.resources.limits.cpu: \"half\" is not possible here; expected "
                      "cores, such as 500m or 0.5"),
                 NULL);
    spec_refused("  command: [w]\n  nodeSelector: {zone: [a]}\n",
                 LINE("6: spec.nodeSelector.zone: a list is no text; expected at most 63 of "
                      "letters, digits, '-', '.' and '_'"),
                 NULL);
}

static void unknown_and_missing_fields_are_named(void **state)
{
    (void)state;
    spec_refused("  command: [w]\n  replcas: 2\n",
                 LINE("6: spec.replcas: no such field; did you mean \"replicas\"?"), NULL);
    spec_refused("  command: [w]\n  image: nginx\n",
                 LINE("6: spec.image: no such field; known here: command, args, env, files, "
                      "variables, reloadSignal, workingDir, "
                      "user, resources, nodeSelector, dependsOn, terminationGracePeriodSeconds, "
                      "stopSignal, oomScoreAdjust, securityContext, lifecycle, logs and "
                      "10 more: see agentctl explain"),
                 NULL);
    spec_refused("  replicas: 1\n",
                 LINE("4: spec.command: is missing: the program, looked up in PATH, and its first "
                      "arguments"),
                 NULL);
    document_refused("apiVersion: covey.dev/v1\nkind: Workload\nmetadata: {}\nspec: {command: "
                     "[w]}\n",
                     LINE("3: metadata.name: is missing: name of the object, unique among its kind "
                          "in the whole repository"));
    document_refused("apiVersion: covey.dev/v1\nkind: Workload\nspec: {command: [w]}\n",
                     LINE("1: metadata: is missing: what the object is called"));
    document_refused("apiVersion: covey.dev/v1\nkind: Workload\nmetadata: {name: w}\n",
                     LINE("1: spec: is missing: what shall run"));
    /* What is wrong with one document hides nothing of what is wrong with the next field. */
    spec_refused("  command: [w]\n  replcas: 2\n  listen: al\n",
                 LINE("6: spec.replcas: no such field; did you mean \"replicas\"?"),
                 LINE("7: spec.listen: \"al\" is not possible here; did you mean \"all\"? "
                      "(expected one of node, all, local)\n"));
}

static void documents_of_unknown_kind_or_place_are_refused(void **state)
{
    (void)state;
    document_refused("apiVersion: covey.dev/v1\nkind: Worklod\n",
                     LINE("2: kind: there is no kind \"Worklod\"; did you mean \"Workload\"?"));
    document_refused("apiVersion: covey.dev/v1\nkind: Deployment\n",
                     LINE("2: kind: there is no kind \"Deployment\" in covey.dev/v1; expected "
                          "Workload, CronWorkload, VirtualIP, Cluster, Route, K3s or "
                          "SealedSecret"));
    document_refused("apiVersion: covey.dev/v2\nkind: Workload\n",
                     LINE("1: apiVersion: \"covey.dev/v2\" is unknown; expected covey.dev/v1"));
    document_refused("hello: world\n",
                     LINE("1: no object: apiVersion and kind are missing (Covey's own have "
                          "apiVersion: covey.dev/v1)"));
    document_refused("- a\n- b\n", LINE("1: no object: apiVersion and kind are missing (Covey's "
                                        "own have apiVersion: covey.dev/v1)"));
    document_refused(CLUSTER, LINE("2: a Cluster belongs into cluster.yaml at the top of the "
                                   "repository"));
    refused(FILES(FILE_OF("cluster.yaml", WORKLOAD_HEAD("w") "  command: [w]\n")),
            "cluster.yaml:2: a Workload belongs into a folder below apps/, such as apps/web/",
            NULL);
    refused(FILES(FILE_OF("apps/w.yaml", WORKLOAD_HEAD("w") "  command: [w]\n")),
            "apps/w.yaml:2: a Workload belongs into a folder below apps/, such as apps/web/", NULL);
    refused(FILES(FILE_OF("apps/My App/w.yaml", WORKLOAD_HEAD("w") "  command: [w]\n")),
            "apps/My App/w.yaml:2: the folder \"My App\" cannot be the name of an app; expected "
            "a-z, 0-9 and -",
            NULL);
    refused(FILES(FILE_OF("cluster.yaml", "apiVersion: v1\nkind: ConfigMap\n")),
            "cluster.yaml:1: cluster.yaml is for the kind Cluster of covey.dev/v1: move other "
            "documents below apps/",
            NULL);
    refused(FILES(FILE_OF("cluster.yaml", CLUSTER "---\n" CLUSTER)),
            "cluster.yaml:8: kind: there is a Cluster on line 3 already: remove one", NULL);
}

static void what_a_workload_says_must_fit_together(void **state)
{
    (void)state;
    spec_refused("  command: ['']\n", LINE("5: spec.command[0]: the program's name is empty"),
                 NULL);
    spec_refused("  command: [w]\n  singleton: true\n  replicas: 2\n",
                 LINE("7: spec.replicas: a singleton has at most one instance"), NULL);
    spec_refused("  command: [w]\n  env:\n    - {name: A, value: 1}\n    - {name: A}\n",
                 LINE("8: spec.env[1].name: A stands here for the second time"), NULL);
    spec_refused("  command: [w]\n  env: [{name: HOST, value: x}]\n",
                 LINE("6: spec.env[0].name: HOST is set by agentd: leave it out"), NULL);
    spec_refused("  command: [w]\n  ports: [{port: 80}]\n  env: [{name: PORT_X, value: x}]\n",
                 LINE("7: spec.env[0].name: PORT_X is set by agentd: leave it out"), NULL);
    spec_refused("  command: [w]\n  ports: [{port: 80}, {name: b}]\n",
                 LINE("6: spec.ports[0]: a name is missing: with several ports each needs one"),
                 NULL);
    spec_refused("  command: [w]\n  ports: [{name: a, port: 80}, {name: a}]\n",
                 LINE("6: spec.ports[1]: the name \"a\" is used by two ports"), NULL);
    spec_refused("  command: [w]\n  ports: [{name: a, port: 80}, {name: b, port: 80}]\n",
                 LINE("6: spec.ports[1]: the number 80 is used by two ports"), NULL);
    spec_refused("  command: [w]\n  livenessProbe: {periodSeconds: 2}\n",
                 LINE("6: spec.livenessProbe: expected exactly one of httpGet, tcpSocket and "
                      "exec"),
                 NULL);
    spec_refused("  command: [w]\n  livenessProbe: {httpGet: {port: web}}\n",
                 LINE("6: spec.livenessProbe.httpGet.port: the workload has no port \"web\"; it "
                      "has none"),
                 NULL);
    spec_refused("  command: [w]\n  ports: [{name: a}, {name: b}]\n"
                 "  readinessProbe:\n    tcpSocket: {}\n",
                 LINE("8: spec.readinessProbe.tcpSocket.port: which port of the workload? (it has "
                      "a, b)"),
                 NULL);
    spec_refused("  command: [w]\n  startupProbe: {exec: {command: [x]}, successThreshold: 2}\n",
                 LINE("6: spec.startupProbe.successThreshold: only a readinessProbe may have "
                      "another value than 1"),
                 NULL);
    spec_refused(
        "  command: [w, '${secret:a/key}']\n",
        LINE("5: spec.command[1]: everybody on the node can read arguments: give the secret "
             "to a variable of the environment or a file"),
        NULL);
    spec_refused("  command: [w]\n  env: [{name: A, value: '${service:a}'}]\n",
                 LINE("6: spec.env[0].value: \"${service:a}\" is no reference; expected "
                      "${service:NAME/PORT}, ${var:NAME}, ${secret:NAME/KEY}, ${file:PATH}, "
                      "${node:name} or ${node:address}"),
                 NULL);
}

static void cron_schedules_are_checked(void **state)
{
    (void)state;
    document_refused(
        "apiVersion: covey.dev/v1\n"
        "kind: CronWorkload\n"
        "metadata: {name: w}\n"
        "spec:\n"
        "  command: [w]\n"
        "  schedule: 61 * * * *\n",
        LINE("6: spec.schedule: schedule \"61 * * * *\", position 1: expected a minute from 0 to "
             "59"));
    document_refused("apiVersion: covey.dev/v1\n"
                     "kind: CronWorkload\n"
                     "metadata: {name: w}\n"
                     "spec: {command: [w], schedule: '@daily', restartPolicy: Always}\n",
                     LINE("4: spec.restartPolicy: \"Always\" is not possible here; expected one of "
                          "OnFailure, Never"));
    document_refused("apiVersion: covey.dev/v1\n"
                     "kind: CronWorkload\n"
                     "metadata: {name: w}\n"
                     "spec: {command: [w], schedule: '@daily', replicas: 2}\n",
                     LINE("4: spec.replicas: no such field; known here: command, args, env, files, "
                          "variables, reloadSignal, "
                          "workingDir, user, resources, nodeSelector, dependsOn, "
                          "terminationGracePeriodSeconds, stopSignal, oomScoreAdjust, "
                          "securityContext, lifecycle, logs and 8 more: see agentctl explain"));
}

static void names_are_unique_in_the_whole_repository(void **state)
{
    (void)state;
    refused(FILES(FILE_OF("apps/a/x.yaml", WORKLOAD_HEAD("twin") "  command: [w]\n"),
                  FILE_OF("apps/b/y.yaml", "apiVersion: covey.dev/v1\nkind: CronWorkload\n"
                                           "metadata:\n  name: twin\n"
                                           "spec: {command: [w], schedule: '@daily'}\n")),
            "apps/b/y.yaml:4: metadata.name: the workload \"twin\" exists already "
            "(apps/a/x.yaml:3): names are unique in the whole repository; rename one of them",
            NULL);
    refused(FILES(FILE_OF("cluster.yaml", CLUSTER),
                  FILE_OF("apps/a/x.yaml", VIP("twin", "") "---\n" VIP("twin", ""))),
            "apps/a/x.yaml:8: metadata.name: the VirtualIP \"twin\" exists already "
            "(apps/a/x.yaml:3): names are unique in the whole repository; rename one of them",
            NULL);
    refused(FILES(FILE_OF("cluster.yaml", CLUSTER "  nodes: [{name: a}, {name: a}]\n")),
            "cluster.yaml:6: spec.nodes[1].name: the node a stands here for the second time", NULL);
}

static void dependencies_must_exist_and_end(void **state)
{
    (void)state;
    refused(FILES(FILE_OF("apps/a/a.yaml", WORKLOAD_HEAD("a") "  command: [w]\n"
                                                              "  dependsOn: [b]\n"),
                  FILE_OF("apps/a/b.yaml", WORKLOAD_HEAD("b") "  command: [w]\n"
                                                              "  dependsOn:\n"
                                                              "    - d\n"
                                                              "    - c\n"),
                  FILE_OF("apps/a/c.yaml", WORKLOAD_HEAD("c") "  command: [w]\n"
                                                              "  dependsOn: [d, b]\n"),
                  FILE_OF("apps/a/d.yaml", WORKLOAD_HEAD("d") "  command: [w]\n")),
            "apps/a/c.yaml:6: spec.dependsOn: a cycle, so none of them could ever start: b -> c -> "
            "b; take one of these "
            "dependencies out",
            NULL);
    spec_refused("  command: [w]\n  dependsOn: [w]\n",
                 LINE("6: spec.dependsOn: a cycle, so none of them could ever start: w -> w; take "
                      "one of these "
                      "dependencies out"),
                 NULL);
    spec_refused("  command: [w]\n  dependsOn: [x, x]\n",
                 LINE("6: spec.dependsOn[1]: x stands here for the second time"), NULL);
    spec_refused("  command: [w]\n  dependsOn: [postgres]\n",
                 LINE("6: spec.dependsOn[0]: there is no workload \"postgres\" in this repository"),
                 NULL);
    refused(FILES(FILE_OF("apps/a/a.yaml",
                          WORKLOAD_HEAD("a") "  command: [w]\n"
                                             "  dependsOn: [job]\n"
                                             "---\n"
                                             "apiVersion: covey.dev/v1\nkind: CronWorkload\n"
                                             "metadata: {name: job}\n"
                                             "spec: {command: [w], schedule: '@daily'}\n")),
            "apps/a/a.yaml:6: spec.dependsOn[0]: job is a CronWorkload, which is never ready: "
            "depend on a Workload",
            NULL);
}

static void references_must_name_a_port_that_is_there(void **state)
{
    (void)state;
    refused(
        FILES(FILE_OF("apps/a/a.yaml",
                      WORKLOAD_HEAD("rest-api") "  command: [w]\n"
                                                "  ports: [{name: http}, {name: metrics}]\n"),
              FILE_OF("apps/b/b.yaml",
                      WORKLOAD_HEAD("b") "  command: [w]\n"
                                         "  env:\n"
                                         "    - name: A\n"
                                         "      value: ${service:rest-ap/http}\n"
                                         "    - name: B\n"
                                         "      value: ${service:rest-api/htp}\n")),
        "apps/b/b.yaml:8: spec.env[0].value: there is no workload \"rest-ap\"; did you mean "
        "\"rest-api\"?",
        "apps/b/b.yaml:10: spec.env[1].value: the workload rest-api has no port \"htp\"; it has "
        "http, metrics (apps/a/a.yaml:3)\n");
}

static void addresses_must_lie_in_the_pool(void **state)
{
    (void)state;
    refused(FILES(FILE_OF("cluster.yaml", CLUSTER),
                  FILE_OF("apps/a/v.yaml", VIP("v", "address: 10.0.0.214"))),
            "apps/a/v.yaml:4: spec.address: 10.0.0.214 is outside the pool of cluster.yaml, "
            "10.0.0.210-10.0.0.213",
            NULL);
    refused(FILES(FILE_OF("cluster.yaml", CLUSTER),
                  FILE_OF("apps/a/v.yaml", VIP("v", "address: 10.0.0.211")),
                  FILE_OF("apps/a/w.yaml", VIP("w", "address: 10.0.0.211"))),
            "apps/a/w.yaml:4: spec.address: 10.0.0.211 is taken by v (apps/a/v.yaml:4)", NULL);
    refused(FILES(FILE_OF("apps/a/v.yaml", VIP("v", ""))),
            "apps/a/v.yaml:3: there is no pool to take an address from: set spec.pool in "
            "cluster.yaml",
            NULL);
    refused(FILES(FILE_OF("cluster.yaml", "apiVersion: covey.dev/v1\nkind: Cluster\n"
                                          "metadata: {name: a}\n"
                                          "spec: {pool: 10.0.0.9-10.0.0.1}\n")),
            "cluster.yaml:4: spec.pool: \"10.0.0.9-10.0.0.1\" is not possible here; expected a "
            "range of IPv4 addresses, lowest first, such as 192.168.1.210-192.168.1.230",
            NULL);
}

static void yaml_that_is_none_names_the_line(void **state)
{
    (void)state;
    document_refused("a: b\n c: d\n", LINE("2: no valid YAML: mapping values are not allowed in "
                                           "this context"));
    document_refused("a:\n\tb: c\n", LINE("2: no valid YAML: indented with a tab; use spaces"));
    document_refused("a: [1,\nb: {\n",
                     LINE("3: no valid YAML: did not find expected node content"));
    document_refused("? [a]\n: b\n", LINE("1: a key must be text, not a list"));
    refused(FILES({.path = "apps/web/w.yaml", .data = "a: b\nc: \xff\xfe\n", .size = 11}),
            LINE("2: no UTF-8 text: invalid leading UTF-8 octet (byte 8)"), NULL);
    refused(FILES({.path = "apps/web/w.yaml", .data = "a: b\nc: \0\n", .size = 10}),
            LINE("2: no UTF-8 text: control characters are not allowed (byte 8)"), NULL);
}

static void what_covey_does_not_allow_of_yaml_is_named(void **state)
{
    (void)state;
    spec_refused("  command: [w]\n  command: [x]\n",
                 LINE("6: the key \"command\" stands here for the second time, first on line 5: "
                      "remove one of them"),
                 NULL);
    spec_refused("  command: &c [w]\n  args: *c\n",
                 LINE("5: anchors (&name) are not supported: write the value out wherever it is "
                      "needed"),
                 NULL);
    spec_refused("  command: [!!str w]\n",
                 LINE("5: tags (!name) are not supported: the type of each field is known"), NULL);
    spec_refused("  command: [\"a\\0b\"]\n", LINE("5: a zero byte (\\0) cannot be part of a value"),
                 NULL);
}

static void limits_hold(void **state)
{
    static char big[DESIRED_FILE_MAX + 2];
    static struct desired_file many[DESIRED_FILES_MAX + 2];
    char deep[128];
    (void)state;

    /* The map is the first level, the last list the 32nd, then the 33rd. */
    snprintf(deep, sizeof deep, "{apiVersion: v1, kind: A, x: %.31s%.31s}", OPEN, CLOSE);
    desired_free(accepted(FILES(FILE_OF("apps/web/w.yaml", deep))));
    snprintf(deep, sizeof deep, "{apiVersion: v1, kind: A, x: %.32s%.32s}", OPEN, CLOSE);
    document_refused(deep, LINE("1: nested deeper than 32 levels"));
    memset(big, '#', sizeof big - 1);
    document_refused(big, LINE("1: the file has 1048577 bytes; expected at most 1048576"));
    for (size_t i = 0; i + 2 < sizeof big; i += 2)
        memcpy(big + i, "-\n", 2);
    big[DESIRED_FILE_MAX] = '\0';
    document_refused(big, LINE("100000: more than 100000 values in one file: split it"));
    for (size_t i = 0; i <= DESIRED_FILES_MAX; i++)
        many[i] = (struct desired_file){.path = "apps/x", .data = ""};
    refused(many, "apps:0: 4097 files; expected at most 4096", NULL);
    memset(big, '#', DESIRED_FILE_MAX);
    for (size_t i = 0; i < 17; i++) {
        static char paths[17][32];
        snprintf(paths[i], sizeof paths[i], "apps/a/%c.yaml", (char)('a' + i));
        many[i] = (struct desired_file){.path = paths[i], .data = big, .size = DESIRED_FILE_MAX};
    }
    many[17] = (struct desired_file){0};
    refused(many, "apps/a/q.yaml:1: all files together have more than 16777216 bytes", NULL);
}

static void too_many_objects_and_errors_are_bounded(void **state)
{
    static char text[800000];
    struct desired *d;
    struct err err;
    char *report, *last;
    size_t used = 0;
    struct desired_file sized = {.path = "apps/a/a.yaml", .data = text};
    (void)state;

    for (int i = 0; i <= DESIRED_OBJECTS_MAX; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "---\napiVersion: v1\nkind: A\n");
    sized.size = used;
    assert_int_equal(desired_parse(COMMIT, &sized, 1, &d, NULL, &err), ERR_LIMIT);
    assert_string_equal(err.text, "apps/a/a.yaml:12290: more than 4096 objects in the repository");
    used = 0;
    for (int i = 0; i < 200; i++)
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "---\napiVersion: \"covey.dev/\\e[31m\\n\"\n");
    sized.size = used;
    assert_int_equal(desired_parse(COMMIT, &sized, 1, &d, &report, &err), ERR_INVALID);
    assert_string_equal(err.text, "apps/a/a.yaml:2: apiVersion: \"covey.dev/?[31m?\" is unknown; "
                                  "expected covey.dev/v1");
    last = strstr(report, "and ");
    assert_string_equal(last, "and 150 more errors\n");
    free(report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_the_wrong_type_name_field_and_range),
        cmocka_unit_test(unknown_and_missing_fields_are_named),
        cmocka_unit_test(documents_of_unknown_kind_or_place_are_refused),
        cmocka_unit_test(what_a_workload_says_must_fit_together),
        cmocka_unit_test(cron_schedules_are_checked),
        cmocka_unit_test(names_are_unique_in_the_whole_repository),
        cmocka_unit_test(dependencies_must_exist_and_end),
        cmocka_unit_test(references_must_name_a_port_that_is_there),
        cmocka_unit_test(addresses_must_lie_in_the_pool),
        cmocka_unit_test(yaml_that_is_none_names_the_line),
        cmocka_unit_test(what_covey_does_not_allow_of_yaml_is_named),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(too_many_objects_and_errors_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
