/* Messages of the order pipeline, what becomes of an order, and the proof that none was lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "workloads/orders/notice.h"
#include "workloads/orders/order.h"
#include "workloads/orders/outcome.h"
#include "workloads/orders/verify.h"

#define ITEMS "[{\"name\":\"Laptop\",\"quantity\":2,\"price\":999.99}]"
#define REST                                                                                       \
    "\"customer_email\":\"a@b.c\",\"items\":" ITEMS                                                \
    ",\"total_amount\":1999.98,\"created_at\":\"2026-01-31T09:30:00Z\"}"
#define ORDER_17 "{\"order_id\":\"17\"," REST

static struct span span(const char *text)
{
    return (struct span){text, strlen(text)};
}

static struct span written(const struct out *o)
{
    assert_false(o->failed);
    return (struct span){o->data, o->len};
}

static void an_order_is_read_and_written(void **state)
{
    char storage[1024];
    struct order order;
    struct order again;
    struct out o;
    struct err err;
    (void)state;

    assert_int_equal(order_read(span(ORDER_17), &order, &err), ERR_NONE);
    assert_string_equal(order.order_id, "17");
    assert_int_equal(order.total_cents, 199998);
    assert_int_equal(order.created_us, INT64_C(1769851800000000));
    assert_int_equal(order.items.count, 1);
    assert_true(span_is(order.items.json, ITEMS));
    out_init(&o, storage, sizeof storage, 0);
    order_write(&order, &o);
    assert_int_equal(order_read(written(&o), &again, &err), ERR_NONE);
    assert_int_equal(again.total_cents, order.total_cents);
    assert_int_equal(again.created_us, order.created_us);
    assert_true(span_is(again.items.json, ITEMS));
}

static void what_is_wrong_with_an_order_is_said(void **state)
{
    static const struct {
        const char *body;
        int code;
        const char *text;
    } cases[] = {
        {"", ERR_INVALID, "no valid JSON message: byte 0: expected an object"},
        {"hello", ERR_INVALID, "no valid JSON message: byte 0: expected an object"},
        {"[]", ERR_INVALID, "no valid JSON message: byte 0: expected an object"},
        {"{}", ERR_INVALID, "order_id is missing"},
        {"{\"order_id\":17," REST, ERR_INVALID, "order_id: byte 12: expected a string"},
        {"{\"order_id\":\"\"," REST, ERR_INVALID,
         "order_id: byte 14: must be letters, digits, '-', '_' and '.'"},
        {"{\"order_id\":\"1\\n2\"," REST, ERR_INVALID,
         "order_id: byte 18: a control character in a string"},
        {"{\"order_id\":\"1\",\"order_id\":\"2\"," REST, ERR_INVALID, "order_id is there twice"},
        {"{\"version\":2,\"order_id\":\"1\"," REST, ERR_VERSION,
         "version 2 is not known here; version 1 is"},
        {"{\"version\":\"1\",\"order_id\":\"1\"," REST, ERR_INVALID,
         "version: byte 11: expected a number"},
        {"{\"order_id\":\"1\",\"x\":nul," REST, ERR_INVALID,
         "no valid JSON message: byte 20: expected a value"},
        {"{\"order_id\":\"1\",\"customer_email\":\"x\\\"@y\"}", ERR_INVALID,
         "customer_email: byte 40: must have the form name@domain"},
        {"{\"order_id\":\"1\",\"total_amount\":-5}", ERR_INVALID,
         "total_amount: byte 33: is negative"},
        {"{\"order_id\":\"1\",\"total_amount\":1e9}", ERR_INVALID,
         "total_amount: byte 34: a number with an exponent"},
        {"{\"order_id\":\"1\",\"total_amount\":99999999999999}", ERR_INVALID,
         "total_amount: byte 45: a number that is too large"},
        {"{\"order_id\":\"1\",\"items\":[]}", ERR_INVALID, "items: byte 26: there are no items"},
        {"{\"order_id\":\"1\",\"items\":[{\"name\":\"x\",\"quantity\":0,\"price\":1}]}",
         ERR_INVALID, "items: byte 49: an item has a quantity that is not from 1 to 1000000"},
        {"{\"order_id\":\"1\",\"items\":[{\"name\":\"x\",\"quantity\":1,\"price\":-1}]}",
         ERR_INVALID, "items: byte 60: an item has a price that is negative or too high"},
        {"{\"order_id\":\"1\",\"items\":[{\"name\":\"x\",\"quantity\":1}]}", ERR_INVALID,
         "items: byte 50: an item lacks name, quantity or price"},
        {ORDER_17 "x", ERR_INVALID, "no valid JSON message: byte 157: more text behind the end"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct order order;
        struct err err = {0};
        int rc = order_read(span(cases[i].body), &order, &err);
        if (rc != cases[i].code || strcmp(err.text, cases[i].text) != 0)
            fail_msg("%s\n gives %s: %s\n not %s", cases[i].body, err_name(rc), err.text,
                     cases[i].text);
    }
}

static void a_message_that_is_too_long_is_not_read(void **state)
{
    static char body[ORDER_MESSAGE_MAX + 1];
    struct order order;
    struct err err;
    (void)state;

    memset(body, ' ', sizeof body);
    assert_int_equal(order_read((struct span){body, sizeof body}, &order, &err), ERR_LIMIT);
    assert_string_equal(err.text, "has 65537 bytes; at most 65536 are read");
}

static void a_payment_says_why_it_failed_and_only_then(void **state)
{
    static const char rest[] =
        ",\"amount\":1,\"txn_id\":\"T\",\"method\":\"paypal\","
        "\"customer_email\":\"a@b.c\",\"items\":" ITEMS ",\"ordered_at\":\"2026-01-31T09:30:00Z\"}";
    static const char *const heads[] = {
        "{\"order_id\":\"1\",\"status\":\"success\"",
        "{\"order_id\":\"1\",\"status\":\"failed\",\"failure_reason\":\"card_expired\"",
        "{\"order_id\":\"1\",\"status\":\"failed\"",
        "{\"order_id\":\"1\",\"status\":\"success\",\"failure_reason\":\"card_expired\"",
        "{\"order_id\":\"1\",\"status\":\"pending\"",
    };
    (void)state;

    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        char body[512];
        struct payment payment;
        struct err err;
        strcpy(body, heads[i]);
        strcat(body, rest);
        assert_int_equal(payment_read(span(body), &payment, &err), i < 2 ? ERR_NONE : ERR_INVALID);
    }
}

/* The bytes of the payment and the shipment for order @n. */
static void outcome(int n, double rate, struct out *payment_out, struct out *shipment_out,
                    bool *paid)
{
    char items[] = ITEMS;
    struct order order = {
        .customer_email = "a@b.c", .total_cents = 199998, .items = {span(items), 1}};
    struct payment payment;
    struct payment read;
    struct shipment shipment;
    struct shipment shipment_read_back;
    struct err err;
    double unit;

    snprintf(order.order_id, sizeof order.order_id, "order-%d", n);
    order.created_us = INT64_C(1769851800123456) + n;
    outcome_payment(7, rate, &order, &payment, &unit);
    assert_true(unit >= 0 && unit < 1);
    out_reset(payment_out);
    payment_write(&payment, payment_out);
    assert_int_equal(payment_read(written(payment_out), &read, &err), ERR_NONE);
    *paid = payment.success;
    out_reset(shipment_out);
    if (!payment.success)
        return;
    outcome_shipment(7, &read, &shipment, &unit);
    shipment_write(&shipment, shipment_out);
    assert_int_equal(shipment_read(written(shipment_out), &shipment_read_back, &err), ERR_NONE);
    assert_string_equal(shipment_read_back.tracking_number, shipment.tracking_number);
}

