"""tests/bench/kills: kill -9 of agentd at random moments under churn. See kills --help."""

import argparse
import json
import os
import random
import re
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

from report import Report, median, quantile, run_main
from supervise import Covey, Failed, await_true, stamps, workshop

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COUNT = 40
CALM_KILLS = 200  # then the agent lives long enough to have the next runs kept ready
CALM_S = 60
SETTLE_S = 120  # a program that has often died early waits for its back-off
STAY_S = 0.5  # a process that ends and the one that follows are not seen together for so long


class Agent(Covey):
    """One agent whose workloads count their lines."""

    def workload(self, index, **spec):
        return json.dumps({"apiVersion": "covey.dev/v1", "kind": "Workload",
                           "metadata": {"name": f"w{index}"},
                           "spec": {"command": [str(self.load), str(self.file(index))],
                                    "terminationGracePeriodSeconds": 5,
                                    "securityContext": {"writablePaths": [str(self.stamp_dir)],
                                                        "privateTmp": False}, **spec}})

    def living(self, index):
        """Processes of a workload, of all that were ever started."""
        found = []
        for pid, _ in stamps(self.file(index))[-6:]:
            try:
                if os.readlink(f"/proc/{pid}/exe") == str(self.load):
                    found.append(pid)
            except OSError:
                pass
        return found


class Churn:
    """What is done to the workloads, and how often each of them may have been started for it."""

    def __init__(self, agent, chance):
        self.agent = agent
        self.chance = chance
        self.causes = Counter()  # one start each at most, and one at least for all of a round
        self.exits = 0  # asked for, with code 7
        self.found = []  # ms from a start of agentd until it shows all that run on

    def end(self, number):
        index = self.chance.randrange(COUNT)
        living = self.agent.living(index)
        if self.causes[index] or not living:
            return
        self.causes[index] += 1
        kind = self.chance.choice([signal.SIGKILL, signal.SIGUSR1])
        self.exits += kind == signal.SIGUSR1
        os.kill(living[0], kind)

    def change(self, number):
        index = self.chance.randrange(COUNT)
        if self.causes[index]:
            return
        self.causes[index] += 1
        self.agent.push({f"apps/bench/w{index}.yaml": self.agent.workload(
            index, env=[{"name": "ROUND", "value": str(number)}])})

    def round(self, number):
        chance = self.chance
        self.causes.clear()
        for _ in range(chance.choice([0, 1, 1, 2])):
            chance.choice([self.end, self.end, self.change])(number)
        time.sleep(chance.random() ** 2 * 0.5)
        self.agent.process.kill()
        self.agent.process.wait()
        kills = 1
        if chance.random() < 0.3:
            self.end(number)  # while no agent is there
        while chance.random() < 0.3:  # and again while it starts
            self.agent.start()
            time.sleep(chance.random() * 0.15)
            self.agent.process.kill()
            self.agent.process.wait()
            kills += 1
        self.start_and_find()
        return kills

    def start_and_find(self):
        alive = {f"w{i}.0": self.agent.living(i) for i in range(COUNT) if not self.causes[i]}
        began = time.monotonic_ns()
        self.agent.start()

        def complete():
            shown = self.agent.instances()
            return all([shown.get(name, {}).get("pid")] == pids for name, pids in alive.items())

        await_true(20, "agentd finds what runs", complete)
        self.found.append((time.monotonic_ns() - began) / 1e6)


def settle(agent, churn, before, number):
    """Waits for the round's end; what is wrong then."""
    wrong = []
    doubled = {}

    def complete():
        done = True
        for index in range(COUNT):
            living = agent.living(index)
            if len(living) > 1:
                since = doubled.setdefault(index, time.monotonic())
                if time.monotonic() - since > STAY_S:
                    wrong.append(f"round {number}: w{index} runs {len(living)} times")
                    return True
            else:
                doubled.pop(index, None)
            started = len(stamps(agent.file(index))) - before[index]
            done = done and len(living) == 1 and (started > 0 or not churn.causes[index])
        return done

    try:
        await_true(20, "agentd answers again", agent.answers)
        await_true(SETTLE_S, "every workload runs", complete)
    except Failed as error:
        wrong.append(f"round {number}: {error}")
    for index in range(COUNT):
        started = len(stamps(agent.file(index))) - before[index]
        if len(agent.living(index)) != 1:
            wrong.append(f"round {number}: w{index} runs {len(agent.living(index))} times")
        elif started != churn.causes[index]:
            wrong.append(f"round {number}: w{index} was started {started} times for "
                         f"{churn.causes[index]} causes")
    return wrong


