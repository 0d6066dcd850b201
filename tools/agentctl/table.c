#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "tools/agentctl/agentctl.h"

#define WRAP_MIN 20 /* a last column that is narrower is left to the terminal */

struct cell {
    char *text;
    enum table_color color;
};

struct table {
    const struct context *context;
    size_t columns;
    size_t width[TABLE_COLUMNS_MAX];
    struct cell *cells;
    size_t count;
    size_t room;
};

/* Columns of a terminal that a UTF-8 text takes, for the alphabets that occur here. */
static size_t display_width(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void add(struct table *table, enum table_color color, char *text)
{
    size_t width;

    if (text == NULL)
        return;
    if (table->count == table->room) {
        size_t room = table->room == 0 ? 64 : table->room * 2;
        struct cell *grown = realloc(table->cells, room * sizeof *grown);
        if (grown == NULL) {
            free(text);
            return;
        }
        table->cells = grown;
        table->room = room;
    }
    width = display_width(text);
    if (width > table->width[table->count % table->columns])
        table->width[table->count % table->columns] = width;
    table->cells[table->count++] = (struct cell){.text = text, .color = color};
}

struct table *table_new(const struct context *context, const char *const *columns)
{
    struct table *table = calloc(1, sizeof *table);

    if (table == NULL)
        return NULL;
    table->context = context;
    while (columns[table->columns] != NULL)
        table->columns++;
    for (size_t i = 0; i < table->columns; i++)
        add(table, TABLE_PLAIN, strdup(columns[i]));
    return table;
}

void table_cell(struct table *table, enum table_color color, const char *format, ...)
{
    char *text = NULL;
    va_list args;

    if (table == NULL)
        return;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    if (text != NULL && text[0] == '\0') {
        free(text);
        text = strdup("-");
    }
    add(table, color, text);
}

/* How much of @text, in bytes, fits into @room columns: it ends before a space, or after the first
 * word where that alone is too long. */
static size_t fit(const char *text, size_t room)
{
    size_t columns = 0, end = 0, i;

    for (i = 0; text[i] != '\0'; i++) {
        if (text[i] == ' ' && columns > room)
            break;
        if (text[i] == ' ')
            end = i;
        columns += ((unsigned char)text[i] & 0xc0) != 0x80;
    }
    return columns > room && end > 0 ? end : i;
}

/* Columns that the cells before the last one take. */
static size_t before_last(const struct table *table)
{
    size_t before = 0;

    for (size_t i = 0; i + 1 < table->columns; i++)
        before += table->width[i] + 2;
    return before;
}

/* Columns that the last cell of a row may take on this terminal; SIZE_MAX where there is none, so
 * that a row is a line for grep and awk. */
static size_t last_room(const struct table *table)
{
    size_t before = before_last(table);
    struct winsize window;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) != 0)
        return SIZE_MAX;
    return window.ws_col >= before + WRAP_MIN ? window.ws_col - before : SIZE_MAX;
}

/* What does not fit goes on below, in the same column. */
static void print_last(const struct table *table, const char *text, size_t room)
{
    while (true) {
        size_t size = fit(text, room);
        printf("%.*s", (int)size, text);
        text += size;
        text += strspn(text, " ");
        if (*text == '\0')
            break;
        printf("\n%*s", (int)before_last(table), "");
    }
}

void table_print(struct table *table)
{
    static const char *const escape[] = {[TABLE_PLAIN] = "",
                                         [TABLE_GOOD] = "\033[32m",
                                         [TABLE_WARNING] = "\033[33m",
                                         [TABLE_BAD] = "\033[31m"};
    size_t room;

    if (table == NULL)
        return;
    room = last_room(table);
    for (size_t i = 0; i < table->count; i++) {
        const struct cell *cell = &table->cells[i];
        bool last = i % table->columns == table->columns - 1;
        bool color = table->context->color && cell->color != TABLE_PLAIN;

        fputs(color ? escape[cell->color] : "", stdout);
        if (last)
            print_last(table, cell->text, room);
        else
            fputs(cell->text, stdout);
        fputs(color ? "\033[0m" : "", stdout);
        if (last)
            putchar('\n');
        else
            printf("%*s", (int)(table->width[i % table->columns] - display_width(cell->text) + 2),
                   "");
        free(cell->text);
    }
    free(table->cells);
    free(table);
}

const char *member_string(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));

    return value != NULL ? value : "";
}

const char *age(const json_t *value, char *buffer, size_t size)
{
    const char *text = json_string_value(value);
    struct tm tm = {0};
    long long seconds;

    if (text == NULL || strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm) == NULL)
        return "-";
    seconds = (long long)(time(NULL) - timegm(&tm));
    if (seconds < 0)
        seconds = 0;
    if (seconds < 120)
        snprintf(buffer, size, "%llds", seconds);
    else if (seconds < 7200)
        snprintf(buffer, size, "%lldmin", seconds / 60);
    else if (seconds < 172800)
        snprintf(buffer, size, "%lldh", seconds / 3600);
    else
        snprintf(buffer, size, "%lldd", seconds / 86400);
    return buffer;
}

enum table_color state_color(const char *state)
{
    static const char *const good[] = {"alive", "ready", "applied", "completed", "ok", NULL};
    static const char *const bad[] = {"dead", "failed", "diverged", "error", NULL};

    for (size_t i = 0; good[i] != NULL; i++)
        if (strcmp(state, good[i]) == 0)
            return TABLE_GOOD;
    for (size_t i = 0; bad[i] != NULL; i++)
        if (strcmp(state, bad[i]) == 0)
            return TABLE_BAD;
    return TABLE_WARNING;
}
