#include "agent/desired/kinds.h"

#include "agent/desired/formats.h"

static const struct schema_field metadata_fields[] = {
    {.name = "name",
     .type = SCHEMA_TEXT,
     .required = true,
     .format = &format_name,
     .offset = offsetof(struct kind_metadata, name),
     .help = "name of the object, unique among its kind in the whole repository"},
    {.name = "labels",
     .type = SCHEMA_MAP,
     .high = DESIRED_LABELS_MAX,
     .keys = &format_label_key,
     .format = &format_label_value,
     .offset = offsetof(struct kind_metadata, labels),
     .help = "labels, for people and selectors"},
    {.name = NULL},
};

static const struct schema_table metadata_table = {
    .help = "what the object is called",
    .size = sizeof(struct kind_metadata),
    .fields = metadata_fields,
};

static const char *const api_versions[] = {KIND_API_VERSION, NULL};

static const struct schema_field common_fields[] = {
    {.name = "apiVersion",
     .type = SCHEMA_CONSTANT,
     .required = true,
     .choices = api_versions,
     .help = "version of Covey's own documents"},
    {.name = "metadata",
     .type = SCHEMA_OBJECT,
     .required = true,
     .table = &metadata_table,
     .offset = offsetof(struct kind_document, metadata),
     .help = "what the object is called"},
    {.name = NULL},
};

static const struct schema_table common_table = {
    .size = sizeof(struct kind_document),
    .fields = common_fields,
};

/* Cluster */

static const struct schema_field cluster_node_fields[] = {
    {.name = "name",
     .type = SCHEMA_TEXT,
     .required = true,
     .format = &format_name,
     .offset = offsetof(struct kind_cluster_node, name),
     .help = "name of the node, as in its own configuration"},
    {.name = "labels",
     .type = SCHEMA_MAP,
     .high = DESIRED_LABELS_MAX,
     .keys = &format_label_key,
     .format = &format_label_value,
     .offset = offsetof(struct kind_cluster_node, labels),
     .help = "labels that nodeSelector can ask for"},
    {.name = NULL},
};

static const struct schema_table cluster_node_table = {
    .help = "one Pi",
    .size = sizeof(struct kind_cluster_node),
    .fields = cluster_node_fields,
};

static const struct schema_field cluster_spec_fields[] = {
    {.name = "pool",
     .type = SCHEMA_TEXT,
     .format = &format_pool,
     .offset = offsetof(struct kind_cluster, pool),
     .help = "addresses that virtual IPs are given from; keep them out of DHCP"},
    {.name = "holdDownSeconds",
     .type = SCHEMA_INTEGER,
     .high = 3600,
     .normal = DESIRED_HOLD_DOWN_S,
     .offset = offsetof(struct kind_cluster, hold_down_s),
     .help = "how long a node is gone before its replicas move"},
    {.name = "nodes",
     .type = SCHEMA_LIST,
     .high = DESIRED_NODES_MAX,
     .table = &cluster_node_table,
     .offset = offsetof(struct kind_cluster, nodes),
     .help = "nodes and their labels"},
    {.name = NULL},
};

static const struct schema_table cluster_spec_table = {
    .help = "what the whole flock shares",
    .size = sizeof(struct kind_cluster),
    .fields = cluster_spec_fields,
};

/* VirtualIP */

static const char *const modes[] = {"solo", "strict", NULL};

static const struct schema_field vip_spec_fields[] = {
    {.name = "address",
     .type = SCHEMA_TEXT,
     .format = &format_ipv4,
     .offset = offsetof(struct kind_vip, address),
     .help = "an address of the pool; the lowest free one where nothing is said"},
    {.name = "mode",
     .type = SCHEMA_CHOICE,
     .choices = modes,
     .offset = offsetof(struct kind_vip, mode),
     .help = "solo: the last of two nodes may hold it; strict: only with another's consent"},
    {.name = NULL},
};

