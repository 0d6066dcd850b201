/* Tables that describe the fields of a document, and the reader that follows them.
 *
 * One table serves three: the reader below, the JSON Schemas for editors (schema_json.h), and the
 * help that people ask for. */
#ifndef COVEY_DESIRED_SCHEMA_H
#define COVEY_DESIRED_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/desired/arena.h"
#include "agent/desired/report.h"
#include "agent/desired/tree.h"

#define SCHEMA_PATH_MAX 192   /* bytes of "spec.env[3].value" */
#define SCHEMA_TEXT_MAX 65536 /* bytes of one text */
#define SCHEMA_FIELDS_MAX 32  /* fields of a table, those of its base included */

enum schema_type {
    SCHEMA_CONSTANT, /* choices[0]; stored nowhere */
    SCHEMA_INTEGER,  /* uint32_t, low..high */
    SCHEMA_BOOLEAN,  /* bool */
    SCHEMA_CHOICE,   /* an enum: low + the index in choices */
    SCHEMA_TEXT,     /* const char *, NULL where not given */
    SCHEMA_TEXTS,    /* const char *const *, ends with NULL; NULL where not given */
    SCHEMA_MAP,      /* struct desired_map of texts, sorted by name */
    SCHEMA_OBJECT,   /* const struct *, NULL where not given */
    SCHEMA_LIST,     /* struct schema_list of structs */
};

/* What a text must look like. */
struct schema_format {
    const char *expected; /* "a name like rest-api (a-z, 0-9 and -)" */
    const char *pattern;  /* the same for JSON Schema; it may accept more, never less */
    bool (*check)(const char *text);
};

struct schema_table;

struct schema_field {
    const char *name;
    enum schema_type type;
    bool required;
    bool verbatim;              /* TEXT: a plain null is the text "null", not a field left out */
    size_t offset;              /* in the table's struct */
    uint32_t low, high;         /* INTEGER: value; TEXTS, MAP, LIST: number of entries */
    uint32_t normal;            /* INTEGER, BOOLEAN, CHOICE: the value where nothing is said */
    const char *const *choices; /* ends with NULL */
    const struct schema_format *format; /* TEXT, TEXTS, values of MAP; NULL: any text */
    const struct schema_format *keys;   /* of MAP */
    const struct schema_table *table;   /* OBJECT, LIST */
    const char *help;
};

struct schema_table {
    const char *help;
    size_t size;                       /* of the struct that it fills */
    const struct schema_table *base;   /* its fields belong here too, in the same struct; or NULL */
    const struct schema_field *fields; /* ends with a field without a name */
};

struct schema_list {
    const void *items; /* an array of the table's struct */
    size_t count;
};

struct schema_reader {
    struct arena *arena; /* of all that is read */
    struct report *report;
    const char *file;
    char path[SCHEMA_PATH_MAX]; /* of the field being read; begin with "" */
};

/* Reads the map @node into @target (of table->size, zeroed). Every error goes to the report.
 * Returns 0 or the code of an error; then @target is not to be used. */
int schema_read(struct schema_reader *reader, const struct tree_node *node,
                const struct schema_table *table, void *target);

/* The @index-th field of @table, those of its base first; NULL behind the last. */
const struct schema_field *schema_field(const struct schema_table *table, size_t index);

/* "0 to 256" and the like: what @field takes, for messages. */
void schema_expected(const struct schema_field *field, char *text, size_t size);

/* Texts that read as the whole number @value: digits only, no sign, no leading zero, at most 10
 * digits. */
bool schema_number(const char *text, uint64_t *value);

#endif
