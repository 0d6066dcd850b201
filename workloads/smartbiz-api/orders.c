/* /orders: making, reading, rewriting a draft, and the moves from state to state. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "workloads/lib/emit.h"
#include "workloads/smartbiz-api/call.h"

/* The columns that every statement of an order begins with; a row for each line. */
enum {
    AT_ID,
    AT_STATUS,
    AT_CUSTOMER,
    AT_VERSION = 7,
    AT_LINE = 10,
    AT_ARTICLE,
    AT_SKU,
    AT_NAME,
    AT_QUANTITY,
    AT_PRICE,
    AT_MORE, /* what else a statement tells */
};

static const struct column order_columns[] = {
    {"id", COLUMN_NUMBER},          {"status", COLUMN_TEXT},    {"customer_id", COLUMN_NUMBER},
    {"customer_name", COLUMN_TEXT}, {"currency", COLUMN_TEXT},  {"total_cents", COLUMN_NUMBER},
    {"note", COLUMN_TEXT},          {"version", COLUMN_NUMBER}, {"created_at", COLUMN_TIME},
    {"updated_at", COLUMN_TIME},
};
static const struct column line_columns[] = {
    {"line", COLUMN_NUMBER}, {"article_id", COLUMN_NUMBER}, {"sku", COLUMN_TEXT},
    {"name", COLUMN_TEXT},   {"quantity", COLUMN_NUMBER},   {"unit_price_cents", COLUMN_NUMBER},
};
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void show(struct call *call, const PGresult *result, int status)
{
    struct out *o = reply_json(call->request, status);
    char text[48];

    emit_object(o);
    emit_columns(o, result, 0, 0, order_columns, COUNT(order_columns));
    emit_key(o, "lines");
    emit_array(o);
    for (int row = 0; row < PQntuples(result); row++) {
        emit_object(o);
        emit_columns(o, result, row, AT_LINE, line_columns, COUNT(line_columns));
        emit_object_end(o);
    }
    emit_array_end(o);
    emit_object_end(o);
    snprintf(text, sizeof text, "\"v%s\"", PQgetvalue(result, 0, AT_VERSION));
    reply_header(call->request, "ETag", text);
    if (status == 201) {
        snprintf(text, sizeof text, "/orders/%s", PQgetvalue(result, 0, AT_ID));
        reply_header(call->request, "Location", text);
    }
}

static bool is_true(const PGresult *result, int row, int column)
{
    return *PQgetvalue(result, row, column) == 't';
}

/* --- reading ------------------------------------------------------------------------------ */

static void got(struct call *call, const PGresult *result)
{
    if (PQntuples(result) == 0) {
        call_problem(call, 404, "id", "there is no order with this id");
        return;
    }
    show(call, result, 200);
    call_end(call);
}

void orders_get(struct request *request, void *context)
{
    const char *id = request_param(request, 0);
    struct call *call;
    int64_t ignored;

    if (path_id(request, &ignored) && call_begin(&call, request, context, NULL))
        call_ask_for(call, ST_ORDER_GET, &id, 1, got);
}

/* --- the body of an order ----------------------------------------------------------------- */

/* Arrays as PostgreSQL reads them: {1,2,3}. */
#define ARRAY_TEXT (ORDER_LINES_MAX * 21 + 3)

struct order_input {
    char version[VERSION_TEXT];
    struct number_text customer;
    bool draft;
    size_t lines;
    int64_t article_ids[ORDER_LINES_MAX];
    char articles[ARRAY_TEXT];
    char quantities[ARRAY_TEXT];
    char note[501 * 4];
};

static void append(char text[ARRAY_TEXT], size_t index, int64_t value)
{
    size_t used = index == 0 ? 0 : strlen(text) - 1;

    snprintf(text + used, ARRAY_TEXT - used, "%c%lld}", index == 0 ? '{' : ',', (long long)value);
}

