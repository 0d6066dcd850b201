"""An order's way from end to end: contents, headers, metrics, redelivery, delays, the outbox."""

import json
import os
import re
import signal

from broker import wait_until
from case import order, run
from services import orderctl

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def all_of_it(case, **variables):
    return {
        name: case.start(name, **variables)
        for name in ("payment-service", "fulfillment-service", "notification-service")
    }


def an_order_is_paid_shipped_and_told(case):
    services = all_of_it(case, SUCCESS_RATE=1)
    case.see("shipments")
    case.publish(order("A-1"), message_id="order-A-1", headers={"traceparent": PARENT})
    properties, body = case.get("seen")
    shipment = json.loads(body)
    assert shipment["tracking_number"] == "TRACK-A-1-1769851800", shipment
    assert shipment["carrier"] in ("DHL", "FedEx", "UPS", "USPS")
    assert "2026-02-02" <= shipment["est_delivery"] <= "2026-02-07"
    assert properties.message_id == "shipment-A-1" and properties.delivery_mode == 2
    # The trace goes on, in new spans; the log has it with the order.
    version, trace, span, flags = properties.headers["traceparent"].split("-")
    assert (version, trace, flags) == ("00", PARENT.split("-")[1], "01")
    assert span != PARENT.split("-")[2]
    paid = services["payment-service"].wait_logged("payment succeeded", order_id="A-1")[0]
    assert paid["trace_id"] == trace and re.fullmatch("TXN-[0-9A-F]{32}", paid["txn_id"])
    told = services["notification-service"]
    wait_until(lambda: len(told.logged("notification sent")) == 3, 30, "three notifications")
    assert {line["text"] for line in told.logged("notification sent")} == {
        "Order #A-1 received - €1999.98",
        "Payment successful for order #A-1",
        "Order shipped! Track: TRACK-A-1-1769851800",
    }
    for kind, topic in (("order_confirmation", "orders"), ("payment_success", "payments"),
                        ("shipment_notification", "shipments")):  # fmt: skip
        name = f'notifications_sent_total{{type="{kind}",topic="{topic}"}}'
        assert f"{name} 1\n" in told.get("/metrics")[1], kind
    assert services["payment-service"].metric('payments_processed_total{status="success"}') == 1
    assert services["payment-service"].metric('payment_amount_total{status="success"}') == 1999.98
    assert services["fulfillment-service"].metric("shipments_created_total") == 1
    wait_until(lambda: services["payment-service"].metric("messages_published_total") == 1, 10,
               "the count of confirmed messages")  # fmt: skip
    for service in services.values():
        assert service.stop() == 0


def a_payment_that_fails_is_told_and_not_shipped(case):
    services = all_of_it(case, SUCCESS_RATE=0)
    case.see("shipments")
    case.publish(order("F-1"))
    skipped = services["fulfillment-service"].wait_logged("skipped: the payment failed")[0]
    assert skipped["order_id"] == "F-1"
    told = services["notification-service"].wait_logged(
        "notification sent", type="payment_failed"
    )[0]
    assert told["text"] == "Payment failed: " + skipped["failure_reason"]
    assert skipped["failure_reason"] in (
        "insufficient_funds", "card_expired", "fraud_detected", "network_error",
    )  # fmt: skip
    case.wait_count("fulfillment_processor_queue", 0)
    assert case.count("seen") == 0


def a_repeat_is_the_same_to_the_last_byte(case):
    case.start("payment-service")
    case.start("payment-service", PREFETCH=10)
    case.see("payments")
    for _ in range(6):
        case.publish(order("R-1"), message_id="order-R-1", headers={"traceparent": PARENT})
    seen = [case.get("seen") for _ in range(6)]
    assert len({body for _, body in seen}) == 1
    assert {properties.message_id for properties, _ in seen} == {"payment-R-1"}
    assert len({json.dumps(properties.headers) for properties, _ in seen}) == 1


def who_is_killed_at_work_leaves_the_order_to_another(case):
    first = case.start("payment-service", DELAY_MIN=600, DELAY_MAX=600)
    case.publish(order("K-1"))
    wait_until(lambda: first.metric("messages_delivered_total") == 1, 30, "the delivery")
    second = case.start("payment-service")
    assert second.metric("messages_delivered_total") == 0
    first.kill()
    wait_until(lambda: second.metric("payments_processed_total") == 1, 30, "the payment")
    wait_until(lambda: [line for line in second.lines() if line.get("redelivered") is True], 10,
               "the word that it was redelivered")  # fmt: skip


