/* One request between its handler and its reply: asks the database, and tells what went wrong
 * there. */
#ifndef COVEY_WORKLOADS_SMARTBIZ_API_CALL_H
#define COVEY_WORKLOADS_SMARTBIZ_API_CALL_H

#include "workloads/smartbiz-api/api.h"

#define KEY_MAX 128  /* bytes of an Idempotency-Key */
#define ACTOR_MAX 64 /* bytes of who does it (X-User), decoded */

struct call;

/* Writes the reply from the rows of the resource that a key stands for. */
typedef void call_show(struct call *call, const PGresult *result, int status);
typedef void call_step(struct call *call);
typedef void call_rows(struct call *call, const PGresult *result);

struct call {
    struct request *request;
    struct api *api;
    char actor[ACTOR_MAX + 1];
    char key[KEY_MAX + 1]; /* empty: none */
    char fingerprint[17];  /* of method, path and body */
    int status;            /* for call_show, when a key is replayed */
    unsigned attempts;
    bool done_before; /* a key was replayed, or its replay was looked for */

    enum statement resource; /* reads the resource that a key stands for */
    call_show *show;
    call_step *run; /* asks the write: again after a deadlock, or behind the look for the key */
    call_rows *rows;
    void (*on_free)(struct call *call);
    void *state; /* the handler's own, freed by free(3) with the call */
};

/* Begins: false: replied, return. @state may be NULL; it is freed with the call in any case. */
bool call_begin(struct call **out, struct request *request, void *context, void *state);

/* Asks; @rows gets them, and everything else is replied here. */
void call_ask(struct call *call, const struct pg_statement *statement, const char *const *params,
              size_t count, call_rows *rows);
void call_ask_for(struct call *call, enum statement statement, const char *const *params,
                  size_t count, call_rows *rows);

/* A write that a client may repeat under an Idempotency-Key: runs @run, or shows by @resource and
 * @show what an earlier one with that key has made. */
void call_write(struct call *call, enum statement resource, call_show *show, call_step *run);
const char *call_key(const struct call *call); /* the parameter: NULL when there is none */

/* In rows: the write did nothing because another one has taken the key meanwhile. */
void call_key_taken(struct call *call);

/* The reply is made. */
void call_end(struct call *call);
void call_problem(struct call *call, int status, const char *field, const char *detail, ...)
    __attribute__((format(printf, 4, 5)));

/* The number in the path. False: replied. */
bool path_id(struct request *request, int64_t *id);

/* If-Match as a version: "" when it is absent or *, else digits. Entity tags are "v<version>", and
 * of articles "v<version>-s<stock>", of which only the version counts here. False: replied. */
#define VERSION_TEXT 24
bool read_if_match(struct request *request, char version[VERSION_TEXT]);

struct number_text {
    char text[24];
};
struct number_text number(int64_t value);

/* --- rows as JSON ------------------------------------------------------------------------- */

enum column_type {
    COLUMN_NUMBER,
    COLUMN_TEXT,
    COLUMN_TIME,
    COLUMN_JSON,
};

struct column {
    const char *name;
    enum column_type type;
};

/* Members of an object, from the row's columns @first on. */
void emit_columns(struct out *o, const PGresult *result, int row, int first,
                  const struct column *columns, size_t count);
/* "2026-01-31 09:30:00.5+00" as RFC 3339 writes it. */
void emit_time(struct out *o, const char *text, size_t len);

/* The last day that was shown: those of a page are mostly the same few, and gmtime_r costs more
 * than all the rest of a time. Begins as zeros. */
struct day_text {
    int64_t number; /* since 1970 */
    char text[sizeof "2026-01-31T"];
};

/* The same of a result in PostgreSQL's binary form, from the first column on; there is no
 * COLUMN_JSON. */
void emit_columns_binary(struct out *o, const PGresult *result, int row,
                         const struct column *columns, size_t count, struct day_text *day);
int64_t binary_number(const char *bytes, size_t len); /* of bigint and integer */

extern const struct column article_columns[];
extern const size_t article_column_count;
extern const struct column customer_columns[];
extern const size_t customer_column_count;

#endif
