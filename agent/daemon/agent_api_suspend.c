/* Suspending and resuming apps. */
#include <stdio.h>
#include <string.h>

#include "agent/daemon/agent_api.h"
#include "agent/io/os_clock.h"

#define FOR_MAX_S ((json_int_t)366 * 86400)

static bool has_app(const struct desired *desired, const char *app)
{
    for (size_t i = 0; desired != NULL && i < desired->workload_count; i++)
        if (strcmp(desired->workloads[i].app, app) == 0)
            return true;
    for (size_t i = 0; desired != NULL && i < desired->vip_count; i++)
        if (strcmp(desired->vips[i].app, app) == 0)
            return true;
    return false;
}

/* A request about an app that there is; false, and answered: it is not. */
static bool take_app(struct agent *agent, struct http_request *request, const char *app)
{
    if (app != NULL && name_valid(app) &&
        (has_app(node_desired(agent->node), app) || node_suspended(agent->node, app) != NULL))
        return true;
    uv_http_text(request, 404,
                 "there is no app %.63s in the desired state: an app is a folder below apps/. See "
                 "agentctl get\n",
                 app != NULL ? app : "without a name");
    return false;
}

void api_post_suspend(struct agent *agent, struct http_request *request)
{
    json_t *body = json_loadb(request->body, request->size, 0, NULL);
    struct node_event event = {.type = NODE_SUSPEND};
    const char *app = NULL, *reason = NULL;
    json_int_t for_s = 0;
    char text[320];

    if (json_unpack(body, "{s:s, s:s, s?I}", "app", &app, "reason", &reason, "forSeconds",
                    &for_s) != 0 ||
        reason[0] == '\0' || for_s < 0 || for_s > FOR_MAX_S) {
        uv_http_text(request, 400,
                     "expected {\"app\": \"web\", \"reason\": \"…\", \"forSeconds\": 7200}\n");
    } else if (take_app(agent, request, app)) {
        event.suspend =
            (struct node_event_suspend){.app = app,
                                        .on = true,
                                        .reason = reason,
                                        .until = for_s > 0 ? os_clock_wall_ms() / 1000 + for_s : 0};
        agent_feed(agent, &event);
        if (node_suspended(agent->node, app) == NULL)
            uv_http_text(request, 409, "%s is not suspended: see agentctl events\n", app);
        else {
            snprintf(text, sizeof text,
                     "%.63s is suspended on all nodes: what runs goes on, commits do not reach it "
                     "until agentctl resume %.63s%s",
                     app, app, for_s > 0 ? ", or until its time is over" : "");
            api_reply_message(request, "Suspend", text);
        }
    }
    json_decref(body);
}

void api_post_resume(struct agent *agent, struct http_request *request)
{
    json_t *body = json_loadb(request->body, request->size, 0, NULL);
    const char *app = json_string_value(json_object_get(body, "app"));
    struct node_event event = {.type = NODE_SUSPEND};
    char text[160];

    if (take_app(agent, request, app)) {
        if (node_suspended(agent->node, app) == NULL) {
            snprintf(text, sizeof text, "%.63s is not suspended: nothing has changed", app);
        } else {
            event.suspend = (struct node_event_suspend){.app = app};
            agent_feed(agent, &event);
            snprintf(text, sizeof text, "%.63s is resumed: what the branch says of it is applied",
                     app);
        }
        api_reply_message(request, "Resume", text);
    }
    json_decref(body);
}
