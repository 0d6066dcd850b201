"""orderctl: what was refused is listed, sent once more, forgotten."""

import json
import subprocess

import pika

from broker import wait_until
from case import order, run
from services import orderctl


def what_was_refused_is_listed_and_replayed(case):
    service = case.start("payment-service", SUCCESS_RATE=1)
    for name in ("a", "b", "c"):
        case.publish(order(f"L-{name}", version=2), message_id=f"order-{name}")
    case.publish(b"\x1b[31mred", message_id="terminal")
    case.wait_count("dead_letter_queue", 4)
    listed = orderctl(case.programs, case.broker, "dead-letters")
    assert "4 messages" in listed
    assert "order-a\tpayment_processor_queue\t" in listed
    assert "version 2 is not known here" in listed
    assert "\x1b" not in listed
    case.wait_count("dead_letter_queue", 4)  # listing takes nothing away
    rows = [
        json.loads(line)
        for line in orderctl(case.programs, case.broker, "dead-letters", "--json").splitlines()
    ]
    assert [row["message_id"] for row in rows] == ["order-a", "order-b", "order-c", "terminal"]
    assert json.loads(rows[0]["body"])["order_id"] == "L-a"
    assert rows[0]["service"] == "payment-service"
    # Replayed while nothing has changed: refused again, and there again.
    output = orderctl(case.programs, case.broker, "replay", "order-b")
    assert output == "1 message replayed\n", output
    case.wait_count("dead_letter_queue", 4)
    wait_until(lambda: len(service.logged("message refused", message_id="order-b")) == 2, 30,
               "the second refusal in the log")  # fmt: skip
    assert orderctl(case.programs, case.broker, "discard", "terminal") == "1 message discarded\n"
    case.wait_count("dead_letter_queue", 3)
    missing = orderctl(case.programs, case.broker, "replay", "nobody", check=False)
    assert 'there is no dead letter "nobody"' in missing, missing


def a_replay_reaches_the_queue_alone_that_refused_it(case):
    case.start("payment-service", SUCCESS_RATE=1)
    case.see("payments")
    case.channel().basic_publish(
        "dead_letters", "", json.dumps(order("again")),
        case_properties({"x-dead-letter-queue": "payment_processor_queue",
                         "x-dead-letter-reason": "a fault that was mended"}, "order-again"),
    )  # fmt: skip
    before = case.count("notifications_orders_queue")
    assert orderctl(case.programs, case.broker, "replay", "--all") == "1 message replayed\n"
    properties, _ = case.get("seen")
    assert properties.message_id == "payment-again"
    assert case.count("notifications_orders_queue") == before
    case.wait_count("dead_letter_queue", 0)


def case_properties(headers, message_id):
    return pika.BasicProperties(delivery_mode=2, headers=headers, message_id=message_id)


def a_letter_without_a_way_back_stays(case):
    case.start("payment-service")
    case.channel().basic_publish("dead_letters", "", b"?", case_properties({}, "lost"))
    case.wait_count("dead_letter_queue", 1)
    output = orderctl(case.programs, case.broker, "replay", "--all", check=False)
    assert "does not say which queue it came from" in output, output
    case.channel().basic_publish(
        "dead_letters", "", b"?", case_properties({"x-dead-letter-queue": "no-such-queue"}, "x")
    )
    case.wait_count("dead_letter_queue", 2)
    output = orderctl(case.programs, case.broker, "replay", "x", check=False)
    assert "replay to no-such-queue" in output, output
    case.wait_count("dead_letter_queue", 2)


def what_others_reject_can_be_replayed_too(case):
    case.start("payment-service").stop()  # which has declared the queues
    case.publish(order("other"), message_id="order-other")
    wait_until(lambda: case.count("payment_processor_queue") == 1, 30, "the order")
    method, _, _ = case.channel().basic_get("payment_processor_queue")
    case.channel().basic_reject(method.delivery_tag, requeue=False)
    case.wait_count("dead_letter_queue", 1)
    listed = orderctl(case.programs, case.broker, "dead-letters")
    assert "order-other\tpayment_processor_queue\t-\trejected" in listed, listed
    orderctl(case.programs, case.broker, "replay", "--all")
    case.wait_count("payment_processor_queue", 1)


def wrong_usage_is_told(case):
    for arguments in ([], ["nonsense"], ["replay"], ["replay", "--all", "x"], ["tap"],
                      ["dead-letters", "--limit", "0"], ["check", "x"]):  # fmt: skip
        result = subprocess.run(
            [f"{case.programs}/orderctl", *arguments], capture_output=True, text=True
        )
        assert result.returncode == 2 and "orderctl" in result.stderr, (arguments, result)


run(
    what_was_refused_is_listed_and_replayed,
    a_replay_reaches_the_queue_alone_that_refused_it,
    a_letter_without_a_way_back_stays,
    what_others_reject_can_be_replayed_too,
    wrong_usage_is_told,
)
