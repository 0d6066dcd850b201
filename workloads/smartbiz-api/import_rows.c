#include "workloads/smartbiz-api/import_rows.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"
#include "workloads/lib/body.h"
#include "workloads/smartbiz-api/csv.h"
#include "workloads/smartbiz-api/limits.h"

#define ARRAY_MAX (8u << 20) /* bytes of one column's literal */

enum {
    COLUMN_PRICE = IMPORT_COLUMNS, /* another way to say price_cents */
    COLUMN_IGNORED,
};

static const char *const names[] = {"sku",      "name",  "description", "price_cents",
                                    "currency", "stock", "min_stock",   "price"};
static const char *const ignored[] = {"id", "version", "created_at", "updated_at"};

/* A sku and where it stood, to find those that stand twice. */
struct place {
    const char *sku;
    size_t line;
};

struct import {
    struct import_rows *rows;
    unsigned columns[CSV_FIELDS_MAX];
    size_t column_count;
    struct place *places;
};

static void complain(struct import *import, size_t line, const char *field, const char *detail, ...)
    __attribute__((format(printf, 4, 5)));

static void complain(struct import *import, size_t line, const char *field, const char *detail, ...)
{
    struct import_rows *rows = import->rows;
    struct import_error *error;
    va_list args;

    if (rows->error_count++ >= IMPORT_ERRORS_MAX)
        return;
    error = &rows->errors[rows->error_count - 1];
    error->line = line;
    snprintf(error->field, sizeof error->field, "%s", field);
    va_start(args, detail);
    vsnprintf(error->detail, sizeof error->detail, detail, args);
    va_end(args);
}

int64_t import_price(const char *text)
{
    size_t whole = strspn(text, "0123456789");
    const char *fraction = text + whole;
    size_t decimals;
    int64_t cents = 0;

    if (whole == 0 || whole > 8)
        return -1;
    for (size_t i = 0; i < whole; i++)
        cents = cents * 10 + (text[i] - '0');
    if (*fraction == '.' || *fraction == ',')
        fraction++;
    decimals = strspn(fraction, "0123456789");
    if (decimals > 2 || fraction[decimals] != '\0' || (decimals == 0 && fraction > text + whole))
        return -1;
    for (size_t i = 0; i < 2; i++)
        cents = cents * 10 + (i < decimals ? fraction[i] - '0' : 0);
    return cents <= CENTS_MAX ? cents : -1;
}

/* --- the head ----------------------------------------------------------------------------- */

static void read_head(struct import *import, char *const *fields, size_t count, size_t line)
{
    unsigned seen = 0;

    import->column_count = count;
    for (size_t i = 0; i < count; i++) {
        unsigned column = COLUMN_IGNORED + 1;
        for (unsigned n = 0; n < sizeof names / sizeof names[0]; n++)
            if (strcmp(names[n], fields[i]) == 0)
                column = n;
        for (size_t n = 0; n < sizeof ignored / sizeof ignored[0]; n++)
            if (strcmp(ignored[n], fields[i]) == 0)
                column = COLUMN_IGNORED;
        import->columns[i] = column;
        if (column > COLUMN_IGNORED) {
            complain(import, line, "",
                     "the column \"%.40s\" is not known; there are sku, name, "
                     "description, price_cents, price, currency, stock, min_stock",
                     fields[i]);
        } else if (column < COLUMN_IGNORED) {
            unsigned bit = 1u << (column == COLUMN_PRICE ? IMPORT_PRICE_CENTS : column);
            if (seen & bit)
                complain(import, line, names[column], "stands twice in the first line");
            seen |= bit;
        }
    }
    if (!(seen & 1u << IMPORT_SKU))
        complain(import, line, "sku", "is missing in the first line, which names the columns");
}

/* --- rows --------------------------------------------------------------------------------- */

