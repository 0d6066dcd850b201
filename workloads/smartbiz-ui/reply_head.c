#include "workloads/smartbiz-ui/reply_head.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

const char *const reply_header_names[REPLY_HEADERS] = {
    [REPLY_CONTENT_TYPE] = "Content-Type",
    [REPLY_ETAG] = "ETag",
    [REPLY_LOCATION] = "Location",
    [REPLY_RETRY_AFTER] = "Retry-After",
    [REPLY_IDEMPOTENCY_REPLAYED] = "Idempotency-Replayed",
    [REPLY_CONTENT_DISPOSITION] = "Content-Disposition",
    [REPLY_ALLOW] = "Allow",
    [REPLY_CONTENT_SECURITY_POLICY] = "Content-Security-Policy",
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "HTTP/1.1 200 OK" */
static bool read_status(const char *line, size_t len, struct reply_head *head)
{
    if (len < 12 || memcmp(line, "HTTP/1.", 7) != 0 || line[8] != ' ' || !is_digit(line[9]) ||
        !is_digit(line[10]) || !is_digit(line[11]) || (len > 12 && line[12] != ' '))
        return false;
    head->status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
    head->keep_alive = line[7] == '1';
    return head->status >= 200 && head->status < 600;
}

static bool read_length(const char *value, size_t len, struct reply_head *head)
{
    uint64_t length = 0;

    if (len == 0 || len > 15 || head->has_length)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_digit(value[i]))
            return false;
        length = length * 10 + (uint64_t)(value[i] - '0');
    }
    head->length = length;
    head->has_length = true;
    return true;
}

static bool is_name(const char *name, size_t len, const char *wanted)
{
    return strlen(wanted) == len && strncasecmp(name, wanted, len) == 0;
}

static bool keep_value(char to[REPLY_VALUE_MAX + 1], const char *value, size_t len)
{
    if (len > REPLY_VALUE_MAX || to[0] != '\0')
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f)
            return false;
    memcpy(to, value, len);
    to[len] = '\0';
    return true;
}

static bool read_header(const char *line, size_t len, struct reply_head *head)
{
    const char *colon = memchr(line, ':', len);
    const char *value;
    size_t name_len;
    size_t value_len;

    if (colon == NULL || colon == line || line[0] == ' ' || line[0] == '\t')
        return false;
    name_len = (size_t)(colon - line);
    value = colon + 1;
    value_len = len - name_len - 1;
    for (; value_len > 0 && (*value == ' ' || *value == '\t'); value++)
        value_len--;
    while (value_len > 0 && (value[value_len - 1] == ' ' || value[value_len - 1] == '\t'))
        value_len--;
    if (is_name(line, name_len, "Content-Length"))
        return read_length(value, value_len, head);
    if (is_name(line, name_len, "Transfer-Encoding"))
        return false;
    if (is_name(line, name_len, "Connection"))
        head->keep_alive = head->keep_alive && !is_name(value, value_len, "close");
    for (size_t i = 0; i < REPLY_HEADERS; i++)
        if (is_name(line, name_len, reply_header_names[i]))
            return keep_value(head->values[i], value, value_len);
    return true;
}

enum reply_head_result reply_head_read(const char *text, size_t len, struct reply_head *head,
                                       size_t *used)
{
    size_t at = 0;
    bool first = true;

    memset(head, 0, sizeof *head);
    for (;;) {
        const char *line = text + at;
        const char *end = at < len ? memchr(line, '\n', len - at) : NULL;
        size_t line_len;
        if (end == NULL)
            return len < REPLY_HEAD_MAX ? REPLY_HEAD_MORE : REPLY_HEAD_BAD;
        line_len = (size_t)(end - line);
        at += line_len + 1;
        if (line_len > 0 && line[line_len - 1] == '\r')
            line_len--;
        if (at > REPLY_HEAD_MAX || memchr(line, '\0', line_len) != NULL)
            return REPLY_HEAD_BAD;
        if (first && !read_status(line, line_len, head))
            return REPLY_HEAD_BAD;
        if (!first && line_len == 0)
            break;
        if (!first && !read_header(line, line_len, head))
            return REPLY_HEAD_BAD;
        first = false;
    }
    *used = at;
    return REPLY_HEAD_DONE;
}
