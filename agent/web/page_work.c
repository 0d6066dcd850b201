/* Workloads with their instances, documents that wait for k3s, events. */
#include "agent/web/page_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct page_look look_instance(const struct status_instance *i)
{
    static const struct page_look looks[] = {
        [VALUE_WAITING] = {"idle", "busy", "waiting"},
        [VALUE_STARTING] = {"busy", "busy", "starting"},
        [VALUE_RUNNING] = {"busy", "busy", "running"},
        [VALUE_READY] = {"ok", "ok", "ready"},
        [VALUE_STOPPING] = {"idle", "idle", "stopping"},
        [VALUE_BACKOFF] = {"warn", "warn", "backing off"},
        [VALUE_FAILED] = {"bad", "bad", "failed"},
        [VALUE_COMPLETED] = {"ok", "ok", "completed"},
    };
    if (!i->node_alive && i->value.state != VALUE_COMPLETED)
        return (struct page_look){"bad", "bad", "lost with its node"};
    if (i->value.state < VALUE_WAITING || i->value.state > VALUE_COMPLETED)
        return (struct page_look){"idle", "idle", "unknown"};
    return looks[i->value.state];
}

/* An address to look at, where the name of the port says that it speaks HTTP. */
static void put_port(struct html *html, const struct status_node *node,
                     const struct value_port *port)
{
    bool link = node != NULL && node->addr.family != 0 && strncmp(port->name, "http", 4) == 0;

    if (link) {
        html_put(html, "<a rel=\"noreferrer\" href=\"%s://",
                 strcmp(port->name, "https") == 0 ? "https" : "http");
        html_raw(html, node->addr.family == 6 ? "[" : "");
        html_ip(html, &node->addr);
        html_put(html, "%s:%u/\">", node->addr.family == 6 ? "]" : "", (unsigned)port->port);
    }
    html_raw(html, link ? "" : "<span>");
    html_put(html, "<span class=\"quiet\">%s</span> <span class=\"mono\">%u</span>", port->name,
             (unsigned)port->port);
    html_raw(html, link ? "</a> " : "</span> ");
}

static void put_instance(struct html *html, const struct status *status,
                         const struct status_instance *i)
{
    struct page_look look = look_instance(i);
    const struct status_node *node = i->node_alive ? page_find_node(status, i->node) : NULL;

    html_put(html, "<tr role=\"row\" data-key=\"on-%s-%s\" class=\"%s\">", i->name, i->node_name,
             i->node_alive ? "" : "dim");
    html_put(html,
             "<th role=\"rowheader\" scope=\"row\">%s</th>"
             "<td role=\"cell\" data-label=\"Node\">%s</td>"
             "<td role=\"cell\" data-label=\"State\">",
             i->name, i->node_name);
    html_badge(html, look.tone, look.symbol, look.word);
    html_raw(html, " ");
    html_time(html, status->now, i->value.since, "");
    if (i->value.reason[0] != '\0')
        html_put(html, "<p class=\"reason\">%s</p>", i->value.reason);
    html_put(html, "</td><td role=\"cell\" data-label=\"Restarts\" class=\"number\">%u",
             (unsigned)i->value.restarts);
    if (i->value.exit_code > 0)
        html_put(html, " <span class=\"quiet\">exit %d</span>", (int)i->value.exit_code);
    html_raw(html, "</td><td role=\"cell\" data-label=\"Ports\">");
    for (uint8_t p = 0; p < i->value.port_count; p++)
        put_port(html, node, &i->value.ports[p]);
    if (i->value.port_count == 0)
        html_raw(html, "<span class=\"quiet\">none</span>");
    html_raw(html, "</td></tr>\n");
}

static void put_readiness(struct html *html, const struct status *status,
                          const struct status_app *a)
{
    if (a->schedule != NULL) {
        html_put(html, "<p class=\"ready busy\"><code title=\"schedule\">%s</code> next run ",
                 a->schedule);
        html_time(html, status->now, a->next_run, "never");
        html_raw(html, "</p>");
        return;
    }
    html_put(html,
             "<p class=\"ready %s\"><svg class=\"i\" aria-hidden=\"true\"><use "
             "href=\"#i-%s\"/></svg><b>%u of %u</b> ready</p>",
             a->ready >= a->desired ? "ok"
             : a->ready > 0         ? "warn"
                                    : "bad",
             a->ready >= a->desired ? "ok"
             : a->ready > 0         ? "warn"
                                    : "bad",
             (unsigned)a->ready, (unsigned)a->desired);
}

/* That commits do not reach it shall not be forgotten. */
static void put_suspended(struct html *html, const struct status *status,
                          const struct value_suspend *s)
{
    if (s == NULL)
        return;
    html_raw(html, "<p class=\"reason\">");
    html_badge(html, "warn", "warn", "suspended");
    html_raw(html, " ");
    html_time(html, status->now, s->stamp / 1000, "");
    html_put(html, " by %s", s->by);
    if (s->until != 0) {
        html_raw(html, ", ends ");
        html_time(html, status->now, s->until, "");
    }
    html_put(html, ": %s</p>", s->reason);
}

