/* Cluster and VirtualIP. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/desired/build.h"
#include "agent/desired/formats.h"

static int read_nodes(const struct object *object, const struct kind_cluster *spec)
{
    struct desired *desired = object->build->desired;
    const struct kind_cluster_node *written = spec->nodes.items;
    struct desired_node *nodes =
        arena_array(object->build->arena, spec->nodes.count, sizeof *nodes);
    char path[SCHEMA_PATH_MAX];

    if (nodes == NULL)
        return report_no_memory(&object->build->report);
    for (size_t i = 0; i < spec->nodes.count; i++) {
        nodes[i] = (struct desired_node){.name = written[i].name, .labels = written[i].labels};
        snprintf(path, sizeof path, "spec.nodes[%zu].name", i);
        for (size_t j = 0; j < i; j++)
            if (strcmp(nodes[j].name, nodes[i].name) == 0)
                return object_error(object, path, "the node %s stands here for the second time",
                                    nodes[i].name);
    }
    desired->nodes = nodes;
    desired->node_count = spec->nodes.count;
    return 0;
}

static int by_app(const void *left, const void *right)
{
    return strcmp(((const struct desired_app *)left)->name,
                  ((const struct desired_app *)right)->name);
}

static int read_sync(const struct object *object, const struct kind_sync *sync)
{
    struct desired *desired = object->build->desired;
    const struct kind_sync_app *written = sync->apps.items;
    size_t count = sync->apps.count;
    struct desired_app *apps = arena_array(object->build->arena, count, sizeof *apps);
    char path[SCHEMA_PATH_MAX];

    if (apps == NULL)
        return report_no_memory(&object->build->report);
    desired->sync = (struct desired_sync){.health_timeout_s = sync->health_timeout_s,
                                          .rollback = sync->rollback,
                                          .canary = sync->canary,
                                          .drift = (enum desired_drift)sync->drift};
    for (size_t i = 0; i < count; i++) {
        apps[i] = (struct desired_app){written[i].name, (enum desired_drift)written[i].drift};
        snprintf(path, sizeof path, "spec.sync.apps[%zu].name", i);
        for (size_t j = 0; j < i; j++)
            if (strcmp(written[i].name, written[j].name) == 0)
                return object_error(object, path, "the app %s stands here for the second time",
                                    written[i].name);
    }
    if (count > 0)
        qsort(apps, count, sizeof *apps, by_app);
    desired->apps = apps;
    desired->app_count = count;
    return 0;
}

int cluster_read(const struct object *object)
{
    static const struct kind_cluster nothing = {.hold_down_s = DESIRED_HOLD_DOWN_S};
    int rc;
    const struct kind_cluster *spec =
        object->document->spec != NULL ? object->document->spec : &nothing;
    struct build *build = object->build;

    if (build->cluster_line != 0)
        return object_error(object, "kind", "there is a Cluster on line %d already: remove one",
                            build->cluster_line);
    build->cluster_line = object_line(object);
    build->desired->cluster_name = object->document->metadata->name;
    build->desired->hold_down_s = spec->hold_down_s;
    if (spec->pool != NULL)
        format_read_pool(spec->pool, &build->desired->pool_first, &build->desired->pool_last);
    build->variables = spec->variables;
    rc = spec->sync != NULL ? read_sync(object, spec->sync) : 0;
    return rc != 0 ? rc : read_nodes(object, spec);
}

int vip_read(const struct object *object)
{
    const struct kind_vip *spec = object->document->spec;
    struct build *build = object->build;
    struct vip_item *item = arena_alloc(&build->scratch, sizeof *item);

    if (item == NULL)
        return report_no_memory(&build->report);
    item->vip = (struct desired_vip){
        .app = object->app,
        .name = object->document->metadata->name,
        .file = object->file,
        .line = object_line(object),
        .strict = spec != NULL && spec->mode == 1,
    };
    item->address_line = tree_line(object->root, "spec.address");
    if (spec != NULL && spec->address != NULL)
        format_read_ipv4(spec->address, &item->vip.address);
    item->next = build->vip_items;
    build->vip_items = item;
    return 0;
}

static uint32_t ipv4_number(const struct addr *a)
{
    return (uint32_t)a->ip[0] << 24 | (uint32_t)a->ip[1] << 16 | (uint32_t)a->ip[2] << 8 | a->ip[3];
}

/* By name; of one name the first in the repository's order first (the list has it last). */
static int by_name(const void *left, const void *right)
{
    const struct desired_vip *a = &(*(struct vip_item *const *)left)->vip;
    const struct desired_vip *b = &(*(struct vip_item *const *)right)->vip;
    int order = strcmp(a->name, b->name);

    order = order != 0 ? order : strcmp(a->file, b->file);
    return order != 0 ? order : (a->line > b->line) - (a->line < b->line);
}

