/* The frame of the status page: head, headline, figures, order of the parts. */
#include "agent/web/page.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/web/page_parts.h"
#include "agent/web/status_json.h"

/* Symbols, drawn once and used by reference. Shapes differ, so that colour is never needed. */
static const char sprite[] =
    "<svg hidden><defs>"
    "<symbol id=\"i-ok\" viewBox=\"0 0 16 16\"><path d=\"M3 8.6l3.2 3.2L13 5\"/></symbol>"
    "<symbol id=\"i-warn\" viewBox=\"0 0 16 16\">"
    "<path d=\"M8 1.9L15 14H1zM8 6.2v3.6M8 11.9v.2\"/></symbol>"
    "<symbol id=\"i-bad\" viewBox=\"0 0 16 16\"><path d=\"M4 4l8 8M12 4l-8 8\"/></symbol>"
    "<symbol id=\"i-busy\" viewBox=\"0 0 16 16\">"
    "<path d=\"M8 2a6 6 0 1 1-6 6M8 5v3.3l2.2 1.4\"/></symbol>"
    "<symbol id=\"i-idle\" viewBox=\"0 0 16 16\"><path d=\"M3.5 8h9\"/></symbol>"
    "<symbol id=\"i-info\" viewBox=\"0 0 16 16\">"
    "<path d=\"M8 1.8a6.2 6.2 0 1 0 .1 0M8 7.4v4M8 4.7v.2\"/></symbol>"
    "</defs></svg>";

static const struct page_look looks[] = {[STATUS_OK] = {"ok", "ok", "Healthy"},
                                         [STATUS_DEGRADED] = {"warn", "warn", "Degraded"},
                                         [STATUS_FAILED] = {"bad", "bad", "Failed"}};

const struct page_asset *page_asset(const char *path)
{
    for (size_t i = 0; i < page_asset_count; i++)
        if (strcmp(page_assets[i].path, path) == 0)
            return &page_assets[i];
    return NULL;
}

const char *const *page_headers(void)
{
    static const char *const headers[] = {
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        "Cross-Origin-Opener-Policy",
        "same-origin",
        "Cross-Origin-Resource-Policy",
        "same-origin",
        NULL};
    return headers;
}

const struct status_node *page_find_node(const struct status *status, node_id id)
{
    for (size_t i = 0; i < status->node_count; i++)
        if (node_id_equal(status->nodes[i].id, id))
            return &status->nodes[i];
    return NULL;
}

static void head(struct html *html, const char *title, const char *cluster, const char *self)
{
    html_put(html,
             "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
             "<title>%s</title>"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
             "<meta name=\"color-scheme\" content=\"light dark\">"
             "<link rel=\"icon\" href=\"/icon.svg\" type=\"image/svg+xml\">"
             "<link rel=\"stylesheet\" href=\"/style.css\">"
             "<script src=\"/app.js\" defer></script></head>\n<body>",
             title);
    html_raw(html, sprite);
    html_put(html,
             "<header class=\"top\"><img src=\"/icon.svg\" alt=\"\" width=\"40\" height=\"40\">"
             "<div class=\"brand\"><p><b>Covey</b> %s</p><p class=\"seen\">seen from <b>%s</b></p>"
             "</div>",
             cluster, self);
}

static void foot(struct html *html)
{
    html_raw(html, "</main>\n<footer>Read-only. To change the flock, push to its repository or use "
                   "<code>agentctl</code>; the same facts as JSON: <a href=\"/v1/status\">"
                   "/v1/status</a>.</footer></body></html>\n");
}

static void headline(struct html *html, const struct page_look *look, const char *sentence)
{
    html_put(
        html,
        "<section class=\"headline %s\" id=\"headline\" role=\"status\" aria-live=\"polite\">"
        "<span class=\"seal\"><svg class=\"i\" aria-hidden=\"true\"><use href=\"#i-%s\"/></svg>"
        "</span><div><p class=\"health\">%s</p><h1>%s</h1></div></section>\n",
        look->tone, look->symbol, look->word, sentence);
}

