"""Datagrams between the two agents are lost and TCP is not: neither is called dead, or even suspected,
what they say of themselves still arrives, and `agentctl net` tells that the path is over TCP."""

import flock
from flock import ADDRESS, PORT, eventually

# What leaves a Pi for the other one, or for nobody but datagrams of gossip.
CUT = """
table inet paths {{
    chain out {{
        type filter hook output priority 0
        ip daddr {to} udp dport {port} counter drop
    }}
}}
"""


class Paths(flock.FlockTest):
    def cut(self, pi):
        """Datagrams of @pi's agent reach the other no more."""
        rules = CUT.format(to=self.flock.other(pi).address, port=PORT)
        self.flock.inside(pi.name, "nft", "-f", "-", input=rules)

    def heal(self):
        for pi in self.flock.pis:
            self.flock.inside(pi.name, "nft", "delete", "table", "inet", "paths", check=False)

    def tearDown(self):
        self.heal()

    def over(self, on, to):
        """What @on says of the path to @to."""
        return next((p["over"] for p in on.items("net") if p["to"] == to.name), None)

    def calm(self):
        """Whether each Pi holds the other for alive; fails when one does not."""
        for pi in self.flock.pis:
            other = pi.member(self.flock.other(pi).name)
            self.assertIsNotNone(other, pi.name)
            self.assertEqual(other["state"], "alive", f"{other} on {pi.name}")

    def await_over(self, to, way):
        """Until both Pis say so of the path to @to; meanwhile nobody is suspected."""
        def told():
            self.calm()
            return all(self.over(pi, to) == way for pi in self.flock.pis)

        eventually(told, lambda: [pi.items("net") for pi in self.flock.pis])

    def shown(self, to):
        """The line of `agentctl net` about the path to @to."""
        lines = self.pi1.ctl("net").stdout.splitlines()
        return next(line.split() for line in lines if line.startswith(to.name))

    def deaths(self):
        return [e for pi in self.flock.pis for e in pi.events() if "is dead" in e]

    def test_1_both_directions(self):
        self.cut(self.pi1)
        self.cut(self.pi2)
        self.await_over(self.pi1, "tcp")
        self.await_over(self.pi2, "tcp")
        self.assertEqual(self.shown(self.pi1)[:4], ["pi1", "yes", "pi2", "tcp"])
        # Records and commits still come through.
        self.flock.apply({"cluster.yaml": flock.CLUSTER}, self.pi1)
        self.calm()
        self.assertEqual(self.deaths(), [])
        # A crash is noticed. Datagrams would not even make a session then: who returns is found by TCP.
        self.pi2.kill()
        eventually(lambda: self.pi1.member("pi2")["state"] == "dead", self.pi1.headline)
        self.pi2.start()
        eventually(lambda: all((pi.member(self.flock.other(pi).name) or {}).get("state") == "alive"
                               for pi in self.flock.pis), self.pi1.headline)

    def test_2_one_direction(self):
        self.await_over(self.pi2, "udp")
        before = self.deaths()
        self.cut(self.pi1)
        self.await_over(self.pi2, "tcp")  # what pi2 has from pi1
        self.await_over(self.pi1, "udp")
        self.assertEqual(self.deaths(), before)


if __name__ == "__main__":
    flock.main()
