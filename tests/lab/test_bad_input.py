"""Workloads that mean no good: each is kept in its place, counted, and named with its cause on every
Pi, while a good one beside them goes on. What cannot be started at all stands in test_faults.py."""

import ctypes
import re
import shutil
import subprocess
import sys

import flock
from flock import eventually, run, workload

CLONE_NEWNS = 0x20000
DISK_MIB = 160
NOTE_S = 40  # they are looked at every 5 s
ON_PI1 = {"nodeSelector": {"disk": "ssd"}}
OTHER_MACHINE = 94  # Xtensa: nobody runs this, and no emulator is likely to be registered for it

BOMB = ["/usr/bin/python3", "-c", """
import os, time
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.05)
"""]
FILLER = ["/bin/sh", "-c", "dd if=/dev/zero of=big bs=1M 2>/dev/null; exec sleep 1000"]
TALKER = ["/usr/bin/python3", "-u", "-c", """
import time
while True:
    print("something to say")
    time.sleep(0.05)
"""]


MANY_FILES = 1 << 20  # more than a machine without CAP_SYS_RESOURCE, or with a lower fs.nr_open, lets


def may_open():
    """How many files a child of this process may get."""
    return int(subprocess.run([sys.executable, "-c", f"""
import resource
try:
    resource.setrlimit(resource.RLIMIT_NOFILE, ({MANY_FILES}, {MANY_FILES}))
except (OSError, ValueError):
    pass
print(resource.getrlimit(resource.RLIMIT_NOFILE)[1])"""], capture_output=True, text=True).stdout)


class SmallDisk(flock.Flock):
    """pi1's state is on a small disk."""

    def form(self):
        # A mount of our own, which ends with this process and those that it has started.
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        run("mount", "--make-rprivate", "/")
        self.pi1.state.mkdir()
        run("mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=711", "lab", self.pi1.state)
        self.pi1.repository = self.pi1.folder / "flock.git"
        self.pi1.write_config(f"repository: {{path: {self.pi1.repository}}}\n")
        super().form()

    def down(self):
        super().down()
        run("umount", self.pi1.state, check=False)


