#include "agent/web/exposition.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"

#define TOTAL "_total"

struct exposition {
    bool open_metrics;
    const char *name;
    char *text;
    size_t size;
    FILE *out;
};

struct exposition *exposition_create(bool open_metrics)
{
    struct exposition *e = calloc(1, sizeof *e);

    if (e == NULL)
        return NULL;
    e->open_metrics = open_metrics;
    e->out = open_memstream(&e->text, &e->size);
    if (e->out == NULL) {
        free(e);
        return NULL;
    }
    return e;
}

void exposition_family(struct exposition *e, const char *name, enum exposition_type type,
                       const char *help)
{
    static const char *const types[] = {
        [EXPOSITION_GAUGE] = "gauge", [EXPOSITION_COUNTER] = "counter"};
    size_t len = strlen(name);

    /* OpenMetrics names the family of a counter without what its samples end in. */
    if (e->open_metrics && type == EXPOSITION_COUNTER)
        len -= sizeof TOTAL - 1;
    fprintf(e->out, "# HELP %.*s %s\n# TYPE %.*s %s\n", (int)len, name, help, (int)len, name,
            types[type]);
    e->name = name;
}

static void write_label(FILE *out, const char *value)
{
    for (; *value != '\0'; value++) {
        if (*value == '\n')
            fputs("\\n", out);
        else if (*value == '"' || *value == '\\')
            fprintf(out, "\\%c", *value);
        else
            fputc(*value, out);
    }
}

void exposition_sample(struct exposition *e, double value, ...)
{
    const char *label;
    const char *separator = "{";
    va_list args;

    fputs(e->name, e->out);
    va_start(args, value);
    while ((label = va_arg(args, const char *)) != NULL) {
        fprintf(e->out, "%s%s=\"", separator, label);
        write_label(e->out, va_arg(args, const char *));
        fputc('"', e->out);
        separator = ",";
    }
    va_end(args);
    if (*separator == ',')
        fputc('}', e->out);
    if (isnan(value))
        fputs(" NaN\n", e->out);
    else
        fprintf(e->out, " %.15g\n", value);
}

int exposition_finish(struct exposition *e, char **text, size_t *size)
{
    int rc;

    if (e->open_metrics)
        fputs("# EOF\n", e->out);
    rc = ferror(e->out) != 0 ? ERR_NOMEM : ERR_NONE;
    if (fclose(e->out) != 0)
        rc = ERR_NOMEM;
    *text = e->text;
    *size = e->size;
    if (rc != ERR_NONE)
        free(e->text);
    free(e);
    return rc;
}

bool exposition_wants_open_metrics(const char *accept)
{
    return accept != NULL && strstr(accept, "application/openmetrics-text") != NULL;
}

const char *exposition_content_type(bool open_metrics)
{
    return open_metrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                        : "text/plain; version=0.0.4; charset=utf-8";
}
