/* agentctl events: what happened, newest last; -f follows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/agentctl/agentctl.h"

#define FOLLOW_MS 500

static void print_event(const struct context *context, const json_t *event)
{
    static const char *const escape[] = {[TABLE_PLAIN] = "",
                                         [TABLE_GOOD] = "",
                                         [TABLE_WARNING] = "\033[33m",
                                         [TABLE_BAD] = "\033[31m"};
    const char *severity = member_string(event, "severity");
    enum table_color color = strcmp(severity, "error") == 0     ? TABLE_BAD
                             : strcmp(severity, "warning") == 0 ? TABLE_WARNING
                                                                : TABLE_PLAIN;
    bool colored = context->color && color != TABLE_PLAIN;

    printf("%s  %s%-7s%s  %-24s  %s\n", member_string(event, "time"), colored ? escape[color] : "",
           severity, colored ? "\033[0m" : "", member_string(event, "subject"),
           member_string(event, "text"));
}

/* Prints what is newer than *number and moves it on. */
static int print_newer(const struct context *context, long long *number, long limit)
{
    json_t *document = NULL;
    const json_t *event;
    struct err err;
    char path[96];
    size_t i;

    snprintf(path, sizeof path, "/v1/events?since=%lld&limit=%ld", *number, limit);
    if (client_request(context, "GET", path, NULL, &document, NULL, &err) != ERR_NONE)
        return fail(&err);
    json_array_foreach(json_object_get(document, "items"), i, event)
    {
        long long n = (long long)json_integer_value(json_object_get(event, "number"));
        if (context->json)
            print_json(event);
        else
            print_event(context, event);
        *number = n; /* they begin anew with each start of the agent */
    }
    json_decref(document);
    fflush(stdout);
    return 0;
}

int cmd_events(const struct context *context, int argc, char **argv)
{
    const struct timespec pause = {.tv_nsec = FOLLOW_MS * 1000000L};
    bool follow = false;
    long limit = 50;
    long long number = 0;
    char path[64];
    int status;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "-f") == 0)
            follow = true;
        else if (strcmp(argv[i], "-n") == 0 && i + 1 < argc && atol(argv[i + 1]) > 0)
            limit = atol(argv[++i]);
        else
            return usage("events", "does not understand \"%s\"", argv[i]);
    }
    if (context->json && !follow) {
        snprintf(path, sizeof path, "/v1/events?limit=%ld", limit);
        return show(context, path, NULL);
    }
    status = print_newer(context, &number, limit);
    while (follow && status == 0) {
        nanosleep(&pause, NULL);
        status = print_newer(context, &number, 200);
    }
    return status;
}
