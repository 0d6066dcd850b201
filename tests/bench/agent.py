"""tests/bench/agent: the budgets of agentd, with serf measured beside it. See README.md."""

import argparse
import base64
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import flock as flocks
from flock import PIS, Failed, await_true
from report import Report, median, quantile

WORKLOAD = "rest-api"  # two replicas, one on each Pi
WORKLOAD_FILE = "apps/web/rest-api.yaml"
CRON_FILE = "apps/batch/batch-job.yaml"  # runs each minute: nothing is idle then
GOSSIP_PORT = 8801
SERF_PORT = 7946
SETTLE_S = 5  # after a change: batches of events are written, repeated records acknowledged
# An agent that knows nothing of its former life neither votes nor takes over before (docs/vip.md,
# rule 8): what fails earlier is no single fault.
SILENCE_S = 6
PROBE_S = 0.01
PARTS = ("idle", "push", "failover")
COUNTERS = f"""
table inet covey_bench {{
    counter covey_udp {{ }}
    counter covey_tcp {{ }}
    counter serf {{ }}
    chain out {{
        type filter hook output priority 300
        udp sport {GOSSIP_PORT} counter name covey_udp
        tcp sport {GOSSIP_PORT} counter name covey_tcp
        tcp dport {GOSSIP_PORT} counter name covey_tcp
        udp sport {SERF_PORT} counter name serf
        tcp sport {SERF_PORT} counter name serf
        tcp dport {SERF_PORT} counter name serf
    }}
}}
"""


def say(text):
    print(f"==> {text}", flush=True)


# ---- serf, the peer: agents of its own on the same two Pis ----


