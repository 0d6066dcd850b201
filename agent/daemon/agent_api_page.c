/* What the status page may ask: to read, and nothing else, but for the webhook. The same JSON as
 * the control socket's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/daemon/agent_api.h"
#include "agent/daemon/agent_metrics.h"
#include "agent/web/page.h"

#define CHANGED_MS 400 /* streams are told at most so often */

static void get_page(struct agent *agent, struct http_request *request)
{
    static const char *const severities[] = {
        [EFFECT_INFO] = "info", [EFFECT_WARNING] = "warning", [EFFECT_ERROR] = "error"};
    struct page_event events[API_LIST_DEFAULT];
    struct status *status = NULL;
    size_t count = 0;
    char *html = NULL;
    size_t size = 0;
    int rc = ERR_NONE;

    while (count < API_LIST_DEFAULT && count < agent->event_count && count < AGENT_EVENTS_MAX) {
        const struct agent_event *event =
            &agent->events[(agent->event_count - 1 - count) % AGENT_EVENTS_MAX];
        events[count++] = (struct page_event){.time_ms = event->time_ms,
                                              .severity = severities[event->severity],
                                              .subject = event->subject,
                                              .text = event->text};
    }
    if (agent->node != NULL)
        rc = api_take_status(agent, &status);
    if (rc == ERR_NONE)
        rc = page_render(status, agent->name, events, count, &html, &size);
    status_free(status);
    if (rc != ERR_NONE)
        uv_http_text(request, 500, "%s\n", err_text(rc));
    else
        uv_http_reply(request, 200, "text/html; charset=utf-8", html, size, page_headers());
}

/* "event: status\ndata: {…}\n\n", or NULL. */
static char *stream_text(struct agent *agent)
{
    json_t *document = api_status(agent);
    json_t *events = api_events(agent, 0, API_LIST_DEFAULT);
    json_t *newest_first = json_array();
    char *json;
    char *text = NULL;

    for (size_t i = json_array_size(events); i-- > 0;)
        json_array_append(newest_first, json_array_get(events, i));
    json_decref(events);
    json_object_set_new(document, "events", newest_first);
    json = document != NULL ? json_dumps(document, JSON_COMPACT) : NULL;
    json_decref(document);
    if (json != NULL && asprintf(&text, "event: status\ndata: %s\n\n", json) < 0)
        text = NULL;
    free(json);
    return text;
}

static void on_changed(uv_timer_t *timer)
{
    struct agent *agent = timer->data;
    char *text;

    if (agent->page == NULL || uv_http_streams(agent->page) == 0)
        return;
    text = stream_text(agent);
    if (text != NULL)
        uv_http_broadcast(agent->page, text);
    free(text);
}

void agent_api_changed(struct agent *agent)
{
    if (agent->page == NULL || agent->stopping || uv_http_streams(agent->page) == 0 ||
        uv_is_active((uv_handle_t *)&agent->changed_timer))
        return;
    uv_timer_start(&agent->changed_timer, on_changed, CHANGED_MS, 0);
}

static void get_stream(struct agent *agent, struct http_request *request)
{
    char *text = stream_text(agent);

    if (text == NULL)
        uv_http_text(request, 500, "%s\n", err_text(ERR_NOMEM));
    else
        uv_http_stream(request, text);
    free(text);
}

static void get_asset(struct http_request *request, const struct page_asset *asset)
{
    const char *known = http_header(request, "If-None-Match");
    char *copy;

    if (known != NULL && strcmp(known, asset->etag) == 0) {
        uv_http_reply(request, 304, asset->type, NULL, 0, asset->headers);
        return;
    }
    copy = malloc(asset->size + 1);
    if (copy == NULL) {
        uv_http_text(request, 500, "%s\n", err_text(ERR_NOMEM));
        return;
    }
    memcpy(copy, asset->data, asset->size);
    uv_http_reply(request, 200, asset->type, copy, asset->size, asset->headers);
}

void agent_api_page(void *context, struct http_request *request)
{
    struct agent *agent = context;
    const struct page_asset *asset = page_asset(request->path);

    if (strcmp(request->path, "/v1/webhook") == 0 && strcmp(request->method, "POST") == 0)
        api_post_webhook(agent, request);
    else if (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0)
        uv_http_text(request, 405, "the page is read-only: use agentctl to change something\n");
    else if (strcmp(request->path, "/") == 0)
        get_page(agent, request);
    else if (strcmp(request->path, "/v1/status") == 0)
        api_reply_json(request, 200, api_status(agent));
    else if (strcmp(request->path, "/v1/stream") == 0)
        get_stream(agent, request);
    else if (strcmp(request->path, "/metrics") == 0)
        agent_metrics(agent, request);
    else if (asset != NULL)
        get_asset(request, asset);
    else
        uv_http_text(request, 404, "there is nothing at %s\n", request->path);
}
