/* Texts of a workload that hold references: environment, arguments, files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/desired/build.h"
#include "agent/desired/formats.h"
#include "agent/desired/reference.h"

static int no_memory(const struct object *object)
{
    return report_no_memory(&object->build->report);
}

/* What ${var:NAME} stands for; NULL and a report where there is no such variable. */
static const char *variable(const struct object *object, const struct kind_workload *spec,
                            const char *path, const char *name)
{
    const struct desired_map *maps[] = {&spec->variables, &object->build->variables};
    const char *value = desired_map_get(maps[0], name);
    const char **names;
    const char *close = NULL;
    size_t n = 0;

    if (value == NULL)
        value = desired_map_get(maps[1], name);
    if (value != NULL)
        return value;
    names =
        arena_array(&object->build->scratch, maps[0]->count + maps[1]->count + 1, sizeof *names);
    for (size_t m = 0; names != NULL && m < 2; m++)
        for (size_t i = 0; i < maps[m]->count; i++)
            names[n++] = maps[m]->pairs[i].name;
    if (names != NULL)
        close = report_suggest(name, names);
    if (close != NULL)
        object_error(object, path, "there is no variable %s; did you mean %s?", name, close);
    else
        object_error(object, path,
                     "there is no variable %s: set it in spec.variables here or in cluster.yaml",
                     name);
    return NULL;
}

/* Fills in the variables of @text; *@out is it where it has none. */
static int fill_in(const struct object *object, const struct kind_workload *spec, const char *path,
                   const char *text, size_t max, const char **out)
{
    size_t from = 0, used = 0, copied = 0, room = 0;
    struct reference reference;
    char *filled = NULL;
    int found;

    while ((found = reference_next(text, from, &reference, NULL)) == 1) {
        const char *value;
        from = reference.end;
        if (reference.kind != REFERENCE_VARIABLE)
            continue;
        value = variable(object, spec, path, reference.key);
        if (value == NULL)
            return ERR_INVALID;
        if (filled == NULL) { /* enough for all of it: variables are shorter than the limit */
            room = max + DESIRED_ENV_VALUE_MAX + strlen(text) + 1;
            filled = arena_alloc(&object->build->scratch, room);
        }
        if (filled == NULL)
            return no_memory(object);
        memcpy(filled + used, text + copied, reference.begin - copied);
        used += reference.begin - copied;
        memcpy(filled + used, value, strlen(value));
        used += strlen(value);
        copied = reference.end;
        if (used > max)
            return object_error(object, path, "with its variables it has more than %zu bytes", max);
    }
    *out = text;
    if (filled == NULL)
        return 0; /* a reference that is written wrong is found by whoever reads them */
    memcpy(filled + used, text + copied, strlen(text + copied) + 1);
    if (strlen(filled) > max)
        return object_error(object, path, "with its variables it has more than %zu bytes", max);
    *out = arena_text(object->build->arena, filled, strlen(filled));
    return *out != NULL ? 0 : no_memory(object);
}

static bool has_file(const struct kind_workload *spec, const char *path)
{
    const struct kind_file *files = spec->files.items;

    for (size_t i = 0; i < spec->files.count; i++)
        if (strcmp(files[i].path, path) == 0)
            return true;
    return false;
}

static int note_reference(const struct object *object, const struct kind_workload *spec,
                          struct workload_item *item, const char *path, enum place place,
                          const struct reference *r)
{
    switch (r->kind) {
    case REFERENCE_SERVICE:
        return needs_add(object, &item->needs, path, "Workload", r->name, r->key, false);
    case REFERENCE_SECRET:
        if (place == PLACE_ARGS)
            return object_error(object, path,
                                "everybody on the node can read arguments: give the secret to a "
                                "variable of the environment or a file");
        return needs_add(object, &item->needs, path, "SealedSecret", r->name, r->key, false);
    case REFERENCE_FILE:
        if (!has_file(spec, r->key))
            return object_error(object, path, "the workload has no file \"%s\" in spec.files",
                                r->key);
        return 0;
    case REFERENCE_VARIABLE: /* those of the document are filled in: this one came by a value */
        return object_error(object, path, "the variable %s stands in the value of another one",
                            r->key);
    default:
        return 0;
    }
}

