#include "agent/web/status_json.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define UTF8_MAX 4 /* bytes of a character */

const char *status_health_name(enum status_health health)
{
    static const char *const names[] = {
        [STATUS_OK] = "ok", [STATUS_DEGRADED] = "degraded", [STATUS_FAILED] = "failed"};
    return names[health];
}

json_t *status_json_time(int64_t seconds)
{
    char text[32];
    time_t t = (time_t)seconds;
    struct tm tm;

    if (seconds == 0 || gmtime_r(&t, &tm) == NULL ||
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        return json_null();
    return json_string(text);
}

json_t *status_json_list(const char *kind, json_t *items)
{
    return items == NULL ? NULL
                         : json_pack("{s:s, s:s, s:o}", "apiVersion", API_VERSION, "kind", kind,
                                     "items", items);
}

/* JSON is UTF-8. A text that was cut within a character ends before it; one that is not UTF-8 at
 * all is left out, rather than the document. */
static json_t *text(const char *value)
{
    size_t len = value != NULL ? strlen(value) : 0;

    for (size_t cut = 0; cut < UTF8_MAX && cut <= len; cut++) {
        json_t *string = json_stringn(value != NULL ? value : "", len - cut);
        if (string != NULL)
            return string;
    }
    return json_string("");
}

static json_t *optional_int(int64_t value, bool present)
{
    return present ? json_integer(value) : json_null();
}

static json_t *address(const struct addr *addr, bool with_port)
{
    char buffer[ADDR_TEXT];

    if (addr->family == 0)
        return json_null();
    if (with_port)
        addr_format(addr, buffer);
    else
        addr_format_ip(addr, buffer);
    return json_string(buffer);
}

static json_t *commit(const struct value_commit *value)
{
    static const char *const states[] = {[VALUE_COMMIT_NONE] = "none",
                                         [VALUE_COMMIT_APPLIED] = "applied",
                                         [VALUE_COMMIT_FAILED] = "failed",
                                         [VALUE_COMMIT_DIVERGED] = "diverged"};
    const char *state = value->state <= VALUE_COMMIT_DIVERGED ? states[value->state] : "unknown";

    static const char *const healths[] = {[VALUE_HEALTH_NONE] = "none",
                                          [VALUE_HEALTH_TRYING] = "trying",
                                          [VALUE_HEALTH_READY] = "ready",
                                          [VALUE_HEALTH_GOOD] = "good",
                                          [VALUE_HEALTH_UNHEALTHY] = "unhealthy",
                                          [VALUE_HEALTH_BACK] = "rolled back",
                                          [VALUE_HEALTH_HELD] = "held"};
    const char *health = value->health <= VALUE_HEALTH_HELD ? healths[value->health] : "unknown";

    return json_pack("{s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "commit", text(value->commit),
                     "state", state, "health", health, "givenUp", text(value->bad), "next",
                     text(value->next), "applied", status_json_time(value->applied), "subject",
                     text(value->subject), "reason", text(value->reason));
}

static json_t *node(const struct status_node *n)
{
    char id[NODE_ID_TEXT];

    node_id_format(n->id, id);
    return json_pack("{s:o, s:s, s:b, s:s, s:o, s:o, s:o, s:s, s:o, s:o, s:I, s:I, s:b, s:o, s:I, "
                     "s:b}",
                     "name", text(n->name), "id", id, "self", (int)n->self, "state",
                     status_member_state_name(n->state), "address", address(&n->addr, true),
                     "heardMs", optional_int(n->heard_ms, n->heard_ms >= 0), "rttMs",
                     optional_int(n->rtt_ms, n->rtt_ms >= 0), "role",
                     n->role == VALUE_ROLE_WITNESS ? "witness" : "agent", "version",
                     text(n->version), "started", status_json_time(n->facts.started), "cpus",
                     (json_int_t)n->facts.cpus, "memoryMiB", (json_int_t)n->facts.memory_mib,
                     "draining", (int)n->facts.draining, "commit", commit(&n->commit), "epoch",
                     (json_int_t)n->keys.epoch, "holder", (int)n->keys.holder);
}

json_t *status_json_nodes(const struct status *status)
{
    json_t *items = json_array();

    for (size_t i = 0; items != NULL && i < status->node_count; i++)
        json_array_append_new(items, node(&status->nodes[i]));
    return items;
}

json_t *status_json_paths(const struct status *status)
{
    json_t *items = json_array();

    for (size_t i = 0; items != NULL && i < status->path_count; i++) {
        const struct status_path *p = &status->paths[i];
        const char *over = !p->hears ? NULL : p->stream ? "tcp" : "udp";
        json_array_append_new(items,
                              json_pack("{s:o, s:o, s:b, s:s?, s:o, s:i}", "to", text(p->to),
                                        "from", text(p->from), "hears", (int)p->hears, "over", over,
                                        "rttMs", optional_int(p->rtt_ms, p->rtt_ms > 0),
                                        "lossPercent", (int)p->loss_pct));
    }
    return items;
}

/* 64 bits: a number of JSON would lose the lower ones in many readers. */
static json_t *epoch(uint64_t value)
{
    char digits[NODE_ID_TEXT];

    if (value == 0)
        return json_null();
    node_id_format((node_id){value}, digits);
    return json_string(digits);
}

static json_t *votes(const struct status_vip *v)
{
    json_t *items = json_array();

    for (uint8_t i = 0; items != NULL && i < v->vote_count; i++)
        json_array_append_new(
            items, json_pack("{s:o, s:I, s:o}", "voter", text(v->votes[i].voter), "grantedMs",
                             (json_int_t)v->votes[i].granted_ms, "refusedFor",
                             v->votes[i].refused_for[0] != '\0' ? text(v->votes[i].refused_for)
                                                                : json_null()));
    return items;
}

static json_t *mac(const struct status_vip *v)
{
    const uint8_t *m = v->foreign_mac;
    char buffer[18];

    if (!v->foreign)
        return json_null();
    snprintf(buffer, sizeof buffer, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
             m[5]);
    return json_string(buffer);
}

json_t *status_json_vips(const struct status *status)
{
    json_t *items = json_array();

    for (size_t i = 0; items != NULL && i < status->vip_count; i++) {
        const struct status_vip *v = &status->vips[i];
        json_array_append_new(
            items,
            json_pack("{s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "name",
                      text(v->name), "app", text(v->app), "address", address(&v->address, false),
                      "owner", v->owner.v == 0 ? json_null() : text(v->owner_name), "here",
                      (int)v->here, "epoch", epoch(v->epoch), "leaseLeftMs",
                      optional_int(v->left_ms, v->left_ms >= 0), "since",
                      status_json_time(v->since), "before",
                      v->before != NULL && v->before[0] != '\0' ? text(v->before) : json_null(),
                      "reason", text(v->reason), "foreignMac", mac(v), "gatewayRegister",
                      v->gateway_register != NULL && v->gateway_register[0] != '\0'
                          ? text(v->gateway_register)
                          : json_null(),
                      "votes", votes(v)));
    }
    return items;
}

/* What is left changed about @subject on @node, or null. */
static json_t *drift(const struct status *status, const char *subject, const char *node)
{
    const struct status_drift *d = status_drift_of(status, subject, node);

    return d != NULL ? text(d->value.what) : json_null();
}

static json_t *instance(const struct status *status, const struct status_instance *i)
{
    json_t *ports = json_object();
    char generation[NODE_ID_TEXT];
    char subject[INSTANCE_MAX + 8];

    for (uint8_t p = 0; p < i->value.port_count; p++)
        json_object_set_new(ports, i->value.ports[p].name, json_integer(i->value.ports[p].port));
    node_id_format((node_id){i->value.generation}, generation);
    snprintf(subject, sizeof subject, "app/%s", i->name);
    return json_pack(
        "{s:o, s:o, s:b, s:s, s:I, s:I, s:o, s:o, s:o, s:s, s:o, s:o}", "name", text(i->name),
        "node", text(i->node_name), "nodeAlive", (int)i->node_alive, "state",
        status_instance_state_name(i->value.state), "pid", (json_int_t)i->value.pid, "restarts",
        (json_int_t)i->value.restarts, "since", status_json_time(i->value.since), "exitCode",
        optional_int(i->value.exit_code, i->value.exit_code >= 0), "ports", ports, "generation",
        generation, "reason", text(i->value.reason), "drift", drift(status, subject, i->node_name));
}

static const char *run_state(const struct status_run *run)
{
    if (run->unknown)
        return "unknown";
    if (run->value.state == VALUE_RUN_ENDED)
        return run->value.exit_code == 0 ? "succeeded" : "failed";
    return run->value.state == VALUE_RUN_RUNNING ? "running" : "claimed";
}

static json_t *runs(const struct status_app *a)
{
    json_t *items = json_array();

    for (size_t i = 0; items != NULL && i < a->run_count; i++) {
        const struct status_run *run = &a->runs[i];
        bool ended = run->value.state == VALUE_RUN_ENDED;
        json_array_append_new(
            items,
            json_pack("{s:o, s:o, s:o, s:s, s:i, s:o, s:o, s:o}", "tick",
                      status_json_time(run->value.tick), "node", text(run->node_name), "instance",
                      json_sprintf("%s.%u", a->name, (unsigned)run->value.process), "state",
                      run_state(run), "attempt", (int)run->value.attempt, "exitCode",
                      ended ? json_integer(run->value.exit_code) : json_null(), "started",
                      status_json_time(run->value.started), "ended",
                      status_json_time(ended ? run->value.ended : 0)));
    }
    return items;
}

static json_t *suspended(const struct value_suspend *s)
{
    if (s == NULL)
        return json_null();
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "by", text(s->by), "since",
                     status_json_time(s->stamp / 1000), "until", status_json_time(s->until),
                     "commit", text(s->commit), "reason", text(s->reason));
}

