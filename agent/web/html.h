/* Writing HTML: a buffer that grows, into which text goes escaped. */
#ifndef COVEY_WEB_HTML_H
#define COVEY_WEB_HTML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/id.h"

struct html {   /* begins as {0} */
    char *data; /* malloc; zero-terminated once something was written */
    size_t size;
    size_t room;
    bool failed; /* memory ran out: nothing more is written */
};

/* Markup, as it is. */
void html_raw(struct html *html, const char *markup);

/* Markup with values: %s (escaped; NULL is nothing), %d, %u, %zu and %% are known. */
void html_put(struct html *html, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "5 min ago" or "in 40 s" seen from @now (Unix seconds; 0: the moment itself), with the moment in
 * the tooltip; @none where @at is 0. app.js keeps the words of these elements fresh. */
void html_time(struct html *html, int64_t now, int64_t at, const char *none);

/* @symbol is an id of the page's sprite (without "i-"), @tone a class: never colour alone. */
void html_badge(struct html *html, const char *tone, const char *symbol, const char *word);

/* "10.0.0.1", or nothing for no address. */
void html_ip(struct html *html, const struct addr *addr);

#endif
