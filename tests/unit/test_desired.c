/* What documents of the desired state mean once they are accepted. */
#include "tests/unit/desired_fixture.h"

#include <stdio.h>

#include "agent/desired/reference.h"

static void every_field_of_a_workload_is_read(void **state)
{
    struct desired *d = accepted(
        FILES(FILE_OF("apps/web/api.yaml", "# a comment\n"
                                           "apiVersion: covey.dev/v1\n"
                                           "kind: Workload\n"
                                           "metadata:\n"
                                           "  name: api\n"
                                           "  labels: {tier: front, app: api}\n"
                                           "spec:\n"
                                           "  replicas: 2\n"
                                           "  command: [rest-api, --fast]\n"
                                           "  args: [\"two words\"]\n"
                                           "  env:\n"
                                           "    - {name: NORWAY, value: no}\n"
                                           "    - {name: DEBUG, value: 'null'}\n"
                                           "    - {name: EMPTY}\n"
                                           "  workingDir: /srv\n"
                                           "  user: www-data\n"
                                           "  listen: all\n"
                                           "  ports:\n"
                                           "    - {name: http, port: 8080}\n"
                                           "    - {name: metrics}\n"
                                           "  readinessProbe:\n"
                                           "    httpGet: {path: /health, port: http}\n"
                                           "    periodSeconds: 2\n"
                                           "    successThreshold: 2\n"
                                           "  livenessProbe:\n"
                                           "    tcpSocket: {port: 8080}\n"
                                           "    initialDelaySeconds: 5\n"
                                           "  startupProbe:\n"
                                           "    exec: {command: [test, -e, /ready]}\n"
                                           "    failureThreshold: 30\n"
                                           "  restartPolicy: OnFailure\n"
                                           "  terminationGracePeriodSeconds: 5\n"
                                           "  nodeSelector: {zone: shelf}\n"
                                           "  resources: {limits: {memory: 32Mi, cpu: 0.5}}\n")));
    const struct desired_workload *w = desired_workload(d, "api");
    (void)state;

    assert_string_equal(d->commit, COMMIT);
    assert_non_null(w);
    assert_string_equal(w->app, "web");
    assert_string_equal(w->file, "apps/web/api.yaml");
    assert_int_equal(w->line, 5);
    assert_string_equal(desired_map_get(&w->labels, "tier"), "front");
    assert_string_equal(w->labels.pairs[0].name, "app"); /* sorted */
    assert_null(desired_map_get(&w->labels, "nothing"));
    assert_int_equal(w->replicas, 2);
    assert_false(w->singleton);
    assert_false(w->cron);
    assert_string_equal(w->command[0], "rest-api");
    assert_string_equal(w->command[2], "two words");
    assert_null(w->command[3]);
    assert_string_equal(desired_map_get(&w->env, "NORWAY"), "no");
    assert_string_equal(desired_map_get(&w->env, "DEBUG"), "null");
    assert_string_equal(desired_map_get(&w->env, "EMPTY"), "");
    assert_string_equal(w->working_dir, "/srv");
    assert_string_equal(w->user, "www-data");
    assert_int_equal(w->listen, DESIRED_LISTEN_ALL);
    assert_int_equal(w->port_count, 2);
    assert_int_equal(w->ports[0].port, 8080);
    assert_string_equal(w->ports[1].name, "metrics");
    assert_int_equal(w->ports[1].port, 0);
    assert_int_equal(w->readiness.kind, DESIRED_PROBE_HTTP);
    assert_string_equal(w->readiness.path, "/health");
    assert_int_equal(w->readiness.period_s, 2);
    assert_int_equal(w->readiness.success_threshold, 2);
    assert_int_equal(w->readiness.timeout_s, 1);
    assert_int_equal(w->liveness.kind, DESIRED_PROBE_TCP);
    assert_string_equal(w->liveness.port, "http"); /* by its number */
    assert_int_equal(w->liveness.initial_delay_s, 5);
    assert_int_equal(w->liveness.failure_threshold, 3);
    assert_int_equal(w->startup.kind, DESIRED_PROBE_EXEC);
    assert_string_equal(w->startup.command[2], "/ready");
    assert_int_equal(w->startup.failure_threshold, 30);
    assert_int_equal(w->restart, DESIRED_RESTART_ON_FAILURE);
    assert_int_equal(w->stop_grace_s, 5);
    assert_string_equal(desired_map_get(&w->node_selector, "zone"), "shelf");
    assert_int_equal(w->memory_limit, 32 << 20);
    assert_int_equal(w->cpu_limit_milli, 500);
    desired_free(d);
}