json_t *status_json_apps(const struct status *status)
{
    json_t *items = json_array();

    for (size_t k = 0; items != NULL && k < status->app_count; k++) {
        const struct status_app *a = &status->apps[k];
        json_t *instances = json_array();
        json_t *item;
        for (size_t i = 0; i < a->count; i++)
            json_array_append_new(instances, instance(status, &status->instances[a->first + i]));
        item = json_pack(
            "{s:o, s:o, s:s, s:o, s:I, s:I, s:b, s:o, s:o, s:o, s:o, s:o}", "name", text(a->name),
            "app", text(a->app), "kind", a->kind, "file", text(a->file), "desired",
            (json_int_t)a->desired, "ready", (json_int_t)a->ready, "off", a->off, "schedule",
            a->schedule != NULL ? text(a->schedule) : json_null(), "nextRun",
            status_json_time(a->next_run), "suspended", suspended(a->suspended), "pending",
            a->pending != NULL ? text(a->pending) : json_null(), "instances", instances);
        if (a->run_count > 0)
            json_object_set_new(item, "runs", runs(a));
        json_array_append_new(items, item);
    }
    return items;
}

static json_t *foreign(const struct status *status)
{
    json_t *items = json_array();

    for (size_t i = 0; items != NULL && i < status->foreign_count; i++) {
        const struct desired_foreign *f = &status->foreign[i];
        json_array_append_new(items,
                              json_pack("{s:o, s:I, s:o, s:o, s:o}", "file", text(f->file), "line",
                                        (json_int_t)f->line, "apiVersion", text(f->api_version),
                                        "kind", text(f->kind), "name", text(f->name)));
    }
    return items;
}