static void figure(struct html *html, const char *name, size_t have, size_t want)
{
    html_put(html, "<li class=\"%s\"><b>%zu<i>/%zu</i></b> %s</li>", have < want ? "short" : "full",
             have, want, name);
}

static void figures(struct html *html, const struct status *status)
{
    size_t nodes = 0;
    size_t alive = 0;
    size_t held = 0;
    size_t wanted = 0;
    size_t ready = 0;

    for (size_t i = 0; i < status->node_count; i++) {
        nodes += status->nodes[i].state != STATUS_LEFT;
        alive += status->nodes[i].state == STATUS_ALIVE;
    }
    for (size_t i = 0; i < status->vip_count; i++)
        held += status->vips[i].owner.v != 0;
    for (size_t i = 0; i < status->app_count; i++) {
        wanted += status->apps[i].desired;
        ready += status->apps[i].ready < status->apps[i].desired ? status->apps[i].ready
                                                                 : status->apps[i].desired;
    }
    html_raw(html, "<ul class=\"figures\">");
    figure(html, "nodes alive", alive, nodes);
    figure(html, "replicas ready", ready, wanted);
    figure(html, "addresses held", held, status->vip_count);
    html_raw(html, "</ul>\n");
}

static void outside(struct html *html, const char *self_name, const struct page_event *events,
                    size_t count)
{
    const struct page_look look = {"busy", "busy", "Waiting"};

    head(html, "Covey: no flock yet", "", self_name);
    html_raw(html, "</header>\n<main id=\"page\">");
    headline(html, &look, "This node is in no flock yet");
    html_put(
        html,
        "<section class=\"card\" aria-labelledby=\"begin\"><h2 id=\"begin\">Begin here</h2><dl "
        "class=\"steps\"><dt>Found a flock</dt><dd><code>agentctl init</code> on %s</dd>"
        "<dt>Or join one</dt><dd><code>agentctl token create</code> on the node that founded "
        "it, then <code>agentctl join TOKEN</code> on %s</dd></dl></section>\n",
        self_name, self_name);
    page_events(html, events, count, 0);
    foot(html);
}

static void inside(struct html *html, const struct status *status, const struct page_event *events,
                   size_t count)
{
    const struct page_look *look = &looks[status->health];
    char title[NODE_NAME_MAX + sizeof status->headline];
    char now[24];

    snprintf(title, sizeof title, "%.60s: %s", look->word, status->headline);
    snprintf(now, sizeof now, "%" PRId64, status->now);
    head(html, title, status->cluster, status->self_name);
    html_put(html, "<p class=\"age\" id=\"age\" data-now=\"%s\">as of ", now);
    html_time(html, status->now, status->now, "");
    html_raw(html, "</p></header>\n<p class=\"lost\" id=\"lost\" role=\"status\" hidden></p>"
                   "<noscript><p class=\"lost\">Without JavaScript this page stands still: "
                   "<a href=\"/\">reload</a> to see what is new.</p></noscript>\n"
                   "<main id=\"page\">");
    headline(html, look, status->headline);
    figures(html, status);
    html_raw(html, "<div class=\"pair\">");
    page_topology(html, status);
    html_raw(html, "<div class=\"stack\">");
    page_commit(html, status);
    page_vips(html, status);
    html_raw(html, "</div></div>\n");
    page_nodes(html, status);
    page_net(html, status);
    page_workloads(html, status);
    page_drift(html, status);
    page_waiting(html, status);
    page_events(html, events, count, status->now);
    foot(html);
}

int page_render(const struct status *status, const char *self_name, const struct page_event *events,
                size_t event_count, char **out, size_t *size)
{
    struct html html = {0};

    if (event_count > PAGE_EVENTS_MAX)
        event_count = PAGE_EVENTS_MAX;
    if (status != NULL)
        inside(&html, status, events, event_count);
    else
        outside(&html, self_name, events, event_count);
    if (html.failed) {
        free(html.data);
        return ERR_NOMEM;
    }
    *out = html.data;
    *size = html.size;
    return ERR_NONE;
}
