/* Route, K3s, SealedSecret; files, variables and spread of workloads; what depends on what. */
#include "tests/unit/desired_fixture.h"

#include <signal.h>
#include <stdio.h>

#define DOC(kind, name)                                                                            \
    "apiVersion: covey.dev/v1\nkind: " kind "\nmetadata: {name: " name "}\nspec:\n"
#define WEB WORKLOAD_HEAD("web") "  command: [web]\n  ports: [{name: http, port: 8000}]\n"

static void a_route_names_a_port_and_an_address(void **state)
{
    struct desired *d = accepted(FILES(
        FILE_OF("cluster.yaml", CLUSTER),
        FILE_OF("apps/web/all.yaml",
                WEB "---\n" VIP("front", "") "---\n" DOC(
                    "Route", "web") "  hosts: [web.local, www.local]\n  path: /app\n"
                                    "  service: {name: web, port: 8000}\n  virtualIP: front\n")));
    (void)state;

    assert_int_equal(d->route_count, 1);
    assert_string_equal(d->routes[0].hosts[1], "www.local");
    assert_null(d->routes[0].hosts[2]);
    assert_string_equal(d->routes[0].path, "/app");
    assert_string_equal(d->routes[0].workload, "web");
    assert_string_equal(d->routes[0].port, "http"); /* by its name, however it was written */
    assert_string_equal(d->routes[0].vip, "front");
    desired_free(d);
}

static void routes_are_checked(void **state)
{
    (void)state;

    refused(
        FILES(FILE_OF("apps/web/r.yaml", WEB "---\n" DOC("Route", "r") "  hosts: [a.local]\n"
                                                                       "  service: {name: wep}\n")),
        "apps/web/r.yaml:13: spec.service.port: there is no workload \"wep\"; did you mean "
        "\"web\"?",
        NULL);
    refused(FILES(FILE_OF("apps/web/r.yaml",
                          WEB "---\n" DOC("Route", "r") "  hosts: [a.local]\n"
                                                        "  service: {name: web, port: metrics}\n")),
            "apps/web/r.yaml:13: spec.service.port: the workload web has no port \"metrics\"; it "
            "has http (apps/web/r.yaml:3)",
            NULL);
    refused(FILES(FILE_OF(
                "apps/web/r.yaml", WEB
                "---\n" DOC("Route",
                            "r") "  hosts: [a.local]\n"
                                 "  service: {name: web}\n---\n" DOC(
                                     "Route",
                                     "s") "  hosts: [b.local, a.local]\n  service: {name: web}\n")),
            "apps/web/r.yaml:17: spec.hosts: the route r (apps/web/r.yaml:10) takes the same host "
            "and path",
            NULL);
    refused(
        FILES(FILE_OF("apps/web/r.yaml", WEB "---\n" DOC("Route", "r") "  hosts: [A.local]\n"
                                                                       "  service: {name: web}\n")),
        "apps/web/r.yaml:12: spec.hosts[0]: \"A.local\" is not possible here; expected a host "
        "name in lower case, such as grafana.local",
        NULL);
}

static void files_hold_variables_and_references(void **state)
{
    struct desired *d = accepted(FILES(
        FILE_OF("cluster.yaml", CLUSTER "  variables: {LEVEL: info, ZONE: home}\n"),
        FILE_OF("apps/web/files/app.conf", "level=${var:LEVEL} ${HOME}\n"),
        FILE_OF("apps/web/files/raw.json", "{\"x\": \"${node:regex}\"}\n"),
        FILE_OF(
            "apps/web/w.yaml",
            WEB "---\n" WORKLOAD_HEAD(
                "api") "  command: [api, '--config=${file:etc/app.conf}', '--zone=${var:ZONE}']\n"
                       "  variables: {LEVEL: debug}\n"
                       "  env: [{name: WEB, value: 'http://${service:web/http}/${var:ZONE}'}]\n"
                       "  reloadSignal: SIGUSR1\n"
                       "  files:\n"
                       "    - {path: etc/app.conf, source: app.conf, onChange: Signal}\n"
                       "    - {path: raw.json, source: raw.json, template: false, mode: 0444}\n"
                       "    - path: up\n"
                       "      content: |\n"
                       "        ${service:web/http}\n")));
    const struct desired_workload *api = desired_workload(d, "api");
    (void)state;

    assert_string_equal(api->command[2], "--zone=home");
    assert_string_equal(api->command[1], "--config=${file:etc/app.conf}");
    assert_string_equal(api->env.pairs[0].value, "http://${service:web/http}/home");
    assert_int_equal(api->file_count, 3);
    assert_string_equal(api->files[0].text, "level=debug ${HOME}\n"); /* its own goes first */
    assert_int_equal(api->files[0].change, DESIRED_CHANGE_SIGNAL);
    assert_false(api->files[0].references);
    assert_int_equal(api->reload_signal, SIGUSR1);
    assert_int_equal(api->files[0].mode, 0440);
    assert_string_equal(api->files[1].text, "{\"x\": \"${node:regex}\"}\n");
    assert_int_equal(api->files[1].mode, 0444);
    assert_true(api->files[2].references);
    assert_true(api->references);
    desired_free(d);
}

