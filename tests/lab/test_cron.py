"""Runs of one CronWorkload side by side: each is a process of its own, with a log and an end of its own."""

import os
import signal

import flock
from flock import eventually, workload

LASTS_S = 5
SCRIPT = f'echo "$INSTANCE $$ begins"; sleep {LASTS_S}; echo "$INSTANCE $$ ends"; exit 4'


def beside(**spec):
    return workload("beside", ["/bin/sh", "-c", SCRIPT], kind="CronWorkload", schedule="@every 1s",
                    concurrencyPolicy="Allow", restartPolicy="Never", historyLimit=15,
                    terminationGracePeriodSeconds=1, **spec)


class Cron(flock.FlockTest):
    def running(self):
        """Where the runs are, and the main processes by instance."""
        found = [(pi, dict(pi.processes())) for pi in self.flock.pis if pi.processes()]
        self.assertLessEqual(len(found), 1, "it is placed on one node")
        return found[0] if found else (None, {})

    def runs(self):
        return (self.pi2.app("beside") or {}).get("runs", [])

    def test_runs_side_by_side(self):
        self.flock.apply({"cluster.yaml": flock.CLUSTER, "apps/x/beside.yaml": beside()})
        eventually(lambda: len(self.running()[1]) >= 4, self.running)
        pi, found = self.running()
        pi.kill()
        pi.start()
        # Those that ran before the agent was killed come to their own ends, known to the flock.
        ends = lambda: {r["instance"] for r in self.runs() if r["exitCode"] == 4}
        eventually(lambda: set(found) <= ends(), self.runs)
        runs = self.runs()
        self.assertEqual(len({(r["tick"], r["attempt"]) for r in runs}), len(runs), runs)
        self.assertFalse([r for r in runs if r["state"] == "unknown"], runs)
        for name, pid in found.items():
            text = pi.ctl("logs", name, "-n", "all", "--raw").stdout
            for word in ("begins", "ends"):
                self.assertEqual(text.count(f"{name} {pid} {word}"), 1, text)
        shown = pi.ctl("cron", "beside").stdout
        self.assertRegex(shown, r"beside\.[1-7] +\d{4}-\S+ +pi[12] +(running|failed)")
        eventually(lambda: len(self.running()[1]) >= 4, self.running)
        self.flock.apply({"apps/x/beside.yaml": None})
        eventually(lambda: not self.running()[1], self.running)
        eventually(lambda: not pi.instances("beside"), lambda: pi.instances("beside"))

    def test_no_more_than_eight(self):
        self.flock.apply({"cluster.yaml": flock.CLUSTER, "apps/x/many.yaml": workload(
            "many", ["/bin/sleep", "1000"], kind="CronWorkload", schedule="@every 1s",
            concurrencyPolicy="Allow")})
        eventually(lambda: any(pi.has_event("warning", "many", "8 of them are under way")
                               for pi in self.flock.pis), self.running)
        self.assertEqual(len(self.running()[1]), 8)
        # A document that forbids it lets them run, and begins no other.
        self.flock.apply({"apps/x/many.yaml": workload(
            "many", ["/bin/sleep", "1000"], kind="CronWorkload", schedule="@every 1s")})
        self.assertEqual(len(self.running()[1]), 8)
        self.flock.apply({"apps/x/many.yaml": workload(
            "many", ["/bin/sleep", "1000"], kind="CronWorkload", schedule="@every 1s",
            concurrencyPolicy="Replace")})
        eventually(lambda: len(self.running()[1]) == 1, self.running)
        self.flock.apply({"apps/x/many.yaml": None})
        eventually(lambda: not self.running()[1], self.running)

    def test_one_that_is_suspended_is_off(self):
        nowhere = workload("resting", ["/bin/true"], kind="CronWorkload", schedule="@every 1s", suspend=True,
                           nodeSelector={"there": "none"})
        self.flock.apply({"cluster.yaml": flock.CLUSTER, "apps/x/resting.yaml": nowhere})
        self.assertTrue(self.pi2.app("resting")["off"])
        self.assertRegex(self.pi2.ctl("status").stdout, r"All good.*\(1 off\)[^$]*resting +off")
        for pi in self.flock.pis:
            self.assertFalse(pi.has_event("warning", "resting", "run nowhere"))
        self.flock.apply({"apps/x/resting.yaml": nowhere.replace('"suspend": true', '"suspend": false')})
        eventually(lambda: any(pi.has_event("warning", "resting", "run nowhere") for pi in self.flock.pis),
                   lambda: self.pi2.app("resting"))

    def test_a_run_that_is_lost(self):
        """How it ended nobody knows. It is run again only where its document says so."""
        jobs = {"again": {"retryLost": True}, "once": {}}
        runs = lambda name: (self.pi2.app(name) or {}).get("runs", [])
        self.flock.apply({"cluster.yaml": flock.CLUSTER, **{
            f"apps/x/{name}.yaml": workload(name, ["/bin/sleep", "1000"], kind="CronWorkload",
                                            schedule="@every 20s", restartPolicy="Never", **spec)
            for name, spec in jobs.items()}})
        found = lambda: {name: pid for pi in self.flock.pis for name, pid in pi.processes()}
        eventually(lambda: len(found()) == 2, found)
        for pid in found().values():
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                os.kill(int(file.read().rpartition(")")[2].split()[1]), signal.SIGKILL)
        eventually(lambda: any(run["attempt"] == 2 for run in runs("again")), lambda: runs("again"))
        eventually(lambda: any(run["state"] == "unknown" for run in runs("once")),
                   lambda: runs("once"))
        lost = next(run for run in runs("again") if run["state"] == "unknown")
        second = next(run for run in runs("again") if run["attempt"] == 2)
        self.assertEqual((lost["tick"], lost["attempt"]), (second["tick"], 1))
        self.assertEqual({run["attempt"] for run in runs("once")}, {1})
        self.assertIn("unknown", self.pi1.ctl("cron", "once").stdout)
        self.flock.apply({f"apps/x/{name}.yaml": None for name in jobs})


if __name__ == "__main__":
    flock.main()
