/* What documents name of each other, before all of them are known. */
#include <stdio.h>
#include <string.h>

#include "agent/desired/build.h"

int needs_add(const struct object *object, struct needs *needs, const char *path, const char *kind,
              const char *name, const char *part, bool order)
{
    struct arena *scratch = &object->build->scratch;
    struct need *need;

    if (++needs->count > DESIRED_NEEDS_MAX)
        return object_error(object, path, "it names other objects more than %d times",
                            DESIRED_NEEDS_MAX);
    need = arena_alloc(scratch, sizeof *need);
    if (need == NULL)
        return report_no_memory(&object->build->report);
    need->path = arena_text(scratch, path, strlen(path));
    need->line = tree_line(object->root, path);
    need->kind = arena_text(scratch, kind, strlen(kind));
    need->name = arena_text(scratch, name, strlen(name));
    need->part = part != NULL ? arena_text(scratch, part, strlen(part)) : NULL;
    need->order = order;
    if (need->path == NULL || need->kind == NULL || need->name == NULL ||
        (part != NULL && need->part == NULL))
        return report_no_memory(&object->build->report);
    if (needs->end == NULL)
        needs->end = &needs->first;
    *needs->end = need;
    needs->end = &need->next;
    return 0;
}

const char *needs_split(const char *object, char *kind, size_t size)
{
    const char *slash = strchr(object, '/');

    if (slash == NULL) {
        snprintf(kind, size, "Workload");
        return object;
    }
    snprintf(kind, size, "%.*s", (int)(slash - object), object);
    return slash + 1;
}
