"""A workload of which there is one: never two processes at a time, whatever becomes of its node."""

import flock
from flock import eventually, workload

# Each run writes down when it was there; a run of which nothing is heard any more has left.
BEAT = 'while :; do echo "$$ $ROUND $(date +%s%N)" >>"$HOME/beats"; sleep 0.02; done'


def only(number):
    return workload("only", ["/bin/sh", "-c", BEAT], singleton=True,
                    env=[{"name": "ROUND", "value": str(number)}])


class Singleton(flock.FlockTest):
    make = flock.Three

    @classmethod
    def prepare(cls):
        cls.flock.apply({"cluster.yaml": flock.CLUSTER, "apps/x/only.yaml": only(1), "apps/x/vip.yaml": flock.VIP})
        # A flock of three has three voters some seconds after the third has joined: who would have gone
        # before, took one of two with it. The address's holder shows them.
        votes = lambda: max(len(pi.vip()["votes"]) for pi in cls.flock.pis)
        eventually(lambda: votes() == 3, lambda: [pi.vip() for pi in cls.flock.pis])

    def processes(self):
        return [(pi, pid) for pi in self.flock.pis for _, pid in pi.processes()]

    def one_runs(self, *elsewhere_than):
        """The only process, and its Pi, which is none of these."""
        def found():
            there = self.processes()
            return there if len(there) == 1 and there[0][0] not in elsewhere_than else None

        return eventually(found, self.processes)[0]

    def runs(self):
        """(first beat, last beat, round, Pi) of each process that there ever was, in order."""
        found = {}
        for pi in self.flock.pis:
            for beats in pi.state.glob("instances/only*/beats"):
                for line in beats.read_text().splitlines():
                    pid, number, when = map(int, line.split())
                    first, _, _, _ = found.get((pi.name, pid), (when, 0, 0, 0))
                    found[pi.name, pid] = (first, when, number, pi.name)
        return sorted(found.values())

    def never_two(self):
        runs = self.runs()
        for before, after in zip(runs, runs[1:]):
            self.assertLess(before[1], after[0], runs)
        return runs

    def test_1_its_agent_is_killed(self):
        owner, _ = self.one_runs()
        owner.kill()
        other = self.one_runs(owner)
        owner.start()
        self.flock.settle()
        self.assertEqual(self.one_runs(), other, "nothing moves back by itself")
        self.assertGreaterEqual(len(self.never_two()), 2)

    def test_2_its_node_is_cut_off_and_misses_a_commit(self):
        owner, _ = self.one_runs()
        majority = [pi for pi in self.flock.pis if pi is not owner]
        self.flock.cut(owner, majority)
        other, _ = self.one_runs(owner)
        commit = self.flock.push({"apps/x/only.yaml": only(2)}, to=other)
        for pi in majority:
            eventually(lambda: pi.commit()["commit"] == commit, pi.commit)
        eventually(lambda: [r for r in self.runs() if r[2] == 2], self.runs)
        self.flock.heal()
        self.flock.settle(commit)
        self.one_runs()
        runs = self.never_two()
        self.assertEqual(runs[-1][2], 2, runs)
        newest = next(k for k, r in enumerate(runs) if r[2] == 2)
        self.assertFalse([r for r in runs[newest:] if r[2] != 2], "the old commit's never comes again")


if __name__ == "__main__":
    flock.main()
