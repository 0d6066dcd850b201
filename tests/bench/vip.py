"""tests/bench/vip: what a client sees of a virtual address when things fail. See README.md."""

import argparse
import datetime
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

import flock as flocks
import vip_systems
from flock import Failed, await_true
from report import machine, median, quantile, revision
from vip_systems import VIP, let_pass
from vip_watch import Watch

NAMES = ("covey2", "covey3", "covey2-short", "covey2-many", "keepalived", "keepalived-fast", "ucarp")
COVEY = ("covey2", "covey3")
TWO = ("covey2",)
PEERS = ("keepalived", "keepalived-fast", "ucarp")
WRITE_MUCH = 'while dd if=/dev/zero of="$1" bs=1M count=200 conv=fsync 2>/dev/null; do :; done'
CLIENTS_S = 2  # a holder notes and passes on its clients once a second (docs/failover.md), and tells nobody


def say(text):
    print(f"==> {text}", flush=True)


# ---- faults of the network: rules of the access point's bridge ----


def bridge(system, rules):
    table = "table bridge bench\ndelete table bridge bench\n"
    if rules:
        table += ("table bridge bench {\n chain forward {\n"
                  "  type filter hook forward priority 0; policy accept;\n"
                  f"  {rules}\n }}\n chain in {{\n"
                  "  type filter hook input priority 0; policy accept;\n"
                  f"  {rules if 'numgen' in rules else ''}\n }}\n}}\n")
    command = system.lab.command("ap", "nft", "-f", "-")
    subprocess.run(command, input=table, text=True, check=True)


def partition(system, pi):
    """@pi and the other Pis do not hear each other; the client and the router hear all."""
    bridge(system, "\n  ".join(
        f'iifname "port-{a}" oifname "port-{b}" drop' for other in system.pis if other != pi
        for a, b in ((pi, other), (other, pi))))


def loss(system, percent):
    bridge(system, f"numgen random mod 1000 < {percent * 10} drop" if percent else "")


def carrier(system, ports, on):
    for port in ports:
        subprocess.run(["ip", "-n", f"{system.lab.prefix}-ap", "link", "set", f"port-{port}",
                        "up" if on else "down"], check=True)


# ---- cases: each returns what was measured once, by name ----


class Run:
    """One measurement: everything is well, then something fails."""

    def __init__(self, system, **options):
        self.system = system
        self.owner = await_true(20, f"{system.name}: one owner", system.owner)
        self.watch = Watch(system, [VIP], **options)
        if not self.watch.answered(20):
            self.watch.stop()
            raise Failed(f"{system.name}: {self.owner} has the address and does not answer")
        let_pass(time.time(), random.uniform(0, 1))  # the fault comes anywhere between two renewals
        self.since = time.time()

    def end(self, seconds):
        """What was seen till @seconds after the fault: an overlap may come late."""
        let_pass(self.since, seconds)
        return self.watch.stop()


def fenced(system, run, seconds=5):
    """How long after the fault its owner's fence was open; None: still."""
    while time.time() < run.since + seconds:
        if not system.fence_open(run.owner):
            return time.time() - run.since
    return None


def case_restart(system):
    run = Run(system)
    system.kill_and_restart(run.owner)
    seen = run.end(4)
    return {"lost": seen.lost(run.since), "overlap": seen.overlap()}


def case_restart_disk(system):
    """Whatever the start of an agent waits for on a disk takes longer than its lease lasts."""
    with tempfile.TemporaryDirectory(prefix="covey-bench-vip.", dir="/var/tmp") as folder:
        writers = [subprocess.Popen(["sh", "-c", WRITE_MUCH, "sh", f"{folder}/{i}"],
                                    start_new_session=True) for i in range(2)]
        try:
            let_pass(time.time(), 2)  # until the disk's queue is full
            return case_restart(system)
        finally:
            for writer in writers:
                os.killpg(writer.pid, signal.SIGKILL)
                writer.wait()


def case_kill(system):
    run = Run(system)
    system.kill(run.owner)
    seen = run.end(6)
    gone = seen.address_gone(run.owner, VIP, run.since)
    return {"fenced": seen.held_till(run.owner, run.since), "outage": seen.outage(run.since),
            "gone": gone, "overlap": seen.overlap()}


def fail_and_see(system, fail, seconds=6, **options):
    run = Run(system, **options)
    fail(run.owner)
    seen = run.end(seconds)
    return {"outage": seen.outage(run.since), "lost": seen.lost(run.since),
            "overlap": seen.overlap()}


def case_power(system):
    return fail_and_see(system, system.power_off)


def case_cut(system):
    try:
        # Longer than 8 s: else the link is one that loses much, and gets longer leases (docs/vip.md).
        return fail_and_see(system, lambda pi: carrier(system, [pi], False), 10)
    finally:
        carrier(system, system.pis, True)