static size_t characters(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void check_text(struct import *import, size_t line, unsigned column, const char *text)
{
    static const size_t longest[IMPORT_COLUMNS] = {
        [IMPORT_SKU] = 64, [IMPORT_NAME] = 200, [IMPORT_DESCRIPTION] = 2000};
    static const char sku[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./";
    size_t len = characters(text);

    if (len > longest[column])
        complain(import, line, names[column], "has %zu characters; %zu are allowed", len,
                 longest[column]);
    else if (column == IMPORT_SKU && text[strspn(text, sku)] != '\0')
        complain(import, line, "sku", "must consist of A-Z a-z 0-9 - _ . /");
    else if (column == IMPORT_NAME && text[strspn(text, " ")] == '\0')
        complain(import, line, "name", "must not be blank");
}

/* Writes the value as it stands in a literal; "" for null. */
static void put_value(struct out *o, const char *text)
{
    if (text[0] == '\0') {
        out_text(o, "NULL");
        return;
    }
    out_char(o, '"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            out_char(o, '\\');
        out_char(o, *text);
    }
    out_char(o, '"');
}

static void check_number(struct import *import, size_t line, unsigned column, const char *text)
{
    int64_t most = column == IMPORT_PRICE_CENTS ? CENTS_MAX : STOCK_MAX;
    int64_t value;

    if (!read_int(text, &value) || value < 0 || value > most)
        complain(import, line, names[column], "must be a whole number from 0 to %" PRId64, most);
}

static void check(struct import *import, size_t line, unsigned column, const char *text)
{
    if (column == IMPORT_CURRENCY) {
        if (strlen(text) != 3 || text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] != '\0')
            complain(import, line, "currency", "must be three capital letters (ISO 4217)");
    } else if (column <= IMPORT_DESCRIPTION) {
        check_text(import, line, column, text);
    } else {
        check_number(import, line, column, text);
    }
}

static void read_row(struct import *import, char *const *fields, size_t count, size_t line)
{
    struct import_rows *rows = import->rows;
    const char *values[IMPORT_COLUMNS] = {"", "", "", "", "", "", ""};
    char cents[24];

    if (count != import->column_count) {
        complain(import, line, "", "has %zu fields; the first line has %zu", count,
                 import->column_count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        unsigned column = import->columns[i];
        const char *text = csv_unguard(fields[i]);
        int64_t price;
        if (column >= COLUMN_IGNORED || text[0] == '\0')
            continue;
        if (column != COLUMN_PRICE) {
            values[column] = text;
            check(import, line, column, text);
            continue;
        }
        price = import_price(text);
        if (price < 0)
            complain(import, line, "price", "must be a price like 12.34, at most %d",
                     CENTS_MAX / 100);
        snprintf(cents, sizeof cents, "%" PRId64, price);
        values[IMPORT_PRICE_CENTS] = cents;
    }
    if (values[IMPORT_SKU][0] == '\0')
        complain(import, line, "sku", "is missing");
    for (size_t i = 0; i < IMPORT_COLUMNS; i++) {
        out_char(&rows->arrays[i], rows->rows == 0 ? '{' : ',');
        put_value(&rows->arrays[i], values[i]);
    }
    import->places[rows->rows++] = (struct place){values[IMPORT_SKU], line};
}

static int compare(const void *a, const void *b)
{
    const struct place *one = a;
    const struct place *other = b;
    int order = strcmp(one->sku, other->sku);

    return order != 0 ? order : one->line < other->line ? -1 : 1;
}

static void find_twins(struct import *import)
{
    size_t rows = import->rows->rows;

    qsort(import->places, rows, sizeof *import->places, compare);
    for (size_t i = 1; i < rows; i++)
        if (import->places[i].sku[0] != '\0' &&
            strcmp(import->places[i].sku, import->places[i - 1].sku) == 0)
            complain(import, import->places[i].line, "sku", "stands in line %zu already",
                     import->places[i - 1].line);
}

static void read_all(struct import *import, struct csv_reader *reader)
{
    static const char *const wrong[] = {
        [CSV_BAD_QUOTE] = "a quotation mark is in the wrong place, or one is missing",
        [CSV_TOO_MANY] = "has too many fields",
        [CSV_TOO_LONG] = "has a field that is too long",
        [CSV_BAD_TEXT] = "is not UTF-8, or has control characters",
    };
    char *fields[CSV_FIELDS_MAX];
    enum csv_result result;
    size_t count;

    result = csv_read(reader, fields, &count);
    if (result == CSV_END)
        complain(import, 1, "", "the file is empty");
    else if (result == CSV_RECORD)
        read_head(import, fields, count, reader->line);
    while (result == CSV_RECORD && import->rows->error_count <= IMPORT_ERRORS_MAX) {
        result = csv_read(reader, fields, &count);
        if (result == CSV_RECORD && import->rows->rows == IMPORT_ROWS_MAX) {
            complain(import, reader->line, "", "a file may have %d rows", IMPORT_ROWS_MAX);
            return;
        }
        if (result == CSV_RECORD)
            read_row(import, fields, count, reader->line);
    }
    if (result > CSV_END)
        complain(import, reader->line, "", "%s", wrong[result]);
}

int import_read(struct import_rows *rows, char *text, size_t len)
{
    struct import import = {.rows = rows};
    struct csv_reader reader;
    bool failed = false;

    memset(rows, 0, sizeof *rows);
    import.places = malloc(IMPORT_ROWS_MAX * sizeof *import.places);
    if (import.places == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < IMPORT_COLUMNS; i++)
        out_init(&rows->arrays[i], NULL, 0, ARRAY_MAX);
    csv_open(&reader, text, len);
    read_all(&import, &reader);
    find_twins(&import);
    for (size_t i = 0; i < IMPORT_COLUMNS; i++) {
        out_bytes(&rows->arrays[i], rows->rows == 0 ? "{}" : "}", rows->rows == 0 ? 3 : 2);
        failed = failed || rows->arrays[i].failed;
    }
    free(import.places);
    return failed ? ERR_NOMEM : ERR_NONE;
}

void import_free(struct import_rows *rows)
{
    for (size_t i = 0; i < IMPORT_COLUMNS; i++)
        out_free(&rows->arrays[i]);
}
