/* Services: which endpoints are ready, and the environment that refers to them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/node_internal.h"
#include "proto/record/value_codec.h"

#define ENV_VALUE_MAX 4096 /* bytes of one rendered value, terminating zero included */
#define ENDPOINTS_MAX 64   /* ready endpoints of one workload that are looked at */
#define CHOICES_MAX 64     /* ways to render an environment that are looked at */

static uint16_t port_named(const struct value_port *ports, uint8_t count, const char *name)
{
    for (uint8_t i = 0; i < count; i++)
        if (strcmp(ports[i].name, name) == 0)
            return ports[i].port;
    return 0;
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

struct endpoints {
    struct addr list[ENDPOINTS_MAX];
    unsigned count;
};

/* Adds the ready replicas on @peer; @port NULL: whatever their ports. */
static void add_ready(const struct node *node, const struct peer *peer,
                      const struct desired_workload *workload, const char *port,
                      struct endpoints *found)
{
    for (uint32_t r = 0; r < workload->replicas && found->count < ENDPOINTS_MAX; r++) {
        struct value_instance value;
        uint16_t number = 0;
        struct addr *endpoint = &found->list[found->count];
        if (!ready_record(node, peer, workload, r, &value))
            continue;
        if (port != NULL && (number = port_named(value.ports, value.port_count, port)) == 0)
            continue;
        *endpoint = peer->head.addr;
        if (workload->listen == DESIRED_LISTEN_LOCAL)
            *endpoint = (struct addr){.family = 4, .ip = {127, 0, 0, 1}};
        endpoint->port = number;
        found->count++;
    }
}

/* The most welcome first: those of this node, then by node id. */
static void find_ready(const struct node *node, const char *name, const char *port,
                       struct endpoints *found)
{
    const struct desired_workload *w =
        node->desired != NULL ? desired_workload(node->desired, name) : NULL;
    bool local_only = w != NULL && w->listen == DESIRED_LISTEN_LOCAL && port != NULL;

    found->count = 0;
    for (int others = 0; w != NULL && others <= 1; others++)
        for (size_t i = 0; i < node->peer_count; i++) {
            const struct peer *peer = &node->peers[i];
            if (peer->self == (others == 0) && node_peer_present(peer) && !(local_only && others))
                add_ready(node, peer, w, port, found);
        }
}

bool node_workload_ready(const struct node *node, const char *workload)
{
    struct endpoints found;

    find_ready(node, workload, NULL, &found);
    return found.count > 0;
}

/* Which of several endpoints each reference leads to: a number with one digit for each reference,
 * in the order in which they are rendered, to the base of how many endpoints it has. 0 is the most
 * welcome of each. */
struct choice {
    unsigned left; /* not 0 after the last reference: there is no such choice */
};

/* Text of the reference between "${" and "}". ERR_NOTFOUND: no ready endpoint. */
static int resolve(struct node *node, struct instance *instance, struct choice *choice,
                   const char *reference, size_t len, char *text, size_t room)
{
    char name[NODE_NAME_MAX + 1];
    const char *slash = memchr(reference, '/', len);
    char port[VALUE_PORT_NAME_MAX];
    struct endpoints found;
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
    find_ready(node, name, port, &found);
    if (found.count == 0) {
        snprintf(instance->reason, sizeof instance->reason, "waits for a ready endpoint of %s/%s",
                 name, port);
        return ERR_NOTFOUND;
    }
    addr_format(&found.list[choice->left % found.count], text);
    choice->left /= found.count;
    return ERR_NONE;
}

/* Renders @value into @out (ENV_VALUE_MAX bytes); what is no reference is copied. */
static int render(struct node *node, struct instance *instance, struct choice *choice,
                  const char *value, char *out)
{
    size_t used = 0;

    while (*value != '\0') {
        const char *end = value[0] == '$' && value[1] == '{' ? strchr(value, '}') : NULL;
        char text[ADDR_TEXT + NODE_NAME_MAX];
        int rc = ERR_INVALID;
        size_t len;

        if (end != NULL)
            rc = resolve(node, instance, choice, value + 2, (size_t)(end - value) - 2, text,
                         sizeof text);
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

struct rendered {
    char *text;
    size_t *offsets; /* of name and value of every pair */
    uint64_t generation;
};

static void rendered_free(struct rendered *r)
{
    free(r->text);
    free(r->offsets);
    *r = (struct rendered){.text = NULL};
}

/* Renders by @number (struct choice). ERR_NOTFOUND too where there is no such choice. */
static int render_all(struct node *node, struct instance *instance, unsigned number,
                      struct rendered *out)
{
    const struct desired_map *env = &instance->workload->env;
    struct choice choice = {number};
    char value[ENV_VALUE_MAX];
    size_t used = 0;
    int rc = ERR_NONE;

    *out = (struct rendered){.generation = instance->workload->generation};
    out->offsets = calloc(2 * env->count + 1, sizeof *out->offsets);
    if (out->offsets == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < env->count && rc == ERR_NONE; i++) {
        rc = render(node, instance, &choice, env->pairs[i].value, value);
        if (rc == ERR_LIMIT)
            snprintf(instance->reason, sizeof instance->reason,
                     "the value of %.64s is longer than %d bytes when rendered", env->pairs[i].name,
                     ENV_VALUE_MAX - 1);
        if (rc == ERR_NONE)
            rc = append(&out->text, &used, env->pairs[i].name, &out->offsets[2 * i]);
        if (rc == ERR_NONE)
            rc = append(&out->text, &used, value, &out->offsets[2 * i + 1]);
        if (rc == ERR_NONE && strcmp(value, env->pairs[i].value) != 0)
            out->generation = hash64_mix(out->generation, hash64_string(value));
    }
    if (rc == ERR_NONE && choice.left != 0)
        rc = ERR_NOTFOUND;
    if (rc != ERR_NONE)
        rendered_free(out);
    return rc;
}

/* Looks for a way to render that leads to @running. */
static int prefer_running(struct node *node, struct instance *instance, uint64_t running,
                          struct rendered *best)
{
    for (unsigned number = 1; number < CHOICES_MAX && best->generation != running; number++) {
        struct rendered other;
        int rc = render_all(node, instance, number, &other);
        if (rc == ERR_NOMEM)
            return rc;
        if (rc != ERR_NONE)
            break;
        if (other.generation == running) {
            rendered_free(best);
            *best = other;
            break;
        }
        rendered_free(&other);
    }
    return ERR_NONE;
}

int node_env_render(struct node *node, struct instance *instance, uint64_t running,
                    uint64_t *generation)
{
    size_t count = instance->workload->env.count;
    struct desired_pair *pairs = NULL;
    struct rendered best;
    int rc = render_all(node, instance, 0, &best);

    if (rc == ERR_NONE && running != 0)
        rc = prefer_running(node, instance, running, &best);
    if (rc == ERR_NONE && (pairs = calloc(count + 1, sizeof *pairs)) == NULL)
        rc = ERR_NOMEM;
    if (rc != ERR_NONE) {
        rendered_free(&best);
        return rc;
    }
    for (size_t i = 0; i < count; i++) {
        pairs[i].name = best.text + best.offsets[2 * i];
        pairs[i].value = best.text + best.offsets[2 * i + 1];
    }
    /* A start effect of this step may still borrow what is replaced. */
    node_keep(node, instance->env_text);
    node_keep(node, instance->env);
    instance->env_text = best.text;
    instance->env = pairs;
    instance->env_count = count;
    instance->env_generation = best.generation;
    *generation = best.generation;
    free(best.offsets);
    return ERR_NONE;
}