static void put_app(struct html *html, const struct status *status, const struct status_app *a)
{
    html_put(html,
             "<article class=\"app\" data-key=\"app-%s\" aria-labelledby=\"app-%s\">"
             "<header><h3 id=\"app-%s\">%s</h3>",
             a->name, a->name, a->name, a->name);
    put_readiness(html, status, a);
    html_put(html, "<p class=\"quiet source\">%s · app %s<code>%s</code></p></header>", a->kind,
             a->app, a->file);
    put_suspended(html, status, a->suspended);
    if (a->pending != NULL)
        html_put(html, "<p class=\"reason\">%s</p>", a->pending);
    if (a->count == 0) {
        html_put(html, "<p class=\"empty\">%s</p></article>\n",
                 a->schedule != NULL ? "It has not run yet." : "No instance was started yet.");
        return;
    }
    html_put(html,
             "<table role=\"table\" aria-labelledby=\"app-%s\"><thead role=\"rowgroup\">"
             "<tr role=\"row\">"
             "<th role=\"columnheader\" scope=\"col\">Instance</th>"
             "<th role=\"columnheader\" scope=\"col\">Node</th>"
             "<th role=\"columnheader\" scope=\"col\">State</th>"
             "<th role=\"columnheader\" scope=\"col\" class=\"number\">Restarts</th>"
             "<th role=\"columnheader\" scope=\"col\">Ports</th></tr></thead>"
             "<tbody role=\"rowgroup\">\n",
             a->name);
    for (size_t i = 0; i < a->count; i++)
        put_instance(html, status, &status->instances[a->first + i]);
    html_raw(html, "</tbody></table></article>\n");
}

/* One line each: a repository often keeps more than it runs. */
static void put_switched_off(struct html *html, const struct status *status)
{
    bool any = false;

    for (size_t i = 0; i < status->app_count; i++) {
        const struct status_app *a = &status->apps[i];
        if (!a->off)
            continue;
        if (!any)
            html_raw(html, "<div class=\"off\"><h3>Off <span class=\"quiet\">replicas: 0 or "
                           "suspend: true</span></h3>"
                           "<ul class=\"plain\">\n");
        any = true;
        html_put(html, "<li data-key=\"app-%s\"><b>%s</b> <code>%s</code></li>\n", a->name, a->name,
                 a->file);
    }
    html_raw(html, any ? "</ul></div>" : "");
}

void page_workloads(struct html *html, const struct status *status)
{
    html_raw(
        html,
        "<section class=\"card\" aria-labelledby=\"workloads\"><h2 id=\"workloads\">Workloads</h2>"
        "<div class=\"apps\">\n");
    if (status->app_count == 0)
        html_raw(html, "<p class=\"empty\">Nothing to run yet. A workload is a file below "
                       "<code>apps/</code> in the repository.</p>");
    for (size_t i = 0; i < status->app_count; i++)
        if (!status->apps[i].off)
            put_app(html, status, &status->apps[i]);
    html_raw(html, "</div>");
    put_switched_off(html, status);
    html_raw(html, "</section>\n");
}

void page_drift(struct html *html, const struct status *status)
{
    if (status->drift_count == 0)
        return;
    html_raw(html, "<section class=\"card\" aria-labelledby=\"drift\"><h2 id=\"drift\">Drift"
                   "</h2><p class=\"quiet\">Left as somebody changed it: <code>drift: warn</code>"
                   "</p><ul class=\"plain\">\n");
    for (size_t i = 0; i < status->drift_count; i++) {
        const struct status_drift *d = &status->drifts[i];
        html_put(html, "<li data-key=\"drift-%s-%s\">", d->subject, d->node_name);
        html_badge(html, "warn", "warn", "drift");
        html_put(html, " <b>%s</b> on %s %s ", d->subject, d->node_name, d->value.what);
        html_time(html, status->now, d->value.since, "");
        html_raw(html, "</li>\n");
    }
    html_raw(html, "</ul></section>\n");
}

void page_waiting(struct html *html, const struct status *status)
{
    char waits[DESIRED_PATH_MAX];

    if (status->foreign_count == 0)
        return;
    html_raw(html, "<section class=\"card\" aria-labelledby=\"waiting\"><h2 id=\"waiting\">Waiting"
                   "</h2><ul class=\"plain waiting\">\n");
    for (size_t i = 0; i < status->foreign_count; i++) {
        const struct desired_foreign *f = &status->foreign[i];
        desired_waiting(f, waits, sizeof waits);
        html_put(html, "<li><b>%s %s</b> <code>%s:%d</code> ", f->kind, f->name, f->file, f->line);
        html_raw(html, "<span class=\"badge idle\"><svg class=\"i\" aria-hidden=\"true\">"
                       "<use href=\"#i-busy\"/></svg>");
        html_put(html, "waiting for %s</span></li>\n", waits);
    }
    html_raw(html, "</ul></section>\n");
}

/* ---- events ---- */

static struct page_look look_severity(const char *severity)
{
    if (strcmp(severity, "error") == 0)
        return (struct page_look){"bad", "bad", "error"};
    if (strcmp(severity, "warning") == 0)
        return (struct page_look){"warn", "warn", "warning"};
    return (struct page_look){"idle", "info", "info"};
}

void page_events(struct html *html, const struct page_event *events, size_t count, int64_t now)
{
    html_raw(html, "<section class=\"card\" aria-labelledby=\"events\"><h2 id=\"events\">Events"
                   "</h2>");
    if (count == 0) {
        html_raw(html, "<p class=\"empty\">Nothing happened since this agent started.</p>"
                       "</section>\n");
        return;
    }
    html_raw(html, "<ol class=\"plain events\">\n");
    for (size_t i = 0; i < count; i++) {
        const struct page_event *e = &events[i];
        struct page_look look = look_severity(e->severity);
        char moment[24];
        snprintf(moment, sizeof moment, "%" PRId64, e->time_ms);
        html_put(html, "<li class=\"%s\" data-key=\"%s %s %s\">", look.tone, moment, e->subject,
                 e->text);
        html_badge(html, look.tone, look.symbol, look.word);
        html_raw(html, " <span class=\"when\">");
        html_time(html, now, e->time_ms / 1000, "");
        html_put(html, "</span> <b>%s</b> <span class=\"what\">%s</span></li>\n", e->subject,
                 e->text);
    }
    html_raw(html, "</ol></section>\n");
}
