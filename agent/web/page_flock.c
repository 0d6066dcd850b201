/* Nodes, virtual addresses and the commit that the flock applies. */
#include "agent/web/page_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COMMIT_SHORT 8

struct page_look page_look_node(enum status_member_state state)
{
    static const struct page_look looks[] = {[STATUS_ALIVE] = {"ok", "ok", "alive"},
                                             [STATUS_SUSPECT] = {"warn", "warn", "suspect"},
                                             [STATUS_DEAD] = {"bad", "bad", "dead"},
                                             [STATUS_LEFT] = {"idle", "idle", "left"},
                                             [STATUS_QUARANTINED] = {"bad", "bad", "quarantined"}};
    return looks[state];
}

/* "3f2a91c0", the whole id in the tooltip. */
static void put_commit(struct html *html, const char *commit)
{
    char text[COMMIT_SHORT + 1];

    if (commit[0] == '\0') {
        html_raw(html, "none");
        return;
    }
    snprintf(text, sizeof text, "%.*s", COMMIT_SHORT, commit);
    html_put(html, "<code title=\"%s\">%s</code>", commit, text);
}

static void put_commit_trouble(struct html *html, const struct value_commit *commit)
{
    if (commit->health == VALUE_HEALTH_BACK) {
        html_raw(html, "<p class=\"reason\">");
        html_badge(html, "bad", "bad", "rolled back");
        html_put(html, " commit %.10s was given up, and is not tried again</p>", commit->bad);
    }
    if (commit->state != VALUE_COMMIT_FAILED && commit->state != VALUE_COMMIT_DIVERGED)
        return;
    html_raw(html, "<p class=\"reason\">");
    html_badge(html, "bad", "bad",
               commit->state == VALUE_COMMIT_FAILED ? "newest commit refused" : "diverged");
    html_put(html, " %s</p>", commit->reason);
}

static void put_duration_ms(struct html *html, int64_t ms)
{
    char text[32];

    if (ms < 0)
        snprintf(text, sizeof text, "never");
    else if (ms < 10000)
        snprintf(text, sizeof text, "%" PRId64 ".%" PRId64 " s ago", ms / 1000, ms % 1000 / 100);
    else if (ms < 120000)
        snprintf(text, sizeof text, "%" PRId64 " s ago", ms / 1000);
    else
        snprintf(text, sizeof text, "%" PRId64 " min ago", ms / 60000);
    html_put(html, "%s", text);
}

static void put_node_name(struct html *html, const struct status_node *n)
{
    char id[NODE_ID_TEXT];

    node_id_format(n->id, id);
    html_put(html, "<th role=\"rowheader\" scope=\"row\"><b title=\"node %s\">%s</b>", id, n->name);
    if (n->self)
        html_raw(html, " <span class=\"tag\">this node</span>");
    if (n->role == VALUE_ROLE_WITNESS)
        html_raw(html, " <span class=\"tag\">witness</span>");
    if (n->facts.draining)
        html_raw(html, " <span class=\"tag\">draining</span>");
    html_raw(html, "</th>");
}

static void put_node_commit(struct html *html, const struct status_node *n)
{
    html_raw(html, "<td role=\"cell\" data-label=\"Commit\">");
    put_commit(html, n->commit.commit);
    put_commit_trouble(html, &n->commit);
    html_raw(html, "</td>");
}

static void put_node(struct html *html, const struct status *status, const struct status_node *n)
{
    struct page_look look = page_look_node(n->state);
    char addr[ADDR_TEXT] = "";

    if (n->addr.family != 0)
        addr_format(&n->addr, addr);
    html_put(html, "<tr role=\"row\" data-key=\"node-%s\" class=\"%s\">", n->name,
             n->state == STATUS_ALIVE ? "" : "dim");
    put_node_name(html, n);
    html_raw(html, "<td role=\"cell\" data-label=\"State\">");
    html_badge(html, look.tone, look.symbol, look.word);
    html_put(html,
             "</td><td role=\"cell\" data-label=\"Address\"><span class=\"mono\">%s</span></td>",
             addr);
    html_raw(html, "<td role=\"cell\" data-label=\"RTT\" class=\"number\" data-calm>");
    if (n->rtt_ms >= 0)
        html_put(html, "%d ms", (int)n->rtt_ms);
    else
        html_raw(html, n->self ? "<span class=\"quiet\">–</span>" : "–");
    html_raw(html, "</td><td role=\"cell\" data-label=\"Heard\" class=\"number\" data-calm>");
    if (n->self)
        html_raw(html, "–");
    else
        put_duration_ms(html, n->heard_ms);
    html_raw(html, "</td>");
    put_node_commit(html, n);
    html_raw(html, "<td role=\"cell\" data-label=\"Up since\">");
    html_time(html, status->now, n->facts.started, "unknown");
    html_put(html,
             "</td><td role=\"cell\" data-label=\"Machine\">%u CPU%s, %u MiB"
             "<span class=\"quiet\"> · %s</span></td></tr>\n",
             (unsigned)n->facts.cpus, n->facts.cpus == 1 ? "" : "s", (unsigned)n->facts.memory_mib,
             n->version);
}