static void an_order_always_comes_to_the_same_end(void **state)
{
    char storage[4][2048];
    struct out first[2];
    struct out second[2];
    int succeeded = 0;
    (void)state;

    for (int i = 0; i < 2; i++) {
        out_init(&first[i], storage[i], sizeof storage[i], 0);
        out_init(&second[i], storage[2 + i], sizeof storage[2 + i], 0);
    }
    for (int n = 0; n < 2000; n++) {
        bool paid;
        bool paid_again;
        outcome(n, 0.9, &first[0], &first[1], &paid);
        outcome(n, 0.9, &second[0], &second[1], &paid_again);
        assert_int_equal(first[0].len, second[0].len);
        assert_memory_equal(first[0].data, second[0].data, first[0].len);
        assert_int_equal(first[1].len, second[1].len);
        assert_memory_equal(first[1].data, second[1].data, first[1].len);
        succeeded += paid;
    }
    assert_in_range(succeeded, 1740, 1860); /* 90 %, and more than four deviations to either side */
    for (int n = 0; n < 100; n++) {
        bool paid;
        outcome(n, 1, &first[0], &first[1], &paid);
        assert_true(paid);
        outcome(n, 0, &first[0], &first[1], &paid);
        assert_false(paid);
    }
}

static void the_tracking_number_comes_of_the_order(void **state)
{
    struct payment payment = {.order_id = "17", .ordered_us = INT64_C(1769851800999999)};
    struct shipment shipment;
    double unit;
    (void)state;

    outcome_shipment(0, &payment, &shipment, &unit);
    assert_string_equal(shipment.tracking_number, "TRACK-17-1769851800");
    assert_true(strcmp(shipment.est_delivery, "2026-02-02") >= 0);
    assert_true(strcmp(shipment.est_delivery, "2026-02-07") <= 0);
}

