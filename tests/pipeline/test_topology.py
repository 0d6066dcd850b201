"""What the programs declare, whichever starts first."""

from broker import wait_until
from case import EXCHANGES, order, run
from services import QUEUES

BINDINGS = {
    ("orders", "payment_processor_queue"),
    ("orders", "notifications_orders_queue"),
    ("payments", "fulfillment_processor_queue"),
    ("payments", "notifications_payments_queue"),
    ("shipments", "notifications_shipments_queue"),
    ("dead_letters", "dead_letter_queue"),
}


def rows(case, *arguments):
    output = case.broker.control(*arguments, "--no-table-headers")
    return {tuple(line.split("\t")) for line in output.splitlines() if "\t" in line}


def the_generator_alone_declares_everything(case):
    case.start("order-generator", ORDER_COUNT=1, INTERVAL_MIN=0, INTERVAL_MAX=0, wait=False)
    assert case.services[0].process.wait(60) == 0
    exchanges = {row for row in rows(case, "list_exchanges", "name", "type", "durable")}
    for name in EXCHANGES:
        assert (name, "fanout", "true") in exchanges, exchanges
    bindings = rows(case, "list_bindings", "source_name", "destination_name")
    assert {row for row in bindings if row[0]} == BINDINGS, bindings
    queues = dict(rows(case, "list_queues", "name", "durable"))
    assert {queues[name] for name in QUEUES + ("dead_letter_queue",)} == {"true"}, queues
    # The order waits where it is wanted, although nobody has consumed yet.
    assert case.count("payment_processor_queue") == 1
    assert case.count("notifications_orders_queue") == 1
    properties, _ = case.get("payment_processor_queue")
    assert properties.delivery_mode == 2
    assert properties.message_id.startswith("order-")
    assert properties.content_type == "application/json"


def queues_of_earlier_days_are_taken_as_they_are(case):
    case.channel().exchange_declare("orders", exchange_type="fanout", durable=True)
    for queue in ("payment_processor_queue", "notifications_orders_queue"):
        case.channel().queue_declare(queue, durable=True)  # without a dead-letter exchange
        case.channel().queue_bind(queue, "orders")
    service = case.start("payment-service")
    service.wait_logged("the broker has it otherwise", connection="payment_processor_queue")
    case.publish(order())
    wait_until(lambda: service.logged("payment succeeded") + service.logged("payment failed"), 30,
               "the payment")  # fmt: skip


def who_consumes_with_what_prefetch(case):
    case.start("payment-service")
    case.start("payment-service", PREFETCH=7)
    case.start("fulfillment-service")
    case.start("notification-service")
    output = case.broker.control(
        "list_consumers", "queue_name", "ack_required", "prefetch_count", "--no-table-headers"
    )
    table = [line.split("\t") for line in output.splitlines() if "\t" in line]
    consumers = [(queue, prefetch) for queue, acknowledges, prefetch in table
                 if acknowledges == "true"]  # fmt: skip
    assert sorted(consumers) == sorted(
        [("payment_processor_queue", "1"), ("payment_processor_queue", "7")]
        + [(queue, "1") for queue in QUEUES[1:]]
    ), consumers


def a_queue_that_is_deleted_comes_back(case):
    service = case.start("payment-service")
    case.channel().queue_delete("payment_processor_queue")
    lost = service.wait_logged("lost the connection to RabbitMQ")[0]
    assert "its queue was deleted" in lost["error"], lost
    wait_until(lambda: len(service.logged("connected to RabbitMQ")) == 2, 30, "a new connection")
    service.wait_ready()
    case.publish(order())
    wait_until(lambda: case.count("payment_processor_queue") == 0 and
               case.count("fulfillment_processor_queue") == 1, 30, "the payment")  # fmt: skip


def what_no_queue_takes_is_not_acknowledged(case):
    service = case.start("payment-service")
    for queue in ("fulfillment_processor_queue", "notifications_payments_queue"):
        case.channel().queue_delete(queue)
    case.publish(order())
    lost = service.wait_logged("lost the connection to RabbitMQ")[0]
    assert 'no queue is bound to exchange "payments"' in lost["error"], lost
    # The new connection has declared the queue, the order came again, and its payment is there.
    wait_until(lambda: len(service.logged("connected to RabbitMQ")) == 2, 30, "a new connection")
    case.wait_count("fulfillment_processor_queue", 1)


run(
    the_generator_alone_declares_everything,
    queues_of_earlier_days_are_taken_as_they_are,
    who_consumes_with_what_prefetch,
    a_queue_that_is_deleted_comes_back,
    what_no_queue_takes_is_not_acknowledged,
)
