#include "workloads/lib/route.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "workloads/lib/emit.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool percent_decode(char *text)
{
    char *to = text;
    size_t len;

    for (const char *from = text; *from != '\0'; from++) {
        char c = *from;
        if (c == '%') {
            int high = hex_digit(from[1]);
            int low = high < 0 ? -1 : hex_digit(from[2]);
            if (low < 0)
                return false;
            c = (char)(high * 16 + low);
            from += 2;
        }
        if ((unsigned char)c < 0x20 || c == 0x7f)
            return false;
        *to++ = c;
    }
    *to = '\0';
    len = (size_t)(to - text);
    while (len > 0) {
        size_t n = utf8_sequence(to - len, len);
        if (n == 0)
            return false;
        len -= n;
    }
    return true;
}

/* Cuts the path into decoded segments. */
static enum route_result split(const char *path, struct route_match *match,
                               const char *segments[ROUTE_SEGMENTS_MAX], size_t *count)
{
    size_t len = strnlen(path, ROUTE_PATH_MAX + 1);
    char *rest = match->text;

    if (len > ROUTE_PATH_MAX)
        return ROUTE_TOO_LONG;
    if (path[0] != '/')
        return ROUTE_BAD_PATH;
    memcpy(match->text, path, len + 1);
    *count = 0;
    while (rest != NULL) {
        char *segment = rest + 1; /* behind the slash */
        rest = strchr(segment, '/');
        if (*count == ROUTE_SEGMENTS_MAX)
            return ROUTE_TOO_LONG;
        if (rest != NULL)
            *rest = '\0';
        if (!percent_decode(segment) || strcmp(segment, ".") == 0 || strcmp(segment, "..") == 0)
            return ROUTE_BAD_PATH;
        segments[(*count)++] = segment;
    }
    return ROUTE_FOUND;
}

static bool matches(const char *pattern, const char *const *segments, size_t count,
                    struct route_match *match)
{
    match->param_count = 0;
    for (size_t i = 0; i < count; i++) {
        size_t len;
        assert(*pattern == '/');
        pattern++;
        len = strcspn(pattern, "/");
        if (*pattern == '*')
            return true;
        if (*pattern == '{') {
            if (segments[i][0] == '\0')
                return false;
            assert(match->param_count < ROUTE_PARAMS_MAX);
            match->params[match->param_count++] = segments[i];
        } else if (strncmp(pattern, segments[i], len) != 0 || segments[i][len] != '\0') {
            return false;
        }
        pattern += len;
        if (*pattern == '\0')
            return i + 1 == count;
    }
    return false;
}

static void allow(struct route_match *match, const char *method)
{
    size_t used = strlen(match->allowed);

    snprintf(match->allowed + used, sizeof match->allowed - used, "%s%s%s", used > 0 ? ", " : "",
             method, strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

enum route_result route_find(const struct route *routes, size_t count, const char *method,
                             const char *path, struct route_match *match)
{
    const char *segments[ROUTE_SEGMENTS_MAX];
    size_t segment_count;
    enum route_result result;

    match->route = NULL;
    match->allowed[0] = '\0';
    result = split(path, match, segments, &segment_count);
    if (result != ROUTE_FOUND)
        return result;
    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    for (size_t i = 0; i < count; i++) {
        if (!matches(routes[i].pattern, segments, segment_count, match))
            continue;
        if (strcmp(routes[i].method, method) == 0) {
            match->route = &routes[i];
            return ROUTE_FOUND;
        }
        allow(match, routes[i].method);
    }
    return match->allowed[0] != '\0' ? ROUTE_NO_METHOD : ROUTE_NO_PATH;
}
