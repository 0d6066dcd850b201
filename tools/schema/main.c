/* covey-schema: the tables of agent/desired for other eyes. A tool of developers.
 *
 *     covey-schema json KIND     the JSON Schema of a kind: provisioning/schemas/ holds its output
 *     covey-schema check FILE... what agentd says of each file: "FILE accepted" or "FILE refused
 *                                REASON" on one line. A file stands alone, as apps/check/FILE
 * beside a cluster.yaml with a pool, a workload "behind" and an address "outside", or as
 * cluster.yaml itself if its name begins with "cluster".
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/desired/kinds.h"

static json_t *table_json(const struct schema_table *table);

/* {"type": [@type and, unless the field must be there, "null"]} */
static json_t *typed(const char *type, bool required)
{
    return required ? json_pack("{s:s}", "type", type)
                    : json_pack("{s:[s,s]}", "type", type, "null");
}

static bool takes(const struct schema_format *format, const char *text)
{
    return format == NULL || format->check(text);
}

/* Every plain scalar is a text to agentd, whatever YAML makes of it: a format that some number or
 * word fits takes that too. A pattern binds strings alone, a minimum numbers alone. */
static json_t *text_json(const struct schema_format *format, bool null)
{
    json_t *types = json_pack("[s]", "string"), *schema = json_pack("{s:o}", "type", types);
    bool fraction = takes(format, "1.5");
    bool number = fraction || takes(format, "7") || takes(format, "2097152");

    if (number)
        json_array_append_new(types, json_string(fraction ? "number" : "integer"));
    if (takes(format, "true"))
        json_array_append_new(types, json_string("boolean"));
    if (null)
        json_array_append_new(types, json_string("null"));
    if (format != NULL)
        json_object_set_new(schema, "pattern", json_string(format->pattern));
    if (number && !takes(format, "-1"))
        json_object_set_new(schema, "minimum", json_integer(takes(format, "0") ? 0 : 1));
    if (number && takes(format, "65535") && !takes(format, "65536"))
        json_object_set_new(schema, "maximum", json_integer(UINT16_MAX));
    if (fraction && !takes(format, "0"))
        json_object_set_new(schema, "minimum", json_real(0.001));
    return schema;
}

static json_t *choice_json(const struct schema_field *field)
{
    json_t *values = json_array();

    for (size_t i = 0; field->choices[i] != NULL; i++)
        json_array_append_new(values, json_string(field->choices[i]));
    if (!field->required)
        json_array_append_new(values, json_null());
    return json_pack("{s:o,s:s}", "enum", values, "default",
                     field->choices[field->normal - field->low]);
}

static void set_count(json_t *schema, const struct schema_field *field, const char *low,
                      const char *high)
{
    if (field->low > 0)
        json_object_set_new(schema, low, json_integer(field->low));
    json_object_set_new(schema, high, json_integer(field->high));
}

static json_t *integer_json(const struct schema_field *field)
{
    json_t *schema = typed("integer", field->required);

    json_object_set_new(schema, "minimum", json_integer(field->low));
    json_object_set_new(schema, "maximum", json_integer(field->high));
    json_object_set_new(schema, "default", json_integer(field->normal));
    return schema;
}

static json_t *map_json(const struct schema_field *field)
{
    json_t *schema = typed("object", field->required);

    json_object_set_new(schema, "additionalProperties", text_json(field->format, true));
    if (field->keys != NULL)
        json_object_set_new(schema, "propertyNames",
                            json_pack("{s:s}", "pattern", field->keys->pattern));
    set_count(schema, field, "minProperties", "maxProperties");
    return schema;
}

static json_t *object_json(const struct schema_field *field)
{
    json_t *schema = table_json(field->table);

    if (!field->required)
        json_object_set_new(schema, "type", json_pack("[s,s]", "object", "null"));
    return schema;
}

static json_t *array_json(const struct schema_field *field, json_t *items)
{
    json_t *schema = typed("array", field->required);

    json_object_set_new(schema, "items", items);
    set_count(schema, field, "minItems", "maxItems");
    return schema;
}

