/* Services: which endpoints are ready, and the environment that refers to them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/node_internal.h"
#include "proto/record/value_codec.h"

#define ENV_VALUE_MAX 4096 /* bytes of one rendered value, terminating zero included */

static uint16_t port_named(const struct value_port *ports, uint8_t count, const char *name)
{
    for (uint8_t i = 0; i < count; i++)
        if (strcmp(ports[i].name, name) == 0)
            return ports[i].port;
    return 0;
}

static void node_ip(const struct node *node, const struct desired_workload *workload,
                    const struct peer *peer, uint16_t port, struct addr *endpoint)
{
    *endpoint = peer->head.addr;
    if (workload->listen == DESIRED_LISTEN_LOCAL)
        *endpoint = (struct addr){.family = 4, .ip = {127, 0, 0, 1}};
    endpoint->port = port;
    (void)node;
}

/* The value of the record of @replica on @peer, if it is ready. */
static bool ready_record(const struct node *node, const struct peer *peer,
                         const struct desired_workload *workload, uint32_t replica,
                         struct value_instance *value)
{
    char key[RECORD_KEY_MAX];
    struct record_view record;

    snprintf(key, sizeof key, "instance/%s.%u", workload->name, (unsigned)replica);
    if (records_get(node->records, peer->id, key, &record) != ERR_NONE)
        return false;
    return value_instance_decode(record.value, record.value_len, value) == ERR_NONE &&
           value->state == VALUE_READY;
}

/* Finds a ready replica; @port NULL: any. */
static bool find_ready(const struct node *node, const struct desired_workload *workload,
                       const char *port, struct addr *endpoint)
{
    bool found = false;
    bool local_only = workload->listen == DESIRED_LISTEN_LOCAL && port != NULL;

    for (size_t i = 0; i < node->peer_count; i++) {
        const struct peer *peer = &node->peers[i];
        if (!node_peer_present(peer) || (local_only && !peer->self))
            continue;
        for (uint32_t r = 0; r < workload->replicas; r++) {
            struct value_instance value;
            uint16_t number = 0;
            if (!ready_record(node, peer, workload, r, &value))
                continue;
            if (port != NULL && (number = port_named(value.ports, value.port_count, port)) == 0)
                continue;
            if (found && !peer->self)
                break;
            node_ip(node, workload, peer, number, endpoint);
            found = true;
            if (peer->self)
                return true;
            break;
        }
    }
    return found;
}

bool node_endpoint(const struct node *node, const char *workload, const char *port,
                   struct addr *endpoint)
{
    const struct desired_workload *w =
        node->desired != NULL ? desired_workload(node->desired, workload) : NULL;

    return w != NULL && find_ready(node, w, port, endpoint);
}

bool node_workload_ready(const struct node *node, const char *workload)
{
    struct addr endpoint;

    return node_endpoint(node, workload, NULL, &endpoint);
}

/* Text of the reference between "${" and "}". ERR_NOTFOUND: no ready endpoint. */
static int resolve(struct node *node, struct instance *instance, const char *reference, size_t len,
                   char *text, size_t room)
{
    char name[NODE_NAME_MAX + 1];
    const char *slash = memchr(reference, '/', len);
    char port[VALUE_PORT_NAME_MAX];
    struct addr endpoint;
    size_t name_len;
    size_t port_len;

    if (len == strlen("node:name") && memcmp(reference, "node:name", len) == 0) {
        snprintf(text, room, "%s", node->config.head.name);
        return ERR_NONE;
    }
    if (len == strlen("node:address") && memcmp(reference, "node:address", len) == 0) {
        addr_format_ip(&node->config.head.addr, text);
        return ERR_NONE;
    }
    if (slash == NULL || len < strlen("service:") ||
        memcmp(reference, "service:", strlen("service:")) != 0)
        return ERR_INVALID;
    name_len = (size_t)(slash - reference) - strlen("service:");
    port_len = len - (size_t)(slash - reference) - 1;
    if (name_len >= sizeof name || port_len >= sizeof port)
        return ERR_INVALID;
    memcpy(name, reference + strlen("service:"), name_len);
    name[name_len] = '\0';
    memcpy(port, slash + 1, port_len);
    port[port_len] = '\0';
    if (!node_endpoint(node, name, port, &endpoint)) {
        snprintf(instance->reason, sizeof instance->reason, "waits for a ready endpoint of %s/%s",
                 name, port);
        return ERR_NOTFOUND;
    }
    addr_format(&endpoint, text);
    return ERR_NONE;
}

