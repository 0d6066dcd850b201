#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/desired/kinds.h"

static int compare_workload(const void *key, const void *item)
{
    return strcmp(key, ((const struct desired_workload *)item)->name);
}

static int compare_pair(const void *key, const void *item)
{
    return strcmp(key, ((const struct desired_pair *)item)->name);
}

const struct desired_workload *desired_workload(const struct desired *desired, const char *name)
{
    if (desired->workload_count == 0)
        return NULL;
    return bsearch(name, desired->workloads, desired->workload_count, sizeof *desired->workloads,
                   compare_workload);
}

const struct desired_node *desired_node(const struct desired *desired, const char *name)
{
    for (size_t i = 0; i < desired->node_count; i++)
        if (strcmp(desired->nodes[i].name, name) == 0)
            return &desired->nodes[i];
    return NULL;
}

const char *desired_map_get(const struct desired_map *map, const char *name)
{
    const struct desired_pair *pair;

    if (map->count == 0)
        return NULL;
    pair = bsearch(name, map->pairs, map->count, sizeof *map->pairs, compare_pair);
    return pair != NULL ? pair->value : NULL;
}

static int compare_secret(const void *key, const void *item)
{
    return strcmp(key, ((const struct desired_secret *)item)->name);
}

const struct desired_secret *desired_secret(const struct desired *desired, const char *name)
{
    if (desired->secret_count == 0)
        return NULL;
    return bsearch(name, desired->secrets, desired->secret_count, sizeof *desired->secrets,
                   compare_secret);
}

enum desired_drift desired_drift(const struct desired *desired, const char *app)
{
    for (size_t i = 0; i < desired->app_count; i++)
        if (strcmp(desired->apps[i].name, app) == 0)
            return desired->apps[i].drift;
    return desired->sync.drift;
}

void desired_waiting(const struct desired_foreign *foreign, char *text, size_t size)
{
    (void)foreign;
    snprintf(text, size, "k3s");
}
