/* Whether what others wait for is ready, across kinds. */
#include <stdio.h>
#include <string.h>

#include "agent/core/node_internal.h"
#include "proto/record/value_codec.h"

static const struct desired_vip *find_vip(const struct desired *desired, const char *name)
{
    for (size_t i = 0; i < desired->vip_count; i++)
        if (strcmp(desired->vips[i].name, name) == 0)
            return &desired->vips[i];
    return NULL;
}

/* Somebody who is here holds it. */
static bool vip_ready(const struct node *node, const struct desired_vip *vip)
{
    char address[ADDR_TEXT], key[RECORD_KEY_MAX];

    addr_format_ip(node_vip_address(node, vip), address);
    snprintf(key, sizeof key, "vip/%s", address);
    for (size_t i = 0; i < node->peer_count; i++) {
        struct record_view record;
        struct value_vip value;
        if (node_peer_present(&node->peers[i]) &&
            records_get(node->records, node->peers[i].id, key, &record) == ERR_NONE &&
            value_vip_decode(record.value, record.value_len, &value) == ERR_NONE && value.holding)
            return true;
    }
    return false;
}

static bool route_ready(const struct node *node, const char *name)
{
    const struct desired *d = node->desired;

    for (size_t i = 0; i < d->route_count; i++) {
        const struct desired_vip *vip;
        if (strcmp(d->routes[i].name, name) != 0)
            continue;
        vip = d->routes[i].vip != NULL ? find_vip(d, d->routes[i].vip) : NULL;
        return node_workload_ready(node, d->routes[i].workload) &&
               (vip == NULL || vip_ready(node, vip));
    }
    return false;
}

bool node_object_ready(const struct node *node, const char *object, char *reason, size_t size)
{
    const char *slash = strchr(object, '/');
    const char *name = slash != NULL ? slash + 1 : object;
    size_t len = (size_t)(name - object);
    const struct desired_vip *vip;

    if (strncmp(object, "VirtualIP/", len) == 0) {
        vip = find_vip(node->desired, name);
        snprintf(reason, size, "waits for the address %s to be held", name);
        return vip != NULL && vip_ready(node, vip);
    }
    if (strncmp(object, "Route/", len) == 0) {
        snprintf(reason, size, "waits for the route %s to have somebody who answers", name);
        return route_ready(node, name);
    }
    if (strncmp(object, "SealedSecret/", len) == 0) /* part of the desired state itself */
        return desired_secret(node->desired, name) != NULL;
    snprintf(reason, size, "waits for %.100s, which waits for k3s", object);
    return false;
}