static void customers_are_told_in_these_words(void **state)
{
    const struct order order = {.order_id = "17", .total_cents = 199905};
    const struct payment paid = {.order_id = "17", .success = true};
    const struct payment failed = {.order_id = "17", .failure_reason = "card_expired"};
    const struct shipment shipment = {.order_id = "17", .tracking_number = "TRACK-17-1"};
    struct notice notice;
    (void)state;

    notice_of_order(&order, &notice);
    assert_string_equal(notice.text, "Order #17 received - €1999.05");
    assert_string_equal(notice.id, "order_confirmation-17");
    notice_of_payment(&paid, &notice);
    assert_string_equal(notice.text, "Payment successful for order #17");
    notice_of_payment(&failed, &notice);
    assert_string_equal(notice.text, "Payment failed: card_expired");
    assert_string_equal(notice.id, "payment_failed-17");
    notice_of_shipment(&shipment, &notice);
    assert_string_equal(notice.text, "Order shipped! Track: TRACK-17-1");
}

/* --- The proof ------------------------------------------------------------------------------- */

struct story {
    struct verify *verify;
    char *payment;
    char *shipment;
    char complaint[256];
};

static void remember(void *context, const char *text)
{
    struct story *story = context;
    if (story->complaint[0] == '\0')
        strncpy(story->complaint, text, sizeof story->complaint - 1);
}

static void tell(struct story *story, enum verify_kind kind, const char *id, const char *body)
{
    struct err err;
    assert_int_equal(verify_message(story->verify, kind, span(id), span(body), &err), ERR_NONE);
}

static void tell_log(struct story *story, const char *type, const char *text)
{
    char line[512];
    struct err err;

    snprintf(line, sizeof line,
             "{\"message\":\"notification sent\",\"order_id\":\"17\",\"notification_id\":\"%s-17\","
             "\"type\":\"%s\",\"text\":\"%s\"}\n",
             type, type, text);
    assert_int_equal(verify_log_line(story->verify, span(line), &err), ERR_NONE);
}

/* Order 17 as it should go, without the messages whose number is in @but. */
static void begin(struct story *story, unsigned but)
{
    static char payment[1024];
    static char shipment[1024];
    struct order order;
    struct payment paid;
    struct shipment shipped;
    struct out o;
    struct err err;
    double unit;

    memset(story, 0, sizeof *story);
    assert_int_equal(verify_new(&story->verify, &err), ERR_NONE);
    assert_int_equal(order_read(span(ORDER_17), &order, &err), ERR_NONE);
    outcome_payment(0, 1, &order, &paid, &unit);
    outcome_shipment(0, &paid, &shipped, &unit);
    out_init(&o, payment, sizeof payment, 0);
    payment_write(&paid, &o);
    out_char(&o, '\0');
    out_init(&o, shipment, sizeof shipment, 0);
    shipment_write(&shipped, &o);
    out_char(&o, '\0');
    story->payment = payment;
    story->shipment = shipment;
    if (but != 1)
        tell(story, VERIFY_ORDER, "order-17", ORDER_17);
    if (but != 2)
        tell(story, VERIFY_PAYMENT, "payment-17", payment);
    if (but != 3)
        tell(story, VERIFY_SHIPMENT, "shipment-17", shipment);
    if (but != 4)
        tell_log(story, "order_confirmation", "a");
    if (but != 5)
        tell_log(story, "payment_success", "b");
    if (but != 6)
        tell_log(story, "shipment_notification", "c");
}

