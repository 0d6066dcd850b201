#include "proto/base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    const char *text;
    int status;
} codes[ERR_CODES] = {
#define ERR_ROW(code, description, exit_status)                                                    \
    [code] = {.name = #code, .text = (description), .status = (exit_status)},
    ERR_MAP(ERR_ROW)
#undef ERR_ROW
};

static int known(int code)
{
    return code >= 0 && code < ERR_CODES ? code : ERR_INTERNAL;
}

const char *err_name(int code)
{
    return codes[known(code)].name;
}

const char *err_text(int code)
{
    return codes[known(code)].text;
}

int err_exit_status(int code)
{
    return codes[known(code)].status;
}

static void set_text(struct err *e, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void set_text(struct err *e, const char *format, va_list args)
{
    int n = vsnprintf(e->text, sizeof e->text, format, args);
    if (n < 0)
        e->text[0] = '\0';
}

int err_set(struct err *e, int code, const char *format, ...)
{
    va_list args;

    if (e == NULL)
        return code;
    e->code = code;
    va_start(args, format);
    set_text(e, format, args);
    va_end(args);
    return code;
}

int err_errno(struct err *e, int code, int errnum, const char *format, ...)
{
    char reason[128];
    size_t used;
    va_list args;

    if (errnum == ENOSPC || errnum == EDQUOT)
        code = ERR_NOSPACE;
    else if (errnum == ENOMEM)
        code = ERR_NOMEM;
    if (e == NULL)
        return code;
    e->code = code;
    va_start(args, format);
    set_text(e, format, args);
    va_end(args);
    used = strlen(e->text);
    /* The GNU strerror_r may answer from its own table instead of the buffer. */
    snprintf(e->text + used, sizeof e->text - used, ": %s",
             strerror_r(errnum, reason, sizeof reason));
    return code;
}

int err_wrap(struct err *e, const char *format, ...)
{
    char inner[ERR_TEXT_MAX];
    size_t used;
    va_list args;

    if (e == NULL)
        return ERR_INTERNAL;
    memcpy(inner, e->text, sizeof inner);
    va_start(args, format);
    set_text(e, format, args);
    va_end(args);
    used = strlen(e->text);
    snprintf(e->text + used, sizeof e->text - used, ": %s", inner);
    return e->code;
}
