"""agentd is killed at random moments: nothing runs twice, nothing restarts, nothing is held twice."""

import random
import threading
import time

import flock
from flock import eventually, http_workload

KILLS = 20
VIP = "10.77.0.210"


def files(round_):
    """Of three workloads one changes with each push."""
    return {"cluster.yaml": flock.CLUSTER, "apps/web/vip.yaml": flock.VIP,
            "apps/web/rest-api.yaml": http_workload("rest-api", replicas=2),
            "apps/web/metrics-app.yaml": http_workload("metrics-app", "metrics-app", 8000),
            "apps/web/changing.yaml": http_workload(
                "changing", port=6000, env=[{"name": "ROUND", "value": str(round_)}])}


class Watcher(threading.Thread):
    """Asks both kernels, all the time, who has the address and who lets it be answered, and counts
    the processes of each instance."""

    def __init__(self, pis):
        super().__init__(daemon=True)
        self.pis = pis
        self.ending = threading.Event()
        self.doubled = []
        self.held = 0

    def answers(self, pi):
        """The address is on the interface, and the fence lets ARP for it through."""
        if VIP not in pi.addresses():
            return False
        return VIP in pi.flock.inside(pi.name, "nft", "list", "set", "arp", "covey", "leased",
                                      check=False).stdout

    def run(self):
        while not self.ending.is_set():
            # Each is asked before and after the other: only what holds all the time counts.
            first = self.answers(self.pis[0])
            second = first and self.answers(self.pis[1])
            self.held += first or self.answers(self.pis[1])
            if second and self.answers(self.pis[0]):
                self.doubled.append(f"{VIP} is held on both")
            for pi in self.pis:
                names = [name for name, _ in pi.processes()]
                for name in {n for n in names if names.count(n) > 1}:
                    # One that ends and one that begins are not seen at one moment.
                    again = [n for n, _ in pi.processes()]
                    if again.count(name) > 1:
                        self.doubled.append(f"{name} runs {again.count(name)} times on {pi.name}")


class Kills(flock.FlockTest):
    @classmethod
    def prepare(cls):
        cls.flock.apply(files(0))

    def unchanged(self):
        return {(name, pid) for pi in self.flock.pis for name, pid in pi.processes()
                if not name.startswith("changing")}

    def test_random_kills(self):
        seed = random.SystemRandom().randrange(1 << 32)
        chance = random.Random(seed)
        print(f"seed {seed} ", end="", flush=True)
        before = self.unchanged()
        self.assertEqual(len(before), 3)
        watcher = Watcher(self.flock.pis)
        watcher.start()
        commit = None
        for round_ in range(1, KILLS + 1):
            pi = chance.choice(self.flock.pis)
            if round_ % 3 == 0:
                commit = self.flock.push(files(round_), to=chance.choice(self.flock.pis))
            time.sleep(chance.random() * 0.5)  # any moment will do
            pi.kill()
            time.sleep(chance.choice([0, 0, chance.random()]))
            if chance.random() < 0.3:  # and again while it starts
                pi.start(wait=False)
                time.sleep(chance.random() * 0.1)
                pi.kill()
            pi.start()
        self.flock.settle(commit)
        watcher.ending.set()
        watcher.join()
        self.assertGreater(watcher.held, KILLS, "the address was seen where it is")
        self.assertEqual(watcher.doubled, [], f"seed {seed}")
        self.assertEqual(self.unchanged(), before, f"seed {seed}: a workload was started anew")
        for pi in self.flock.pis:
            for name, instance in pi.instances("rest-api").items():
                self.assertIn((name, instance["pid"]), before)
                self.assertEqual(instance["restarts"], 0)
        running = [p for pi in self.flock.pis for p in pi.processes() if p[0] == "changing.0"]
        self.assertEqual(len(running), 1)

    def test_restart_within_the_lease(self):
        """The address is answered throughout, or moves when the machine is slow; no process ends."""
        owner = self.flock.owner()
        before = self.unchanged()

        def restart():
            owner.kill()
            owner.start()

        sent, lost = self.flock.pings(VIP, restart)
        print(f"{lost} of {sent} pings lost, 20 ms apart ", end="", flush=True)
        self.flock.settle()
        self.assertEqual(self.unchanged(), before)


if __name__ == "__main__":
    flock.main()
