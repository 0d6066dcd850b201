/* Routes and the reading of request targets. Pure.
 *
 * A pattern is a path whose segments are literals or parameters: "/api/users/{id}". A parameter
 * takes exactly one segment that is not empty. A last segment "*" takes all that follow, at least
 * one. Segments are percent-decoded one by one, so "%2F" never makes a new segment; "." and "..",
 * bad escapes, control characters and bytes that are not UTF-8 make the whole path bad. */
#ifndef COVEY_WORKLOADS_ROUTE_H
#define COVEY_WORKLOADS_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#define ROUTE_PATH_MAX 1024 /* bytes of a path as it is sent */
#define ROUTE_SEGMENTS_MAX 16
#define ROUTE_PARAMS_MAX 4
#define ROUTES_MAX 64

struct request;
typedef void route_handler(struct request *request, void *context);

struct route {
    const char *method; /* in capitals; "GET" answers HEAD too */
    const char *pattern;
    route_handler *handle;
    size_t body_max; /* bytes of the largest body that is accepted; 0: the body is not read */
};

enum route_result {
    ROUTE_FOUND,
    ROUTE_BAD_PATH,  /* 400 */
    ROUTE_TOO_LONG,  /* 414: more than ROUTE_PATH_MAX bytes or ROUTE_SEGMENTS_MAX segments */
    ROUTE_NO_PATH,   /* 404 */
    ROUTE_NO_METHOD, /* 405: `allowed` says which methods there are */
};

struct route_match {
    const struct route *route;
    size_t param_count;
    const char *params[ROUTE_PARAMS_MAX]; /* decoded, in the pattern's order; lie in text */
    char allowed[64];                     /* "GET, HEAD, POST" */
    char text[ROUTE_PATH_MAX + 1];
};

/* Finds the first of @routes that takes @method and @path (without the query). */
enum route_result route_find(const struct route *routes, size_t count, const char *method,
                             const char *path, struct route_match *match);

/* Decodes %XX in place and terminates. False for a bad escape, a control character (a zero byte
 * too) or a result that is not UTF-8; the text is then undefined. */
bool percent_decode(char *text);

#endif
