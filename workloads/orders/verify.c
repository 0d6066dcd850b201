#include "workloads/orders/verify.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "workloads/orders/notice.h"
#include "workloads/orders/order.h"

struct record {
    char order_id[ORDER_ID_TEXT];
    enum verify_kind kind;
    enum notice_type type; /* VERIFY_NOTICE */
    bool success;          /* VERIFY_PAYMENT */
    bool readable;
    int64_t cents;
    char *id; /* message id, or notification id; in one block with the body */
    char *body;
    size_t len;
};

struct verify {
    bool without_log;
    struct record *records;
    size_t count;
    size_t capacity;
};

struct judging {
    bool without_log;
    struct verify_counts *counts;
    void (*complain)(void *context, const char *text);
    void *context;
};

int verify_new(struct verify **out, struct err *err)
{
    *out = calloc(1, sizeof **out);
    return *out == NULL ? err_set(err, ERR_NOMEM, "verify") : ERR_NONE;
}

void verify_free(struct verify *verify)
{
    if (verify == NULL)
        return;
    for (size_t i = 0; i < verify->count; i++)
        free(verify->records[i].id);
    free(verify->records);
    free(verify);
}

static int add(struct verify *verify, struct record *record, struct span id, struct span body,
               struct err *err)
{
    if (verify->count == verify->capacity) {
        size_t capacity = verify->capacity * 2 + 1024;
        struct record *records = realloc(verify->records, capacity * sizeof *records);
        if (records == NULL)
            return err_set(err, ERR_NOMEM, "verify %zu messages", verify->count);
        verify->records = records;
        verify->capacity = capacity;
    }
    record->id = malloc(id.len + 1 + body.len);
    if (record->id == NULL)
        return err_set(err, ERR_NOMEM, "verify %zu messages", verify->count);
    if (id.len > 0)
        memcpy(record->id, id.at, id.len);
    record->id[id.len] = '\0';
    record->body = record->id + id.len + 1;
    record->len = body.len;
    if (body.len > 0)
        memcpy(record->body, body.at, body.len);
    verify->records[verify->count++] = *record;
    return ERR_NONE;
}

int verify_message(struct verify *verify, enum verify_kind kind, struct span id, struct span body,
                   struct err *err)
{
    struct record record = {.kind = kind};
    struct order order;
    struct payment payment;
    struct shipment shipment;
    struct err ignored;
    const char *order_id = "";

    if (kind == VERIFY_ORDER && order_read(body, &order, &ignored) == ERR_NONE) {
        record.readable = true;
        record.cents = order.total_cents;
        order_id = order.order_id;
    } else if (kind == VERIFY_PAYMENT && payment_read(body, &payment, &ignored) == ERR_NONE) {
        record.readable = true;
        record.cents = payment.amount_cents;
        record.success = payment.success;
        order_id = payment.order_id;
    } else if (kind == VERIFY_SHIPMENT && shipment_read(body, &shipment, &ignored) == ERR_NONE) {
        record.readable = true;
        order_id = shipment.order_id;
    }
    snprintf(record.order_id, sizeof record.order_id, "%s", order_id);
    return add(verify, &record, id, body, err);
}

int verify_log_line(struct verify *verify, struct span line, struct err *err)
{
    struct record record = {.kind = VERIFY_NOTICE, .readable = true};
    char message[64] = "";
    char id[NOTICE_ID_TEXT] = "";
    char type[32] = "";
    char text[NOTICE_TEXT] = "";
    struct scan in;
    struct span key;

    scan_begin(&in, line.at, line.len);
    if (scan_object(&in))
        while (scan_member(&in, &key)) {
            if (span_is(key, "message"))
                (void)scan_string(&in, message, sizeof message);
            else if (span_is(key, "notification_id"))
                (void)scan_string(&in, id, sizeof id);
            else if (span_is(key, "order_id"))
                (void)scan_string(&in, record.order_id, sizeof record.order_id);
            else if (span_is(key, "type"))
                (void)scan_string(&in, type, sizeof type);
            else if (span_is(key, "text"))
                (void)scan_string(&in, text, sizeof text);
            else
                (void)scan_skip(&in);
        }
    if (!scan_end(&in) || strcmp(message, "notification sent") != 0)
        return ERR_NONE;
    while (record.type < NOTICE_TYPES && strcmp(type, notice_type_names[record.type]) != 0)
        record.type++;
    record.readable = record.type < NOTICE_TYPES && record.order_id[0] != '\0';
    return add(verify, &record, (struct span){id, strlen(id)}, (struct span){text, strlen(text)},
               err);
}