def lost_lines(agent):
    """Gaps in what each process has written, in the order of its log. Returns lines and gaps."""
    count = 0
    gaps = []
    for index in range(COUNT):
        folder = agent.folder / "state/logs" / f"w{index}.0"
        files = sorted(folder.glob("log.*"), key=lambda f: -int(f.suffix[1:])) + [folder / "log"]
        last = {}
        rotated = len(files) > 4  # the oldest may be gone
        for file in files:
            for line in file.read_text().splitlines():
                if line.split(" ", 2)[1:2] == ["run"]:  # how a run has ended
                    continue
                found = re.match(r"\S+ stdout F (\d+) (\d+|end)$", line)
                if not found:
                    gaps.append(f"w{index}: {line!r}")
                    continue
                count += 1
                pid, value = found.groups()
                wanted = last.get(pid, 0) + 1
                if value == "end" or int(value) == wanted or (rotated and pid not in last):
                    last[pid] = wanted if value == "end" else int(value)
                else:
                    gaps.append(f"w{index}: {line!r} instead of {wanted}")
                    last[pid] = int(value)
    return count, gaps


def measure(report, agent, kills, chance):
    churn = Churn(agent, chance)
    wrong = []
    done = rounds = ends = calms = 0
    began = time.monotonic()
    while done < kills:
        if done >= calms * CALM_KILLS:
            calms += 1
            await_true(CALM_S, "every shim keeps a process ready",
                       lambda: len(agent.standbys()) == COUNT)
        before = [len(stamps(agent.file(i))) for i in range(COUNT)]
        done += churn.round(rounds)
        rounds += 1
        ends += sum(churn.causes.values())
        wrong += settle(agent, churn, before, rounds)
        if rounds % 25 == 0:
            print(f"==> {done} kills in {time.monotonic() - began:.0f} s, {ends} ends and changes, "
                  f"wrong: {len(wrong)}", flush=True)
    lines, gaps = lost_lines(agent)
    report.add(f"workloads doubled, lost or wrongly restarted in {done} kills", len(wrong), "", 0)
    report.add(f"lines lost of {lines:,}", len(gaps), "", 0)
    report.add(f"agentd's start to all of {COUNT} workloads found again, median",
               median(churn.found), "ms", 1000)
    report.notes.append(f"found again: p99 {quantile(churn.found, 0.99):.0f} ms, "
                        f"max {max(churn.found):.0f}, n = {len(churn.found)}")
    report.notes.append(f"{COUNT} workloads, {rounds} rounds, {ends} of their processes ended or "
                        f"changed, {churn.exits} with an exit code of their own, "
                        f"{time.monotonic() - began:.0f} s")
    report.notes += wrong[:20] + gaps[:20]


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--kills", type=int, default=1000)
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options.add_argument("--json")
    options.add_argument("--build", required=True)
    options = options.parse_args()
    report = Report("kills", ROOT)
    folder, load = workshop("kills_load")
    agent = Agent(folder / "covey", Path(options.build).resolve() / "bin", load)
    print(f"==> seed {options.seed}", flush=True)
    try:
        agent.begin(COUNT)
        await_true(60, "the first start of all programs",
                   lambda: all(len(agent.living(i)) == 1 for i in range(COUNT)))
        measure(report, agent, options.kills, random.Random(options.seed))
    finally:
        agent.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return report.end("peer", options.json)


if __name__ == "__main__":
    run_main("kills", main, Failed)
