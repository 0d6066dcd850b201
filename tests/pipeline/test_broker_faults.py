"""A broker that refuses, blocks, closes, falls silent: told in plain words, and nothing is lost."""

import time

from broker import free_ports, wait_until
from case import order, run
from proxy import Proxy


def wrong_credentials_are_told(case):
    service = case.start("payment-service", wait=False, RABBITMQ_PASSWORD="wrong")
    line = service.wait_logged("no connection to RabbitMQ")[0]
    assert (
        'the broker refuses user "orders": check RABBITMQ_USER and RABBITMQ_PASSWORD'
        in line["error"]
    ), line
    assert "wrong" not in str(service.lines()), "the password is in the log"
    assert service.get("/ready")[0] == 503 and service.get("/health")[0] == 200
    assert service.stop() == 0


def attempts_slow_down_and_go_on(case):
    port = free_ports(1)[0]
    service = case.start(
        "payment-service", wait=False, RABBITMQ_PORT=port, RABBITMQ_RETRY_ATTEMPTS=3,
        RABBITMQ_RETRY_DELAY=0.05, RABBITMQ_RETRY_MAX=0.4,
    )  # fmt: skip
    service.wait_logged("still no connection to RabbitMQ", attempt=6)
    first = service.logged("no connection to RabbitMQ")
    assert [line["next_attempt_seconds"] for line in first] == [0.05] * 3, first
    assert "connect: refused; does RabbitMQ run there?" in first[0]["error"], first
    later = service.logged("still no connection to RabbitMQ")
    assert [line["next_attempt_seconds"] for line in later[:3]] == [0.1, 0.2, 0.4], later
    assert later[0]["level"] == "ERROR"


def a_missing_virtual_host_is_told(case):
    service = case.start("payment-service", wait=False, RABBITMQ_VHOST="nowhere")
    line = service.wait_logged("no connection to RabbitMQ")[0]
    assert "nowhere" in line["error"], line


def a_blocked_broker_is_waited_for(case):
    service = case.start("payment-service", PREFETCH=10, SUCCESS_RATE=1)
    case.see("payments")
    case.broker.control("set_vm_memory_high_watermark", "0.000001")
    try:
        generator = case.start(
            "order-generator", ORDER_COUNT=20, INTERVAL_MIN=0, INTERVAL_MAX=0, wait=False
        )
        line = generator.wait_logged("RabbitMQ takes no messages: waiting until it does")[0]
        assert "memory" in line["reason"], line
        assert generator.metric("amqp_blocked") == 1
        assert generator.process.poll() is None
    finally:
        case.broker.control("set_vm_memory_high_watermark", "absolute", "2GB")
    generator.wait_logged("RabbitMQ takes messages again")
    assert generator.process.wait(60) == 0
    case.wait_count("seen", 20)
    assert service.metric("payments_processed_total") >= 20


def a_blocked_consumer_works_later(case):
    """Orders that are delivered while nothing may be published are paid after it."""
    case.start("payment-service").stop()  # which has declared the queues
    case.see("payments")
    for number in range(30):
        case.publish(order(f"B-{number}"))
    case.wait_count("payment_processor_queue", 30)
    case.broker.control("set_vm_memory_high_watermark", "0.000001")
    try:
        service = case.start("payment-service", PREFETCH=10, SUCCESS_RATE=1)
        service.wait_logged("RabbitMQ takes no messages: waiting until it does")
        assert service.get("/health")[0] == 200
    finally:
        case.broker.control("set_vm_memory_high_watermark", "absolute", "2GB")
    service.wait_logged("RabbitMQ takes messages again")
    case.wait_count("seen", 30)
    case.wait_count("payment_processor_queue", 0)
    assert len(service.logged("connected to RabbitMQ")) == 1


def a_closed_connection_is_made_again(case):
    service = case.start("payment-service", SUCCESS_RATE=1)
    case.broker.control("close_all_connections", "the test closes it")
    line = service.wait_logged("lost the connection to RabbitMQ")[0]
    assert "320 CONNECTION_FORCED - the test closes it" in line["error"], line
    wait_until(lambda: service.metric("amqp_connects_total") == 2, 30, "a new connection")
    case.connection = None
    case.publish(order("C-1"))
    service.wait_logged("payment succeeded", order_id="C-1")


