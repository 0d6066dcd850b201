/* Collects the errors of a commit, in the order in which they are found. */
#ifndef COVEY_DESIRED_REPORT_H
#define COVEY_DESIRED_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/base/err.h"

#define REPORT_MAX 50    /* errors kept; more are only counted */
#define REPORT_LINE 640  /* bytes of one error, terminating zero included */
#define REPORT_QUOTED 64 /* bytes that report_quote needs at most */

/* {0} is empty. */
struct report {
    struct err first;
    char *rest; /* all errors but the first, one a line; NULL if there are none */
    size_t used;
    unsigned count;
    bool no_memory;
};

/* Adds "FILE:LINE: message" and returns @code. Control characters of the message become '?'. */
int report_add(struct report *report, int code, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Adds what @err holds, which names its place itself. */
int report_err(struct report *report, const struct err *err);

int report_no_memory(struct report *report);

/* No use in looking for more. */
bool report_full(const struct report *report);

/* The code of the first error, 0 if there is none. Fills @err and hands the other errors to *@rest
 * (NULL is allowed; owned by the caller then). The report is empty afterwards. */
int report_finish(struct report *report, char **rest, struct err *err);

/* The start of @text, fit for a message in quotes: cut with "..." when it is long. */
const char *report_quote(const char *text, char quoted[REPORT_QUOTED]);

/* The entry of @candidates (NULL-terminated) that @word was probably meant to be, or NULL. */
const char *report_suggest(const char *word, const char *const *candidates);

#endif
