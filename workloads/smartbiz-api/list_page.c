#include "workloads/smartbiz-api/list_page.h"

#include <stdio.h>
#include <string.h>

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

const struct list_spec list_specs[LISTS] = {
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

const struct list_view list_views[LISTS] = {
    [LIST_ARTICLES] = {article_columns, 11, {0, 11, 11, 4, 6}, false, true},
    [LIST_CUSTOMERS] = {customer_columns, 8, {0, 8, 8}, false, true},
    [LIST_ORDERS] = {order_row_columns, COUNT(order_row_columns), {0, 5}, true, true},
    [LIST_MOVEMENTS] = {movement_columns, COUNT(movement_columns), {0}, true, true},
    [LIST_AUDIT] = {audit_columns, COUNT(audit_columns), {0}, true, false},
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
    const struct list_spec *spec = &list_specs[page->list];
    char text[HTTP_QUERY_VALUE_MAX];
    const char *name;
    char known[128] = "";

    if (!request_query_text(request, "sort", text))
        return false;
    page->shape.descending = list_views[page->list].newest_first;
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
        (!list_specs[page->list].sorts[page->shape.sort].is_number ||
         read_int(page->after_value, &ignored)))
        return true;
    reply_problem(request, 400, "after", "is not the next of a page in this order");
    return false;
}

static bool read_filter(struct request *request, struct page *page, size_t i)
{
    const char *name = list_specs[page->list].filters[i].parameter;
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

bool list_page_read(struct request *request, struct page *page)
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
    for (size_t i = 0; i < list_specs[page->list].filter_count; i++)
        if (!read_filter(request, page, i))
            return false;
    page->shape.search = search[0] != '\0' && list_specs[page->list].search != NULL;
    if (page->shape.search)
        print_pattern(search, page->search);
    return true;
}