def a_closed_channel_is_told(case):
    service = case.start("payment-service", DELAY_MIN=600, DELAY_MAX=600)
    case.publish(order("C-2"))
    wait_until(lambda: service.metric("messages_delivered_total") == 1, 30, "the delivery")
    case.broker.control("clear_permissions", "orders")
    try:
        other = case.start("payment-service", wait=False)
        line = other.wait_logged("no connection to RabbitMQ")[0]
        assert "access" in line["error"] and "refused" in line["error"], line
    finally:
        case.broker.control("set_permissions", "orders", ".*", ".*", ".*")
    other.wait_ready()
    service.kill()
    wait_until(lambda: other.metric("payments_processed_total") == 1, 30, "the payment")


def a_connection_that_is_cut_loses_nothing(case):
    proxy = Proxy(case.broker.port)
    try:
        service = case.start("payment-service", PREFETCH=10, SUCCESS_RATE=1,
                             RABBITMQ_PORT=proxy.port)  # fmt: skip
        case.see("payments")
        proxy.cut = True
        for number in range(30):
            case.publish(order(f"P-{number}"))
        time.sleep(0.3)  # something of it is on its way and never arrives
        proxy.heal(reset=True)
        bodies = {case.get("seen")[1] for _ in range(30)}
        assert len(bodies) == 30
        service.wait_logged("lost the connection to RabbitMQ")
    finally:
        proxy.close()


def a_silent_broker_is_left_by_its_heartbeat(case):
    proxy = Proxy(case.broker.port)
    try:
        service = case.start("payment-service", RABBITMQ_PORT=proxy.port, RABBITMQ_HEARTBEAT=1)
        proxy.cut = True
        line = service.wait_logged("lost the connection to RabbitMQ")[0]
        assert "heartbeat" in line["error"], line
        assert service.get("/ready")[0] == 503
        proxy.heal(reset=True)
        service.wait_ready()
    finally:
        proxy.close()


def idle_connections_live_on_heartbeats(case):
    service = case.start("notification-service", RABBITMQ_HEARTBEAT=1)
    generator = case.start(
        "order-generator", RABBITMQ_HEARTBEAT=1, INTERVAL_MIN=3600, INTERVAL_MAX=3600
    )
    # The broker ends a connection that was silent for two heartbeats; twice that is waited for.
    end = time.monotonic() + 5
    wait_until(lambda: time.monotonic() > end, 30, "five seconds")
    for each in (service, generator):
        assert not each.logged("lost the connection to RabbitMQ")
        assert each.get("/ready")[0] == 200


def variables_that_are_wrong_are_all_named(case):
    service = case.start(
        "payment-service", wait=False, RABBITMQ_PORT="x", PREFETCH=0, SUCCESS_RATE=2, DELAY_MIN=3,
        DELAY_MAX=1, RABBITMQ_PASSWORD_FILE="/nowhere",
    )  # fmt: skip
    assert service.process.wait(30) == 2
    with open(service.errors, encoding="utf-8") as file:
        told = file.read()
    for name in ("RABBITMQ_PORT", "PREFETCH", "SUCCESS_RATE", "DELAY_MAX",
                 "RABBITMQ_PASSWORD_FILE"):  # fmt: skip
        assert f'payment-service: {name}="' in told, (name, told)


run(
    wrong_credentials_are_told,
    attempts_slow_down_and_go_on,
    a_missing_virtual_host_is_told,
    a_blocked_broker_is_waited_for,
    a_blocked_consumer_works_later,
    a_closed_connection_is_made_again,
    a_closed_channel_is_told,
    a_connection_that_is_cut_loses_nothing,
    a_silent_broker_is_left_by_its_heartbeat,
    idle_connections_live_on_heartbeats,
    variables_that_are_wrong_are_all_named,
)
