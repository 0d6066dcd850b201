/* Writes JSON (RFC 8259) into a struct out, without allocating and without an intermediate tree.
 *
 * The caller calls the functions in the document's order; commas come by themselves. Keys are
 * written as they are and must therefore be plain literals. Strings are escaped; bytes that are not
 * UTF-8 become U+FFFD, so that the document is valid whatever a client sent. */
#ifndef COVEY_WORKLOADS_EMIT_H
#define COVEY_WORKLOADS_EMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "workloads/lib/out.h"

void emit_object(struct out *o);
void emit_object_end(struct out *o);
void emit_array(struct out *o);
void emit_array_end(struct out *o);
void emit_key(struct out *o, const char *key);

void emit_string(struct out *o, const char *text);
void emit_string_n(struct out *o, const char *text, size_t len);
void emit_int(struct out *o, int64_t value);
void emit_bool(struct out *o, bool value);
void emit_null(struct out *o);
/* A value that is JSON already: a number's text, or a document. */
void emit_raw(struct out *o, const char *json, size_t len);

/* @scaled / 10^@digits: 12345 with 2 digits is 123.45. @digits <= 9. */
void emit_decimal(struct out *o, int64_t scaled, unsigned digits);

/* A key with its value. */
void emit_key_string(struct out *o, const char *key, const char *text);
void emit_key_int(struct out *o, const char *key, int64_t value);
void emit_key_bool(struct out *o, const char *key, bool value);
void emit_key_decimal(struct out *o, const char *key, int64_t scaled, unsigned digits);

/* Bytes of the UTF-8 sequence (RFC 3629) at @text of @len > 0 bytes, or 0 where there is none. */
size_t utf8_sequence(const char *text, size_t len);

#endif
