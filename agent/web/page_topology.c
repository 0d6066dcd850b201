/* A drawing of the flock: the nodes on a ring, this node first; a line to each peer with the round
 * trip on it; the virtual addresses at the node that owns them. The tables say the same in words.
 */
#include "agent/web/page_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define WIDTH 400
#define RADIUS 22     /* of a node */
#define NAME_ROOM 20  /* below a node, for its name */
#define PILL_ROOM 24  /* further below, for each address */
#define PILLS_MAX 3   /* addresses drawn at a node */
#define NODES_MAX 13  /* drawn: this node and 12 peers */
#define NAME_SHOWN 14 /* characters */

struct spot {
    const struct status_node *node;
    int x;
    int y;
};

struct drawing {
    struct spot spots[NODES_MAX];
    size_t count;
    int height;
};

static size_t owned(const struct status *status, node_id id)
{
    size_t count = 0;

    for (size_t i = 0; i < status->vip_count; i++)
        count += node_id_equal(status->vips[i].owner, id);
    return count < PILLS_MAX ? count : PILLS_MAX;
}

static void choose(const struct status *status, struct drawing *drawing)
{
    const struct status_node *self = page_find_node(status, status->self);

    drawing->count = 0;
    if (self != NULL)
        drawing->spots[drawing->count++].node = self;
    for (size_t i = 0; i < status->node_count && drawing->count < NODES_MAX; i++)
        if (&status->nodes[i] != self)
            drawing->spots[drawing->count++].node = &status->nodes[i];
}

static void arrange(const struct status *status, struct drawing *drawing)
{
    size_t n = drawing->count;
    int top = RADIUS + 8;
    int ring = n < 3 ? 0 : 56 + 8 * (int)n; /* vertical radius */
    int lowest = 0;

    for (size_t i = 0; i < n; i++) {
        struct spot *spot = &drawing->spots[i];
        double turn = 2.0 * 3.14159265358979 * (double)i / (double)n;
        int bottom;
        if (n < 3) {
            spot->x = n == 1 ? WIDTH / 2 : (i == 0 ? 80 : WIDTH - 80);
            spot->y = top;
        } else {
            spot->x = WIDTH / 2 + (int)lround(142.0 * sin(turn));
            spot->y = top + ring - (int)lround(ring * cos(turn));
        }
        bottom = spot->y + RADIUS + NAME_ROOM + PILL_ROOM * (int)owned(status, spot->node->id);
        if (bottom > lowest)
            lowest = bottom;
    }
    drawing->height = lowest + 6;
}

static void put_edge(struct html *html, const struct spot *from, const struct spot *to)
{
    const struct status_node *n = to->node;
    struct page_look look = page_look_node(n->state);
    char label[24] = "";
    int width;
    int x = from->x + (to->x - from->x) * 11 / 20;
    int y = from->y + (to->y - from->y) * 11 / 20;

    if (n->state == STATUS_LEFT)
        return;
    if (n->state != STATUS_ALIVE)
        snprintf(label, sizeof label, "no answer");
    else if (n->rtt_ms >= 0)
        snprintf(label, sizeof label, "%d ms", (int)n->rtt_ms);
    html_put(html, "<line class=\"edge %s\" x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>", look.tone,
             from->x, from->y, to->x, to->y);
    if (label[0] == '\0')
        return;
    width = 12 + 7 * (int)strlen(label);
    html_put(html,
             "<rect class=\"plate\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"18\" rx=\"9\"/>"
             "<text class=\"rtt\" x=\"%d\" y=\"%d\" data-calm>%s</text>",
             x - width / 2, y - 9, width, x, y + 4, label);
}

static void put_pills(struct html *html, const struct status *status, const struct spot *spot)
{
    char label[ADDR_TEXT];
    int y = spot->y + RADIUS + NAME_ROOM;
    size_t drawn = 0;

    for (size_t i = 0; i < status->vip_count && drawn < PILLS_MAX; i++) {
        const struct status_vip *v = &status->vips[i];
        int width;
        if (!node_id_equal(v->owner, spot->node->id))
            continue;
        if (v->address.family == 4)
            addr_format_ip(&v->address, label);
        else
            snprintf(label, sizeof label, "%.18s", v->name);
        width = 20 + 7 * (int)strlen(label);
        html_put(html,
                 "<g class=\"pill\"><title>%s</title><rect x=\"%d\" y=\"%d\" width=\"%d\" "
                 "height=\"20\" rx=\"10\"/><text x=\"%d\" y=\"%d\">%s</text></g>",
                 v->name, spot->x - width / 2, y, width, spot->x, y + 14, label);
        y += PILL_ROOM;
        drawn++;
    }
}

static void put_spot(struct html *html, const struct status *status, const struct spot *spot)
{
    const struct status_node *n = spot->node;
    struct page_look look = page_look_node(n->state);
    char name[NAME_SHOWN + sizeof "…"];

    if (strlen(n->name) > NAME_SHOWN)
        snprintf(name, sizeof name, "%.*s…", NAME_SHOWN - 1, n->name);
    else
        snprintf(name, sizeof name, "%s", n->name);
    html_put(html,
             "<g class=\"spot %s%s\"><title>%s: %s</title><circle cx=\"%d\" cy=\"%d\" r=\"%d\"/>"
             "<use href=\"#i-%s\" x=\"%d\" y=\"%d\" width=\"20\" height=\"20\"/>"
             "<text x=\"%d\" y=\"%d\">%s</text></g>",
             look.tone, n->self ? " self" : "", n->name, look.word, spot->x, spot->y, RADIUS,
             look.symbol, spot->x - 10, spot->y - 10, spot->x, spot->y + RADIUS + 15, name);
    put_pills(html, status, spot);
}

void page_topology(struct html *html, const struct status *status)
{
    struct drawing drawing;

    choose(status, &drawing);
    arrange(status, &drawing);
    html_put(html,
             "<section class=\"card map\" aria-labelledby=\"flock\"><h2 id=\"flock\">Flock</h2>"
             "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%zu nodes, as %s sees them; the "
             "tables say the same in words\">",
             WIDTH, drawing.height, status->node_count, status->self_name);
    for (size_t i = 1; i < drawing.count; i++)
        put_edge(html, &drawing.spots[0], &drawing.spots[i]);
    for (size_t i = 0; i < drawing.count; i++)
        put_spot(html, status, &drawing.spots[i]);
    html_raw(html, "</svg>");
    if (status->node_count > drawing.count)
        html_put(html, "<p class=\"quiet\">%zu more nodes stand in the table.</p>",
                 status->node_count - drawing.count);
    html_raw(html, "</section>\n");
}
