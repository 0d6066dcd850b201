"""Pis that leave: in order, for maintenance, and without a word."""

import signal

import flock
from flock import eventually, http_workload

VIP = "10.77.0.210"
FILES = {"cluster.yaml": flock.CLUSTER, "apps/web/vip.yaml": flock.VIP,
         "apps/web/rest-api.yaml": http_workload("rest-api", replicas=2),
         "apps/web/metrics-app.yaml": http_workload("metrics-app", "metrics-app", 8000)}


class Leave(flock.FlockTest):
    @classmethod
    def prepare(cls):
        cls.flock.apply(FILES)

    def report(self, counts):
        print(f"{counts[1]} of {counts[0]} pings lost, 20 ms apart ", end="", flush=True)

    def moved_to(self, pi):
        eventually(lambda: self.flock.owner() is pi, pi.vip)

    def names(self, pi):
        return [name for name, _ in pi.processes()]

    def test_1_end_in_order(self):
        """SIGTERM, as at an upgrade: the address is handed over, every process lives on."""
        self.flock.apply({"cluster.yaml": flock.CLUSTER.replace("Seconds: 5", "Seconds: 60")})
        pi = self.flock.owner()
        before = [p.processes() for p in self.flock.pis]

        def end():
            self.assertEqual(pi.kill(signal.SIGTERM), 0)
            eventually(lambda: self.flock.other(pi).vip().get("owner") ==
                       self.flock.other(pi).name, self.flock.other(pi).vip)

        self.report(self.flock.pings(VIP, end))
        self.assertNotIn(VIP, pi.addresses())
        self.assertEqual(self.flock.other(pi).member(pi.name)["state"], "left")
        pi.start()
        self.flock.settle()
        self.assertEqual([p.processes() for p in self.flock.pis], before)
        self.moved_to(self.flock.other(pi))
        self.flock.apply({"cluster.yaml": flock.CLUSTER})

    def test_2_drain(self):
        pi = self.flock.owner()
        other = self.flock.other(pi)

        def drain():
            self.flock.must(pi, "drain")
            self.moved_to(other)

        self.report(self.flock.pings(VIP, drain))
        eventually(lambda: not pi.processes(), pi.processes)
        eventually(lambda: self.names(other) == ["metrics-app.0", "rest-api.0", "rest-api.1"],
                   other.processes)
        eventually(lambda: other.member(pi.name)["draining"], other.headline)
        self.assertIn("draining", other.ctl("members").stdout)
        self.flock.settle()

        # It remembers, and it is still part of the flock.
        pi.kill()
        pi.start()
        self.flock.settle(self.flock.push({}, to=pi))
        self.assertEqual(pi.processes(), [])
        self.assertTrue(pi.member(pi.name)["draining"])

        self.flock.must(pi, "undrain")
        eventually(lambda: not other.member(pi.name)["draining"], other.headline)
        eventually(lambda: pi.processes() and len(pi.processes() + other.processes()) == 3,
                   lambda: pi.processes() + other.processes())
        self.flock.settle()
        self.assertIs(self.flock.owner(), other, "an address moves for a reason only")

    def test_3_end_without_a_word(self):
        """The agent alone is dead, and not started again: the other Pi runs everything after the
        hold-down; when it is back, nothing runs twice."""
        pi = self.flock.owner()
        other = self.flock.other(pi)
        pi.kill()
        eventually(lambda: self.names(other) == ["metrics-app.0", "rest-api.0", "rest-api.1"],
                   other.processes)
        eventually(lambda: other.vip()["owner"] == other.name, other.vip)
        self.assertEqual(other.member(pi.name)["state"], "dead")
        self.assertEqual(other.ctl("status").status, 3)
        # What is not ready for a moment is told before a node that is gone.
        eventually(lambda: f"{pi.name} is dead" in other.headline(), other.headline)
        pi.start()
        # Who was away gets work again when it has been there for half a minute.
        eventually(lambda: len(pi.processes() + other.processes()) == 3,
                   lambda: pi.processes() + other.processes(), seconds=60)
        self.flock.settle()


if __name__ == "__main__":
    flock.main()
