/* What smartbiz-api accepts. */
#ifndef COVEY_WORKLOADS_SMARTBIZ_API_LIMITS_H
#define COVEY_WORKLOADS_SMARTBIZ_API_LIMITS_H

#define BODY_MAX 65536
#define IMPORT_BODY_MAX (1u << 20)
#define CENTS_MAX 1000000000 /* of a price */
#define QUANTITY_MAX 1000000 /* of a line, and of one adjustment of the stock */
#define STOCK_MAX 1000000000 /* at the creation or import of an article */
#define ORDER_LINES_MAX 100
#define LIST_LIMIT_DEFAULT 50
#define LIST_LIMIT_MAX 200

#endif
