/* Workload and CronWorkload: from what is written to desired_workload. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/desired/build.h"
#include "agent/desired/cron.h"
#include "agent/desired/formats.h"
#include "proto/record/value.h"
#include "proto/base/id.h"

static_assert(DESIRED_PORTS_MAX == VALUE_PORTS_MAX, "all ports of a workload fit its record");

static int no_memory(const struct object *object)
{
    return report_no_memory(&object->build->report);
}

static size_t texts_count(const char *const *texts)
{
    size_t count = 0;

    while (texts != NULL && texts[count] != NULL)
        count++;
    return count;
}

static int read_command(const struct object *object, const struct kind_workload *spec,
                        struct workload_item *item)
{
    size_t commands = texts_count(spec->command), args = texts_count(spec->args);
    const char **all = arena_array(object->build->arena, commands + args + 1, sizeof *all);
    char path[SCHEMA_PATH_MAX];
    int rc = 0;

    if (all == NULL)
        return no_memory(object);
    if (spec->command[0][0] == '\0')
        return object_error(object, "spec.command[0]", "the program's name is empty");
    for (size_t i = 0; i < commands + args && rc == 0; i++) {
        bool first = i < commands;
        all[i] = first ? spec->command[i] : spec->args[i - commands];
        snprintf(path, sizeof path, "spec.%s[%zu]", first ? "command" : "args",
                 first ? i : i - commands);
        rc = workload_text(object, spec, item, path, PLACE_ARGS, all[i], &all[i]);
    }
    item->workload.command = all;
    return rc;
}

/* What agentd itself sets in the environment of a workload. */
static bool env_reserved(const char *name, bool has_ports, bool has_files)
{
    if (strcmp(name, "HOST") == 0 || (has_files && strcmp(name, "CONFIG_DIR") == 0))
        return true;
    return has_ports && (strcmp(name, "PORT") == 0 || strcmp(name, "METRICS_PORT") == 0 ||
                         strncmp(name, "PORT_", 5) == 0);
}

static int by_name(const void *left, const void *right)
{
    const struct desired_pair *a = left, *b = right;

    return strcmp(a->name, b->name);
}

static int read_env(const struct object *object, const struct kind_workload *spec,
                    struct workload_item *item)
{
    const struct kind_env *env = spec->env.items;
    struct desired_pair *pairs = arena_array(object->build->arena, spec->env.count, sizeof *pairs);
    char path[SCHEMA_PATH_MAX];
    int first_rc = 0;

    if (pairs == NULL)
        return no_memory(object);
    for (size_t i = 0; i < spec->env.count; i++) {
        int rc;
        pairs[i].name = env[i].name;
        pairs[i].value = env[i].value != NULL ? env[i].value : "";
        snprintf(path, sizeof path, "spec.env[%zu].value", i);
        rc = workload_text(object, spec, item, path, PLACE_ENV, pairs[i].value, &pairs[i].value);
        snprintf(path, sizeof path, "spec.env[%zu].name", i);
        if (rc == 0 && env_reserved(env[i].name, spec->ports.count > 0, spec->files.count > 0))
            rc = object_error(object, path, "%s is set by agentd: leave it out", env[i].name);
        for (size_t j = 0; rc == 0 && j < i; j++)
            if (strcmp(env[j].name, env[i].name) == 0)
                rc = object_error(object, path, "%s stands here for the second time", env[i].name);
        first_rc = first_rc != 0 ? first_rc : rc;
    }
    qsort(pairs, spec->env.count, sizeof *pairs, by_name);
    item->workload.env = (struct desired_map){.pairs = pairs, .count = spec->env.count};
    return first_rc;
}

static int read_ports(const struct object *object, const struct kind_workload *spec,
                      struct desired_workload *workload)
{
    const struct kind_port *written = spec->ports.items;
    size_t count = spec->ports.count;
    struct desired_port *ports = arena_array(object->build->arena, count, sizeof *ports);
    char path[SCHEMA_PATH_MAX];

    if (ports == NULL)
        return no_memory(object);
    for (size_t i = 0; i < count; i++) {
        ports[i].name = written[i].name != NULL ? written[i].name : "http";
        ports[i].port = (uint16_t)written[i].port;
        snprintf(path, sizeof path, "spec.ports[%zu]", i);
        if (written[i].name == NULL && count > 1)
            return object_error(object, path,
                                "a name is missing: with several ports each needs "
                                "one");
        for (size_t j = 0; j < i; j++) {
            if (strcmp(ports[j].name, ports[i].name) == 0)
                return object_error(object, path, "the name \"%s\" is used by two ports",
                                    ports[i].name);
            if (ports[j].port == ports[i].port && ports[i].port != 0)
                return object_error(object, path, "the number %u is used by two ports",
                                    (unsigned)ports[i].port);
        }
    }
    workload->ports = ports;
    workload->port_count = count;
    return 0;
}