static void a_short_workload_has_defaults(void **state)
{
    struct desired *d = accepted(
        FILES(FILE_OF("apps/web/a.yml", WORKLOAD_HEAD("a") "  command: [a]\n"
                                                           "  ports: [{port: 80}]\n"
                                                           "  readinessProbe: {httpGet: {}}\n"
                                                           "  args:\n")));
    const struct desired_workload *w = desired_workload(d, "a");
    (void)state;

    assert_int_equal(w->replicas, 1);
    assert_int_equal(w->listen, DESIRED_LISTEN_NODE);
    assert_int_equal(w->restart, DESIRED_RESTART_ALWAYS);
    assert_int_equal(w->stop_grace_s, 30);
    assert_string_equal(w->ports[0].name, "http");
    assert_string_equal(w->readiness.path, "/");
    assert_string_equal(w->readiness.port, "http");
    assert_int_equal(w->readiness.period_s, 10);
    assert_int_equal(w->liveness.kind, DESIRED_PROBE_NONE);
    assert_null(w->working_dir);
    assert_null(w->user);
    assert_null(w->depends_on[0]);
    assert_int_equal(w->memory_limit, 0);
    desired_free(d);
}

static void cron_workloads_and_clusters_are_read(void **state)
{
    struct desired *d = accepted(
        FILES(FILE_OF("cluster.yaml", CLUSTER "  holdDownSeconds: 4\n"
                                              "  nodes:\n"
                                              "    - {name: pi1, labels: {zone: shelf}}\n"
                                              "    - name: pi2\n"),
              FILE_OF("apps/batch/job.yaml", "---\n"
                                             "apiVersion: covey.dev/v1\n"
                                             "kind: CronWorkload\n"
                                             "metadata: {name: job}\n"
                                             "spec: {schedule: '*/5 * * * *', command: [job],\n"
                                             "  concurrencyPolicy: Replace, suspend: true,\n"
                                             "  startingDeadlineSeconds: 60,\n"
                                             "  restartPolicy: OnFailure}\n"
                                             "---\n"
                                             "# nothing here\n"
                                             "---\n"
                                             "apiVersion: covey.dev/v1\n"
                                             "kind: CronWorkload\n"
                                             "metadata: {name: plain}\n"
                                             "spec: {schedule: '@hourly', command: [job]}\n")));
    const struct desired_workload *w = desired_workload(d, "job");
    (void)state;

    assert_string_equal(d->cluster_name, "home");
    assert_int_equal(d->hold_down_s, 4);
    assert_int_equal(d->node_count, 2);
    assert_string_equal(desired_map_get(&desired_node(d, "pi1")->labels, "zone"), "shelf");
    assert_null(desired_node(d, "pi3"));
    assert_true(w->cron);
    assert_int_equal(w->replicas, 1);
    assert_string_equal(w->schedule.expression, "*/5 * * * *");
    assert_int_equal(w->schedule.concurrency, DESIRED_REPLACE);
    assert_true(w->schedule.suspend);
    assert_int_equal(w->schedule.starting_deadline_s, 60);
    assert_int_equal(w->restart, DESIRED_RESTART_ON_FAILURE);
    w = desired_workload(d, "plain");
    assert_int_equal(w->schedule.concurrency, DESIRED_FORBID);
    assert_int_equal(w->restart, DESIRED_RESTART_NEVER);
    desired_free(d);
}

