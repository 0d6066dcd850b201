"""tests/bench/pipeline: the order pipeline beside Python's and beside a bare chain. See README.md."""

import argparse
import datetime
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "pipeline"))

# pylint: disable=wrong-import-position
from broker import Broker, free_ports, wait_until
from report import Report, cpu_seconds, median, quantile
import pika

STAGES = ("payment", "payment", "fulfillment", "notification")
QUEUES = {
    "payment_processor_queue": "orders",
    "notifications_orders_queue": "orders",
    "fulfillment_processor_queue": "payments",
    "notifications_payments_queue": "payments",
    "notifications_shipments_queue": "shipments",
}
NEXT = {"payment_processor_queue": "payments", "fulfillment_processor_queue": "shipments"}
GOALS = {  # of the issue
    1: {"ratio": 1.3, "bare": None},
    100: {"ratio": 2.0, "bare": 0.8},
}
CPU_SHARE = 0.1
P99_MS = 20
RSS_MB, PRIVATE_MB = 7, 2
BATCH = 5  # orders that a generator makes at once; pika's only ends behind a whole one
LOOK_SECONDS = {1: 0.1, 100: 0.03}  # by prefetch, between looks at the progress: they cost too


def memory_mb(pid):
    """Resident, and of that what belongs to the process alone."""
    fields = {}
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        for line in file:
            match = re.match(r"(\w+): +(\d+) kB", line)
            if match:
                fields[match[1]] = int(match[2]) / 1024
    return fields["Rss"], fields["Private_Clean"] + fields["Private_Dirty"]


