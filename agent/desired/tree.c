#include "agent/desired/tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "proto/base/id.h"

/* An open list or map. */
struct frame {
    struct tree_node *node;
    const struct tree_node **tail; /* where the next child is linked */
    const char *key;               /* map: the key whose value comes next; NULL: a key comes */
    int key_line;
};

struct builder {
    struct arena *arena;
    const char *file;
    const char *data;
    size_t size;
    yaml_parser_t parser;
    struct frame stack[TREE_DEPTH_MAX];
    size_t depth;
    size_t nodes;
    struct tree_document *document; /* being read */
    struct err *err;
};

static int no_memory(struct builder *b)
{
    return err_set(b->err, ERR_NOMEM, "%s: out of memory", b->file);
}

static int mark_line(yaml_mark_t mark)
{
    return (int)mark.line + 1;
}

/* Keeps the first problem of the document. */
static int note_problem(struct builder *b, int line, const char *text)
{
    if (b->document->problem[0] != '\0')
        return 0;
    b->document->problem = arena_text(b->arena, text, strlen(text));
    b->document->problem_line = line;
    if (b->document->problem == NULL) {
        b->document->problem = "";
        return no_memory(b);
    }
    return 0;
}

static int line_of_offset(const struct builder *b, size_t offset)
{
    int line = 1;

    for (size_t i = 0; i < offset && i < b->size; i++)
        line += b->data[i] == '\n';
    return line;
}

/* The line is indented with a tab, which libyaml reports as a character out of place. */
static bool indented_by_tab(const struct builder *b, int wanted)
{
    int line = 1;
    size_t i = 0;

    while (i < b->size && line < wanted)
        line += b->data[i++] == '\n';
    while (i < b->size && b->data[i] == ' ')
        i++;
    return i < b->size && b->data[i] == '\t';
}

static int syntax_error(struct builder *b)
{
    const yaml_parser_t *p = &b->parser;
    const char *problem = p->problem != NULL ? p->problem : "unknown problem";
    int line = mark_line(p->problem_mark);

    if (p->error == YAML_MEMORY_ERROR)
        return no_memory(b);
    if (p->error == YAML_READER_ERROR)
        return err_set(b->err, ERR_INVALID, "%s:%d: no UTF-8 text: %s (byte %zu)", b->file,
                       line_of_offset(b, p->problem_offset), problem, p->problem_offset);
    if (indented_by_tab(b, line))
        return err_set(b->err, ERR_INVALID, "%s:%d: no valid YAML: indented with a tab; use spaces",
                       b->file, line);
    if (p->context != NULL && p->context_mark.line != p->problem_mark.line)
        return err_set(b->err, ERR_INVALID, "%s:%d: no valid YAML: %s, %s that begins on line %d",
                       b->file, line, problem, p->context, mark_line(p->context_mark));
    return err_set(b->err, ERR_INVALID, "%s:%d: no valid YAML: %s", b->file, line, problem);
}

static int by_key(const void *left, const void *right)
{
    const struct tree_node *a = *(const struct tree_node *const *)left;
    const struct tree_node *b = *(const struct tree_node *const *)right;
    int order = strcmp(a->key, b->key);

    return order != 0 ? order : (a->key_line > b->key_line) - (a->key_line < b->key_line);
}

/* Sorted, because a hostile map may have a hundred thousand keys. */
static int find_duplicate(struct builder *b, const struct tree_node *map)
{
    const struct tree_node *again = NULL, *before = NULL;
    const struct tree_node **sorted;
    size_t count = 0;
    char text[160];

    if (map->count < 2)
        return 0;
    sorted = malloc(map->count * sizeof *sorted);
    if (sorted == NULL)
        return no_memory(b);
    for (const struct tree_node *child = map->first; child != NULL; child = child->next)
        sorted[count++] = child;
    qsort(sorted, count, sizeof *sorted, by_key);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(sorted[i - 1]->key, sorted[i]->key) == 0 &&
            (again == NULL || sorted[i]->key_line < again->key_line)) {
            again = sorted[i];
            before = sorted[i - 1];
        }
    }
    free(sorted);
    if (again == NULL)
        return 0;
    snprintf(text, sizeof text,
             "the key \"%.60s\" stands here for the second time, first on line "
             "%d: remove one of them",
             again->key, before->key_line);
    return note_problem(b, again->key_line, text);
}

