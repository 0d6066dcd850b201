"""Run by tests/systemd/run in the virtual machine: agentd as a unit of a real systemd, with cgroup v2.
Nothing waits for a time to pass, save where time itself is measured."""

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
import unittest
from pathlib import Path

WAIT_S = 90  # an emulated processor is slow
GROUP = Path("/sys/fs/cgroup/covey")
LOAD = "/opt/check/load"
STAMPS = Path("/var/tmp/stamps")
STATE = Path("/var/lib/covey")
RESTARTS = 10
STABLE_S = 31  # a run of 30 s counts as stable: its end is followed by a start at once
figures = {}


def run(*command, check=True, **options):
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    if check and result.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: {result.stderr or result.stdout}")
    return result


def eventually(condition, what, seconds=WAIT_S):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds} s: {what() if callable(what) else what}")
        time.sleep(0.02)


def unit(*names, service="agentd.service"):
    """Properties as systemd has them."""
    text = run("systemctl", "show", service, *(f"-p{name}" for name in names)).stdout
    return dict(line.split("=", 1) for line in text.splitlines())


def main_pid():
    return int(unit("MainPID")["MainPID"])


def ctl(*arguments, check=True):
    return run("agentctl", *arguments, check=check)


def answers():
    return ctl("status", check=False).returncode in (0, 3)


def instance(name):
    apps = json.loads(ctl("apps", "-o", "json", check=False).stdout or '{"items": []}')
    return next((i for a in apps["items"] for i in a["instances"] if i["name"] == name), {})


def workload(name, command, **spec):
    return json.dumps({"apiVersion": "covey.dev/v1", "kind": "Workload", "metadata": {"name": name},
                       "spec": {"command": command, **spec}})


def push(files):
    desired = Path("/var/tmp/desired")
    git = ["git", "-C", desired, "-c", "user.name=c", "-c", "user.email=c@c.invalid", "-c",
           "safe.directory=*"]
    if not desired.exists():
        run("git", "init", "-q", "-b", "main", desired)
    for path, text in files.items():
        file = desired / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text) if text is not None else file.unlink()
    run(*git, "add", "-A")
    run(*git, "commit", "-q", "--allow-empty", "-m", "a change")
    run(*git, "push", "-q", STATE / "flock.git", "main")


def cat(path):
    return Path(path).read_text().strip()


def status_of(pid, key):
    return re.search(rf"(?m)^{key}:\s*(\S+)", cat(f"/proc/{pid}/status")).group(1)


def members(name):
    """Processes in an instance's group."""
    return [int(pid) for pid in cat(GROUP / name / "cgroup.procs").split()]


def named(pids, name):
    """The first of them of this name."""
    for pid in pids:
        try:
            if cat(f"/proc/{pid}/comm") == name:
                return pid
        except OSError:
            pass
    return None


def gone(*pids):
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