int workload_text(const struct object *object, const struct kind_workload *spec,
                  struct workload_item *item, const char *path, enum place place, const char *text,
                  const char **out)
{
    size_t max = place == PLACE_FILE ? DESIRED_CONTENT_MAX : DESIRED_ENV_VALUE_MAX - 1;
    struct reference reference;
    struct err err;
    size_t from = 0;
    int found;
    int rc = fill_in(object, spec, path, text, max, out);

    if (rc != 0)
        return rc;
    while ((found = reference_next(*out, from, &reference, &err)) == 1) {
        from = reference.end;
        item->workload.references = true;
        rc = note_reference(object, spec, item, path, place, &reference);
        if (rc != 0)
            return rc;
    }
    return found == 0 ? 0 : object_error(object, path, "%s", err.text);
}

/* A file of the repository as a text; NULL and a report where it is none. */
static const char *read_source(const struct object *object, const char *path, const char *source)
{
    const struct desired_file *file = build_source(object->build, object->app, source);
    const char *text;

    if (file == NULL) {
        object_error(object, path, "there is no file apps/%s/files/%s in the repository",
                     object->app, source);
        return NULL;
    }
    if (memchr(file->data, '\0', file->size) != NULL) {
        object_error(object, path, "apps/%s/files/%s is no text: it holds a zero byte", object->app,
                     source);
        return NULL;
    }
    text = arena_text(object->build->arena, file->data, file->size);
    if (text == NULL)
        no_memory(object);
    return text;
}

static int read_file(const struct object *object, const struct kind_workload *spec, size_t index,
                     struct workload_item *item, struct desired_content *content)
{
    const struct kind_file *written = (const struct kind_file *)spec->files.items + index;
    bool references = item->workload.references;
    struct need *const *known = item->needs.end;
    char path[SCHEMA_PATH_MAX];
    const char *text = written->content;
    int rc = 0;

    snprintf(path, sizeof path, "spec.files[%zu]", index);
    if ((written->content != NULL) == (written->source != NULL))
        return object_error(object, path, "expected exactly one of content and source");
    for (size_t j = 0; j < index; j++)
        if (strcmp(((const struct kind_file *)spec->files.items)[j].path, written->path) == 0)
            return object_error(object, path, "the path %s stands here for the second time",
                                written->path);
    snprintf(path, sizeof path, "spec.files[%zu].%s", index, text != NULL ? "content" : "source");
    if (text == NULL)
        text = read_source(object, path, written->source);
    if (text == NULL)
        return ERR_INVALID;
    *content = (struct desired_content){.path = written->path,
                                        .text = text,
                                        .mode = 0440,
                                        .change = (enum desired_change)written->change};
    if (written->mode != NULL)
        format_read_mode(written->mode, &content->mode);
    item->workload.references = false;
    if (written->template)
        rc = workload_text(object, spec, item, path, PLACE_FILE, text, &content->text);
    for (struct need *need = known != NULL ? *known : item->needs.first; need != NULL;
         need = need->next)
        need->reload = content->change != DESIRED_CHANGE_RESTART;
    content->references = item->workload.references;
    item->workload.references = references || content->references;
    return rc;
}

int workload_files(const struct object *object, const struct kind_workload *spec,
                   struct workload_item *item)
{
    size_t count = spec->files.count;
    struct desired_content *files = arena_array(object->build->arena, count, sizeof *files);
    int first_rc = 0;

    if (files == NULL)
        return no_memory(object);
    for (size_t i = 0; i < count; i++) {
        int rc = read_file(object, spec, i, item, &files[i]);
        first_rc = first_rc != 0 ? first_rc : rc;
    }
    item->workload.files = files;
    item->workload.file_count = count;
    item->workload.reload_signal = kind_signals[spec->reload_signal];
    return first_rc;
}
