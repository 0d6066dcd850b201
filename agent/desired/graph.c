/* What needs all documents: unique names, what they name of each other, cycles. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/desired/build.h"

struct vertex { /* an object */
    const char *kind, *name, *file;
    int line;
    const struct needs *needs;               /* NULL: it names nothing */
    const struct desired_workload *workload; /* Workload, CronWorkload */
    const struct desired_secret *secret;     /* SealedSecret */
    bool foreign;                            /* names are unique only in a namespace */
    unsigned visit;                          /* of the search for cycles */
};

struct graph {
    struct build *build;
    struct vertex *vertices; /* sorted by kind and name */
    size_t count;
};

/* Workload and CronWorkload share their names. */
static const char *space_of(const char *kind)
{
    return strcmp(kind, "CronWorkload") == 0 ? "Workload" : kind;
}

static int compare(const char *kind_a, const char *name_a, const char *kind_b, const char *name_b)
{
    int order = strcmp(space_of(kind_a), space_of(kind_b));

    return order != 0 ? order : strcmp(name_a, name_b);
}

/* Of one name the first in the repository's order first. */
static int by_name(const void *left, const void *right)
{
    const struct vertex *a = left, *b = right;
    int order = compare(a->kind, a->name, b->kind, b->name);

    order = order != 0 ? order : strcmp(a->file, b->file);
    return order != 0 ? order : (a->line > b->line) - (a->line < b->line);
}

