/* What the control socket may ask, and how requests are answered. Changes are made by this socket
 * alone, whose file mode and group say who may use it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/daemon/agent.h"
#include "agent/daemon/agent_api.h"
#include "agent/daemon/agent_logs.h"
#include "agent/daemon/agent_metrics.h"
#include "agent/daemon/agent_upgrade.h"
#include "agent/io/os_clock.h"

/* ---- documents ---- */

static json_t *event_json(const struct agent_event *event)
{
    static const char *const severities[] = {
        [EFFECT_INFO] = "info", [EFFECT_WARNING] = "warning", [EFFECT_ERROR] = "error"};

    return json_pack("{s:I, s:o, s:s, s:s, s:s}", "number", (json_int_t)event->number, "time",
                     status_json_time(event->time_ms / 1000), "severity",
                     severities[event->severity], "subject", event->subject, "text", event->text);
}

json_t *api_events(const struct agent *agent, uint64_t since, uint64_t limit)
{
    json_t *items = json_array();
    uint64_t first =
        agent->event_count > AGENT_EVENTS_MAX ? agent->event_count - AGENT_EVENTS_MAX : 0;

    if (first < since && since <= agent->event_count) /* else: a number of an earlier life */
        first = since;
    if (agent->event_count - first > limit)
        first = agent->event_count - limit;
    for (uint64_t n = first; n < agent->event_count; n++)
        json_array_append_new(items, event_json(&agent->events[n % AGENT_EVENTS_MAX]));
    return items;
}

static json_t *wire_json(const struct agent *agent)
{
    const struct wire_counters *counters = channel_counters(agent->channel);
    json_t *dropped = json_object();

    for (int reason = 0; reason < WIRE_REASONS; reason++)
        if (reason != WIRE_OK)
            json_object_set_new(dropped, wire_reason_name(reason),
                                json_integer((json_int_t)counters->count[reason]));
    return json_pack("{s:I, s:I, s:I, s:o}", "accepted", (json_int_t)counters->count[WIRE_OK],
                     "sentBytes", (json_int_t)agent->sent_bytes, "sentLeaseBytes",
                     (json_int_t)agent->sent_lease_bytes, "dropped", dropped);
}

int api_take_status(struct agent *agent, struct status **status)
{
    return node_status(agent->node, os_clock_now(), os_clock_wall_ms() / 1000, status);
}

/* What a command on this machine needs to know of it. */
static json_t *machine_json(const struct agent *agent)
{
    return json_pack("{s:s, s:s, s:s}", "interface", agent->config->interface, "stateDir",
                     agent->config->state_dir, "runDir", agent->config->run_dir);
}

json_t *api_status(struct agent *agent)
{
    struct status *status = NULL;
    json_t *document;
    char waits[256];

    if (agent->node == NULL)
        return json_pack("{s:s, s:s, s:s, s:s, s:{s:s}, s:b, s:[], s:[], s:[], s:[], s:o}",
                         "apiVersion", API_VERSION, "kind", "Status", "health", "degraded",
                         "headline",
                         agent->revoked ? AGENT_REVOKED_TEXT
                         : agent_join_waits(agent, waits, sizeof waits)
                             ? waits
                             : "This node is in no flock yet: agentctl init founds one, "
                               "agentctl join TOKEN joins one",
                         "self", "name", agent->name, "agreed", 0, "nodes", "vips", "apps",
                         "waitingForK3s", "machine", machine_json(agent));
    if (api_take_status(agent, &status) != ERR_NONE)
        return NULL;
    document = status_json(status);
    status_free(status);
    if (document == NULL)
        return NULL;
    json_object_set_new(document, "wire", wire_json(agent));
    json_object_set_new(document, "machine", machine_json(agent));
    if (agent->revoked) {
        json_object_set_new(document, "health", json_string("failed"));
        json_object_set_new(document, "headline", json_string(AGENT_REVOKED_TEXT));
    }
    return document;
}

void api_reply_json(struct http_request *request, unsigned code, json_t *document)
{
    char *text = document != NULL ? json_dumps(document, JSON_COMPACT) : NULL;

    json_decref(document);
    if (text == NULL)
        uv_http_text(request, 500, "%s\n", err_text(ERR_NOMEM));
    else
        uv_http_reply(request, code, "application/json", text, strlen(text), NULL);
}

