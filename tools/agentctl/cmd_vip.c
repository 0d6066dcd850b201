/* agentctl vip: the virtual addresses, and handing one over. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent/io/os_clock.h"
#include "tools/agentctl/agentctl.h"

#define MOVE_POLL_MS 20
#define MOVE_AGAIN_MS 3000 /* well above the time that a hand-over is given (proto/lease) */

/* "pi2 (for pi1)": voters that have refused this node. */
static void refusals(const json_t *vip, char *text, size_t size)
{
    size_t used = 0;
    size_t i;
    const json_t *vote;

    snprintf(text, size, "-");
    json_array_foreach(json_object_get(vip, "votes"), i, vote)
    {
        const char *for_whom = member_string(vote, "refusedFor");
        if (for_whom[0] == '\0' || used >= size)
            continue;
        used += (size_t)snprintf(text + used, size - used, "%s%s (for %s)", used > 0 ? ", " : "",
                                 member_string(vote, "voter"), for_whom);
    }
}

/* How two Pis that reach the gateway and not each other are kept apart. */
static void print_isolation(const json_t *items)
{
    const json_t *vip;
    size_t i;

    json_array_foreach(items, i, vip)
    {
        const char *word = member_string(vip, "gatewayRegister");
        if (strcmp(word, "lost") == 0)
            printf(
                "\nThe gateway does not keep its ARP cache by the last writer: two Pis that reach "
                "it and not\neach other may both hold an address. A witness (role: witness on a "
                "third host) settles it.\n");
        else if (strcmp(word, "untested") == 0)
            printf(
                "\nThe gateway has not been tested yet: two Pis that reach it and not each other "
                "may both hold\nan address. It is tested when an address is held and both "
                "answer.\n");
        if (word[0] != '\0')
            return;
    }
}

static void print_vips(const struct context *context, const json_t *document)
{
    static const char *const columns[] = {"NAME",  "ADDRESS", "OWNER",   "EPOCH",  "LEASE",
                                          "SINCE", "BEFORE",  "REFUSED", "REASON", NULL};
    struct table *table = table_new(context, columns);
    char buffer[32];
    char refused[160];
    size_t i;
    const json_t *vip;

    json_array_foreach(json_object_get(document, "items"), i, vip)
    {
        const json_t *left = json_object_get(vip, "leaseLeftMs");
        const char *owner = member_string(vip, "owner");
        const char *before = member_string(vip, "before");

        refusals(vip, refused, sizeof refused);
        table_cell(table, TABLE_PLAIN, "%s", member_string(vip, "name"));
        table_cell(table, TABLE_PLAIN, "%s", member_string(vip, "address"));
        table_cell(table, owner[0] != '\0' ? TABLE_GOOD : TABLE_BAD, "%s",
                   owner[0] != '\0' ? owner : "nobody");
        table_cell(table, TABLE_PLAIN, "%s", member_string(vip, "epoch"));
        if (json_is_integer(left))
            table_cell(table, TABLE_PLAIN, "%s%lld ms",
                       json_is_true(json_object_get(vip, "here")) ? "" : "<",
                       (long long)json_integer_value(left));
        else
            table_cell(table, TABLE_PLAIN, "-");
        table_cell(table, TABLE_PLAIN, "%s",
                   age(json_object_get(vip, "since"), buffer, sizeof buffer));
        table_cell(table, TABLE_PLAIN, "%s", before[0] != '\0' ? before : "-");
        table_cell(table, TABLE_PLAIN, "%s", refused);
        table_cell(table,
                   json_is_string(json_object_get(vip, "foreignMac")) ? TABLE_BAD : TABLE_PLAIN,
                   "%s", member_string(vip, "reason"));
    }
    table_print(table);
    print_isolation(json_object_get(document, "items"));
}

static bool owned_by(const json_t *document, const char *address, const char *node)
{
    size_t i;
    const json_t *vip;

    json_array_foreach(json_object_get(document, "items"), i, vip)
    {
        if (strcmp(member_string(vip, "address"), address) == 0)
            return strcmp(member_string(vip, "owner"), node) == 0;
    }
    return false;
}

static int ask(const struct context *context, const char *vip, const char *node, json_t **answer,
               struct err *err)
{
    json_t *body = json_pack("{s:s, s:s}", "vip", vip, "to", node);
    int rc = client_request(context, "POST", "/v1/vips/move", body, answer, NULL, err);

    json_decref(body);
    return rc;
}

/* Until the flock says so, at most the time that the context gives. A hand-over whose invited node
 * was busy or cut off comes to nothing, so it is asked for again; that it cannot be at this moment,
 * since the node does not answer, say, may pass. */
static int wait_for_owner(const struct context *context, const char *address, const char *node)
{
    const struct timespec pause = {.tv_nsec = MOVE_POLL_MS * 1000000L};
    mono_t end = mono_add(os_clock_now(), context->timeout_s * 1000LL);
    mono_t again = mono_add(os_clock_now(), MOVE_AGAIN_MS);
    struct err why = {.code = ERR_NONE};
    struct err err;

    while (mono_before(os_clock_now(), end)) {
        json_t *document = NULL;
        bool there;
        if (client_request(context, "GET", "/v1/vips", NULL, &document, NULL, &err) != ERR_NONE)
            return fail(&err);
        there = owned_by(document, address, node);
        json_decref(document);
        if (there)
            return 0;
        if (mono_reached(os_clock_now(), again)) {
            json_t *answer = NULL;
            why.code = ask(context, address, node, &answer, &why);
            json_decref(answer);
            again = mono_add(os_clock_now(), MOVE_AGAIN_MS);
        }
        nanosleep(&pause, NULL);
    }
    err_set(&err, ERR_TIMEOUT, "%s did not take %s within %ld s: %s", node, address,
            context->timeout_s,
            why.code != ERR_NONE ? why.text : "see agentctl vip and agentctl events");
    return fail(&err);
}

static int move(const struct context *context, const char *vip, const char *node)
{
    json_t *answer = NULL;
    struct err err;
    int status;

    if (ask(context, vip, node, &answer, &err) != ERR_NONE)
        return fail(&err);
    status = wait_for_owner(context, member_string(answer, "address"), node);
    if (status == 0 && context->json)
        print_json(answer);
    else if (status == 0 && !context->quiet)
        printf("%s is held by %s\n", member_string(answer, "address"), node);
    json_decref(answer);
    return status;
}

int cmd_vip(const struct context *context, int argc, char **argv)
{
    if (argc == 0 || (argc == 1 && strcmp(argv[0], "status") == 0))
        return show(context, "/v1/vips", print_vips);
    if (strcmp(argv[0], "move") != 0)
        return usage("vip", "knows no \"%s\"", argv[0]);
    if (argc != 3)
        return usage("vip", "move needs an address (or its name) and a node");
    return move(context, argv[1], argv[2]);
}