static void port_names(const struct desired_workload *workload, char *text, size_t size)
{
    size_t used = 0;

    snprintf(text, size, "%s", workload->port_count == 0 ? "it has none" : "it has ");
    for (size_t i = 0; i < workload->port_count; i++) {
        used = strlen(text);
        snprintf(text + used, size - used, i > 0 ? ", %s" : "%s", workload->ports[i].name);
    }
}

/* The name of the port that a probe asks: by name, by number, or the only one. */
static int read_probe_port(const struct object *object, const char *path, const char *wanted,
                           const struct desired_workload *workload, const char **name)
{
    char names[160];
    uint64_t number = 0;

    if (wanted == NULL && workload->port_count == 1) {
        *name = workload->ports[0].name;
        return 0;
    }
    port_names(workload, names, sizeof names);
    if (wanted == NULL)
        return object_error(object, path, "which port of the workload? (%s)", names);
    if (!schema_number(wanted, &number))
        number = 0;
    for (size_t i = 0; i < workload->port_count; i++) {
        const struct desired_port *port = &workload->ports[i];
        if (strcmp(port->name, wanted) == 0 || (number != 0 && port->port == number)) {
            *name = port->name;
            return 0;
        }
    }
    return object_error(object, path, "the workload has no port \"%s\"; %s", wanted, names);
}

static int read_probe(const struct object *object, const char *field,
                      const struct kind_probe *written, const struct desired_workload *workload,
                      struct desired_probe *probe)
{
    char path[SCHEMA_PATH_MAX];

    if (written == NULL)
        return 0;
    snprintf(path, sizeof path, "spec.%s", field);
    if ((written->http != NULL) + (written->tcp != NULL) + (written->exec != NULL) != 1)
        return object_error(object, path, "expected exactly one of httpGet, tcpSocket and exec");
    if (written->success_threshold != 1 && probe != &workload->readiness) {
        snprintf(path, sizeof path, "spec.%s.successThreshold", field);
        return object_error(object, path, "only a readinessProbe may have another value than 1");
    }
    probe->initial_delay_s = written->initial_delay_s;
    probe->period_s = written->period_s;
    probe->timeout_s = written->timeout_s;
    probe->success_threshold = written->success_threshold;
    probe->failure_threshold = written->failure_threshold;
    if (written->exec != NULL) {
        probe->kind = DESIRED_PROBE_EXEC;
        probe->command = written->exec->command;
        return 0;
    }
    if (written->http != NULL) {
        probe->kind = DESIRED_PROBE_HTTP;
        probe->path = written->http->path != NULL ? written->http->path : "/";
        snprintf(path, sizeof path, "spec.%s.httpGet.port", field);
        return read_probe_port(object, path, written->http->port, workload, &probe->port);
    }
    probe->kind = DESIRED_PROBE_TCP;
    snprintf(path, sizeof path, "spec.%s.tcpSocket.port", field);
    return read_probe_port(object, path, written->tcp->port, workload, &probe->port);
}

/* Names of workloads and "Kind/name" of others, each in a list of its own. */
static int read_depends(const struct object *object, const struct kind_workload *spec,
                        struct workload_item *item)
{
    static const char *const nothing[] = {NULL};
    const char *const *written = spec->depends_on != NULL ? spec->depends_on : nothing;
    size_t count = texts_count(written), names = 0, others = 0;
    const char **workloads = arena_array(object->build->arena, count + 1, sizeof *workloads);
    const char **objects = arena_array(object->build->arena, count + 1, sizeof *objects);
    char path[SCHEMA_PATH_MAX];

    if (workloads == NULL || objects == NULL)
        return no_memory(object);
    for (size_t i = 0; i < count; i++) {
        char kind[64];
        const char *name = needs_split(written[i], kind, sizeof kind);
        int rc;
        snprintf(path, sizeof path, "spec.dependsOn[%zu]", i);
        for (size_t j = 0; j < i; j++)
            if (strcmp(written[j], written[i]) == 0)
                return object_error(object, path, "%s stands here for the second time", written[i]);
        if (strcmp(kind, "Workload") == 0)
            workloads[names++] = name;
        else
            objects[others++] = written[i];
        rc = needs_add(object, &item->needs, path, kind, name, NULL, true);
        if (rc != 0)
            return rc;
    }
    item->workload.depends_on = workloads;
    item->workload.depends_objects = objects;
    return 0;
}

static int read_spread(const struct object *object, const struct kind_workload *spec,
                       struct desired_workload *workload)
{
    const struct kind_spread *written = spec->spread.items;
    size_t count = spec->spread.count;
    struct desired_spread *spread = arena_array(object->build->arena, count, sizeof *spread);

    if (spread == NULL)
        return no_memory(object);
    for (size_t i = 0; i < count; i++)
        spread[i] = (struct desired_spread){.key = written[i].key,
                                            .max_skew = written[i].max_skew,
                                            .strict = written[i].unsatisfiable == 0};
    workload->spread = spread;
    workload->spread_count = count;
    return 0;
}

static int read_cron(const struct object *object, const struct kind_workload *spec,
                     struct desired_workload *workload)
{
    struct cron_schedule schedule;
    struct err err;