def case_power_loss20(system):
    loss(system, 20)
    try:
        return fail_and_see(system, system.power_off, 10)
    finally:
        loss(system, 0)


def case_broadcast(system):
    """The client knows the address, and the flock the client; the next owner has to tell it without a
    broadcast."""
    run = Run(system)
    let_pass(run.since, CLIENTS_S)
    bridge(system, "ether daddr ff:ff:ff:ff:ff:ff drop")
    try:
        run.since = time.time()
        system.power_off(run.owner)
        seen = run.end(10)
        return {"outage": seen.outage(run.since), "lost": seen.lost(run.since),
                "overlap": seen.overlap()}
    finally:
        bridge(system, "")


def case_stop(system):
    return fail_and_see(system, system.stop, 4)


def case_drain(system):
    return fail_and_see(system, system.drain, 4)


def case_move(system):
    return fail_and_see(system, system.move, 3)


def case_wiped(system):
    """As a program does that manages the interface and does not know the address. ip(8) tries again and
    fails when the address is back before it has looked."""
    return fail_and_see(system, lambda pi: system.lab.run(
        pi, "sh", "-c", f"ip address flush dev wlan0 to {VIP} || true"), 3)


def case_pause(system, seconds=60):
    run = Run(system)
    system.pause(run.owner, True)
    let_pass(run.since, seconds)
    system.pause(run.owner, False)
    seen = run.end(seconds + 3)
    return {"outage": seen.outage(run.since), "overlap": seen.overlap()}


def case_partition(system, seconds=20):
    run = Run(system)
    partition(system, run.owner)
    let_pass(run.since, seconds)
    bridge(system, "")
    healed = time.time()
    seen = run.end(seconds + 30)
    return {"outage": seen.outage(run.since, healed), "overlap": seen.overlap(),
            "outage after": seen.outage(healed), "overlap after": seen.overlap(healed)}


def case_away(system, seconds=60):
    """The access point restarts."""
    run = Run(system)
    ports = [*system.pis, "client"]
    carrier(system, ports, False)
    sample = {"fenced": fenced(system, run)} if system.lasting else {}
    let_pass(run.since, seconds)
    carrier(system, ports, True)
    back = time.time()
    seen = run.end(seconds + 10)
    first = next((t for t in seen.times() if t > back), None)
    return {**sample, "back": first - back if first else None, "overlap": seen.overlap(back)}


def case_loss(system, percent, seconds=120):
    """From its first moment: the lease has to take the length that this link needs."""
    run = Run(system)
    loss(system, percent)
    try:
        seen = run.end(seconds)
    finally:
        loss(system, 0)
    return {"moves": seen.moves(run.since), "overlap": seen.overlap(),
            "outage": seen.outage(run.since)}


def case_many(system):
    """All addresses on one Pi."""
    pis = list(system.pis)
    for pi in pis[1:]:
        system.drain(pi)
    addresses = [f"10.77.0.{210 + i}" for i in range(21)]
    held = lambda: sum(v["owner"] == pis[0] for v in system.agent(pis[0]).get("/v1/status")["vips"])
    await_true(20, "one Pi to hold all", lambda: held() == len(addresses))
    watch = Watch(system, addresses, interval=0.2, directly=False)
    watch.answered(10)
    rate = lease_traffic(system, pis[0], 10)
    seen = watch.stop()
    answering = sum(bool(seen.times(i)) for i in range(len(addresses)))
    return {"unanswered": len(addresses) - answering, "lease traffic": rate}


def lease_traffic(system, pi, seconds):
    """kB/s that it sends."""
    since = time.time()
    before = system.lease_bytes(pi)
    let_pass(since, seconds)
    return (system.lease_bytes(pi) - before) / (time.time() - since) / 1000


def case_traffic(system):
    owner = await_true(20, "an owner", system.owner)
    return {"lease traffic": lease_traffic(system, owner, 30) / (len(system.pis) - 1)}