def delays_are_kept_and_run_side_by_side(case):
    service = case.start("payment-service", DELAY_MIN=0.5, DELAY_MAX=0.5, PREFETCH=10)
    for number in range(10):
        case.publish(order(f"D-{number}"))
    wait_until(lambda: service.metric("payments_processed_total") == 10, 60, "ten payments")
    total = service.metric("payment_processing_duration_seconds_sum")
    assert total >= 5, total  # each took half a second at least

    def finished():
        lines = service.lines()
        return [line["order_id"] for line in lines if line["message"].startswith("payment ")]

    wait_until(lambda: len(finished()) == 10, 30, "ten lines")
    done = finished()
    assert done == [f"D-{number}" for number in range(10)], done


def a_stop_leaves_what_is_not_done(case):
    service = case.start("payment-service", DELAY_MIN=600, DELAY_MAX=600, PREFETCH=5)
    for number in range(3):
        case.publish(order(f"S-{number}"))
    wait_until(lambda: service.metric("messages_delivered_total") == 3, 30, "the deliveries")
    assert service.stop() == 0
    case.wait_count("payment_processor_queue", 3)


def the_outbox_outlives_the_generator(case):
    outbox = os.path.join(case.folder, "outbox")
    ways = {"OUTBOX": outbox, "SEED": 5, "ORDER_COUNT": 40, "INTERVAL_MIN": 0.05,
            "INTERVAL_MAX": 0.1}  # fmt: skip
    generator = case.start("order-generator", **ways)
    case.see("orders")
    for _ in range(4):
        wait_until(lambda: generator.metric("orders_generated_total") >= 4, 30, "orders")
        generator.kill()
        generator.start()
    assert generator.process.wait(60) == 0
    assert generator.logged("stopped")
    bodies = {}
    while case.count("seen"):
        properties, body = case.get("seen")
        assert bodies.setdefault(properties.message_id, body) == body
        assert properties.message_id == "order-" + json.loads(body)["order_id"]
    assert len(bodies) == 40, len(bodies)
    for body in bodies.values():
        said = json.loads(body)
        assert 1 <= len(said["items"]) <= 3
        total = sum(round(100 * item["price"]) * item["quantity"] for item in said["items"])
        assert total == round(100 * said["total_amount"]), said
    with open(outbox, "w", encoding="utf-8") as file:
        file.write("something else\n")
    generator.start(wait=False)
    assert generator.process.wait(30) == 1
    with open(generator.errors, encoding="utf-8") as file:
        assert "is no outbox of orders" in file.read()


def orders_that_flow_are_proved(case):
    orderctl(case.programs, case.broker, "tap", "start")
    services = all_of_it(case, PREFETCH=20)
    generator = case.start(
        "order-generator", wait=False, ORDER_COUNT=300, INTERVAL_MIN=0, INTERVAL_MAX=0
    )
    assert generator.process.wait(60) == 0
    told = services["notification-service"]
    wait_until(lambda: told.metric("notifications_sent_total") >= 600 and
               told.metric("notifications_sent_total") ==
               600 + services["fulfillment-service"].metric("shipments_created_total"), 60,
               "all notifications")  # fmt: skip
    for service in services.values():
        service.stop()
    output = orderctl(case.programs, case.broker, "check", "--notifications", told.log)
    assert "PROVED" in output and "300 distinct" in output, output
    # A payment that differs is found out.
    case.publish(
        {"order_id": "X", "status": "failed", "failure_reason": "card_expired", "amount": 1,
         "txn_id": "T", "method": "paypal", "customer_email": "a@b.c", "ordered_at":
         "2026-01-31T09:30:00Z", "items": order()["items"]}, exchange="payments",
    )  # fmt: skip
    case.channel().queue_purge("fulfillment_processor_queue")
    case.channel().queue_purge("notifications_payments_queue")
    output = orderctl(
        case.programs, case.broker, "check", "--notifications", told.log, check=False
    )
    assert "order X has a payment and was never published" in output, output
    assert "PROVED" not in output
    orderctl(case.programs, case.broker, "tap", "stop")


def sigint_ends_it_too(case):
    service = case.start("notification-service")
    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(30) == 0


run(
    an_order_is_paid_shipped_and_told,
    a_payment_that_fails_is_told_and_not_shipped,
    a_repeat_is_the_same_to_the_last_byte,
    who_is_killed_at_work_leaves_the_order_to_another,
    delays_are_kept_and_run_side_by_side,
    a_stop_leaves_what_is_not_done,
    the_outbox_outlives_the_generator,
    orders_that_flow_are_proved,
    sigint_ends_it_too,
)
