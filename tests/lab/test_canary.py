"""Some nodes try a commit first (agentctl push --node); the others follow, or are never touched."""

import os
from pathlib import Path

import flock
from flock import eventually, run, workload

HEALTH_S = 10
CLUSTER = f"""\
apiVersion: covey.dev/v1
kind: Cluster
metadata: {{name: lab}}
spec:
  pool: 10.77.0.210-10.77.0.230
  holdDownSeconds: 100  # no replica moves while an agent is away
  sync: {{healthTimeoutSeconds: {HEALTH_S}}}
"""


class Canary(flock.FlockTest):
    make = flock.Three

    @classmethod
    def prepare(cls):
        cls.pi3 = cls.flock.pis[2]
        cls.round = 0

    def setUp(self):
        """One replica on each node, well and good."""
        self.change(good=True)
        self.before = self.flock.push({})
        self.good(self.before)
        self.rounds = self.every_round()
        self.assertEqual(set(self.rounds), {"pi1", "pi2", "pi3"})

    def change(self, good=None):
        """A commit that replaces every replica. It gets ready at once, or after open_gate(), or
        never."""
        type(self).round += 1
        gate = {} if good else {"readinessProbe": {"periodSeconds": 1, "exec": {
            "command": ["sh", "-c", 'test -e "$HOME/gate-$ROUND"']}}}
        command = "exit 1" if good is False else "exec sleep 100000"
        self.flock.write({"cluster.yaml": CLUSTER, "apps/try/each.yaml": workload(
            "each", ["sh", "-c", command], replicas=3,
            env=[{"name": "ROUND", "value": str(self.round)}], **gate)})

    def open_gate(self):
        for pi in self.flock.pis:
            for home in pi.state.glob("instances/each.*"):
                (home / f"gate-{self.round}").touch()

    def push(self, *arguments, status=0):
        result = run(flock.programs / "agentctl", "--socket", self.pi1.run / "agent.sock", "push",
                     self.pi1.repository, *arguments, check=False, cwd=self.flock.desired,
                     env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
                          **{f"GIT_{who}_{what}": f"lab@{what}.invalid"
                             for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}})
        self.assertEqual(result.returncode, status, result.stdout + result.stderr)
        self.said = result.stderr
        return self.flock.git("rev-parse", "HEAD").stdout.strip()

    def every_round(self):
        """Of the processes on each node, as the kernel knows them: {pid: ROUND}."""
        found = {}
        for pi in self.flock.pis:
            for name, pid in pi.processes():
                try:
                    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                except OSError:  # it has ended meanwhile
                    continue
                found.setdefault(pi.name, {})[pid] = next(
                    int(v[6:]) for v in environment if v.startswith(b"ROUND="))
        return found

    def untouched(self, pi):
        """What ran there runs on, and what came there from a dead node is of the same commit."""
        now, before = self.every_round()[pi.name], self.rounds[pi.name]
        self.assertLessEqual(before.items(), now.items())
        self.assertEqual(set(now.values()), set(before.values()))

    def all_run(self, number):
        return all(set(rounds.values()) == {number} for rounds in self.every_round().values())

    def has(self, pi, commit, *health):
        shown = pi.commit()
        return shown.get("commit") == commit and shown.get("health") in health

    def good(self, commit):
        for pi in self.flock.pis:
            eventually(lambda: self.has(pi, commit, "good"), lambda: (pi.name, pi.commit()))

    def held(self, pi, commit, canary):
        eventually(lambda: self.has(pi, self.before, "held") and pi.commit()["next"] == commit,
                   lambda: (pi.name, pi.commit()))
        self.assertIn(f"waits until {canary} has shown it ready", pi.commit()["reason"])
        self.untouched(pi)

    def test_the_others_follow(self):
        self.change()
        commit = self.push("--node", "pi2")
        eventually(lambda: self.has(self.pi2, commit, "trying"), self.pi2.commit)
        eventually(lambda: self.round in self.every_round().get("pi2", {}).values(), self.every_round)
        self.held(self.pi1, commit, "pi2")
        self.held(self.pi3, commit, "pi2")
        self.assertEqual(self.pi1.ctl("status").status, 3)
        self.assertIn(f"{commit[:10]} waits until pi2", self.pi1.ctl("status").stdout)
        self.assertIn(f"{commit[:10]} waits until pi2", self.pi1.ctl("sync").stdout)
        self.open_gate()
        self.good(commit)
        eventually(lambda: self.all_run(self.round), self.every_round)

    def test_the_others_are_never_touched_by_a_bad_one(self):
        self.change(good=False)
        commit = self.push("--node", "pi3")
        self.held(self.pi1, commit, "pi3")
        eventually(lambda: self.has(self.pi3, self.before, "rolled back"), self.pi3.commit)
        for pi in (self.pi1, self.pi2):
            eventually(lambda: commit[:10] in pi.ctl("history").stdout and
                       self.has(pi, self.before, "good"), lambda: (pi.name, pi.commit()))
            self.untouched(pi)
            self.assertIn("was given up", pi.headline())
        eventually(lambda: self.all_run(self.round - 1), self.every_round)

    def test_one_that_vanishes_and_one_that_restarts(self):
        """The canary's agent dies while it tries, then that of a node which waits."""
        self.change()
        commit = self.push("--node", "pi3")
        eventually(lambda: self.has(self.pi3, commit, "trying"), self.pi3.commit)
        self.held(self.pi1, commit, "pi3")
        self.held(self.pi2, commit, "pi3")
        self.pi3.kill()
        eventually(lambda: self.pi1.has_event("warning commit", "pi3, which is to try it first, is "
                                              "away"), self.pi1.events)
        self.pi2.kill()
        self.pi2.start()
        self.held(self.pi2, commit, "pi3")
        self.held(self.pi1, commit, "pi3")
        self.assertIn("which is not here", self.pi1.headline())
        self.pi3.start()
        self.open_gate()
        self.good(commit)

    def test_a_node_that_does_not_exist(self):
        self.change(good=True)
        head = self.flock.git("rev-parse", "HEAD").stdout.strip()
        self.assertEqual(self.push("--node", "pi9", status=1), head)
        self.assertIn("the flock has no node pi9", self.said)
        self.assertEqual(self.pi1.commit()["commit"], self.before)
        self.good(self.push())


if __name__ == "__main__":
    flock.main()
