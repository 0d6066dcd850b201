"""A damaged or lost store is set aside and rebuilt from Git and the peers; workloads go on."""

import signal

import flock
from flock import eventually

FILES = {"cluster.yaml": flock.CLUSTER, "apps/web/vip.yaml": flock.VIP,
         "apps/web/rest-api.yaml": flock.http_workload("rest-api", replicas=2)}


class Store(flock.FlockTest):
    @classmethod
    def prepare(cls):
        cls.commit = cls.flock.apply(FILES)

    def stop_and_spoil(self, pi, spoil):
        """Ends the agent, spoils its store, starts it: nothing may be missing afterwards."""
        before = pi.processes()
        self.assertEqual(len(before), 1)
        self.assertEqual(pi.kill(signal.SIGTERM), 0)
        spoil(pi.state / "covey.db")
        pi.start()
        self.flock.settle(self.commit)
        self.assertEqual(pi.processes(), before, "a workload was started anew")
        self.assertEqual(pi.commit()["state"], "applied")
        other = self.flock.other(pi)
        self.assertEqual({m["name"]: m["state"] for m in pi.items("members")},
                         {"pi1": "alive", "pi2": "alive"})
        # It takes part as before: a commit that reaches the other one only reaches it too.
        self.commit = type(self).commit = self.flock.apply({}, to=other)

    @staticmethod
    def overwrite(store):
        """Keeps the header, so that it still looks like a store, and ruins every page behind it."""
        with open(store, "r+b") as file:
            size = file.seek(0, 2)
            for page in range(4096, size, 4096):
                file.seek(page)
                file.write(b"\xa5" * 4096)

    @staticmethod
    def remove(store):
        for file in store.parent.glob("covey.db*"):
            file.unlink()

    def damaged(self, pi):
        self.stop_and_spoil(pi, self.overwrite)
        aside = [f for f in pi.state.glob("covey.db.corrupt-*") if not f.name.endswith("-wal")]
        self.assertEqual(len(aside), 1, "the damaged file is kept")
        self.assertTrue(pi.has_event("error", "store", aside[0].name), pi.events())

    def test_damaged_on_the_node_that_joined(self):
        self.damaged(self.pi2)

    def test_damaged_on_the_node_that_founded(self):
        self.damaged(self.pi1)

    def test_removed_on_the_node_that_joined(self):
        self.stop_and_spoil(self.pi2, self.remove)

    def test_removed_on_the_node_that_founded(self):
        self.stop_and_spoil(self.pi1, self.remove)

    def test_removed_on_both(self):
        """The flock has been everywhere but in the stores: in keys, in Git, in the processes."""
        before = [pi.processes() for pi in self.flock.pis]
        for pi in self.flock.pis:
            pi.kill()
            self.remove(pi.state / "covey.db")
        for pi in self.flock.pis:
            pi.start()
        self.flock.settle(self.commit)
        self.assertEqual([pi.processes() for pi in self.flock.pis], before)

    def test_text_instead_of_a_store(self):
        self.stop_and_spoil(self.pi2, lambda store: store.write_text("no database\n" * 1000))
        eventually(lambda: self.pi2.has_event("error", "store", "set aside"), self.pi2.events)


if __name__ == "__main__":
    flock.main()
