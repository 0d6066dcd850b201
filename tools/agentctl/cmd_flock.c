/* agentctl init, token, join, drain, undrain: who belongs to the flock. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/agentctl/agentctl.h"

#define TOKEN_TEXT_MAX 2048

int cmd_init(const struct context *context, int argc, char **argv)
{
    (void)argv;
    if (argc > 0)
        return usage("init", "takes no argument");
    return post(context, "/v1/init", NULL, "message");
}

/* "30s", "10m", "24h", "7d" or seconds; 0 if it is none of them. */
json_int_t duration(const char *text)
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

static int token_create(const struct context *context, int argc, char **argv)
{
    json_int_t ttl = 3600;
    long uses = 1;
    json_t *body;
    int status;

    for (int i = 0; i < argc; i++) {
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

static void print_tokens(const struct context *context, const json_t *document)
{
    static const char *const columns[] = {"ID", "STATE", "EXPIRES", "USES LEFT", "USED", NULL};
    struct table *table = table_new(context, columns);
    size_t i;
    const json_t *token;

    json_array_foreach(json_object_get(document, "items"), i, token)
    {
        const char *state = member_string(token, "state");

        table_cell(table, TABLE_PLAIN, "%s", member_string(token, "id"));
        table_cell(table, strcmp(state, "valid") == 0 ? TABLE_GOOD : TABLE_PLAIN, "%s", state);
        table_cell(table, TABLE_PLAIN, "%s", member_string(token, "expires"));
        table_cell(table, TABLE_PLAIN, "%lld",
                   (long long)json_integer_value(json_object_get(token, "usesLeft")));
        table_cell(table, TABLE_PLAIN, "%lld",
                   (long long)json_integer_value(json_object_get(token, "used")));
    }
    table_print(table);
}

int cmd_token(const struct context *context, int argc, char **argv)
{
    const char *verb = argc > 0 ? argv[0] : "";
    json_t *body;
    int status;

    if (strcmp(verb, "create") == 0)
        return token_create(context, argc - 1, argv + 1);
    if (strcmp(verb, "list") == 0 && argc == 1)
        return show(context, "/v1/tokens", print_tokens);
    if (strcmp(verb, "revoke") != 0)
        return usage("token", "needs a verb: create, list or revoke");
    if (argc != 2)
        return usage("token", "revoke needs the id of one token");
    body = json_pack("{s:s}", "id", argv[1]);
    status = post(context, "/v1/tokens/revoke", body, "message");
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
        return usage("join", "needs the token, - to read it from standard input, or an address");
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