/* The one error of a workload with @spec, which begins on line 5. */
static void spec_refused(const char *spec, const char *error)
{
    char text[1024];

    snprintf(text, sizeof text, WORKLOAD_HEAD("w") "%s", spec);
    refused(
        FILES(FILE_OF("cluster.yaml", CLUSTER "  variables: {LEVEL: info, LOOP: '${var:LEVEL}'}\n"),
              FILE_OF("apps/web/w.yaml", text)),
        error, NULL);
}

static void files_and_variables_are_checked(void **state)
{
    (void)state;

    spec_refused("  command: [w, '${var:LEVLE}']\n",
                 "apps/web/w.yaml:5: spec.command[1]: there is no variable LEVLE; did you mean "
                 "LEVEL?");
    spec_refused("  command: [w, '${var:LOOP}']\n",
                 "apps/web/w.yaml:5: spec.command[1]: the variable LEVEL stands in the value of "
                 "another one");
    spec_refused("  command: [w]\n  files: [{path: a}]\n",
                 "apps/web/w.yaml:6: spec.files[0]: expected exactly one of content and source");
    spec_refused(
        "  command: [w]\n  files: [{path: a, source: b}]\n",
        "apps/web/w.yaml:6: spec.files[0].source: there is no file apps/web/files/b in the "
        "repository");
    spec_refused("  command: [w]\n  files: [{path: ../a, content: b}]\n",
                 "apps/web/w.yaml:6: spec.files[0].path: \"../a\" is not possible here; expected a "
                 "relative path without .., such as conf/app.ini");
    spec_refused("  command: [w]\n  files: [{path: a, content: b, mode: 0666}]\n",
                 "apps/web/w.yaml:6: spec.files[0].mode: \"0666\" is not possible here; expected "
                 "octal permissions that let nobody but the owner write, such as 0440");
    spec_refused("  command: [w, '${file:b}']\n  files: [{path: a, content: b}]\n",
                 "apps/web/w.yaml:5: spec.command[1]: the workload has no file \"b\" in "
                 "spec.files");
    spec_refused("  command: [w]\n  env: [{name: A, value: '${secret:db/password}'}]\n",
                 "apps/web/w.yaml:6: spec.env[0].value: there is no SealedSecret \"db\" in this "
                 "repository");
}

#define SECRET(data)                                                                               \
    DOC("SealedSecret", "db")                                                                      \
    "  recipients: [{node: pi1, key: QUJD}]\n  encryptedData: {" data "}\n"

static void secrets_are_named_by_key(void **state)
{
    static const char user[] = WORKLOAD_HEAD("w") "  command: [w]\n"
                                                  "  env: [{name: A, value: '${secret:db/pw}'}]\n";
    struct desired *a = accepted(
        FILES(FILE_OF("apps/web/a.yaml", user), FILE_OF("apps/web/b.yaml", SECRET("pw: QUJD"))));
    struct desired *b = accepted(
        FILES(FILE_OF("apps/web/a.yaml", user), FILE_OF("apps/web/b.yaml", SECRET("pw: QUJE"))));
    char *diff = desired_diff(a, b);
    (void)state;

    assert_string_equal(desired_secret(a, "db")->recipients[0].node, "pi1");
    assert_null(desired_secret(a, "other"));
    assert_string_equal(a->workloads[0].env.pairs[0].value, "${secret:db/pw}");
    /* A rotated secret is a new generation of whoever uses it. */
    assert_true(a->workloads[0].generation != b->workloads[0].generation);
    assert_string_equal(diff, "~ SealedSecret db (encryptedData)\n");
    free(diff);
    desired_free(a);
    desired_free(b);
    refused(
        FILES(FILE_OF("apps/web/a.yaml", user), FILE_OF("apps/web/b.yaml", SECRET("other: QUJD"))),
        "apps/web/a.yaml:6: spec.env[0].value: the SealedSecret db has no value \"pw\" "
        "(apps/web/b.yaml:3)",
        NULL);
}

