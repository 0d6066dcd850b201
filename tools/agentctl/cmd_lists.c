/* agentctl members, net, apps: listings. */
#include <stdio.h>
#include <string.h>

#include "tools/agentctl/agentctl.h"

static void print_members(const struct context *context, const json_t *document)
{
    static const char *const columns[] = {"NAME",  "ID",  "STATE",   "ADDRESS",
                                          "HEARD", "RTT", "VERSION", NULL};
    struct table *table = table_new(context, columns);
    size_t i;
    const json_t *node;

    json_array_foreach(json_object_get(document, "items"), i, node)
    {
        const json_t *heard = json_object_get(node, "heardMs");
        const json_t *rtt = json_object_get(node, "rttMs");
        const char *state = member_string(node, "state");

        table_cell(table, TABLE_PLAIN, "%s%s", member_string(node, "name"),
                   json_is_true(json_object_get(node, "self")) ? " *" : "");
        table_cell(table, TABLE_PLAIN, "%s", member_string(node, "id"));
        table_cell(table, state_color(state), "%s%s", state,
                   json_is_true(json_object_get(node, "draining")) ? ", draining" : "");
        table_cell(table, TABLE_PLAIN, "%s", member_string(node, "address"));
        if (json_is_integer(heard))
            table_cell(table, TABLE_PLAIN, "%.1f s ago",
                       (double)json_integer_value(heard) / 1000.0);
        else
            table_cell(table, TABLE_PLAIN, "never");
        if (json_is_integer(rtt))
            table_cell(table, TABLE_PLAIN, "%lld ms", (long long)json_integer_value(rtt));
        else
            table_cell(table, TABLE_PLAIN, "-");
        table_cell(table, TABLE_PLAIN, "%s", member_string(node, "version"));
    }
    table_print(table);
}

int cmd_members(const struct context *context, int argc, char **argv)
{
    (void)argv;
    if (argc > 0)
        return usage("members", "takes no argument");
    return show(context, "/v1/members", print_members);
}

static enum table_color loss_color(long long percent)
{
    return percent < 10 ? TABLE_PLAIN : percent < 40 ? TABLE_WARNING : TABLE_BAD;
}

static void print_net(const struct context *context, const json_t *document)
{
    static const char *const columns[] = {"NODE", "HEARS", "FROM", "OVER", "RTT", "LOSS", NULL};
    struct table *table = table_new(context, columns);
    size_t i;
    const json_t *path;

    json_array_foreach(json_object_get(document, "items"), i, path)
    {
        const json_t *rtt = json_object_get(path, "rttMs");
        bool hears = json_is_true(json_object_get(path, "hears"));
        const char *over = json_string_value(json_object_get(path, "over"));
        long long loss = json_integer_value(json_object_get(path, "lossPercent"));

        table_cell(table, TABLE_PLAIN, "%s", member_string(path, "to"));
        table_cell(table, hears ? TABLE_GOOD : TABLE_BAD, hears ? "yes" : "no");
        table_cell(table, TABLE_PLAIN, "%s", member_string(path, "from"));
        table_cell(table, over != NULL && strcmp(over, "tcp") == 0 ? TABLE_WARNING : TABLE_PLAIN,
                   "%s", over != NULL ? over : "-");
        if (json_is_integer(rtt))
            table_cell(table, TABLE_PLAIN, "%lld ms", (long long)json_integer_value(rtt));
        else
            table_cell(table, TABLE_PLAIN, "-");
        table_cell(table, loss_color(loss), "%lld %%", loss);
    }
    table_print(table);
}

int cmd_net(const struct context *context, int argc, char **argv)
{
    (void)argv;
    if (argc > 0)
        return usage("net", "takes no argument");
    return show(context, "/v1/net", print_net);
}

static void ports_text(const json_t *ports, char *text, size_t size)
{
    const char *name;
    json_t *port;
    size_t used = 0;

    text[0] = '\0';
    json_object_foreach((json_t *)ports, name, port)
    {
        int n = snprintf(text + used, size - used, "%s%s=%lld", used > 0 ? "," : "", name,
                         (long long)json_integer_value(port));
        if (n < 0 || (size_t)n >= size - used)
            break;
        used += (size_t)n;
    }
}

