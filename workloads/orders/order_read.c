#include <string.h>

#include "workloads/lib/when.h"
#include "workloads/orders/order.h"

enum kind {
    TEXT,  /* char[size] */
    ID,    /* the same, of letters, digits, '-', '_' and '.' */
    EMAIL, /* the same, with one '@' and nothing that could end a mail's header */
    CENTS, /* int64_t */
    TIME,  /* int64_t, microseconds */
    ITEMS, /* struct order_items */
};

struct member {
    const char *key;
    enum kind kind;
    bool optional;
    void *to;
    size_t size;
};

#define MEMBERS_MAX 16

static bool id_ok(const char *text)
{
    for (const char *p = text; *p != '\0'; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
              *p == '-' || *p == '_' || *p == '.'))
            return false;
    return *text != '\0';
}

static bool email_ok(const char *text)
{
    const char *at = strchr(text, '@');

    return at != NULL && at != text && at[1] != '\0' && strchr(at + 1, '@') == NULL &&
           strpbrk(text, " ,;<>()[]\\\"") == NULL;
}

/* One item: a name, a quantity, a price; more may be said. */
static bool read_item(struct scan *in)
{
    char name[256];
    int64_t number;
    unsigned seen = 0;
    struct span key;

    if (!scan_object(in))
        return false;
    while (scan_member(in, &key)) {
        unsigned bit = span_is(key, "name")       ? 1
                       : span_is(key, "quantity") ? 2
                       : span_is(key, "price")    ? 4
                       : span_is(key, "subtotal") ? 8
                                                  : 0;
        if ((seen & bit) != 0)
            scan_wrong(in, "an item has a field twice");
        seen |= bit;
        if (bit == 0) {
            (void)scan_skip(in);
        } else if (bit == 1) {
            if (scan_string(in, name, sizeof name) && name[0] == '\0')
                scan_wrong(in, "an item has an empty name");
        } else if (bit == 2) {
            if (scan_int(in, &number) && (number < 1 || number > ORDER_QUANTITY_MAX))
                scan_wrong(in, "an item has a quantity that is not from 1 to 1000000");
        } else if (scan_decimal(in, 2, &number) && (number < 0 || number > ORDER_CENTS_MAX)) {
            scan_wrong(in, "an item has a price that is negative or too high");
        }
    }
    if ((seen & 7) != 7)
        scan_wrong(in, "an item lacks name, quantity or price");
    return in->wrong == NULL;
}

static void read_items(struct scan *in, const struct member *member)
{
    struct order_items *items = member->to;

    items->count = 0;
    if (!scan_array(in))
        return;
    items->json.at = in->at - 1;
    while (scan_element(in)) {
        if (++items->count > ORDER_ITEMS_MAX)
            scan_wrong(in, "more than 100 items");
        (void)read_item(in);
    }
    items->json.len = (size_t)(in->at - items->json.at);
    if (items->count == 0)
        scan_wrong(in, "there are no items");
}

static void read_value(struct scan *in, const struct member *member)
{
    char when[64];
    int64_t *number = member->to;

    switch (member->kind) {
    case TEXT:
        if (scan_string(in, member->to, member->size) && *(char *)member->to == '\0')
            scan_wrong(in, "is empty");
        break;
    case ID:
        if (scan_string(in, member->to, member->size) && !id_ok(member->to))
            scan_wrong(in, "must be letters, digits, '-', '_' and '.'");
        break;
    case EMAIL:
        if (scan_string(in, member->to, member->size) && !email_ok(member->to))
            scan_wrong(in, "must have the form name@domain");
        break;
    case CENTS:
        if (scan_decimal(in, 2, number) && *number < 0)
            scan_wrong(in, "is negative");
        else if (in->wrong == NULL && *number > ORDER_CENTS_MAX)
            scan_wrong(in, "is too high");
        break;
    case TIME:
        if (scan_string(in, when, sizeof when) && !when_parse(when, number))
            scan_wrong(in, "must be a time, as 2026-01-31T09:30:00Z");
        break;
    case ITEMS:
        read_items(in, member);
        break;
    }
}

static int describe(const struct scan *in, const char *key, struct err *err)
{
    char where[128];

    scan_error(in, where, sizeof where);
    if (key == NULL)
        return err_set(err, ERR_INVALID, "no valid JSON message: %s", where);
    return err_set(err, ERR_INVALID, "%s: %s", key, where);
}

