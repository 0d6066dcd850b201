/* agentctl doctor: what is wrong with this machine or its flock, how that shows, what to do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/io/os_doctor.h"
#include "tools/agentctl/agentctl.h"

#define FOLDER_MAX 512

/* The agent says which; these are the defaults of its configuration. */
struct known {
    char interface[64], state_dir[FOLDER_MAX], run_dir[FOLDER_MAX];
};

static json_t *finding_json(const char *name, const struct doctor_finding *f)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", name, "result",
                     doctor_result_name(f->result), "cause", f->cause, "evidence", f->evidence,
                     "fix", f->fix);
}

static void add(json_t *items, const char *name, enum doctor_result result, const char *cause,
                const char *evidence, const char *fix)
{
    struct doctor_finding f = {.result = result};

    snprintf(f.cause, sizeof f.cause, "%s", cause);
    snprintf(f.evidence, sizeof f.evidence, "%s", evidence);
    snprintf(f.fix, sizeof f.fix, "%s", fix);
    json_array_append_new(items, finding_json(name, &f));
}

/* Hosts that are no members and have our addresses. */
static void look_for_foreign(json_t *items, const json_t *status)
{
    const json_t *vip;
    bool any = false;
    size_t i;

    json_array_foreach(json_object_get(status, "vips"), i, vip)
    {
        const char *mac = member_string(vip, "foreignMac");
        char text[DOCTOR_TEXT_MAX];
        if (mac[0] == '\0')
            continue;
        any = true;
        snprintf(text, sizeof text, "the host with MAC %s answers for %s (%s)", mac,
                 member_string(vip, "address"), member_string(vip, "name"));
        add(items, "foreign-host", DOCTOR_BAD,
            "An address of the pool belongs to a host that is no member: nobody claims it", text,
            "take it off that host, or leave it out of spec.pool in cluster.yaml");
    }
    if (!any)
        add(items, "foreign-host", DOCTOR_OK, "", "no foreign host answers for our addresses", "");
}

/* Two Pis, no witness: only the gateway can tell which of them holds an address when each reaches
 * it and not the other (an access point that isolates its clients). */
static void look_at_isolation(json_t *items, const json_t *status)
{
    const json_t *vip;
    const char *word = "";
    size_t i;

    json_array_foreach(json_object_get(status, "vips"), i, vip)
    {
        word = member_string(vip, "gatewayRegister");
        if (word[0] != '\0')
            break;
    }
    if (strcmp(word, "kept") == 0)
        add(items, "isolation", DOCTOR_OK, "",
            "the gateway keeps its ARP cache by the last writer, as tested", "");
    else if (strcmp(word, "lost") == 0)
        add(items, "isolation", DOCTOR_WARNING,
            "Two Pis that reach the gateway and not each other may both hold an address",
            "the gateway, tested, does not keep its ARP cache by the last writer, or answers no "
            "echo "
            "requests",
            "run a witness: agentd with role: witness on any third host of the network");
    else if (strcmp(word, "untested") == 0)
        add(items, "isolation", DOCTOR_SKIPPED, "",
            "the gateway is tested once an address is held and both Pis answer", "");
    else
        add(items, "isolation", DOCTOR_OK, "", "no address is decided by two nodes alone", "");
}

static void look_at_members(json_t *items, const json_t *status)
{
    char silent[DOCTOR_TEXT_MAX] = "";
    size_t used = 0;
    size_t count = 0;
    const json_t *node;
    size_t i;

    json_array_foreach(json_object_get(status, "nodes"), i, node)
    {
        count++;
        if (strcmp(member_string(node, "state"), "alive") != 0 && used < sizeof silent)
            used += (size_t)snprintf(silent + used, sizeof silent - used, "%s%s is %s",
                                     used > 0 ? ", " : "", member_string(node, "name"),
                                     member_string(node, "state"));
    }
    if (used > 0)
        add(items, "members", DOCTOR_BAD, "Not all members answer", silent,
            "are they switched on and in the same network? See agentctl members");
    else if (count == 1)
        add(items, "members", DOCTOR_WARNING, "This node is alone: nothing can fail over",
            "1 member", "agentctl token create, and agentctl join on the other");
    else
        add(items, "members", DOCTOR_OK, "", "all members answer", "");
}

