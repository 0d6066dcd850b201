/* References in texts. desired_parse fills in ${var:NAME}; the node ${service:NAME/PORT},
 * ${node:name}, ${node:address} and ${file:PATH} (where a file of the workload lies); whoever
 * starts the process ${secret:NAME/KEY}, so that no secret is in a hash or a record. Everything
 * else,
 * ${HOME} for a shell too, is ordinary text. */
#ifndef COVEY_DESIRED_REFERENCE_H
#define COVEY_DESIRED_REFERENCE_H

#include <stddef.h>

#include "proto/base/err.h"
#include "proto/base/id.h"
#include "proto/record/value.h"

#define REFERENCE_KEY_MAX 201 /* bytes of a key or path, terminating zero included */

enum reference_kind {
    REFERENCE_SERVICE,
    REFERENCE_NODE_NAME,
    REFERENCE_NODE_ADDRESS,
    REFERENCE_VARIABLE,
    REFERENCE_SECRET,
    REFERENCE_FILE,
};

struct reference {
    enum reference_kind kind;
    size_t begin, end;            /* bytes of the text that it takes, '}' included */
    char name[NODE_NAME_MAX + 1]; /* SERVICE: the workload; SECRET: the SealedSecret */
    char key[REFERENCE_KEY_MAX];  /* SERVICE: a port's name; SECRET: a key; VARIABLE: its name;
                                     FILE: its path */
};

/* Finds the first reference in @text at or behind @from.
 * Returns 1 and fills @reference; 0 if there is none; -1 and @err for one that is written wrong. */
int reference_next(const char *text, size_t from, struct reference *reference, struct err *err);

#endif