class Serf:
    def __init__(self, flock):
        self.processes = {}
        key = base64.b64encode(os.urandom(16)).decode()
        first = flock.lab.address(PIS[0])
        for name in PIS:
            here = f"{flock.lab.address(name)}:{SERF_PORT}"
            self.processes[name] = flock.lab.start(
                name,
                *("serf", "agent", "-node", name, "-bind", here),
                *("-encrypt", key, "-retry-join", f"{first}:{SERF_PORT}", "-retry-interval=1s"),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        await_true(10, "the agents of serf", lambda: all(map(self.complete, flock.pis.values())))

    def complete(self, pi):
        if self.processes[pi.name].poll() is not None:
            raise Failed(f"serf on {pi.name} has ended")
        answer = subprocess.run(
            pi.lab.command(pi.name, "serf", "members"), capture_output=True, text=True
        )
        return answer.stdout.count("alive") == len(PIS)

    def stop(self):
        for process in self.processes.values():
            process.kill()
            process.wait()


# ---- idle ----


def counters(pi):
    text = pi.lab.run(pi.name, "nft", "-j", "list", "counters", "table", "inet", "covey_bench")
    found = [item["counter"] for item in json.loads(text)["nftables"] if "counter" in item]
    return {counter["name"]: counter["bytes"] for counter in found}


def sample(pi, serf):
    """Asked in the order that makes the own counters older than the kernel's, never younger."""
    wire = pi.get("/v1/status")["wire"]
    pid = pi.process.pid
    values = {
        "time": time.monotonic(),
        "gossip": wire["sentBytes"],
        "lease": wire["sentLeaseBytes"],
        "cpu": flocks.cpu_seconds(pid),
        "written": flocks.written_bytes(pid),
        **counters(pi),
    }
    if serf:
        values["serf_cpu"] = flocks.cpu_seconds(serf.processes[pi.name].pid)
    return values


def idle(flock, seconds, serf=None):
    """What each Pi used per second, over so many seconds without any request to it."""
    before = {pi.name: sample(pi, serf) for pi in flock.pis.values()}
    time.sleep(seconds)
    rates = {}
    for pi in flock.pis.values():
        after = sample(pi, serf)
        past = after["time"] - before[pi.name]["time"]
        rates[pi.name] = {
            key: (after[key] - before[pi.name][key]) / past for key in after if key != "time"
        }
    return rates


def worst(rates, key):
    return max(rate[key] for rate in rates.values())


def own_count_error(rates):
    """How far the agents' own counts are from the kernel's, in percent."""
    shares = [
        abs(rate["gossip"] + rate["lease"] - rate["covey_udp"]) / rate["covey_udp"]
        for rate in rates.values()
    ]
    return 100 * max(shares)


def memory_mib(pids, name="VmRSS"):
    return max(flocks.memory_kib(pid, name) for pid in pids) / 1024


def shims(flock):
    for name in PIS:
        for pid in flock.lab.run("ap", "ip", "netns", "pids", f"{flock.lab.prefix}-{name}").split():
            with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
                if file.read().strip() == "agent-shim":
                    yield pid


def report_idle(report, flock, serf, rates, holder):
    agents = [pi.process.pid for pi in flock.pis.values()]
    serfs = [process.pid for process in serf.processes.values()]
    voter = next(name for name in PIS if name != holder)

    report.add("memory of agentd (VmRSS)", memory_mib(agents), "MiB", 10, memory_mib(serfs))
    report.add(
        "  of it its own (RssAnon)",
        memory_mib(agents, "RssAnon"),
        "MiB",
        peer=memory_mib(serfs, "RssAnon"),
    )
    report.add("memory of one agent-shim (VmRSS)", memory_mib(shims(flock)), "MiB")
    report.add(
        "processor", 100 * worst(rates, "cpu"), "% of a core", 0.5, 100 * worst(rates, "serf_cpu")
    )
    report.add("gossip sent", worst(rates, "gossip"), "bytes/s", 220, worst(rates, "serf"))
    report.add("  of it by TCP", worst(rates, "covey_tcp"), "bytes/s")
    report.add("lease stream, sent by the holder", rates[holder]["lease"], "bytes/s", 1200)
    report.add("lease stream, sent by the voter", rates[voter]["lease"], "bytes/s", 1200)
    report.add("own counters against nftables", own_count_error(rates), "% off", 2)
    report.add("written to flash", worst(rates, "written") * 3600 / 1024, "KiB/h")


def measure_idle(report, flock, quick):
    seconds = 20 if quick else 60
    serf = Serf(flock)
    for pi in flock.pis.values():
        pi.lab.run(pi.name, "nft", "-f", "-", input=COUNTERS)
    if not quick:
        say("Idle without a desired state: 30 s")
        time.sleep(SETTLE_S)
        rates = idle(flock, 30, serf)
        report.add(
            "without a desired state: processor",
            100 * worst(rates, "cpu"),
            "% of a core",
            peer=100 * worst(rates, "serf_cpu"),
        )
        report.add(
            "without a desired state: gossip sent",
            worst(rates, "gossip"),
            "bytes/s",
            peer=worst(rates, "serf"),
        )
    say("git push of provisioning/example, without its cron workload")
    flock.push_example(without=[CRON_FILE])
    _, holder = await_true(10, "an owner of the address", flock.vip)
    say(f"Idle, {holder} holds an address, three instances run and are probed: {seconds} s")
    time.sleep(SETTLE_S)
    report_idle(report, flock, serf, idle(flock, seconds, serf), holder)
    serf.stop()


# ---- push ----


def states(flock):
    """Of each Pi its own word: commit, and generation and state of its replica."""
    result = {}
    for pi in flock.pis.values():
        status = pi.get("/v1/status")
        commit = next(n["commit"]["commit"] for n in status["nodes"] if n["self"])
        replicas = [
            (i["generation"], i["state"]) for i in pi.own_instances(WORKLOAD, status=status)
        ]
        result[pi.name] = (commit, replicas)
    return result


def one_push(flock, number):
    """Seconds from the end of git push to both commits applied, and to both replicas ready."""
    old = {replicas[0][0] for _, replicas in states(flock).values()}
    flock.set_env(WORKLOAD_FILE, "BENCH", number)
    flock.commit(f"change {number}")
    commit = flock.git("rev-parse", "HEAD")
    began = time.monotonic()
    flock.push()
    pushed = time.monotonic()
    applied = None

    def done():
        nonlocal applied
        now = states(flock).values()
        if applied is None and all(c == commit for c, _ in now):
            applied = time.monotonic()
        return applied and all(
            len(replicas) == 1 and replicas[0][0] not in old and replicas[0][1] == "ready"
            for _, replicas in now
        )

    await_true(30, f"push {number} to run on both Pis", done, pause=0.005)
    return pushed - began, applied - pushed, time.monotonic() - pushed


def measure_push(report, flock, count):
    say(f"{count} pushes, each of which restarts both replicas of {WORKLOAD}")
    before = {pi.name: flocks.written_bytes(pi.process.pid) for pi in flock.pis.values()}
    times = []
    for number in range(count):
        times.append(one_push(flock, number))
        await_true(15, "the flock to be healthy", flock.healthy)
    time.sleep(SETTLE_S)
    written = max(
        flocks.written_bytes(pi.process.pid) - before[pi.name] for pi in flock.pis.values()
    )
    pushing, applying, running = zip(*times)
    report.add("git push itself, median", median(pushing), "s", samples=pushing)
    report.add("accepted -> applied on both, median", median(applying), "s", samples=applying)
    report.add("accepted -> both replicas run it, median", median(running), "s", 1, samples=running)
    report.add("accepted -> both replicas run it, p99", quantile(running, 0.99), "s")
    report.add("written to flash by a push", written / count / 1024, "KiB")


# ---- failover ----


class Probes:
    """A client that asks the address every 10 ms."""

    def __init__(self, flock, address):
        self.path = os.path.join(flock.disk, "probes")
        with open(self.path, "wb") as out:
            self.process = flock.lab.start(
                "client",
                *("stdbuf", "-oL", "ping", "-n", "-D", "-i", str(PROBE_S), address),
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        await_true(5, f"answers from {address}", lambda: len(self.answers()) > 20)

    def answers(self):
        with open(self.path, encoding="utf-8") as file:
            answers = re.findall(r"^\[([\d.]+)\] \d+ bytes from", file.read(), re.M)
        return [float(answer) for answer in answers]

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()


def outage(answers, since):
    """The longest time without an answer, from the last one before @since on."""
    start = max((i for i, t in enumerate(answers) if t < since), default=0)
    gaps = [b - a for a, b in zip(answers[start:], answers[start + 1 :])]
    return max(gaps)


def one_failure(flock, fail):
    address, owner = await_true(15, "an owner of the address", flock.vip)
    survivor = next(pi for pi in flock.pis.values() if pi.name != owner)
    probes = Probes(flock, address)
    time.sleep(random.uniform(0, 0.5))  # anywhere between two renewals
    since = time.time()
    fail(flock.pis[owner])
    await_true(
        20,
        f"{survivor.name} to take the address over",
        lambda: any(vip["here"] for vip in survivor.get("/v1/status")["vips"]),
    )
    taken = time.time()
    await_true(
        20, f"answers from {survivor.name}", lambda: sum(t > taken for t in probes.answers()) > 20
    )
    probes.stop()
    return flock.pis[owner], outage(probes.answers(), since)


def measure_failover(report, flock, count, quick):
    say(f"{count} x kill -9 of agentd of the Pi that holds the address")
    agent, machine = [], []
    for number in range(count):
        pi, seconds = one_failure(flock, lambda pi: pi.kill_agent())
        agent.append(seconds)
        pi.start_agent()
        await_true(30, "the flock to be healthy", flock.healthy)
    say(f"{count} x power cut of the Pi that holds the address")
    for number in range(count):
        pi, seconds = one_failure(flock, lambda pi: pi.cut_power())
        machine.append(seconds)
        if quick and number + 1 == count:
            break
        pi.boot()
        await_true(60, "the flock to be healthy", flock.healthy)
        time.sleep(SILENCE_S)
    for what, times in (("agentd killed", agent), ("Pi cut off", machine)):
        report.add(f"{what}: no answers, median", median(times), "s", samples=times)
        report.add(f"{what}: no answers, longest", max(times), "s", 4)


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/agent")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--pushes", type=int, metavar="N")
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--build", metavar="DIR", required=True)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    parts = options.only or PARTS
    report = Report("agent", flocks.ROOT)

    def end(number, frame):
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    try:
        say("Two Pis in namespaces form a flock")
        with flocks.Flock("bench-agent", options.build, options.keep) as flock:
            if "idle" in parts:
                measure_idle(report, flock, options.quick)
            else:
                flock.push_example(without=[CRON_FILE])
                await_true(10, "an owner of the address", flock.vip)
            if "push" in parts:
                measure_push(report, flock, options.pushes or (5 if options.quick else 50))
            if "failover" in parts:
                measure_failover(report, flock, 1 if options.quick else 5, options.quick)
    except (Failed, subprocess.CalledProcessError) as failure:
        print(f"tests/bench/agent: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    report.print("serf")
    if options.json:
        report.write_json(options.json)
    return 1 if options.quick and report.missed() else 0


if __name__ == "__main__":
    sys.exit(main())
