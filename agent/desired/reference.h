/* References in texts: ${service:NAME/PORT}, ${node:name} and ${node:address}. Everything else,
 * ${HOME} for a shell too, is ordinary text. */
#ifndef COVEY_DESIRED_REFERENCE_H
#define COVEY_DESIRED_REFERENCE_H

#include <stddef.h>

#include "proto/base/err.h"
#include "proto/base/id.h"
#include "proto/record/value.h"

enum reference_kind { REFERENCE_SERVICE, REFERENCE_NODE_NAME, REFERENCE_NODE_ADDRESS };

struct reference {
    enum reference_kind kind;
    size_t begin, end;                /* bytes of the text that it takes, '}' included */
    char workload[NODE_NAME_MAX + 1]; /* REFERENCE_SERVICE */
    char port[VALUE_PORT_NAME_MAX];   /* REFERENCE_SERVICE: a port's name */
};

/* Finds the first reference in @text at or behind @from.
 * Returns 1 and fills @reference; 0 if there is none; -1 and @err for one that is written wrong. */
int reference_next(const char *text, size_t from, struct reference *reference, struct err *err);

#endif
