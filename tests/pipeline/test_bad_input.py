"""Messages that nobody should send: each is dead-lettered with the reason, and the consumer goes on."""

import json

from broker import wait_until
from case import ITEMS, order, run

BAD = {
    "no JSON": (b"hello", "no valid JSON message: byte 0: expected an object"),
    "nothing": (b"", "no valid JSON message: byte 0: expected an object"),
    "cut": (json.dumps(order()).encode()[:60], "a string that does not end"),
    "binary": (bytes(range(256)), "no valid JSON message"),
    "not UTF-8": (b'{"order_id":"\xff"}', "order_id: byte 13: a string that is not UTF-8"),
    "no id": (order(None), "order_id is missing"),
    "no items": (order(items=[]), "items: byte"),
    "no amount": (order(total_amount=None), "total_amount is missing"),
    "negative": (order(total_amount=-5), "is negative"),
    "negative price": (order(items=[{**ITEMS[0], "price": -1}]), "price that is negative"),
    "of tomorrow": (order(version=2), "version 2 is not known here; version 1 is"),
    "text for a number": (order(total_amount="1"), "total_amount: byte"),
    "injection": (order(customer_email="a@b.c\r\nBcc: x@y.z"), "a control character"),
    "deep": (b"[" * 100000, "has 100000 bytes; at most 65536 are read"),
    "deep but short": (b'{"x":' + b"[" * 60000, "nests deeper than 16 levels"),
    "10 MB": (b'{"order_id":"' + b"x" * (10 << 20) + b'"}', "bytes; at most 65536 are read"),
}


def each_is_dead_lettered_with_its_reason(case):
    service = case.start("payment-service", PREFETCH=5)
    for name, (body, _) in BAD.items():
        case.publish(body, message_id=name)
    case.publish(order("good"))
    case.wait_count("dead_letter_queue", len(BAD), seconds=60)
    for name, (body, reason) in BAD.items():
        properties, dead = case.get("dead_letter_queue")
        assert properties.message_id == name, (properties.message_id, name)
        headers = properties.headers
        assert reason in headers["x-dead-letter-reason"], (name, headers)
        assert headers["x-dead-letter-queue"] == "payment_processor_queue"
        assert headers["x-dead-letter-service"] == "payment-service"
        assert headers["x-dead-letter-time"].startswith("20")
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        assert dead == sent, name
        service.wait_logged("message refused", message_id=name)
    wait_until(lambda: service.metric("payments_processed_total") == 1, 30, "the good order")
    assert case.count("payment_processor_queue") == 0
    assert service.metric("messages_dead_lettered_total") == len(BAD)
    assert len(service.logged("connected to RabbitMQ")) == 1  # it never stumbled


def so_do_the_other_services(case):
    case.start("fulfillment-service")
    case.start("notification-service")
    payment = {
        "order_id": "1", "status": "maybe", "amount": 1, "txn_id": "T", "method": "paypal",
        "customer_email": "a@b.c", "items": ITEMS, "ordered_at": "2026-01-31T09:30:00Z",
    }  # fmt: skip
    case.publish(payment, exchange="payments", message_id="p")
    case.publish({"order_id": "1"}, exchange="shipments", message_id="s")
    case.publish([], exchange="orders", message_id="o")
    refused = {}
    for _ in range(4):
        properties, _ = case.get("dead_letter_queue")
        queue = properties.headers["x-dead-letter-queue"]
        refused[queue] = properties.headers["x-dead-letter-reason"]
    assert refused["fulfillment_processor_queue"] == "status must be success or failed"
    assert refused["notifications_payments_queue"] == "status must be success or failed"
    assert refused["notifications_shipments_queue"] == "tracking_number is missing"
    assert refused["notifications_orders_queue"].startswith("no valid JSON message")


def what_is_beyond_keeping_is_moved_by_the_broker(case):
    service = case.start("payment-service")
    case.publish(b"x" * (33 << 20), message_id="huge")
    properties, body = case.get("dead_letter_queue", seconds=60)
    assert properties.headers["x-death"][0]["reason"] == "rejected"
    assert properties.message_id == "huge" and len(body) == 33 << 20
    service.wait_logged("message refused", reason="the body is longer than 32 MiB")
    case.publish(order())
    wait_until(lambda: service.metric("payments_processed_total") == 1, 30, "the good order")


def long_headers_end_no_connection(case):
    """They come in one frame, as long as RabbitMQ lets a publisher make it."""
    service = case.start("payment-service", SUCCESS_RATE=1)
    padding = {"padding": "x" * 130000}
    case.publish(b"hello", message_id="long", headers=padding)
    case.publish(order("L-1"), headers=padding)
    properties, _ = case.get("dead_letter_queue")
    assert properties.message_id == "long"
    service.wait_logged("payment succeeded", order_id="L-1")
    assert len(service.logged("connected to RabbitMQ")) == 1


def a_traceparent_that_is_none_begins_a_trace(case):
    service = case.start("payment-service", SUCCESS_RATE=1)
    for number, header in enumerate(("nonsense", 7, {"a": 1}, "00-" + "0" * 32 + "-1-01")):
        case.publish(order(f"T-{number}"), headers={"traceparent": header})
        line = service.wait_logged("payment succeeded", order_id=f"T-{number}")[0]
        assert len(line["trace_id"]) == 32 and line["trace_id"].strip("0")


run(
    each_is_dead_lettered_with_its_reason,
    so_do_the_other_services,
    what_is_beyond_keeping_is_moved_by_the_broker,
    long_headers_end_no_connection,
    a_traceparent_that_is_none_begins_a_trace,
)
