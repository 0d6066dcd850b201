/* Ports of instances, and the listening sockets of those that hand them over. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/io/os_port.h"
#include "agent/io/uv_instances_inside.h"

#define PORTS_USED_MAX 1024

/* The sockets of an instance, open from its first process to the end of its last. */
struct socket_set {
    char name[INSTANCE_MAX];
    struct addr address; /* family 0: not known, for they came from a shim */
    uint8_t count;
    int fds[VALUE_PORTS_MAX];
    struct value_port ports[VALUE_PORTS_MAX];
    struct socket_set *next;
};

static struct addr listen_address(const struct uv_instances *instances,
                                  const struct desired_workload *workload)
{
    struct addr address = instances->config.address;

    if (workload->listen == DESIRED_LISTEN_ALL)
        address = (struct addr){.family = 4};
    else if (workload->listen == DESIRED_LISTEN_LOCAL)
        address = (struct addr){.family = 4, .ip = {127, 0, 0, 1}};
    address.port = 0;
    return address;
}

static int pick_ports(struct run *run, const struct desired_workload *workload,
                      const struct addr *address, struct err *err)
{
    const struct uv_instances *instances = run->owner;
    uint16_t used[PORTS_USED_MAX];
    size_t count = 0;

    for (const struct run *other = instances->runs; other != NULL; other = other->next)
        for (uint8_t i = 0; !other->over && i < other->port_count && count < PORTS_USED_MAX; i++)
            used[count++] = other->ports[i].port;
    for (size_t i = 0; i < workload->port_count && i < VALUE_PORTS_MAX; i++) {
        struct value_port *port = &run->ports[i];
        int rc = os_port_pick(workload->ports[i].port, address, run->name, used, count, &port->port,
                              err);
        if (rc != ERR_NONE)
            return rc;
        snprintf(port->name, sizeof port->name, "%s", workload->ports[i].name);
        if (count < PORTS_USED_MAX)
            used[count++] = port->port;
        run->port_count++;
    }
    return ERR_NONE;
}

/* ---- sockets ---- */

static struct socket_set **find_set(struct uv_instances *instances, const char *process)
{
    struct socket_set **at = &instances->sockets;
    char name[INSTANCE_MAX];

    effect_base(process, name);
    while (*at != NULL && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    return at;
}

static void drop_set(struct socket_set **at)
{
    struct socket_set *set = *at;

    *at = set->next;
    for (uint8_t i = 0; i < set->count; i++)
        close(set->fds[i]);
    free(set);
}

/* Whether it is what the document wants now. A port that was another's then is kept. */
static bool set_fits(const struct socket_set *set, const struct desired_workload *workload,
                     const struct addr *address)
{
    if (set->count != workload->port_count ||
        (set->address.family != 0 && !addr_equal(&set->address, address)))
        return false;
    for (uint8_t i = 0; i < set->count; i++) {
        uint16_t wanted = workload->ports[i].port;
        uint16_t port = set->ports[i].port;
        if (strcmp(set->ports[i].name, workload->ports[i].name) != 0 ||
            (wanted != 0 && wanted != port && (port < OS_PORT_FIRST || port > OS_PORT_LAST)))
            return false;
    }
    return true;
}

static struct socket_set *add_set(struct run *run)
{
    struct uv_instances *instances = run->owner;
    struct socket_set *set = calloc(1, sizeof *set);

    if (set == NULL)
        return NULL;
    effect_base(run->name, set->name);
    set->next = instances->sockets;
    instances->sockets = set;
    return set;
}

static int open_set(struct run *run, const struct desired_workload *workload,
                    const struct addr *address, struct err *err)
{
    int rc = pick_ports(run, workload, address, err);
    struct socket_set *set = rc == ERR_NONE ? add_set(run) : NULL;

    if (rc != ERR_NONE)
        return rc;
    if (set == NULL)
        return err_set(err, ERR_NOMEM, "open sockets: %s", err_text(ERR_NOMEM));
    set->address = *address;
    for (uint8_t i = 0; i < run->port_count && rc == ERR_NONE; i++) {
        uint16_t bound;
        rc = os_port_listen(address, run->ports[i].port, &set->fds[i], &bound, err);
        if (rc == ERR_NONE)
            set->ports[set->count++] = run->ports[i];
    }
    if (rc != ERR_NONE)
        drop_set(find_set(run->owner, run->name));
    return rc;
}

int uv_instances_ports(struct run *run, const struct desired_workload *workload,
                       struct shim_spec *spec, struct err *err)
{
    const struct addr local = {.family = 4, .ip = {127, 0, 0, 1}};
    struct addr address = listen_address(run->owner, workload);
    struct socket_set **at = find_set(run->owner, run->name);
    const struct socket_set *set;
    int rc = ERR_NONE;

    if (*at != NULL && !(workload->hand_over && set_fits(*at, workload, &address)))
        drop_set(at);
    if (!workload->hand_over)
        return pick_ports(run, workload, &address, err);
    at = find_set(run->owner, run->name);
    if (*at == NULL)
        rc = open_set(run, workload, &address, err);
    if (rc != ERR_NONE)
        return rc;
    set = *find_set(run->owner, run->name);
    run->port_count = set->count;
    memcpy(run->ports, set->ports, sizeof run->ports);
    memcpy(spec->sockets, set->fds, set->count * sizeof *set->fds);
    rc = os_port_listen(&local, 0, &spec->sockets[set->count], &run->probe_port, err);
    if (rc == ERR_NONE)
        spec->listen = set->count + 1u;
    return rc;
}

/* After a restart of the agent they come from whichever shim speaks first. */
void uv_instances_keep_sockets(struct run *run)
{
    int sockets[SHIM_LISTEN_MAX];
    uint32_t count = os_shim_take_sockets(run->shim, sockets);
    struct socket_set *set = NULL;

    if (count == run->port_count + 1u && *find_set(run->owner, run->name) == NULL)
        set = add_set(run);
    if (set != NULL) {
        set->count = run->port_count;
        memcpy(set->ports, run->ports, sizeof set->ports);
        memcpy(set->fds, sockets, set->count * sizeof *sockets);
    }
    for (uint32_t i = set != NULL ? set->count : 0; i < count; i++)
        close(sockets[i]);
}

void uv_instances_forget_sockets(struct uv_instances *instances, const char *process)
{
    struct socket_set **at = find_set(instances, process);
    char name[INSTANCE_MAX];

    for (const struct run *run = instances->runs; run != NULL; run = run->next) {
        effect_base(run->name, name);
        if (*at != NULL && !run->over && strcmp(name, (*at)->name) == 0)
            return; /* its other process goes on with them */
    }
    if (*at != NULL)
        drop_set(at);
}

void uv_instances_close_sockets(struct uv_instances *instances)
{
    while (instances->sockets != NULL)
        drop_set(&instances->sockets);
}