static void an_empty_commit_is_an_empty_flock(void **state)
{
    struct desired *d;
    struct err err;
    (void)state;

    assert_int_equal(desired_parse(COMMIT, NULL, 0, &d, NULL, &err), 0);
    assert_string_equal(d->cluster_name, "flock");
    assert_int_equal(d->workload_count, 0);
    assert_int_equal(d->pool_first.family, 0);
    assert_null(desired_workload(d, "x"));
    desired_free(d);
    desired_free(NULL);
}

static void address_is(const struct desired *d, size_t index, const char *name,
                       const char *expected)
{
    char text[ADDR_TEXT];

    addr_format_ip(&d->vips[index].address, text);
    assert_string_equal(d->vips[index].name, name);
    assert_string_equal(text, expected);
}

static void addresses_are_as_written(void **state)
{
    struct desired *d = accepted(FILES(
        FILE_OF("cluster.yaml", CLUSTER),
        FILE_OF("apps/a/vip.yaml", VIP("zeta", "") "---\n" VIP("beta", "mode: strict") "---\n" VIP(
                                       "gamma", "address: 10.0.0.211")),
        FILE_OF(
            "apps/b/vip.yaml",
            VIP("alpha", "") "---\n" VIP(
                "omega", "address: 10.0.0.210") "---\napiVersion: covey.dev/v1\nkind: VirtualIP\n"
                                                "metadata: {name: zz}\n")));
    (void)state;

    assert_int_equal(d->vip_count, 6);
    address_is(d, 0, "alpha", "none"); /* one of the pool: agent/core/pool.h */
    address_is(d, 1, "beta", "none");
    address_is(d, 2, "gamma", "10.0.0.211");
    address_is(d, 3, "omega", "10.0.0.210");
    address_is(d, 4, "zeta", "none");
    address_is(d, 5, "zz", "none");
    assert_true(d->vips[1].strict);
    assert_false(d->vips[0].strict);
    desired_free(d);
}

/* The repository of the flock that Covey replaces, in small. */
static void a_flux_repository_is_kept_for_k3s(void **state)
{
    struct desired *d = accepted(FILES(
        FILE_OF("README.md", "no: {yaml"), FILE_OF("clusters/my-cluster/x.yaml", "\t{{ no yaml"),
        FILE_OF("apps/grafana/helmrelease.yaml",
                "apiVersion: helm.toolkit.fluxcd.io/v2\n"
                "kind: HelmRelease\n"
                "metadata: {name: grafana, namespace: default}\n"
                "spec: {values: &v {a: 1, a: 2}, more: *v, tagged: !!str 5}\n"
                "---\n"
                "apiVersion: v1\n"
                "kind: ConfigMap\n"
                "metadata: {name: dashboards}\n"),
        FILE_OF("apps/metrics-app/kustomization.yaml", "resources: [deployment.yaml]\n"),
        FILE_OF("apps/metrics-app/deployment.yaml", "apiVersion: apps/v1\nkind: Deployment\n"),
        FILE_OF("apps/metrics-app/templates/x.yaml", "{{ no yaml }"),
        FILE_OF("apps/metrics-app/base/kustomization.yml", "resources: []\n"),
        FILE_OF("apps/metrics-app/covey.yaml", WORKLOAD_HEAD("native") "  command: [x]\n"),
        FILE_OF("apps/cloudflared/files/values.yaml", "replicas: 1\n"),
        FILE_OF("apps/cloudflared/files/lost.yaml", "# kept\napiVersion: v1\nkind: Namespace\n")));
    char waiting[64];
    (void)state;

    assert_int_equal(d->foreign_count, 4);
    assert_string_equal(d->foreign[0].kind, "Namespace"); /* in the order of application */
    assert_string_equal(d->foreign[1].kind, "ConfigMap");
    assert_int_equal(d->foreign[1].line, 6);
    assert_string_equal(d->foreign[2].kind, "HelmRelease");
    assert_string_equal(d->foreign[2].api_version, "helm.toolkit.fluxcd.io/v2");
    assert_string_equal(d->foreign[2].name, "grafana");
    assert_string_equal(d->foreign[2].file, "apps/grafana/helmrelease.yaml");
    assert_int_equal(d->foreign[2].line, 1);
    assert_string_equal(d->foreign[3].kind, "Kustomization");
    assert_string_equal(d->foreign[3].name, "apps/metrics-app");
    assert_string_equal(d->foreign[3].api_version, "");
    desired_waiting(&d->foreign[3], waiting, sizeof waiting);
    assert_string_equal(waiting, "k3s");
    assert_int_equal(d->workload_count, 1); /* no document of Covey is lost among others */
    desired_free(d);
}