static int link_node(struct builder *b, struct tree_node *node)
{
    struct frame *top;

    if (++b->nodes > TREE_NODES_MAX)
        return err_set(b->err, ERR_LIMIT, "%s:%d: more than %d values in one file: split it",
                       b->file, node->line, TREE_NODES_MAX);
    if (b->depth == 0) {
        b->document->root = node;
        return 0;
    }
    top = &b->stack[b->depth - 1];
    if (top->node->kind == TREE_MAP) {
        node->key = top->key;
        node->key_line = top->key_line;
        top->key = NULL;
    }
    *top->tail = node;
    top->tail = &node->next;
    top->node->count++;
    return 0;
}

/* The next node is the key of a map. */
static bool wants_key(const struct builder *b)
{
    const struct frame *top;

    if (b->depth == 0)
        return false;
    top = &b->stack[b->depth - 1];
    return top->node->kind == TREE_MAP && top->key == NULL;
}

static int set_key(struct builder *b, const char *text, int line)
{
    b->stack[b->depth - 1].key = text;
    b->stack[b->depth - 1].key_line = line;
    return 0;
}

static int note_decoration(struct builder *b, int line, const yaml_char_t *anchor,
                           const yaml_char_t *tag)
{
    if (anchor != NULL)
        return note_problem(b, line,
                            "anchors (&name) are not supported: write the value out "
                            "wherever it is needed");
    if (tag != NULL)
        return note_problem(b, line,
                            "tags (!name) are not supported: the type of each field is "
                            "known");
    return 0;
}

static int add_scalar(struct builder *b, const yaml_event_t *event)
{
    const char *value = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    int line = mark_line(event->start_mark);
    const char *text = arena_text(b->arena, value, len);
    struct tree_node *node;
    int rc;

    if (text == NULL)
        return no_memory(b);
    rc = note_decoration(b, line, event->data.scalar.anchor, event->data.scalar.tag);
    if (rc == 0 && memchr(value, '\0', len) != NULL)
        rc = note_problem(b, line, "a zero byte (\\0) cannot be part of a value");
    if (rc != 0)
        return rc;
    if (wants_key(b))
        return set_key(b, text, line);
    node = arena_alloc(b->arena, sizeof *node);
    if (node == NULL)
        return no_memory(b);
    node->kind = TREE_SCALAR;
    node->line = line;
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    node->text = text;
    return link_node(b, node);
}

static int add_alias(struct builder *b, const yaml_event_t *event)
{
    const char *name = (const char *)event->data.alias.anchor;
    const char *text = arena_text(b->arena, name, strlen(name));
    int line = mark_line(event->start_mark);
    struct tree_node *node;
    int rc;

    if (text == NULL)
        return no_memory(b);
    rc = note_problem(b, line,
                      "aliases (*name) are not supported: write the value out wherever "
                      "it is needed");
    if (rc != 0)
        return rc;
    if (wants_key(b))
        return set_key(b, text, line);
    node = arena_alloc(b->arena, sizeof *node);
    if (node == NULL)
        return no_memory(b);
    node->kind = TREE_ALIAS;
    node->line = line;
    node->text = text;
    return link_node(b, node);
}

static int open_node(struct builder *b, const yaml_event_t *event)
{
    bool map = event->type == YAML_MAPPING_START_EVENT;
    int line = mark_line(event->start_mark);
    struct tree_node *node;
    int rc;

    if (wants_key(b))
        return err_set(b->err, ERR_INVALID, "%s:%d: a key must be text, not a %s", b->file, line,
                       map ? "map" : "list");
    if (b->depth == TREE_DEPTH_MAX)
        return err_set(b->err, ERR_LIMIT, "%s:%d: nested deeper than %d levels", b->file, line,
                       TREE_DEPTH_MAX);
    rc = map ? note_decoration(b, line, event->data.mapping_start.anchor,
                               event->data.mapping_start.tag)
             : note_decoration(b, line, event->data.sequence_start.anchor,
                               event->data.sequence_start.tag);
    if (rc != 0)
        return rc;
    node = arena_alloc(b->arena, sizeof *node);
    if (node == NULL)
        return no_memory(b);
    node->kind = map ? TREE_MAP : TREE_LIST;
    node->line = line;
    rc = link_node(b, node);
    if (rc != 0)
        return rc;
    b->stack[b->depth] = (struct frame){.node = node, .tail = &node->first};
    b->depth++;
    return 0;
}