static int read_version(struct scan *in, struct err *err)
{
    int64_t version;

    if (!scan_int(in, &version))
        return describe(in, "version", err);
    if (version != ORDER_VERSION)
        return err_set(err, ERR_VERSION, "version %lld is not known here; version %d is",
                       (long long)version, ORDER_VERSION);
    return ERR_NONE;
}

static int read_message(struct span body, const struct member *members, size_t count,
                        struct err *err)
{
    bool seen[MEMBERS_MAX] = {false};
    bool versioned = false;
    struct scan in;
    struct span key;

    if (body.len > ORDER_MESSAGE_MAX)
        return err_set(err, ERR_LIMIT, "has %zu bytes; at most %d are read", body.len,
                       ORDER_MESSAGE_MAX);
    scan_begin(&in, body.at, body.len);
    if (!scan_object(&in))
        return describe(&in, NULL, err);
    while (scan_member(&in, &key)) {
        size_t i = 0;
        while (i < count && !span_is(key, members[i].key))
            i++;
        if (i < count) {
            if (seen[i])
                return err_set(err, ERR_INVALID, "%s is there twice", members[i].key);
            seen[i] = true;
            read_value(&in, &members[i]);
            if (in.wrong != NULL)
                return describe(&in, members[i].key, err);
        } else if (span_is(key, "version")) {
            if (versioned)
                return err_set(err, ERR_INVALID, "version is there twice");
            versioned = true;
            if (read_version(&in, err) != ERR_NONE)
                return err->code;
        } else if (!scan_skip(&in)) {
            return describe(&in, NULL, err);
        }
    }
    if (!scan_end(&in))
        return describe(&in, NULL, err);
    for (size_t i = 0; i < count; i++)
        if (!seen[i] && !members[i].optional)
            return err_set(err, ERR_INVALID, "%s is missing", members[i].key);
    return ERR_NONE;
}

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

int order_read(struct span body, struct order *order, struct err *err)
{
    const struct member members[] = {
        {"order_id", ID, false, order->order_id, sizeof order->order_id},
        {"customer_email", EMAIL, false, order->customer_email, sizeof order->customer_email},
        {"items", ITEMS, false, &order->items, 0},
        {"total_amount", CENTS, false, &order->total_cents, 0},
        {"created_at", TIME, false, &order->created_us, 0},
    };

    return read_message(body, members, COUNT(members), err);
}

int payment_read(struct span body, struct payment *payment, struct err *err)
{
    char status[16] = "";
    const struct member members[] = {
        {"order_id", ID, false, payment->order_id, sizeof payment->order_id},
        {"status", TEXT, false, status, sizeof status},
        {"amount", CENTS, false, &payment->amount_cents, 0},
        {"txn_id", ID, false, payment->txn_id, sizeof payment->txn_id},
        {"method", ID, false, payment->method, sizeof payment->method},
        {"failure_reason", ID, true, payment->failure_reason, sizeof payment->failure_reason},
        {"customer_email", EMAIL, false, payment->customer_email, sizeof payment->customer_email},
        {"items", ITEMS, false, &payment->items, 0},
        {"ordered_at", TIME, false, &payment->ordered_us, 0},
    };

    payment->failure_reason[0] = '\0';
    if (read_message(body, members, COUNT(members), err) != ERR_NONE)
        return err->code;
    payment->success = strcmp(status, "success") == 0;
    if (!payment->success && strcmp(status, "failed") != 0)
        return err_set(err, ERR_INVALID, "status must be success or failed");
    if (payment->success != (payment->failure_reason[0] == '\0'))
        return err_set(err, ERR_INVALID, "failure_reason belongs to a payment that failed");
    return ERR_NONE;
}

int shipment_read(struct span body, struct shipment *shipment, struct err *err)
{
    const struct member members[] = {
        {"order_id", ID, false, shipment->order_id, sizeof shipment->order_id},
        {"tracking_number", ID, false, shipment->tracking_number, sizeof shipment->tracking_number},
        {"carrier", ID, false, shipment->carrier, sizeof shipment->carrier},
        {"est_delivery", ID, false, shipment->est_delivery, sizeof shipment->est_delivery},
        {"customer_email", EMAIL, false, shipment->customer_email, sizeof shipment->customer_email},
        {"items", ITEMS, false, &shipment->items, 0},
        {"ordered_at", TIME, false, &shipment->ordered_us, 0},
    };

    return read_message(body, members, COUNT(members), err);
}
