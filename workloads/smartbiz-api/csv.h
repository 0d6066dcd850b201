/* CSV (RFC 4180) with "," or ";" between the fields, read and written. Pure. */
#ifndef COVEY_WORKLOADS_SMARTBIZ_API_CSV_H
#define COVEY_WORKLOADS_SMARTBIZ_API_CSV_H

#include <stdbool.h>
#include <stddef.h>

#include "workloads/lib/out.h"

#define CSV_FIELDS_MAX 32
#define CSV_FIELD_MAX 8192 /* bytes of one field */

struct csv_reader {
    char *at; /* the text is changed while it is read: quotes vanish, fields are terminated */
    char *end;
    char separator;
    size_t line; /* of the record that was read last, from 1; a quoted field may span several */
    size_t next_line;
};

enum csv_result {
    CSV_RECORD,
    CSV_END,
    CSV_BAD_QUOTE, /* a quote inside an unquoted field, or none at the end of a quoted one */
    CSV_TOO_MANY,  /* more than CSV_FIELDS_MAX fields */
    CSV_TOO_LONG,  /* a field is longer than CSV_FIELD_MAX */
    CSV_BAD_TEXT,  /* not UTF-8, or control characters other than line breaks and tabs in quotes */
};

/* @text of @len bytes must have room for one byte behind it. A byte order mark is skipped; the
 * separator is the one of "," and ";" that the first line has more of. */
void csv_open(struct csv_reader *reader, char *text, size_t len);

/* The next record; empty lines are skipped. The fields lie in the text. After an error nothing more
 * can be read. */
enum csv_result csv_read(struct csv_reader *reader, char *fields[CSV_FIELDS_MAX], size_t *count);

/* Writes one field. @is_text: someone else's text: one that a spreadsheet would take for a formula
 * gets a "'" before it (CWE-1236), which csv_read's users take off again by csv_unguard. */
void csv_put(struct out *o, const char *text, size_t len, bool is_first, bool is_text);
const char *csv_unguard(const char *text);

#endif