static struct vertex *find(const struct graph *g, const char *kind, const char *name)
{
    size_t low = 0, high = g->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct vertex *v = &g->vertices[middle];
        if (compare(v->kind, v->name, kind, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == g->count || compare(g->vertices[low].kind, g->vertices[low].name, kind, name) != 0)
        return NULL;
    return &g->vertices[low];
}

static const char *suggest(const struct graph *g, const char *kind, const char *name)
{
    const char **names = arena_array(&g->build->scratch, g->count + 1, sizeof *names);
    size_t n = 0;

    if (names == NULL)
        return NULL;
    for (size_t i = 0; i < g->count; i++)
        if (strcmp(space_of(g->vertices[i].kind), kind) == 0)
            names[n++] = g->vertices[i].name;
    return report_suggest(name, names);
}

static int unknown_object(const struct graph *g, const struct vertex *from, const struct need *need)
{
    const char *close = suggest(g, need->kind, need->name);
    const char *kind = strcmp(need->kind, "Workload") == 0 ? "workload" : need->kind;

    if (close != NULL)
        return report_add(&g->build->report, ERR_INVALID, from->file, need->line,
                          "%s: there is no %s \"%s\"; did you mean \"%s\"?", need->path, kind,
                          need->name, close);
    return report_add(&g->build->report, ERR_INVALID, from->file, need->line,
                      "%s: there is no %s \"%s\" in this repository", need->path, kind, need->name);
}

/* "it has http, metrics" */
static void port_names(const struct desired_workload *workload, char *text, size_t size)
{
    size_t used = 0;

    snprintf(text, size, "no ports");
    for (size_t i = 0; i < workload->port_count; i++) {
        snprintf(text + used, size - used, i > 0 ? ", %s" : "%s", workload->ports[i].name);
        used = strlen(text);
    }
}

static int check_port(const struct graph *g, const struct vertex *from, const struct need *need,
                      const struct desired_workload *to)
{
    char names[160];

    if (need->part[0] == '\0' && to->port_count == 1) /* the only one */
        return 0;
    for (size_t i = 0; i < to->port_count; i++) {
        char number[8];
        snprintf(number, sizeof number, "%u", (unsigned)to->ports[i].port);
        if (strcmp(to->ports[i].name, need->part) == 0 ||
            (to->ports[i].port != 0 && strcmp(number, need->part) == 0 &&
             strcmp(from->kind, "Route") == 0))
            return 0;
    }
    port_names(to, names, sizeof names);
    if (need->part[0] == '\0')
        return report_add(&g->build->report, ERR_INVALID, from->file, need->line,
                          "%s: which port of the workload %s? It has %s (%s:%d)", need->path,
                          to->name, names, to->file, to->line);
    return report_add(&g->build->report, ERR_INVALID, from->file, need->line,
                      "%s: the workload %s has no port \"%s\"; it has %s (%s:%d)", need->path,
                      to->name, need->part, names, to->file, to->line);
}

static int check_key(const struct graph *g, const struct vertex *from, const struct need *need,
                     const struct desired_secret *to)
{
    if (desired_map_get(&to->data, need->part) != NULL)
        return 0;
    return report_add(&g->build->report, ERR_INVALID, from->file, need->line,
                      "%s: the SealedSecret %s has no value \"%s\" (%s:%d)", need->path, to->name,
                      need->part, to->file, to->line);
}

static int check_need(const struct graph *g, const struct vertex *from, const struct need *need)
{
    const struct vertex *to = find(g, need->kind, need->name);

    if (to == NULL)
        return unknown_object(g, from, need);
    if (to->workload != NULL && to->workload->cron && need->part == NULL)
        return report_add(&g->build->report, ERR_INVALID, from->file, need->line,
                          "%s: %s is a CronWorkload, which is never ready: depend on a Workload",
                          need->path, need->name);
    if (need->part != NULL && to->workload != NULL)
        return check_port(g, from, need, to->workload);
    if (need->part != NULL && to->secret != NULL)
        return check_key(g, from, need, to->secret);
    return 0;
}

static int check_names_and_needs(const struct graph *g)
{
    int first_rc = 0;

    for (size_t i = 0; i < g->count; i++) {
        const struct vertex *v = &g->vertices[i];
        const struct vertex *before = i > 0 ? v - 1 : NULL;
        int rc = 0;
        if (before != NULL && !v->foreign && !before->foreign &&
            compare(before->kind, before->name, v->kind, v->name) == 0)
            rc = report_add(&g->build->report, ERR_INVALID, v->file, v->line,
                            "metadata.name: the %s \"%s\" exists already (%s:%d): names are unique "
                            "in the whole repository; rename one of them",
                            v->workload != NULL ? "workload" : v->kind, v->name, before->file,
                            before->line);
        first_rc = first_rc != 0 ? first_rc : rc;
        for (const struct need *need = v->needs != NULL ? v->needs->first : NULL; need != NULL;
             need = need->next) {
            rc = check_need(g, v, need);
            first_rc = first_rc != 0 ? first_rc : rc;
        }
    }
    return first_rc;
}

/* ---- cycles ---- */

struct step {
    struct vertex *vertex;
    const struct need *next; /* to follow next */
    const struct need *last; /* that was followed */
};

static int cycle_error(const struct graph *g, const struct step *path, size_t depth,
                       const struct vertex *closing)
{
    const struct step *end = &path[depth - 1];
    char text[REPORT_LINE / 3]; /* the message is not to be cut */
    size_t used = 0, i = 0;

    while (path[i].vertex != closing)
        i++;
    for (; i < depth && used + 80 < sizeof text; i++) {
        snprintf(text + used, sizeof text - used, "%s -> ", path[i].vertex->name);
        used = strlen(text);
    }
    if (i < depth) {
        snprintf(text + used, sizeof text - used, "... -> ");
        used = strlen(text);
    }
    return report_add(&g->build->report, ERR_INVALID, end->vertex->file, end->last->line,
                      "%s: a cycle, so none of them could ever start: %.*s%s; take one of these "
                      "dependencies out",
                      strncmp(end->last->path, "spec.dependsOn", 14) == 0 ? "spec.dependsOn"
                                                                          : end->last->path,
                      (int)used, text, closing->name);
}

enum { VISIT_NEW, VISIT_OPEN, VISIT_DONE };

static const struct need *first_need(const struct vertex *v)
{
    return v->needs != NULL ? v->needs->first : NULL;
}

/* Depth first from @start; @path has room for every vertex. */
static int find_cycle(const struct graph *g, struct vertex *start, struct step *path)
{
    size_t depth = 1;

    path[0] = (struct step){.vertex = start, .next = first_need(start)};
    start->visit = VISIT_OPEN;
    while (depth > 0) {
        struct step *top = &path[depth - 1];
        struct vertex *to;

        while (top->next != NULL && !top->next->order)
            top->next = top->next->next;
        if (top->next == NULL) {
            top->vertex->visit = VISIT_DONE;
            depth--;
            continue;
        }
        top->last = top->next;
        top->next = top->next->next;
        to = find(g, top->last->kind, top->last->name);
        if (to->visit == VISIT_OPEN)
            return cycle_error(g, path, depth, to);
        if (to->visit == VISIT_NEW) {
            to->visit = VISIT_OPEN;
            path[depth++] = (struct step){.vertex = to, .next = first_need(to)};
        }
    }
    return 0;
}

static int check_cycles(const struct graph *g)
{
    struct step *path = arena_array(&g->build->scratch, g->count, sizeof *path);

    if (path == NULL)
        return report_no_memory(&g->build->report);
    for (size_t i = 0; i < g->count; i++) {
        if (g->vertices[i].visit == VISIT_NEW) {
            int rc = find_cycle(g, &g->vertices[i], path);
            if (rc != 0)
                return rc;
        }
    }
    return 0;
}

/* ---- all objects ---- */

static void add_workloads(struct graph *g)
{
    for (const struct workload_item *i = g->build->workload_items; i != NULL; i = i->next)
        g->vertices[g->count++] =
            (struct vertex){.kind = i->workload.cron ? "CronWorkload" : "Workload",
                            .name = i->workload.name,
                            .file = i->workload.file,
                            .line = i->workload.line,
                            .needs = &i->needs,
                            .workload = &i->workload};
}

static void add_others(struct graph *g)
{
    for (const struct vip_item *i = g->build->vip_items; i != NULL; i = i->next)
        g->vertices[g->count++] = (struct vertex){
            .kind = "VirtualIP", .name = i->vip.name, .file = i->vip.file, .line = i->vip.line};
    for (const struct route_item *i = g->build->route_items; i != NULL; i = i->next)
        g->vertices[g->count++] = (struct vertex){.kind = "Route",
                                                  .name = i->route.name,
                                                  .file = i->route.file,
                                                  .line = i->route.line,
                                                  .needs = &i->needs};
    for (const struct k3s_item *i = g->build->k3s_items; i != NULL; i = i->next)
        g->vertices[g->count++] = (struct vertex){
            .kind = "K3s", .name = i->k3s.name, .file = i->k3s.file, .line = i->k3s.line};
    for (const struct secret_item *i = g->build->secret_items; i != NULL; i = i->next)
        g->vertices[g->count++] = (struct vertex){.kind = "SealedSecret",
                                                  .name = i->secret.name,
                                                  .file = i->secret.file,
                                                  .line = i->secret.line,
                                                  .secret = &i->secret};
    for (const struct foreign_item *i = g->build->foreign_items; i != NULL; i = i->next)
        g->vertices[g->count++] = (struct vertex){.kind = i->foreign.kind,
                                                  .name = i->foreign.name,
                                                  .file = i->foreign.file,
                                                  .line = i->foreign.line,
                                                  .needs = &i->needs,
                                                  .foreign = true};
}

int graph_finish(struct build *build)
{
    struct graph g = {.build = build};
    int rc;

    g.vertices = arena_array(&build->scratch, build->objects, sizeof *g.vertices);
    if (g.vertices == NULL)
        return report_no_memory(&build->report);
    add_workloads(&g);
    add_others(&g);
    if (g.count > 0)
        qsort(g.vertices, g.count, sizeof *g.vertices, by_name);
    rc = check_names_and_needs(&g);
    if (rc == 0)
        rc = check_cycles(&g);
    return rc;
}
