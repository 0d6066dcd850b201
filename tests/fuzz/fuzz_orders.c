/* Messages of the order pipeline, as anybody may put them into a queue: the first byte says which.
 */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "tests/fuzz/fuzz.h"
#include "workloads/lib/trace.h"
#include "workloads/lib/when.h"
#include "workloads/orders/notice.h"
#include "workloads/orders/order.h"
#include "workloads/orders/outcome.h"

/* True when jansson reads it too, or refuses it for what it alone cannot hold: numbers that are no
 * double, zeros in keys. */
static bool is_json(struct span body)
{
    json_error_t error;
    json_t *root = json_loadb(body.at, body.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    bool fine = root != NULL || json_error_code(&error) == json_error_numeric_overflow ||
                json_error_code(&error) == json_error_null_byte_in_key;

    json_decref(root);
    return fine;
}

/* What is written of what was read must be JSON to others too. */
static struct span checked(const struct out *o)
{
    struct span body = {o->data, o->len};

    if (o->failed || !is_json(body))
        abort();
    return body;
}

static void try_order(struct span body)
{
    struct order order;
    struct payment payment;
    struct payment again;
    struct notice notice;
    struct out o;
    struct err err = {0};
    double unit;

    if (order_read(body, &order, &err) != ERR_NONE) {
        if (err.text[0] == '\0')
            abort();
        return;
    }
    if (order.total_cents < 0 || order.items.count == 0 || order.order_id[0] == '\0')
        abort();
    notice_of_order(&order, &notice);
    outcome_payment(1, 0.5, &order, &payment, &unit);
    out_init(&o, NULL, 0, 4u * ORDER_MESSAGE_MAX);
    payment_write(&payment, &o);
    if (o.len <= ORDER_MESSAGE_MAX && payment_read(checked(&o), &again, &err) != ERR_NONE)
        abort();
    out_free(&o);
}

static void try_payment(struct span body)
{
    struct payment payment;
    struct shipment shipment;
    struct shipment again;
    struct notice notice;
    struct out o;
    struct err err;
    double unit;

    if (payment_read(body, &payment, &err) != ERR_NONE)
        return;
    notice_of_payment(&payment, &notice);
    outcome_shipment(1, &payment, &shipment, &unit);
    out_init(&o, NULL, 0, 4u * ORDER_MESSAGE_MAX);
    shipment_write(&shipment, &o);
    if (o.len <= ORDER_MESSAGE_MAX && shipment_read(checked(&o), &again, &err) != ERR_NONE)
        abort();
    out_free(&o);
}

static void try_shipment(struct span body)
{
    struct shipment shipment;
    struct notice notice;
    struct err err;

    if (shipment_read(body, &shipment, &err) == ERR_NONE)
        notice_of_shipment(&shipment, &notice);
}

/* Our reader takes nothing for JSON that others do not. */
static void try_json(struct span body)
{
    struct scan in;

    scan_begin(&in, body.at, body.len);
    (void)scan_skip(&in);
    if (scan_end(&in) && !is_json(body))
        abort();
}

static void try_texts(struct span body)
{
    struct trace trace;
    char text[64];
    char parent[TRACE_PARENT_TEXT];
    int64_t us;

    if (trace_parse(body.at, body.len, &trace)) {
        trace_format(&trace, parent);
        if (!trace_parse(parent, strlen(parent), &trace))
            abort();
    }
    if (body.len >= sizeof text)
        return;
    memcpy(text, body.at, body.len);
    text[body.len] = '\0';
    if (when_parse(text, &us)) {
        char again[WHEN_TEXT];
        int64_t same;
        when_format(us, again);
        if (!when_parse(again, &same) || same != us)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span body;

    if (size == 0)
        return 0;
    body = (struct span){(const char *)data + 1, size - 1};
    switch (data[0]) {
    case 'o':
        try_order(body);
        break;
    case 'p':
        try_payment(body);
        break;
    case 's':
        try_shipment(body);
        break;
    case 'j':
        try_json(body);
        break;
    default:
        try_texts(body);
        break;
    }
    return 0;
}
