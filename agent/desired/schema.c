#include "agent/desired/schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/desired/desired.h"

static int field_error(struct schema_reader *reader, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int field_error(struct schema_reader *reader, int line, const char *format, ...)
{
    char text[REPORT_LINE];
    va_list args;

    va_start(args, format);
    if (vsnprintf(text, sizeof text, format, args) < 0)
        text[0] = '\0';
    va_end(args);
    if (reader->path[0] == '\0')
        return report_add(reader->report, ERR_INVALID, reader->file, line, "%s", text);
    return report_add(reader->report, ERR_INVALID, reader->file, line, "%s: %s", reader->path,
                      text);
}

/* Appends @name to the path and returns the length to go back to. */
static size_t enter(struct schema_reader *reader, const char *name)
{
    size_t before = strlen(reader->path);

    snprintf(reader->path + before, sizeof reader->path - before, before > 0 ? ".%.64s" : "%.64s",
             name);
    return before;
}

static size_t enter_index(struct schema_reader *reader, size_t index)
{
    size_t before = strlen(reader->path);

    snprintf(reader->path + before, sizeof reader->path - before, "[%zu]", index);
    return before;
}

static void leave(struct schema_reader *reader, size_t before)
{
    reader->path[before] = '\0';
}

static const char *kind_name(const struct tree_node *node)
{
    switch (node->kind) {
    case TREE_LIST:
        return "a list";
    case TREE_MAP:
        return "a map of fields";
    default:
        return "a single value";
    }
}

static void join_choices(const char *const *choices, char *text, size_t size)
{
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; choices[i] != NULL && used + 1 < size; i++) {
        snprintf(text + used, size - used, i > 0 ? ", %s" : "%s", choices[i]);
        used = strlen(text);
    }
}

/* As many of @names as fit, and how many there are besides. */
static void join_names(const char *const *names, char *text, size_t size)
{
    const size_t rest_max = sizeof " and 64 more: see agentctl explain";
    size_t used = 0, count = 0;

    while (names[count] != NULL)
        count++;
    text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        if (used + strlen(names[i]) + 2 + rest_max > size) {
            snprintf(text + used, size - used, " and %zu more: see agentctl explain", count - i);
            return;
        }
        snprintf(text + used, size - used, i > 0 ? ", %s" : "%s", names[i]);
        used = strlen(text);
    }
}

void schema_expected(const struct schema_field *field, char *text, size_t size)
{
    char choices[256];

    switch (field->type) {
    case SCHEMA_INTEGER:
        snprintf(text, size, "%u to %u", (unsigned)field->low, (unsigned)field->high);
        break;
    case SCHEMA_BOOLEAN:
        snprintf(text, size, "true or false");
        break;
    case SCHEMA_CONSTANT:
    case SCHEMA_CHOICE:
        join_choices(field->choices, choices, sizeof choices);
        snprintf(text, size, "%s%s", field->choices[1] != NULL ? "one of " : "", choices);
        break;
    case SCHEMA_TEXT:
        snprintf(text, size, "%s", field->format != NULL ? field->format->expected : "a text");
        break;
    case SCHEMA_TEXTS:
        snprintf(text, size, "a list of texts, such as [\"one\", \"two\"]");
        break;
    case SCHEMA_MAP:
        snprintf(text, size, "a map of texts, such as {name: value}");
        break;
    case SCHEMA_OBJECT:
        snprintf(text, size, "a map of fields");
        break;
    case SCHEMA_LIST:
        snprintf(text, size, "a list, each entry with a \"- \" before it");
        break;
    }
}

static int wrong_value(struct schema_reader *reader, const struct schema_field *field,
                       const struct tree_node *node, const char *why)
{
    char expected[320], quoted[REPORT_QUOTED];

    schema_expected(field, expected, sizeof expected);
    if (node->kind != TREE_SCALAR)
        return field_error(reader, node->line, "%s is %s; expected %s", kind_name(node), why,
                           expected);
    return field_error(reader, node->line, "\"%s\" is %s; expected %s",
                       report_quote(node->text, quoted), why, expected);
}

bool schema_number(const char *text, uint64_t *value)
{
    size_t len = strlen(text);

    if (len < 1 || len > 10 || strspn(text, "0123456789") != len || (text[0] == '0' && len > 1))
        return false;
    *value = strtoull(text, NULL, 10);
    return true;
}

static int read_integer(struct schema_reader *reader, const struct schema_field *field,
                        const struct tree_node *node, uint32_t *target)
{
    uint64_t value;

    if (node->kind != TREE_SCALAR)
        return wrong_value(reader, field, node, "no whole number");
    if (!node->plain)
        return wrong_value(reader, field, node, "in quotes, so it is no number");
    if (node->text[0] != '-' && node->text[0] != '+' && !schema_number(node->text, &value))
        return wrong_value(reader, field, node, "no whole number");
    if (node->text[0] == '-' || node->text[0] == '+' || value < field->low || value > field->high)
        return wrong_value(reader, field, node, "out of range");
    *target = (uint32_t)value;
    return 0;
}

