/* agentctl logs: the lines of a workload's instances. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/agentctl/agentctl.h"

int cmd_logs(const struct context *context, int argc, char **argv)
{
    const char *app = NULL;
    char *text = NULL;
    struct err err;
    char path[256];
    long lines = 100;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "-n") == 0 && i + 1 < argc && atol(argv[i + 1]) > 0)
            lines = atol(argv[++i]);
        else if (argv[i][0] != '-' && app == NULL)
            app = argv[i];
        else
            return usage("logs", "does not understand \"%s\"", argv[i]);
    }
    if (app == NULL)
        return usage("logs", "needs the name of a workload or of one of its instances");
    if (strlen(app) > 128 || strcspn(app, " ?#/%&") != strlen(app))
        return usage("logs", "\"%s\" is no name of a workload", app);
    snprintf(path, sizeof path, "/v1/logs?name=%s&lines=%ld", app, lines);
    if (client_request(context, "GET", path, NULL, NULL, &text, &err) != ERR_NONE)
        return fail(&err);
    fputs(text, stdout);
    free(text);
    return 0;
}
