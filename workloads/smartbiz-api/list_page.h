/* What a page of a list asks for: the lists there are, and the parameters of a request. */
#ifndef COVEY_WORKLOADS_SMARTBIZ_API_LIST_PAGE_H
#define COVEY_WORKLOADS_SMARTBIZ_API_LIST_PAGE_H

#include "workloads/smartbiz-api/call.h"
#include "workloads/smartbiz-api/list_sql.h"

enum list_name {
    LIST_ARTICLES,
    LIST_CUSTOMERS,
    LIST_ORDERS,
    LIST_MOVEMENTS,
    LIST_AUDIT,
    LISTS,
};

extern const struct list_spec list_specs[LISTS];

/* What is shown of a list, and the column that holds the value of each sort. */
struct list_view {
    const struct column *columns;
    size_t count;
    int sort_columns[LIST_SORTS_MAX];
    bool newest_first; /* where the client does not say */
    bool binary;       /* a page asks for binary values; texts are for CSV and for jsonb */
};

extern const struct list_view list_views[LISTS];

struct page {
    enum list_name list;
    struct list_shape shape;
    int64_t limit;
    char storage[CURSOR_VALUE_MAX + 32];
    const char *after_id;
    const char *after_value;
    char search[2 * HTTP_QUERY_VALUE_MAX + 3];
    char filters[LIST_FILTERS_MAX][HTTP_QUERY_VALUE_MAX];
};

/* Reads the query into @page, whose list is set. False: replied. */
bool list_page_read(struct request *request, struct page *page);

#endif
