/* agentctl upgrade: the agent becomes a new program, and stays what it was if that fails. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/agentctl/agentctl.h"

#define WAIT_S 45 /* longer than a trial lasts */
#define POLL_MS 200

static int report(const struct context *context, const json_t *answer)
{
    const char *state = json_string_value(json_object_get(answer, "state"));
    bool failed = state == NULL || strcmp(state, "done") != 0;

    if (context->json)
        print_json(answer);
    else if (failed)
        fprintf(stderr, "agentctl: the upgrade failed: %s\n",
                json_string_value(json_object_get(answer, "failure")));
    else
        printf("upgraded from %s to %s: %lld ms without supervision, and no workload was touched\n",
               json_string_value(json_object_get(answer, "from")),
               json_string_value(json_object_get(answer, "version")),
               (long long)json_integer_value(json_object_get(answer, "gapMs")));
    return failed ? 1 : 0;
}

static int follow(const struct context *context)
{
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
    struct err err = {.code = ERR_NONE};

    for (int i = 0; i < WAIT_S * 1000 / POLL_MS; i++) {
        json_t *answer = NULL;
        const char *state;
        int status;
        nanosleep(&pause, NULL);
        /* For a moment nobody answers. */
        if (client_request(context, "GET", "/v1/upgrade", NULL, &answer, NULL, &err) != ERR_NONE)
            continue;
        state = json_string_value(json_object_get(answer, "state"));
        if (state == NULL || strcmp(state, "trial") != 0) {
            status = report(context, answer);
            json_decref(answer);
            return status;
        }
        json_decref(answer);
    }
    err_set(&err, ERR_TIMEOUT, "the agent does not say how the upgrade went; see agentctl events");
    return fail(&err);
}

int cmd_upgrade(const struct context *context, int argc, char **argv)
{
    char path[PATH_MAX];
    json_t *body = json_object();
    char *text = NULL;
    struct err err;
    int rc;

    if (argc > 1) {
        json_decref(body);
        return usage("upgrade", "takes at most one program");
    }
    if (argc == 1) {
        if (realpath(argv[0], path) == NULL) {
            json_decref(body);
            err_set(&err, ERR_NOTFOUND, "there is no program %s", argv[0]);
            return fail(&err);
        }
        json_object_set_new(body, "program", json_string(path));
    }
    rc = client_request(context, "POST", "/v1/upgrade", body, NULL, &text, &err);
    json_decref(body);
    free(text);
    return rc == ERR_NONE ? follow(context) : fail(&err);
}
