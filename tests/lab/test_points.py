"""agentd is killed at every step of taking a commit on: in the place of each system call by which it
changes anything. What was applied is whole, and the commit is applied by the next life.

By itself it takes the first and the last step of each kind; POINTS=all in the environment: all."""

import os
import sqlite3
import subprocess

import flock
from flock import eventually, workload

POINTS_MAX = 60


def files(number):
    return {"cluster.yaml": flock.CLUSTER,
            "apps/web/web.yaml": workload(
                "web", ["sh", "-c", "exec sleep 1d"], nodeSelector={"covey.dev/node": "pi1"},
                env=[{"name": "NUMBER", "value": str(number)}],
                files=[{"path": "conf", "content": f"number {number}"}])}


class Points(flock.FlockTest):
    @classmethod
    def prepare(cls):
        cls.arm = cls.flock.folder / "armed"
        cls.log = cls.flock.folder / "steps"
        cls.commit = cls.flock.apply(files(0))
        cls.number = 0

    def start(self, at):
        self.arm.unlink(missing_ok=True)
        self.log.unlink(missing_ok=True)
        inside = self.pi1.inside
        settings = [f"LD_PRELOAD={flock.programs / 'libfault_points.so'}", f"FAULT_AT={at}",
                    f"FAULT_ARM={self.arm}", f"FAULT_LOG={self.log}"]
        self.pi1.inside = lambda *command: inside("env", *settings, *command)
        try:
            self.pi1.start()
        finally:
            self.pi1.inside = inside

    def steps(self):
        return self.log.read_text().splitlines() if self.log.exists() else []

    def running(self):
        """NUMBER of the process that runs on pi1; only ever one."""
        pids = [pid for name, pid in self.pi1.processes() if name == "web.0"]
        self.assertLessEqual(len(pids), 1)
        for pid in pids:
            try:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    return next((int(v[7:]) for v in file.read().split(b"\0")
                                 if v.startswith(b"NUMBER=")), None)
            except OSError:
                return None
        return None

    def push(self):
        type(self).number += 1
        self.arm.touch()
        return self.flock.push(files(self.number))

    def arrived(self, commit):
        eventually(lambda: self.running() == self.number and
                   self.pi1.commit().get("commit") == commit, lambda: self.pi1.log_tail())

    def stored(self):
        """The commit that the store holds, read while no agent lives."""
        copy = self.flock.folder / "copy"
        subprocess.run(["rm", "-rf", copy], check=True)
        copy.mkdir()
        for path in self.pi1.state.glob("covey.db*"):
            (copy / path.name).write_bytes(path.read_bytes())
        with sqlite3.connect(copy / "covey.db") as store:
            self.assertEqual(store.execute("PRAGMA integrity_check").fetchall(), [("ok",)])

    def test_every_step(self):
        self.pi1.kill()
        self.start(0)
        self.arrived(self.push())
        points = self.steps()
        print(f"{len(points)} steps: {', '.join(dict.fromkeys(points))}", flush=True)
        self.assertGreater(len(points), 10)
        self.assertLess(len(points), POINTS_MAX)
        chosen = range(1, len(points) + 1)
        if os.environ.get("POINTS") != "all":
            ends = [(points.index(name), len(points) - 1 - points[::-1].index(name))
                    for name in dict.fromkeys(points)]
            chosen = sorted({at + 1 for pair in ends for at in pair})
        killed = sum(self.point(at) for at in chosen)
        print(f"killed at {killed} of {len(chosen)} steps", flush=True)
        self.assertGreater(killed, len(chosen) * 3 // 4)

    def point(self, at):
        """Whether agentd got as far as that step."""
        before = self.number
        self.pi1.kill()
        self.start(at)
        self.flock.settle(pis=[self.pi1])
        commit = self.push()
        try:
            self.pi1.process.wait(10)
        except subprocess.TimeoutExpired:  # this time it took fewer steps
            self.arrived(commit)
            return False
        self.assertIn(self.running(), (before, self.number, None))
        self.stored()
        self.arm.unlink()
        self.pi1.start()
        self.arrived(commit)
        return True


if __name__ == "__main__":
    flock.main()