static void the_order_of_files_does_not_matter(void **state)
{
    const struct desired_file files[] = {
        FILE_OF("cluster.yaml", CLUSTER),
        FILE_OF("apps/b/x.yaml", WORKLOAD_HEAD("x") "  command: [x]\n  dependsOn: [a]\n"),
        FILE_OF("apps/a/x.yaml", WORKLOAD_HEAD("a") "  command: [x]\n---\n" VIP("v", "")),
        FILE_OF("apps/k/x.yaml", "apiVersion: v1\nkind: ConfigMap\n"),
    };
    const struct desired_file turned[] = {files[3], files[1], files[0], files[2]};
    struct desired *a, *b;
    struct err err;
    char *diff;
    (void)state;

    assert_int_equal(desired_parse(COMMIT, files, 4, &a, NULL, &err), 0);
    assert_int_equal(desired_parse(COMMIT, turned, 4, &b, NULL, &err), 0);
    assert_string_equal(a->workloads[0].name, "a");
    assert_string_equal(b->workloads[0].name, "a");
    assert_true(a->workloads[1].generation == b->workloads[1].generation);
    diff = desired_diff(a, b);
    assert_string_equal(diff, "");
    free(diff);
    desired_free(a);
    desired_free(b);
}

/* The generation of a workload with @spec, which holds its command. */
static uint64_t generation_of(const char *spec)
{
    char text[1024];
    struct desired *d;
    uint64_t generation;

    snprintf(text, sizeof text, WORKLOAD_HEAD("w") "%s", spec);
    d = accepted(FILES(FILE_OF("apps/web/w.yaml", text)));
    generation = d->workloads[0].generation;
    desired_free(d);
    return generation;
}

