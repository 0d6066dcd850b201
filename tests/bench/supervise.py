"""tests/bench/supervise: agentd as a supervisor, beside runit, s6 and supervisord. See README.md."""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from report import Report, median, quantile, run_main

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
STABLE_S = 31  # agentd: a run of 30 s is a stable one, and its end is followed by a start at once
COUNT = 20
MANY = 200
LINE = 100
RELAXED = {"privateTmp": False, "readOnlyRootFilesystem": False,
           "allowPrivilegeEscalation": True, "seccompProfile": {"type": "Unconfined"}}
PARTS = ("memory", "restarts", "logs", "upgrades", "many", "kills")


def say(text):
    print(f"==> {text}", flush=True)


class Failed(Exception):
    pass


def run(*command, check=True, **options):
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    if check and result.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: {result.stderr or result.stdout}")
    return result


def await_true(seconds, what, condition):
    end = time.monotonic() + seconds
    late = False
    while True:
        value = condition()
        if value:
            return value
        if late:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(0.02)
        late = time.monotonic() > end  # and is asked once more: this program may have been stopped


def pss(pid):
    """Kilobytes."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return int(text.split("\nPss:")[1].split()[0])


def cpu_ticks(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def stamps(file):
    """(pid, ns) of every start so far."""
    if not file.exists():
        return []
    return [tuple(map(int, line.split())) for line in file.read_text().splitlines()]


# ---- supervisors: each runs COUNT times "load stamp FILE" ----


class Peer:
    def __init__(self, folder, load):
        self.folder = folder
        self.load = load
        self.processes = []
        folder.mkdir()

    def file(self, index):
        return self.folder / f"stamp.{index}"

    def start(self, *command, **options):
        self.processes.append(
            subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             start_new_session=True, **options))

    def supervisors(self):
        """Processes that are there for their workloads alone."""
        return [p.pid for p in self.processes]

    def services(self, name):
        for index in range(COUNT):
            service = self.folder / f"{name}.{index}"
            service.mkdir()
            script = service / "run"
            script.write_text(f"#!/bin/sh\nexec {self.load} stamp {self.file(index)}\n")
            script.chmod(0o755)
            yield service

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for index in range(COUNT):
            for pid, _ in stamps(self.file(index))[-1:]:
                end(pid, self.load)


def end(pid, load):
    """Only what this benchmark has started: its program is its own."""
    try:
        if os.readlink(f"/proc/{pid}/exe") == str(load):
            os.kill(pid, signal.SIGKILL)
    except OSError:
        pass


class Runit(Peer):
    def begin(self):
        for service in self.services("runit"):
            self.start("runsv", service)


class S6(Peer):
    def begin(self):
        for service in self.services("s6"):
            self.start("s6-supervise", service)


class Supervisord(Peer):
    def begin(self):
        config = self.folder / "supervisord.conf"
        programs = "".join(
            f"[program:p{i}]\ncommand={self.load} stamp {self.file(i)}\nautorestart=true\n"
            f"startsecs=1\n" for i in range(COUNT))
        config.write_text(f"[supervisord]\nnodaemon=true\nlogfile={self.folder}/log\n"
                          f"pidfile={self.folder}/pid\nchildlogdir={self.folder}\n{programs}")
        self.start("supervisord", "-c", config)


class Covey:
    """One agent in a network of its own."""

    def __init__(self, folder, programs, load, relaxed=False):
        self.folder = folder
        self.programs = programs
        self.load = load
        self.security = RELAXED if relaxed else {"privateTmp": False}
        self.space = f"covey-bench-{os.getpid()}"
        self.process = None
        self.commits = 0
        folder.mkdir()
        self.stamp_dir = folder / "stamps"
        self.stamp_dir.mkdir()
        self.stamp_dir.chmod(0o1777)
        (folder / "agent.yaml").write_text(
            f"node: pi1\ninterface: wlan0\nstate_dir: {folder}/state\nrun_dir: {folder}/run\n"
            f"listen: 10.99.0.1:8801\nweb: {{listen: '127.0.0.1:8800'}}\n"
            f"repository: {{path: {folder}/flock.git}}\nworkload_path: /usr/bin:/bin\n")
        run("ip", "netns", "add", self.space)
        for command in (["link", "set", "lo", "up"],
                        ["link", "add", "wlan0", "type", "veth", "peer", "name", "ap0"],
                        ["addr", "add", "10.99.0.1/24", "dev", "wlan0"],
                        ["link", "set", "wlan0", "up"], ["link", "set", "ap0", "up"]):
            run("ip", "-n", self.space, *command)
        self.desired = folder / "desired"
        run("git", "init", "-q", "-b", "main", self.desired)

    def file(self, index):
        return self.stamp_dir / f"stamp.{index}"

    def start(self, program=None):
        self.process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self.space}", "--", str(program or
             self.programs / "agentd"), "--config", str(self.folder / "agent.yaml")],
            stdin=subprocess.DEVNULL, stdout=open(self.folder / "log", "ab"),
            stderr=subprocess.STDOUT, start_new_session=True)

    def ctl(self, *arguments, check=True):
        return run(self.programs / "agentctl", "--socket", self.folder / "run/agent.sock",
                   *arguments, check=check)

    def answers(self):
        return self.ctl("status", check=False).returncode in (0, 3)

    def begin(self, count=COUNT):
        self.start()
        await_true(20, "agentd answers",
                   lambda: self.ctl("init", check=False).returncode in (0, 6))
        self.push({f"apps/bench/w{i}.yaml": self.workload(i) for i in range(count)})

    def workload(self, index, **spec):
        return json.dumps({"apiVersion": "covey.dev/v1", "kind": "Workload",
                           "metadata": {"name": f"w{index}"},
                           "spec": {"command": [str(self.load), "stamp", str(self.file(index))],
                                    "securityContext": {"writablePaths": [str(self.stamp_dir)],
                                                        **self.security}, **spec}})

    def push(self, files):
        for path, text in files.items():
            file = self.desired / path
            if text is None:
                file.unlink()
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.commits += 1
        git = ["git", "-C", self.desired, "-c", "user.name=b", "-c", "user.email=b@b.invalid"]
        run(*git, "add", "-A")
        run(*git, "commit", "-q", "--allow-empty", "-m", f"change {self.commits}")
        run(*git, "push", "-q", self.folder / "flock.git", "main")

    def instances(self):
        apps = json.loads(self.ctl("apps", "-o", "json", check=False).stdout or '{"items": []}')
        return {i["name"]: i for a in apps["items"] for i in a["instances"]}

    def supervisors(self):
        found = []
        for status in (self.folder / "run/shim").glob("*/status"):
            try:
                found += [int(line[9:]) for line in status.read_text().splitlines()
                          if line.startswith("shim_pid=")]
            except OSError:
                pass
        return found

    def standbys(self):
        """The processes that shims keep ready for the next runs."""
        found = []
        shims = set(self.supervisors())
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
            except OSError:
                continue
            if name == "agent-standby" and int(rest.split()[1]) in shims:
                found.append(int(stat.parent.name))
        return found

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
        for pid in self.supervisors():
            try:
                os.kill(pid, signal.SIGTERM)
            except OSError:
                pass
        end_at = time.monotonic() + 20
        while self.supervisors() and time.monotonic() < end_at:
            time.sleep(0.05)
        run("ip", "netns", "del", self.space, check=False)
        base = "covey" + str(self.folder / "run").replace("/", "-")
        for group in Path("/sys/fs/cgroup").glob(f"**/{base}"):
            for path in [*group.glob("*/"), group]:
                try:
                    path.rmdir()
                except OSError:
                    pass


# ---- what is measured ----


def restarts(supervisor, rounds):
    """Milliseconds from the kill of a program to the first instruction of the next."""
    found = []
    for index in range(rounds):
        file = supervisor.file(index)
        known = stamps(file)
        began = time.monotonic_ns()
        os.kill(known[-1][0], signal.SIGKILL)
        await_true(20, f"a replacement by {type(supervisor).__name__}",
                   lambda file=file, known=known: len(stamps(file)) > len(known))
        found.append((stamps(file)[len(known)][1] - began) / 1e6)
    return found


def measure_restarts(report, covey, peers, rounds):
    times = {type(s).__name__.lower(): restarts(s, rounds) for s in [covey, *peers]}
    for name, values in times.items():
        report.notes.append(
            f"restart, {name}: median {median(values):.2f} ms, p90 {quantile(values, 0.9):.2f}, "
            f"max {max(values):.2f}, n = {len(values)}")
    report.add("exit of a program to its replacement running (peer: runit), median",
               median(times["covey"]), "ms", 2, median(times["runit"]), times["covey"])


def measure_memory(report, covey, peers):
    shims = [pss(pid) for pid in covey.supervisors()]
    standbys = [pss(pid) for pid in covey.standbys()]
    per = {type(p).__name__.lower(): sum(map(pss, p.supervisors())) / COUNT for p in peers}
    report.notes.append("PSS per workload with 20 of them, KiB: " + ", ".join(
        f"{name} {value:.0f}" for name, value in per.items()) +
        f"; agentd itself {pss(agent_pid(covey))}; a shim {sum(shims) / COUNT:.0f}, the process "
        f"that it keeps ready {sum(standbys) / COUNT:.0f} ({len(standbys)} of them)")
    report.add("PSS of a shim and what it keeps ready (peer: s6-supervise)",
               sum(shims + standbys) / COUNT, "KiB", 300, per["s6"], shims + standbys)


def agent_pid(covey):
    return covey.process.pid  # nsenter has become agentd


def measure_many(report, covey, seconds):
    say(f"{MANY} workloads")
    covey.push({f"apps/bench/w{i}.yaml": covey.workload(i) for i in range(MANY)})
    await_true(120, f"{MANY} workloads run",
               lambda: sum(covey.file(i).exists() for i in range(MANY)) == MANY)
    await_true(60, "every shim keeps a process ready", lambda: len(covey.standbys()) == MANY)
    time.sleep(2)
    pids = [agent_pid(covey), *covey.supervisors(), *covey.standbys()]
    before = sum(map(cpu_ticks, pids))
    began = time.monotonic()
    time.sleep(seconds)
    used = (sum(map(cpu_ticks, pids)) - before) / os.sysconf("SC_CLK_TCK")
    report.add(f"PSS of agentd and {MANY} shims, with what they keep ready", sum(map(pss, pids)) / 1024, "MiB", 80)
    report.add(f"their processor at idle, of a core", 100 * used / (time.monotonic() - began), "%",
               1)
    covey.push({f"apps/bench/w{i}.yaml": None for i in range(COUNT, MANY)})


def s6_log(folder, load, lines):
    folder.mkdir()
    took = folder / "took"
    with subprocess.Popen([load, "lines", str(lines), str(took)], stdout=subprocess.PIPE) as source:
        subprocess.run(["s6-log", "t", "n1000", "s268435455", str(folder / "log")],
                       stdin=source.stdout, check=True)
    kept = sum(file.read_bytes().count(b"\n") for file in (folder / "log").iterdir()
               if file.name == "current" or file.name.startswith("@"))
    return int(took.read_text()), kept


def covey_log(covey, lines):
    took = covey.stamp_dir / "took"
    name = f"flood{time.monotonic_ns()}"
    took.unlink(missing_ok=True)
    covey.push({"apps/bench/flood.yaml": json.dumps(
        {"apiVersion": "covey.dev/v1", "kind": "Workload", "metadata": {"name": name},
         "spec": {"command": [str(covey.load), "lines", str(lines), str(took)],
                  "restartPolicy": "Never", "logs": {"maxSize": "16Gi"},
                  "securityContext": {"writablePaths": [str(covey.stamp_dir)],
                                      "privateTmp": False}}})})
    await_true(120, "a flood of lines ends",
               lambda: covey.instances().get(f"{name}.0", {}).get("state") == "completed")
    folder = covey.folder / "state/logs" / f"{name}.0"
    with open(folder / "log", "rb") as last:
        last.seek(-100, os.SEEK_END)
        kept = -last.read().count(b"Z run F ")  # a frame of the shim's own, behind the last line
    for file in folder.iterdir():
        with open(file, "rb") as opened:
            while block := opened.read(1 << 22):
                kept += block.count(b"\n")
    shutil.rmtree(folder)
    covey.push({"apps/bench/flood.yaml": None})
    return int(took.read_text()), kept


def measure_logs(report, folder, covey, load, lines):
    say(f"{lines} lines of log")
    theirs, kept = s6_log(folder / "s6-log", load, lines)
    if kept != lines:
        raise Failed(f"s6-log kept {kept} of {lines} lines")
    shutil.rmtree(folder / "s6-log")
    ours, kept = covey_log(covey, lines)
    size = lines * LINE / 1e6
    mine, peer = size / (ours / 1e9), size / (theirs / 1e9)
    report.add("time for a log line, stamped (peer: s6-log t)", ours / lines, "ns", theirs / lines / 1.5,
               theirs / lines)
    report.notes.append(f"log: {mine:.0f} MB/s, s6-log with timestamps {peer:.0f} MB/s: "
                        f"{mine / peer:.2f} times as much (goal: 1.5)")
    report.add(f"lines lost of {lines}", lines - kept, "lines", 0)


def measure_upgrades(report, covey, rounds):
    say(f"{rounds} upgrades")
    before = {i: stamps(covey.file(i)) for i in range(COUNT)}
    gaps = []
    for _ in range(rounds):
        answer = json.loads(covey.ctl("upgrade", "-o", "json").stdout)
        gaps.append(answer["gapMs"])
    report.add("without supervision while agentd becomes another, median", median(gaps), "ms", 50,
               None, gaps)
    report.add("workloads restarted meanwhile",
               sum(stamps(covey.file(i)) != before[i] for i in range(COUNT)), "", 0)


def measure_kills(report, covey, kills, seed):
    """kill -9 of agentd at random moments, while programs die and documents change."""
    say(f"kill -9 of agentd, {kills} times under churn (seed {seed})")
    chance = random.Random(seed)
    wrong = []
    for number in range(kills):
        before = {i: stamps(covey.file(i)) for i in range(COUNT)}
        victim = chance.randrange(COUNT) if chance.random() < 0.5 else None
        changed = chance.randrange(COUNT) if chance.random() < 0.3 else None
        if changed is not None and changed != victim:
            covey.push({f"apps/bench/w{changed}.yaml": covey.workload(
                changed, env=[{"name": "ROUND", "value": str(number)}])})
        if victim is not None:
            os.kill(before[victim][-1][0], signal.SIGKILL)
        time.sleep(chance.uniform(0, 0.3))
        covey.process.kill()
        covey.process.wait()
        if victim is None and chance.random() < 0.3:
            victim = chance.randrange(COUNT)
            os.kill(stamps(covey.file(victim))[-1][0], signal.SIGKILL)
        covey.start()
        await_true(20, "agentd answers again", covey.answers)
        wrong += settled(covey, before, {victim, changed} - {None}, number)
    report.add(f"workloads doubled, lost or wrongly restarted in {kills} kills", len(wrong), "", 0)
    report.notes += wrong[:10]


def settled(covey, before, touched, number):
    def complete():
        return all(alive(covey, i) == 1 for i in range(COUNT))

    wrong = []
    try:
        # A program that died early in its run waits for its back-off.
        await_true(90, "every workload runs", complete)
    except Failed:
        wrong += [f"kill {number}: w{i} runs {alive(covey, i)} times" for i in range(COUNT)
                  if alive(covey, i) != 1]
    for i in range(COUNT):
        if i not in touched and len(stamps(covey.file(i))) != len(before[i]):
            wrong.append(f"kill {number}: w{i} was restarted")
    return wrong


def alive(covey, index):
    count = 0
    for pid, _ in stamps(covey.file(index))[-4:]:
        try:
            count += os.readlink(f"/proc/{pid}/exe") == str(covey.load)
        except OSError:
            pass
    return count


def workshop(program):
    """A folder in memory, and the program @program.c built in it."""
    folder = Path(tempfile.mkdtemp(prefix="covey-bench-", dir="/dev/shm"))
    folder.chmod(0o755)
    run("cc", "-O2", "-static", "-o", folder / program, HERE / f"{program}.c")
    return folder, folder / program


def compare(report, covey, peers, parts, quick):
    """What is measured of all supervisors, each with as many programs."""
    if not {"memory", "restarts"} & set(parts):
        peers = []
    say(f"{COUNT} programs under each supervisor, until their runs count as stable")
    for supervisor in [covey, *peers]:
        supervisor.begin()
    for supervisor in [covey, *peers]:
        await_true(30, f"the programs of {type(supervisor).__name__}",
                   lambda s=supervisor: all(s.file(i).exists() for i in range(COUNT)))
    time.sleep(STABLE_S)
    if "memory" in parts:
        measure_memory(report, covey, peers)
    if "restarts" in parts:
        measure_restarts(report, covey, peers, 10 if quick else COUNT)
    for peer in peers:
        peer.stop()


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--quick", action="store_true")
    options.add_argument("--kills", type=int)
    options.add_argument("--only", choices=PARTS, action="append")
    options.add_argument("--relaxed", action="store_true")
    options.add_argument("--json")
    options.add_argument("--build", required=True)
    options = options.parse_args()
    kills = options.kills if options.kills is not None else 5 if options.quick else 1000
    parts = options.only or [part for part in PARTS if not options.quick or part != "many"]
    report = Report("supervise", ROOT)
    # In memory: it is supervisors that are compared, not disks.
    folder, load = workshop("supervise_load")
    covey = Covey(folder / "covey", Path(options.build).resolve() / "bin", load, options.relaxed)
    peers = [Runit(folder / "runit", load), S6(folder / "s6", load),
             Supervisord(folder / "supervisord", load)]
    try:
        compare(report, covey, peers, parts, options.quick)
        if "logs" in parts:
            measure_logs(report, folder, covey, load, 1_000_000 if options.quick else 10_000_000)
        if "upgrades" in parts:
            measure_upgrades(report, covey, 1 if options.quick else 10)
        if "many" in parts:
            measure_many(report, covey, 10)
        if "kills" in parts and kills > 0:
            measure_kills(report, covey, kills, 1)
    finally:
        for supervisor in [covey, *peers]:
            supervisor.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return report.end("peer", options.json)


if __name__ == "__main__":
    run_main("supervise", main, Failed)