class BadInput(flock.FlockTest):
    make = SmallDisk

    @classmethod
    def prepare(cls):
        cls.flock.apply({"cluster.yaml": flock.CLUSTER,
                         "apps/x/talker.yaml": workload("talker", TALKER, **ON_PI1)})
        cls.good = eventually(cls.pi1.processes, "the good one runs")

    def begin(self, name, command, **spec):
        self.flock.push({f"apps/x/{name}.yaml": workload(name, command, **spec, **ON_PI1)})

    def end(self, name):
        """It goes without a rest when it leaves Git, and the good one was not touched."""
        self.flock.apply({f"apps/x/{name}.yaml": None})
        eventually(lambda: self.pi1.processes() == self.good, self.pi1.processes)

    def shown(self, name, reason, state=None):
        """Both Pis name the cause in `agentctl apps NAME`; what it says."""
        for pi in (self.pi2, self.pi1):
            found = eventually(
                lambda: re.search(reason, pi.ctl("apps", name).stdout) and
                (found := pi.instances(name).get(f"{name}.0")) and
                (state is None or found["state"] in state) and found,
                lambda: f"{pi.name} says: {pi.ctl('apps', name).stdout}", seconds=NOTE_S)
        return found

    def test_another_machines_program(self):
        program = self.flock.folder / "other-machine"
        shutil.copy("/bin/true", program)
        with open(program, "r+b") as file:
            file.seek(18)  # e_machine
            file.write(OTHER_MACHINE.to_bytes(2, "little"))
        self.begin("bad", [str(program)], securityContext={"privateTmp": False})
        shown = self.shown("bad", "is no program for this machine .another architecture", ["backoff"])
        self.assertEqual(shown["exitCode"], 127)
        self.end("bad")

    def test_one_that_forks_away(self):
        self.begin("bad", ["/bin/sh", "-c", "setsid sleep 1000 & exit 0"],
                   terminationGracePeriodSeconds=1)
        shown = self.shown("bad", "left 1 process behind, which had to end too")
        self.assertNotEqual(shown["state"], "failed")
        self.assertTrue(self.pi1.has_event("warning", "bad.0", "stays in the foreground"))
        self.end("bad")

    def test_one_that_ignores_the_signal(self):
        script = "trap '' TERM; while :; do sleep 1; done"
        self.begin("bad", ["/bin/sh", "-c", script], terminationGracePeriodSeconds=1)
        self.shown("bad", "ready")
        self.begin("bad", ["/bin/sh", "-c", "exec sleep 1000"], terminationGracePeriodSeconds=1)
        self.shown("bad", r"last run ended by signal 9 \(Killed\) as it had not ended in its time",
                   ["ready"])
        self.end("bad")

    def test_floods_and_bombs(self):
        """Side by side: they are looked at together."""
        before = self.pi1.processes()
        self.begin("flood", ["/usr/bin/yes", "and again"], resources={"limits": {"cpu": "200m"}},
                   logs={"maxSize": "1Mi"})
        self.begin("binary", ["/bin/sh", "-c", "head -c 300000 /dev/zero; exec sleep 1000"])
        self.begin("bomb", BOMB, terminationGracePeriodSeconds=1,
                   resources={"limits": {"pids": 20, "cpu": "200m"}})
        self.begin("files", ["/bin/sleep", "1000"], resources={"limits": {"openFiles": MANY_FILES}})
        self.shown("flood", r"floods its log: more than \d+0 lines a second", ["ready"])
        self.shown("binary", "writes binary data to its output", ["ready"])
        self.shown("bomb", r"\d+ forks were refused, at its limit of processes", ["ready"])
        if may_open() < MANY_FILES:
            self.shown("files", rf"may open {may_open()} files, not the {MANY_FILES} of openFiles",
                       ["ready"])
        self.assertEqual([p for p in self.pi1.processes() if p[0] == "talker.0"], before)
        self.assertLess(eventually(lambda: self.log_size("flood.0"), "it has a log"), 1.2 * 2 ** 20)
        self.assertEqual(self.pi1.ctl("logs", "binary", "-n", "1").status, 0)
        bomb = eventually(lambda: [int(s.split()[-1]) for s in self.metrics()
                                   if s.startswith('covey_instance_processes{instance="bomb.0"}')],
                          "the bomb is counted")
        self.assertLessEqual(bomb[0], 20)
        self.assertTrue([s for s in self.metrics() if s.startswith(
            'covey_instance_forks_refused_total{instance="bomb.0"}') and float(s.split()[-1]) > 0])
        for name in ("flood", "binary", "bomb", "files"):
            self.flock.push({f"apps/x/{name}.yaml": None})
        eventually(lambda: self.pi1.processes() == self.good, self.pi1.processes)

    def log_size(self, name):
        """Bytes; 0 when it was rotated under our eyes."""
        try:
            return sum(f.stat().st_size for f in (self.pi1.state / "logs" / name).iterdir())
        except FileNotFoundError:
            return 0

    def metrics(self):
        return self.flock.inside("pi1", "curl", "-s", "http://127.0.0.1:8800/metrics"
                                 ).stdout.splitlines()

    def test_one_that_fills_the_disk(self):
        self.begin("filler", FILLER)
        self.shown("filler", r"the disk is full, and its folder holds \d+ MiB", ["ready"])
        self.shown("talker", r"\d+ lines of its log were lost: No space left on device", ["ready"])
        lost = [s for s in self.metrics()
                if s.startswith('covey_instance_log_dropped_total{instance="talker.0"}')]
        self.assertGreater(float(lost[0].split()[-1]), 0)
        (self.pi1.state / "instances/filler.0/big").unlink()  # till then no commit can be taken in
        eventually(lambda: "agent-shim: " in self.pi1.ctl("logs", "talker", "-n", "all").stdout,
                   "its log says what it lost")
        self.end("filler")


if __name__ == "__main__":
    flock.main()
