"""Suspended apps: commits do not reach them, on no node, until they are resumed or their time ends."""

import flock
from flock import eventually, workload


def program(name, number):
    return workload(name, ["sleep", "1d"], env=[{"name": "NUMBER", "value": str(number)}])


def files(number):
    return {"apps/web/web.yaml": program("web", number), "apps/job/job.yaml": program("job", number)}


class Suspend(flock.FlockTest):
    @classmethod
    def prepare(cls):
        cls.flock.apply({"cluster.yaml": flock.CLUSTER, **files(1)})

    def running(self, pi, name):
        """The generation that runs, as this Pi sees it; None while it is not ready."""
        return next((i["generation"] for i in pi.instances(name).values()
                     if i["state"] == "ready"), None)

    def settled(self, name):
        return eventually(lambda: self.running(self.pi1, name) == self.running(self.pi2, name) and
                          self.running(self.pi1, name), lambda: self.pi1.instances())

    def changed(self, name, before):
        eventually(lambda: self.settled(name) != before, lambda: self.pi1.instances(name))

    def suspended(self, pi, name="web"):
        return (pi.app(name) or {}).get("suspended")

    def test_1_a_commit_does_not_reach_it(self):
        web, job = self.settled("web"), self.settled("job")
        said = self.flock.must(self.pi2, "suspend", "web", "--reason", "a backup runs", "--for", "1h")
        self.assertIn("on all nodes", said.stdout)
        for pi in self.flock.pis:
            eventually(lambda pi=pi: self.suspended(pi), pi.events)
            self.assertEqual(self.suspended(pi)["reason"], "a backup runs")
            self.assertEqual(self.suspended(pi)["by"], "pi2")
            self.assertIsNone(self.suspended(pi, "job"))
            self.assertTrue(pi.has_event("app/web", "suspended", "a backup runs"))
            self.assertIn("web is suspended by pi2 until 20", pi.ctl("apps").stdout)
        commit = self.flock.push(files(2))
        self.changed("job", job)
        self.flock.settle(commit)
        self.assertEqual(self.settled("web"), web)
        # Not even when it leaves Git.
        self.flock.settle(self.flock.push({"apps/web/web.yaml": None}))
        self.assertEqual(self.settled("web"), web)
        self.flock.settle(self.flock.push(files(2)))

    def test_2_it_outlives_agents_and_is_resumed_from_anywhere(self):
        web = self.settled("web")
        pids = {i["pid"] for i in self.pi1.instances("web").values()}
        for pi in self.flock.pis:
            pi.kill()
        for pi in self.flock.pis:
            pi.start()
        self.flock.settle()
        for pi in self.flock.pis:
            self.assertEqual(self.suspended(pi)["by"], "pi2")
        self.assertEqual(self.settled("web"), web)
        self.assertEqual({i["pid"] for i in self.pi1.instances("web").values()}, pids)
        self.flock.must(self.pi1, "resume", "web")
        self.changed("web", web)
        for pi in self.flock.pis:
            eventually(lambda pi=pi: not self.suspended(pi), pi.events)
            self.assertTrue(pi.has_event("app/web", "resumed by pi1"))

    def test_3_it_ends_by_itself(self):
        web = self.settled("web")
        self.flock.must(self.pi1, "suspend", "web", "--reason", "for a moment", "--for", "4s")
        self.flock.push(files(3))
        self.changed("web", web)
        for pi in self.flock.pis:
            eventually(lambda pi=pi: pi.has_event("app/web", "its time is over"), pi.events)

    def test_4_what_cannot_be(self):
        self.assertEqual(self.pi1.ctl("suspend", "web").status, 2)
        self.assertEqual(self.pi1.ctl("suspend", "web", "--reason", "x", "--for", "soon").status, 2)
        unknown = self.pi1.ctl("suspend", "nobody", "--reason", "x")
        self.assertEqual(unknown.status, 1)
        self.assertIn("no app nobody", unknown.stderr)
        self.assertIn("not suspended", self.pi1.ctl("resume", "web").stdout)


if __name__ == "__main__":
    flock.main()
