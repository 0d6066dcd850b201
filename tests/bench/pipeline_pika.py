"""The four services of the order pipeline as one writes them in Python: pika's BlockingConnection,
prometheus_client, json, the standard log; a result is published without confirmation and its order
acknowledged behind it. The peer of tests/bench/pipeline.

    pipeline_pika.py generator|payment|fulfillment|notification

Configured by the variables that the programs in C read."""

import json
import logging
import os
import random
import sys
import threading
import time
import uuid
from datetime import datetime, timedelta, timezone

import pika
from prometheus_client import Counter, Histogram, start_http_server


def env(name, default, kind=float):
    return kind(os.environ.get(name, default))


PREFETCH = env("PREFETCH", 1, int)
DELAY = env("DELAY_MIN", 0), env("DELAY_MAX", 0)
SUCCESS_RATE = env("SUCCESS_RATE", 0.9)
CUSTOMERS = [f"{name}@example.com" for name in ("alice", "bob", "charlie", "diana", "eve", "frank")]
PRODUCTS = [
    ("P001", "Laptop", 999.99), ("P002", "Smartphone", 799.99), ("P003", "Headphones", 149.99),
    ("P004", "Tablet", 499.99), ("P005", "Smartwatch", 299.99), ("P006", "Keyboard", 89.99),
    ("P007", "Mouse", 49.99), ("P008", "Monitor", 349.99),
]  # fmt: skip
METHODS = ["credit_card", "paypal", "bank_transfer"]
REASONS = ["insufficient_funds", "card_expired", "fraud_detected", "network_error"]
CARRIERS = ["DHL", "FedEx", "UPS", "USPS"]

logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
logging.getLogger("pika").setLevel(logging.WARNING)
log = logging.getLogger(sys.argv[1])


def connect():
    parameters = pika.ConnectionParameters(
        host=env("RABBITMQ_HOST", "127.0.0.1", str),
        port=env("RABBITMQ_PORT", 5672, int),
        heartbeat=600,
        credentials=pika.PlainCredentials(
            env("RABBITMQ_USER", "guest", str), env("RABBITMQ_PASSWORD", "guest", str)
        ),
    )
    for _ in range(10):
        try:
            return pika.BlockingConnection(parameters)
        except pika.exceptions.AMQPConnectionError:
            log.warning("RabbitMQ is not ready, trying again in 5 s")
            time.sleep(5)
    sys.exit("no connection to RabbitMQ")


def now():
    return datetime.now(timezone.utc)


def publish(channel, exchange, message):
    channel.basic_publish(
        exchange=exchange, routing_key="", body=json.dumps(message),
        properties=pika.BasicProperties(delivery_mode=2, content_type="application/json"),
    )  # fmt: skip


def consume(queue, exchange, handle, publishes_to=None):
    def on_message(channel, method, _properties, body):
        try:
            handle(channel, json.loads(body))
            channel.basic_ack(delivery_tag=method.delivery_tag)
        except Exception as error:
            log.error("refused: %s", error)
            channel.basic_nack(delivery_tag=method.delivery_tag, requeue=False)

    channel = connect().channel()
    for name in filter(None, (exchange, publishes_to)):
        channel.exchange_declare(exchange=name, exchange_type="fanout", durable=True)
    channel.queue_declare(queue=queue, durable=True)
    channel.queue_bind(exchange=exchange, queue=queue)
    channel.basic_qos(prefetch_count=PREFETCH)
    channel.basic_consume(queue=queue, on_message_callback=on_message)
    log.info("consuming %s", queue)
    channel.start_consuming()


def generator():
    count = env("ORDER_COUNT", 0, int)
    interval = env("INTERVAL_MIN", 10), env("INTERVAL_MAX", 20)
    batch = env("ORDERS_MIN", 1, int), env("ORDERS_MAX", 5, int)
    generated = Counter("orders_generated_total", "Orders")
    connection = connect()
    channel = connection.channel()
    channel.exchange_declare(exchange="orders", exchange_type="fanout", durable=True)
    sent = 0
    while count == 0 or sent < count:
        for _ in range(random.randint(*batch)):
            items = []
            for product, name, price in random.sample(PRODUCTS, random.randint(1, 3)):
                quantity = random.randint(1, 3)
                items.append({"product_id": product, "name": name, "quantity": quantity,
                              "price": price, "subtotal": round(price * quantity, 2)})  # fmt: skip
            order = {
                "order_id": str(uuid.uuid4()), "customer_email": random.choice(CUSTOMERS),
                "items": items, "total_amount": round(sum(i["subtotal"] for i in items), 2),
                "status": "pending", "created_at": now().isoformat(),
            }  # fmt: skip
            publish(channel, "orders", order)
            generated.inc()
            sent += 1
            log.info("order %s published", order["order_id"])
        if interval[1] > 0:
            connection.sleep(random.uniform(*interval))