static unsigned status_of(int code)
{
    switch (code) {
    case ERR_INVALID:
    case ERR_USAGE:
    case ERR_LIMIT:
    case ERR_VERSION:
        return 400;
    case ERR_DENIED:
    case ERR_AUTH:
        return 403;
    case ERR_NOTFOUND:
        return 404;
    case ERR_EXISTS:
    case ERR_CONFLICT:
    case ERR_BUSY:
        return 409;
    case ERR_TIMEOUT:
        return 504;
    case ERR_UNREACHABLE:
        return 503;
    default:
        return 500;
    }
}

void api_reply_error(struct http_request *request, const struct err *err)
{
    uv_http_text(request, status_of(err->code), "%s\n", err->text);
}

void api_reply_message(struct http_request *request, const char *kind, const char *message)
{
    api_reply_json(
        request, 200,
        json_pack("{s:s, s:s, s:s}", "apiVersion", API_VERSION, "kind", kind, "message", message));
}

/* ---- reading ---- */
static long query_number(const struct http_request *request, const char *name, long otherwise)
{
    const char *text = http_query(request, name);
    char *end;
    long value = text != NULL ? strtol(text, &end, 10) : 0;

    return text == NULL || *text == '\0' || *end != '\0' || value < 0 ? otherwise : value;
}

static void get_status(struct agent *agent, struct http_request *request)
{
    api_reply_json(request, 200, api_status(agent));
}

static void get_list(struct agent *agent, struct http_request *request, const char *kind,
                     json_t *(*items)(const struct status *status))
{
    struct status *status;

    if (api_take_status(agent, &status) != ERR_NONE) {
        uv_http_text(request, 500, "%s\n", err_text(ERR_NOMEM));
        return;
    }
    api_reply_json(request, 200, status_json_list(kind, items(status)));
    status_free(status);
}

static void get_members(struct agent *agent, struct http_request *request)
{
    get_list(agent, request, "MemberList", status_json_nodes);
}

static void get_net(struct agent *agent, struct http_request *request)
{
    get_list(agent, request, "PathList", status_json_paths);
}

static void get_vips(struct agent *agent, struct http_request *request)
{
    get_list(agent, request, "VirtualIPList", status_json_vips);
}

static void get_apps(struct agent *agent, struct http_request *request)
{
    const char *name = http_query(request, "name");
    struct status *status;
    json_t *items;
    json_t *found = NULL;
    json_t *app;
    size_t i;

    if (name == NULL) {
        get_list(agent, request, "WorkloadList", status_json_apps);
        return;
    }
    if (api_take_status(agent, &status) != ERR_NONE) {
        uv_http_text(request, 500, "%s\n", err_text(ERR_NOMEM));
        return;
    }
    items = status_json_apps(status);
    status_free(status);
    json_array_foreach(items, i, app)
    {
        const char *candidate = json_string_value(json_object_get(app, "name"));
        if (candidate != NULL && strcmp(candidate, name) == 0)
            found = app;
    }
    if (found == NULL)
        uv_http_text(request, 404,
                     "there is no workload %s in the desired state. See agentctl apps\n", name);
    else
        api_reply_json(request, 200, status_json_list("WorkloadList", json_pack("[O]", found)));
    json_decref(items);
}

static void get_events(struct agent *agent, struct http_request *request)
{
    long since = query_number(request, "since", 0);
    long limit = query_number(request, "limit", API_LIST_DEFAULT);

    api_reply_json(
        request, 200,
        status_json_list("EventList", api_events(agent, (uint64_t)since, (uint64_t)limit)));
}

/* ---- changing ---- */

static void reply_sync(struct agent *agent, struct http_request *request)
{
    const char *applied = uv_sync_applied(agent->sync);
    const char *held = NULL, *canary = NULL;
    char message[200] = "this node is in no flock yet; the branch is applied once it is";

    if (agent->node != NULL && applied[0] == '\0')
        snprintf(message, sizeof message, "the repository's branch has no commit yet");
    else if (agent->node != NULL && node_held(agent->node, &held, &canary))
        snprintf(message, sizeof message, "%.10s waits until %s has shown it ready", held, canary);
    else if (agent->node != NULL)
        snprintf(message, sizeof message,
                 agent->sync_failed ? "still at %.10s: see agentctl events" : "applied: %.10s",
                 applied);
    api_reply_json(request, 200,
                   json_pack("{s:s, s:s, s:s, s:s}", "apiVersion", API_VERSION, "kind", "Sync",
                             "commit", applied, "message", message));
}

void agent_sync_idle(void *context, bool failed)
{
    struct agent *agent = context;
    size_t count = agent->syncing_count;

    agent->sync_failed = failed;
    agent->syncing_count = 0;
    for (size_t i = 0; i < count; i++)
        reply_sync(agent, agent->syncing[i]);
}