class Chain:
    """The services of one implementation, started for one round."""

    def __init__(self, kind, broker, build, prefetch, log):
        self.kind, self.broker, self.build, self.log = kind, broker, build, log
        self.prefetch = prefetch
        self.ports = {}
        self.processes = []
        self.progress = {queue: [] for queue in QUEUES}  # of the bare chain
        if kind == "bare":
            for queue in QUEUES:
                for _ in range(2 if queue == "payment_processor_queue" else 1):
                    self.start_bare(queue)
        else:
            for i, stage in enumerate(STAGES):
                self.start(stage, f"{stage}{i}")

    def environment(self, **more):
        return {
            **os.environ, **self.broker.client(), "DELAY_MIN": "0", "DELAY_MAX": "0",
            "PREFETCH": str(self.prefetch), **{key: str(value) for key, value in more.items()},
        }  # fmt: skip

    def command(self, stage):
        if self.kind == "pika":
            return ["/usr/bin/python3", "-u", os.path.join(HERE, "pipeline_pika.py"), stage]
        name = "order-generator" if stage == "generator" else f"{stage}-service"
        return [os.path.join(self.build, "bin", name)]

    def spawn(self, command, environment, log):
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        self.processes.append(process)
        return process

    def start(self, stage, name):
        port = free_ports(1)[0]
        self.ports[name] = port
        log = self.log if stage == "notification" else subprocess.DEVNULL
        self.spawn(self.command(stage), self.environment(PORT=port), log)

    def start_bare(self, queue):
        file = tempfile.NamedTemporaryFile(prefix="covey-bench-", buffering=0)
        self.progress[queue].append(file)
        self.spawn(
            [os.path.join(self.build, "bin", "pipeline-bare"), str(self.broker.port),
             self.broker.user, self.broker.password, queue, NEXT.get(queue, "-"),
             str(self.prefetch), "10" if queue == "fulfillment_processor_queue" else "0", file.name],
            dict(os.environ), subprocess.DEVNULL,
        )  # fmt: skip

    def acknowledged(self, queue):
        """By the bare chain."""
        total = 0
        for file in self.progress[queue]:
            file.seek(0)
            total += int.from_bytes(file.read(8), sys.byteorder)
        return total

    def generate(self, count, **more):
        variables = {"PORT": free_ports(1)[0], "ORDER_COUNT": count, "INTERVAL_MIN": 0,
                     "INTERVAL_MAX": 0, "LOG_LEVEL": "off", **more}  # fmt: skip
        kind, self.kind = self.kind, "c" if self.kind == "bare" else self.kind
        command = self.command("generator")
        self.kind = kind
        subprocess.run(
            command, env=self.environment(**variables), check=True, stdout=subprocess.DEVNULL
        )

    def metric(self, name, family):
        url = f"http://127.0.0.1:{self.ports[name]}/metrics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            text = answer.read().decode()
        values = re.findall(rf"^{family}(?:{{[^}}]*}})? ([0-9.e+]+)$", text, re.MULTILINE)
        return sum(map(float, values))

    def signal(self, number):
        for process in self.processes:
            process.send_signal(number)

    def cpu(self):
        return sum(cpu_seconds(process.pid) for process in self.processes)

    def stop(self):
        for process in self.processes:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        for files in self.progress.values():
            for file in files:
                file.close()


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments
        self.folder = tempfile.TemporaryDirectory(prefix="covey-bench-")
        self.broker = Broker(os.path.join(self.folder.name, "broker"))
        self.broker.start()
        self.connection = None

    def channel(self):
        if self.connection is None or self.connection.is_closed:
            self.connection = pika.BlockingConnection(
                pika.ConnectionParameters(
                    "127.0.0.1", self.broker.port, heartbeat=0,
                    credentials=pika.PlainCredentials(self.broker.user, self.broker.password),
                )
            )  # fmt: skip
        return self.connection.channel()

    def reset(self, kind):
        """What each implementation declares differs, so all goes; the bare chain declares nothing."""
        channel = self.channel()
        for name in list(QUEUES) + ["dead_letter_queue"]:
            channel.queue_delete(name)
        for name in ("orders", "payments", "shipments", "dead_letters"):
            channel.exchange_delete(name)
        if kind == "bare":
            for name in ("orders", "payments", "shipments"):
                channel.exchange_declare(name, exchange_type="fanout", durable=True)
            for queue, exchange in QUEUES.items():
                channel.queue_declare(queue, durable=True)
                channel.queue_bind(queue, exchange)
        channel.close()

    def consumers(self):
        channel = self.channel()
        try:
            return sum(
                channel.queue_declare(queue, passive=True).method.consumer_count
                for queue in QUEUES
            )
        except pika.exceptions.ChannelClosedByBroker:
            return 0
        finally:
            if channel.is_open:
                channel.close()

    def begin(self, kind, prefetch, log=subprocess.DEVNULL):
        self.reset(kind)
        chain = Chain(kind, self.broker, self.arguments.build, prefetch, log)
        wait_until(lambda: self.consumers() == 6, 60, f"the services ({kind}) to consume")
        return chain

    def finished(self, chain, orders):
        """All that should be told has been told; of the bare chain: all is acknowledged."""
        if chain.kind == "bare":
            shipped = orders - orders // 10  # what start_bare lets it drop
            return all(
                chain.acknowledged(queue)
                >= (shipped if queue == "notifications_shipments_queue" else orders)
                for queue in QUEUES
            )
        told = chain.metric("notification3", "notifications_sent_total")
        if told < 2 * orders:
            return False
        return told == 2 * orders + chain.metric("fulfillment2", "shipments_created_total")

    def throughput(self, kind, prefetch):
        """Orders per second of a chain that finds all orders waiting, and what it took."""
        orders = self.arguments.orders // (2 if self.arguments.quick and prefetch == 1 else 1)
        chain = self.begin(kind, prefetch)
        try:
            chain.signal(signal.SIGSTOP)
            chain.generate(orders, ORDERS_MIN=BATCH, ORDERS_MAX=BATCH)
            cpu, began = chain.cpu(), time.monotonic()
            broker_cpu = self.broker_cpu()
            chain.signal(signal.SIGCONT)
            wait_until(lambda: self.finished(chain, orders), 300, f"{kind} to end", LOOK_SECONDS[prefetch])
            seconds = time.monotonic() - began
            return {
                "rate": orders / seconds,
                "cpu_ms": (chain.cpu() - cpu) / orders * 1000,
                "broker_ms": (self.broker_cpu() - broker_cpu) / orders * 1000,
                "memory": [memory_mb(process.pid) for process in chain.processes],
            }
        finally:
            chain.stop()

    def broker_cpu(self):
        """Of the process that is the broker: the starter's own, or its child."""
        total = 0
        for pid in [self.broker.pid] + [
            int(line)
            for line in subprocess.run(
                ["ps", "-o", "pid=", "-g", str(self.broker.pid)], capture_output=True, text=True
            ).stdout.split()
        ]:
            try:
                with open(f"/proc/{pid}/comm", encoding="ascii") as file:
                    if "beam" in file.read():
                        total = cpu_seconds(pid)
            except OSError:
                pass
        return total

    def latency(self, kind, seconds):
        """Milliseconds from order to shipment notification at 100 orders per second."""
        path = os.path.join(self.folder.name, f"{kind}.log")
        with open(path, "wb") as log:
            chain = self.begin(kind, 1, log)
            try:
                chain.generate(
                    100 * seconds, INTERVAL_MIN=0.01, INTERVAL_MAX=0.01, ORDERS_MIN=1, ORDERS_MAX=1
                )
                wait_until(lambda: self.finished(chain, 100 * seconds), 120, f"{kind} to end")
            finally:
                chain.stop()
        return [delay for delay in map(shipped_ms, open(path, encoding="utf-8")) if delay]

    def close(self):
        self.broker.stop()
        self.folder.cleanup()