static int read_boolean(struct schema_reader *reader, const struct schema_field *field,
                        const struct tree_node *node, bool *target)
{
    if (node->kind == TREE_SCALAR && node->plain && strcmp(node->text, "true") == 0)
        *target = true;
    else if (node->kind == TREE_SCALAR && node->plain && strcmp(node->text, "false") == 0)
        *target = false;
    else
        return wrong_value(reader, field, node, "neither true nor false");
    return 0;
}

/* The index of the choice that @node names. */
static int read_choice(struct schema_reader *reader, const struct schema_field *field,
                       const struct tree_node *node, uint32_t *target)
{
    const char *close;
    char expected[320], quoted[REPORT_QUOTED];

    if (node->kind != TREE_SCALAR)
        return wrong_value(reader, field, node, "not possible here");
    for (uint32_t i = 0; field->choices[i] != NULL; i++) {
        if (strcmp(node->text, field->choices[i]) == 0) {
            *target = field->low + i;
            return 0;
        }
    }
    close = report_suggest(node->text, field->choices);
    if (close == NULL)
        return wrong_value(reader, field, node, "not possible here");
    schema_expected(field, expected, sizeof expected);
    return field_error(reader, node->line,
                       "\"%s\" is not possible here; did you mean \"%s\"? "
                       "(expected %s)",
                       report_quote(node->text, quoted), close, expected);
}

static int read_text(struct schema_reader *reader, const struct schema_format *format,
                     const struct tree_node *node, const char **target)
{
    const struct schema_field as_text = {.type = SCHEMA_TEXT, .format = format};
    size_t len;

    if (node->kind != TREE_SCALAR)
        return wrong_value(reader, &as_text, node, "no text");
    len = strlen(node->text);
    if (len > SCHEMA_TEXT_MAX)
        return field_error(reader, node->line, "the text has %zu bytes; expected at most %d", len,
                           SCHEMA_TEXT_MAX);
    if (format != NULL && !format->check(node->text))
        return wrong_value(reader, &as_text, node, "not possible here");
    *target = arena_text(reader->arena, node->text, len);
    return *target != NULL ? 0 : report_no_memory(reader->report);
}

/* @node is of @kind and has as many children as @field allows. */
static int check_container(struct schema_reader *reader, const struct schema_field *field,
                           const struct tree_node *node, enum tree_kind kind)
{
    if (node->kind != kind)
        return wrong_value(reader, field, node, "not possible here");
    if (node->count < field->low || node->count > field->high)
        return field_error(reader, node->line, "%zu entries; expected %u to %u", node->count,
                           (unsigned)field->low, (unsigned)field->high);
    return 0;
}

static int read_texts(struct schema_reader *reader, const struct schema_field *field,
                      const struct tree_node *node, const char *const **target)
{
    int rc = check_container(reader, field, node, TREE_LIST);
    const char **texts;
    size_t i = 0;

    if (rc != 0)
        return rc;
    texts = arena_array(reader->arena, node->count + 1, sizeof *texts);
    if (texts == NULL)
        return report_no_memory(reader->report);
    for (const struct tree_node *item = node->first; item != NULL; item = item->next, i++) {
        size_t before = enter_index(reader, i);
        int item_rc = read_text(reader, field->format, item, &texts[i]);
        leave(reader, before);
        rc = rc != 0 ? rc : item_rc;
    }
    *target = texts;
    return rc;
}

static int by_name(const void *left, const void *right)
{
    const struct desired_pair *a = left, *b = right;

    return strcmp(a->name, b->name);
}

static int read_map(struct schema_reader *reader, const struct schema_field *field,
                    const struct tree_node *node, struct desired_map *target)
{
    int rc = check_container(reader, field, node, TREE_MAP);
    struct desired_pair *pairs;
    size_t i = 0;

    if (rc != 0)
        return rc;
    pairs = arena_array(reader->arena, node->count, sizeof *pairs);
    if (pairs == NULL)
        return report_no_memory(reader->report);
    for (const struct tree_node *item = node->first; item != NULL; item = item->next, i++) {
        size_t before = enter(reader, item->key);
        int item_rc = read_text(reader, field->format, item, &pairs[i].value);
        pairs[i].name = arena_text(reader->arena, item->key, strlen(item->key));
        if (pairs[i].name == NULL)
            item_rc = report_no_memory(reader->report);
        else if (field->keys != NULL && !field->keys->check(item->key))
            item_rc = field_error(reader, item->key_line, "not possible as a name; expected %s",
                                  field->keys->expected);
        leave(reader, before);
        rc = rc != 0 ? rc : item_rc;
    }
    if (rc != 0)
        return rc;
    qsort(pairs, node->count, sizeof *pairs, by_name);
    *target = (struct desired_map){.pairs = pairs, .count = node->count};
    return 0;
}

static int read_object(struct schema_reader *reader, const struct schema_field *field,
                       const struct tree_node *node, const void **target)
{
    void *object;

    if (node->kind != TREE_MAP)
        return wrong_value(reader, field, node, "not possible here");
    object = arena_alloc(reader->arena, field->table->size);
    if (object == NULL)
        return report_no_memory(reader->report);
    *target = object;
    return schema_read(reader, node, field->table, object);
}

