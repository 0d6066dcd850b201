#include "agent/desired/reference.h"

#include <string.h>

#include "agent/desired/formats.h"

static const struct prefix {
    const char *text;
    enum reference_kind kind;
} prefixes[] = {
    {"${service:", REFERENCE_SERVICE}, {"${node:", REFERENCE_NODE_NAME},
    {"${var:", REFERENCE_VARIABLE},    {"${secret:", REFERENCE_SECRET},
    {"${file:", REFERENCE_FILE},
};

static bool copy(char *to, size_t size, const char *from, size_t len)
{
    if (len >= size)
        return false;
    memcpy(to, from, len);
    to[len] = '\0';
    return true;
}

/* "NAME/KEY" */
static bool read_pair(const char *body, size_t len, struct reference *reference)
{
    const char *slash = memchr(body, '/', len);
    size_t name_len = slash != NULL ? (size_t)(slash - body) : len;

    return slash != NULL && copy(reference->name, sizeof reference->name, body, name_len) &&
           copy(reference->key, sizeof reference->key, slash + 1, len - name_len - 1) &&
           name_valid(reference->name);
}

static bool read_body(const char *body, size_t len, struct reference *reference)
{
    switch (reference->kind) {
    case REFERENCE_SERVICE:
        return read_pair(body, len, reference) && format_port_name.check(reference->key);
    case REFERENCE_SECRET:
        return read_pair(body, len, reference) && format_secret_key.check(reference->key);
    case REFERENCE_VARIABLE:
        return copy(reference->key, sizeof reference->key, body, len) &&
               format_env_name.check(reference->key);
    case REFERENCE_FILE:
        return copy(reference->key, sizeof reference->key, body, len) &&
               format_relative_path.check(reference->key);
    default:
        if (len == 7 && memcmp(body, "address", 7) == 0)
            reference->kind = REFERENCE_NODE_ADDRESS;
        return len == 7 ? reference->kind == REFERENCE_NODE_ADDRESS
                        : len == 4 && memcmp(body, "name", 4) == 0;
    }
}

int reference_next(const char *text, size_t from, struct reference *reference, struct err *err)
{
    const struct prefix *prefix = NULL;
    const char *start = text + from;
    const char *body;
    size_t len;

    while ((start = strstr(start, "${")) != NULL) {
        for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0] && prefix == NULL; i++)
            if (strncmp(start, prefixes[i].text, strlen(prefixes[i].text)) == 0)
                prefix = &prefixes[i];
        if (prefix != NULL)
            break;
        start += 2;
    }
    if (prefix == NULL)
        return 0;
    body = start + strlen(prefix->text);
    len = strcspn(body, "}\n");
    *reference = (struct reference){.kind = prefix->kind,
                                    .begin = (size_t)(start - text),
                                    .end = (size_t)(body - text) + len + 1};
    if (body[len] == '}' && read_body(body, len, reference))
        return 1;
    err_set(err, ERR_INVALID,
            "\"%.40s\" is no reference; expected ${service:NAME/PORT}, ${var:NAME}, "
            "${secret:NAME/KEY}, ${file:PATH}, ${node:name} or ${node:address}",
            start);
    return -1;
}