#define SECRET_TO(name, nodes, data)                                                               \
    DOC("SealedSecret", name)                                                                      \
    "  recipients: [" nodes "]\n  encryptedData: {" data "}\n"
#define PI1 "{node: pi1, key: QUJD}"
#define PI2 "{node: pi2, key: QUJD}"

static struct desired *with_secret(const char *spec, const char *secret)
{
    static char text[512];

    snprintf(text, sizeof text, "%s%s", WORKLOAD_HEAD("w") "  command: [w]\n", spec);
    return accepted(FILES(FILE_OF("apps/web/a.yaml", text), FILE_OF("apps/web/b.yaml", secret)));
}

/* What of a secret makes a difference to whom. */
static void a_secrets_change_reaches_its_users(void **state)
{
    static const char env[] = "  env: [{name: A, value: '${secret:db/pw}'}]\n";
    static const char file[] =
        "  files: [{path: a, content: '${secret:db/pw}', onChange: Signal}]\n";
    static const char *const secrets[] = {
        SECRET_TO("db", PI1, "pw: QUJD, other: QUJD"),
        SECRET_TO("db", PI1 ", " PI2, "pw: QUJD, other: QUJD"), /* another node */
        SECRET_TO("db", PI1, "pw: QUJD, other: QUJE"),          /* a value of no concern */
        SECRET_TO("db", PI1, "pw: QUJE, other: QUJD"),
    };
    (void)state;

    for (int signal = 0; signal <= 1; signal++) {
        struct desired *before = with_secret(signal ? file : env, secrets[0]);
        for (int i = 1; i < 4; i++) {
            struct desired *after = with_secret(signal ? file : env, secrets[i]);
            const struct desired_workload *a = before->workloads, *b = after->workloads;
            assert_int_equal(a->generation != b->generation, i == 3 && !signal);
            assert_int_equal(a->digest != b->digest, i == 3);
            desired_free(after);
        }
        desired_free(before);
    }
}

static void a_workload_runs_where_its_secrets_open(void **state)
{
    static const char both[] = "  env: [{name: A, value: '${secret:db/pw} ${secret:two/x}'}]\n";
    struct desired *d = with_secret(
        both, SECRET_TO("db", PI1 ", " PI2, "pw: QUJD") "---\n" SECRET_TO("two", PI2, "x: QUJD"));
    (void)state;

    assert_string_equal(d->workloads[0].sealed_for[0], "pi2");
    assert_null(d->workloads[0].sealed_for[1]);
    desired_free(d);
    d = with_secret("", SECRET_TO("db", PI1, "pw: QUJD"));
    assert_null(d->workloads[0].sealed_for);
    desired_free(d);
    refused(
        FILES(FILE_OF("apps/web/a.yaml",
                      WORKLOAD_HEAD("w") "  command: [w]\n"
                                         "  env: [{name: A, value: '${secret:db/pw}'}, "
                                         "{name: B, value: '${secret:two/x}'}]\n"),
              FILE_OF("apps/web/b.yaml",
                      SECRET_TO("db", PI1, "pw: QUJD") "---\n" SECRET_TO("two", PI2, "x: QUJD"))),
        "apps/web/a.yaml:6: spec.env[1].value: no node can open the secret two and the others of "
        "this workload: seal them to the same nodes",
        NULL);
}

static void k3s_is_there_once(void **state)
{
    static const char k3s[] = DOC("K3s", "k") "  servers: [pi1]\n  disable: [traefik]\n";
    struct desired *d = accepted(FILES(FILE_OF("apps/k/a.yaml", k3s)));
    (void)state;

    assert_int_equal(d->k3s_count, 1);
    assert_string_equal(d->k3s[0].servers[0], "pi1");
    assert_string_equal(d->k3s[0].disable[0], "traefik");
    desired_free(d);
    refused(FILES(FILE_OF("apps/k/a.yaml", k3s),
                  FILE_OF("apps/k/b.yaml", DOC("K3s", "l") "  servers: [pi1]\n")),
            "apps/k/b.yaml:2: kind: there is a K3s already (apps/k/a.yaml:3): remove one", NULL);
}

#define CONFIG_MAP(name, depends)                                                                  \
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " name "\n"                               \
    "  annotations: {covey.dev/depends-on: '" depends "'}\n"

