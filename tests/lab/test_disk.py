"""A full disk: what runs goes on untouched, the flock is told, and nothing is needed but space."""

import ctypes
import re

import flock
from flock import eventually, run

CLONE_NEWNS = 0x20000
SIZE = "8m"


def files(message):
    return {"cluster.yaml": flock.CLUSTER, "apps/web/vip.yaml": flock.VIP,
            "apps/web/rest-api.yaml": flock.http_workload(
                "rest-api", replicas=2, env=[{"name": "MESSAGE", "value": message}])}


class SmallDisks(flock.Flock):
    """The state of both Pis is on disks of 8 MiB; pi1's repository is not."""

    def form(self):
        # Mounts of our own, which end with this process and those that it has started.
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        run("mount", "--make-rprivate", "/")
        for pi in self.pis:
            pi.state.mkdir()
            run("mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=711", "lab", pi.state)
        self.pi1.repository = self.pi1.folder / "flock.git"
        self.pi1.write_config(f"repository: {{path: {self.pi1.repository}}}\n")
        super().form()

    def down(self):
        super().down()
        for pi in self.pis:
            run("umount", pi.state, check=False)


class Disk(flock.FlockTest):
    make = SmallDisks

    @classmethod
    def prepare(cls):
        cls.commit = cls.flock.apply(files("first"))

    def fill(self, pi):
        with open(pi.state / "filler", "wb", buffering=0) as filler:
            block = b"\xa5" * 65536
            while len(block) > 0:
                try:
                    written = filler.write(block)
                    block = block[:written]
                except OSError:
                    block = block[:len(block) // 2]

    def free(self, pi):
        (pi.state / "filler").unlink()

    def test_disk_of_the_store(self):
        """Git has room, the store has not: the push is kept and applied once there is room."""
        self.applied_late(self.pi1, self.pi1, files("store"))

    def test_disk_of_a_follower(self):
        """Neither Git nor the store of the other Pi has room for what comes from its peer."""
        self.applied_late(self.pi2, self.pi1, files("follower"))

    def applied_late(self, full, to, change):
        before = full.processes()
        self.fill(full)
        commit = self.flock.push(change, to=to)
        event = eventually(lambda: full.has_event("error", "commit", commit[:10]), full.events)
        self.assertRegex(event[0], "(?i)no space|full", "the event says why")
        said = eventually(lambda: [m for m in self.flock.other(full).items("members")
                                   if m["name"] == full.name and m["commit"]["state"] == "failed"],
                          self.flock.other(full).headline)
        self.assertEqual(said[0]["commit"]["commit"], self.commit, "it still applies the former one")
        self.assertEqual(full.ctl("status").status, 3)
        self.assertEqual(full.processes(), before)
        self.assertIsNone(full.process.poll())
        self.free(full)
        self.flock.settle(commit)
        self.assertEqual(full.commit()["state"], "applied")
        self.assertNotEqual(full.processes(), before)
        type(self).commit = commit

    def test_push_to_a_full_repository(self):
        before = self.pi2.processes()
        head = self.flock.git("rev-parse", "HEAD").stdout.strip()
        self.fill(self.pi2)
        self.flock.write(files("refused"))
        refused = self.flock.push_head(self.pi2)
        self.assertNotEqual(refused.returncode, 0)
        self.assertEqual(self.pi2.processes(), before)
        self.assertEqual(self.flock.git("rev-parse", "main", folder=self.pi2.repository).stdout.strip(),
                         head)
        self.free(self.pi2)
        accepted = self.flock.push_head(self.pi2)
        self.assertEqual(accepted.returncode, 0, accepted.stderr)
        type(self).commit = self.flock.git("rev-parse", "HEAD").stdout.strip()
        self.flock.settle(self.commit)

    def test_agent_restarts_on_a_full_disk(self):
        """It goes on as before, says what is missing, and works again when there is room."""
        before = self.pi2.processes()
        self.fill(self.pi2)
        self.pi2.kill()
        self.pi2.start()
        eventually(lambda: self.pi2.processes() == before, self.pi2.processes)
        eventually(lambda: [e for e in self.pi2.items("events") if e["subject"] == "store" and
                            re.search("(?i)no space|full", e["text"])], self.pi2.events)
        self.free(self.pi2)
        self.flock.settle(self.commit)
        self.assertEqual(self.pi2.processes(), before)


if __name__ == "__main__":
    flock.main()