void page_nodes(struct html *html, const struct status *status)
{
    html_raw(html, "<section class=\"card\" aria-labelledby=\"nodes\"><h2 id=\"nodes\">Nodes</h2>"
                   "<table role=\"table\" aria-labelledby=\"nodes\"><thead role=\"rowgroup\">"
                   "<tr role=\"row\">"
                   "<th role=\"columnheader\" scope=\"col\">Node</th>"
                   "<th role=\"columnheader\" scope=\"col\">State</th>"
                   "<th role=\"columnheader\" scope=\"col\">Address</th>"
                   "<th role=\"columnheader\" scope=\"col\" class=\"number\">RTT</th>"
                   "<th role=\"columnheader\" scope=\"col\" class=\"number\">Heard</th>"
                   "<th role=\"columnheader\" scope=\"col\">Commit</th>"
                   "<th role=\"columnheader\" scope=\"col\">Up since</th>"
                   "<th role=\"columnheader\" scope=\"col\">Machine</th></tr></thead>"
                   "<tbody role=\"rowgroup\">\n");
    for (size_t i = 0; i < status->node_count; i++)
        put_node(html, status, &status->nodes[i]);
    html_raw(html, "</tbody></table></section>\n");
}

/* ---- virtual addresses ---- */

static void put_owner(struct html *html, const struct status_vip *v)
{
    if (v->address.family == 0)
        html_badge(html, "idle", "idle", "pending");
    else if (v->owner.v == 0)
        html_badge(html, "bad", "bad", "held by nobody");
    else
        html_badge(html, "ok", "ok", v->owner_name);
}

static void put_vip(struct html *html, const struct status *status, const struct status_vip *v)
{
    html_put(html, "<li class=\"vip\" data-key=\"vip-%s\"><h3>%s", v->name, v->name);
    if (v->app != NULL && v->app[0] != '\0')
        html_put(html, " <span class=\"quiet\">app %s</span>", v->app);
    html_raw(html, "</h3>");
    if (v->address.family != 0) {
        html_raw(html, "<p class=\"big mono\">");
        html_ip(html, &v->address);
        html_raw(html, "</p>");
    }
    html_raw(html, "<p class=\"facts\">");
    put_owner(html, v);
    if (v->since != 0) {
        html_put(html, " <span>%s ", v->owner.v != 0 ? "since" : "lost");
        html_time(html, status->now, v->since, "");
        html_raw(html, "</span>");
    }
    html_raw(html, "</p>");
    if (v->reason[0] != '\0')
        html_put(html, "<p class=\"reason\">%s</p>", v->reason);
    html_raw(html, "</li>\n");
}

void page_vips(struct html *html, const struct status *status)
{
    html_raw(html, "<section class=\"card\" aria-labelledby=\"vips\"><h2 id=\"vips\">Virtual "
                   "addresses</h2>");
    if (status->vip_count == 0)
        html_raw(html, "<p class=\"empty\">No virtual address is asked for.</p>");
    else
        html_raw(html, "<ul class=\"plain vips\">\n");
    for (size_t i = 0; i < status->vip_count; i++)
        put_vip(html, status, &status->vips[i]);
    html_raw(html, status->vip_count == 0 ? "</section>\n" : "</ul></section>\n");
}

/* ---- the commit ---- */

static void put_agreement(struct html *html, const struct status *status,
                          const struct value_commit *ours)
{
    size_t with_us = 0;
    size_t living = 0;

    for (size_t i = 0; i < status->node_count; i++) {
        const struct status_node *n = &status->nodes[i];
        if (n->role == VALUE_ROLE_WITNESS || n->state == STATUS_DEAD || n->state == STATUS_LEFT)
            continue;
        living++;
        with_us += strcmp(n->commit.commit, ours->commit) == 0;
    }
    if (status->agreed) {
        html_badge(html, "ok", "ok",
                   living == 1 ? "applied by this node" : "applied by every living node");
        return;
    }
    html_put(html,
             "<span class=\"badge warn\"><svg class=\"i\" aria-hidden=\"true\">"
             "<use href=\"#i-warn\"/></svg>%zu of %zu nodes apply it</span>",
             with_us, living);
}

void page_commit(struct html *html, const struct status *status)
{
    const struct status_node *self = page_find_node(status, status->self);

    html_raw(html, "<section class=\"card\" aria-labelledby=\"commit\"><h2 id=\"commit\">Desired "
                   "state</h2>");
    if (self == NULL || self->commit.commit[0] == '\0') {
        html_raw(html, "<p class=\"empty\">Nothing was pushed yet. Push a repository with an "
                       "<code>apps/</code> folder to any node.</p></section>\n");
        return;
    }
    html_put(html, "<p class=\"big\">%s</p><p class=\"facts\"><span>commit ", self->commit.subject);
    put_commit(html, self->commit.commit);
    html_raw(html, "</span> ");
    put_agreement(html, status, &self->commit);
    html_raw(html, " <span>applied ");
    html_time(html, status->now, self->commit.applied, "never");
    html_raw(html, "</span></p>");
    put_commit_trouble(html, &self->commit);
    html_raw(html, "</section>\n");
}
