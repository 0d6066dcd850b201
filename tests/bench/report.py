"""Rows of a benchmark: a table for people, JSON for machines, and whether goals are met."""

import datetime
import json
import os
import platform
import signal
import subprocess
import sys


def cpu_seconds(pid):
    """On the processor, of all threads, to the nanosecond."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def median(values):
    return quantile(values, 0.5)


def quantile(values, share):
    """By linear interpolation between the two nearest values."""
    values = sorted(values)
    at = (len(values) - 1) * share
    low = int(at)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (at - low)


def machine():
    model = platform.machine()
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith(("model name", "Model")):
                model = line.partition(":")[2].strip()
    release = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    return f"{model}, {os.cpu_count()} cores, {release}, Linux {platform.release()}"


def revision(root):
    git = ["git", "-C", root]
    name = subprocess.run(
        git + ["describe", "--always", "--dirty"], capture_output=True, text=True
    ).stdout.strip()
    return name or "unknown"


def run_main(name, main, failed):
    """Runs @main to an exit status: also on SIGTERM everything that it began is ended. @failed: an exception that
    says what went wrong."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        sys.exit(main())
    except failed as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(1)


class Report:
    def __init__(self, name, root):
        self.name = name
        self.head = {
            "benchmark": name,
            "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "machine": machine(),
            "revision": revision(root),
            "load": os.getloadavg()[0],  # of what else runs: numbers of a busy machine are worse
        }
        self.rows = []
        self.notes = []

    def add(self, what, value, unit, goal=None, peer=None, samples=None, least=None):
        """A goal is the most that @value may be, @least the least. @peer: the same, measured beside it. @samples:
        what @value was computed from."""
        self.rows.append(
            {
                "what": what,
                "unit": unit,
                "value": value,
                "peer": peer,
                "ratio": value / peer if peer else None,
                "goal": goal if least is None else least,
                "at_least": least is not None,
                "met": value >= least if least is not None
                else None if goal is None else value <= goal,
                "samples": samples,
            }
        )

    def missed(self):
        return [row for row in self.rows if row["met"] is False]

    def write_json(self, path):
        rows = [{**row, "what": row["what"].strip()} for row in self.rows]
        with open(path, "w", encoding="utf-8") as file:
            json.dump({**self.head, "notes": self.notes, "rows": rows}, file, indent=2)
            file.write("\n")

    def print(self, peer):
        head = ["", "covey", peer, "ratio", "goal", "", ""]
        lines = [head] + [self.line(row) for row in self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        print(f"\n{self.head['benchmark']}: {self.head['machine']}; revision", end=" ")
        print(f"{self.head['revision']}, {self.head['time']}, load {self.head['load']:.1f} before\n")
        for line in lines:
            cells = [line[0].ljust(widths[0])]
            cells += [line[i].rjust(widths[i]) for i in range(1, 5)]
            cells += [line[i].ljust(widths[i]) for i in range(5, 7)]
            print("  ".join(cells).rstrip())
        for note in self.notes:
            print(f"\n{note}")

    def end(self, peer, json_path):
        """Prints, writes @json_path where it is given, and returns the exit status."""
        self.print(peer)
        if json_path:
            self.write_json(json_path)
        return 1 if self.missed() else 0

    @staticmethod
    def line(row):
        def number(value):
            if value is None:
                return "-"
            return f"{value:.0f}" if value >= 100 or value == 0 else f"{value:.3g}"

        return [
            f"{row['what']}, {row['unit']}",
            number(row["value"]),
            number(row["peer"]),
            number(row["ratio"]),
            "-" if row["goal"] is None
            else f"{'>=' if row['at_least'] else '<='} {number(row['goal'])}",
            {None: "", True: "ok", False: "MISSED"}[row["met"]],
            f"n = {len(row['samples'])}" if row["samples"] else "",
        ]