static int close_node(struct builder *b)
{
    const struct tree_node *node = b->stack[--b->depth].node;

    return node->kind == TREE_MAP ? find_duplicate(b, node) : 0;
}

static int open_document(struct builder *b, const struct tree_document ***tail,
                         const yaml_event_t *event)
{
    struct tree_document *document = arena_alloc(b->arena, sizeof *document);

    if (document == NULL)
        return no_memory(b);
    document->problem = "";
    b->document = document;
    b->depth = 0;
    **tail = document;
    *tail = &document->next;
    if (event->data.document_start.tag_directives.start !=
        event->data.document_start.tag_directives.end)
        return note_problem(b, mark_line(event->start_mark), "tags (%TAG) are not supported");
    return 0;
}

static int handle(struct builder *b, const struct tree_document ***tail, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return open_document(b, tail, event);
    case YAML_SCALAR_EVENT:
        return add_scalar(b, event);
    case YAML_ALIAS_EVENT:
        return add_alias(b, event);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        return open_node(b, event);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return close_node(b);
    default:
        return 0;
    }
}

static int read_events(struct builder *b, const struct tree_document **first)
{
    const struct tree_document **tail = first;
    bool done = false;

    while (!done) {
        yaml_event_t event;
        int rc;

        if (!yaml_parser_parse(&b->parser, &event))
            return syntax_error(b);
        done = event.type == YAML_STREAM_END_EVENT;
        rc = handle(b, &tail, &event);
        yaml_event_delete(&event);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int tree_parse(struct arena *arena, const char *file, const char *data, size_t size,
               const struct tree_document **documents, struct err *err)
{
    struct builder b = {.arena = arena, .file = file, .data = data, .size = size, .err = err};
    int rc;

    *documents = NULL;
    if (size >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) { /* byte order mark */
        b.data += 3;
        b.size -= 3;
    }
    if (!yaml_parser_initialize(&b.parser))
        return no_memory(&b);
    yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&b.parser, (const unsigned char *)b.data, b.size);
    rc = read_events(&b, documents);
    yaml_parser_delete(&b.parser);
    return rc;
}

const struct tree_node *tree_get(const struct tree_node *map, const char *key)
{
    if (map == NULL || map->kind != TREE_MAP)
        return NULL;
    for (const struct tree_node *child = map->first; child != NULL; child = child->next)
        if (strcmp(child->key, key) == 0)
            return child;
    return NULL;
}

bool tree_is_null(const struct tree_node *node)
{
    if (node->kind != TREE_SCALAR || !node->plain)
        return false;
    return node->text[0] == '\0' || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0;
}

/* The child that the part of a path from @path to @end names. */
static const struct tree_node *find_part(const struct tree_node *node, const char *path, size_t len)
{
    const struct tree_node *child = node->first;

    if (node->kind == TREE_LIST) {
        unsigned long index = strtoul(path, NULL, 10);
        while (child != NULL && index-- > 0)
            child = child->next;
        return child;
    }
    while (child != NULL && (strncmp(child->key, path, len) != 0 || child->key[len] != '\0'))
        child = child->next;
    return child;
}

int tree_line(const struct tree_node *root, const char *path)
{
    int line = 1;

    for (const struct tree_node *node = root; node != NULL;) {
        size_t len;

        line = node->key != NULL ? node->key_line : node->line;
        path += strspn(path, ".[]");
        len = strcspn(path, ".[]");
        if (len == 0 || (node->kind != TREE_MAP && node->kind != TREE_LIST))
            break;
        node = find_part(node, path, len);
        path += len;
    }
    return line;
}

uint64_t tree_hash(const struct tree_node *node)
{
    uint64_t hash;

    if (node == NULL)
        return 0;
    hash = hash64_mix((uint64_t)node->kind + 1, node->text != NULL ? hash64_string(node->text) : 0);
    for (const struct tree_node *child = node->first; child != NULL; child = child->next) {
        hash = hash64_mix(hash, child->key != NULL ? hash64_string(child->key) : 0);
        hash = hash64_mix(hash, tree_hash(child));
    }
    return hash;
}
