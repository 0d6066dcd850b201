#!/usr/bin/env python3
"""The figures of membership in the simulator, beside their goals and beside memberlist's model.

    tests/sim/figures.py PROGRAM [--quick] [--only WORD] [--json FILE]

PROGRAM is covey-sim. Without --quick this takes hours of a processor: 3,000 node-hours for each
network, and 10,000 nodes. --quick is the same with fewer seeds and hours, and exits 1 when a goal
that it can see is missed."""

import argparse
import json
import subprocess
import sys

LOSSES = (0, 0.05, 0.2, 0.3)
# median and p99 in seconds, up to so many nodes
DETECT = ((10, 2, 3), (100, 4, 6), (1000, 6, 9), (10000, 9, 12))
FACTOR = {0: 1, 0.05: 1.1, 0.2: 1.5, 0.3: 2}
WRONG = {0: 0.001, 0.05: 0.001, 0.2: 0.01, 0.3: 0.05}  # deaths per node-hour
BYTES = {0: 220, 0.2: 450}
SIZES = (2, 3, 5, 10, 16, 32, 100, 1000)
PEER_MAX = 100  # nodes up to which memberlist's model is measured beside
HOURS = 3000


def detect_goal(nodes, loss):
    median, p99 = next((m, p) for limit, m, p in DETECT if nodes <= limit)
    return {"median": round(median * FACTOR[loss], 2), "p99": round(p99 * FACTOR[loss], 2)}


def rows(quick):
    """(scenario, nodes, loss, further arguments, goals, with the peer) of each measurement."""
    hours = "100" if quick else str(HOURS)
    sizes = (2, 5, 100) if quick else (*SIZES, 10000)
    for nodes in sizes:
        for loss in LOSSES if nodes < 10000 and not quick else (0, 0.2):
            seeds = "1-1" if nodes > 100 or quick else "1-10" if nodes <= 16 else "1-4"
            yield ("detect", nodes, loss, ["--seeds", seeds], detect_goal(nodes, loss),
                   nodes <= PEER_MAX)
    for nodes in (2, 5) if quick else SIZES:
        for loss in LOSSES:
            goals = {"deaths_per_hour": WRONG[loss]}
            if loss in BYTES:
                goals["bytes_per_s"] = BYTES[loss]
            of_loss = hours if loss > 0 else str(max(20, nodes // 4))
            yield "calm", nodes, loss, ["--hours", of_loss], goals, nodes <= PEER_MAX
    for name, some in (("power-save", (2, 3, 5, 16, 100)), ("bursts", (2, 3, 5, 16, 100)),
                       ("one-way", (3, 5, 16, 100)), ("datagrams", (2, 3, 5, 16, 100)),
                       ("laggards", (100, 300))):
        for nodes in some[:2] if quick else some:
            if quick and nodes > 5:
                continue
            yield (name, nodes, 0, ["--hours", hours, "--seeds", "1-2" if quick else "1-5"],
                   {"deaths": 0, "p99": 12}, False)
    for loss in (0, 0.2):
        yield "update", 100, loss, [], {"p99": 1 if loss == 0 else 2}, False
        yield ("cold-join", 100, loss, ["--seeds", "1-1" if quick else "1-10"],
               {"p99": 10 if loss == 0 else 20}, False)
    yield "move", 100, 0, [], {"median": 2, "p99": 5}, False
    if not quick:
        yield "partition", 4, 0, [], {"max": 60}, False
    yield "replay", 2, 0, [], {"accepted": 0}, False


def measure(program, scenario, nodes, loss, more):
    command = [program, "--scenario", scenario, "--nodes", str(nodes), "--loss", str(loss),
               "--json", *more]
    result = subprocess.run(command, capture_output=True, text=True)
    answers = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    if result.returncode != 0 or not answers:
        sys.exit(f"{' '.join(command)} ended with {result.returncode}: {result.stdout}"
                 f"{result.stderr}")
    merged = {key: value for answer in answers for key, value in answer.items()}
    merged["command"] = "covey-sim " + " ".join(command[1:])
    return merged


def show(value):
    return "-" if value is None else f"{value:g}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help="figures whose name has this in it")
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    results, missed = [], 0
    print("| figure | nodes | loss | what | covey | goal | memberlist | ratio | |\n"
          "|---|---|---|---|---|---|---|---|---|", flush=True)
    for scenario, nodes, loss, more, goals, beside in rows(arguments.quick):
        if arguments.only not in scenario:
            continue
        ours = measure(arguments.program, scenario, nodes, loss, more)
        few = [*more[:-1], "20"] if more[:1] == ["--hours"] else more
        peer = measure(arguments.program, scenario, nodes, loss, [*few, "--peer"]) \
            if beside else {}
        results.append({"covey": ours, "memberlist": peer, "goals": goals})
        for what, goal in goals.items():
            met = ours[what] <= goal
            missed += not met
            other = peer.get(what)
            ratio = ours[what] / other if other else None
            print(f"| {scenario} | {nodes} | {loss * 100:g} % | {what} | {show(ours[what])} | "
                  f"{goal:g} | {show(other)} | {'-' if ratio is None else f'{ratio:.2f}'} | "
                  f"{'' if met else 'MISSED'} |", flush=True)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