static bool add_line(struct order_input *input, int64_t article, int64_t quantity)
{
    for (size_t i = 0; i < input->lines; i++)
        if (input->article_ids[i] == article)
            return false;
    input->article_ids[input->lines] = article;
    append(input->articles, input->lines, article);
    append(input->quantities, input->lines, quantity);
    input->lines++;
    return true;
}

enum {
    CUSTOMER,
    STATUS,
    NOTE,
    LINES,
    ARTICLE, /* with QUANTITY instead of LINES: an order of one line */
    QUANTITY,
    FIELDS,
};

static const char *check_status(const char *text)
{
    return strcmp(text, "draft") == 0 || strcmp(text, "confirmed") == 0
               ? NULL
               : "must be draft or confirmed";
}

static void read_lines(const struct field_value *values, struct order_input *input,
                       struct problem *problem)
{
    static const struct field fields[] = {
        {"article_id", FIELD_INT, FIELD_REQUIRED, 1, INT64_MAX, NULL},
        {"quantity", FIELD_INT, FIELD_REQUIRED, 1, QUANTITY_MAX, NULL},
    };
    struct field_value line[2];
    char path[64];

    if (values[LINES].present == (values[ARTICLE].present || values[QUANTITY].present)) {
        problem_set(problem, 422, "lines", "%s",
                    values[LINES].present ? "and article_id exclude each other" : "is missing");
        return;
    }
    if (!values[LINES].present) {
        if (!values[ARTICLE].present || !values[QUANTITY].present)
            problem_set(problem, 422, values[ARTICLE].present ? "quantity" : "article_id",
                        "is missing");
        else
            add_line(input, values[ARTICLE].integer, values[QUANTITY].integer);
        return;
    }
    for (size_t i = 0; i < json_array_size(values[LINES].array); i++) {
        if (!object_read(json_array_get(values[LINES].array, i), "lines", i, fields, 2, line,
                         problem))
            return;
        if (!add_line(input, line[0].integer, line[1].integer)) {
            snprintf(path, sizeof path, "lines[%zu].article_id", i);
            problem_set(problem, 422, path, "stands in another line already");
            return;
        }
    }
}

static struct order_input *read_order(struct request *request)
{
    static const struct field fields[FIELDS] = {
        [CUSTOMER] = {"customer_id", FIELD_INT, FIELD_REQUIRED, 1, INT64_MAX, NULL},
        [STATUS] = {"status", FIELD_STRING, FIELD_OPTIONAL, 1, 16, check_status},
        [NOTE] = {"note", FIELD_TEXT, FIELD_OPTIONAL, 0, 500, NULL},
        [LINES] = {"lines", FIELD_ARRAY, FIELD_OPTIONAL, 1, ORDER_LINES_MAX, NULL},
        [ARTICLE] = {"article_id", FIELD_INT, FIELD_OPTIONAL, 1, INT64_MAX, NULL},
        [QUANTITY] = {"quantity", FIELD_INT, FIELD_OPTIONAL, 1, QUANTITY_MAX, NULL},
    };
    struct field_value values[FIELDS];
    json_t *root = request_fields(request, fields, FIELDS, values);
    struct problem problem = {0};
    struct order_input *input;

    if (root == NULL)
        return NULL;
    input = malloc(sizeof *input);
    if (input == NULL) {
        problem_set(&problem, 503, NULL, "out of memory");
    } else {
        input->lines = 0;
        input->customer = number(values[CUSTOMER].integer);
        input->draft = values[STATUS].present && strcmp(values[STATUS].string, "draft") == 0;
        snprintf(input->note, sizeof input->note, "%s",
                 values[NOTE].present ? values[NOTE].string : "");
        read_lines(values, input, &problem);
    }
    json_decref(root);
    if (problem.status == 0)
        return input;
    reply_problem(request, problem.status, problem.field, "%s", problem.detail);
    free(input);
    return NULL;
}

