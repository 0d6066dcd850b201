/* Reads a request's JSON body against a list of fields. Pure.
 *
 * The body must be one JSON object (RFC 8259, UTF-8) without duplicate keys and with no member that
 * is not listed. The first thing that is wrong is told by field and reason. */
#ifndef COVEY_WORKLOADS_BODY_H
#define COVEY_WORKLOADS_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#define BODY_FIELDS_MAX 32
#define BODY_DEPTH_MAX 16 /* of nested arrays and objects */

enum field_type {
    FIELD_STRING, /* one line */
    FIELD_TEXT,   /* as FIELD_STRING, with line breaks and tabs */
    FIELD_INT,
    FIELD_BOOL,
    FIELD_ARRAY, /* min and max: of its elements, which object_read reads */
};

enum field_need {
    FIELD_OPTIONAL,
    FIELD_REQUIRED,
};

struct field {
    const char *name;
    enum field_type type;
    enum field_need need;
    int64_t min; /* FIELD_INT: the value; texts: characters; FIELD_ARRAY: elements */
    int64_t max;
    /* FIELD_STRING, or NULL: says what is wrong with the text, or NULL when it is good. */
    const char *(*check)(const char *text);
};

struct field_value {
    bool present;
    const char *string; /* zero-terminated UTF-8 without control characters, owned by the root */
    const json_t *array;
    int64_t integer;
    bool boolean;
};

/* What an RFC 9457 problem document says; status 0 means that all is well. */
struct problem {
    int status;
    char field[64]; /* the member concerned; empty when it is the whole */
    char detail[256];
};

void problem_set(struct problem *problem, int status, const char *field, const char *detail, ...)
    __attribute__((format(printf, 4, 5)));

/* Fills @values, parallel to @fields. On success returns the document, which holds the strings; the
 * caller frees it by json_decref. On failure returns NULL and fills @problem: status 400 when it is
 * no JSON object, 422 when a field is wrong, 500 when memory is out. @count <= BODY_FIELDS_MAX. */
json_t *body_read(const char *body, size_t len, const struct field *fields, size_t count,
                  struct field_value *values, struct problem *problem);

/* As body_read for the object @json, the element @index of the array @array: what is wrong is told
 * as "lines[2].quantity", counted from 0. True on success. */
bool object_read(const json_t *json, const char *array, size_t index, const struct field *fields,
                 size_t count, struct field_value *values, struct problem *problem);

/* What is wrong with the form of an e-mail address, or NULL (a field's check). At most 254 bytes.
 */
const char *check_email(const char *email);

/* Reads a whole decimal number, digits and a leading '-' only. */
bool read_int(const char *text, int64_t *value);

#endif
