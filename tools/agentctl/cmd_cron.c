/* agentctl cron: what ran by the clock, where, and how it ended. */
#include <stdio.h>
#include <string.h>

#include "tools/agentctl/agentctl.h"

static enum table_color run_color(const char *state)
{
    if (strcmp(state, "failed") == 0)
        return TABLE_BAD;
    if (strcmp(state, "unknown") == 0 || strcmp(state, "claimed") == 0)
        return TABLE_WARNING;
    return strcmp(state, "succeeded") == 0 ? TABLE_GOOD : TABLE_PLAIN;
}

static void print_run(struct table *table, const json_t *run)
{
    const json_t *code = json_object_get(run, "exitCode");
    const char *state = member_string(run, "state");

    table_cell(table, TABLE_PLAIN, "%s", member_string(run, "instance"));
    table_cell(table, TABLE_PLAIN, "%s", member_string(run, "tick"));
    table_cell(table, TABLE_PLAIN, "%s", member_string(run, "node"));
    table_cell(table, run_color(state), "%s", state);
    table_cell(table, TABLE_PLAIN, "%lld",
               (long long)json_integer_value(json_object_get(run, "attempt")));
    if (json_is_integer(code))
        table_cell(table, TABLE_PLAIN, "%lld", (long long)json_integer_value(code));
    else
        table_cell(table, TABLE_PLAIN, "-");
    table_cell(table, TABLE_PLAIN, "%s",
               json_is_string(json_object_get(run, "ended")) ? member_string(run, "ended") : "-");
}

static void print_cron(const struct context *context, const json_t *document)
{
    static const char *const columns[] = {"NAME",    "TICK", "NODE",  "STATE",
                                          "ATTEMPT", "EXIT", "ENDED", NULL};
    struct table *table = table_new(context, columns);
    const json_t *app, *run;
    size_t i, k;

    json_array_foreach(json_object_get(document, "items"), i, app)
    {
        const char *next = member_string(app, "nextRun");
        if (strcmp(member_string(app, "kind"), "CronWorkload") != 0)
            continue;
        table_cell(table, TABLE_PLAIN, "%s", member_string(app, "name"));
        table_cell(table, TABLE_PLAIN, "%s", next[0] != '\0' ? next : "-");
        table_cell(table, TABLE_PLAIN, "-");
        table_cell(table, TABLE_PLAIN, "%s", next[0] != '\0' ? "next" : "suspended");
        for (int column = 4; column < 7; column++)
            table_cell(table, TABLE_PLAIN, "-");
        json_array_foreach(json_object_get(app, "runs"), k, run)
        {
            print_run(table, run);
        }
    }
    table_print(table);
}

int cmd_cron(const struct context *context, int argc, char **argv)
{
    char path[256];

    if (argc > 1)
        return usage("cron", "takes one name at most");
    if (argc == 1 && (strlen(argv[0]) > 64 || strcspn(argv[0], " ?#/%&") != strlen(argv[0])))
        return usage("cron", "\"%s\" is no name of a workload", argv[0]);
    snprintf(path, sizeof path, argc == 1 ? "/v1/apps?name=%s" : "/v1/apps%s",
             argc == 1 ? argv[0] : "");
    return show(context, path, print_cron);
}