static int check_pinned(struct build *build, struct vip_item *const *items, size_t index)
{
    const struct desired *desired = build->desired;
    const struct desired_vip *vip = &items[index]->vip;
    char address[ADDR_TEXT], first[ADDR_TEXT], last[ADDR_TEXT];
    uint32_t number = ipv4_number(&vip->address);

    addr_format_ip(&vip->address, address);
    addr_format_ip(&desired->pool_first, first);
    addr_format_ip(&desired->pool_last, last);
    if (number < ipv4_number(&desired->pool_first) || number > ipv4_number(&desired->pool_last))
        return report_add(&build->report, ERR_INVALID, vip->file, items[index]->address_line,
                          "spec.address: %s is outside the pool of cluster.yaml, %s-%s", address,
                          first, last);
    for (size_t i = 0; i < index; i++)
        if (items[i]->vip.address.family != 0 && addr_equal(&items[i]->vip.address, &vip->address))
            return report_add(&build->report, ERR_INVALID, vip->file, items[index]->address_line,
                              "spec.address: %s is taken by %s (%s:%d)", address,
                              items[i]->vip.name, items[i]->vip.file, items[i]->address_line);
    return 0;
}

static int check_vips(struct build *build, struct vip_item *const *items, size_t count)
{
    int first_rc = 0;

    for (size_t i = 0; i < count; i++) {
        const struct desired_vip *vip = &items[i]->vip;
        int rc = 0;
        if (build->desired->pool_first.family == 0)
            rc = report_add(&build->report, ERR_INVALID, vip->file, vip->line,
                            "there is no pool to take an address from: set spec.pool in "
                            "cluster.yaml");
        else if (vip->address.family != 0)
            rc = check_pinned(build, items, i);
        first_rc = first_rc != 0 ? first_rc : rc;
    }
    return first_rc;
}

int vips_finish(struct build *build)
{
    struct desired *desired = build->desired;
    struct vip_item **items;
    struct desired_vip *vips;
    size_t count = 0;
    int rc;

    for (const struct vip_item *item = build->vip_items; item != NULL; item = item->next)
        count++;
    if (count > DESIRED_VIPS_MAX)
        return report_add(&build->report, ERR_LIMIT, build->vip_items->vip.file,
                          build->vip_items->vip.line, "%zu virtual IPs; expected at most %d", count,
                          DESIRED_VIPS_MAX);
    items = arena_array(&build->scratch, count, sizeof(struct vip_item *));
    vips = arena_array(build->arena, count, sizeof *vips);
    if (items == NULL || vips == NULL)
        return report_no_memory(&build->report);
    count = 0;
    for (struct vip_item *item = build->vip_items; item != NULL; item = item->next)
        items[count++] = item;
    qsort(items, count, sizeof(struct vip_item *), by_name);
    rc = check_vips(build, items, count);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < count; i++)
        vips[i] = items[i]->vip;
    desired->vips = vips;
    desired->vip_count = count;
    return 0;
}