static json_t *drifts(const struct status *status)
{
    json_t *items = json_array();

    for (size_t i = 0; items != NULL && i < status->drift_count; i++) {
        const struct status_drift *d = &status->drifts[i];
        json_array_append_new(items, json_pack("{s:o, s:o, s:o, s:o, s:o}", "subject",
                                               text(d->subject), "node", text(d->node_name), "app",
                                               text(d->value.app), "what", text(d->value.what),
                                               "since", status_json_time(d->value.since)));
    }
    return items;
}

json_t *status_json(const struct status *status)
{
    char id[NODE_ID_TEXT];

    node_id_format(status->self, id);
    return json_pack(
        "{s:s, s:s, s:o, s:s, s:o, s:o, s:{s:o, s:s}, s:I, s:b, s:o, s:o, s:o, s:o, s:o}",
        "apiVersion", API_VERSION, "kind", "Status", "time", status_json_time(status->now),
        "health", status_health_name(status->health), "headline", text(status->headline), "cluster",
        text(status->cluster), "self", "name", text(status->self_name), "id", id, "leaseMs",
        (json_int_t)status->lease_ms, "agreed", (int)status->agreed, "nodes",
        status_json_nodes(status), "vips", status_json_vips(status), "apps",
        status_json_apps(status), "drift", drifts(status), "waitingForK3s", foreign(status));
}
