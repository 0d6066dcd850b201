/* agentctl suspend, resume: whether commits reach an app. */
#include <stdio.h>
#include <string.h>

#include "tools/agentctl/agentctl.h"

#define FOR_DEFAULT_S 86400

int cmd_suspend(const struct context *context, int argc, char **argv)
{
    const char *app = NULL, *reason = NULL;
    json_int_t for_s = FOR_DEFAULT_S;
    json_t *body;
    int status;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--reason") == 0 && i + 1 < argc) {
            reason = argv[++i];
        } else if (strcmp(argv[i], "--for") == 0 && i + 1 < argc) {
            bool forever = strcmp(argv[++i], "ever") == 0;
            for_s = forever ? 0 : duration(argv[i]);
            if (for_s == 0 && !forever)
                return usage("suspend", "--for wants a time like 2h, or ever");
        } else if (argv[i][0] != '-' && app == NULL) {
            app = argv[i];
        } else {
            return usage("suspend", "does not understand \"%s\"", argv[i]);
        }
    }
    if (app == NULL)
        return usage("suspend", "needs the name of an app, a folder below apps/");
    if (reason == NULL || reason[0] == '\0')
        return usage("suspend", "needs a --reason, for those who will wonder");
    body =
        json_pack("{s:s, s:s, s:I}", "app", app, "reason", reason, "forSeconds", (json_int_t)for_s);
    if (body == NULL)
        return usage("suspend", "the name and the reason must be UTF-8");
    status = post(context, "/v1/suspend", body, "message");
    json_decref(body);
    return status;
}

int cmd_resume(const struct context *context, int argc, char **argv)
{
    json_t *body;
    int status;

    if (argc != 1)
        return usage("resume", "needs the name of an app");
    body = json_pack("{s:s}", "app", argv[0]);
    if (body == NULL)
        return usage("resume", "the name must be UTF-8");
    status = post(context, "/v1/resume", body, "message");
    json_decref(body);
    return status;
}
