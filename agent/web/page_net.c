/* Who hears whom: of a small flock a table of all paths, of a large one those that are bad. */
#include "agent/web/page_parts.h"

#include <stdio.h>
#include <string.h>

#define MATRIX_MAX 8 /* nodes */
#define BAD_LOSS_PCT 20
#define LIST_MAX 40

static bool is_bad(const struct status_path *p)
{
    return !p->hears || p->loss_pct >= BAD_LOSS_PCT;
}

static void put_figures(struct html *html, const struct status_path *p)
{
    if (!p->hears) {
        html_badge(html, "bad", "bad", "not heard");
        return;
    }
    if (p->stream) {
        html_badge(html, "warn", "warn", "over TCP");
        return;
    }
    if (p->loss_pct >= BAD_LOSS_PCT)
        html_badge(html, "warn", "warn", "lossy");
    if (p->rtt_ms > 0)
        html_put(html, " %d ms", (int)p->rtt_ms);
    else
        html_raw(html, " heard");
    if (p->loss_pct > 0)
        html_put(html, "<span class=\"quiet\"> · %d %% lost</span>", (int)p->loss_pct);
}

static const struct status_path *find(const struct status *status, const char *to, const char *from)
{
    for (size_t i = 0; i < status->path_count; i++)
        if (strcmp(status->paths[i].to, to) == 0 && strcmp(status->paths[i].from, from) == 0)
            return &status->paths[i];
    return NULL;
}

static void put_row(struct html *html, const struct status *status, const char *to)
{
    html_put(html,
             "<tr role=\"row\" data-key=\"net-%s\"><th role=\"rowheader\" scope=\"row\">%s</th>",
             to, to);
    for (size_t i = 0; i < status->node_count; i++) {
        const char *from = status->nodes[i].name;
        const struct status_path *p = find(status, to, from);
        html_put(html, "<td role=\"cell\" data-label=\"%s\" data-calm>", from);
        if (p != NULL)
            put_figures(html, p);
        else
            html_raw(html, "<span class=\"quiet\">–</span>");
        html_raw(html, "</td>");
    }
    html_raw(html, "</tr>\n");
}

static void put_matrix(struct html *html, const struct status *status)
{
    html_raw(html, "<table role=\"table\" aria-labelledby=\"net\"><thead role=\"rowgroup\">"
                   "<tr role=\"row\"><th role=\"columnheader\" scope=\"col\">hears</th>");
    for (size_t i = 0; i < status->node_count; i++)
        html_put(html, "<th role=\"columnheader\" scope=\"col\">%s</th>", status->nodes[i].name);
    html_raw(html, "</tr></thead><tbody role=\"rowgroup\">\n");
    for (size_t i = 0; i < status->node_count; i++)
        put_row(html, status, status->nodes[i].name);
    html_raw(html, "</tbody></table>");
}

static void put_bad(struct html *html, const struct status *status)
{
    size_t bad = 0;

    html_raw(html, "<ul class=\"plain\">");
    for (size_t i = 0; i < status->path_count; i++) {
        const struct status_path *p = &status->paths[i];
        if (!is_bad(p) || ++bad > LIST_MAX)
            continue;
        html_put(html, "<li data-key=\"net-%s-%s\">%s ← %s ", p->to, p->from, p->to, p->from);
        put_figures(html, p);
        html_raw(html, "</li>\n");
    }
    html_raw(html, "</ul>");
    if (bad == 0)
        html_put(html, "<p class=\"empty\">All of %zu measured paths are well.</p>",
                 status->path_count);
    else if (bad > LIST_MAX)
        html_put(html, "<p class=\"quiet\">%zu more are bad.</p>", bad - LIST_MAX);
}

void page_net(struct html *html, const struct status *status)
{
    if (status->path_count == 0)
        return;
    html_raw(html, "<section class=\"card\" aria-labelledby=\"net\"><h2 id=\"net\">Who hears whom"
                   "</h2>");
    if (status->node_count <= MATRIX_MAX)
        put_matrix(html, status);
    else
        put_bad(html, status);
    html_raw(html, "</section>\n");
}
