/* agentctl node, keys: who is admitted to the flock, and the keys of its traffic. */
#include <stdio.h>
#include <string.h>

#include "tools/agentctl/agentctl.h"

static void print_nodes(const struct context *context, const json_t *document)
{
    static const char *const columns[] = {"NAME",    "STATE", "MEMBER", "FINGERPRINT",
                                          "ADDRESS", "ID",    NULL};
    struct table *table = table_new(context, columns);
    bool waiting = false;
    size_t i;
    const json_t *node;

    json_array_foreach(json_object_get(document, "items"), i, node)
    {
        const char *state = member_string(node, "state");
        const char *member = member_string(node, "member");

        table_cell(table, TABLE_PLAIN, "%s%s%s", member_string(node, "name"),
                   json_is_true(json_object_get(node, "self")) ? " *" : "",
                   json_is_true(json_object_get(node, "holder")) ? " (cluster key)" : "");
        table_cell(table,
                   strcmp(state, "revoked") == 0   ? TABLE_BAD
                   : strcmp(state, "pending") == 0 ? TABLE_WARNING
                                                   : TABLE_PLAIN,
                   "%s", state);
        table_cell(table, member[0] != '\0' ? state_color(member) : TABLE_PLAIN, "%s", member);
        table_cell(table, TABLE_PLAIN, "%s", member_string(node, "fingerprint"));
        table_cell(table, TABLE_PLAIN, "%s", member_string(node, "address"));
        table_cell(table, TABLE_PLAIN, "%s", member_string(node, "id"));
        waiting = waiting || strcmp(state, "pending") == 0;
    }
    table_print(table);
    if (waiting && !context->quiet)
        printf("\nA node waits to be admitted. Compare its fingerprint with what agentctl status "
               "shows there, then: agentctl node approve FINGERPRINT\n");
}

static int change(const struct context *context, const char *path, const char *field,
                  const char *value)
{
    json_t *body = json_pack("{s:s}", field, value);
    int status = post(context, path, body, "message");

    json_decref(body);
    return status;
}

int cmd_node(const struct context *context, int argc, char **argv)
{
    const char *verb = argc > 0 ? argv[0] : "list";

    if (strcmp(verb, "list") == 0 && argc <= 1)
        return show(context, "/v1/nodes", print_nodes);
    if (strcmp(verb, "approve") == 0)
        return argc == 2 ? change(context, "/v1/nodes/approve", "fingerprint", argv[1])
                         : usage("node", "approve needs the fingerprint of one node");
    if (strcmp(verb, "revoke") == 0)
        return argc == 2 ? change(context, "/v1/nodes/revoke", "node", argv[1])
                         : usage("node", "revoke needs one node: its name, id or fingerprint");
    return usage("node", "needs a verb: list, approve or revoke");
}

static void print_keys(const struct context *context, const json_t *document)
{
    static const char *const columns[] = {"NODE", "MEMBER", "EPOCH", "CLUSTER KEY", NULL};
    struct table *table;
    size_t i;
    const json_t *node;

    printf("newest epoch %lld; %lld revoked; %s\n\n",
           (long long)json_integer_value(json_object_get(document, "epoch")),
           (long long)json_integer_value(json_object_get(document, "revoked")),
           json_is_true(json_object_get(document, "agreed"))
               ? "every living node has it"
               : "not every living node has it yet: it is delivered as soon as it is heard");
    table = table_new(context, columns);
    json_array_foreach(json_object_get(document, "nodes"), i, node)
    {
        const char *member = member_string(node, "member");
        bool current = json_is_true(json_object_get(node, "current"));

        table_cell(table, TABLE_PLAIN, "%s%s", member_string(node, "name"),
                   json_is_true(json_object_get(node, "self")) ? " *" : "");
        table_cell(table, state_color(member), "%s", member);
        table_cell(table, current ? TABLE_GOOD : TABLE_WARNING, "%lld",
                   (long long)json_integer_value(json_object_get(node, "epoch")));
        table_cell(table, TABLE_PLAIN, "%s",
                   json_is_true(json_object_get(node, "holder")) ? "here" : "");
    }
    table_print(table);
}

static int keys_status(const struct context *context)
{
    json_t *document = NULL;
    struct err err;
    int status;

    if (client_request(context, "GET", "/v1/keys", NULL, &document, NULL, &err) != ERR_NONE)
        return fail(&err);
    status = json_is_true(json_object_get(document, "agreed")) ? 0 : err_exit_status(ERR_DEGRADED);
    if (context->json)
        print_json(document);
    else if (!context->quiet)
        print_keys(context, document);
    json_decref(document);
    return status;
}

int cmd_keys(const struct context *context, int argc, char **argv)
{
    const char *verb = argc > 0 ? argv[0] : "status";

    if (argc > 1)
        return usage("keys", "%s takes no argument", verb);
    if (strcmp(verb, "status") == 0)
        return keys_status(context);
    if (strcmp(verb, "rotate") == 0)
        return post(context, "/v1/keys/rotate", NULL, "message");
    return usage("keys", "needs a verb: status or rotate");
}
