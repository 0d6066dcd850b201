/* Lists of articles, customers, orders, movements and changes: pages of JSON, whole tables of CSV.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "workloads/lib/emit.h"
#include "workloads/smartbiz-api/csv.h"
#include "workloads/smartbiz-api/list_page.h"

#define EXPORT_ROWS 500 /* of one query of an export */

/* Texts are made when a shape is first asked for. */
struct lists {
    unsigned first[LISTS]; /* index of the list's first statement */
    char *texts[PG_STATEMENTS_MAX];
};

int lists_new(struct lists **out, struct err *err)
{
    struct lists *lists = calloc(1, sizeof *lists);
    unsigned next = ST_COUNT;

    if (lists == NULL)
        return err_set(err, ERR_NOMEM, "make the lists");
    for (size_t i = 0; i < LISTS; i++) {
        lists->first[i] = next;
        next += list_shapes(&list_specs[i]);
    }
    assert(next <= PG_STATEMENTS_MAX);
    *out = lists;
    return ERR_NONE;
}

void lists_free(struct lists *lists)
{
    if (lists == NULL)
        return;
    for (size_t i = 0; i < PG_STATEMENTS_MAX; i++)
        free(lists->texts[i]);
    free(lists);
}

static bool find_statement(struct lists *lists, enum list_name list, const struct list_shape *shape,
                           struct pg_statement *statement)
{
    unsigned index = lists->first[list] + list_shape_index(&list_specs[list], shape);
    char text[LIST_SQL_MAX];

    if (lists->texts[index] == NULL && list_sql(&list_specs[list], shape, text, sizeof text))
        lists->texts[index] = strdup(text);
    *statement = (struct pg_statement){index, PG_READ, lists->texts[index], false};
    return lists->texts[index] != NULL;
}

/* --- asking ------------------------------------------------------------------------------- */

static void show_page(struct call *call, const PGresult *result);

static void ask_page(struct call *call, int64_t rows, call_rows *show)
{
    const struct page *page = call->state;
    struct number_text limit = number(rows);
    const char *params[PG_PARAMS_MAX];
    struct pg_statement statement;
    size_t count = 0;

    if (!find_statement(call->api->lists, page->list, &page->shape, &statement)) {
        call_problem(call, 503, NULL, "out of memory");
        return;
    }
    statement.binary = show == show_page && list_views[page->list].binary;
    params[count++] = limit.text;
    if (page->shape.after) {
        params[count++] = page->after_value;
        params[count++] = page->after_id;
    }
    if (page->shape.search)
        params[count++] = page->search;
    for (size_t i = 0; i < list_specs[page->list].filter_count; i++)
        if (page->shape.filters >> i & 1)
            params[count++] = page->filters[i];
    call_ask(call, &statement, params, count, show);
}

static void emit_next(struct out *o, const struct page *page, const PGresult *result, int last)
{
    int column = list_views[page->list].sort_columns[page->shape.sort];
    const char *text = PQgetvalue(result, last, 0);
    const char *value = PQgetvalue(result, last, column);
    size_t len = (size_t)PQgetlength(result, last, column);
    struct number_text id;
    struct number_text sorted;
    char cursor[CURSOR_TEXT_MAX];

    if (list_views[page->list].binary) {
        id = number(
            binary_number(PQgetvalue(result, last, 0), (size_t)PQgetlength(result, last, 0)));
        text = id.text;
    }
    if (list_views[page->list].binary && list_specs[page->list].sorts[page->shape.sort].is_number) {
        sorted = number(binary_number(value, len));
        value = sorted.text;
        len = strlen(value);
    }
    cursor_print(text, value, len, cursor);
    emit_string(o, cursor);
}

/* One row more than the limit was asked for: it tells whether there is a next page. */
static void show_page(struct call *call, const PGresult *result)
{
    const struct page *page = call->state;
    struct out *o = reply_json(call->request, 200);
    int rows = PQntuples(result);
    int shown = rows > page->limit ? (int)page->limit : rows;
    struct day_text day = {0};

    emit_object(o);
    emit_key(o, "items");
    emit_array(o);
    for (int row = 0; row < shown; row++) {
        emit_object(o);
        if (list_views[page->list].binary)
            emit_columns_binary(o, result, row, list_views[page->list].columns,
                                list_views[page->list].count, &day);
        else
            emit_columns(o, result, row, 0, list_views[page->list].columns,
                         list_views[page->list].count);
        emit_object_end(o);
    }
    emit_array_end(o);
    emit_key_int(o, "count", shown);
    emit_key(o, "next");
    if (rows > shown)
        emit_next(o, page, result, shown - 1);
    else
        emit_null(o);
    emit_object_end(o);
    call_end(call);
}

