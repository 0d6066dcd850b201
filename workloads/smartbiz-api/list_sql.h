/* Pages of tables in a chosen order: keyset paging, so that a page costs the same wherever it lies
 * and no row is shown twice or left out because of others. Pure: makes SQL texts and cursors. */
#ifndef COVEY_WORKLOADS_SMARTBIZ_API_LIST_SQL_H
#define COVEY_WORKLOADS_SMARTBIZ_API_LIST_SQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIST_SORTS_MAX 6
#define LIST_FILTERS_MAX 3
#define LIST_SQL_MAX 1536
#define CURSOR_VALUE_MAX 1024 /* bytes of the last row's value */
#define CURSOR_TEXT_MAX ((CURSOR_VALUE_MAX + 24) * 4 / 3 + 4)

struct list_sort {
    const char *name;
    const char *expression;
    bool is_number;
    bool has_column; /* its value stands in the list anyway */
};

struct list_filter {
    const char *parameter;
    const char *condition; /* " AND ..." with %s for the place of its value */
};

struct list_spec {
    const char *select;                     /* "SELECT ..."; the key is t.id */
    const char *from;                       /* " FROM ... WHERE ...", without ORDER BY */
    struct list_sort sorts[LIST_SORTS_MAX]; /* the first is the id and the default */
    size_t sort_count;
    const char *search; /* as a filter's condition; NULL: there is no search */
    struct list_filter filters[LIST_FILTERS_MAX];
    size_t filter_count;
};

/* What a page asks for. */
struct list_shape {
    size_t sort;
    bool descending;
    bool after; /* a cursor */
    bool search;
    unsigned filters; /* bit i: filters[i] */
};

/* Different for each shape of a list, and below list_shapes. */
unsigned list_shape_index(const struct list_spec *spec, const struct list_shape *shape);
unsigned list_shapes(const struct list_spec *spec);

/* The statement for a shape: $1 is the limit, then as they apply the cursor's value and id, the
 * search, the filters. A sort without
 * has_column gets one behind the others. False: it does not fit. */
bool list_sql(const struct list_spec *spec, const struct list_shape *shape, char *text,
              size_t size);

/* A cursor is base64url of "id:value". */
void cursor_print(const char *id, const char *value, size_t value_len, char text[CURSOR_TEXT_MAX]);
/* Splits in place; false for what cursor_print has not made. */
bool cursor_read(const char *text, char storage[CURSOR_VALUE_MAX + 32], const char **id,
                 const char **value);

#endif
