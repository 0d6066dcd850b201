/* Lists of articles, customers, orders, movements and changes: pages of JSON, whole tables of CSV.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "workloads/lib/emit.h"
#include "workloads/smartbiz-api/call.h"
#include "workloads/smartbiz-api/csv.h"
#include "workloads/smartbiz-api/list_sql.h"

enum list_name {
    LIST_ARTICLES,
    LIST_CUSTOMERS,
    LIST_ORDERS,
    LIST_MOVEMENTS,
    LIST_AUDIT,
    LISTS,
};

#define EXPORT_ROWS 500 /* of one query of an export */

static const struct column order_row_columns[] = {
    {"id", COLUMN_NUMBER},          {"status", COLUMN_TEXT},    {"customer_id", COLUMN_NUMBER},
    {"customer_name", COLUMN_TEXT}, {"currency", COLUMN_TEXT},  {"total_cents", COLUMN_NUMBER},
    {"note", COLUMN_TEXT},          {"version", COLUMN_NUMBER}, {"created_at", COLUMN_TIME},
    {"updated_at", COLUMN_TIME},
};
static const struct column movement_columns[] = {
    {"id", COLUMN_NUMBER},       {"article_id", COLUMN_NUMBER}, {"sku", COLUMN_TEXT},
    {"change", COLUMN_NUMBER},   {"balance", COLUMN_NUMBER},    {"reason", COLUMN_TEXT},
    {"order_id", COLUMN_NUMBER}, {"note", COLUMN_TEXT},         {"actor", COLUMN_TEXT},
    {"at", COLUMN_TIME},
};
static const struct column audit_columns[] = {
    {"id", COLUMN_NUMBER},        {"at", COLUMN_TIME},     {"actor", COLUMN_TEXT},
    {"request_id", COLUMN_TEXT},  {"action", COLUMN_TEXT}, {"entity", COLUMN_TEXT},
    {"entity_id", COLUMN_NUMBER}, {"before", COLUMN_JSON}, {"after", COLUMN_JSON},
};
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const struct list_spec specs[LISTS] = {
    [LIST_ARTICLES] =
        {"SELECT t.id, t.sku, t.name, t.description, t.price_cents, t.currency, t.stock, "
         "t.min_stock, t.version, t.created_at, t.updated_at",
         " FROM articles t WHERE t.archived_at IS NULL",
         {{"id", "t.id", true, true},
          {"name", "lower(t.name)", false, false},
          {"sku", "lower(t.sku)", false, false},
          {"price", "t.price_cents", true, true},
          {"stock", "t.stock", true, true}},
         5,
         " AND (t.name ILIKE %s::text OR t.sku ILIKE %s::text OR t.description ILIKE %s::text)",
         {{"low_stock", " AND (t.stock <= t.min_stock) = %s::boolean"}},
         1},
    [LIST_CUSTOMERS] =
        {"SELECT t.id, t.name, t.email, t.phone, t.address, t.version, t.created_at, t.updated_at",
         " FROM customers t WHERE t.archived_at IS NULL",
         {{"id", "t.id", true, true},
          {"name", "lower(t.name)", false, false},
          {"email", "lower(t.email)", false, false}},
         3,
         " AND (t.name ILIKE %s::text OR t.email ILIKE %s::text OR t.address ILIKE %s::text)",
         {{NULL, NULL}},
         0},
    [LIST_ORDERS] =
        {"SELECT t.id, t.status, t.customer_id, c.name, t.currency, t.total_cents, t.note, "
         "t.version, t.created_at, t.updated_at",
         " FROM orders t JOIN customers c "
         "ON c.id = t.customer_id WHERE true",
         {{"id", "t.id", true, true}, {"total", "t.total_cents", true, true}},
         2,
         " AND (c.name ILIKE %s::text OR t.note ILIKE %s::text)",
         {{"status", " AND t.status = %s::text"},
          {"customer_id", " AND t.customer_id = %s::bigint"}},
         2},
    [LIST_MOVEMENTS] =
        {"SELECT t.id, t.article_id, a.sku, t.change, t.balance, t.reason, t.order_id, t.note, "
         "t.actor, t.at",
         " FROM stock_movements t JOIN articles a ON a.id = t.article_id WHERE true",
         {{"id", "t.id", true, true}},
         1,
         NULL,
         {{"article_id", " AND t.article_id = %s::bigint"},
          {"order_id", " AND t.order_id = %s::bigint"}},
         2},
    [LIST_AUDIT] =
        {"SELECT t.id, t.at, t.actor, t.request_id, t.action, t.entity, t.entity_id, t.before, "
         "t.after",
         " FROM audit t WHERE true",
         {{"id", "t.id", true, true}},
         1,
         NULL,
         {{"entity", " AND t.entity = %s::text"}, {"entity_id", " AND t.entity_id = %s::bigint"}},
         2},
};

