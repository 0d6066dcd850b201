"""The programs of the order pipeline, as processes of a test."""

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request

from broker import wait_until

QUEUES = (
    "payment_processor_queue",
    "fulfillment_processor_queue",
    "notifications_orders_queue",
    "notifications_payments_queue",
    "notifications_shipments_queue",
)


class Service:
    """One program; its log goes to a file, behind what its earlier runs wrote."""

    def __init__(self, programs, name, folder, broker, label=None, **variables):
        self.path = os.path.join(programs, name)
        self.name = label or name
        self.log = os.path.join(folder, f"{self.name}.log")
        self.errors = os.path.join(folder, f"{self.name}.err")
        self.environment = {
            "PATH": os.environ["PATH"],
            "PORT": "0",
            "LANG": "C.UTF-8",
            **broker.client(),
            **{key: str(value) for key, value in variables.items()},
        }
        for name_, value in os.environ.items():
            if name_.endswith("SAN_OPTIONS"):
                self.environment[name_] = value
        self.process = None
        self.began = 0

    def start(self, wait=True):
        self.began = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        with open(self.log, "ab") as out, open(self.errors, "ab") as err:
            self.process = subprocess.Popen(
                [self.path], env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )
        if wait:
            self.wait_ready()
        return self

    def lines(self, all_runs=False):
        """What this run logged; a line that is not whole yet is left out."""
        if not os.path.exists(self.log):
            return []
        with open(self.log, "rb") as file:
            file.seek(0 if all_runs else self.began)
            text = file.read()
        return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]

    def logged(self, message, **members):
        return [
            line
            for line in self.lines()
            if line["message"] == message
            and all(line.get(key) == value for key, value in members.items())
        ]

    def wait_logged(self, message, seconds=30, **members):
        def found():
            lines = self.logged(message, **members)
            if not lines and self.process.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self.process.poll()}")
            return lines

        return wait_until(found, seconds, f'{self.name} to log "{message}"')

    def url(self, path):
        return f"http://127.0.0.1:{self.wait_logged('started')[0]['port']}{path}"

    def get(self, path):
        """Status and text."""
        try:
            with urllib.request.urlopen(self.url(path), timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def wait_ready(self, seconds=60):
        wait_until(lambda: self.get("/ready")[0] == 200, seconds, f"{self.name} to be ready")

    def metric(self, name):
        """The sum of a family's series, or of the one with its labels."""
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith((name + " ", name + "{")):
                total += float(line.rpartition(" ")[2])
        return total

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, seconds=30):
        """Asks it to end; returns its exit code."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def end(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()


def orderctl(programs, broker, *arguments, check=True):
    """Runs orderctl and returns its output."""
    result = subprocess.run(
        [os.path.join(programs, "orderctl"), *arguments],
        env={**os.environ, **broker.client()}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    if check and result.returncode != 0:
        raise AssertionError(f"orderctl {arguments}: {result.stdout}{result.stderr}")
    return result.stdout + result.stderr