static int read_list(struct schema_reader *reader, const struct schema_field *field,
                     const struct tree_node *node, struct schema_list *target)
{
    const struct schema_field entry = {.type = SCHEMA_OBJECT};
    int rc = check_container(reader, field, node, TREE_LIST);
    unsigned char *items;
    size_t i = 0;

    if (rc != 0)
        return rc;
    items = arena_array(reader->arena, node->count, field->table->size);
    if (items == NULL)
        return report_no_memory(reader->report);
    for (const struct tree_node *item = node->first; item != NULL; item = item->next, i++) {
        size_t before = enter_index(reader, i);
        int item_rc;
        if (item->kind == TREE_MAP)
            item_rc = schema_read(reader, item, field->table, items + i * field->table->size);
        else
            item_rc = wrong_value(reader, &entry, item, "not possible here");
        leave(reader, before);
        rc = rc != 0 ? rc : item_rc;
    }
    *target = (struct schema_list){.items = items, .count = node->count};
    return rc;
}

static int read_field(struct schema_reader *reader, const struct schema_field *field,
                      const struct tree_node *node, void *target)
{
    uint32_t ignored;

    switch (field->type) {
    case SCHEMA_CONSTANT:
        return read_choice(reader, field, node, &ignored);
    case SCHEMA_INTEGER:
        return read_integer(reader, field, node, target);
    case SCHEMA_BOOLEAN:
        return read_boolean(reader, field, node, target);
    case SCHEMA_CHOICE:
        return read_choice(reader, field, node, target);
    case SCHEMA_TEXT:
        return read_text(reader, field->format, node, target);
    case SCHEMA_TEXTS:
        return read_texts(reader, field, node, target);
    case SCHEMA_MAP:
        return read_map(reader, field, node, target);
    case SCHEMA_OBJECT:
        return read_object(reader, field, node, target);
    case SCHEMA_LIST:
        return read_list(reader, field, node, target);
    }
    return 0;
}

static void set_normal(const struct schema_field *field, void *target)
{
    if (field->type == SCHEMA_INTEGER || field->type == SCHEMA_CHOICE)
        memcpy(target, &field->normal, sizeof field->normal);
    else if (field->type == SCHEMA_BOOLEAN)
        *(bool *)target = field->normal != 0;
}

const struct schema_field *schema_field(const struct schema_table *table, size_t index)
{
    if (table->base != NULL) {
        for (const struct schema_field *f = table->base->fields; f->name != NULL; f++)
            if (index-- == 0)
                return f;
    }
    for (const struct schema_field *f = table->fields; f->name != NULL; f++)
        if (index-- == 0)
            return f;
    return NULL;
}

static int unknown_field(struct schema_reader *reader, const struct schema_table *table,
                         const struct tree_node *node)
{
    const char *names[SCHEMA_FIELDS_MAX + 1] = {NULL};
    const struct schema_field *field;
    const char *close;
    char known[240]; /* the message is not to be cut */
    size_t before = enter(reader, node->key);
    int rc;

    for (size_t i = 0; i < SCHEMA_FIELDS_MAX && (field = schema_field(table, i)) != NULL; i++)
        names[i] = field->name;
    close = report_suggest(node->key, names);
    join_names(names, known, sizeof known);
    if (close != NULL)
        rc = field_error(reader, node->key_line, "no such field; did you mean \"%s\"?", close);
    else
        rc = field_error(reader, node->key_line, "no such field; known here: %s", known);
    leave(reader, before);
    return rc;
}

/* A field without a value is a field left out. */
static bool says_nothing(const struct schema_field *field, const struct tree_node *node)
{
    if (field->verbatim)
        return node->kind == TREE_SCALAR && node->plain && node->text[0] == '\0';
    return tree_is_null(node);
}

int schema_read(struct schema_reader *reader, const struct tree_node *node,
                const struct schema_table *table, void *target)
{
    const struct schema_field *field;
    int first_rc = 0;

    for (const struct tree_node *child = node->first; child != NULL; child = child->next) {
        bool found = false;
        for (size_t i = 0; !found && (field = schema_field(table, i)) != NULL; i++)
            found = strcmp(field->name, child->key) == 0;
        if (!found)
            first_rc = unknown_field(reader, table, child);
        if (report_full(reader->report))
            return ERR_INVALID;
    }
    for (size_t i = 0; (field = schema_field(table, i)) != NULL; i++) {
        const struct tree_node *child = tree_get(node, field->name);
        void *place = (unsigned char *)target + field->offset;
        size_t before = enter(reader, field->name);
        int rc = 0;
        set_normal(field, place);
        if (child != NULL && !says_nothing(field, child))
            rc = read_field(reader, field, child, place);
        else if (field->required)
            rc = field_error(reader, node->key != NULL ? node->key_line : node->line,
                             "is missing: %s", field->help);
        leave(reader, before);
        first_rc = first_rc != 0 ? first_rc : rc;
    }
    return first_rc;
}