/* Why an order was not made: the first reason that the rows tell. */
static void refuse(struct call *call, const PGresult *result, bool stock_counts)
{
    char path[64];

    if (!is_true(result, 0, AT_MORE)) {
        call_problem(call, 422, "customer_id", "there is no customer with this id");
        return;
    }
    for (int row = 0; row < PQntuples(result); row++) {
        snprintf(path, sizeof path, "lines[%d].article_id", row);
        if (!is_true(result, row, AT_MORE + 1)) {
            call_problem(call, 422, path, "there is no article with this id");
            return;
        }
        if (strcmp(PQgetvalue(result, row, AT_MORE + 3), PQgetvalue(result, 0, AT_MORE + 3)) != 0) {
            call_problem(call, 422, path, "has its price in %s, and the first line in %s",
                         PQgetvalue(result, row, AT_MORE + 3), PQgetvalue(result, 0, AT_MORE + 3));
            return;
        }
    }
    for (int row = 0; stock_counts && row < PQntuples(result); row++) {
        int64_t stock = atoll(PQgetvalue(result, row, AT_MORE + 2));
        if (stock >= atoll(PQgetvalue(result, row, AT_QUANTITY)))
            continue;
        snprintf(path, sizeof path, "lines[%d].quantity", row);
        business_order(call->api, "refused");
        call_problem(call, 409, path, "insufficient stock of %s: %lld available",
                     PQgetvalue(result, row, AT_SKU), (long long)stock);
        return;
    }
    call_key_taken(call);
}

/* --- making ------------------------------------------------------------------------------- */

static void created(struct call *call, const PGresult *result)
{
    const struct order_input *in = call->state;

    if (PQgetisnull(result, 0, AT_ID)) {
        refuse(call, result, !in->draft);
        return;
    }
    business_order(call->api, "created");
    show(call, result, 201);
    call_end(call);
}

static void create(struct call *call)
{
    const struct order_input *in = call->state;
    const char *const params[] = {
        in->customer.text,
        in->articles,
        in->quantities,
        in->draft ? "draft" : "confirmed",
        in->note,
        call->actor,
        request_id(call->request),
        call_key(call),
        call->fingerprint,
    };

    call_ask_for(call, ST_ORDER_CREATE, params, COUNT(params), created);
}

void orders_create(struct request *request, void *context)
{
    struct order_input *input = read_order(request);
    struct call *call;

    if (input != NULL && call_begin(&call, request, context, input))
        call_write(call, ST_ORDER_GET, show, create);
}

/* --- rewriting a draft -------------------------------------------------------------------- */

static void rewritten(struct call *call, const PGresult *result)
{
    const struct order_input *in = call->state;
    const char *status;

    if (PQntuples(result) == 0) {
        call_problem(call, 404, "id", "there is no order with this id");
        return;
    }
    if (!PQgetisnull(result, 0, AT_ID)) {
        show(call, result, 200);
        call_end(call);
        return;
    }
    status = PQgetvalue(result, 0, AT_MORE + 4);
    if (strcmp(status, "draft") != 0)
        call_problem(call, 409, "status", "the order is %s; only a draft can be rewritten", status);
    else if (in->version[0] != '\0' && strcmp(in->version, PQgetvalue(result, 0, AT_MORE + 5)) != 0)
        call_problem(call, 412, "If-Match", "the order was changed meanwhile: it is version %s now",
                     PQgetvalue(result, 0, AT_MORE + 5));
    else
        refuse(call, result, false);
}

static void rewrite(struct call *call)
{
    const struct order_input *in = call->state;
    const char *const params[] = {
        request_param(call->request, 0),
        in->version[0] != '\0' ? in->version : NULL,
        in->customer.text,
        in->articles,
        in->quantities,
        in->note,
        call->actor,
        request_id(call->request),
    };

    call_ask_for(call, ST_ORDER_UPDATE, params, COUNT(params), rewritten);
}