static void the_generation_changes_with_what_needs_a_restart(void **state)
{
    static const char *const restart[] = {
        "  command: [x, y]\n",
        "  command: [y]\n",
        "  command: [x, '']\n",
        "  command: [x]\n  env: [{name: A, value: b}]\n",
        "  command: [x]\n  env: [{name: A, value: ''}]\n",
        "  command: [x]\n  ports: [{port: 80}]\n",
        "  command: [x]\n  ports: [{name: web, port: 80}]\n",
        "  command: [x]\n  resources: {limits: {memory: 32Mi}}\n",
        "  command: [x]\n  resources: {limits: {cpu: 500m}}\n",
        "  command: [x]\n  user: www-data\n",
        "  command: [x]\n  listen: all\n",
        "  command: [x]\n  workingDir: /srv\n",
        "  command: [x]\n  singleton: true\n",
        "  command: [x]\n  resources: {limits: {pids: 9}}\n",
        "  command: [x]\n  resources: {limits: {openFiles: 9}}\n",
        "  command: [x]\n  oomScoreAdjust: -5\n",
        "  command: [x]\n  securityContext: {readOnlyRootFilesystem: false}\n",
        "  command: [x]\n  securityContext: {privateTmp: false}\n",
        "  command: [x]\n  securityContext: {allowPrivilegeEscalation: true}\n",
        "  command: [x]\n  securityContext: {seccompProfile: {type: Unconfined}}\n",
        "  command: [x]\n  securityContext: {capabilities: {add: [NET_RAW]}}\n",
        "  command: [x]\n  securityContext: {writablePaths: [/srv]}\n",
        "  command: [x]\n  lifecycle: {preStart: {exec: {command: [y]}}}\n",
        "  command: [x]\n  lifecycle: {postStop: {exec: {command: [y]}}}\n",
        "  command: [x]\n  logs: {maxSize: 1Mi}\n",
        "  command: [x]\n  ports: [{name: a, port: 81}]\n",
        "  command: [x]\n  ports: [{name: a, port: 81}]\n  updateStrategy: {handOver: true}\n",
    };
    static const char *const same[] = {
        "  command: [x]\n  replicas: 5\n",
        "  command: [x]\n  args: []\n",
        "  command: [\"x\"]\n  readinessProbe: {exec: {command: [y]}}\n",
        "  command:\n    - x\n  nodeSelector: {a: b}\n  restartPolicy: Never\n",
        "  command: [x]\n  terminationGracePeriodSeconds: 3\n",
        "  command: [x]\n  stopSignal: SIGINT\n",
        "  command: [x]\n  updateStrategy: {maxUnavailable: 2}\n",
        "  command: [x]\n  securityContext: {readOnlyRootFilesystem: true, privateTmp: true}\n",
    };
    uint64_t base = generation_of("  command: [x]\n");
    (void)state;

    for (size_t i = 0; i < sizeof restart / sizeof restart[0]; i++) {
        assert_true(generation_of(restart[i]) != base);
        for (size_t j = 0; j < i; j++)
            assert_true(generation_of(restart[i]) != generation_of(restart[j]));
    }
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        assert_true(generation_of(same[i]) == base);
    /* What one argument says is not what two say. */
    assert_true(generation_of("  command: [ab]\n") != generation_of("  command: [a, b]\n"));
}

/* Nodes of different versions must agree: a new recipe is a decision, not an accident. */
static void the_generation_is_the_same_everywhere(void **state)
{
    (void)state;
    assert_true(generation_of("  command: [rest-api]\n  ports: [{port: 8080}]\n") ==
                UINT64_C(0x990851e6d1721f78));
}

static void diff_names_what_changed(void **state)
{
    struct desired *old = accepted(
        FILES(FILE_OF("cluster.yaml", CLUSTER),
              FILE_OF("apps/a/x.yaml", WORKLOAD_HEAD("gone") "  command: [x]\n---\n" WORKLOAD_HEAD(
                                           "kept") "  command: [x]\n---\n" VIP("v", "")),
              FILE_OF("apps/k/x.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n")));
    struct desired *new = accepted(FILES(
        FILE_OF("cluster.yaml", CLUSTER "  holdDownSeconds: 3\n"),
        FILE_OF("apps/a/x.yaml", WORKLOAD_HEAD("kept") "  command: [x, y]\n"
                                                       "  replicas: 2\n"
                                                       "---\n" VIP("v", "address: 10.0.0.213")),
        FILE_OF("apps/b/x.yaml", WORKLOAD_HEAD("new") "  command: [x]\n---\n" VIP("w", "")),
        FILE_OF("apps/k/x.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: b}\n"),
        FILE_OF("apps/l/x.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n")));
    char *diff = desired_diff(old, new);
    (void)state;

    assert_string_equal(diff, "~ Cluster home (holdDownSeconds)\n"
                              "- Workload gone\n"
                              "~ Workload kept (replicas, command)\n"
                              "+ Workload new\n"
                              "~ VirtualIP v (address)\n"
                              "+ VirtualIP w\n"
                              "~ ConfigMap c (waiting for k3s)\n"
                              "+ Secret s (waiting for k3s)\n");
    free(diff);
    diff = desired_diff(NULL, old);
    assert_string_equal(diff, "~ Cluster home (name, pool)\n"
                              "+ Workload gone\n"
                              "+ Workload kept\n"
                              "+ VirtualIP v\n"
                              "+ ConfigMap c (waiting for k3s)\n");
    free(diff);
    desired_free(old);
    desired_free(new);
}