/* Renders @value into @out (ENV_VALUE_MAX bytes); what is no reference is copied. */
static int render(struct node *node, struct instance *instance, const char *value, char *out)
{
    size_t used = 0;

    while (*value != '\0') {
        const char *end = value[0] == '$' && value[1] == '{' ? strchr(value, '}') : NULL;
        char text[ADDR_TEXT + NODE_NAME_MAX];
        int rc = ERR_INVALID;
        size_t len;

        if (end != NULL)
            rc = resolve(node, instance, value + 2, (size_t)(end - value) - 2, text, sizeof text);
        if (rc == ERR_NOTFOUND)
            return rc;
        if (rc == ERR_NONE) {
            len = strlen(text);
            if (used + len >= ENV_VALUE_MAX)
                return ERR_LIMIT;
            memcpy(out + used, text, len);
            used += len;
            value = end + 1;
        } else {
            if (used + 1 >= ENV_VALUE_MAX)
                return ERR_LIMIT;
            out[used++] = *value++;
        }
    }
    out[used] = '\0';
    return ERR_NONE;
}

/* Appends @value to the growing @text; *at is its offset. */
static int append(char **text, size_t *used, const char *value, size_t *at)
{
    size_t len = strlen(value) + 1;
    char *grown = realloc(*text, *used + len);

    if (grown == NULL)
        return ERR_NOMEM;
    *text = grown;
    memcpy(grown + *used, value, len);
    *at = *used;
    *used += len;
    return ERR_NONE;
}

/* Renders name and value of every pair into one block: 2 * count offsets. */
static int render_all(struct node *node, struct instance *instance, char **text, size_t *offsets,
                      uint64_t *hash)
{
    const struct desired_map *env = &instance->workload->env;
    char value[ENV_VALUE_MAX];
    size_t used = 0;

    for (size_t i = 0; i < env->count; i++) {
        int rc = render(node, instance, env->pairs[i].value, value);
        if (rc == ERR_LIMIT)
            snprintf(instance->reason, sizeof instance->reason,
                     "the value of %.64s is longer than %d bytes when rendered", env->pairs[i].name,
                     ENV_VALUE_MAX - 1);
        if (rc == ERR_NONE)
            rc = append(text, &used, env->pairs[i].name, &offsets[2 * i]);
        if (rc == ERR_NONE)
            rc = append(text, &used, value, &offsets[2 * i + 1]);
        if (rc != ERR_NONE)
            return rc;
        if (strcmp(value, env->pairs[i].value) != 0)
            *hash = hash64_mix(*hash, hash64_string(value));
    }
    return ERR_NONE;
}

int node_env_render(struct node *node, struct instance *instance, uint64_t *generation)
{
    size_t count = instance->workload->env.count;
    char *text = NULL;
    uint64_t hash = instance->workload->generation;
    size_t *offsets = calloc(2 * count + 1, sizeof *offsets);
    struct desired_pair *pairs = calloc(count + 1, sizeof *pairs);
    int rc = ERR_NOMEM;

    if (offsets == NULL || pairs == NULL)
        goto out;
    rc = render_all(node, instance, &text, offsets, &hash);
    if (rc != ERR_NONE)
        goto out;
    for (size_t i = 0; i < count; i++) {
        pairs[i].name = text + offsets[2 * i];
        pairs[i].value = text + offsets[2 * i + 1];
    }
    /* A start effect of this step may still borrow what is replaced. */
    node_keep(node, instance->env_text);
    node_keep(node, instance->env);
    instance->env_text = text;
    instance->env = pairs;
    instance->env_count = count;
    *generation = hash;
    text = NULL;
    pairs = NULL;

out:
    free(text);
    free(pairs);
    free(offsets);
    return rc;
}
