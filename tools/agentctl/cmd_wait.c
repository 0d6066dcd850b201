/* agentctl wait, sync: until the flock is as wanted. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/io/os_clock.h"
#include "tools/agentctl/agentctl.h"

#define POLL_MS 200

struct condition {
    bool healthy;
    long members;       /* this many alive; 0: not asked */
    const char *commit; /* applied by every living node; NULL: not asked */
};

static bool holds(const struct condition *c, const json_t *status)
{
    const json_t *nodes = json_object_get(status, "nodes");
    const json_t *node;
    long alive = 0;
    size_t i;

    json_array_foreach(nodes, i, node)
    {
        const json_t *commit = json_object_get(node, "commit");
        if (strcmp(member_string(node, "state"), "alive") != 0)
            continue;
        alive++;
        if (c->commit != NULL &&
            strncmp(member_string(commit, "commit"), c->commit, strlen(c->commit)) != 0)
            return false;
    }
    if (c->members > 0 && alive < c->members)
        return false;
    return !c->healthy || strcmp(member_string(status, "health"), "ok") == 0;
}

/* Polls until @c holds; says on a terminal what is still missing. */
static int await(const struct context *context, const struct condition *c, long timeout_s)
{
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
    bool progress = !context->quiet && isatty(STDERR_FILENO);
    mono_t end = mono_add(os_clock_now(), timeout_s * 1000LL);
    char headline[ERR_TEXT_MAX] = "";
    struct err err;

    for (;;) {
        json_t *status = NULL;
        int rc = client_request(context, "GET", "/v1/status", NULL, &status, NULL, &err);
        bool met = rc == ERR_NONE && holds(c, status);
        const char *now = rc == ERR_NONE ? member_string(status, "headline") : err.text;

        if (!met && progress && strcmp(headline, now) != 0)
            fprintf(stderr, "waiting: %s\n", now);
        snprintf(headline, sizeof headline, "%s", now);
        if (met && context->json)
            print_json(status);
        else if (met && !context->quiet)
            printf("%s\n", headline);
        json_decref(status);
        if (met)
            return 0;
        if (rc == ERR_DENIED)
            return fail(&err);
        if (mono_reached(os_clock_now(), end))
            break;
        nanosleep(&pause, NULL);
    }
    err_set(&err, ERR_TIMEOUT, "after %ld s: %s", timeout_s, headline);
    return fail(&err);
}

int cmd_wait(const struct context *context, int argc, char **argv)
{
    struct condition c = {0};
    long timeout_s = context->timeout_s;

    if (argc < 1)
        return usage("wait", "needs a condition: healthy, members=N or commit=REV");
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "healthy") == 0)
            c.healthy = true;
        else if (strncmp(argv[i], "members=", 8) == 0 && atol(argv[i] + 8) > 0)
            c.members = atol(argv[i] + 8);
        else if (strncmp(argv[i], "commit=", 7) == 0 && strlen(argv[i]) > 10)
            c.commit = argv[i] + 7;
        else
            return usage("wait", "knows no condition \"%s\"", argv[i]);
    }
    return await(context, &c, timeout_s);
}

int cmd_sync(const struct context *context, int argc, char **argv)
{
    struct condition c = {.healthy = true};
    bool wait = argc == 1 && strcmp(argv[0], "--wait") == 0;
    json_t *document = NULL;
    char commit[64];
    struct err err;

    if (argc > 0 && !wait)
        return usage("sync", "does not understand \"%s\"", argv[0]);
    if (client_request(context, "POST", "/v1/sync", NULL, &document, NULL, &err) != ERR_NONE)
        return fail(&err);
    snprintf(commit, sizeof commit, "%s", member_string(document, "commit"));
    if (!wait) {
        if (context->json)
            print_json(document);
        else if (!context->quiet)
            printf("%s\n", member_string(document, "message"));
        json_decref(document);
        return 0;
    }
    json_decref(document);
    if (commit[0] != '\0')
        c.commit = commit;
    return await(context, &c, context->timeout_s);
}