static json_t *type_json(const struct schema_field *field)
{
    switch (field->type) {
    case SCHEMA_CONSTANT:
        return json_pack("{s:s}", "const", field->choices[0]);
    case SCHEMA_INTEGER:
        return integer_json(field);
    case SCHEMA_BOOLEAN:
        return json_pack("{s:[s,s],s:b}", "type", "boolean", "null", "default", field->normal != 0);
    case SCHEMA_CHOICE:
        return choice_json(field);
    case SCHEMA_TEXT:
        return text_json(field->format, !field->required);
    case SCHEMA_TEXTS:
        return array_json(field, text_json(field->format, takes(field->format, "null")));
    case SCHEMA_MAP:
        return map_json(field);
    case SCHEMA_OBJECT:
        return object_json(field);
    case SCHEMA_LIST:
        return array_json(field, table_json(field->table));
    }
    return NULL;
}

static json_t *table_json(const struct schema_table *table)
{
    json_t *properties = json_object(), *required = json_array();
    const struct schema_field *field;
    json_t *schema;

    for (size_t i = 0; (field = schema_field(table, i)) != NULL; i++) {
        json_t *property = type_json(field);
        json_object_set_new(property, "description", json_string(field->help));
        json_object_set_new(properties, field->name, property);
        if (field->required)
            json_array_append_new(required, json_string(field->name));
    }
    schema = json_pack("{s:s,s:b,s:o}", "type", "object", "additionalProperties", 0, "properties",
                       properties);
    if (json_array_size(required) > 0)
        json_object_set(schema, "required", required);
    json_decref(required);
    return schema;
}

static int print_schema(const char *name)
{
    for (int i = 0; i < KIND_COUNT; i++) {
        json_t *schema, *body;
        int rc;
        if (strcmp(kinds[i].name, name) != 0)
            continue;
        schema = json_pack("{s:s,s:s,s:s}", "$schema", "http://json-schema.org/draft-07/schema#",
                           "title", kinds[i].name, "description", kinds[i].table->help);
        body = table_json(kinds[i].table);
        json_object_update(schema, body);
        json_decref(body);
        rc = json_dumpf(schema, stdout, JSON_INDENT(2));
        json_decref(schema);
        printf("\n");
        return rc == 0 && fflush(stdout) == 0 ? 0 : 1;
    }
    fprintf(stderr, "covey-schema: there is no kind \"%s\"\n", name);
    return 1;
}

static int check_file(const char *name)
{
    static const char cluster[] = "{apiVersion: covey.dev/v1, kind: Cluster, metadata: {name: c}, "
                                  "spec: {pool: 10.0.0.1-10.0.0.250}}";
    static const char others[] =
        "{apiVersion: covey.dev/v1, kind: Workload, metadata: {name: behind}, spec: {command: [x], "
        "ports: [{name: http, port: 80}]}}\n---\n{apiVersion: covey.dev/v1, kind: VirtualIP, "
        "metadata: {name: outside}}\n";
    static char data[DESIRED_FILE_MAX + 1];
    const char *slash = strrchr(name, '/');
    const char *base = slash != NULL ? slash + 1 : name;
    char path[DESIRED_PATH_MAX];
    struct desired_file files[] = {
        {.path = path, .data = data},
        {.path = "cluster.yaml", .data = cluster, .size = sizeof cluster - 1},
        {.path = "apps/others/all.yaml", .data = others, .size = sizeof others - 1},
    };
    bool is_cluster = strncmp(base, "cluster", strlen("cluster")) == 0;
    struct desired *desired;
    struct err err;
    FILE *in = fopen(name, "rb");

    if (in == NULL) {
        perror(name);
        return 1;
    }
    files[0].size = fread(data, 1, sizeof data, in);
    fclose(in);
    if (is_cluster)
        snprintf(path, sizeof path, "cluster.yaml");
    else
        snprintf(path, sizeof path, "apps/check/%s", base);
    if (desired_parse("", files, is_cluster ? 1 : 3, &desired, NULL, &err) != 0) {
        printf("%s refused %s\n", name, err.text);
        return 0;
    }
    printf("%s accepted\n", name);
    desired_free(desired);
    return 0;
}

int main(int argc, char **argv)
{
    int rc = 0;

    if (argc == 3 && strcmp(argv[1], "json") == 0)
        return print_schema(argv[2]);
    if (argc < 3 || strcmp(argv[1], "check") != 0) {
        fprintf(stderr, "usage: covey-schema json KIND | covey-schema check FILE...\n");
        return 2;
    }
    for (int i = 2; i < argc && rc == 0; i++)
        rc = check_file(argv[i]);
    return rc;
}