/* One line for each app, after the table. */
static void print_suspended(const json_t *apps)
{
    const json_t *app, *before;
    size_t i, k;

    json_array_foreach(apps, i, app)
    {
        const json_t *suspended = json_object_get(app, "suspended");
        const char *name = member_string(app, "app");
        bool told = !json_is_object(suspended);
        json_array_foreach(apps, k, before)
        {
            if (k >= i)
                break;
            told = told || strcmp(member_string(before, "app"), name) == 0;
        }
        if (told)
            continue;
        printf("%s is suspended by %s until %s: %s\n", name, member_string(suspended, "by"),
               json_is_string(json_object_get(suspended, "until"))
                   ? member_string(suspended, "until")
                   : "it is resumed",
               member_string(suspended, "reason"));
    }
}

/* What somebody changed and drift: warn leaves so, one line each. */
static void print_drift(const json_t *instances)
{
    const json_t *instance;
    size_t i;

    json_array_foreach(instances, i,
                       instance) if (json_is_string(json_object_get(instance, "drift")))
        printf("%s on %s %s; left as it is (drift: warn)\n", member_string(instance, "name"),
               member_string(instance, "node"), member_string(instance, "drift"));
}

static void print_apps(const struct context *context, const json_t *document)
{
    static const char *const columns[] = {"INSTANCE", "NODE",  "STATE",  "PORTS", "PID",
                                          "RESTARTS", "SINCE", "REASON", NULL};
    struct table *table = table_new(context, columns);
    char buffer[32];
    char ports[128];
    size_t i;
    const json_t *app;
    const char *pending;

    json_array_foreach(json_object_get(document, "items"), i, app)
    {
        size_t k;
        const json_t *instance;
        json_array_foreach(json_object_get(app, "instances"), k, instance)
        {
            bool alive = json_is_true(json_object_get(instance, "nodeAlive"));
            const char *state = alive ? member_string(instance, "state") : "node dead";
            ports_text(json_object_get(instance, "ports"), ports, sizeof ports);
            table_cell(table, TABLE_PLAIN, "%s", member_string(instance, "name"));
            table_cell(table, TABLE_PLAIN, "%s", member_string(instance, "node"));
            table_cell(table, alive ? state_color(state) : TABLE_BAD, "%s", state);
            table_cell(table, TABLE_PLAIN, "%s", ports);
            table_cell(table, TABLE_PLAIN, "%lld",
                       (long long)json_integer_value(json_object_get(instance, "pid")));
            table_cell(table, TABLE_PLAIN, "%lld",
                       (long long)json_integer_value(json_object_get(instance, "restarts")));
            table_cell(table, TABLE_PLAIN, "%s",
                       age(json_object_get(instance, "since"), buffer, sizeof buffer));
            table_cell(table, TABLE_PLAIN, "%s", member_string(instance, "reason"));
        }
        pending = member_string(app, "pending");
        if (json_array_size(json_object_get(app, "instances")) > 0 && pending[0] == '\0')
            continue;
        table_cell(table, TABLE_PLAIN, "%s", member_string(app, "name"));
        table_cell(table, TABLE_PLAIN, "-");
        table_cell(table, TABLE_WARNING, "%s",
                   pending[0] == '\0' && member_string(app, "schedule")[0] != '\0' ? "scheduled"
                                                                                   : "not placed");
        for (int column = 3; column < 7; column++)
            table_cell(table, TABLE_PLAIN, "-");
        table_cell(table, TABLE_PLAIN, "%s",
                   pending[0] != '\0' ? pending : member_string(app, "schedule"));
    }
    table_print(table);
    print_suspended(json_object_get(document, "items"));
    json_array_foreach(json_object_get(document, "items"), i, app)
        print_drift(json_object_get(app, "instances"));
}

int cmd_apps(const struct context *context, int argc, char **argv)
{
    char path[256];

    if (argc > 1)
        return usage("apps", "takes one name at most");
    if (argc == 1 && (strlen(argv[0]) > 64 || strcspn(argv[0], " ?#/%&") != strlen(argv[0])))
        return usage("apps", "\"%s\" is no name of a workload", argv[0]);
    snprintf(path, sizeof path, argc == 1 ? "/v1/apps?name=%s" : "/v1/apps%s",
             argc == 1 ? argv[0] : "");
    return show(context, path, print_apps);
}
