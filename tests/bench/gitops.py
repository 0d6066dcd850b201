"""tests/bench/gitops: from a push to a converged flock, and back. See README.md and docs/gitops.md."""

import argparse
import glob
import os
import random
import subprocess
import sys
import time

import flock as flocks
import writes
from flock import Failed, await_true, memory_kib, written_bytes
from report import Report, median, quantile

TIMEOUT_S = 5  # healthTimeoutSeconds
STABLE_S = 31  # a process that ends sooner is held back before its next start
MANY = 1000  # workloads of a large commit
NODES = tuple(f"pi{n}" for n in range(1, 11))
CLUSTER = f"""apiVersion: covey.dev/v1
kind: Cluster
metadata: {{name: bench}}
spec:
  pool: 10.77.0.210-10.77.0.230
  sync: {{healthTimeoutSeconds: {TIMEOUT_S}}}
"""
# A process that leaves the moment of its start behind.
PROBE = """apiVersion: covey.dev/v1
kind: Workload
metadata: {{name: probe}}
spec:
  command: [sh, -c, 'date +%s.%N > "$HOME/started-$ROUND"; {then}']
  nodeSelector: {{covey.dev/node: pi2}}
  env: [{{name: ROUND, value: "{round}"}}]
"""
# One process on each of ten.
EVERYWHERE = """apiVersion: covey.dev/v1
kind: Workload
metadata: {name: everywhere}
spec:
  replicas: 10
  command: [sh, -c, 'date +%s.%N > "$HOME/started"; exec sleep 100000']
"""
# A process whose file somebody edits.
EDITED = """apiVersion: covey.dev/v1
kind: Workload
metadata: {name: edited}
spec:
  command: [sleep, "100000"]
  nodeSelector: {covey.dev/node: pi2}
  files: [{path: etc/edited.conf, content: "as the repository says"}]
"""
LARGE = """apiVersion: covey.dev/v1
kind: Workload
metadata: {{name: large-{n}, labels: {{tier: large}}}}
spec:
  replicas: 2
  command: [sleep, "{seconds}"]
  nodeSelector: {{covey.dev/node: nowhere}}
  ports: [{{name: http, port: {port}}}]
  env:
    - {{name: NUMBER, value: "{n}"}}
    - {{name: GREETING, value: "from the document number {n}"}}
  readinessProbe: {{httpGet: {{path: /ready, port: http}}}}
---
"""


def say(text):
    print(f"==> {text}", flush=True)


class Bench:
    def __init__(self, flock):
        self.flock = flock
        self.pi1 = flock.pis["pi1"]
        self.pi2 = flock.pis.get("pi2")
        self.round = 0

    def push(self, subject):
        """Pushes and returns the commit and when the branch moved, by the wall clock."""
        self.flock.commit(subject)
        began = time.time()
        self.flock.push()
        commit = self.flock.git("rev-parse", "HEAD")
        branch = os.path.join(self.pi1.disk, "state", "flock.git", "refs", "heads", "main")
        try:
            return commit, os.stat(branch).st_mtime_ns / 1e9
        except FileNotFoundError:  # git has packed it: the whole push counts
            return commit, began

    def probe(self, then="sleep 100000"):
        self.round += 1
        self.flock.write("apps/bench/probe.yaml", PROBE.format(round=self.round, then=then))

    def started(self, number=None):
        """When the process of this round began; 0: not yet."""
        path = os.path.join(self.pi2.disk, "state", "instances", "probe.0",
                            f"started-{number or self.round}")
        try:
            with open(path, encoding="ascii") as file:
                return float(file.read() or 0)
        except FileNotFoundError:
            return 0

    def forget(self, number):
        os.remove(os.path.join(self.pi2.disk, "state", "instances", "probe.0", f"started-{number}"))

    def good(self):
        def own(pi):
            return next(n for n in pi.get("/v1/status")["nodes"] if n["self"])["commit"]

        await_true(60, "the commit to be called good on both Pis",
                   lambda: all(own(pi)["health"] == "good" for pi in self.flock.pis.values()))

    # ---- what is measured ----

    def pushes(self, count):
        times = []
        for _ in range(count):
            self.probe()
            _, accepted = self.push(f"round {self.round}")
            await_true(20, "the new process", self.started, pause=0.01)
            times.append(self.started() - accepted)
        return times

    def kills(self, count):
        times = []
        for _ in range(count):
            pid = await_true(20, "the process", lambda: next(
                (i["pid"] for i in self.pi2.own_instances("probe") if i["state"] == "ready"), None))
            await_true(STABLE_S + 5, "a stable run",
                       lambda: time.time() - self.started() > STABLE_S)
            self.forget(self.round)
            began = time.time()
            os.kill(pid, 9)
            await_true(20, "the process that replaces it", self.started, pause=0.01)
            times.append(self.started() - began)
        return times

    def edits(self, count):
        """Until a file that was edited, at any time between two looks of agentd, is as before."""
        path = os.path.join(self.pi2.run_dir, "files", "edited.0", "etc", "edited.conf")

        def content():
            with open(path, encoding="utf-8") as file:
                return file.read()

        await_true(20, "the file", lambda: os.path.exists(path))
        wanted = content()
        times = []
        for _ in range(count):
            time.sleep(random.uniform(0, 2))
            with open(path, "w", encoding="utf-8") as file:
                file.write("edited by hand")
            began = time.monotonic()
            await_true(20, "the file to be written anew",
                       lambda: os.path.exists(path) and content() == wanted, pause=0.005)
            times.append(time.monotonic() - began)
        return times

    def way_back(self):
        """Seconds beyond the timeout until the last good process runs again."""
        self.good()
        last = self.round
        self.probe(then="exit 1")
        self.forget(last)
        _, accepted = self.push("a commit that fails")
        await_true(TIMEOUT_S + 30, "the last good process", lambda: self.started(last), pause=0.01)
        return self.started(last) - accepted - TIMEOUT_S

    def large(self):
        """Until the agent that was pushed to has it applied and stored; its memory then."""
        text = "".join(LARGE.format(n=n, seconds=n, port=1024 + n) for n in range(MANY))
        self.flock.write("apps/bench/large.yaml", text)
        self.probe()  # the one that fails is gone
        commit, accepted = self.push("a large commit")
        await_true(30, "the large commit", lambda: self.pi1.get("/v1/history?limit=1")["items"][0][
            "commit"] == commit, pause=0.01)
        return time.time() - accepted, memory_kib(self.pi1.process.pid, "VmHWM") / 1024

    def sync(self):
        connection = flocks.UnixConnection(os.path.join(self.pi1.run_dir, "agent.sock"))
        connection.request("POST", "/v1/sync", body=b"")
        connection.getresponse().read()
        connection.close()

    def resync(self, count):
        pid = self.pi1.process.pid
        time.sleep(5)  # what the last change left to be written
        before = written_bytes(pid)
        times = []
        for _ in range(count):
            began = time.monotonic()
            self.sync()
            times.append(time.monotonic() - began)
        return times, written_bytes(pid) - before


