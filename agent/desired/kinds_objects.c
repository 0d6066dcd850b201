/* What Route, K3s and SealedSecret say. */
#include <string.h>

#include "agent/desired/formats.h"
#include "agent/desired/kinds.h"

/* Route */

static const struct schema_field service_fields[] = {
    {.name = "name",
     .type = SCHEMA_TEXT,
     .required = true,
     .format = &format_name,
     .offset = offsetof(struct kind_service, name),
     .help = "the workload behind the route"},
    {.name = "port",
     .type = SCHEMA_TEXT,
     .format = &format_probe_port,
     .offset = offsetof(struct kind_service, port),
     .help = "name or number of its port; the only one where nothing is said"},
    {.name = NULL},
};

static const struct schema_table service_table = {
    .help = "a port of a workload",
    .size = sizeof(struct kind_service),
    .fields = service_fields,
};

static const struct schema_field route_fields[] = {
    {.name = "hosts",
     .type = SCHEMA_TEXTS,
     .required = true,
     .low = 1,
     .high = DESIRED_HOSTS_MAX,
     .format = &format_host,
     .offset = offsetof(struct kind_route, hosts),
     .help = "host names that are answered, such as grafana.local"},
    {.name = "path",
     .type = SCHEMA_TEXT,
     .format = &format_url_path,
     .offset = offsetof(struct kind_route, path),
     .help = "prefix of the path; the longest one wins; / where nothing is said"},
    {.name = "service",
     .type = SCHEMA_OBJECT,
     .required = true,
     .table = &service_table,
     .offset = offsetof(struct kind_route, service),
     .help = "who answers: the ready replicas of a workload"},
    {.name = "virtualIP",
     .type = SCHEMA_TEXT,
     .format = &format_name,
     .offset = offsetof(struct kind_route, vip),
     .help = "name of the VirtualIP that is listened on; every one where nothing is said"},
    {.name = NULL},
};

const struct schema_table kind_route_table = {
    .help = "which workload answers for a host name",
    .size = sizeof(struct kind_route),
    .fields = route_fields,
};

/* K3s */

static const char *const parts[] = {"traefik",          "servicelb",       "metrics-server",
                                    "local-storage",    "coredns",         "network-policy",
                                    "cloud-controller", "helm-controller", NULL};

static bool is_part(const char *text)
{
    for (size_t i = 0; parts[i] != NULL; i++)
        if (strcmp(parts[i], text) == 0)
            return true;
    return false;
}

static const struct schema_format format_part = {
    .expected = "a part of k3s, such as traefik or servicelb",
    .pattern = "^(traefik|servicelb|metrics-server|local-storage|coredns|network-policy|"
               "cloud-controller|helm-controller)$",
    .check = is_part,
};

static const struct schema_field k3s_fields[] = {
    {.name = "servers",
     .type = SCHEMA_TEXTS,
     .required = true,
     .low = 1,
     .high = 7,
     .format = &format_name,
     .offset = offsetof(struct kind_k3s, servers),
     .help = "nodes that run the server"},
    {.name = "agents",
     .type = SCHEMA_MAP,
     .high = DESIRED_LABELS_MAX,
     .keys = &format_label_key,
     .format = &format_label_value,
     .offset = offsetof(struct kind_k3s, agents),
     .help = "labels of the nodes that run the agent; all others where nothing is said"},
    {.name = "version",
     .type = SCHEMA_TEXT,
     .format = &format_not_empty,
     .offset = offsetof(struct kind_k3s, version),
     .help = "version that is expected, such as v1.34.3+k3s1"},
    {.name = "interface",
     .type = SCHEMA_TEXT,
     .format = &format_port_name,
     .offset = offsetof(struct kind_k3s, interface),
     .help = "network interface of the pods' network; the node's own where nothing is said"},
    {.name = "disable",
     .type = SCHEMA_TEXTS,
     .high = 16,
     .format = &format_part,
     .offset = offsetof(struct kind_k3s, disable),
     .help = "parts of k3s that are left out, such as traefik"},
    {.name = "args",
     .type = SCHEMA_TEXTS,
     .high = DESIRED_ARGS_MAX,
     .offset = offsetof(struct kind_k3s, args),
     .help = "further arguments of the server"},
    {.name = NULL},
};

const struct schema_table kind_k3s_table = {
    .help = "k3s on the flock's nodes",
    .size = sizeof(struct kind_k3s),
    .fields = k3s_fields,
};

/* SealedSecret */

static const struct schema_field recipient_fields[] = {
    {.name = "node",
     .type = SCHEMA_TEXT,
     .required = true,
     .format = &format_name,
     .offset = offsetof(struct kind_recipient, node),
     .help = "name of the node"},
    {.name = "key",
     .type = SCHEMA_TEXT,
     .required = true,
     .format = &format_base64,
     .offset = offsetof(struct kind_recipient, key),
     .help = "the data key, sealed to that node"},
    {.name = NULL},
};

static const struct schema_table recipient_table = {
    .help = "a node that can open the values",
    .size = sizeof(struct kind_recipient),
    .fields = recipient_fields,
};

static const struct schema_field secret_fields[] = {
    {.name = "recipients",
     .type = SCHEMA_LIST,
     .required = true,
     .low = 1,
     .high = DESIRED_NODES_MAX,
     .table = &recipient_table,
     .offset = offsetof(struct kind_secret, recipients),
     .help = "nodes that can open the values"},
    {.name = "encryptedData",
     .type = SCHEMA_MAP,
     .required = true,
     .low = 1,
     .high = DESIRED_SECRET_KEYS_MAX,
     .keys = &format_secret_key,
     .format = &format_base64,
     .offset = offsetof(struct kind_secret, data),
     .help = "values by name, encrypted; ${secret:NAME/KEY} in env and files names one"},
    {.name = NULL},
};

const struct schema_table kind_secret_table = {
    .help = "values that only some nodes can open; written by agentctl secret seal",
    .size = sizeof(struct kind_secret),
    .fields = secret_fields,
};