static struct page *page_new(struct request *request, enum list_name list)
{
    struct page *page = calloc(1, sizeof *page);

    if (page == NULL)
        reply_problem(request, 503, NULL, "out of memory");
    else
        page->list = list;
    return page;
}

static void start(struct request *request, void *context, struct page *page)
{
    struct call *call;

    if (!list_page_read(request, page))
        free(page);
    else if (call_begin(&call, request, context, page))
        ask_page(call, page->limit + 1, show_page);
}

static void list(struct request *request, void *context, enum list_name name)
{
    struct page *page = page_new(request, name);

    if (page != NULL)
        start(request, context, page);
}

void list_articles(struct request *request, void *context)
{
    list(request, context, LIST_ARTICLES);
}

void list_customers(struct request *request, void *context)
{
    list(request, context, LIST_CUSTOMERS);
}

void list_orders(struct request *request, void *context)
{
    list(request, context, LIST_ORDERS);
}

void list_movements(struct request *request, void *context)
{
    list(request, context, LIST_MOVEMENTS);
}

void list_audit(struct request *request, void *context)
{
    list(request, context, LIST_AUDIT);
}

/* A list with one filter set by the path. */
static void list_with(struct request *request, void *context, enum list_name name, size_t filter,
                      const char *value)
{
    struct page *page = page_new(request, name);
    struct call *call;

    if (page == NULL)
        return;
    if (!list_page_read(request, page)) {
        free(page);
        return;
    }
    page->shape.filters |= 1u << filter;
    snprintf(page->filters[filter], sizeof page->filters[filter], "%s", value);
    if (call_begin(&call, request, context, page))
        ask_page(call, page->limit + 1, show_page);
}

void list_low_stock(struct request *request, void *context)
{
    list_with(request, context, LIST_ARTICLES, 0, "true");
}

void list_article_movements(struct request *request, void *context)
{
    int64_t id;

    if (path_id(request, &id))
        list_with(request, context, LIST_MOVEMENTS, 0, request_param(request, 0));
}

/* --- CSV ---------------------------------------------------------------------------------- */

/* The next rows begin behind the last one; its value and id are kept in the page. */
static void go_on_behind(struct page *page, const PGresult *result, int last)
{
    page->shape.after = true;
    snprintf(page->storage, sizeof page->storage, "%s", PQgetvalue(result, last, 0));
    page->after_id = page->storage;
    page->after_value = page->storage;
}

static void export_rows(struct call *call, const PGresult *result)
{
    struct page *page = call->state;
    struct out *o = reply_body(call->request);
    int rows = PQntuples(result);

    for (int row = 0; row < rows; row++) {
        for (size_t i = 0; i < list_views[page->list].count; i++) {
            const char *text = PQgetvalue(result, row, (int)i);
            csv_put(o, text, (size_t)PQgetlength(result, row, (int)i), i == 0,
                    list_views[page->list].columns[i].type == COLUMN_TEXT);
        }
        out_bytes(o, "\r\n", 2);
    }
    if (rows < EXPORT_ROWS) {
        call_end(call);
        return;
    }
    go_on_behind(page, result, rows - 1);
    ask_page(call, EXPORT_ROWS, export_rows);
}

static void export(struct request *request, void *context, enum list_name name, const char *file)
{
    static const char *const none[] = {NULL};
    struct page *page;
    struct call *call;
    struct out *o;

    if (!request_query_only(request, none))
        return;
    page = page_new(request, name);
    if (page == NULL || !call_begin(&call, request, context, page))
        return;
    o = reply_begin(request, 200, "text/csv; charset=utf-8");
    reply_header(request, "Content-Disposition", file);
    for (size_t i = 0; i < list_views[name].count; i++)
        csv_put(o, list_views[name].columns[i].name, strlen(list_views[name].columns[i].name),
                i == 0, false);
    out_bytes(o, "\r\n", 2);
    ask_page(call, EXPORT_ROWS, export_rows);
}

void export_articles(struct request *request, void *context)
{
    export(request, context, LIST_ARTICLES, "attachment; filename=\"articles.csv\"");
}

void export_customers(struct request *request, void *context)
{
    export(request, context, LIST_CUSTOMERS, "attachment; filename=\"customers.csv\"");
}

void export_orders(struct request *request, void *context)
{
    export(request, context, LIST_ORDERS, "attachment; filename=\"orders.csv\"");
}

void export_movements(struct request *request, void *context)
{
    export(request, context, LIST_MOVEMENTS, "attachment; filename=\"movements.csv\"");
}