static void dependencies_cross_kinds(void **state)
{
    struct desired *d = accepted(FILES(
        FILE_OF("cluster.yaml", CLUSTER),
        FILE_OF("apps/web/a.yaml", WEB "---\n" VIP("front", "") "---\n" WORKLOAD_HEAD(
                                       "api") "  command: [api]\n"
                                              "  dependsOn: [web, VirtualIP/front, ConfigMap/b]\n"),
        FILE_OF("apps/web/b.yaml",
                CONFIG_MAP("a", "ConfigMap/b") "---\n" CONFIG_MAP("b", "web, VirtualIP/front"))));
    const struct desired_workload *api = desired_workload(d, "api");
    (void)state;

    assert_string_equal(api->depends_on[0], "web");
    assert_null(api->depends_on[1]);
    assert_string_equal(api->depends_objects[0], "VirtualIP/front");
    assert_string_equal(api->depends_objects[1], "ConfigMap/b");
    assert_string_equal(d->foreign[0].name, "b"); /* what it depends on goes first */
    assert_string_equal(d->foreign[1].name, "a");
    assert_string_equal(d->foreign[0].depends_on[1], "VirtualIP/front");
    desired_free(d);
}

static void cycles_across_kinds_are_refused(void **state)
{
    (void)state;

    refused(
        FILES(FILE_OF("apps/web/a.yaml",
                      WEB "  dependsOn: [Route/r]\n---\n" DOC(
                          "Route", "r") "  hosts: [a.local]\n  service: {name: web}\n")),
        "apps/web/a.yaml:7: spec.dependsOn: a cycle, so none of them could ever start: r -> web "
        "-> r; take one of these "
        "dependencies out",
        NULL);
    refused(
        FILES(FILE_OF("apps/web/a.yaml", WEB "  dependsOn: [ConfigMap/a]\n---\n" CONFIG_MAP(
                                             "a", "ConfigMap/b") "---\n" CONFIG_MAP("b", "web"))),
        "apps/web/a.yaml:7: spec.dependsOn: a cycle, so none of them could ever start: a -> b "
        "-> web -> a; take one of these "
        "dependencies out",
        NULL);
    refused(FILES(FILE_OF("apps/web/a.yaml", WEB "  dependsOn: [VirtualIP/front]\n")),
            "apps/web/a.yaml:7: spec.dependsOn[0]: there is no VirtualIP \"front\" in this "
            "repository",
            NULL);
}

static void spread_and_sync_are_read(void **state)
{
    struct desired *d = accepted(FILES(
        FILE_OF("cluster.yaml", CLUSTER "  sync:\n    healthTimeoutSeconds: 30\n"
                                        "    rollback: false\n    canary: pi1\n    drift: warn\n"
                                        "    apps: [{name: web, drift: 'off'}, {name: api}]\n"),
        FILE_OF("apps/web/a.yaml",
                WEB "  topologySpreadConstraints:\n"
                    "    - {topologyKey: zone, maxSkew: 2}\n"
                    "    - {topologyKey: rack, whenUnsatisfiable: ScheduleAnyway}\n")));
    (void)state;

    assert_int_equal(d->sync.health_timeout_s, 30);
    assert_false(d->sync.rollback);
    assert_string_equal(d->sync.canary, "pi1");
    assert_int_equal(desired_drift(d, "web"), DESIRED_DRIFT_OFF);
    assert_int_equal(desired_drift(d, "api"), DESIRED_DRIFT_CORRECT);
    assert_int_equal(desired_drift(d, "else"), DESIRED_DRIFT_WARN);
    assert_int_equal(d->workloads[0].spread_count, 2);
    assert_int_equal(d->workloads[0].spread[0].max_skew, 2);
    assert_true(d->workloads[0].spread[0].strict);
    assert_false(d->workloads[0].spread[1].strict);
    desired_free(d);
    d = accepted(FILES(FILE_OF("cluster.yaml", CLUSTER)));
    assert_int_equal(d->sync.health_timeout_s, DESIRED_HEALTH_TIMEOUT_S);
    assert_true(d->sync.rollback);
    desired_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_route_names_a_port_and_an_address),
        cmocka_unit_test(routes_are_checked),
        cmocka_unit_test(files_hold_variables_and_references),
        cmocka_unit_test(files_and_variables_are_checked),
        cmocka_unit_test(secrets_are_named_by_key),
        cmocka_unit_test(a_secrets_change_reaches_its_users),
        cmocka_unit_test(a_workload_runs_where_its_secrets_open),
        cmocka_unit_test(k3s_is_there_once),
        cmocka_unit_test(dependencies_cross_kinds),
        cmocka_unit_test(cycles_across_kinds_are_refused),
        cmocka_unit_test(spread_and_sync_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