def payment():
    processed = Counter("payments_processed_total", "Payments", ["status"])
    amount = Counter("payment_amount_total", "Amounts", ["status"])
    duration = Histogram("payment_processing_duration_seconds", "Duration")

    def handle(channel, order):
        log.info("processing the payment of order %s", order["order_id"])
        with duration.time():
            if DELAY[1] > 0:
                time.sleep(random.uniform(*DELAY))
            success = random.random() < SUCCESS_RATE
            result = {
                "order_id": order["order_id"], "status": "success" if success else "failed",
                "amount": order["total_amount"], "txn_id": str(uuid.uuid4()),
                "method": random.choice(METHODS), "customer_email": order["customer_email"],
                "items": order["items"], "ordered_at": order["created_at"],
                "processed_at": now().isoformat(),
            }  # fmt: skip
            if not success:
                result["failure_reason"] = random.choice(REASONS)
        publish(channel, "payments", result)
        processed.labels(status=result["status"]).inc()
        amount.labels(status=result["status"]).inc(result["amount"])
        log.info("payment of order %s: %s", result["order_id"], result["status"])

    consume("payment_processor_queue", "orders", handle, "payments")


def fulfillment():
    created = Counter("shipments_created_total", "Shipments")
    duration = Histogram("fulfillment_processing_duration_seconds", "Duration")

    def handle(channel, paid):
        if paid["status"] != "success":
            log.info("order %s is not shipped: its payment failed", paid["order_id"])
            return
        with duration.time():
            if DELAY[1] > 0:
                time.sleep(random.uniform(*DELAY))
            at = now()
            shipment = {
                "order_id": paid["order_id"],
                "tracking_number": f"TRACK-{paid['order_id']}-{int(at.timestamp())}",
                "carrier": random.choice(CARRIERS), "customer_email": paid["customer_email"],
                "est_delivery": (at + timedelta(days=random.randint(2, 7))).date().isoformat(),
                "items": paid["items"], "status": "shipped", "ordered_at": paid["ordered_at"],
            }  # fmt: skip
        publish(channel, "shipments", shipment)
        created.inc()
        log.info("shipment %s by %s", shipment["tracking_number"], shipment["carrier"])

    consume("fulfillment_processor_queue", "payments", handle, "shipments")


def notification():
    sent = Counter("notifications_sent_total", "Notifications", ["type", "topic"])

    def send(kind, topic, message, text, ordered_at):
        log.info("to %s: %s; ordered_at=%s at=%s", message["customer_email"], text, ordered_at,
                 now().isoformat())  # fmt: skip
        sent.labels(type=kind, topic=topic).inc()

    def order(_channel, message):
        text = f"Order #{message['order_id']} received - €{message['total_amount']}"
        send("order_confirmation", "orders", message, text, message["created_at"])

    def paid(_channel, message):
        if message["status"] == "success":
            text = f"Payment successful for order #{message['order_id']}"
            send("payment_success", "payments", message, text, message["ordered_at"])
        else:
            text = f"Payment failed: {message['failure_reason']}"
            send("payment_failed", "payments", message, text, message["ordered_at"])

    def shipped(_channel, message):
        text = f"Order shipped! Track: {message['tracking_number']}"
        send("shipment_notification", "shipments", message, text, message["ordered_at"])

    threads = [
        threading.Thread(target=consume, args=(f"notifications_{topic}_queue", topic, handle))
        for topic, handle in (("orders", order), ("payments", paid), ("shipments", shipped))
    ]
    for thread in threads:
        thread.start()


start_http_server(env("PORT", 0, int), addr="127.0.0.1")
{"generator": generator, "payment": payment, "fulfillment": fulfillment,
 "notification": notification}[sys.argv[1]]()  # fmt: skip
