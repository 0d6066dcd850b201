/* A small text file that holds a key: what it is in its first line, "NAME = VALUE" fields, and a
 * checksum in its last. The inside of os_keystore. */
#ifndef COVEY_IO_OS_KEYFILE_H
#define COVEY_IO_OS_KEYFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"

#define KEYFILE_MAX 4096      /* bytes of a file; ours are below 600 */
#define KEYFILE_VALUE_MAX 160 /* bytes of a field's value, terminating zero included */

struct keyfile_dir {
    int fd;
    const char *path; /* for messages */
};

struct keyfile_kind {
    const char *name;
    const char *title;  /* the first line, up to the version */
    const char *notice; /* the second line */
    bool secret;        /* others must not read it; no file may be written by others */
    const char *remedy; /* what to do when it is damaged */
};

/* The text of a file, being written or read. */
struct keyfile {
    char bytes[KEYFILE_MAX];
    size_t len;
    size_t at;
};

/* Reads a file up to its first field; then read all fields in their order, and call keyfile_end.
 * Errors: as keystore_load_* (os_keystore.h). */
int keyfile_load(const struct keyfile_dir *d, const struct keyfile_kind *kind, struct keyfile *t,
                 struct err *err);

/* The next field; false: it is another one, or malformed. */
bool keyfile_field(struct keyfile *t, const char *name, char value[KEYFILE_VALUE_MAX]);
bool keyfile_hex(struct keyfile *t, const char *name, uint8_t *out, size_t len);
bool keyfile_number(struct keyfile *t, const char *name, uint32_t *number);

/* Ends reading and wipes @t: ERR_CORRUPT unless all was @good and nothing is left. */
int keyfile_end(const struct keyfile_dir *d, const struct keyfile_kind *kind, struct keyfile *t,
                bool good, struct err *err);

/* Writes the first lines; then put the fields, and call keyfile_save. */
void keyfile_begin(const struct keyfile_kind *kind, struct keyfile *t);
void keyfile_put(struct keyfile *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void keyfile_put_hex(struct keyfile *t, const char *before, const uint8_t *data, size_t len);

/* Writes the file whole and durably, and wipes @t. Errors: as keystore_save_*. */
int keyfile_save(const struct keyfile_dir *d, const struct keyfile_kind *kind, struct keyfile *t,
                 struct err *err);

#endif
