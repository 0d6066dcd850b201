"""tests/bench/gossip: membership of real agents beside serf's. See README.md.

N hosts are N namespaces on one bridge. Both systems run in them at the same time, so that what the
machine does besides strikes both. Loss is nftables' numgen in the bridge's forward hook: each frame
is lost on its own, once on its way from host to host."""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from flock import Failed, await_true, memory_kib
from gossip_systems import Covey, Net, Serf, detect, rejoin, say, settle, sh, traffic
from report import Report, quantile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
AGENTS_MAX = 120  # that find room on one machine
LOSS_LEARNT_S = 20  # into the loss, when the agents' estimates of it stand
MODEL_NEAR = {"detection": 0.10, "traffic": 0.15}  # how far memberlist's model may be from serf


def measure_crowd(report, nodes, programs, folder):
    """Of one agent among members that a single process plays: each with keys, records and a session
    of its own, which answers every probe. So many agents would not find room on one machine."""
    net = Net(1)
    covey = Covey(net, folder, programs)
    crowd = None
    try:
        net.up()
        covey.start_all()
        state = os.path.join(folder, "state1")
        say(f"one agent, and {nodes - 1} members that are played")
        began = time.monotonic()
        crowd = subprocess.Popen(
            net.command(1, os.path.join(programs, "gossip-crowd"), state, net.address(1),
                        net.address(1), "20000", str(nodes - 1)), stdin=subprocess.PIPE)

        def alive():
            status = covey.get(1, "/v1/status") or {}
            return sum(node["state"] == "alive" for node in status.get("nodes", []))

        await_true(240, f"{nodes} members", lambda: alive() == nodes, 1)
        say(f"all alive after {time.monotonic() - began:.0f} s")
        settle(net, (covey,))
        report.add(f"{nodes} nodes: memory of agentd", memory_kib(covey.processes[1].pid) / 1024,
                   "MiB", 11 if nodes <= 100 else 18)
        report.add(f"{nodes} nodes: of them alive in the end", alive(), "", least=nodes)
    finally:
        if crowd is not None:
            crowd.stdin.close()
            crowd.wait()
        covey.stop()
        net.down()


def modelled(programs, scenario, nodes, loss):
    """What the simulator's model of memberlist says, for comparison with the live one."""
    command = [os.path.join(programs, "covey-sim"), "--scenario", scenario, "--peer", "--json",
               "--nodes", str(nodes), "--loss", str(loss)]
    more = ["--seeds", "1-10"] if scenario == "detect" else ["--hours", "40"]
    return json.loads(sh(*command, *more).splitlines()[0])


def measure(report, nodes, options, programs, folder):
    net = Net(nodes)
    covey, serf = Covey(net, folder, programs), None
    random.seed(nodes)
    try:
        net.up()
        serf = Serf(net, folder)
        say(f"{nodes} nodes: both systems start")
        serf.start_all()
        covey.start_all()
        for system in (covey, serf):
            await_true(120, f"{system.label}: {nodes} members everywhere",
                       lambda system=system: all(map(system.complete, system.processes)), 0.3)
        settle(net, (covey, serf))
        run(report, net, covey, serf, nodes, options, programs)
    finally:
        for system in (covey, serf):
            if system is not None:
                system.stop()
        net.down()


def measure_memory(report, nodes, programs, folder):
    """Of agents in a large flock, without serf beside them."""
    net = Net(nodes)
    covey = Covey(net, folder, programs)
    try:
        net.up()
        say(f"{nodes} nodes start and join one by one")
        began = time.monotonic()
        covey.start_all()
        await_true(300, f"{nodes} members everywhere",
                   lambda: all(map(covey.complete, covey.processes)), 0.5)
        say(f"all see all after {time.monotonic() - began:.0f} s")
        settle(net, (covey,))
        sizes = [memory_kib(p.pid) / 1024 for p in covey.processes.values()]
        report.add(f"{nodes} nodes: memory of agentd, median", quantile(sizes, 0.5), "MiB",
                   11 if nodes <= 100 else 18, samples=sizes)
        report.add(f"{nodes} nodes: memory of agentd, largest", max(sizes), "MiB")
    finally:
        covey.stop()
        net.down()


def crash_group(serf, crashes, times, failures):
    """Kills a host of one cluster, waits until all have said so, and starts it again; and so on."""
    try:
        for _ in range(crashes):
            victim = random.choice(serf.hosts)
            time.sleep(random.uniform(0, 1.5))
            times.append(detect(serf, victim))
            rejoin(serf, victim)
    except Failed as failure:
        failures.append(failure)