def started_everywhere(flock):
    """When each replica began, on whichever node; fewer than there are nodes: not all have."""
    found = []
    for pi in flock.pis.values():
        found += glob.glob(os.path.join(pi.disk, "state", "instances", "everywhere.*", "started"))
    times = []
    for path in found:
        with open(path, encoding="ascii") as file:
            times.append(float(file.read() or 0))
    return times if len(times) == len(flock.pis) and min(times) > 0 else None


def many_nodes(build, keep):
    """Until all of ten nodes have applied what was pushed to one, which has no origin at all; and
    until the last of ten processes runs, one on each."""
    with flocks.Flock("bench-gitops-ten", build, keep, pis=NODES) as flock:
        flock.clone()
        flock.write("cluster.yaml", CLUSTER)
        flock.write("apps/bench/everywhere.yaml", EVERYWHERE)
        bench = Bench(flock)
        commit, accepted = bench.push("for ten nodes")
        await_true(30, "ten nodes to have the commit", lambda: all(
            pi.own_commit() == commit for pi in flock.pis.values()), pause=0.02)
        have_it = time.time() - accepted
        times = await_true(30, "ten processes", lambda: started_everywhere(flock), pause=0.02)
        return have_it, max(times) - accepted


def measure(report, build, quick, keep):
    with flocks.Flock("bench-gitops", build, keep) as flock:
        flock.clone()
        flock.write("cluster.yaml", CLUSTER)
        bench = Bench(flock)
        say("pushes, until the process runs on the other Pi")
        times = bench.pushes(8 if quick else 60)
        report.add("push accepted to process on the other Pi, median", median(times), "s", 0.5,
                   samples=times)
        report.add("  p99", quantile(times, 0.99), "s", 1.5)
        say("edited files")
        flock.write("apps/bench/edited.yaml", EDITED)
        bench.push("a file")
        times = bench.edits(5 if quick else 20)
        report.add("edited file to its old content, worst", max(times), "s", 2.0, samples=times)
        say("killed processes")
        times = bench.kills(1 if quick else 3)
        report.add("killed process to its replacement, worst", max(times), "s", 1.0, samples=times)
        say("a commit that fails")
        report.add("failed health: last good process, beyond the timeout", bench.way_back(), "s", 2.0)
        say(f"{MANY} workloads in one commit")
        seconds, memory = bench.large()
        report.add(f"{MANY} workloads parsed, validated, diffed, stored", seconds, "s", 1.0)
        report.add("  peak memory of agentd", memory, "MiB", 25.0)
        say("a resync without a change")
        times, written = bench.resync(10 if quick else 50)
        report.add("resync without change, median", median(times) * 1000, "ms", 10.0, samples=times)
        report.add("  bytes written to the store", written, "B", 0)
    if not quick:
        say("ten nodes")
        have_it, run = many_nodes(build, keep)
        report.add("push to one of ten, no origin: all have it", have_it, "s", 5.0)
        report.add("  a new process runs on each of them", run, "s", 5.0)


def measure_writes(report, build, minutes, keep):
    with flocks.Flock("bench-gitops-writes", build, keep) as flock:
        flock.clone()
        flock.write("cluster.yaml", CLUSTER)
        writes.measure(flock, minutes, report, say)


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/gitops")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--build", required=True)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--idle", metavar="MINUTES", type=int)
    options = parser.parse_args()
    report = Report("gitops", flocks.ROOT)
    try:
        if options.idle:
            measure_writes(report, options.build, options.idle, options.keep)
        else:
            measure(report, options.build, options.quick, options.keep)
    except (Failed, subprocess.CalledProcessError) as failure:
        print(f"tests/bench/gitops: {failure}", file=sys.stderr)
        return 2
    report.print("peer")
    if options.json:
        report.write_json(options.json)
    return 1 if report.missed() else 0


if __name__ == "__main__":
    sys.exit(main())
