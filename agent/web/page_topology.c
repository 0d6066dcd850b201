/* A drawing of the flock: the nodes on a ring, this node first; a line to each peer with the round
 * trip on it; the virtual addresses at the node that owns them. The tables say the same in words.
 */
#include "agent/web/page_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define PI 3.14159265358979
#define RADIUS 22     /* of a node */
#define NAME_ROOM 20  /* below a node, for its name */
#define PILL_ROOM 24  /* further below, for the addresses that it owns */
#define NODES_MAX 11  /* drawn: this node and 10 peers */
#define NAME_SHOWN 14 /* characters */

struct spot {
    const struct status_node *node;
    int x;
    int y;
};

struct drawing {
    struct spot spots[NODES_MAX];
    size_t count;
    int width;
    int height;
};

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

/* One or two nodes stand in a row; of more, the peers stand around this node, and none straight
 * below it, where its name is. */
static void arrange(struct drawing *drawing)
{
    size_t peers = drawing->count - 1;
    int reach = peers < 3 ? 0 : 96 + 5 * (int)peers; /* vertical radius of the ring */
    int top = RADIUS + 6;
    int lowest = 0;

    drawing->width = peers < 2 ? 300 : 400;
    for (size_t i = 0; i < drawing->count; i++) {
        struct spot *spot = &drawing->spots[i];
        double turn =
            i == 0 ? 0 : ((double)(i - 1) + (peers % 2 == 0 ? 0.5 : 0)) * 2.0 * PI / (double)peers;
        spot->x = drawing->width / 2;
        spot->y = top + reach;
        if (peers == 1)
            spot->x = i == 0 ? 70 : drawing->width - 70;
        else if (i > 0) {
            spot->x += (int)lround(145.0 * sin(turn));
            spot->y -= (int)lround(reach * cos(turn));
        }
        if (spot->y > lowest)
            lowest = spot->y;
    }
    drawing->height = lowest + RADIUS + NAME_ROOM + PILL_ROOM + 4;
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

/* The address that @spot owns, or how many. */
static void put_pill(struct html *html, const struct status *status, const struct spot *spot)
{
    const struct status_vip *vip = NULL;
    char label[ADDR_TEXT];
    int y = spot->y + RADIUS + NAME_ROOM;
    size_t owned = 0;
    int width;

    for (size_t i = 0; i < status->vip_count; i++)
        if (node_id_equal(status->vips[i].owner, spot->node->id)) {
            vip = &status->vips[i];
            owned++;
        }
    if (vip == NULL)
        return;
    if (owned > 1)
        snprintf(label, sizeof label, "%zu addresses", owned);
    else if (vip->address.family == 4)
        addr_format_ip(&vip->address, label);
    else
        snprintf(label, sizeof label, "%.14s", vip->name);
    width = 20 + 7 * (int)strlen(label);
    html_put(html,
             "<g class=\"pill\"><rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"20\" rx=\"10\"/>"
             "<text x=\"%d\" y=\"%d\">%s</text></g>",
             spot->x - width / 2, y, width, spot->x, y + 14, label);
}

static void put_spot(struct html *html, const struct spot *spot)
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
}

void page_topology(struct html *html, const struct status *status)
{
    struct drawing drawing;

    choose(status, &drawing);
    if (drawing.count == 0)
        return;
    arrange(&drawing);
    html_put(html,
             "<section class=\"card map\" aria-labelledby=\"flock\"><h2 id=\"flock\">Flock</h2>"
             "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%zu nodes, as %s sees them; the "
             "tables say the same in words\">",
             drawing.width, drawing.height, status->node_count, status->self_name);
    for (size_t i = 1; i < drawing.count; i++)
        put_edge(html, &drawing.spots[0], &drawing.spots[i]);
    for (size_t i = 0; i < drawing.count; i++)
        put_spot(html, &drawing.spots[i]);
    for (size_t i = 0; i < drawing.count; i++)
        put_pill(html, status, &drawing.spots[i]);
    html_raw(html, "</svg>");
    if (status->node_count > drawing.count)
        html_put(html, "<p class=\"quiet\">%zu more nodes stand in the table.</p>",
                 status->node_count - drawing.count);
    html_raw(html, "</section>\n");
}
