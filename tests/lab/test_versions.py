"""A flock whose agents are of adjacent releases: each pair speaks the highest version of the protocol
that both know, through upgrades one node at a time; releases too far apart refuse each other, and say
so."""

import shutil

import flock
from flock import ADDRESS, eventually

DATA = 1


class Versions(flock.FlockTest):
    @classmethod
    def prepare(cls):
        cls.capture = cls.flock.capture(cls.pi1)
        cls.pushes = 0

    def program(self, source):
        """A copy elsewhere, as a user would bring one; its helpers lie where they are installed."""
        path = self.flock.folder / source
        if not path.exists():
            shutil.copy(flock.programs / source, path)
            path.chmod(0o755)
        for helper in ("agent-shim", "agent-seccomp", "agentctl"):
            if not (self.flock.folder / helper).exists():
                (self.flock.folder / helper).symlink_to(flock.programs / helper)
        return path

    def upgrade(self, pi, source):
        result = pi.ctl("--timeout", "60", "upgrade", str(self.program(source)))
        self.assertEqual(result.status, 0, result.stderr)

    def speak(self, version):
        """Both see each other and take each other's commits, in this version in both directions."""
        before = len(self.sent(self.pi1)), len(self.sent(self.pi2))
        for pi in self.flock.pis:
            type(self).pushes += 1
            self.flock.apply({"note": f"{self.pushes}"}, pi)
        for pi, count in zip(self.flock.pis, before):
            eventually(lambda: self.sent(pi)[count:] and self.sent(pi)[-1] == version,
                       lambda: f"{pi.name} speaks {self.sent(pi)[-3:]}, not {version}")

    def sent(self, pi):
        """The versions of the datagrams of @pi's sessions."""
        other = self.flock.other(pi)
        return [d[0] >> 4 for d in self.capture.datagrams(ADDRESS[pi.name], ADDRESS[other.name])
                if d[0] & 15 == DATA]

    def test_node_by_node(self):
        self.speak(1)
        self.upgrade(self.pi2, "agentd_next")
        self.speak(1)
        self.upgrade(self.pi1, "agentd_next")
        self.speak(2)
        self.upgrade(self.pi2, "agentd_later")
        self.speak(2)
        deaths = [e for pi in self.flock.pis for e in pi.events() if "is dead" in e]
        self.assertEqual(deaths, [])
        # One too far: the first release beside the third.
        self.pi1.kill()
        self.pi1.start()
        for pi, ranges in ((self.pi1, "versions 2 to 3, this agent 1 to 1"),
                           (self.pi2, "versions 1 to 1, this agent 2 to 3")):
            eventually(lambda: pi.has_event("cannot talk", ranges), pi.events)
            self.assertGreater(pi.dropped()["version"], 0)


if __name__ == "__main__":
    flock.main()
