/* The head of an HTTP/1.1 reply, as the API sends it. Pure. */
#ifndef COVEY_WORKLOADS_SMARTBIZ_UI_REPLY_HEAD_H
#define COVEY_WORKLOADS_SMARTBIZ_UI_REPLY_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REPLY_HEAD_MAX 8192 /* bytes */
#define REPLY_VALUE_MAX 255

/* Headers that are handed on. */
enum reply_header_name {
    REPLY_CONTENT_TYPE,
    REPLY_ETAG,
    REPLY_LOCATION,
    REPLY_RETRY_AFTER,
    REPLY_IDEMPOTENCY_REPLAYED,
    REPLY_CONTENT_DISPOSITION,
    REPLY_ALLOW,
    REPLY_CONTENT_SECURITY_POLICY,
    REPLY_HEADERS,
};
extern const char *const reply_header_names[REPLY_HEADERS];

struct reply_head {
    int status;
    uint64_t length; /* of the body */
    bool has_length;
    bool keep_alive;
    char values[REPLY_HEADERS][REPLY_VALUE_MAX + 1]; /* empty: not there */
};

enum reply_head_result {
    REPLY_HEAD_DONE,
    REPLY_HEAD_MORE, /* it goes on behind @len */
    REPLY_HEAD_BAD,  /* no HTTP/1.x, or what is not understood here: a transfer coding, two lengths
                      */
};

/* Reads from the @len bytes at @text; *@used is the head's length when it is done. */
enum reply_head_result reply_head_read(const char *text, size_t len, struct reply_head *head,
                                       size_t *used);

#endif
