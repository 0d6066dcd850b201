/* Errors: a code for machines, a sentence for people.
 *
 * Functions that can fail in a way that a person must understand take a `struct err *` as their last
 * argument and return its code (0 is success). Libraries never log; whoever can act on an error, or
 * show it, does. A message says what was attempted, why it failed and, where it is known, what to
 * do next. */
#ifndef COVEY_BASE_ERR_H
#define COVEY_BASE_ERR_H

#include <stdarg.h>

#define ERR_TEXT_MAX 384 /* bytes of a message, terminating zero included; longer ones are cut */

/* Name, text shown where nothing better is known, and agentctl's exit code (DESIGN: 0 ok, 1 failed,
 * 2 usage, 3 degraded, 4 unreachable, 5 denied, 6 conflict, 7 timeout). */
#define ERR_MAP(X)                                                                                 \
    X(ERR_NONE, "success", 0)                                                                      \
    X(ERR_NOMEM, "out of memory", 1)                                                               \
    X(ERR_INVALID, "invalid input", 1)                                                             \
    X(ERR_USAGE, "wrong usage", 2)                                                                 \
    X(ERR_LIMIT, "a limit was exceeded", 1)                                                        \
    X(ERR_FULL, "no room left", 1)                                                                 \
    X(ERR_TRUNCATED, "input ends too early", 1)                                                    \
    X(ERR_VERSION, "unknown version", 1)                                                           \
    X(ERR_AUTH, "authentication failed", 5)                                                        \
    X(ERR_REPLAY, "replayed or too old", 5)                                                        \
    X(ERR_DENIED, "not allowed", 5)                                                                \
    X(ERR_NOTFOUND, "not found", 1)                                                                \
    X(ERR_EXISTS, "exists already", 6)                                                             \
    X(ERR_CONFLICT, "conflicts with another state", 6)                                             \
    X(ERR_BUSY, "busy", 6)                                                                         \
    X(ERR_IO, "input or output failed", 1)                                                         \
    X(ERR_NOSPACE, "the disk is full", 1)                                                          \
    X(ERR_CORRUPT, "stored data is damaged", 1)                                                    \
    X(ERR_TIMEOUT, "timed out", 7)                                                                 \
    X(ERR_UNREACHABLE, "unreachable", 4)                                                           \
    X(ERR_DEGRADED, "degraded", 3)                                                                 \
    X(ERR_INTERNAL, "internal error", 1)

enum err_code {
#define ERR_ENUM(name, text, status) name,
    ERR_MAP(ERR_ENUM)
#undef ERR_ENUM
        ERR_CODES
};

struct err {
    int code; /* enum err_code */
    char text[ERR_TEXT_MAX];
};

/* Sets @e (NULL is allowed and drops the text) and returns @code. */
int err_set(struct err *e, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As err_set, with ": " and strerror(@errnum) behind the message. ENOSPC becomes ERR_NOSPACE and
 * ENOMEM ERR_NOMEM, whatever @code says. */
int err_errno(struct err *e, int code, int errnum, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Puts "<message>: " before the text that @e holds and returns e->code. */
int err_wrap(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "ERR_AUTH" and "authentication failed"; unknown codes give "ERR_INTERNAL" and its text. */
const char *err_name(int code);
const char *err_text(int code);

/* The exit code of a program that ends because of @code. */
int err_exit_status(int code);

#endif
