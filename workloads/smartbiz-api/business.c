/* What the business looks like: the dashboard, and the metrics of orders, revenue and stock. */
#include <stdlib.h>
#include <string.h>

#include "workloads/lib/emit.h"
#include "workloads/smartbiz-api/call.h"

struct business {
    struct metric_family *actions;
    struct metric_family *orders;
    struct metric_family *revenue;
    struct metric *articles;
    struct metric *customers;
    struct metric *stock;
    struct metric *low_stock;
    struct metric *up;
    struct metric *connections;
    struct metric *waiting;
    struct metric *queries;
    struct metric *failures;
};

enum {
    ACTIONS,
    ORDERS,
    REVENUE,
    ARTICLES,
    CUSTOMERS,
    STOCK,
    LOW_STOCK,
    UP,
    CONNECTIONS,
    WAITING,
    QUERIES,
    FAILURES,
    FAMILIES,
};

int business_new(struct api *api, struct err *err)
{
    static const char *const by_action[] = {"action", NULL};
    static const char *const by_status[] = {"status", NULL};
    static const char *const by_currency[] = {"currency", NULL};
    static const struct metric_spec specs[FAMILIES] = {
        [ACTIONS] = {METRIC_COUNTER, "smartbiz_order_actions_total",
                     "Orders that this process created, confirmed, shipped, cancelled or refused "
                     "for lack of stock",
                     by_action, NULL, 0},
        [ORDERS] = {METRIC_GAUGE, "smartbiz_orders", "Orders by state", by_status, NULL, 0},
        [REVENUE] = {METRIC_GAUGE, "smartbiz_revenue_cents",
                     "Sum of the orders that are confirmed or shipped", by_currency, NULL, 0},
        [ARTICLES] = {METRIC_GAUGE, "smartbiz_articles", "Articles", NULL, NULL, 0},
        [CUSTOMERS] = {METRIC_GAUGE, "smartbiz_customers", "Customers", NULL, NULL, 0},
        [STOCK] = {METRIC_GAUGE, "smartbiz_stock_units", "Pieces in stock", NULL, NULL, 0},
        [LOW_STOCK] = {METRIC_GAUGE, "smartbiz_articles_low_stock",
                       "Articles whose stock is not above their minimum", NULL, NULL, 0},
        [UP] = {METRIC_GAUGE, "smartbiz_database_up", "1 while the database is connected", NULL,
                NULL, 0},
        [CONNECTIONS] = {METRIC_GAUGE, "smartbiz_database_connections", "Connections that are open",
                         NULL, NULL, 0},
        [WAITING] = {METRIC_GAUGE, "smartbiz_database_waiting",
                     "Queries that wait for a connection", NULL, NULL, 0},
        [QUERIES] = {METRIC_COUNTER, "smartbiz_database_queries_total", "Queries asked", NULL, NULL,
                     0},
        [FAILURES] = {METRIC_COUNTER, "smartbiz_database_failures_total",
                      "Queries that ended without an answer of the database", NULL, NULL, 0},
    };
    struct metric_family *families[FAMILIES];
    struct business *business = calloc(1, sizeof *business);

    if (business == NULL)
        return err_set(err, ERR_NOMEM, "declare the metrics of the business");
    api->business = business;
    for (size_t i = 0; i < FAMILIES; i++) {
        int rc = metrics_family(api->metrics, &specs[i], &families[i], err);
        if (rc != ERR_NONE)
            return rc;
    }
    *business = (struct business){
        .actions = families[ACTIONS],
        .orders = families[ORDERS],
        .revenue = families[REVENUE],
        .articles = metric_of(families[ARTICLES]),
        .customers = metric_of(families[CUSTOMERS]),
        .stock = metric_of(families[STOCK]),
        .low_stock = metric_of(families[LOW_STOCK]),
        .up = metric_of(families[UP]),
        .connections = metric_of(families[CONNECTIONS]),
        .waiting = metric_of(families[WAITING]),
        .queries = metric_of(families[QUERIES]),
        .failures = metric_of(families[FAILURES]),
    };
    return ERR_NONE;
}

void business_order(struct api *api, const char *what)
{
    const char *const values[] = {what};

    metric_add(metric_with(api->business->actions, values), 1);
}

/* --- metrics ------------------------------------------------------------------------------ */

static void set_total(struct business *business, const PGresult *result, int row)
{
    const char *name = PQgetvalue(result, row, 0);
    const char *const label[] = {PQgetvalue(result, row, 1)};
    double value = (double)atoll(PQgetvalue(result, row, 2));

    if (strcmp(name, "orders") == 0)
        metric_set(metric_with(business->orders, label), value);
    else if (strcmp(name, "revenue") == 0)
        metric_set(metric_with(business->revenue, label), value);
    else if (strcmp(name, "articles") == 0)
        metric_set(business->articles, value);
    else if (strcmp(name, "customers") == 0)
        metric_set(business->customers, value);
    else if (strcmp(name, "stock") == 0)
        metric_set(business->stock, value);
    else if (strcmp(name, "low") == 0)
        metric_set(business->low_stock, value);
}

struct scrape {
    struct request *request;
    struct api *api;
};

/* Without a database the metrics of the process are worth having all the more. */
static void render(void *context, const struct pg_answer *answer)
{
    static const char *const states[] = {"draft", "confirmed", "shipped", "cancelled"};
    struct scrape *scrape = context;
    struct business *business = scrape->api->business;
    struct pg_stats stats = pg_stats(scrape->api->pg);
    struct request *request = scrape->request;

    if (answer->code == ERR_NONE) {
        for (size_t i = 0; i < 4; i++)
            metric_set(metric_with(business->orders, &states[i]), 0);
        for (int row = 0; row < PQntuples(answer->result); row++)
            set_total(business, answer->result, row);
    }
    metric_set(business->up, pg_is_up(scrape->api->pg));
    metric_set(business->connections, stats.connected);
    metric_set(business->waiting, stats.waiting);
    metric_set(business->queries, (double)stats.queries);
    metric_set(business->failures, (double)stats.failures);
    handle_metrics(request, NULL);
    free(scrape);
    request_finish(request);
}

void show_metrics(struct request *request, void *context)
{
    const struct pg_statement statement = api_statement(ST_TOTALS);
    struct scrape *scrape = malloc(sizeof *scrape);

    if (scrape == NULL) {
        reply_problem(request, 503, NULL, "out of memory");
        return;
    }
    *scrape = (struct scrape){request, context};
    request_wait(request);
    pg_query(scrape->api->pg, &statement, NULL, 0, render, scrape);
}

/* --- pages of JSON ------------------------------------------------------------------------- */

static void show(struct call *call, const PGresult *result)
{
    struct out *o = reply_json(call->request, 200);

    out_bytes(o, PQgetvalue(result, 0, 0), (size_t)PQgetlength(result, 0, 0));
    call_end(call);
}

void show_dashboard(struct request *request, void *context)
{
    static const char *const none[] = {NULL};
    struct call *call;

    if (request_query_only(request, none) && call_begin(&call, request, context, NULL))
        call_ask_for(call, ST_DASHBOARD, NULL, 0, show);
}

void show_ready(struct request *request, void *context)
{
    struct api *api = context;

    if (http_accepting(request_server(request)) && !(api->ready && pg_is_up(api->pg))) {
        reply_problem(request, 503, NULL, "the database is not reachable");
        reply_header(request, "Retry-After", "1");
        return;
    }
    handle_ready(request, NULL);
}