static void references_are_found_in_texts(void **state)
{
    const char *text = "http://${service:rest-api/http}/ ${HOME} on ${node:name}";
    struct reference r;
    struct err err;
    (void)state;

    assert_int_equal(reference_next(text, 0, &r, &err), 1);
    assert_int_equal(r.kind, REFERENCE_SERVICE);
    assert_string_equal(r.name, "rest-api");
    assert_string_equal(r.key, "http");
    assert_int_equal(r.begin, 7);
    assert_memory_equal(text + r.end, "/ ${HOME}", 9);
    assert_int_equal(reference_next(text, r.end, &r, &err), 1);
    assert_int_equal(r.kind, REFERENCE_NODE_NAME);
    assert_int_equal(r.end, strlen(text));
    assert_int_equal(reference_next(text, r.end, &r, &err), 0);
    assert_int_equal(reference_next("${service:a}", 0, &r, &err), -1);
    assert_int_equal(reference_next("${service:a/b", 0, &r, &err), -1);
    assert_int_equal(reference_next("${service:/b}", 0, &r, &err), -1);
    assert_int_equal(reference_next("${node:ip}", 0, &r, &err), -1);
    assert_int_equal(reference_next("${node:address}", 0, &r, &err), 1);
    assert_int_equal(r.kind, REFERENCE_NODE_ADDRESS);
}

/* A thousand documents, so that slowness of a wrong order of growth would show. */
static void a_thousand_workloads_are_read(void **state)
{
    enum { COUNT = 1000 };
    static char texts[COUNT][512], paths[COUNT][64];
    static struct desired_file files[COUNT];
    struct desired *d;
    struct err err;
    (void)state;

    for (int i = 0; i < COUNT; i++) {
        snprintf(paths[i], sizeof paths[i], "apps/app-%d/w-%d.yaml", i % 50, i);
        snprintf(texts[i], sizeof texts[i],
                 WORKLOAD_HEAD("w-%d") "  command: [x]\n"
                                       "  ports: [{port: 80}]\n"
                                       "  dependsOn: [w-%d]\n"
                                       "  env:\n"
                                       "    - {name: PEER, value: \"${service:w-%d/http}\"}\n",
                 i, (i + 1) % (COUNT + 1), (i + 7) % COUNT);
        files[i] = (struct desired_file)FILE_OF(paths[i], texts[i]);
    }
    assert_int_equal(desired_parse(COMMIT, files, COUNT, &d, NULL, &err), ERR_INVALID);
    assert_string_equal(err.text, "apps/app-49/w-999.yaml:7: spec.dependsOn[0]: there is no "
                                  "workload \"w-1000\"; did you mean \"w-100\"?");
    files[COUNT - 1].size = (size_t)(strstr(texts[COUNT - 1], "  dependsOn") - texts[COUNT - 1]);
    assert_int_equal(desired_parse(COMMIT, files, COUNT, &d, NULL, &err), 0);
    assert_int_equal(d->workload_count, COUNT);
    desired_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_of_a_workload_is_read),
        cmocka_unit_test(a_short_workload_has_defaults),
        cmocka_unit_test(cron_workloads_and_clusters_are_read),
        cmocka_unit_test(an_empty_commit_is_an_empty_flock),
        cmocka_unit_test(addresses_are_as_written),
        cmocka_unit_test(a_flux_repository_is_kept_for_k3s),
        cmocka_unit_test(the_order_of_files_does_not_matter),
        cmocka_unit_test(the_generation_changes_with_what_needs_a_restart),
        cmocka_unit_test(the_generation_is_the_same_everywhere),
        cmocka_unit_test(diff_names_what_changed),
        cmocka_unit_test(references_are_found_in_texts),
        cmocka_unit_test(a_thousand_workloads_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
