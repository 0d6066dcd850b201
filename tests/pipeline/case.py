"""What the tests of the pipeline share: the broker of the test run, a client, a clean start."""

import json
import os
import shutil
import sys
import tempfile
import traceback

import pika

from broker import Broker, wait_until
from services import QUEUES, Service

EXCHANGES = ("orders", "payments", "shipments", "dead_letters")
ITEMS = [{"product_id": "P001", "name": "Laptop", "quantity": 2, "price": 999.99}]


def order(order_id="17", **changes):
    message = {
        "version": 1, "order_id": order_id, "customer_email": "alice@example.com", "items": ITEMS,
        "total_amount": 1999.98, "created_at": "2026-01-31T09:30:00.000000Z",
    }  # fmt: skip
    message.update(changes)
    return {key: value for key, value in message.items() if value is not None}


class Case:
    """One test: queues that are empty, programs that end with it."""

    def __init__(self, programs, broker):
        self.programs, self.broker = programs, broker
        self.folder = tempfile.mkdtemp(prefix="covey-pipeline-")
        self.services = []
        self.connection = None
        for queue in QUEUES + ("dead_letter_queue", "seen"):
            self.channel().queue_delete(queue)
        for exchange in EXCHANGES:
            self.channel().exchange_delete(exchange)

    def channel(self):
        if self.connection is None or self.connection.is_closed:
            self.connection = pika.BlockingConnection(
                pika.ConnectionParameters(
                    "127.0.0.1", self.broker.port, heartbeat=0,
                    credentials=pika.PlainCredentials(self.broker.user, self.broker.password),
                )
            )  # fmt: skip
            self.channel_ = self.connection.channel()
        if self.channel_.is_closed:
            self.channel_ = self.connection.channel()
        return self.channel_

    def start(self, name, wait=True, **variables):
        variables = {"DELAY_MIN": 0, "DELAY_MAX": 0, "SHUTDOWN_TIMEOUT": 5, **variables}
        label = f"{name}-{len(self.services)}"
        service = Service(self.programs, name, self.folder, self.broker, label=label, **variables)
        self.services.append(service)
        return service.start(wait)

    def see(self, exchange):
        """From now on what is published there is kept for seen()."""
        self.channel().queue_declare("seen", durable=True)
        self.channel().queue_bind("seen", exchange)

    def publish(self, body, exchange="orders", routing_key="", **properties):
        if not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        self.channel().basic_publish(
            exchange, routing_key, body, pika.BasicProperties(delivery_mode=2, **properties)
        )

    def get(self, queue, seconds=30):
        """The next message: its properties and body."""

        def taken():
            method, properties, body = self.channel().basic_get(queue, auto_ack=True)
            return (properties, body) if method else None

        return wait_until(taken, seconds, f"a message in {queue}")

    def count(self, queue):
        """Messages that wait there."""
        return self.channel().queue_declare(queue, passive=True).method.message_count

    def wait_count(self, queue, count, seconds=30):
        wait_until(lambda: self.count(queue) == count, seconds, f"{count} messages in {queue}")

    def close(self):
        for service in self.services:
            service.end()
        self.connection.close()


def run(*tests):
    """Runs the functions; each gets a Case. Ends the program."""
    programs, folder = sys.argv[1:3]
    broker = Broker(folder)
    failed = []
    for test in tests:
        case = Case(programs, broker)
        try:
            test(case)
            shutil.rmtree(case.folder)
            print(f"ok      {test.__name__}", flush=True)
        except Exception:
            failed.append(test.__name__)
            traceback.print_exc()
            print(f"FAILED  {test.__name__}; logs in {case.folder}", flush=True)
            for name in sorted(os.listdir(case.folder)):
                with open(os.path.join(case.folder, name), encoding="utf-8", errors="replace") as f:
                    print(f"--- {name}\n" + "".join(f.readlines()[-15:]))
        finally:
            case.close()
    sys.exit(1 if failed else 0)