/* False: no agent. */
static bool look_at_agent(const struct context *context, json_t *items, struct known *known)
{
    json_t *status = NULL;
    struct err err;

    if (client_request(context, "GET", "/v1/status", NULL, &status, NULL, &err) != ERR_NONE) {
        add(items, "agent", DOCTOR_BAD, "The agent does not answer", err.text,
            "systemctl status agentd; journalctl -u agentd -n 50");
        return false;
    }
    snprintf(known->interface, sizeof known->interface, "%s",
             member_string(json_object_get(status, "machine"), "interface"));
    snprintf(known->state_dir, sizeof known->state_dir, "%s",
             member_string(json_object_get(status, "machine"), "stateDir"));
    snprintf(known->run_dir, sizeof known->run_dir, "%s",
             member_string(json_object_get(status, "machine"), "runDir"));
    if (strcmp(member_string(status, "health"), "ok") == 0)
        add(items, "agent", DOCTOR_OK, "", member_string(status, "headline"), "");
    else
        add(items, "agent", DOCTOR_WARNING, "Something in the flock is not as it should be",
            member_string(status, "headline"), "agentctl status; agentctl events");
    look_at_members(items, status);
    look_for_foreign(items, status);
    look_at_isolation(items, status);
    json_decref(status);
    return true;
}

static void look_at_machine(json_t *items, const struct known *known)
{
    const char *root = getenv("COVEY_DOCTOR_ROOT"); /* of /proc and /sys, in tests */
    char proc[FOLDER_MAX];
    char sys[FOLDER_MAX];
    struct doctor_where where = {.interface = known->interface,
                                 .state_dir = known->state_dir,
                                 .run_dir = known->run_dir,
                                 .proc = proc,
                                 .sys = sys};

    snprintf(proc, sizeof proc, "%s/proc", root != NULL ? root : "");
    snprintf(sys, sizeof sys, "%s/sys", root != NULL ? root : "");
    for (const struct doctor_check *check = doctor_checks; check->name != NULL; check++) {
        struct doctor_finding finding = {.result = DOCTOR_OK};
        check->look(&where, &finding);
        json_array_append_new(items, finding_json(check->name, &finding));
    }
}

static enum table_color color_of(const char *result)
{
    if (strcmp(result, "ok") == 0)
        return TABLE_GOOD;
    return strcmp(result, "bad") == 0       ? TABLE_BAD
           : strcmp(result, "warning") == 0 ? TABLE_WARNING
                                            : TABLE_PLAIN;
}

static void print_findings(const struct context *context, const json_t *items)
{
    static const char *const columns[] = {"CHECK", "RESULT", "WHAT WAS SEEN", NULL};
    struct table *table = table_new(context, columns);
    const json_t *item;
    size_t i;

    json_array_foreach(items, i, item)
    {
        const char *result = member_string(item, "result");
        table_cell(table, TABLE_PLAIN, "%s", member_string(item, "name"));
        table_cell(table, color_of(result), "%s", result);
        table_cell(table, TABLE_PLAIN, "%s", member_string(item, "evidence"));
    }
    table_print(table);
    json_array_foreach(items, i, item)
    {
        if (member_string(item, "cause")[0] == '\0')
            continue;
        printf("\n%s: %s.\n  seen: %s\n  fix:  %s\n", member_string(item, "name"),
               member_string(item, "cause"), member_string(item, "evidence"),
               member_string(item, "fix"));
    }
}

static bool all_good(const json_t *items)
{
    const json_t *item;
    size_t i;

    json_array_foreach(items, i, item)
    {
        if (member_string(item, "cause")[0] != '\0')
            return false;
    }
    return true;
}

int cmd_doctor(const struct context *context, int argc, char **argv)
{
    struct known known = {
        .interface = "wlan0", .state_dir = "/var/lib/covey", .run_dir = "/run/covey"};
    json_t *items = json_array();
    json_t *document;
    bool answers;
    bool good;

    (void)argv;
    if (argc > 0)
        return usage("doctor", "takes no argument: it looks at this machine");
    answers = look_at_agent(context, items, &known);
    look_at_machine(items, &known);
    good = all_good(items);
    if (context->json) {
        document = json_pack("{s:s, s:s, s:b, s:O}", "apiVersion", "covey.dev/v1", "kind", "Doctor",
                             "good", (int)good, "items", items);
        print_json(document);
        json_decref(document);
    } else if (!context->quiet) {
        print_findings(context, items);
    }
    json_decref(items);
    return !answers ? 4 : good ? 0 : 3;
}
