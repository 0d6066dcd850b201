/* W3C trace context (w3.org/TR/trace-context, level 1): which trace a message belongs to. Pure.
 *
 * Ids come from what is traced, not from chance: a message that is made again after a crash is, to
 * the last byte of its headers, the one that was made before it. */
#ifndef COVEY_WORKLOADS_TRACE_H
#define COVEY_WORKLOADS_TRACE_H

#include <stdbool.h>
#include <stddef.h>

#define TRACE_PARENT_TEXT 56 /* "00-" trace "-" span "-" flags, and the terminating zero */
#define TRACE_STATE_MAX 512  /* bytes of a tracestate that is passed on; a longer one is dropped */

struct trace {
    char trace_id[33];
    char span_id[17];
    unsigned char flags;
};

/* Reads a traceparent. False for one that the standard calls invalid; versions above 0 are read as
 * far as version 0 goes. */
bool trace_parse(const char *text, size_t len, struct trace *trace);

/* Begins the trace of @subject, sampled. */
void trace_begin(struct trace *trace, const char *subject);

/* The span of @name, below the span that @parent holds; the two may be the same object. */
void trace_child(struct trace *trace, const struct trace *parent, const char *name);

void trace_format(const struct trace *trace, char text[TRACE_PARENT_TEXT]);

#endif
