/* agentctl init, token, join, drain, undrain: who belongs to the flock. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/agentctl/agentctl.h"

#define TOKEN_TEXT_MAX 2048

/* Sends @body to @path and prints the answer, as JSON or the member @field. */
static int post(const struct context *context, const char *path, const json_t *body,
                const char *field)
{
    json_t *document = NULL;
    struct err err;

    if (client_request(context, "POST", path, body, &document, NULL, &err) != ERR_NONE)
        return fail(&err);
    if (context->json && document != NULL)
        print_json(document);
    else if (!context->quiet)
        printf("%s\n", member_string(document, field));
    json_decref(document);
    return 0;
}

int cmd_init(const struct context *context, int argc, char **argv)
{
    (void)argv;
    if (argc > 0)
        return usage("init", "takes no argument");
    return post(context, "/v1/init", NULL, "message");
}

/* "30s", "10m", "24h", "7d" or seconds; 0 if it is none of them. */
static json_int_t duration(const char *text)
{
    char *end;
    json_int_t value = strtoll(text, &end, 10);
    json_int_t unit = 1;

    if (end == text || value <= 0 || value > 1000000)
        return 0;
    if (*end == 'm')
        unit = 60;
    else if (*end == 'h')
        unit = 3600;
    else if (*end == 'd')
        unit = 86400;
    else if (*end != 's' && *end != '\0')
        return 0;
    return *end != '\0' && end[1] != '\0' ? 0 : value * unit;
}

int cmd_token(const struct context *context, int argc, char **argv)
{
    json_int_t ttl = 3600;
    long uses = 1;
    json_t *body;
    int status;

    if (argc < 1 || strcmp(argv[0], "create") != 0)
        return usage("token", "needs a verb: create");
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--ttl") == 0 && i + 1 < argc)
            ttl = duration(argv[++i]);
        else if (strcmp(argv[i], "--uses") == 0 && i + 1 < argc)
            uses = atol(argv[++i]);
        else
            return usage("token", "does not understand \"%s\"", argv[i]);
    }
    if (ttl <= 0 || uses < 1 || uses > 1000)
        return usage("token", "--ttl wants a time like 1h, --uses a number from 1 to 1000");
    body = json_pack("{s:I, s:I}", "ttlSeconds", ttl, "uses", (json_int_t)uses);
    status = post(context, "/v1/tokens", body, "token");
    json_decref(body);
    return status;
}

/* A token is a secret: "-" reads it from standard input, so that it stands in no history. */
static const char *read_token(const char *argument, char *buffer, size_t size)
{
    if (strcmp(argument, "-") != 0)
        return argument;
    if (fgets(buffer, (int)size, stdin) == NULL)
        return "";
    buffer[strcspn(buffer, "\r\n")] = '\0';
    return buffer;
}

int cmd_join(const struct context *context, int argc, char **argv)
{
    struct context patient = *context;
    char buffer[TOKEN_TEXT_MAX];
    json_t *body;
    int status;

    if (argc != 1)
        return usage("join", "needs the token, or - to read it from standard input");
    if (patient.timeout_s < 30)
        patient.timeout_s = 30; /* the agent itself gives up earlier, and says why */
    if (!context->quiet && isatty(STDERR_FILENO))
        fprintf(stderr, "Asking to be admitted …\n");
    body = json_pack("{s:s}", "token", read_token(argv[0], buffer, sizeof buffer));
    status = post(&patient, "/v1/join", body, "message");
    json_decref(body);
    return status;
}

static int set_drain(const struct context *context, const char *name, int argc, bool on)
{
    json_t *body;
    int status;

    if (argc > 0)
        return usage(name, "takes no argument: it is about the node that is asked");
    body = json_pack("{s:b}", "drain", (int)on);
    status = post(context, "/v1/drain", body, "message");
    json_decref(body);
    return status;
}

int cmd_drain(const struct context *context, int argc, char **argv)
{
    (void)argv;
    return set_drain(context, "drain", argc, true);
}

int cmd_undrain(const struct context *context, int argc, char **argv)
{
    (void)argv;
    return set_drain(context, "undrain", argc, false);
}