/* The column that holds the value of each sort, and what is shown. */
static const struct {
    const struct column *columns;
    size_t count;
    int sort_columns[LIST_SORTS_MAX];
    bool newest_first; /* where the client does not say */
    bool binary;       /* a page asks for binary values; texts are for CSV and for jsonb */
} views[LISTS] = {
    [LIST_ARTICLES] = {article_columns, 11, {0, 11, 11, 4, 6}, false, true},
    [LIST_CUSTOMERS] = {customer_columns, 8, {0, 8, 8}, false, true},
    [LIST_ORDERS] = {order_row_columns, COUNT(order_row_columns), {0, 5}, true, true},
    [LIST_MOVEMENTS] = {movement_columns, COUNT(movement_columns), {0}, true, true},
    [LIST_AUDIT] = {audit_columns, COUNT(audit_columns), {0}, true, false},
};

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
        next += list_shapes(&specs[i]);
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
    unsigned index = lists->first[list] + list_shape_index(&specs[list], shape);
    char text[LIST_SQL_MAX];

    if (lists->texts[index] == NULL && list_sql(&specs[list], shape, text, sizeof text))
        lists->texts[index] = strdup(text);
    *statement = (struct pg_statement){index, PG_READ, lists->texts[index], false};
    return lists->texts[index] != NULL;
}

/* --- what a page asks for ----------------------------------------------------------------- */

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

/* "%text%", with LIKE's own characters escaped. */
static void print_pattern(const char *text, char *pattern)
{
    *pattern++ = '%';
    for (; *text != '\0'; text++) {
        if (*text == '%' || *text == '_' || *text == '\\')
            *pattern++ = '\\';
        *pattern++ = *text;
    }
    *pattern++ = '%';
    *pattern = '\0';
}

static bool read_sort(struct request *request, struct page *page)
{
    const struct list_spec *spec = &specs[page->list];
    char text[HTTP_QUERY_VALUE_MAX];
    const char *name;
    char known[128] = "";

    if (!request_query_text(request, "sort", text))
        return false;
    page->shape.descending = views[page->list].newest_first;
    if (text[0] == '\0')
        return true;
    page->shape.descending = text[0] == '-';
    name = text + (text[0] == '-');
    for (size_t i = 0; i < spec->sort_count; i++) {
        if (strcmp(spec->sorts[i].name, name) == 0) {
            page->shape.sort = i;
            return true;
        }
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i > 0 ? ", " : "",
                 spec->sorts[i].name);
    }
    reply_problem(request, 400, "sort", "must be one of %s, with - before it for descending",
                  known);
    return false;
}

static bool read_cursor(struct request *request, struct page *page)
{
    const char *raw = request_query_raw(request, "after");
    int64_t ignored;

    if (raw == NULL || *raw == '\0')
        return true;
    page->shape.after = true;
    if (cursor_read(raw, page->storage, &page->after_id, &page->after_value) &&
        (!specs[page->list].sorts[page->shape.sort].is_number ||
         read_int(page->after_value, &ignored)))
        return true;
    reply_problem(request, 400, "after", "is not the next of a page in this order");
    return false;
}

