/* Route, K3s and SealedSecret: from what is written to the objects of desired.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/desired/build.h"

int route_read(const struct object *object)
{
    const struct kind_route *spec = object->document->spec;
    struct build *build = object->build;
    struct route_item *item = arena_alloc(&build->scratch, sizeof *item);
    const char *port = spec->service->port != NULL ? spec->service->port : "";
    char path[SCHEMA_PATH_MAX];
    int rc;

    if (item == NULL)
        return report_no_memory(&build->report);
    item->route = (struct desired_route){
        .app = object->app,
        .name = object->document->metadata->name,
        .file = object->file,
        .line = object_line(object),
        .hosts = spec->hosts,
        .path = spec->path != NULL ? spec->path : "/",
        .workload = spec->service->name,
        .port = port,
        .vip = spec->vip,
    };
    for (size_t i = 0; spec->hosts[i] != NULL; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(spec->hosts[i], spec->hosts[j]) == 0) {
                snprintf(path, sizeof path, "spec.hosts[%zu]", i);
                return object_error(object, path, "%s stands here for the second time",
                                    spec->hosts[i]);
            }
    rc = needs_add(object, &item->needs, "spec.service.port", "Workload", spec->service->name, port,
                   true);
    if (rc == 0 && spec->vip != NULL)
        rc = needs_add(object, &item->needs, "spec.virtualIP", "VirtualIP", spec->vip, NULL, true);
    item->next = build->route_items;
    build->route_items = item;
    return rc;
}

static uint64_t add_texts(uint64_t hash, const char *const *texts)
{
    for (size_t i = 0; texts != NULL && texts[i] != NULL; i++)
        hash = hash64_mix(hash, hash64_string(texts[i]));
    return hash64_mix(hash, 1);
}

static uint64_t add_map(uint64_t hash, const struct desired_map *map)
{
    for (size_t i = 0; i < map->count; i++) {
        hash = hash64_mix(hash, hash64_string(map->pairs[i].name));
        hash = hash64_mix(hash, hash64_string(map->pairs[i].value));
    }
    return hash64_mix(hash, map->count);
}

int k3s_read(const struct object *object)
{
    const struct kind_k3s *spec = object->document->spec;
    struct build *build = object->build;
    struct k3s_item *item = arena_alloc(&build->scratch, sizeof *item);
    uint64_t hash = add_map(add_texts(1, spec->servers), &spec->agents);

    if (item == NULL)
        return report_no_memory(&build->report);
    hash = hash64_mix(hash, spec->version != NULL ? hash64_string(spec->version) : 0);
    hash = hash64_mix(hash, spec->interface != NULL ? hash64_string(spec->interface) : 0);
    hash = add_texts(add_texts(hash, spec->disable), spec->args);
    item->k3s = (struct desired_k3s){
        .app = object->app,
        .name = object->document->metadata->name,
        .file = object->file,
        .line = object_line(object),
        .generation = hash,
        .servers = spec->servers,
        .agents = spec->agents,
        .version = spec->version,
        .interface = spec->interface,
        .disable = spec->disable,
        .args = spec->args,
    };
    if (build->k3s_items != NULL)
        return object_error(object, "kind", "there is a K3s already (%s:%d): remove one",
                            build->k3s_items->k3s.file, build->k3s_items->k3s.line);
    item->next = build->k3s_items;
    build->k3s_items = item;
    return 0;
}

int secret_read(const struct object *object)
{
    const struct kind_secret *spec = object->document->spec;
    const struct kind_recipient *written = spec->recipients.items;
    size_t count = spec->recipients.count;
    struct build *build = object->build;
    struct secret_item *item = arena_alloc(&build->scratch, sizeof *item);
    struct desired_recipient *recipients = arena_array(build->arena, count, sizeof *recipients);
    uint64_t digest = add_map(1, &spec->data);
    char path[SCHEMA_PATH_MAX];

    if (item == NULL || recipients == NULL)
        return report_no_memory(&build->report);
    for (size_t i = 0; i < count; i++) {
        recipients[i] = (struct desired_recipient){written[i].node, written[i].key};
        digest = hash64_mix(digest, hash64_string(written[i].key));
        snprintf(path, sizeof path, "spec.recipients[%zu].node", i);
        for (size_t j = 0; j < i; j++)
            if (strcmp(written[i].node, written[j].node) == 0)
                return object_error(object, path, "%s stands here for the second time",
                                    written[i].node);
    }
    item->secret = (struct desired_secret){
        .app = object->app,
        .name = object->document->metadata->name,
        .file = object->file,
        .line = object_line(object),
        .digest = digest,
        .recipients = recipients,
        .recipient_count = count,
        .data = spec->data,
    };
    item->next = build->secret_items;
    build->secret_items = item;
    return 0;
}

static int by_route(const void *left, const void *right)
{
    return strcmp(((const struct desired_route *)left)->name,
                  ((const struct desired_route *)right)->name);
}

static int by_secret(const void *left, const void *right)
{
    return strcmp(((const struct desired_secret *)left)->name,
                  ((const struct desired_secret *)right)->name);
}

static bool shares_host(const struct desired_route *a, const struct desired_route *b)
{
    for (const char *const *x = a->hosts; *x != NULL; x++)
        for (const char *const *y = b->hosts; *y != NULL; y++)
            if (strcmp(*x, *y) == 0)
                return true;
    return false;
}

/* Two routes for one host and path: nobody could say which is meant. */
static int check_route(struct build *build, const struct desired_route *routes, size_t index)
{
    const struct desired_route *a = &routes[index];

    for (size_t i = 0; i < index; i++) {
        const struct desired_route *b = &routes[i];
        bool both = a->vip == NULL || b->vip == NULL || strcmp(a->vip, b->vip) == 0;
        if (both && strcmp(a->path, b->path) == 0 && shares_host(a, b))
            return report_add(&build->report, ERR_INVALID, a->file, a->line,
                              "spec.hosts: the route %s (%s:%d) takes the same host and path",
                              b->name, b->file, b->line);
    }
    return 0;
}

