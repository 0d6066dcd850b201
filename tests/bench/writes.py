"""Bytes that agentd writes to the disk: while nothing happens, and for what may. tests/bench/gitops
--idle MINUTES runs it."""

import os
import signal
import time

from flock import Failed, await_true, written_bytes

GOAL_DAY = 2e6  # bytes of a day on which nothing happens
EVENTS = 5  # killed processes
SAMPLE_S = 60
WEB = """apiVersion: covey.dev/v1
kind: Workload
metadata: {name: web}
spec:
  replicas: 2
  command: [rest-api]
  ports: [{name: http, port: 5000}]
  readinessProbe: {httpGet: {path: /ready, port: http}, periodSeconds: 5}
---
apiVersion: covey.dev/v1
kind: VirtualIP
metadata: {name: front}
spec: {mode: solo}
"""


def settle(pi):
    """Until what the last change left to be written is written."""
    last = [-1, 0]

    def quiet():
        now = written_bytes(pi.process.pid)
        if now != last[0]:
            last[:] = [now, time.monotonic()]
        return time.monotonic() - last[1] > 10

    await_true(60, f"{pi.name} to write nothing", quiet, pause=1)


def idle(flock, minutes, say):
    """Bytes of each Pi's agentd, in samples of a minute, and how long that was in seconds."""
    for pi in flock.pis.values():
        settle(pi)
    began = time.monotonic()
    before = {pi.name: written_bytes(pi.process.pid) for pi in flock.pis.values()}
    samples = {name: [] for name in before}
    for minute in range(minutes):
        time.sleep(max(0, began + (minute + 1) * SAMPLE_S - time.monotonic()))
        for pi in flock.pis.values():
            if pi.process.poll() is not None:
                raise Failed(f"agentd of {pi.name} has ended")
            samples[pi.name].append(written_bytes(pi.process.pid) - before[pi.name])
        if minute % 10 == 9:
            say(f"{minute + 1} minutes: " +
                ", ".join(f"{name} {values[-1]} B" for name, values in samples.items()))
    return samples, time.monotonic() - began


def events(flock):
    """Bytes of the Pi on which a process is killed, for each time: it ends, starts, is ready."""
    pi = flock.pis["pi1"]
    costs = []
    for _ in range(EVENTS):
        settle(pi)
        before = written_bytes(pi.process.pid)
        instance = next(i for i in pi.own_instances("web") if i["state"] == "ready")
        os.kill(instance["pid"], signal.SIGKILL)
        await_true(60, "the process that replaces it", lambda: any(
            i["state"] == "ready" and i["pid"] != instance["pid"] for i in pi.own_instances("web")))
        settle(pi)
        costs.append(written_bytes(pi.process.pid) - before)
    return costs


def commits(flock):
    """Bytes of each Pi for a commit that changes one document and restarts nothing."""
    costs = {name: [] for name in flock.pis}
    for number in range(3):
        for pi in flock.pis.values():
            settle(pi)
        before = {pi.name: written_bytes(pi.process.pid) for pi in flock.pis.values()}
        flock.write("apps/web/more.yaml", "apiVersion: v1\nkind: ConfigMap\n"
                    f"metadata: {{name: more}}\ndata: {{number: '{number}'}}\n")
        flock.commit(f"number {number}")
        flock.push()
        head = flock.git("rev-parse", "HEAD")
        await_true(30, "the commit", lambda: all(
            pi.own_commit() == head for pi in flock.pis.values()))
        for pi in flock.pis.values():
            settle(pi)
            costs[pi.name].append(written_bytes(pi.process.pid) - before[pi.name])
    return costs


def measure(flock, minutes, report, say):
    flock.write("apps/web/web.yaml", WEB)
    flock.commit("two replicas and an address")
    flock.push()
    await_true(60, "the flock to be healthy", flock.healthy)
    say(f"nothing happens, for {minutes} minutes")
    samples, seconds = idle(flock, minutes, say)
    for name, values in samples.items():
        report.add(f"{name}: written in {minutes} idle minutes", values[-1], "B", samples=values)
    worst = max(values[-1] for values in samples.values())
    report.add("  the same rate for a day, worst Pi", worst / seconds * 86400 / 1e6, "MB",
               GOAL_DAY / 1e6)
    say("a killed process, several times")
    costs = events(flock)
    report.add("a process is killed and replaced", max(costs), "B", samples=costs)
    say("commits that restart nothing")
    for name, values in commits(flock).items():
        report.add(f"{name}: a commit", max(values), "B", samples=values)
