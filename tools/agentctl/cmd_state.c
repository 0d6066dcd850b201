/* agentctl get, history: the desired state that is applied. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/agentctl/agentctl.h"

static void join(const json_t *list, char *text, size_t size)
{
    size_t used = 0, i;
    const json_t *item;

    text[0] = '\0';
    json_array_foreach(list, i, item)
    {
        int n =
            snprintf(text + used, size - used, "%s%s", i > 0 ? ", " : "", json_string_value(item));
        if (n < 0 || (size_t)n >= size - used)
            return;
        used += (size_t)n;
    }
}

/* Each host with the path that is answered there: "api.local/v1, api.home/v1". */
static void route_text(const json_t *route, char *text, size_t size)
{
    const char *path = member_string(route, "path");
    const json_t *host;
    size_t used = 0, i;

    text[0] = '\0';
    json_array_foreach(json_object_get(route, "hosts"), i, host)
    {
        int n = snprintf(text + used, size - used, "%s%s%s", i > 0 ? ", " : "",
                         json_string_value(host), path);
        if (n < 0 || (size_t)n >= size - used)
            return;
        used += (size_t)n;
    }
    snprintf(text + used, size - used, " -> %s/%s", member_string(route, "workload"),
             member_string(route, "port"));
}

/* What is worth a column of every kind. */
static void details(const json_t *object, char *text, size_t size)
{
    const char *kind = member_string(object, "kind");
    char list[160];
    long long replicas;

    text[0] = '\0';
    if (strcmp(kind, "Workload") == 0) {
        replicas = (long long)json_integer_value(json_object_get(object, "replicas"));
        snprintf(text, size, "%lld replica%s", replicas, replicas == 1 ? "" : "s");
    } else if (strcmp(kind, "CronWorkload") == 0)
        snprintf(text, size, "%s", member_string(object, "schedule"));
    else if (strcmp(kind, "VirtualIP") == 0)
        snprintf(text, size, "%s, %s",
                 member_string(object, "address")[0] != '\0' ? member_string(object, "address")
                                                             : "no address is free",
                 member_string(object, "mode"));
    else if (strcmp(kind, "Route") == 0)
        route_text(object, text, size);
    else if (strcmp(kind, "SealedSecret") == 0) {
        char nodes[120];
        join(json_object_get(object, "keys"), list, sizeof list);
        join(json_object_get(object, "nodes"), nodes, sizeof nodes);
        snprintf(text, size, "%s for %s", list, nodes);
    } else if (strcmp(kind, "K3s") == 0) {
        join(json_object_get(object, "servers"), list, sizeof list);
        snprintf(text, size, "servers %s", list);
    } else if (member_string(object, "waitingFor")[0] != '\0')
        snprintf(text, size, "waiting for %s", member_string(object, "waitingFor"));
}

static void print_objects(const struct context *context, const json_t *document)
{
    static const char *const columns[] = {"KIND", "NAME", "APP", "WHERE", "WHAT", NULL};
    struct table *table = table_new(context, columns);
    const json_t *object;
    char text[400];
    size_t i;

    json_array_foreach(json_object_get(document, "items"), i, object)
    {
        const char *app = member_string(object, "app");
        details(object, text, sizeof text);
        table_cell(table, TABLE_PLAIN, "%s", member_string(object, "kind"));
        table_cell(table, TABLE_PLAIN, "%s", member_string(object, "name"));
        table_cell(table, TABLE_PLAIN, "%s", app[0] != '\0' ? app : "-");
        table_cell(table, TABLE_PLAIN, "%s:%lld", member_string(object, "file"),
                   (long long)json_integer_value(json_object_get(object, "line")));
        table_cell(table, TABLE_PLAIN, "%s", text);
    }
    table_print(table);
}

static bool plain(const char *word)
{
    return strlen(word) <= 64 && strcspn(word, " ?#%&+") == strlen(word);
}

int cmd_get(const struct context *context, int argc, char **argv)
{
    char path[256];

    if (argc > 2)
        return usage("get", "takes a kind and a name at most");
    for (int i = 0; i < argc; i++)
        if (!plain(argv[i]))
            return usage("get", "\"%s\" is no name", argv[i]);
    if (argc == 2)
        snprintf(path, sizeof path, "/v1/objects?kind=%s&name=%s", argv[0], argv[1]);
    else
        snprintf(path, sizeof path, argc == 1 ? "/v1/objects?kind=%s" : "/v1/objects%s",
                 argc == 1 ? argv[0] : "");
    return show(context, path, print_objects);
}

static void print_history(const struct context *context, const json_t *document)
{
    static const char *const columns[] = {"", "COMMIT", "AGE", "STATE", "SUBJECT", NULL};
    struct table *table = table_new(context, columns);
    const json_t *entry;
    char buffer[32];
    size_t i;

    json_array_foreach(json_object_get(document, "items"), i, entry)
    {
        const char *state = member_string(entry, "state");
        table_cell(table, TABLE_PLAIN, "%s",
                   json_is_true(json_object_get(entry, "running")) ? "*" : " ");
        table_cell(table, TABLE_PLAIN, "%.10s", member_string(entry, "commit"));
        table_cell(table, TABLE_PLAIN, "%s",
                   age(json_object_get(entry, "time"), buffer, sizeof buffer));
        table_cell(table, strcmp(state, "failed") == 0 ? TABLE_BAD : TABLE_GOOD, "%s", state);
        table_cell(table, TABLE_PLAIN, "%s", member_string(entry, "subject"));
    }
    table_print(table);
    json_array_foreach(json_object_get(document, "items"), i, entry)
    {
        if (member_string(entry, "reason")[0] != '\0')
            printf("%.10s failed %s ago: %s\n", member_string(entry, "commit"),
                   age(json_object_get(entry, "time"), buffer, sizeof buffer),
                   member_string(entry, "reason"));
    }
}

int cmd_history(const struct context *context, int argc, char **argv)
{
    char path[64] = "/v1/history";

    if (argc == 2 && strcmp(argv[0], "-n") == 0 && atol(argv[1]) > 0)
        snprintf(path, sizeof path, "/v1/history?limit=%ld", atol(argv[1]));
    else if (argc > 0)
        return usage("history", "does not understand \"%s\"", argv[0]);
    return show(context, path, print_history);
}
