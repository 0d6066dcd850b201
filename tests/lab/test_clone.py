"""A card that was copied: two machines under one identity."""

import os
import shutil

import flock
from flock import eventually


class Clone(flock.FlockTest):
    """The copy of pi2's card runs on the client's machine."""

    @classmethod
    def prepare(cls):
        cls.copy = flock.Pi(cls.flock, "client")
        cls.flock.apply({"cluster.yaml": flock.CLUSTER, "apps/web/vip.yaml": flock.VIP})

    def test_both_are_in_quarantine(self):
        """pi1 takes nothing of either, all three say what has happened and what to do, neither holds
        the address. When one is off, the other is a member again by itself (sim.keys has that for
        every seed; here it takes a minute: with COVEY_LAB_LONG=1)."""
        self.pi2.kill()
        shutil.copytree(self.pi2.state, self.copy.state, symlinks=True,
                        ignore=shutil.ignore_patterns("instances"))
        self.pi2.start()
        self.copy.start()
        eventually(lambda: self.pi1.member("pi2")["state"] == "quarantined",
                   lambda: self.pi1.member("pi2"), 60)
        for pi in (self.pi2, self.copy):
            eventually(lambda: "identity of pi2" in pi.headline(), pi.headline, 60)
            self.assertTrue(pi.has_event("another machine uses the identity", "join anew"))
            self.assertEqual(pi.ctl("status").status, 3)
        self.assertIn("Two machines use the identity of pi2", self.pi1.headline())
        self.assertIn("remove its state directory", self.pi1.headline())
        self.assertTrue(self.pi1.has_event("error node/pi2", "its card was copied", "node revoke pi2"))
        self.assertIn("quarantined", self.pi1.ctl("members").stdout)
        self.assertIn("quarantined", self.pi1.ctl("node", "list").stdout)
        self.assertGreater(self.pi1.dropped()["cloned"], 0)
        eventually(lambda: not any("10.77.0.210" in pi.addresses() for pi in (self.pi2, self.copy)),
                   lambda: [pi.addresses() for pi in (self.pi2, self.copy)])
        if "COVEY_LAB_LONG" not in os.environ:
            return
        eventually(lambda: "10.77.0.210" in self.pi1.addresses(), self.pi1.headline, 100)
        self.copy.kill()
        eventually(lambda: self.pi1.member("pi2")["state"] == "alive",
                   lambda: self.pi1.member("pi2"), 150)
        eventually(lambda: not self.pi2.member("pi2")["draining"] and
                   self.pi2.status()["health"] == "ok", self.pi2.headline, 150)
        self.assertTrue(self.pi1.has_event("node/pi2", "by one machine again"))


if __name__ == "__main__":
    if "COVEY_LAB_LONG" in os.environ:
        flock.LIMIT_S = 400
    flock.main()
