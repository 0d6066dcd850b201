/* Opens the secrets that the texts of an instance name (${secret:NAME/KEY}), on the node that
 * starts it, in memory alone. What is filled in is wiped when it is freed. */
#ifndef COVEY_IO_INSTANCE_SECRET_H
#define COVEY_IO_INSTANCE_SECRET_H

#include <stddef.h>

#include "agent/desired/desired.h"
#include "proto/base/err.h"
#include "proto/wire/keys.h"

/* Fills in the secrets of @desired that @text names; *@filled is NULL where it names none, else
 * freed by instance_secret_free. Errors: ERR_NOTFOUND no such secret or value; ERR_DENIED it was
 * not sealed to @identity; ERR_INVALID, ERR_VERSION, ERR_NOMEM. No message holds a value. */
int instance_secret_text(const struct keys_identity *identity, const struct desired *desired,
                         const char *text, char **filled, struct err *err);
void instance_secret_free(char *filled); /* NULL is allowed */

/* Files with the secrets of their texts. */
struct instance_secret_files {
    const struct desired_content *files; /* what was given, where no file names a secret */
    struct desired_content *copy;
    char **filled; /* of each file of the copy; NULL: its text names no secret */
    size_t count;
};

/* Besides: ERR_DENIED @run_dir lies on a disk, where a secret may not be written. Freed by
 * instance_secret_files_free, also after an error. */
int instance_secret_files(const struct keys_identity *identity, const struct desired *desired,
                          const char *run_dir, const struct desired_content *files, size_t count,
                          struct instance_secret_files *out, struct err *err);
void instance_secret_files_free(struct instance_secret_files *files);

#endif