void orders_replace(struct request *request, void *context)
{
    struct order_input *input;
    struct call *call;
    int64_t id;

    if (!path_id(request, &id))
        return;
    input = read_order(request);
    if (input == NULL)
        return;
    if (!read_if_match(request, input->version)) {
        free(input);
        return;
    }
    if (!call_begin(&call, request, context, input))
        return;
    call->run = rewrite;
    rewrite(call);
}

/* --- moves -------------------------------------------------------------------------------- */

struct order_move {
    const char *to;
    char version[VERSION_TEXT];
    unsigned attempts;
};

#define MOVE_ATTEMPTS_MAX 5

static void ask_move(struct call *call);

static void refuse_move(struct call *call, const PGresult *result)
{
    struct order_move *move = call->state;
    const char *status = PQgetvalue(result, 0, AT_MORE + 1);
    char path[64];

    if (!is_true(result, 0, AT_MORE + 3)) {
        call_problem(call, 409, "status", "the order is %s%s, so it cannot become %s", status,
                     strcmp(status, move->to) == 0 ? " already" : "", move->to);
        return;
    }
    if (move->version[0] != '\0' &&
        strcmp(move->version, PQgetvalue(result, 0, AT_MORE + 2)) != 0) {
        call_problem(call, 412, "If-Match", "the order was changed meanwhile: it is version %s now",
                     PQgetvalue(result, 0, AT_MORE + 2));
        return;
    }
    for (int row = 0; row < PQntuples(result); row++) {
        if (!is_true(result, row, AT_MORE + 5))
            continue;
        snprintf(path, sizeof path, "lines[%d].quantity", row);
        business_order(call->api, "refused");
        call_problem(call, 409, path, "insufficient stock of %s: %s available",
                     PQgetvalue(result, row, AT_SKU), PQgetvalue(result, row, AT_MORE + 4));
        return;
    }
    if (PQgetisnull(result, 0, AT_LINE) && move->attempts++ < MOVE_ATTEMPTS_MAX)
        ask_move(call); /* the draft was rewritten while this waited for it */
    else
        call_key_taken(call);
}

static void moved(struct call *call, const PGresult *result)
{
    const struct order_move *move = call->state;

    if (PQntuples(result) == 0) {
        call_problem(call, 404, "id", "there is no order with this id");
    } else if (!is_true(result, 0, AT_MORE)) {
        refuse_move(call, result);
    } else {
        business_order(call->api, move->to);
        show(call, result, 200);
        call_end(call);
    }
}

static void ask_move(struct call *call)
{
    const struct order_move *move = call->state;
    const char *const params[] = {
        request_param(call->request, 0),
        move->to,
        move->version[0] != '\0' ? move->version : NULL,
        call->actor,
        request_id(call->request),
        call_key(call),
        call->fingerprint,
    };

    call_ask_for(call, ST_ORDER_MOVE, params, COUNT(params), moved);
}

static void start_move(struct request *request, void *context, const char *to)
{
    struct order_move *move;
    struct call *call;
    size_t len;
    int64_t id;

    request_body(request, &len);
    if (!path_id(request, &id))
        return;
    if (len > 0) {
        reply_problem(request, 400, NULL, "this request has no body");
        return;
    }
    move = calloc(1, sizeof *move);
    if (move == NULL) {
        reply_problem(request, 503, NULL, "out of memory");
        return;
    }
    move->to = to;
    if (!read_if_match(request, move->version)) {
        free(move);
        return;
    }
    if (call_begin(&call, request, context, move))
        call_write(call, ST_ORDER_GET, show, ask_move);
}

void orders_confirm(struct request *request, void *context)
{
    start_move(request, context, "confirmed");
}

void orders_ship(struct request *request, void *context)
{
    start_move(request, context, "shipped");
}

void orders_cancel(struct request *request, void *context)
{
    start_move(request, context, "cancelled");
}
