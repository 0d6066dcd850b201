/* Rows of a CSV file as articles: each field is checked, each mistake told with its line. Pure. */
#ifndef COVEY_WORKLOADS_SMARTBIZ_API_IMPORT_ROWS_H
#define COVEY_WORKLOADS_SMARTBIZ_API_IMPORT_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "workloads/lib/out.h"

#define IMPORT_ROWS_MAX 5000
#define IMPORT_ERRORS_MAX 100 /* that are told */

enum import_column {
    IMPORT_SKU,
    IMPORT_NAME,
    IMPORT_DESCRIPTION,
    IMPORT_PRICE_CENTS,
    IMPORT_CURRENCY,
    IMPORT_STOCK,
    IMPORT_MIN_STOCK,
    IMPORT_COLUMNS,
};

struct import_error {
    size_t line; /* of the file, from 1 */
    char field[24];
    char detail[120];
};

/* The columns as PostgreSQL's array literals, of equal length. */
struct import_rows {
    size_t rows;
    size_t error_count; /* of all; at most IMPORT_ERRORS_MAX are kept */
    struct import_error errors[IMPORT_ERRORS_MAX];
    struct out arrays[IMPORT_COLUMNS];
};

/* Reads @text of @len bytes, which is changed and has room for one byte behind it. The first record
 * names the columns: sku, and of name, description, price_cents, price (12.34 or 12,34), currency,
 * stock and min_stock those that are to be set; what an export has besides is ignored. An empty
 * field keeps what is stored. False: memory is out. The caller frees by import_free. */
int import_read(struct import_rows *rows, char *text, size_t len);
void import_free(struct import_rows *rows);

/* "12.34", "12,3" or "12" in hundredths, 0 to CENTS_MAX; -1: it is none. */
int64_t import_price(const char *text);

#endif
