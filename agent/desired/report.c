#include "agent/desired/report.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUGGEST_MAX 32 /* longer words are not compared */

int report_no_memory(struct report *report)
{
    report->no_memory = true;
    return ERR_NOMEM;
}

bool report_full(const struct report *report)
{
    return report->no_memory || report->count >= REPORT_MAX;
}

/* A message is one line of a terminal: what a document says must not add lines or colours. */
static void make_harmless(char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}

static int append(struct report *report, const char *line)
{
    size_t len = strlen(line);
    char *grown = realloc(report->rest, report->used + len + 2);

    if (grown == NULL)
        return report_no_memory(report);
    memcpy(grown + report->used, line, len);
    report->used += len;
    grown[report->used++] = '\n';
    grown[report->used] = '\0';
    report->rest = grown;
    return 0;
}

static int keep(struct report *report, int code, char *line)
{
    report->count++;
    make_harmless(line);
    if (report->count == 1)
        return err_set(&report->first, code, "%s", line);
    if (report->count > REPORT_MAX)
        return code;
    return append(report, line) != 0 ? ERR_NOMEM : code;
}

int report_add(struct report *report, int code, const char *file, int line, const char *format, ...)
{
    char text[REPORT_LINE];
    size_t used;
    va_list args;

    snprintf(text, sizeof text, "%.200s:%d: ", file, line);
    used = strlen(text);
    va_start(args, format);
    if (vsnprintf(text + used, sizeof text - used, format, args) < 0)
        text[used] = '\0';
    va_end(args);
    return keep(report, code, text);
}

int report_err(struct report *report, const struct err *err)
{
    char text[ERR_TEXT_MAX];

    if (err->code == ERR_NOMEM)
        return report_no_memory(report);
    memcpy(text, err->text, sizeof text);
    return keep(report, err->code, text);
}

int report_finish(struct report *report, char **rest, struct err *err)
{
    int code = report->no_memory ? ERR_NOMEM : report->first.code;
    char more[64];

    if (report->count > REPORT_MAX && !report->no_memory) {
        snprintf(more, sizeof more, "and %u more errors", report->count - REPORT_MAX);
        append(report, more);
    }
    if (report->no_memory)
        err_set(err, code, "out of memory");
    else if (report->count > 0)
        err_set(err, code, "%s", report->first.text);
    if (rest != NULL && !report->no_memory)
        *rest = report->rest;
    else
        free(report->rest);
    *report = (struct report){0};
    return code;
}

const char *report_quote(const char *text, char quoted[REPORT_QUOTED])
{
    size_t len = strlen(text);
    size_t cut = REPORT_QUOTED - 4;

    if (len < REPORT_QUOTED)
        return memcpy(quoted, text, len + 1);
    while (cut > 0 && ((unsigned char)text[cut] & 0xc0) == 0x80) /* never inside a character */
        cut--;
    memcpy(quoted, text, cut);
    memcpy(quoted + cut, "...", 4);
    return quoted;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Edits that make one word from the other (optimal string alignment): a letter more, less, other,
 * or two neighbours swapped. Case does not count. */
static unsigned distance(const char *a, const char *b)
{
    size_t len_a = strlen(a), len_b = strlen(b);
    unsigned rows[3][SUGGEST_MAX + 1];
    unsigned *older = rows[0], *last = rows[1], *row = rows[2];

    if (len_a > SUGGEST_MAX || len_b > SUGGEST_MAX)
        return UINT32_MAX;
    for (size_t j = 0; j <= len_b; j++)
        last[j] = (unsigned)j;
    for (size_t i = 1; i <= len_a; i++) {
        unsigned *free_row = older;
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= len_b; j++) {
            unsigned change = lower(a[i - 1]) != lower(b[j - 1]);
            row[j] = least(least(last[j], row[j - 1]) + 1, last[j - 1] + change);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1]))
                row[j] = least(row[j], older[j - 2] + 1);
        }
        older = last;
        last = row;
        row = free_row;
    }
    return last[len_b];
}

const char *report_suggest(const char *word, const char *const *candidates)
{
    const char *best = NULL;
    size_t len = strlen(word);
    unsigned best_edits = len < 2 ? 1 : len < 6 ? 2 : len < 9 ? 3 : 4; /* fewer than these */

    for (; *candidates != NULL; candidates++) {
        unsigned edits = distance(word, *candidates);
        if (edits < best_edits) {
            best = *candidates;
            best_edits = edits;
        }
    }
    return best;
}
