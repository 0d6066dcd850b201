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

static const char *const drifts[] = {
    [DESIRED_DRIFT_CORRECT] = "correct",
    [DESIRED_DRIFT_WARN] = "warn",
    [DESIRED_DRIFT_OFF] = "off",
    NULL,
};

static const struct schema_field sync_app_fields[] = {
    {.name = "name",
     .type = SCHEMA_TEXT,
     .required = true,
     .format = &format_name,
     .offset = offsetof(struct kind_sync_app, name),
     .help = "name of the folder below apps/"},
    {.name = "drift",
     .type = SCHEMA_CHOICE,
     .choices = drifts,
     .normal = DESIRED_DRIFT_CORRECT,
     .offset = offsetof(struct kind_sync_app, drift),
     .help = "what happens where the app is not as the repository says"},
    {.name = NULL},
};

static const struct schema_table sync_app_table = {
    .help = "an app with a policy of its own",
    .size = sizeof(struct kind_sync_app),
    .fields = sync_app_fields,
};

static const struct schema_field sync_fields[] = {
    {.name = "healthTimeoutSeconds",
     .type = SCHEMA_INTEGER,
     .high = 3600,
     .normal = DESIRED_HEALTH_TIMEOUT_S,
     .offset = offsetof(struct kind_sync, health_timeout_s),
     .help = "what a commit changes must be ready within this time; 0: nobody waits"},
    {.name = "rollback",
     .type = SCHEMA_BOOLEAN,
     .normal = true,
     .offset = offsetof(struct kind_sync, rollback),
     .help = "a commit that is not ready in time gives way to the last good one"},
    {.name = "canary",
     .type = SCHEMA_TEXT,
     .format = &format_name,
     .offset = offsetof(struct kind_sync, canary),
     .help = "this node applies a commit first; the others follow when it is well there"},
    {.name = "drift",
     .type = SCHEMA_CHOICE,
     .choices = drifts,
     .normal = DESIRED_DRIFT_CORRECT,
     .offset = offsetof(struct kind_sync, drift),
     .help = "what happens where something is not as the repository says"},
    {.name = "apps",
     .type = SCHEMA_LIST,
     .high = DESIRED_APPS_MAX,
     .table = &sync_app_table,
     .offset = offsetof(struct kind_sync, apps),
     .help = "apps with a policy of their own"},
    {.name = NULL},
};

static const struct schema_table sync_table = {
    .help = "how commits are applied",
    .size = sizeof(struct kind_sync),
    .fields = sync_fields,
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
    {.name = "sync",
     .type = SCHEMA_OBJECT,
     .table = &sync_table,
     .offset = offsetof(struct kind_cluster, sync),
     .help = "how commits are applied"},
    {.name = "variables",
     .type = SCHEMA_MAP,
     .high = DESIRED_VARIABLES_MAX,
     .keys = &format_env_name,
     .format = &format_env_value,
     .offset = offsetof(struct kind_cluster, variables),
     .help = "texts that ${var:NAME} stands for in every workload"},
    {.name = NULL},
};

const struct schema_table kind_cluster_table = {
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
     .help =
         "an address of the pool; where nothing is said it gets one that is free, and keeps it"},
    {.name = "mode",
     .type = SCHEMA_CHOICE,
     .choices = modes,
     .offset = offsetof(struct kind_vip, mode),
     .help = "solo: the last of two nodes may hold it; strict: only with another's consent"},
    {.name = NULL},
};

const struct schema_table kind_vip_table = {
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
    [KIND_ROUTE] = {"Route"},
    [KIND_K3S] = {"K3s"},
    [KIND_SEALED_SECRET] = {"SealedSecret"},
};

static const struct schema_field document_fields[KIND_COUNT][3] =
    {
        [KIND_CLUSTER] =
            {
                {.name = "kind",
                 .type = SCHEMA_CONSTANT,
                 .required = true,
                 .choices = kind_names[KIND_CLUSTER],
                 .help = "kind of the document"},
                {.name = "spec",
                 .type = SCHEMA_OBJECT,
                 .table = &kind_cluster_table,
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
                 .table = &kind_vip_table,
                 .offset = offsetof(struct kind_document, spec),
                 .help = "which address, and how"},
            },
        [KIND_ROUTE] =
            {
                {.name = "kind",
                 .type = SCHEMA_CONSTANT,
                 .required = true,
                 .choices = kind_names[KIND_ROUTE],
                 .help = "kind of the document"},
                {.name = "spec",
                 .type = SCHEMA_OBJECT,
                 .required = true,
                 .table = &kind_route_table,
                 .offset = offsetof(struct kind_document, spec),
                 .help = "which requests, and who answers them"},
            },
        [KIND_K3S] =
            {
                {.name = "kind",
                 .type = SCHEMA_CONSTANT,
                 .required = true,
                 .choices = kind_names[KIND_K3S],
                 .help = "kind of the document"},
                {.name = "spec",
                 .type = SCHEMA_OBJECT,
                 .required = true,
                 .table = &kind_k3s_table,
                 .offset = offsetof(struct kind_document, spec),
                 .help = "where k3s runs, and how"},
            },
        [KIND_SEALED_SECRET] =
            {
                {.name = "kind",
                 .type = SCHEMA_CONSTANT,
                 .required = true,
                 .choices = kind_names[KIND_SEALED_SECRET],
                 .help = "kind of the document"},
                {.name = "spec",
                 .type = SCHEMA_OBJECT,
                 .required = true,
                 .table = &kind_secret_table,
                 .offset = offsetof(struct kind_document, spec),
                 .help = "the values, encrypted"},
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
    [KIND_ROUTE] = {.help = "which workload answers for a host name",
                    .size = sizeof(struct kind_document),
                    .base = &common_table,
                    .fields = document_fields[KIND_ROUTE]},
    [KIND_K3S] = {.help = "k3s on the nodes of the flock",
                  .size = sizeof(struct kind_document),
                  .base = &common_table,
                  .fields = document_fields[KIND_K3S]},
    [KIND_SEALED_SECRET] =
        {.help = "values that only some nodes can open; agentctl secret seal writes it",
         .size = sizeof(struct kind_document),
         .base = &common_table,
         .fields = document_fields[KIND_SEALED_SECRET]},
};

const struct kind_row kinds[KIND_COUNT] = {
    [KIND_CLUSTER] = {.name = "Cluster", .table = &document_tables[KIND_CLUSTER]},
    [KIND_WORKLOAD] = {.name = "Workload", .table = &document_tables[KIND_WORKLOAD]},
    [KIND_CRON_WORKLOAD] = {.name = "CronWorkload", .table = &document_tables[KIND_CRON_WORKLOAD]},
    [KIND_VIRTUAL_IP] = {.name = "VirtualIP", .table = &document_tables[KIND_VIRTUAL_IP]},
    [KIND_ROUTE] = {.name = "Route", .table = &document_tables[KIND_ROUTE]},
    [KIND_K3S] = {.name = "K3s", .table = &document_tables[KIND_K3S]},
    [KIND_SEALED_SECRET] = {.name = "SealedSecret", .table = &document_tables[KIND_SEALED_SECRET]},
};