static bool read_filter(struct request *request, struct page *page, size_t i)
{
    const char *name = specs[page->list].filters[i].parameter;
    char *text = page->filters[i];
    int64_t value;

    if (!request_query_text(request, name, text))
        return false;
    if (text[0] == '\0')
        return true;
    page->shape.filters |= 1u << i;
    if (strstr(name, "_id") != NULL && (!read_int(text, &value) || value < 1))
        reply_problem(request, 400, name, "must be a whole number greater than 0");
    else if (strcmp(name, "low_stock") == 0 && strcmp(text, "true") != 0 &&
             strcmp(text, "false") != 0)
        reply_problem(request, 400, name, "must be true or false");
    else
        return true;
    return false;
}

static bool read_page(struct request *request, struct page *page)
{
    static const char *const parameters[LISTS][8] = {
        [LIST_ARTICLES] = {"limit", "after", "sort", "q", "low_stock"},
        [LIST_CUSTOMERS] = {"limit", "after", "sort", "q"},
        [LIST_ORDERS] = {"limit", "after", "sort", "q", "status", "customer_id"},
        [LIST_MOVEMENTS] = {"limit", "after", "sort", "article_id", "order_id"},
        [LIST_AUDIT] = {"limit", "after", "sort", "entity", "entity_id"},
    };
    char search[HTTP_QUERY_VALUE_MAX];

    if (!request_query_only(request, parameters[page->list]) ||
        !request_query_int(request, "limit", LIST_LIMIT_DEFAULT, 1, LIST_LIMIT_MAX, &page->limit) ||
        !read_sort(request, page) || !read_cursor(request, page) ||
        !request_query_text(request, "q", search))
        return false;
    for (size_t i = 0; i < specs[page->list].filter_count; i++)
        if (!read_filter(request, page, i))
            return false;
    page->shape.search = search[0] != '\0' && specs[page->list].search != NULL;
    if (page->shape.search)
        print_pattern(search, page->search);
    return true;
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
    statement.binary = show == show_page && views[page->list].binary;
    params[count++] = limit.text;
    if (page->shape.after) {
        params[count++] = page->after_value;
        params[count++] = page->after_id;
    }
    if (page->shape.search)
        params[count++] = page->search;
    for (size_t i = 0; i < specs[page->list].filter_count; i++)
        if (page->shape.filters >> i & 1)
            params[count++] = page->filters[i];
    call_ask(call, &statement, params, count, show);
}

static void emit_next(struct out *o, const struct page *page, const PGresult *result, int last)
{
    int column = views[page->list].sort_columns[page->shape.sort];
    const char *text = PQgetvalue(result, last, 0);
    const char *value = PQgetvalue(result, last, column);
    size_t len = (size_t)PQgetlength(result, last, column);
    struct number_text id;
    struct number_text sorted;
    char cursor[CURSOR_TEXT_MAX];

    if (views[page->list].binary) {
        id = number(
            binary_number(PQgetvalue(result, last, 0), (size_t)PQgetlength(result, last, 0)));
        text = id.text;
    }
    if (views[page->list].binary && specs[page->list].sorts[page->shape.sort].is_number) {
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
        if (views[page->list].binary)
            emit_columns_binary(o, result, row, views[page->list].columns, views[page->list].count,
                                &day);
        else
            emit_columns(o, result, row, 0, views[page->list].columns, views[page->list].count);
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

    if (!read_page(request, page))
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
    if (!read_page(request, page)) {
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
        for (size_t i = 0; i < views[page->list].count; i++) {
            const char *text = PQgetvalue(result, row, (int)i);
            csv_put(o, text, (size_t)PQgetlength(result, row, (int)i), i == 0,
                    views[page->list].columns[i].type == COLUMN_TEXT);
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
    for (size_t i = 0; i < views[name].count; i++)
        csv_put(o, views[name].columns[i].name, strlen(views[name].columns[i].name), i == 0, false);
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