def shipped_ms(line):
    if line.startswith("{"):
        said = json.loads(line)
        if said.get("type") != "shipment_notification":
            return None
        at, ordered = said["timestamp"], said["ordered_at"]
    else:
        match = re.search(r"Order shipped!.*ordered_at=(\S+) at=(\S+)", line)
        if not match:
            return None
        ordered, at = match[1], match[2]
    read = [datetime.datetime.fromisoformat(text.replace("Z", "+00:00")) for text in (ordered, at)]
    return (read[1] - read[0]).total_seconds() * 1000


def measure(bench, report, arguments):
    rounds = {(kind, prefetch): [] for prefetch in GOALS for kind in ("pika", "bare", "c")}
    for number in range(arguments.rounds):
        for kind, prefetch in rounds:
            if arguments.quick and number > 0 and (kind == "pika" or prefetch == 1):
                continue  # what takes long; the other pair is over in a second, and needs a median
            print(f"==> round {number + 1}: {kind}, prefetch {prefetch}", flush=True)
            rounds[kind, prefetch].append(bench.throughput(kind, prefetch))
    for prefetch, goal in GOALS.items():
        add_throughput(report, rounds, prefetch, goal)
    add_memory(report, rounds)
    print("==> latency", flush=True)
    delays = {kind: bench.latency(kind, arguments.seconds) for kind in ("pika", "c")}
    for share, limit in ((0.5, None), (0.99, P99_MS)):
        report.add(
            f"order to shipment notification, 100 orders/s, p{share * 100:.0f}",
            quantile(delays["c"], share), "ms", goal=limit, peer=quantile(delays["pika"], share),
        )  # fmt: skip


def add_throughput(report, rounds, prefetch, goal):
    def of(kind, what):
        return [row[what] for row in rounds[kind, prefetch]]

    pika_rate = median(of("pika", "rate"))
    report.add(
        f"through the whole chain, prefetch {prefetch}", median(of("c", "rate")), "orders/s",
        least=goal["ratio"] * pika_rate, peer=pika_rate, samples=of("c", "rate"),
    )  # fmt: skip
    if rounds["bare", prefetch]:
        bare = median(of("bare", "rate"))
        report.add(
            f"  the same beside the bare chain, prefetch {prefetch}", median(of("c", "rate")),
            "orders/s", least=goal["bare"] and goal["bare"] * bare, peer=bare,
        )  # fmt: skip
        report.add(
            f"  CPU of the services beside the bare chain's, prefetch {prefetch}",
            median(of("c", "cpu_ms")), "ms/order", peer=median(of("bare", "cpu_ms")),
        )  # fmt: skip
    cpu = median(of("pika", "cpu_ms"))
    report.add(
        f"  CPU of the services, prefetch {prefetch}", median(of("c", "cpu_ms")), "ms/order",
        goal=CPU_SHARE * cpu, peer=cpu, samples=of("c", "cpu_ms"),
    )  # fmt: skip
    report.add(
        f"  CPU of the broker, prefetch {prefetch}", median(of("c", "broker_ms")), "ms/order",
        peer=median(of("pika", "broker_ms")),
    )  # fmt: skip


def add_memory(report, rounds):
    for i, name in list(enumerate(STAGES))[1:]:
        for prefetch in GOALS:
            c = [max(row["memory"][i][k] for row in rounds["c", prefetch]) for k in (0, 1)]
            peer = [max(row["memory"][i][k] for row in rounds["pika", prefetch]) for k in (0, 1)]
            what = f"{name}-service, resident after a round, prefetch {prefetch}"
            report.add(what, c[0], "MiB", goal=RSS_MB, peer=peer[0])
            report.add("  of that its own", c[1], "MiB", goal=PRIVATE_MB, peer=peer[1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json")
    parser.add_argument("--build", required=True)
    parser.add_argument("--orders", type=int)
    parser.add_argument("--rounds", type=int)
    arguments = parser.parse_args()
    arguments.build = os.path.abspath(arguments.build)
    arguments.orders = arguments.orders or (3000 if arguments.quick else 5000)
    if arguments.orders < 1 or arguments.orders % (2 * BATCH) != 0:
        parser.error(f"--orders takes a multiple of {2 * BATCH}")
    arguments.rounds = arguments.rounds or (3 if arguments.quick else 5)
    arguments.seconds = 4 if arguments.quick else 15
    report = Report("pipeline", os.path.dirname(os.path.dirname(HERE)))
    bench = Bench(arguments)
    try:
        measure(bench, report, arguments)
    finally:
        bench.close()
    report.notes.append(
        f"{arguments.rounds} rounds{' at prefetch 100' if arguments.quick else ''} of {arguments.orders} orders, zero delays, persistent messages, "
        "the broker on the same machine. Covey's services publish with confirmation and acknowledge "
        "behind it; the ones on pika do not ask for confirmation."
    )
    report.print("pika")
    if arguments.json:
        report.write_json(arguments.json)
    missed = report.missed()
    if missed:
        print(f"\nMISSED: {', '.join(row['what'].strip() for row in missed)}")
    sys.exit(1 if missed and arguments.quick else 0)


if __name__ == "__main__":
    main()
