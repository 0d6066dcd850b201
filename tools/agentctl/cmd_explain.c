/* agentctl explain: what a field of a document means, from the tables that the parser follows. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/desired/kinds.h"
#include "tools/agentctl/agentctl.h"

static const char *const types[] = {
    [SCHEMA_CONSTANT] = "text",
    [SCHEMA_INTEGER] = "whole number",
    [SCHEMA_BOOLEAN] = "boolean",
    [SCHEMA_CHOICE] = "choice",
    [SCHEMA_TEXT] = "text",
    [SCHEMA_TEXTS] = "list of texts",
    [SCHEMA_MAP] = "map of texts",
    [SCHEMA_OBJECT] = "object",
    [SCHEMA_LIST] = "list of objects",
};

static const struct kind_row *find_kind(const char *name)
{
    for (int i = 0; i < KIND_COUNT; i++)
        if (strcasecmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

static const struct schema_field *find_field(const struct schema_table *table, const char *name)
{
    const struct schema_field *field;

    for (size_t i = 0; table != NULL && (field = schema_field(table, i)) != NULL; i++)
        if (strcmp(field->name, name) == 0)
            return field;
    return NULL;
}

static void normal_text(const struct schema_field *f, char *text, size_t size)
{
    text[0] = '\0';
    if (f->type == SCHEMA_INTEGER)
        snprintf(text, size, "%u", (unsigned)f->normal);
    else if (f->type == SCHEMA_BOOLEAN)
        snprintf(text, size, "%s", f->normal != 0 ? "true" : "false");
    else if (f->type == SCHEMA_CHOICE)
        snprintf(text, size, "%s", f->choices[f->normal - f->low]);
}

static json_t *field_json(const struct schema_field *f)
{
    char expected[320], normal[64];
    json_t *o;

    schema_expected(f, expected, sizeof expected);
    normal_text(f, normal, sizeof normal);
    o = json_pack("{s:s, s:s, s:b, s:s, s:s}", "name", f->name, "type", types[f->type], "required",
                  (int)f->required, "expected", expected, "description", f->help);
    if (normal[0] != '\0')
        json_object_set_new(o, "default", json_string(normal));
    return o;
}

static json_t *fields_json(const struct schema_table *table)
{
    const struct schema_field *field;
    json_t *list = json_array();

    for (size_t i = 0; table != NULL && (field = schema_field(table, i)) != NULL; i++)
        json_array_append_new(list, field_json(field));
    return list;
}

static void print_fields(const struct context *context, const struct schema_table *table)
{
    static const char *const columns[] = {"FIELD", "TYPE", "DEFAULT", "MEANING", NULL};
    struct table *out = table_new(context, columns);
    const struct schema_field *f;
    char normal[64];

    for (size_t i = 0; (f = schema_field(table, i)) != NULL; i++) {
        normal_text(f, normal, sizeof normal);
        table_cell(out, TABLE_PLAIN, "%s%s", f->name, f->required ? " *" : "");
        table_cell(out, TABLE_PLAIN, "%s", types[f->type]);
        table_cell(out, TABLE_PLAIN, "%s", normal[0] != '\0' ? normal : "-");
        table_cell(out, TABLE_PLAIN, "%s", f->help);
    }
    table_print(out);
}

static void print_one(const char *path, const struct schema_field *f)
{
    char expected[320], normal[64];

    schema_expected(f, expected, sizeof expected);
    normal_text(f, normal, sizeof normal);
    printf("%s: %s\n  type: %s%s\n  expected: %s\n", path, f->help, types[f->type],
           f->required ? ", required" : "", expected);
    if (normal[0] != '\0')
        printf("  default: %s\n", normal);
}

static int list_kinds(const struct context *context)
{
    static const char *const columns[] = {"KIND", "MEANING", NULL};
    struct table *table = context->json ? NULL : table_new(context, columns);
    json_t *items = json_array();
    json_t *document;

    for (int i = 0; i < KIND_COUNT; i++) {
        json_array_append_new(items, json_pack("{s:s, s:s}", "name", kinds[i].name, "description",
                                               kinds[i].table->help));
        if (table != NULL) {
            table_cell(table, TABLE_PLAIN, "%s", kinds[i].name);
            table_cell(table, TABLE_PLAIN, "%s", kinds[i].table->help);
        }
    }
    document = json_pack("{s:s, s:s, s:o}", "apiVersion", "covey.dev/v1", "kind", "KindList",
                         "items", items);
    if (context->json)
        print_json(document);
    else
        table_print(table);
    json_decref(document);
    return 0;
}

/* "no such field; did you mean …" */
static int unknown(const struct schema_table *table, const char *word)
{
    const char *names[SCHEMA_FIELDS_MAX + 1] = {NULL};
    const struct schema_field *field;
    const char *close;

    for (size_t i = 0;
         i < SCHEMA_FIELDS_MAX && table != NULL && (field = schema_field(table, i)) != NULL; i++)
        names[i] = field->name;
    close = report_suggest(word, names);
    if (close != NULL)
        return usage("explain", "there is no field \"%s\"; did you mean \"%s\"?", word, close);
    if (names[0] == NULL)
        return usage("explain", "there is no field \"%s\": what stands before it has no fields",
                     word);
    return usage("explain", "there is no field \"%s\"", word);
}

static int unknown_kind(const char *word)
{
    const char *names[KIND_COUNT + 1] = {NULL};
    const char *close;

    for (int i = 0; i < KIND_COUNT; i++)
        names[i] = kinds[i].name;
    close = report_suggest(word, names);
    if (close != NULL)
        return usage("explain", "there is no kind \"%s\"; did you mean \"%s\"?", word, close);
    return usage("explain", "there is no kind \"%s\"; agentctl explain lists them", word);
}

int cmd_explain(const struct context *context, int argc, char **argv)
{
    const struct schema_field *field = NULL;
    const struct schema_table *table;
    const struct kind_row *kind;
    char copy[SCHEMA_PATH_MAX];
    char *rest = copy, *word;
    bool first = true;

    if (argc == 0)
        return list_kinds(context);
    if (argc > 1 || strlen(argv[0]) >= sizeof copy)
        return usage("explain", "takes one KIND.field, such as Workload.spec.ports");
    snprintf(copy, sizeof copy, "%s", argv[0]);
    word = strsep(&rest, ".");
    kind = find_kind(word);
    if (kind == NULL)
        return unknown_kind(word);
    table = kind->table;
    while ((word = strsep(&rest, ".")) != NULL) {
        const struct schema_field *next = find_field(table, word);
        /* "Workload.ports": spec is understood. */
        if (next == NULL && first && (field = find_field(table, "spec")) != NULL)
            next = find_field(field->table, word);
        if (next == NULL)
            return unknown(first && field != NULL ? field->table : table, word);
        field = next;
        table = field->table;
        first = false;
    }
    if (context->json) {
        json_t *document = json_pack("{s:s, s:s, s:s, s:s, s:o}", "apiVersion", "covey.dev/v1",
                                     "kind", "Explanation", "path", argv[0], "description",
                                     field != NULL ? field->help : kind->table->help, "fields",
                                     fields_json(table));
        if (field != NULL)
            json_object_set_new(document, "field", field_json(field));
        print_json(document);
        json_decref(document);
        return 0;
    }
    if (field != NULL)
        print_one(argv[0], field);
    else
        printf("%s: %s\n", kind->name, kind->table->help);
    if (table != NULL) {
        printf("\n");
        print_fields(context, table);
    }
    return 0;
}
