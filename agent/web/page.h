/* The status page: HTML rendered here that is complete without JavaScript, and its assets. It only
 * shows, and loads nothing from elsewhere. assets/app.js fetches the page again when the stream
 * says that something changed, and puts what differs in its place: there is one renderer. */
#ifndef COVEY_WEB_PAGE_H
#define COVEY_WEB_PAGE_H

#include <stddef.h>
#include <stdint.h>

#include "agent/core/status.h"
#include "proto/base/err.h"

struct page_event { /* newest first; texts are escaped by the page */
    int64_t time_ms;
    const char *severity; /* "info", "warning", "error" */
    const char *subject;
    const char *text;
};

#define PAGE_EVENTS_MAX 50 /* shown; further ones are left out */

/* The whole page as HTML (malloc; freed by the caller). @status NULL: this node is in no flock yet,
 * and @self_name is its name. Errors: ERR_NOMEM. */
int page_render(const struct status *status, const char *self_name, const struct page_event *events,
                size_t event_count, char **html, size_t *size);

/* An embedded asset: "/style.css", "/app.js", "/icon.svg". NULL if there is none of that path. */
struct page_asset {
    const char *path;
    const char *type; /* Content-Type */
    const char *data;
    size_t size;
    const char *etag;           /* quoted hash of the content */
    const char *const *headers; /* ETag and how to cache it, as uv_http_reply takes them */
};
const struct page_asset *page_asset(const char *path);

/* Content-Security-Policy and the other headers of every answer of the page, "Name", "value" pairs,
 * NULL-terminated, as uv_http_reply takes them. */
const char *const *page_headers(void);

#endif
