"""Keys: epochs and their rotation, absences, revocation, another holder; a changed address."""

import json
import shutil
import signal
import time

import flock
from flock import ADDRESS, eventually, http_workload

REVOKED_S = 10  # a revocation is known everywhere
AWAY = 6  # epochs that are made while a node is away: more than are kept


class Keys(flock.FlockTest):
    """pi1 founds the flock; pi2 and a third Pi, on the client's machine, join."""

    @classmethod
    def prepare(cls):
        cls.third = flock.Pi(cls.flock, "client")
        cls.third.start()
        cls.all = [cls.pi1, cls.pi2, cls.third]
        cls.join(cls.third)
        cls.commit = cls.flock.push({"cluster.yaml": flock.CLUSTER, "apps/web/vip.yaml": flock.VIP,
                                     "apps/web/api.yaml": http_workload("rest-api", replicas=2)})
        cls.meet()

    @classmethod
    def join(cls, pi, by=None):
        token = cls.flock.must(by or cls.pi1, "token", "create").stdout
        cls.flock.must(pi, "join", "-", input=token)

    @classmethod
    def meet(cls, pis=None):
        """Until all see all alive, on one epoch."""
        pis = pis or cls.all

        def together():
            return all(sorted(m["name"] for m in pi.items("members") if m["state"] == "alive") ==
                       sorted(p.name for p in pis) for pi in pis) and \
                len({pi.json("keys", "status").get("epoch") for pi in pis}) == 1 and \
                all(pi.ctl("keys", "status").status == 0 for pi in pis)

        eventually(together, lambda: [pi.headline() for pi in pis] +
                   [pi.ctl("keys", "status").stdout for pi in pis])

    def away_from_client(self):
        """The address is held by pi1 or pi2, as the client pings it from where the third Pi is."""
        eventually(lambda: self.pi1.vip().get("owner"), lambda: self.pi1.vip())
        if self.pi1.vip()["owner"] == "client":
            self.flock.must(self.pi1, "vip", "move", "front", "pi1")

    def epoch(self, pi=None):
        return (pi or self.pi1).json("keys", "status")["epoch"]

    def rotate(self):
        """As soon as that is allowed again."""
        eventually(lambda: self.pi1.ctl("keys", "rotate").status == 0, "no rotation is possible")

    def node(self, pi, name):
        return next((n for n in pi.items_of("node", "list") if n["name"] == name), None)

    def test_1_lists(self):
        for pi in self.all:
            nodes = pi.items_of("node", "list")
            self.assertEqual([n["name"] for n in nodes], ["client", "pi1", "pi2"])
            self.assertEqual([n["holder"] for n in nodes], [False, True, False])
            self.assertEqual({n["state"] for n in nodes}, {"admitted"})
        self.assertEqual([n["fingerprint"] for n in self.pi1.items_of("node", "list")],
                         [n["fingerprint"] for n in self.third.items_of("node", "list")])
        self.assertRegex(self.node(self.pi1, "pi2")["fingerprint"], r"^([A-Z2-7]{4}-){4}[A-Z2-7]{4}$")
        text = self.pi1.ctl("node", "list").stdout
        self.assertIn("pi1 * (cluster key)", text)
        self.assertIn("every living node has it", self.pi1.ctl("keys").stdout)

    def test_2_tokens(self):
        token = json.loads(self.flock.must(self.pi1, "-o", "json", "token", "create", "--uses",
                                           "3").stdout)
        listed = {t["id"]: t for t in self.pi1.items_of("token", "list")}
        self.assertEqual((listed[token["id"]]["state"], listed[token["id"]]["usesLeft"]),
                         ("valid", 3))
        self.assertEqual({t["state"] for i, t in listed.items() if i != token["id"]}, {"used"})
        self.assertNotIn(token["token"], self.pi1.ctl("-o", "json", "token", "list").stdout)
        self.flock.must(self.pi1, "token", "revoke", token["id"])
        self.assertIn("revoked", self.pi1.ctl("token", "list").stdout)
        unknown = self.pi1.ctl("token", "revoke", "0" * 16)
        self.assertEqual(unknown.status, 1)
        self.assertIn("token list", unknown.stderr)

    def test_3_who_may(self):
        for command in (["keys", "rotate"], ["node", "revoke", "client"], ["token", "create"]):
            result = self.pi2.ctl(*command)
            self.assertEqual(result.status, 6, result.stderr)
        self.assertIn("run it on pi1", self.pi2.ctl("keys", "rotate").stderr)
        for wrong, status in ((["node", "revoke", "pi9"], 1), (["node", "revoke", "pi1"], 5),
                              (["node", "revoke"], 2), (["node", "frobnicate"], 2),
                              (["keys", "frobnicate"], 2)):
            self.assertEqual(self.pi1.ctl(*wrong).status, status, wrong)

    def test_4_rotation_drops_nothing(self):
        """Leases are renewed ten times a second, probes go round, a client pings the address: no
        datagram is refused, nobody is suspected, no ping is lost."""
        reasons = ("unknown_epoch", "authentication", "unknown_session", "unknown_sender", "replay")
        self.away_from_client()
        before = [{r: pi.dropped()[r] for r in reasons} for pi in self.all]
        accepted = [pi.status()["wire"]["accepted"] for pi in self.all]
        epoch, owner = self.epoch(), self.flock.owner()
        began = time.time()

        def rotations():
            for _ in range(3):
                self.rotate()
                eventually(lambda: all(pi.ctl("keys", "status").status == 0 for pi in self.all),
                           lambda: [pi.ctl("keys", "status").stdout for pi in self.all])

        sent, lost = self.flock.pings("10.77.0.210", rotations)
        self.assertEqual(lost, 0, f"of {sent} pings")
        self.assertEqual([{r: pi.dropped()[r] for r in reasons} for pi in self.all], before)
        self.assertEqual([self.epoch(pi) for pi in self.all], [epoch + 3] * 3)
        self.assertIs(self.flock.owner(), owner)
        for pi, count in zip(self.all, accepted):
            self.assertGreater(pi.status()["wire"]["accepted"], count + 20)
            late = [e for e in pi.json("events", "-n", "200")["items"] if "dead" in e["text"] and
                    time.mktime(time.strptime(e["time"], "%Y-%m-%dT%H:%M:%SZ")) -
                    time.timezone >= began - 1]
            self.assertEqual(late, [])

    def test_5_away(self):
        """More epochs pass than are kept, and both others start again: it comes back by itself."""
        self.third.kill()
        for _ in range(AWAY):
            self.rotate()
        for pi in (self.pi1, self.pi2):
            pi.kill()
            pi.start()
        self.third.start()
        self.meet()

    def test_6_address_changes(self):
        """No new node, no death: an update that all accept."""
        moved = "10.77.0.13"
        before = self.pi1.member("pi2")

        def change(old, new):
            for verb, address in (("del", old), ("add", new)):  # as a DHCP client does
                self.flock.inside("pi2", "ip", "address", verb, f"{address}/24", "dev", "wlan0")

        change(ADDRESS["pi2"], moved)
        for pi in self.all:
            eventually(lambda: pi.member("pi2")["address"] == f"{moved}:{flock.PORT}",
                       lambda: pi.member("pi2"))
            after = pi.member("pi2")
            self.assertEqual((after["id"], after["state"]), (before["id"], "alive"))
            self.assertEqual(len(pi.items("members")), 3)
        change(moved, ADDRESS["pi2"])
        for pi in self.all:
            eventually(lambda: pi.member("pi2")["address"] == f"{ADDRESS['pi2']}:{flock.PORT}",
                       lambda: pi.member("pi2"))
        self.meet()

    def test_7_revocation(self):
        """Everywhere within 10 s; what the revoked one says is refused; it knows why."""
        epoch, identity = self.epoch(), self.node(self.pi1, "client")["id"]
        began = time.monotonic()
        result = self.flock.must(self.pi1, "node", "revoke", "client")
        self.assertIn("client is no member any more", result.stdout)
        for pi in (self.pi1, self.pi2):
            eventually(lambda: self.node(pi, "client")["state"] == "revoked" and
                       self.epoch(pi) == epoch + 1, lambda: pi.ctl("node", "list").stdout, REVOKED_S)
        self.assertLess(time.monotonic() - began, REVOKED_S)
        self.meet([self.pi1, self.pi2])
        eventually(lambda: "was revoked" in self.third.headline(), self.third.headline)
        self.assertEqual(self.third.ctl("keys", "status").status, 5)
        self.assertEqual(self.pi1.ctl("node", "revoke", "client").status, 1)
        # It was off when that happened, say: its card knows nothing.
        self.third.kill()
        for file in self.third.state.glob("revoked-*"):
            file.unlink()
        self.deaf_to_notices()
        # It is refused, and told why.
        self.third.kill()
        before = [pi.dropped()["unknown_sender"] for pi in (self.pi1, self.pi2)]
        self.third.start()
        eventually(lambda: "was revoked" in self.third.headline(), self.third.headline)
        for pi, count in zip((self.pi1, self.pi2), before):
            self.assertEqual([m["name"] for m in pi.items("members")], ["pi1", "pi2"])
        self.assertGreater(sum(pi.dropped()["unknown_sender"] for pi in (self.pi1, self.pi2)),
                           sum(before))
        self.third.kill()
        self.third.start()  # and remembers it
        self.assertIn("was revoked", self.third.headline())
        for command in (["join", "covey1-x"], ["init"]):
            self.assertEqual(self.third.ctl(*command).status, 5)
        # With a new identity it is welcome, under its old name.
        self.third.kill()
        for folder in (self.third.state, self.third.run):
            shutil.rmtree(folder)
        self.third.start()
        self.join(self.third)
        self.meet()
        listed = [(n["name"], n["state"]) for n in self.third.items_of("node", "list")]
        self.assertIn(("client", "revoked"), listed)
        self.assertNotEqual(self.pi1.member("client")["id"], identity)

    def deaf_to_notices(self):
        """A thief who does not listen introduces himself again and again, in vain."""
        # Kinds of datagrams: 5 is an introduction, 6 a notice.
        self.flock.inside("client", "nft", "-f", "-", input="table inet thief {\n"
            "chain in { type filter hook input priority 0\n"
            "udp sport 8801 @th,64,8 & 0xf == 6 counter drop; }\n"
            "chain out { type filter hook output priority 0\n"
            "udp dport 8801 @th,64,8 & 0xf == 5 counter; }\n}\n")
        self.third.start()

        def counted(chain):
            rules = self.flock.inside("client", "nft", "list", "chain", "inet", "thief", chain)
            return int(rules.stdout.split("packets ")[1].split()[0])

        eventually(lambda: counted("out") >= 3 and counted("in") >= 1,
                   lambda: f"{counted('out')} introductions, {counted('in')} notices")
        self.assertNotIn("was revoked", self.third.headline())
        for pi in (self.pi1, self.pi2):
            self.assertEqual([m["name"] for m in pi.items("members")], ["pi1", "pi2"])
            self.assertEqual(self.node(pi, "client")["state"], "revoked")
        self.flock.inside("client", "nft", "delete", "table", "inet", "thief")

    def test_8_another_holder(self):
        """pi1's card has died; a copy of the cluster key makes pi2 the one that admits."""
        shutil.copy2(self.pi1.state / "cluster.key", self.pi2.state / "cluster.key")
        self.pi1.kill()
        self.pi2.kill(signal.SIGTERM)
        self.pi2.start()
        eventually(lambda: self.pi2.member("client")["state"] == "alive", self.pi2.headline)
        self.flock.must(self.pi2, "node", "revoke", "pi1")
        self.meet([self.pi2, self.third])
        for folder in (self.pi1.state, self.pi1.run):
            shutil.rmtree(folder)
        self.pi1.start()
        self.join(self.pi1, by=self.pi2)
        self.meet()

    def test_9_by_approval(self):
        """Without a token: both sides show one fingerprint, people approve it at the holder, pi2."""
        self.third.kill()
        for folder in (self.third.state, self.third.run):
            shutil.rmtree(folder)
        self.third.write_config(f"join: [{ADDRESS['pi2']}]\n")  # it asks by itself
        self.third.config.write_text(self.third.config.read_text().replace("client", "fourth", 1))
        self.third.start()
        eventually(lambda: "waits to be admitted" in self.third.headline(), self.third.headline)
        fingerprint = self.third.headline().split()[-1]
        self.assertEqual(self.third.ctl("keys", "status").status, 6)
        pending = eventually(lambda: self.node(self.pi2, "fourth"), "nobody waits at pi2")
        self.assertEqual((pending["state"], pending["fingerprint"]), ("pending", fingerprint))
        self.assertIn("node approve", self.pi2.ctl("node", "list").stdout)
        self.assertEqual(self.pi1.ctl("node", "approve", fingerprint).status, 6)
        wrong = ("A" if fingerprint[0] != "A" else "B") + fingerprint[1:]
        refused = self.pi2.ctl("node", "approve", wrong)
        self.assertEqual(refused.status, 1)
        self.assertIn("do not approve it", refused.stderr)
        self.flock.must(self.pi2, "node", "approve", fingerprint.lower().replace("-", ""))
        eventually(lambda: self.third.member("fourth"), self.third.headline)
        for pi in self.all:
            eventually(lambda: (pi.member("fourth") or {}).get("state") == "alive", pi.headline)
        self.assertEqual(self.node(self.pi2, "fourth")["state"], "admitted")
        self.assertEqual(self.node(self.pi1, "fourth")["fingerprint"], fingerprint)


if __name__ == "__main__":
    flock.main()