static const struct schema_table vip_spec_table = {
    .help = "an address that one node of the flock answers for",
    .size = sizeof(struct kind_vip),
    .fields = vip_spec_fields,
};

/* The documents */

static const char *const kind_names[KIND_COUNT][2] = {
    [KIND_CLUSTER] = {"Cluster"},
    [KIND_WORKLOAD] = {"Workload"},
    [KIND_CRON_WORKLOAD] = {"CronWorkload"},
    [KIND_VIRTUAL_IP] = {"VirtualIP"},
};

static const struct schema_field document_fields[KIND_COUNT][3] = {
    [KIND_CLUSTER] =
        {
            {.name = "kind",
             .type = SCHEMA_CONSTANT,
             .required = true,
             .choices = kind_names[KIND_CLUSTER],
             .help = "kind of the document"},
            {.name = "spec",
             .type = SCHEMA_OBJECT,
             .table = &cluster_spec_table,
             .offset = offsetof(struct kind_document, spec),
             .help = "what the whole flock shares"},
        },
    [KIND_WORKLOAD] =
        {
            {.name = "kind",
             .type = SCHEMA_CONSTANT,
             .required = true,
             .choices = kind_names[KIND_WORKLOAD],
             .help = "kind of the document"},
            {.name = "spec",
             .type = SCHEMA_OBJECT,
             .required = true,
             .table = &kind_workload_table,
             .offset = offsetof(struct kind_document, spec),
             .help = "what shall run"},
        },
    [KIND_CRON_WORKLOAD] =
        {
            {.name = "kind",
             .type = SCHEMA_CONSTANT,
             .required = true,
             .choices = kind_names[KIND_CRON_WORKLOAD],
             .help = "kind of the document"},
            {.name = "spec",
             .type = SCHEMA_OBJECT,
             .required = true,
             .table = &kind_cron_table,
             .offset = offsetof(struct kind_document, spec),
             .help = "what shall run, and when"},
        },
    [KIND_VIRTUAL_IP] =
        {
            {.name = "kind",
             .type = SCHEMA_CONSTANT,
             .required = true,
             .choices = kind_names[KIND_VIRTUAL_IP],
             .help = "kind of the document"},
            {.name = "spec",
             .type = SCHEMA_OBJECT,
             .table = &vip_spec_table,
             .offset = offsetof(struct kind_document, spec),
             .help = "which address, and how"},
        },
};

static const struct schema_table document_tables[KIND_COUNT] = {
    [KIND_CLUSTER] = {.help = "cluster.yaml: what the whole flock shares",
                      .size = sizeof(struct kind_document),
                      .base = &common_table,
                      .fields = document_fields[KIND_CLUSTER]},
    [KIND_WORKLOAD] = {.help = "a program that runs all the time, in one or several instances",
                       .size = sizeof(struct kind_document),
                       .base = &common_table,
                       .fields = document_fields[KIND_WORKLOAD]},
    [KIND_CRON_WORKLOAD] = {.help = "a program that runs at set times",
                            .size = sizeof(struct kind_document),
                            .base = &common_table,
                            .fields = document_fields[KIND_CRON_WORKLOAD]},
    [KIND_VIRTUAL_IP] = {.help = "an address that one node of the flock answers for",
                         .size = sizeof(struct kind_document),
                         .base = &common_table,
                         .fields = document_fields[KIND_VIRTUAL_IP]},
};

const struct kind_row kinds[KIND_COUNT] = {
    [KIND_CLUSTER] = {.name = "Cluster", .table = &document_tables[KIND_CLUSTER]},
    [KIND_WORKLOAD] = {.name = "Workload", .table = &document_tables[KIND_WORKLOAD]},
    [KIND_CRON_WORKLOAD] = {.name = "CronWorkload", .table = &document_tables[KIND_CRON_WORKLOAD]},
    [KIND_VIRTUAL_IP] = {.name = "VirtualIP", .table = &document_tables[KIND_VIRTUAL_IP]},
};

const char *const kinds_not_yet[] = {"Route", "K3s", "SealedSecret", NULL};