static void post_sync(struct agent *agent, struct http_request *request)
{
    if (agent->node == NULL) {
        reply_sync(agent, request);
        return;
    }
    if (agent->syncing_count == AGENT_SYNCS_MAX) {
        uv_http_text(request, 503, "%d others wait for a sync already\n", AGENT_SYNCS_MAX);
        return;
    }
    agent->syncing[agent->syncing_count++] = request;
    uv_sync_branch(agent->sync);
}

static void post_drain(struct agent *agent, struct http_request *request)
{
    json_t *body = json_loadb(request->body, request->size, 0, NULL);
    struct node_event event = {.type = NODE_DRAIN};
    int drain = 0;

    if (json_unpack(body, "{s:b}", "drain", &drain) != 0) {
        json_decref(body);
        uv_http_text(request, 400, "expected {\"drain\": true}\n");
        return;
    }
    json_decref(body);
    event.drain = drain != 0;
    agent->known_drain = event.drain;
    agent_feed(agent, &event);
    agent_store_drain(agent, event.drain);
    api_reply_message(request, "Drain",
                      drain != 0 ? "this node gives its addresses and workloads to the others"
                                 : "this node takes part again");
}

/* ---- routes ---- */

struct route {
    const char *method;
    const char *path;
    void (*handle)(struct agent *agent, struct http_request *request);
    bool needs_flock;
};

static const struct route routes[] = {
    {"GET", "/v1/status", get_status, false},
    {"GET", "/v1/members", get_members, true},
    {"GET", "/v1/net", get_net, true},
    {"GET", "/v1/apps", get_apps, true},
    {"GET", "/v1/vips", get_vips, true},
    {"GET", "/v1/events", get_events, false},
    {"GET", "/v1/logs", agent_logs, true},
    {"GET", "/v1/nodes", api_get_nodes, true},
    {"GET", "/v1/tokens", api_get_tokens, true},
    {"GET", "/v1/keys", api_get_keys, true},
    {"POST", "/v1/suspend", api_post_suspend, true},
    {"POST", "/v1/resume", api_post_resume, true},
    {"GET", "/v1/secrets/keys", api_get_secret_keys, true},
    {"POST", "/v1/secrets/reseal", api_post_reseal, true},
    {"GET", "/v1/files", api_get_files, false},
    {"GET", "/v1/objects", api_get_objects, true},
    {"GET", "/v1/trust", api_get_trust, false},
    {"POST", "/v1/trust", api_post_trust, false},
    {"GET", "/v1/rollback", api_get_rollback, true},
    {"POST", "/v1/commit", api_post_commit, true},
    {"GET", "/v1/history", api_get_history, false},
    {"GET", "/v1/upgrade", api_get_upgrade, false},
    {"POST", "/v1/upgrade", api_post_upgrade, false},
    {"POST", "/v1/init", api_post_init, false},
    {"POST", "/v1/tokens", api_post_tokens, true},
    {"POST", "/v1/tokens/revoke", api_post_token_revoke, true},
    {"POST", "/v1/nodes/approve", api_post_approve, true},
    {"POST", "/v1/nodes/revoke", api_post_revoke, true},
    {"POST", "/v1/keys/rotate", api_post_rotate, true},
    {"POST", "/v1/join", api_post_join, false},
    {"POST", "/v1/vips/move", api_post_move, true},
    {"POST", "/v1/sync", post_sync, false},
    {"POST", "/v1/drain", post_drain, true},
};

void agent_api_control(void *context, struct http_request *request)
{
    struct agent *agent = context;
    bool known = false;

    if (agent->stopping) {
        uv_http_text(request, 503, "agentd is ending\n");
        return;
    }
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        const struct route *route = &routes[i];
        if (strcmp(route->path, request->path) != 0)
            continue;
        known = true;
        if (strcmp(route->method, request->method) != 0)
            continue;
        if (route->needs_flock && agent->revoked)
            uv_http_text(request, 403, AGENT_REVOKED_TEXT "\n");
        else if (route->needs_flock && agent->node == NULL)
            uv_http_text(request, 409,
                         "this node is in no flock yet: agentctl init founds one, agentctl join "
                         "TOKEN joins one\n");
        else
            route->handle(agent, request);
        return;
    }
    uv_http_text(request, known ? 405 : 404, "this agent has no %s %s\n", request->method,
                 request->path);
}
