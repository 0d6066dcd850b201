/* What needs all workloads: unique names, dependencies, references. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/desired/build.h"

struct graph {
    struct build *build;
    struct workload_item **items; /* sorted by name */
    size_t count;
};

/* By name; of one name the first in the repository's order first. */
static int by_name(const void *left, const void *right)
{
    const struct desired_workload *a = &(*(struct workload_item *const *)left)->workload;
    const struct desired_workload *b = &(*(struct workload_item *const *)right)->workload;
    int order = strcmp(a->name, b->name);

    order = order != 0 ? order : strcmp(a->file, b->file);
    return order != 0 ? order : (a->line > b->line) - (a->line < b->line);
}

static int compare_name(const void *key, const void *item)
{
    return strcmp(key, (*(struct workload_item *const *)item)->workload.name);
}

static struct workload_item *find(const struct graph *g, const char *name)
{
    struct workload_item **found =
        bsearch(name, g->items, g->count, sizeof(struct workload_item *), compare_name);

    return found != NULL ? *found : NULL;
}

static const char *suggest_workload(const struct graph *g, const char *name)
{
    const char **names = arena_array(&g->build->scratch, g->count + 1, sizeof *names);

    if (names == NULL)
        return NULL;
    for (size_t i = 0; i < g->count; i++)
        names[i] = g->items[i]->workload.name;
    return report_suggest(name, names);
}

static int unknown_workload(const struct graph *g, const struct desired_workload *from,
                            const struct need *need)
{
    const char *close = suggest_workload(g, need->workload);

    if (close != NULL)
        return report_add(&g->build->report, ERR_INVALID, from->file, need->line,
                          "%s: there is no workload \"%s\"; did you mean \"%s\"?", need->path,
                          need->workload, close);
    return report_add(&g->build->report, ERR_INVALID, from->file, need->line,
                      "%s: there is no workload \"%s\" in this repository", need->path,
                      need->workload);
}

static int unknown_port(const struct graph *g, const struct desired_workload *from,
                        const struct need *need, const struct desired_workload *to)
{
    char names[160] = "no ports";
    size_t used = 0;

    for (size_t i = 0; i < to->port_count; i++) {
        snprintf(names + used, sizeof names - used, i > 0 ? ", %s" : "%s", to->ports[i].name);
        used = strlen(names);
    }
    return report_add(&g->build->report, ERR_INVALID, from->file, need->line,
                      "%s: the workload %s has no port \"%s\"; it has %s (%s:%d)", need->path,
                      to->name, need->port, names, to->file, to->line);
}

static int check_need(const struct graph *g, const struct desired_workload *from,
                      const struct need *need)
{
    const struct workload_item *item = find(g, need->workload);

    if (item == NULL)
        return unknown_workload(g, from, need);
    if (need->port == NULL) {
        if (item->workload.cron)
            return report_add(&g->build->report, ERR_INVALID, from->file, need->line,
                              "%s: %s is a CronWorkload, which is never ready: depend on a "
                              "Workload",
                              need->path, need->workload);
        return 0;
    }
    for (size_t i = 0; i < item->workload.port_count; i++)
        if (strcmp(item->workload.ports[i].name, need->port) == 0)
            return 0;
    return unknown_port(g, from, need, &item->workload);
}

static int check_names_and_needs(const struct graph *g)
{
    int first_rc = 0;

    for (size_t i = 0; i < g->count; i++) {
        const struct desired_workload *w = &g->items[i]->workload;
        int rc = 0;
        if (i > 0 && strcmp(g->items[i - 1]->workload.name, w->name) == 0) {
            const struct desired_workload *before = &g->items[i - 1]->workload;
            rc = report_add(&g->build->report, ERR_INVALID, w->file, w->line,
                            "metadata.name: the workload \"%s\" exists already (%s:%d): names are "
                            "unique in the whole repository",
                            w->name, before->file, before->line);
        }
        first_rc = first_rc != 0 ? first_rc : rc;
        for (const struct need *need = g->items[i]->needs; need != NULL; need = need->next) {
            rc = check_need(g, w, need);
            first_rc = first_rc != 0 ? first_rc : rc;
        }
    }
    return first_rc;
}

struct step {
    struct workload_item *item;
    size_t next; /* dependency to follow next */
};

static int cycle_error(const struct graph *g, const struct step *path, size_t depth,
                       const struct workload_item *closing)
{
    char text[REPORT_LINE / 2];
    const struct desired_workload *w;
    const struct need *at;
    size_t used = 0, i = 0;

    while (path[i].item != closing)
        i++;
    w = &path[depth - 1].item->workload;
    for (at = path[depth - 1].item->needs; at != NULL; at = at->next)
        if (at->port == NULL && strcmp(at->workload, closing->workload.name) == 0)
            break;
    for (; i < depth && used + 80 < sizeof text; i++) {
        snprintf(text + used, sizeof text - used, "%s -> ", path[i].item->workload.name);
        used = strlen(text);
    }
    if (i < depth) {
        snprintf(text + used, sizeof text - used, "... -> ");
        used = strlen(text);
    }
    return report_add(&g->build->report, ERR_INVALID, w->file, at != NULL ? at->line : w->line,
                      "spec.dependsOn: a cycle, so none of them could ever start: %.*s%s",
                      (int)used, text, closing->workload.name);
}

enum { VISIT_NEW, VISIT_OPEN, VISIT_DONE };

/* Depth first from @start; @path has room for every workload. */
static int find_cycle(const struct graph *g, struct workload_item *start, struct step *path)
{
    size_t depth = 1;

    path[0] = (struct step){.item = start};
    start->visit = VISIT_OPEN;
    while (depth > 0) {
        struct step *top = &path[depth - 1];
        const char *name = top->item->workload.depends_on[top->next];
        struct workload_item *item;

        if (name == NULL) {
            top->item->visit = VISIT_DONE;
            depth--;
            continue;
        }
        top->next++;
        item = find(g, name);
        if (item->visit == VISIT_OPEN)
            return cycle_error(g, path, depth, item);
        if (item->visit == VISIT_NEW) {
            item->visit = VISIT_OPEN;
            path[depth++] = (struct step){.item = item};
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
        if (g->items[i]->visit == VISIT_NEW) {
            int rc = find_cycle(g, g->items[i], path);
            if (rc != 0)
                return rc;
        }
    }
    return 0;
}

int workloads_finish(struct build *build)
{
    struct graph g = {.build = build};
    struct desired_workload *workloads;
    int rc;

    for (const struct workload_item *item = build->workload_items; item != NULL; item = item->next)
        g.count++;
    g.items = arena_array(&build->scratch, g.count, sizeof(struct workload_item *));
    workloads = arena_array(build->arena, g.count, sizeof *workloads);
    if (g.items == NULL || workloads == NULL)
        return report_no_memory(&build->report);
    g.count = 0;
    for (struct workload_item *item = build->workload_items; item != NULL; item = item->next)
        g.items[g.count++] = item;
    qsort(g.items, g.count, sizeof(struct workload_item *), by_name);
    rc = check_names_and_needs(&g);
    if (rc == 0)
        rc = check_cycles(&g);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < g.count; i++)
        workloads[i] = g.items[i]->workload;
    build->desired->workloads = workloads;
    build->desired->workload_count = g.count;
    return 0;
}
