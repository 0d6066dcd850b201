/* The SQL of smartbiz-api: files of migrations/ and sql/, made into C by embed_sql.cmake. */
#ifndef COVEY_WORKLOADS_SMARTBIZ_API_SQL_H
#define COVEY_WORKLOADS_SMARTBIZ_API_SQL_H

struct migration {
    const char *name; /* NNNN_name.sql */
    const char *text;
};

/* Number i + 1 at i. */
extern const struct migration migrations[];
extern const int migration_count;

extern const char sql_article_create[];
extern const char sql_article_delete[];
extern const char sql_article_get[];
extern const char sql_article_update[];
extern const char sql_customer_create[];
extern const char sql_customer_delete[];
extern const char sql_customer_get[];
extern const char sql_customer_update[];
extern const char sql_dashboard[];
extern const char sql_import_articles[];
extern const char sql_key_get[];
extern const char sql_keys_expire[];
extern const char sql_order_create[];
extern const char sql_order_get[];
extern const char sql_order_move[];
extern const char sql_order_update[];
extern const char sql_stock_adjust[];
extern const char sql_totals[];

#endif