class Systemd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        STAMPS.mkdir(exist_ok=True)
        STAMPS.chmod(0o1777)
        eventually(answers, lambda: run("journalctl", "-u", "agentd", "--no-pager").stdout)
        ctl("init")
        push({"apps/x/ticker.yaml": workload(
            "ticker", ["/bin/sh", "-c", "n=0; while :; do n=$((n+1)); echo $n; sleep 0.1; done"])})
        cls.ticker = eventually(lambda: instance("ticker.0").get("pid"),
                                lambda: ctl("apps").stdout)

    def kept(self):
        """The workload runs on as it was, and each of its lines is in its log."""
        eventually(answers, "agentd answers")
        eventually(lambda: instance("ticker.0").get("state") == "ready", lambda: ctl("apps").stdout)
        self.assertEqual(instance("ticker.0")["pid"], self.ticker, ctl("events").stdout)
        self.assertEqual(instance("ticker.0")["restarts"], 0)
        lines = [int(n) for n in ctl("logs", "ticker", "-n", "all", "--raw").stdout.split()]
        self.assertEqual(lines, list(range(1, len(lines) + 1)))

    def test_1_starts_at_boot(self):
        state = unit("ActiveState", "SubState", "Type", "NRestarts", "Result", "UnitFileState")
        self.assertEqual((state["ActiveState"], state["SubState"], state["Type"], state["NRestarts"]),
                         ("active", "running", "notify", "0"))
        self.assertEqual(run("stat", "-c", "%U:%G %a", "/run/covey/agent.sock").stdout.strip(),
                         "root:covey 660")
        self.assertEqual(run("systemd-analyze", "verify", "agentd.service").stderr, "")

    def test_2_what_it_may_do(self):
        """agentd has the capabilities of its unit and no others; a workload has none."""
        pid = main_pid()
        names = unit("CapabilityBoundingSet")["CapabilityBoundingSet"].split()
        bound = int(status_of(pid, "CapBnd"), 16)
        self.assertEqual(bound.bit_count(), len(names))
        self.assertFalse(bound & 1 << 22, "cap_sys_boot is not among them")
        self.assertEqual(status_of(self.ticker, "CapEff"), "0" * 16)
        self.assertEqual(status_of(self.ticker, "CapBnd"), "0" * 16)
        self.assertEqual(status_of(self.ticker, "NoNewPrivs"), "1")
        self.assertEqual(status_of(self.ticker, "Seccomp"), "2")
        self.assertGreaterEqual(int(status_of(self.ticker, "Uid")), 2000000000)

    def test_3_limits(self):
        """What a document says stands in cgroup v2, and holds."""
        self.assertEqual(run("stat", "-fc", "%T", "/sys/fs/cgroup").stdout.strip(), "cgroup2fs")
        push({"apps/x/busy.yaml": workload("busy", ["/bin/sh", "-c", "while :; do :; done"],
                                           resources={"limits": {"cpu": "200m", "memory": "64Mi",
                                                                 "pids": 20}}),
              "apps/x/hungry.yaml": workload(
                  "hungry", ["/usr/bin/python3", "-c", "x = bytearray(200 << 20)"],
                  resources={"limits": {"memory": "64Mi"}}),
              "apps/x/bomb.yaml": workload(
                  "bomb", ["/usr/bin/python3", "-c", "import os, time\nwhile True:\n try: os.fork()\n"
                           " except OSError: time.sleep(.2)"],
                  resources={"limits": {"pids": 15, "cpu": "100m"}})})
        busy = GROUP / "busy.0"
        eventually(lambda: instance("busy.0").get("pid"), lambda: ctl("apps").stdout)
        self.assertEqual(cat(busy / "memory.max"), str(64 << 20))
        self.assertEqual(cat(busy / "memory.swap.max"), "0")
        # 21 once a process stands ready for the next run.
        self.assertIn(cat(busy / "pids.max"), ("20", "21"))
        self.assertEqual(cat(busy / "cpu.max"), "20000 100000")
        self.assertIn(instance("busy.0")["pid"], members("busy.0"))
        usage = lambda: int(re.search(r"usage_usec (\d+)", cat(busy / "cpu.stat")).group(1))
        before, began = usage(), time.monotonic()
        eventually(lambda: time.monotonic() - began > 4, "4 s pass")
        share = (usage() - before) / 1e6 / (time.monotonic() - began)
        figures["cpu at a limit of 0.2 cores"] = round(share, 3)
        self.assertLess(share, 0.25)
        eventually(lambda: "for want of memory, at its limit of 64 MiB" in ctl("apps", "hungry").stdout,
                   lambda: ctl("apps", "hungry").stdout)
        eventually(lambda: "forks were refused" in ctl("apps", "bomb").stdout,
                   lambda: ctl("apps", "bomb").stdout)
        self.assertLessEqual(int(cat(GROUP / "bomb.0/pids.current")), 15 + 1)  # likewise
        push({f"apps/x/{name}.yaml": None for name in ("busy", "hungry", "bomb")})
        eventually(lambda: not (GROUP / "busy.0").exists() and not (GROUP / "bomb.0").exists(),
                   "their groups are removed with them")
        self.kept()

    def alone(self, name, command, **spec):
        """Its only process, once it runs in its group."""
        push({f"apps/x/{name}.yaml": workload(name, command, **spec)})
        return eventually(lambda: instance(f"{name}.0").get("pid"), lambda: ctl("apps").stdout)

    def take_away(self, name):
        push({f"apps/x/{name}.yaml": None})
        eventually(lambda: not (GROUP / f"{name}.0").exists(), "its group is removed with it")
        self.kept()

    def test_3_probes_are_in_the_group(self):
        """What an exec probe leaves behind counts with its workload, and ends with it."""
        probe = "[ -e left ] || { : >left; setsid dd if=/dev/zero of=/dev/null bs=1 & }"
        self.alone("probed", ["/bin/sleep", "1000"], resources={"limits": {"cpu": "100m"}},
                   readinessProbe={"exec": {"command": ["/bin/sh", "-c", probe]},
                                   "timeoutSeconds": 60})
        left = eventually(lambda: named(members("probed.0"), "dd"), lambda: ctl("apps").stdout)
        eventually(lambda: instance("probed.0").get("state") == "ready", lambda: ctl("apps").stdout)
        self.take_away("probed")
        self.assertTrue(gone(left))

    def test_3_the_next_run_stands_ready(self):
        """In the group of the one that runs; and it is what runs when that one has ended."""
        first = self.alone("spare", ["/bin/sleep", "1000"])
        ready = eventually(lambda: named(members("spare.0"), "agent-standby"), "a process stands ready")
        shim = int(status_of(first, "PPid"))
        self.assertEqual(int(status_of(ready, "PPid")), shim)
        time.sleep(STABLE_S)  # only what was stable is followed at once
        os.kill(first, signal.SIGKILL)
        eventually(lambda: instance("spare.0").get("pid") == ready, lambda: ctl("apps").stdout)
        self.assertEqual(cat(f"/proc/{ready}/comm"), "sleep")
        self.assertEqual(instance("spare.0")["restarts"], 1)
        after = eventually(lambda: named(members("spare.0"), "agent-standby"), "and the next one")
        self.take_away("spare")
        eventually(lambda: gone(ready, after, shim), "all of it ends")

    def test_3_a_shim_is_killed(self):
        """Its program, and what hides from it, end before another is started."""
        script = "setsid env -i dd if=/dev/zero of=/dev/null bs=1 & exec sleep 1000"
        first = self.alone("orphan", ["/bin/sh", "-c", script], resources={"limits": {"cpu": "100m"}})
        left = eventually(lambda: named(members("orphan.0"), "dd"), lambda: ctl("apps").stdout)
        os.kill(int(status_of(first, "PPid")), signal.SIGKILL)
        second = eventually(lambda: (pid := instance("orphan.0").get("pid")) and pid != first and pid,
                            lambda: ctl("apps").stdout)
        self.assertTrue(gone(first, left))
        self.assertIn("ended with its shim, which was killed", ctl("apps", "orphan").stdout)
        self.take_away("orphan")
        self.assertTrue(gone(second))

    def test_4_killed(self):
        """systemd starts it again, and nothing else changes."""
        for round_ in range(3):
            before = main_pid()
            began = time.monotonic()
            os.kill(before, signal.SIGKILL)
            eventually(lambda: main_pid() not in (0, before) and answers(), "it is back")
            figures.setdefault("kill -9 to answering again, s", []).append(
                round(time.monotonic() - began, 2))
            self.kept()
        self.assertEqual(unit("NRestarts")["NRestarts"], "3")

    def test_5_stopped_and_started(self):
        run("systemctl", "stop", "agentd")
        self.assertEqual(unit("ActiveState")["ActiveState"], "inactive")
        self.assertTrue(Path(f"/proc/{self.ticker}").exists(), "workloads live on")
        run("systemctl", "start", "agentd")
        self.kept()
        run("systemctl", "restart", "agentd")
        self.kept()

    def test_6_upgraded(self):
        """agentd becomes another program in the same process: systemd sees no restart."""
        before = (main_pid(), unit("NRestarts"))
        answer = json.loads(ctl("--timeout", "60", "upgrade", "-o", "json").stdout)
        figures["gap of an upgrade, ms"] = answer["gapMs"]
        self.assertEqual((main_pid(), unit("NRestarts")), before)
        self.kept()

    def test_7_hangs(self):
        """The watchdog ends an agentd that does not go on, and a new one takes over."""
        before = main_pid()
        run("systemctl", "service-watchdogs", "yes")
        os.kill(before, signal.SIGSTOP)
        eventually(lambda: main_pid() not in (0, before) and answers(),
                   lambda: run("journalctl", "-u", "agentd", "-n", "20", "--no-pager").stdout)
        self.assertIn("watchdog", run("journalctl", "-u", "agentd", "--no-pager").stdout.lower())
        self.kept()

    def test_8_out_of_memory(self):
        """The kernel kills agentd for want of memory: systemd starts it again, the rest lives on."""
        before = main_pid()
        group = Path("/sys/fs/cgroup") / unit("ControlGroup")["ControlGroup"].lstrip("/")
        killed = lambda: int(re.search(r"oom_kill (\d+)", cat(group / "memory.events")).group(1))
        known = killed()
        shims = [int(pid) for pid in cat(group / "cgroup.procs").split() if int(pid) != before]
        self.assertTrue(shims, "shims live in the unit's group")
        # Half of agentd's own memory too little: it is the largest, and without it the shims have room.
        used = dict(line.split() for line in cat(group / "memory.stat").splitlines())
        own = int(status_of(before, "RssAnon").split()[0]) * 1024
        # The kernel kills before it returns, and until nothing is missing. The next agentd shall have room.
        for limit in (str(int(used["anon"]) + int(used["kernel"]) - own // 2), "max"):
            try:
                (group / "memory.max").write_text(limit)
            except OSError:
                pass  # not enough could be reclaimed; or systemd has taken limit and controller away
        eventually(lambda: killed() > known, lambda: cat(group / "memory.events"))
        figures["killed for want of memory"] = killed() - known
        eventually(lambda: main_pid() not in (0, before) and answers(),
                   lambda: run("journalctl", "-u", "agentd", "-n", "30", "--no-pager").stdout)
        self.kept()

    def test_9_without_control_groups(self):
        """Neither version is there: agentd runs, and says what is missing."""
        folder = Path("/var/tmp/other")
        folder.mkdir()
        (folder / "agent.yaml").write_text(
            f"node: other\ninterface: wlan0\nlisten: 10.77.0.11:8811\nstate_dir: {folder}/state\n"
            f"run_dir: {folder}/run\nweb: {{enabled: false}}\nrepository: {{path: {folder}/git}}\n")
        other = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", "umount -l /sys/fs/cgroup && exec "
             f"/usr/libexec/covey/agentd --config {folder}/agent.yaml"],
            stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        try:
            socket = ["--socket", folder / "run/agent.sock"]
            eventually(lambda: ctl(*socket, "init", check=False).returncode in (0, 6), "it answers")
            eventually(lambda: "makes no control groups" in (t := ctl(*socket, "events").stdout) or
                       "make no control groups" in t, lambda: ctl(*socket, "events").stdout)
        finally:
            other.terminate()
            other.wait(WAIT_S)

    def test_restarts_beside_systemd(self):
        """From the end of a program, after a stable run, to the first instruction of the next."""
        files = {}
        for index in range(RESTARTS):
            files[f"apps/b/w{index}.yaml"] = workload(
                f"w{index}", [LOAD, "stamp", str(STAMPS / f"covey.{index}")],
                securityContext={"writablePaths": [str(STAMPS)], "privateTmp": False})
            path = Path(f"/run/systemd/system/peer{index}.service")
            path.write_text(f"[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=always\nRestartSec=0\n"
                            f"ExecStart={LOAD} stamp {STAMPS}/systemd.{index}\n")
        push(files)
        run("systemctl", "daemon-reload")
        run("systemctl", "start", *(f"peer{index}" for index in range(RESTARTS)))
        stamps = lambda kind, index: [tuple(map(int, line.split())) for line in (
            STAMPS / f"{kind}.{index}").read_text().splitlines()]
        eventually(lambda: all((STAMPS / f"{kind}.{i}").exists() for i in range(RESTARTS)
                               for kind in ("covey", "systemd")), "all run")
        time.sleep(STABLE_S)
        times = {"covey": [], "systemd": []}
        for index in range(RESTARTS):
            for kind, found in times.items():
                known = stamps(kind, index)
                began = time.monotonic_ns()
                os.kill(known[-1][0], signal.SIGKILL)
                eventually(lambda: len(stamps(kind, index)) > len(known), f"{kind} starts it again")
                found.append((stamps(kind, index)[len(known)][1] - began) / 1e6)
        for kind, found in times.items():
            figures[f"end to replacement, {kind}, ms"] = round(statistics.median(found), 2)
        run("systemctl", "stop", *(f"peer{index}" for index in range(RESTARTS)))


if __name__ == "__main__":
    print(f"systemd {run('systemctl', '--version').stdout.split()[1]}, Linux {os.uname().release}")
    program = unittest.main(argv=[sys.argv[0], "-v", *sys.argv[1:]], exit=False)
    for name, value in figures.items():
        print(f"{name}: {value}")
    print(f"vm-json {json.dumps(figures)}")
    sys.exit(0 if program.result.wasSuccessful() else 1)