/* The name of the port that is meant by "", a name or a number; the graph has checked it. */
static const char *port_name(const struct desired *desired, const struct desired_route *route)
{
    const struct desired_workload *w = desired_workload(desired, route->workload);
    char number[8];

    for (size_t i = 0; w != NULL && i < w->port_count; i++) {
        snprintf(number, sizeof number, "%u", (unsigned)w->ports[i].port);
        if (route->port[0] == '\0' || strcmp(w->ports[i].name, route->port) == 0 ||
            strcmp(number, route->port) == 0)
            return w->ports[i].name;
    }
    return route->port;
}

static int routes_finish(struct build *build)
{
    struct desired *desired = build->desired;
    struct desired_route *routes;
    size_t count = 0;
    int first_rc = 0;

    for (const struct route_item *i = build->route_items; i != NULL; i = i->next)
        count++;
    if (count > DESIRED_ROUTES_MAX)
        return report_add(&build->report, ERR_LIMIT, build->route_items->route.file,
                          build->route_items->route.line, "%zu routes; expected at most %d", count,
                          DESIRED_ROUTES_MAX);
    routes = arena_array(build->arena, count, sizeof *routes);
    if (routes == NULL)
        return report_no_memory(&build->report);
    count = 0;
    for (const struct route_item *i = build->route_items; i != NULL; i = i->next) {
        routes[count] = i->route;
        routes[count].port = port_name(desired, &i->route);
        count++;
    }
    if (count > 0)
        qsort(routes, count, sizeof *routes, by_route);
    for (size_t i = 0; i < count; i++) {
        int rc = check_route(build, routes, i);
        first_rc = first_rc != 0 ? first_rc : rc;
    }
    desired->routes = routes;
    desired->route_count = count;
    return first_rc;
}

int secrets_finish(struct build *build)
{
    struct desired_secret *secrets;
    size_t count = 0;

    for (const struct secret_item *i = build->secret_items; i != NULL; i = i->next)
        count++;
    if (count > DESIRED_SECRETS_MAX)
        return report_add(&build->report, ERR_LIMIT, build->secret_items->secret.file,
                          build->secret_items->secret.line, "%zu secrets; expected at most %d",
                          count, DESIRED_SECRETS_MAX);
    secrets = arena_array(build->arena, count, sizeof *secrets);
    if (secrets == NULL)
        return report_no_memory(&build->report);
    count = 0;
    for (const struct secret_item *i = build->secret_items; i != NULL; i = i->next)
        secrets[count++] = i->secret;
    if (count > 0)
        qsort(secrets, count, sizeof *secrets, by_secret);
    build->desired->secrets = secrets;
    build->desired->secret_count = count;
    return 0;
}

int objects_finish(struct build *build)
{
    struct desired_k3s *k3s = arena_alloc(build->arena, sizeof *k3s);
    int rc = routes_finish(build);

    if (k3s == NULL)
        return report_no_memory(&build->report);
    if (build->k3s_items != NULL) {
        *k3s = build->k3s_items->k3s;
        build->desired->k3s = k3s;
        build->desired->k3s_count = 1;
    }
    return rc;
}