    workload->replicas = 1;
    workload->schedule = (struct desired_schedule){
        .expression = spec->schedule,
        .concurrency = spec->concurrency,
        .starting_deadline_s = spec->starting_deadline_s,
        .suspend = spec->suspend,
        .time_zone = spec->time_zone,
        .retry_lost = spec->retry_lost,
        .history_limit = spec->history_limit,
    };
    if (cron_parse(spec->schedule, &schedule, &err) != 0)
        return object_error(object, "spec.schedule", "%s", err.text);
    return 0;
}

static int check_identity(const struct object *object, const struct desired_workload *workload)
{
    if (strlen(workload->app) + strlen(workload->name) + sizeof "/.255" > INSTANCE_MAX)
        return object_error(object, "metadata.name",
                            "\"%s/%s\" is too long; expected at most %zu "
                            "bytes",
                            workload->app, workload->name, (size_t)INSTANCE_MAX - sizeof ".255");
    if (workload->singleton && workload->replicas > 1)
        return object_error(object, "spec.replicas", "a singleton has at most one instance");
    return 0;
}

/* After its ports are read. */
static int check_hand_over(const struct object *object, const struct desired_workload *w)
{
    if (!w->hand_over)
        return 0;
    if (w->singleton)
        return object_error(object, "spec.updateStrategy.handOver",
                            "two processes run for a while: not possible for a singleton");
    if (w->port_count == 0 || w->port_count >= DESIRED_PORTS_MAX)
        return object_error(object, "spec.updateStrategy.handOver",
                            "expected 1 to %d ports, whose sockets are handed over",
                            DESIRED_PORTS_MAX - 1);
    return 0;
}

static int read_probes(const struct object *object, const struct kind_workload *spec,
                       struct desired_workload *w)
{
    int startup = read_probe(object, "startupProbe", spec->startup, w, &w->startup);
    int readiness = read_probe(object, "readinessProbe", spec->readiness, w, &w->readiness);
    int liveness = read_probe(object, "livenessProbe", spec->liveness, w, &w->liveness);

    return startup != 0 ? startup : readiness != 0 ? readiness : liveness;
}

/* Every part is read, so that every error is reported; the code of one of them is returned. */
static int read_parts(const struct object *object, const struct kind_workload *spec,
                      struct workload_item *item)
{
    struct desired_workload *w = &item->workload;
    int rc = check_identity(object, w);
    int part;

    part = w->cron ? read_cron(object, spec, w) : 0;
    rc = rc != 0 ? rc : part;
    part = read_command(object, spec, item);
    rc = rc != 0 ? rc : part;
    part = read_env(object, spec, item);
    rc = rc != 0 ? rc : part;
    part = workload_files(object, spec, item);
    rc = rc != 0 ? rc : part;
    part = read_spread(object, spec, w);
    rc = rc != 0 ? rc : part;
    part = read_ports(object, spec, w);
    if (part == 0)
        part = check_hand_over(object, w);
    if (part == 0) /* probes name ports */
        part = read_probes(object, spec, w);
    rc = rc != 0 ? rc : part;
    part = read_depends(object, spec, item);
    return rc != 0 ? rc : part;
}

int workload_read(const struct object *object, bool cron)
{
    const struct kind_workload *spec = object->document->spec;
    struct workload_item *item = arena_alloc(&object->build->scratch, sizeof *item);
    int rc;

    if (item == NULL)
        return no_memory(object);
    item->workload = (struct desired_workload){
        .app = object->app,
        .name = object->document->metadata->name,
        .file = object->file,
        .line = object_line(object),
        .labels = object->document->metadata->labels,
        .replicas = spec->replicas,
        .singleton = spec->singleton,
        .cron = cron,
        .working_dir = spec->working_dir,
        .user = spec->user,
        .listen = spec->listen,
        .restart = spec->restart,
        .stop_grace_s = spec->stop_grace_s,
        .node_selector = spec->node_selector,
    };
    workload_read_process(spec, &item->workload);
    rc = read_parts(object, spec, item);
    if (rc != 0)
        return rc;
    item->workload.generation = workload_generation(&item->workload);
    item->next = object->build->workload_items;
    object->build->workload_items = item;
    return 0;
}

static int by_item(const void *left, const void *right)
{
    return strcmp(((const struct desired_workload *)left)->name,
                  ((const struct desired_workload *)right)->name);
}

int workloads_finish(struct build *build)
{
    struct desired_workload *workloads;
    size_t count = 0;
    int rc = 0;

    for (const struct workload_item *item = build->workload_items; item != NULL; item = item->next)
        count++;
    workloads = arena_array(build->arena, count, sizeof *workloads);
    if (workloads == NULL)
        return report_no_memory(&build->report);
    count = 0;
    for (struct workload_item *item = build->workload_items; item != NULL; item = item->next) {
        int part = workload_secrets(build, item);
        rc = rc != 0 ? rc : part;
        workloads[count++] = item->workload;
    }
    if (count > 0)
        qsort(workloads, count, sizeof *workloads, by_item);
    build->desired->workloads = workloads;
    build->desired->workload_count = count;
    return rc;
}
