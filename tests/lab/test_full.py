"""A flock that has as many members as it may have: who wants to join is refused, and told why."""

import subprocess

import flock
from flock import ADDRESS, eventually

LIMIT = 1024  # FLOCK_NODES_MAX


class Full(flock.FlockTest):
    """pi1 founds the flock; one process plays all members that it can have besides."""

    found = False

    @classmethod
    def prepare(cls):
        for pi in cls.flock.pis:
            pi.start()
        cls.flock.must(cls.pi1, "init")
        cls.crowd = subprocess.Popen(
            ["ip", "netns", "exec", f"{cls.flock.prefix}-pi1", flock.programs / "gossip-crowd",
             cls.pi1.state, ADDRESS["pi1"], ADDRESS["pi1"], "20000", str(LIMIT - 1)],
            stdin=subprocess.PIPE)

    @classmethod
    def tearDownClass(cls):
        cls.crowd.stdin.close()
        cls.crowd.wait(flock.WAIT_S)
        super().tearDownClass()

    def test_a_newcomer_is_refused(self):
        eventually(lambda: len(self.pi1.items("members")) == LIMIT,
                   lambda: f"{len(self.pi1.items('members'))} members", 60)
        token = self.flock.must(self.pi1, "token", "create").stdout
        result = self.pi2.ctl("join", "-", input=token)
        self.assertEqual(result.status, 5, result.stderr)
        self.assertIn(f"the flock has {LIMIT} nodes, its limit", result.stderr)
        self.assertIn("agentctl node revoke", result.stderr)
        self.assertIn("in no flock", self.pi2.headline())


if __name__ == "__main__":
    flock.main()
