#include "agent/desired/reference.h"

#include <string.h>

#define SERVICE "${service:"
#define NODE "${node:"

static const char *earlier(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        return a != NULL ? a : b;
    return a < b ? a : b;
}

static int read_service(const char *body, size_t len, struct reference *reference)
{
    const char *slash = memchr(body, '/', len);
    size_t name_len, port_len;

    if (slash == NULL)
        return -1;
    name_len = (size_t)(slash - body);
    port_len = len - name_len - 1;
    if (name_len >= sizeof reference->workload || port_len >= sizeof reference->port)
        return -1;
    memcpy(reference->workload, body, name_len);
    reference->workload[name_len] = '\0';
    memcpy(reference->port, slash + 1, port_len);
    reference->port[port_len] = '\0';
    return name_valid(reference->workload) && name_valid(reference->port) ? 1 : -1;
}

int reference_next(const char *text, size_t from, struct reference *reference, struct err *err)
{
    const char *start = earlier(strstr(text + from, SERVICE), strstr(text + from, NODE));
    const char *body, *close;
    size_t len;

    if (start == NULL)
        return 0;
    body = strchr(start, ':') + 1;
    len = strcspn(body, "}\n");
    close = body + len;
    *reference =
        (struct reference){.begin = (size_t)(start - text), .end = (size_t)(close - text) + 1};
    if (*close == '}' && strncmp(start, NODE, strlen(NODE)) == 0) {
        reference->kind = body[0] == 'n' ? REFERENCE_NODE_NAME : REFERENCE_NODE_ADDRESS;
        if (strncmp(body, "name}", 5) == 0 || strncmp(body, "address}", 8) == 0)
            return 1;
    } else if (*close == '}') {
        reference->kind = REFERENCE_SERVICE;
        if (read_service(body, len, reference) == 1)
            return 1;
    }
    err_set(err, ERR_INVALID,
            "\"%.40s\" is no reference; expected ${service:NAME/PORT}, "
            "${node:name} or ${node:address}",
            start);
    return -1;
}