static void complain(struct judging *judging, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void complain(struct judging *judging, const char *format, ...)
{
    char text[256];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    judging->complain(judging->context, text);
}

static int by_order(const void *a, const void *b)
{
    const struct record *x = a;
    const struct record *y = b;
    int difference = strcmp(x->order_id, y->order_id);

    if (difference != 0)
        return difference;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    return x->type < y->type ? -1 : x->type > y->type;
}

/* The first record of its kind and type among those of one order, or NULL. Counts it as distinct,
 * and holds all others of its kind and type against it. */
static const struct record *same(struct judging *judging, const struct record *group, size_t count,
                                 enum verify_kind kind, enum notice_type type)
{
    static const char *const names[] = {"order", "payment", "shipment", "notification"};
    const struct record *first = NULL;

    for (size_t i = 0; i < count; i++) {
        const struct record *record = &group[i];
        if (record->kind != kind || (kind == VERIFY_NOTICE && record->type != type))
            continue;
        if (first == NULL) {
            first = record;
            judging->counts->distinct[kind]++;
            continue;
        }
        if (record->len == first->len && memcmp(record->body, first->body, first->len) == 0 &&
            strcmp(record->id, first->id) == 0)
            continue;
        complain(judging, "order %s: its %s is there twice, and the two differ", record->order_id,
                 names[kind]);
        if (kind == VERIFY_PAYMENT || kind == VERIFY_SHIPMENT)
            judging->counts->twice++;
        else
            judging->counts->wrong++;
    }
    return first;
}

static void judge_notice(struct judging *judging, const struct record *group, size_t count,
                         enum notice_type type, bool expected)
{
    const struct record *notice = same(judging, group, count, VERIFY_NOTICE, type);

    if ((notice != NULL) == expected || judging->without_log)
        return;
    complain(judging, "order %s: %s was %s", group->order_id, notice_type_names[type],
             expected ? "never sent" : "sent for nothing");
    if (expected)
        judging->counts->silent++;
    else
        judging->counts->wrong++;
}

/* All records of one order. */
static void judge_order(struct judging *judging, const struct record *group, size_t count)
{
    const struct record *order = same(judging, group, count, VERIFY_ORDER, 0);
    const struct record *payment = same(judging, group, count, VERIFY_PAYMENT, 0);
    const struct record *shipment = same(judging, group, count, VERIFY_SHIPMENT, 0);
    bool paid = payment != NULL && payment->success;

    judging->counts->paid += paid;
    if (order != NULL && payment == NULL) {
        complain(judging, "order %s was lost: it has no payment", group->order_id);
        judging->counts->lost++;
    }
    if (order == NULL && payment != NULL) {
        complain(judging, "order %s has a payment and was never published", group->order_id);
        judging->counts->wrong++;
    }
    if (order != NULL && payment != NULL && order->cents != payment->cents) {
        complain(judging, "order %s: the payment is of another amount", group->order_id);
        judging->counts->wrong++;
    }
    if (paid && shipment == NULL) {
        complain(judging, "order %s was lost: it was paid and not shipped", group->order_id);
        judging->counts->lost++;
    }
    if (!paid && shipment != NULL) {
        complain(judging, "order %s was shipped and not paid", group->order_id);
        judging->counts->wrong++;
    }
    judge_notice(judging, group, count, NOTICE_ORDER, order != NULL);
    judge_notice(judging, group, count, NOTICE_PAID, paid);
    judge_notice(judging, group, count, NOTICE_FAILED, payment != NULL && !paid);
    judge_notice(judging, group, count, NOTICE_SHIPPED, shipment != NULL);
}

void verify_without_log(struct verify *verify)
{
    verify->without_log = true;
}

bool verify_judge(struct verify *verify, struct verify_counts *counts,
                  void (*tell)(void *context, const char *text), void *context)
{
    struct judging judging = {verify->without_log, counts, tell, context};
    size_t from = 0;

    memset(counts, 0, sizeof *counts);
    if (verify->count > 0)
        qsort(verify->records, verify->count, sizeof verify->records[0], by_order);
    for (size_t i = 0; i < verify->count; i++) {
        const struct record *record = &verify->records[i];
        counts->messages[record->kind]++;
        if (!record->readable) { /* without an order id they come first */
            complain(&judging, "message \"%.80s\" cannot be read", record->id);
            counts->wrong++;
            from = i + 1;
        } else if (i + 1 == verify->count ||
                   strcmp(record->order_id, verify->records[i + 1].order_id) != 0) {
            judge_order(&judging, &verify->records[from], i + 1 - from);
            from = i + 1;
        }
    }
    return counts->lost + counts->twice + counts->silent + counts->wrong == 0;
}
