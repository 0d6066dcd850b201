"""Addresses out of a pool: a name keeps its own whatever else comes, goes or is lost."""

import signal

import flock
from flock import eventually

PATH = "apps/edge/{}.yaml"


def vip(name, address=None):
    spec = f"{{mode: solo, address: {address}}}" if address else "{mode: solo}"
    return flock.VIP.replace("name: front", f"name: {name}").replace("{mode: solo}", spec)


def cluster(last):
    return flock.CLUSTER.replace("10.77.0.210-10.77.0.230", f"10.77.0.210-10.77.0.{last}")


class Pool(flock.FlockTest):
    def held(self, **wanted):
        """Until both Pis show these addresses (last byte; None: pending), each of them answering."""
        wanted = {name: f"10.77.0.{last}" if last else "" for name, last in wanted.items()}

        def shown(pi):
            return {v["name"]: v.get("address") or "" for v in pi.items("vip")}

        for pi in self.flock.pis:
            eventually(lambda: shown(pi) == wanted, lambda: f"{pi.name}: {pi.items('vip')}")
        for address in filter(None, wanted.values()):
            eventually(lambda: self.flock.inside("client", "ping", "-n", "-c1", "-W1", address,
                                                 check=False).returncode == 0,
                       f"{address} does not answer")

    def test_names_keep_their_addresses(self):
        apply = self.flock.apply
        apply({"cluster.yaml": cluster(212), PATH.format("m"): vip("m")})
        self.held(m=210)
        # Names before and behind it, pushed to either Pi.
        apply({PATH.format("a"): vip("a")}, to=self.pi2)
        self.held(m=210, a=211)
        apply({PATH.format("z"): vip("z")})
        self.held(m=210, a=211, z=212)
        self.exhausted()
        self.lost()
        # It leaves, and its address is free; another one is waiting for it and gets it.
        apply({PATH.format("m"): None})
        self.held(a=211, late=210, z=212)
        # It returns: nobody is driven away for it. A wider pool has room.
        apply({PATH.format("m"): vip("m"), "cluster.yaml": cluster(214)}, to=self.pi2)
        self.held(a=211, late=210, m=213, z=212)
        # It leaves and returns while there is room: it has its own again.
        apply({PATH.format("m"): None, PATH.format("b"): vip("b")})
        self.held(a=211, b=214, late=210, z=212)
        apply({PATH.format("m"): vip("m")})
        self.held(a=211, b=214, late=210, m=213, z=212)
        # A document that names the address of another one.
        apply({PATH.format("b"): None, PATH.format("p"): vip("p", "10.77.0.212")})
        self.held(a=211, late=210, m=213, p=212, z=214)
        self.assertTrue(self.pi1.has_event("z has the address 10.77.0.214 now"),
                        self.pi1.events(20))

    def exhausted(self):
        """One more than there are: it waits, and everybody says so."""
        self.flock.push({PATH.format("late"): vip("late")})
        self.held(m=210, a=211, z=212, late=None)
        for pi in self.flock.pis:
            self.assertRegex(pi.status()["headline"], "^The address late is pending: the pool")
            text = pi.ctl("vip").stdout
            self.assertRegex(text, r"late +.*pending: the pool has no free address. Enlarge "
                                   r"spec.pool in cluster.yaml")
            self.assertTrue(pi.has_event("1 virtual IP waits for an address",
                                         "10.77.0.210-10.77.0.212"), pi.events(20))

    def lost(self):
        """The store of one agent is lost; then both start again at once, and know by theirs."""
        self.assertEqual(self.pi2.kill(signal.SIGTERM), 0)
        for file in self.pi2.state.glob("covey.db*"):
            file.unlink()
        self.pi2.start()
        self.held(m=210, a=211, z=212, late=None)
        for pi in self.flock.pis:
            pi.kill()
        for pi in self.flock.pis:
            pi.start()
        self.held(m=210, a=211, z=212, late=None)


if __name__ == "__main__":
    flock.main()
