"""agentctl upgrade: the agent becomes another program, and no workload notices."""

import os
import shutil
from pathlib import Path

import flock

COUNTS = ["/bin/sh", "-c", "n=0; while :; do n=$((n + 1)); echo $n; sleep 0.02; done"]
FILES = {"cluster.yaml": flock.CLUSTER, "apps/web/vip.yaml": flock.VIP,
         "apps/x/counts.yaml": flock.workload("counts", COUNTS, nodeSelector={"disk": "ssd"}),
         "apps/web/rest-api.yaml": flock.http_workload("rest-api", replicas=2)}


class Upgrade(flock.FlockTest):
    lines = 0  # of the one that counts, when it was looked at last

    @classmethod
    def prepare(cls):
        cls.flock.apply(FILES)

    def program(self, source, name):
        """A copy elsewhere, as a user would bring one; its helpers lie where they are installed."""
        path = self.flock.folder / name
        shutil.copy(flock.programs / source, path)
        path.chmod(0o755)
        for helper in ("agent-shim", "agent-seccomp", "agentctl"):
            if not (self.flock.folder / helper).exists():
                (self.flock.folder / helper).symlink_to(flock.programs / helper)
        return path

    def upgrade(self, path):
        return self.pi1.ctl("--timeout", "60", "upgrade", str(path))

    def raw_sockets(self):
        process = Path(f"/proc/{self.pi1.process.pid}")
        rows = (process / "net/packet").read_text().splitlines()[1:]
        names = {f"socket:[{row.split()[8]}]" for row in rows}
        return sum(os.readlink(file) in names for file in (process / "fd").iterdir())

    def same(self, before):
        self.flock.settle()
        self.assertEqual(self.pi1.processes(), before, "a workload was started anew")
        self.assertIsNone(self.pi1.process.poll(), "it is the same process")
        lines = [int(line) for line in self.flock.must(
            self.pi1, "logs", "counts", "-n", "all", "--raw").stdout.split()]
        self.assertEqual(lines, list(range(1, len(lines) + 1)), "a line of its log was lost")
        self.assertGreater(len(lines), self.lines, "it writes on")
        type(self).lines = len(lines)

    def test_to_another_program_and_on(self):
        before = self.pi1.processes()
        for number in range(2):
            result = self.upgrade(self.program("agentd", f"agentd-{number}"))
            self.assertEqual(result.status, 0, result.stderr)
            self.assertIn("no workload was touched", result.stdout)
            self.same(before)
        self.assertTrue(self.pi1.has_event("upgraded from agentd"), self.pi1.events())
        # A program leaves its raw sockets, at most two, to the next one, which closes them.
        flock.eventually(lambda: 0 < self.raw_sockets() <= 2, "no raw socket is left open")

    def failing(self, how, reason):
        before = self.pi1.processes()
        commit = self.pi1.commit()
        result = self.upgrade(self.program("failing_agentd", f"agentd-{how}"))
        self.assertEqual(result.status, 1, result.stdout)
        self.assertIn(reason, result.stderr)
        self.same(before)
        self.assertEqual(self.pi1.commit(), commit)

    def test_one_that_crashes(self):
        self.failing("crash", "crashed by signal 11; agentd")

    def test_one_that_ends(self):
        self.failing("end", "ended at its start")

    def test_one_that_leaves_a_newer_store(self):
        self.failing("store", "crashed by signal 6")

    def test_what_is_no_program_changes_nothing(self):
        before = self.pi1.processes()
        broken = self.flock.folder / "agentd-broken"
        broken.write_text("#!/no/such/interpreter\n")
        broken.chmod(0o755)
        self.assertEqual(self.upgrade(broken).status, 1)
        other = self.program("agentd", "agentd-writable")
        other.chmod(0o777)
        self.assertIn("nobody else may write", self.upgrade(other).stderr)
        self.same(before)


if __name__ == "__main__":
    flock.main()