CASES = {  # name: (what it is, function, systems, count)
    "restart": ("kill -9, restarted by its supervisor", case_restart, COVEY + PEERS, 10),
    "restart-disk": ("the same, the disk is busy", case_restart_disk, TWO, 10),
    "kill": ("kill -9, not restarted", case_kill, COVEY + PEERS, 15),
    "power": ("the owner's power fails", case_power, COVEY + ("covey2-short",) + PEERS, 20),
    "cut": ("the owner's link is cut", case_cut, COVEY + ("covey2-short",) + PEERS, 10),
    "power-loss20": ("power fails at 20 % loss", case_power_loss20, TWO + PEERS, 10),
    "broadcast": ("power fails, broadcast is dropped", case_broadcast, TWO + PEERS, 10),
    "stop": ("graceful stop", case_stop, COVEY + PEERS, 15),
    "drain": ("drain", case_drain, COVEY, 15),
    "move": ("vip move", case_move, COVEY, 20),
    "wiped": ("somebody removes the address", case_wiped, COVEY + PEERS, 10),
    "pause": ("SIGSTOP for 60 s", case_pause, COVEY + PEERS, 2),
    "partition": ("cut off from the others for 20 s", case_partition, COVEY + PEERS, 4),
    "away": ("the access point is away for 60 s", case_away, COVEY + PEERS, 2),
    "loss10": ("10 % loss", lambda s: case_loss(s, 10), COVEY + PEERS, 1),
    "loss20": ("20 % loss", lambda s: case_loss(s, 20), COVEY + PEERS, 1),
    "loss30": ("30 % loss", lambda s: case_loss(s, 30), COVEY + PEERS, 1),
    "many": ("21 addresses on one Pi", case_many, ("covey2-many",), 1),
    "traffic": ("renewing", case_traffic, COVEY, 1),
}

QUICK = {  # system: (case, count); the last of a system leaves it as it is
    "covey2": (("restart", 1), ("move", 2), ("power", 1)),
    "keepalived-fast": (("power", 1),),
}

ROWS = (  # case, measured, of the samples, unit, goal of Covey, for systems (None: all of Covey)
    ("restart", "lost", "max", "probes", 0, None),
    ("restart", "overlap", "max", "s", 0, None),
    ("restart-disk", "lost", "max", "probes", 0, None),
    ("kill", "fenced", "max", "s", 0.5, None),
    ("kill", "gone", "max", "s", 2, None),
    ("kill", "outage", "median", "s", 0.8, None),
    ("kill", "outage", "p99", "s", 1.2, None),
    ("kill", "overlap", "max", "s", 0, None),
    ("power", "outage", "median", "s", 0.8, None),
    ("power", "outage", "p99", "s", 1.2, None),
    ("power", "outage", "p99", "s", 0.45, ("covey2-short",)),
    ("power", "overlap", "max", "s", 0, None),
    ("cut", "outage", "median", "s", 0.8, None),
    ("cut", "outage", "p99", "s", 1.2, None),
    ("cut", "outage", "p99", "s", 0.45, ("covey2-short",)),
    ("cut", "overlap", "max", "s", 0, None),
    ("power-loss20", "outage", "max", "s", 3, None),
    ("broadcast", "outage", "median", "s", None, None),
    ("broadcast", "outage", "p99", "s", 1.4, None),
    ("stop", "outage", "p99", "s", 0.3, None),
    ("stop", "lost", "median", "probes", None, None),
    ("drain", "outage", "p99", "s", 0.3, None),
    ("drain", "lost", "median", "probes", None, None),
    ("move", "outage", "p99", "s", 0.3, None),
    ("move", "lost", "median", "probes", None, None),
    ("move", "overlap", "max", "s", 0, None),
    ("wiped", "outage", "p99", "s", 0.2, None),
    ("wiped", "overlap", "max", "s", 0, None),
    ("pause", "overlap", "max", "s", 0, None),
    ("pause", "outage", "max", "s", None, None),
    ("partition", "overlap", "max", "s", 0, ("covey3",)),
    ("partition", "overlap", "max", "s", None, TWO),
    ("partition", "outage after", "max", "s", 0.3, None),
    ("away", "fenced", "max", "s", 0.5, None),
    ("away", "back", "max", "s", 2, None),
    ("away", "overlap", "max", "s", 0, None),
    ("loss10", "moves", "max", "", 0, None),
    ("loss10", "overlap", "max", "s", 0, None),
    ("loss20", "moves", "max", "", 0, None),
    ("loss20", "overlap", "max", "s", 0, None),
    ("loss30", "moves", "max", "", 1, None),
    ("loss30", "overlap", "max", "s", 0, None),
    ("many", "unanswered", "max", "of 21", 0, None),
    ("many", "lease traffic", "max", "kB/s", 1.2, None),
    ("traffic", "lease traffic", "max", "kB/s", 1.2, None),
)


# ---- results ----


