/* agentctl status: one screen about the whole flock. */
#include <stdio.h>
#include <string.h>

#include "tools/agentctl/agentctl.h"

static void print_nodes(const struct context *context, const json_t *nodes)
{
    static const char *const columns[] = {"NODE", "STATE", "ADDRESS", "RTT", "COMMIT", NULL};
    struct table *table = table_new(context, columns);
    size_t i;
    const json_t *node;

    json_array_foreach(nodes, i, node)
    {
        const json_t *commit = json_object_get(node, "commit");
        const json_t *rtt = json_object_get(node, "rttMs");
        const char *state = member_string(node, "state");

        table_cell(table, TABLE_PLAIN, "%s%s", member_string(node, "name"),
                   json_is_true(json_object_get(node, "self")) ? " *" : "");
        table_cell(table, state_color(state), "%s%s", state,
                   json_is_true(json_object_get(node, "draining")) ? ", draining" : "");
        table_cell(table, TABLE_PLAIN, "%s", member_string(node, "address"));
        if (json_is_integer(rtt))
            table_cell(table, TABLE_PLAIN, "%lld ms", (long long)json_integer_value(rtt));
        else
            table_cell(table, TABLE_PLAIN, "-");
        table_cell(table,
                   strcmp(member_string(commit, "state"), "applied") == 0 ? TABLE_PLAIN : TABLE_BAD,
                   "%.10s %s", member_string(commit, "commit"), member_string(commit, "subject"));
    }
    table_print(table);
}

static void print_vips(const struct context *context, const json_t *vips)
{
    static const char *const columns[] = {"ADDRESS", "NAME", "OWNER", "SINCE", NULL};
    struct table *table;
    char buffer[32];
    size_t i;
    const json_t *vip;

    if (json_array_size(vips) == 0)
        return;
    table = table_new(context, columns);
    json_array_foreach(vips, i, vip)
    {
        const char *owner = member_string(vip, "owner");
        table_cell(table, TABLE_PLAIN, "%s", member_string(vip, "address"));
        table_cell(table, TABLE_PLAIN, "%s", member_string(vip, "name"));
        table_cell(table, owner[0] != '\0' ? TABLE_PLAIN : TABLE_BAD, "%s",
                   owner[0] != '\0' ? owner : "nobody");
        table_cell(table, TABLE_PLAIN, "%s",
                   age(json_object_get(vip, "since"), buffer, sizeof buffer));
    }
    printf("\n");
    table_print(table);
}

static void print_apps(const struct context *context, const json_t *apps)
{
    static const char *const columns[] = {"WORKLOAD", "READY", "RUNS ON", NULL};
    struct table *table;
    size_t i;
    const json_t *app;

    if (json_array_size(apps) == 0)
        return;
    table = table_new(context, columns);
    json_array_foreach(apps, i, app)
    {
        long long desired = (long long)json_integer_value(json_object_get(app, "desired"));
        long long ready = (long long)json_integer_value(json_object_get(app, "ready"));
        const char *schedule = member_string(app, "schedule");
        char where[256] = "";
        size_t k;
        const json_t *instance;

        table_cell(table, TABLE_PLAIN, "%s", member_string(app, "name"));
        if (json_is_true(json_object_get(app, "off")))
            table_cell(table, TABLE_PLAIN, "off");
        else if (schedule[0] != '\0')
            table_cell(table, TABLE_PLAIN, "%s", schedule);
        else
            table_cell(table, ready < desired ? TABLE_BAD : TABLE_GOOD, "%lld/%lld", ready,
                       desired);
        json_array_foreach(json_object_get(app, "instances"), k, instance)
        {
            size_t used = strlen(where);
            if (json_is_true(json_object_get(instance, "nodeAlive")))
                snprintf(where + used, sizeof where - used, "%s%s (%s)", used > 0 ? ", " : "",
                         member_string(instance, "node"), member_string(instance, "state"));
        }
        table_cell(table, TABLE_PLAIN, "%s", where);
    }
    printf("\n");
    table_print(table);
}

static void print_drift(const json_t *drifts)
{
    const json_t *drift;
    size_t i;

    if (json_array_size(drifts) > 0)
        printf("\nLeft as somebody changed it (drift: warn):\n");
    json_array_foreach(drifts, i, drift)
        printf("  %s on %s %s\n", member_string(drift, "subject"), member_string(drift, "node"),
               member_string(drift, "what"));
}

static void print_status(const struct context *context, const json_t *document)
{
    static const char *const color[] = {
        [TABLE_GOOD] = "\033[32m", [TABLE_WARNING] = "\033[33m", [TABLE_BAD] = "\033[31m"};
    const char *health = member_string(document, "health");

    if (context->color)
        printf("%s%s\033[0m\n\n", color[state_color(health)], member_string(document, "headline"));
    else
        printf("%s\n\n", member_string(document, "headline"));
    print_nodes(context, json_object_get(document, "nodes"));
    print_vips(context, json_object_get(document, "vips"));
    print_apps(context, json_object_get(document, "apps"));
    print_drift(json_object_get(document, "drift"));
    if (json_array_size(json_object_get(document, "waitingForK3s")) > 0)
        printf("\n%zu documents wait for k3s.\n",
               json_array_size(json_object_get(document, "waitingForK3s")));
}

int cmd_status(const struct context *context, int argc, char **argv)
{
    json_t *document = NULL;
    struct err err;
    const char *health;
    int status;

    (void)argv;
    if (argc > 0)
        return usage("status", "takes no argument");
    if (client_request(context, "GET", "/v1/status", NULL, &document, NULL, &err) != ERR_NONE)
        return fail(&err);
    health = member_string(document, "health");
    status = strcmp(health, "ok") == 0 ? 0 : err_exit_status(ERR_DEGRADED);
    if (context->json)
        print_json(document);
    else if (!context->quiet)
        print_status(context, document);
    json_decref(document);
    return status;
}
