/* smartbiz-api: what its handlers share. */
#ifndef COVEY_WORKLOADS_SMARTBIZ_API_API_H
#define COVEY_WORKLOADS_SMARTBIZ_API_API_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "workloads/lib/http.h"
#include "workloads/lib/metrics.h"
#include "workloads/lib/pg.h"
#include "workloads/smartbiz-api/limits.h"
#include "workloads/smartbiz-api/sql.h"

/* Statements with a text of their own. Behind them come the lists (list.h). */
enum statement {
    ST_ARTICLE_GET,
    ST_ARTICLE_CREATE,
    ST_ARTICLE_UPDATE,
    ST_ARTICLE_DELETE,
    ST_STOCK_ADJUST,
    ST_CUSTOMER_GET,
    ST_CUSTOMER_CREATE,
    ST_CUSTOMER_UPDATE,
    ST_CUSTOMER_DELETE,
    ST_ORDER_GET,
    ST_ORDER_CREATE,
    ST_ORDER_UPDATE,
    ST_ORDER_MOVE,
    ST_KEY_GET,
    ST_KEYS_EXPIRE,
    ST_TOTALS,
    ST_DASHBOARD,
    ST_IMPORT_ARTICLES,
    ST_COUNT,
};

struct lists;
struct business; /* metrics.c */

/* The context of every handler. All of it belongs to the thread of the loop, save `migrated`. */
struct api {
    struct pg *pg;
    struct http *http;
    struct log *log;
    struct metrics *metrics;
    struct lists *lists;
    struct business *business;
    bool ready; /* migrations are done, the pool may connect */
    atomic_bool migrated;
};

/* The statement @which, for pg_query. */
struct pg_statement api_statement(enum statement which);

/* articles.c, stock.c */
void articles_create(struct request *request, void *context);
void articles_get(struct request *request, void *context);
void articles_replace(struct request *request, void *context);
void articles_patch(struct request *request, void *context);
void articles_delete(struct request *request, void *context);
void stock_adjust(struct request *request, void *context);

/* customers.c */
void customers_create(struct request *request, void *context);
void customers_get(struct request *request, void *context);
void customers_replace(struct request *request, void *context);
void customers_patch(struct request *request, void *context);
void customers_delete(struct request *request, void *context);

/* orders.c */
void orders_create(struct request *request, void *context);
void orders_get(struct request *request, void *context);
void orders_replace(struct request *request, void *context);
void orders_confirm(struct request *request, void *context);
void orders_ship(struct request *request, void *context);
void orders_cancel(struct request *request, void *context);

/* lists.c: pages of JSON and whole tables of CSV */
int lists_new(struct lists **out, struct err *err);
void lists_free(struct lists *lists);
void list_articles(struct request *request, void *context);
void list_low_stock(struct request *request, void *context);
void list_customers(struct request *request, void *context);
void list_orders(struct request *request, void *context);
void list_movements(struct request *request, void *context);
void list_article_movements(struct request *request, void *context);
void list_audit(struct request *request, void *context);
void export_articles(struct request *request, void *context);
void export_customers(struct request *request, void *context);
void export_orders(struct request *request, void *context);
void export_movements(struct request *request, void *context);

/* import.c */
void import_articles(struct request *request, void *context);

/* business.c: the dashboard and the metrics of the business */
int business_new(struct api *api, struct err *err);
void business_order(struct api *api, const char *what);
void show_dashboard(struct request *request, void *context);
void show_metrics(struct request *request, void *context);
void show_ready(struct request *request, void *context);

/* migrate.c: connects, blocking, and brings the database to this program's schema. Errors:
 * ERR_UNREACHABLE (try again), ERR_VERSION the database is newer than this program, ERR_INVALID a
 * migration failed. */
int migrate(const struct pg_config *config, struct err *err);

#endif