class Results:
    def __init__(self):
        self.head = {"benchmark": "vip", "machine": machine(), "revision": revision(flocks.ROOT),
                     "time": datetime.datetime.now(datetime.timezone.utc).isoformat(
                         timespec="seconds"), "load": os.getloadavg()[0]}
        self.samples = {}  # "system/case": [what one run has measured]

    def read(self, path):
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self.samples = json.load(file)["samples"]

    def write(self, path):
        with open(path, "w", encoding="utf-8") as file:
            json.dump({**self.head, "rows": self.rows(), "samples": self.samples}, file, indent=1)
            file.write("\n")

    def add(self, system, case, sample):
        self.samples.setdefault(f"{system}/{case}", []).append(sample)

    def value(self, system, case, what, share):
        values = [s[what] for s in self.samples.get(f"{system}/{case}", ()) if what in s]
        if not values:
            return None
        if None in values:
            return float("inf")  # it never happened
        if share == "median":
            return median(values)
        return max(values) if share == "max" else quantile(values, 0.99)

    def rows(self):
        found = []
        for case, what, share, unit, goal, only in ROWS:
            values = {s: self.value(s, case, what, share) for s in NAMES}
            values = {s: v for s, v in values.items() if v is not None}
            if only is not None:
                values = {s: v for s, v in values.items() if s in only or s in PEERS}
            elif "covey2-short" in values:
                del values["covey2-short"]
            covey = [v for s, v in values.items() if s not in PEERS]
            peers = [v for s, v in values.items() if s in PEERS]
            if not covey:
                continue
            ratio = max(covey) / min(peers) if peers and min(peers) > 0 else None
            found.append({"case": case, "what": what, "of": share, "unit": unit, "goal": goal,
                          "values": values, "ratio": ratio,
                          "met": None if goal is None else max(covey) <= goal + 1e-9})
        return found

    def print(self):
        shown = [s for s in NAMES if any(k.startswith(f"{s}/") for k in self.samples)]
        lines = [["", *shown, "ratio", "goal", ""]]
        last = None
        for row in self.rows():
            if row["case"] != last:
                count = {s: len(self.samples.get(f"{s}/{row['case']}", ())) for s in shown}
                lines.append([CASES[row["case"]][0]] + [f"n={count[s]}" if count[s] else ""
                                                         for s in shown] + ["", "", ""])
            last = row["case"]
            lines.append([f"  {row['what']}, {row['of']}, {row['unit']}"]
                         + [number(row["values"].get(s)) for s in shown]
                         + [number(row["ratio"]), "" if row["goal"] is None else
                            f"<= {number(row['goal'])}",
                            {None: "", True: "ok", False: "MISSED"}[row["met"]]])
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        print(f"\nvip: {self.head['machine']}; revision {self.head['revision']}, "
              f"{self.head['time']}, load {self.head['load']:.1f} before\n")
        for line in lines:
            print("  ".join([line[0].ljust(widths[0])] + [c.rjust(w) for c, w in
                                                          zip(line[1:], widths[1:])]).rstrip())


def number(value):
    if value is None:
        return ""
    if value == float("inf"):
        return "never"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


# ---- running ----


def measure(results, system, plan, path, leave):
    """@plan: pairs of case and count. @leave: nothing follows the last, so it need not recover."""
    for at, (name, count) in enumerate(plan):
        say(f"{system.name}: {count} x {CASES[name][0]}")
        for number_of in range(count):
            note = system.note()
            sample = {**CASES[name][1](system), **note}
            results.add(system.name, name, sample)
            print("   ", {k: round(v, 3) if isinstance(v, float) else v
                          for k, v in sample.items()}, flush=True)
            if path:
                results.write(path)
            if not (leave and at == len(plan) - 1 and number_of == count - 1):
                system.recover()


def plans(options):
    if options.quick:
        return QUICK
    systems = options.system or [s for s in NAMES]
    chosen = {}
    for system in systems:
        chosen[system] = [(case, options.count or count)
                          for case, (_, _, whom, count) in CASES.items()
                          if system in whom and (not options.case or case in options.case)]
    return {system: plan for system, plan in chosen.items() if plan}


def parse():
    parser = argparse.ArgumentParser(prog="tests/bench/vip")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--build", metavar="DIR", required=True)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--system", action="append", choices=NAMES)
    parser.add_argument("--case", action="append", choices=[*CASES, "list"])
    parser.add_argument("--count", type=int)
    return parser.parse_args()


def main():
    options = parse()
    results = Results()
    if options.case == ["list"]:
        for name, (what, _, systems, count) in CASES.items():
            print(f"{name:14}{what}: {count} x {', '.join(systems)}")
        return 0
    if options.json and not options.quick:
        results.read(options.json)

    def end(number_of, frame):
        raise KeyboardInterrupt

    for number_of in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number_of, end)
    try:
        for name, plan in plans(options).items():
            system = vip_systems.make(name, options.build, options.keep)
            try:
                system.start()
                measure(results, system, plan, options.json, leave=True)
            finally:
                system.end()
    except (Failed, subprocess.CalledProcessError) as failure:
        print(f"tests/bench/vip: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    results.print()
    if options.json:
        results.write(options.json)
    missed = [row for row in results.rows() if row["met"] is False]
    return 1 if options.quick and missed else 0


if __name__ == "__main__":
    sys.exit(main())