def measure_model(report, nodes, options, programs, folder):
    """memberlist's model beside live serf: several clusters at once, so that there are enough
    crashes. Returns what is too far off."""
    groups = max(1, options.hosts // nodes)
    net = Net(groups * nodes)
    clusters = [Serf(net, folder, range(1 + group * nodes, 1 + (group + 1) * nodes))
                for group in range(groups)]
    times, failures, far = [], [], []
    try:
        net.up()
        say(f"serf alone, {groups} clusters of {nodes}")
        for cluster in clusters:
            cluster.start_all()
        for cluster in clusters:
            await_true(120, f"serf: {nodes} members everywhere",
                       lambda cluster=cluster: all(map(cluster.complete, cluster.processes)), 0.3)
        settle(net, clusters[:1])
        say(f"idle for {options.seconds} s")
        rates, _ = traffic(net, clusters[:1], options.seconds)
        each = -(-(options.crashes or 12) // groups)
        say(f"{groups} x {each} x kill -9")
        threads = [threading.Thread(target=crash_group, args=(cluster, each, times, failures))
                   for cluster in clusters]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
    finally:
        for cluster in clusters:
            cluster.stop()
        net.down()
    for what, unit, model, live, samples in (
            ("detection", "s", modelled(programs, "detect", nodes, 0)["median"],
             quantile(times, 0.5), times),
            ("traffic", "bytes/s", modelled(programs, "calm", nodes, 0)["bytes_per_s"],
             rates["serf"], None)):
        report.add(f"{nodes} nodes: {what} of the model, of live serf", model, unit, None, live,
                   samples)
        off = model / live - 1
        say(f"{nodes} nodes, {what}: model {model:.2f}, serf {live:.2f} {unit}: {off:+.1%}, "
            f"allowed {MODEL_NEAR[what]:.0%}")
        if abs(off) > MODEL_NEAR[what]:
            far.append(f"{what} at {nodes} nodes: {off:+.1%}")
    return far


def run(report, net, covey, serf, nodes, options, programs):
    seconds = options.seconds
    say(f"{nodes} nodes: idle for {seconds} s")
    rates, _ = traffic(net, (covey, serf), seconds)
    report.add(f"{nodes} nodes: sent, idle", rates["covey"], "bytes/s", 220, rates["serf"])
    model = modelled(programs, "calm", nodes, 0)
    report.add("  memberlist's model beside live serf", model["bytes_per_s"] / rates["serf"],
               "of 1")
    report.add(f"{nodes} nodes: memory of agentd", covey.memory_mib(), "MiB",
               10 if nodes == 2 else 11, serf.memory_mib())
    times = {"covey": [], "serf": []}
    repetitions = 2 if options.quick else 10 if nodes <= 5 else 5
    if options.crashes is not None:
        repetitions = options.crashes
    say(f"{nodes} nodes: {repetitions} x kill -9")
    for _ in range(repetitions):
        for system in (covey, serf):
            victim = random.randint(1, nodes)
            time.sleep(random.uniform(0, 1.5))
            times[system.label].append(detect(system, victim))
            rejoin(system, victim)
    if repetitions > 0:
        report_crashes(report, nodes, times, programs)
    for percent in [int(word) for word in options.loss.split(",") if word]:
        measure_loss(report, net, covey, serf, nodes, percent, options, programs)


def report_crashes(report, nodes, times, programs):
    goal = {"median": 2, "p99": 3} if nodes <= 10 else {"median": 4, "p99": 6}
    for what, share in (("median", 0.5), ("p99", 0.99)):
        report.add(f"{nodes} nodes: killed -> dead everywhere, {what}",
                   quantile(times["covey"], share), "s", goal[what],
                   quantile(times["serf"], share), times["covey"])
    model = modelled(programs, "detect", nodes, 0)
    report.add("  memberlist's model beside live serf",
               model["median"] / quantile(times["serf"], 0.5), "of 1", samples=times["serf"])


def measure_loss(report, net, covey, serf, nodes, percent, options, programs):
    say(f"{nodes} nodes: {percent} % loss for {2 * options.seconds} s")
    net.loss(percent)
    time.sleep(LOSS_LEARNT_S)
    rates, wrong = traffic(net, (covey, serf), 2 * options.seconds)
    net.loss(0)
    report.add(f"{nodes} nodes: sent, {percent} % loss", rates["covey"], "bytes/s",
               450 if percent == 20 else None, rates["serf"])
    if percent == 20 and nodes <= 16:
        model = modelled(programs, "calm", nodes, percent / 100)
        report.add("  memberlist's model beside live serf", model["bytes_per_s"] / rates["serf"],
                   "of 1")
    report.add(f"{nodes} nodes: wrong deaths, {percent} % loss", wrong["covey"], "pairs", 0,
               wrong["serf"])


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/gossip")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--nodes", default="")
    parser.add_argument("--memory", type=int, metavar="N", help="only the memory of N agents")
    parser.add_argument("--model", action="store_true",
                        help="only memberlist's model in the simulator beside live serf; exit status 1 "
                             "when detection is off by more than 10 %% or traffic by 15 %%")
    parser.add_argument("--crashes", type=int, help="of each system")
    parser.add_argument("--seconds", type=int, help="of idle traffic, and half of those with loss")
    parser.add_argument("--loss", default="5,20,30", help="per cent, one after the other")
    parser.add_argument("--hosts", type=int, default=20, help="with --model, about so many at once")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--build", metavar="DIR", required=True)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    options.seconds = options.seconds or (8 if options.quick else 60)
    if options.quick:
        options.loss = ""
    sizes = options.nodes or ("5" if options.quick else "2,5,16" if options.model else "2,5,16,32")
    programs = os.path.join(os.path.abspath(options.build), "bin")
    report = Report("gossip", ROOT)
    folder = tempfile.mkdtemp(prefix="covey-gossip.", dir="/var/tmp")
    os.chmod(folder, 0o755)
    far = []
    try:
        if options.memory:
            large = options.memory > AGENTS_MAX
            (measure_crowd if large else measure_memory)(report, options.memory, programs, folder)
        for nodes in [] if options.memory else sizes.split(","):
            inside = os.path.join(folder, nodes)
            os.mkdir(inside)
            os.chmod(inside, 0o755)
            if options.model:
                far += measure_model(report, int(nodes), options, programs, inside)
            else:
                measure(report, int(nodes), options, programs, inside)
    except Failed as failure:
        options.keep = True
        print(f"gossip: {failure}", file=sys.stderr)
        return 1
    finally:
        if options.keep:
            print(f"logs and states are kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    report.print("serf")
    if options.json:
        report.write_json(options.json)
    for what in far:
        print(f"gossip: the model is too far from serf: {what}", file=sys.stderr)
    return 1 if far or (options.quick and report.missed()) else 0


if __name__ == "__main__":
    sys.exit(main())