static bool end(struct story *story, struct verify_counts *counts)
{
    bool holds = verify_judge(story->verify, counts, remember, story);
    verify_free(story->verify);
    return holds;
}

static void without_a_log_notifications_are_not_judged(void **state)
{
    struct verify_counts counts;
    struct story story;
    (void)state;

    begin(&story, 6);
    verify_without_log(story.verify);
    assert_true(end(&story, &counts));
    begin(&story, 2);
    verify_without_log(story.verify);
    assert_false(end(&story, &counts)); /* its payment is lost all the same */
    assert_int_equal(counts.lost, 1);
}

static void repeats_that_are_the_same_prove_nothing_wrong(void **state)
{
    struct verify_counts counts;
    struct story story;
    (void)state;

    begin(&story, 0);
    tell(&story, VERIFY_ORDER, "order-17", ORDER_17);
    tell(&story, VERIFY_PAYMENT, "payment-17", story.payment);
    tell(&story, VERIFY_SHIPMENT, "shipment-17", story.shipment);
    tell_log(&story, "payment_success", "b");
    assert_true(end(&story, &counts));
    assert_int_equal(counts.distinct[VERIFY_PAYMENT], 1);
    assert_int_equal(counts.messages[VERIFY_PAYMENT], 2);
    assert_int_equal(counts.paid, 1);
    assert_string_equal(story.complaint, "");
}

static void what_is_missing_is_seen(void **state)
{
    static const char *const complaints[] = {
        "order 17 has a payment and was never published",
        "order 17 was lost: it has no payment",
        "order 17 was lost: it was paid and not shipped",
        "order 17: order_confirmation was never sent",
        "order 17: payment_success was never sent",
        "order 17: shipment_notification was never sent",
    };
    (void)state;

    for (unsigned but = 1; but <= 6; but++) {
        struct verify_counts counts;
        struct story story;
        begin(&story, but);
        assert_false(end(&story, &counts));
        assert_string_equal(story.complaint, complaints[but - 1]);
        assert_int_equal(counts.lost > 0, but == 2 || but == 3);
    }
}

static void what_is_there_twice_and_differs_is_seen(void **state)
{
    struct verify_counts counts;
    struct story story;
    char other[1024];
    (void)state;

    begin(&story, 0);
    strcpy(other, story.payment);
    memcpy(strstr(other, "TXN-") + 4, "0000", 4);
    tell(&story, VERIFY_PAYMENT, "payment-17", other);
    assert_false(end(&story, &counts));
    assert_int_equal(counts.twice, 1);
    begin(&story, 0); /* the same bytes under another id */
    tell(&story, VERIFY_SHIPMENT, "shipment-18", story.shipment);
    assert_false(end(&story, &counts));
    assert_int_equal(counts.twice, 1);
    begin(&story, 0);
    tell(&story, VERIFY_SHIPMENT, "x", "nonsense");
    assert_false(end(&story, &counts));
    assert_int_equal(counts.wrong, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_order_is_read_and_written),
        cmocka_unit_test(what_is_wrong_with_an_order_is_said),
        cmocka_unit_test(a_message_that_is_too_long_is_not_read),
        cmocka_unit_test(a_payment_says_why_it_failed_and_only_then),
        cmocka_unit_test(an_order_always_comes_to_the_same_end),
        cmocka_unit_test(the_tracking_number_comes_of_the_order),
        cmocka_unit_test(customers_are_told_in_these_words),
        cmocka_unit_test(without_a_log_notifications_are_not_judged),
        cmocka_unit_test(repeats_that_are_the_same_prove_nothing_wrong),
        cmocka_unit_test(what_is_missing_is_seen),
        cmocka_unit_test(what_is_there_twice_and_differs_is_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
