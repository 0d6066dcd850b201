/* The parts that the page is made of; only page*.c see them. */
#ifndef COVEY_WEB_PAGE_PARTS_H
#define COVEY_WEB_PAGE_PARTS_H

#include "agent/web/html.h"
#include "agent/web/page.h"

extern const struct page_asset page_assets[]; /* made by embed.cmake */
extern const size_t page_asset_count;

/* How a state looks: a tone (colour), a symbol and a word. */
struct page_look {
    const char *tone;   /* "ok", "warn", "bad", "busy", "idle" */
    const char *symbol; /* of the sprite */
    const char *word;
};

struct page_look page_look_node(enum status_member_state state);
const struct status_node *page_find_node(const struct status *status, node_id id); /* or NULL */

void page_topology(struct html *html, const struct status *status);  /* page_topology.c */
void page_nodes(struct html *html, const struct status *status);     /* page_flock.c */
void page_net(struct html *html, const struct status *status);       /* page_net.c */
void page_vips(struct html *html, const struct status *status);      /* page_flock.c */
void page_commit(struct html *html, const struct status *status);    /* page_flock.c */
void page_workloads(struct html *html, const struct status *status); /* page_work.c */
void page_drift(struct html *html, const struct status *status);     /* page_work.c */
void page_waiting(struct html *html, const struct status *status);   /* page_work.c */
void page_events(struct html *html, const struct page_event *events, size_t count,
                 int64_t now); /* page_work.c; @now in Unix seconds, 0: unknown */

#endif
