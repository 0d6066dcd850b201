#!/usr/bin/env python3
"""The order pipeline while everything dies: orders flow, and every few seconds a random victim is killed
by SIGKILL (one service, both payment replicas, all services of a Pi, the broker) or is cut off from
the broker. At the end orderctl proves that no order was lost, paid or shipped twice.

    tests/pipeline/chaos.py --bin build/release/bin                30 minutes, 20,000 orders
    tests/pipeline/chaos.py --bin build/release/bin --short        20 seconds, 300 orders

A run is repeated by its --seed, as far as the machine's timing lets it. Exit status 0: proved.
"""

import argparse
import collections
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

from broker import Broker, answers, wait_until
from proxy import Proxy
from services import QUEUES, Service, orderctl

VICTIMS = {
    "order-generator": 2,
    "payment-1": 3,
    "payment-2": 3,
    "both payments": 2,
    "fulfillment-service": 3,
    "notification-service": 3,
    "a Pi": 2,
    "partition": 3,
    "broker": 1,
}
PI = ("payment-2", "fulfillment-service", "notification-service")


class Chaos:
    def __init__(self, arguments):
        self.arguments = arguments
        self.random = random.Random(arguments.seed)
        self.folder = tempfile.mkdtemp(prefix="covey-chaos-")
        self.broker = Broker(os.path.join(self.folder, "broker"))
        self.restarting = None
        self.cut_until = []
        self.kills = collections.Counter()
        self.slowest_drain = 0.0

    def make_services(self):
        pause = 3 * self.arguments.minutes * 60 / self.arguments.orders  # three orders at a time
        work = {"DELAY_MIN": 0.01, "DELAY_MAX": 0.1, "PREFETCH": 20, "SHUTDOWN_TIMEOUT": 5}
        ways = {
            "order-generator": ("order-generator", {
                "ORDER_COUNT": self.arguments.orders, "SEED": self.arguments.seed,
                "INTERVAL_MIN": pause * 0.4, "INTERVAL_MAX": pause * 1.2,
                "OUTBOX": os.path.join(self.folder, "outbox"),
            }),
            "payment-1": ("payment-service", {**work, "PREFETCH": 1}),
            "payment-2": ("payment-service", work),
            "fulfillment-service": ("fulfillment-service", work),
            "notification-service": ("notification-service", {"PREFETCH": 20}),
        }  # fmt: skip
        self.proxies = {name: Proxy(self.broker.port) for name in ways}
        self.services = {
            name: Service(
                self.arguments.bin, program, self.folder, self.broker, label=name,
                **variables, RABBITMQ_PORT=self.proxies[name].port,
            )
            for name, (program, variables) in ways.items()
        }  # fmt: skip

    def kill(self, names):
        for name in names:
            self.services[name].end()
        # Whoever is dead is started anew by tend(), as a supervisor would.

    def strike(self):
        names = list(VICTIMS)
        victim = self.random.choices(names, [VICTIMS[name] for name in names])[0]
        if victim == "broker" and self.restarting is not None:
            victim = "both payments"
        self.kills[victim] += 1
        if victim == "broker":
            self.broker.kill()
            self.restarting = subprocess.Popen(
                [sys.executable, os.path.join(os.path.dirname(__file__), "restart.py"),
                 self.broker.folder]
            )  # fmt: skip
        elif victim == "partition":
            name = self.random.choice(list(self.proxies))
            self.proxies[name].cut = True
            seconds = self.random.uniform(0.5, 3) * min(1, self.arguments.every / 2)
            self.cut_until.append((time.monotonic() + seconds, name, self.random.random() < 0.7))
        elif victim == "both payments":
            self.kill(["payment-1", "payment-2"])
        elif victim == "a Pi":
            self.kill(PI)
        else:
            self.kill([victim])

    def tend(self):
        """Starts what is dead, heals what is cut. True while the generator has not finished."""
        now = time.monotonic()
        for entry in [entry for entry in self.cut_until if entry[0] <= now]:
            self.cut_until.remove(entry)
            self.proxies[entry[1]].heal(entry[2])
        if self.restarting is not None and self.restarting.poll() is not None:
            if self.restarting.returncode != 0:
                raise RuntimeError("RabbitMQ did not start again")
            self.broker = Broker(self.broker.folder)
            self.restarting = None
        for name, service in self.services.items():
            code = service.process.poll() if service.process else None
            if name == "order-generator" and code == 0:
                return False
            if service.process is None or code is not None:
                if code is not None and code not in (0, -9):
                    raise RuntimeError(f"{name} ended with {code}: see {service.errors}")
                service.start(wait=False)
        return True

    def run(self):
        self.broker.start()
        orderctl(self.arguments.bin, self.broker, "tap", "start")
        self.make_services()
        began = time.monotonic()
        end = began + self.arguments.minutes * 60
        strike_at = began + self.arguments.every
        told = began
        busy = True
        while busy or time.monotonic() < end:
            busy = self.tend() and busy
            now = time.monotonic()
            if now >= strike_at:
                self.strike()
                strike_at += self.arguments.every
            if now - told > 60:
                told = now
                print(f"{now - began:.0f} s: {sum(self.kills.values())} strikes", flush=True)
            time.sleep(0.02)
        return self.judge(time.monotonic() - began)

    def settle(self):
        for name in self.proxies:
            self.proxies[name].heal(False)
        self.cut_until = []
        wait_until(lambda: self.tend() is not None and self.restarting is None, 180, "the broker")
        wait_until(lambda: answers(self.broker.port), 60, "the broker")

        def empty():
            self.tend()
            rows = self.broker.control("list_queues", "name", "messages", "--no-table-headers")
            left = dict(line.split("\t") for line in rows.splitlines() if "\t" in line)
            return all(left.get(queue) == "0" for queue in QUEUES)

        began = time.monotonic()
        wait_until(empty, 300, "the queues to run empty")
        self.slowest_drain = time.monotonic() - began

    def judge(self, seconds):
        self.settle()
        log = self.services["notification-service"].log
        for service in self.services.values():
            service.stop()
        output = orderctl(
            self.arguments.bin, self.broker, "check", "--notifications", log, check=False
        )
        strikes = sum(self.kills.values())
        print(f"{seconds:.0f} s, {strikes} strikes: {dict(self.kills)}, seed {self.arguments.seed}")
        print(f"the queues were empty {self.slowest_drain:.1f} s after the last order")
        print(output, end="")
        proved = "PROVED" in output and f"orders         {self.arguments.orders:8} distinct" in output
        if self.arguments.json:
            with open(self.arguments.json, "w", encoding="utf-8") as file:
                json.dump(
                    {"seconds": seconds, "strikes": self.kills, "seed": self.arguments.seed,
                     "orders": self.arguments.orders, "proved": proved, "check": output},
                    file, indent=2,
                )  # fmt: skip
        return proved

    def close(self, keep):
        if self.restarting is not None:
            self.restarting.wait()
            self.broker = Broker(self.broker.folder)
        for service in getattr(self, "services", {}).values():
            service.end()
        for proxy in getattr(self, "proxies", {}).values():
            proxy.close()
        self.broker.stop()
        if keep:
            print(f"logs are in {self.folder}", file=sys.stderr)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--bin", required=True, help="the folder of the programs")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--every", type=float, default=5, help="seconds between two strikes")
    parser.add_argument("--orders", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--short", action="store_true", help="20 seconds, for a test")
    parser.add_argument("--json", help="a file for the result")
    arguments = parser.parse_args()
    if arguments.short:
        arguments.minutes, arguments.every, arguments.orders = 0.3, 1, 300
    chaos = Chaos(arguments)
    proved = False
    try:
        proved = chaos.run()
    finally:
        chaos.close(keep=not proved)
    sys.exit(0 if proved else 1)


if __name__ == "__main__":
    main()
