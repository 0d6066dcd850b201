"""Datagrams that mean ill: counted by reason, and without any effect."""

import os
import signal
import socket

import flock
from flock import ADDRESS, PORT, eventually, http_workload

SECRET = "a-word-that-nobody-else-says"
VERSION = 0x10
DATA, HELLO, ACCEPT, FIRST, INTRODUCE, JOIN_REQUEST, JOIN_REPLY = 1, 2, 3, 4, 5, 8, 9
SHORT = 24  # bytes of the header of DATA
REASONS = ["truncated", "oversized", "version", "kind", "unknown_sender", "unknown_session",
           "unknown_epoch", "authentication", "replay", "rate", "cloned",
           "body_truncated", "body_type", "body_fields", "body_value", "body_trailing"]


def kinds(datagrams):
    return {d[0] & 15 for d in datagrams}


class Wire(flock.FlockTest):
    found = False  # the capture begins before they meet

    @classmethod
    def prepare(cls):
        cls.capture = cls.flock.capture(cls.pi1)
        cls.sender = cls.flock.socket("client", socket.AF_INET, socket.SOCK_DGRAM)
        cls.flock.form()
        files = {"cluster.yaml": flock.CLUSTER, "apps/web/vip.yaml": flock.VIP,
                 "apps/web/rest-api.yaml": http_workload(
                     "rest-api", replicas=2, env=[{"name": "WORD", "value": SECRET}])}
        cls.commit = cls.flock.push(files, message=f"the commit of {SECRET}")
        cls.flock.settle(cls.commit)

    def send(self, *datagrams, to=None):
        for datagram in datagrams:
            self.sender.sendto(datagram, (ADDRESS[(to or self.pi1).name], PORT))

    def counted(self, reason, *datagrams):
        """Sends them to pi1 from a host of no flock: this counter rises, and nothing else changes."""
        before = self.pi1.dropped()
        self.send(*datagrams)
        eventually(lambda: self.pi1.dropped()[reason] >= before[reason] + len(datagrams),
                   lambda: f"{reason}: {before} is {self.pi1.dropped()}")
        self.unimpressed()

    def unimpressed(self):
        member = self.pi1.member("pi2")
        self.assertEqual(member["address"], f"{ADDRESS['pi2']}:{PORT}")
        self.assertEqual(member["state"], "alive")
        self.assertEqual([m["name"] for m in self.pi1.items("members")], ["pi1", "pi2"])
        self.assertEqual(self.pi1.commit()["commit"], self.commit)

    def real(self, kind=DATA):
        """Datagrams of pi2 to pi1 that the access point has seen."""
        return [d for d in self.capture.datagrams(ADDRESS["pi2"], ADDRESS["pi1"])
                if d[0] & 15 == kind]

    def test_counters_are_named(self):
        self.assertEqual(list(self.pi1.dropped()), REASONS)

    def test_nothing_can_be_read(self):
        """Of the token, the join, the gossip, the records and the commit's bundle over TCP."""
        frames = self.capture.take()
        self.assertGreater(len(frames), 50)
        tcp = [f for f in frames if f[12:14] == b"\x08\x00" and f[23] == 6]
        self.assertGreater(sum(map(len, tcp)), 500, "the bundle came this way")
        for word in (SECRET, "rest-api", "covey", "instance/", "git bundle", "PACK", "pi2", "WORD",
                     "10.77.0.210", self.commit, self.commit[:10], "bundle"):
            seen = [f for f in frames if word.encode() in f]
            self.assertEqual(seen, [], f"\"{word}\" is on the air")

    def test_garbage(self):
        self.counted("version", *(bytes([0x70 | i]) + os.urandom(99) for i in range(16)))
        self.counted("kind", *(bytes([VERSION | kind]) + os.urandom(99) for kind in (0, 7, 12, 15)))
        self.counted("truncated", b"", bytes([VERSION | DATA]))

    def test_of_a_sender_that_is_not_admitted(self):
        self.counted("unknown_sender",
                     *(bytes([VERSION | kind]) + self.real()[-1][1:8] + os.urandom(90)
                       for kind in (DATA, HELLO, ACCEPT, FIRST)))

    def test_truncated(self):
        whole = self.real()[-1]
        for size in (1, 8, SHORT - 1, SHORT, SHORT + 15):
            self.counted("truncated", whole[:size])

    def test_oversized(self):
        whole = self.real()[-1]
        for size in (1201, 1472, 9000, 60000):
            self.counted("oversized", whole + bytes(size - len(whole)))

    def test_forged(self):
        """Under a counter that is still to come: as it was, changed in a bit, shorter, longer."""
        whole = bytearray(self.real()[-1])
        whole[17] ^= 1
        body, tag = bytearray(whole), bytearray(whole)
        body[SHORT] ^= 1
        tag[-1] ^= 128
        self.counted("authentication", whole, body, tag, whole[:-1], whole + b"x")

    def test_forged_joins(self):
        """The shape of a request to join, and an answer that nobody has asked for."""
        self.counted("authentication", bytes([VERSION | JOIN_REQUEST]) + os.urandom(300))
        self.counted("replay", bytes([VERSION | JOIN_REPLY]) + os.urandom(300))

    def test_forged_introductions(self):
        """An admission that the cluster's key has not signed: nobody is admitted, of whatever name."""
        def introduction(name, key=None):
            return (bytes([VERSION | INTRODUCE, 0, 0, 0]) + (key or os.urandom(32)) + bytes([1]) +
                    (7).to_bytes(8, "big") + bytes([len(name)]) + name.ljust(63, b"\0") +
                    os.urandom(64))

        self.counted("authentication", introduction(b"pi3"), introduction(b"pi4"))
        self.counted("body_value", introduction(b"pi\x003"))

    def test_replayed(self):
        eventually(lambda: len(self.real()) > 20, "the Pis say little")
        self.counted("replay", *self.real()[-20:])

    def test_replayed_to_a_receiver_that_started_again(self):
        old = self.real()[-20:]
        self.pi1.kill()
        self.pi1.start()
        self.flock.settle(self.commit)
        self.counted("unknown_session", *old)

    def test_replays_keep_nobody_alive(self):
        """pi2 is dead; all that it ever said is said again and again, before and after a restart of
        pi1, from its own address: pi1 is not deceived."""
        eventually(lambda: kinds(self.capture.datagrams(ADDRESS["pi2"], ADDRESS["pi1"])) >=
                   {DATA, HELLO, FIRST, JOIN_REQUEST} or
                   kinds(self.capture.datagrams(ADDRESS["pi2"], ADDRESS["pi1"])) >=
                   {DATA, ACCEPT, JOIN_REQUEST}, "no handshake was seen")
        everything = self.capture.datagrams(ADDRESS["pi2"], ADDRESS["pi1"])[-3000:]
        self.pi2.kill()
        ghost = self.flock.socket("pi2", socket.AF_INET, socket.SOCK_DGRAM)
        ghost.bind((ADDRESS["pi2"], PORT))

        def is_dead():
            for datagram in everything:
                ghost.sendto(datagram, (ADDRESS["pi1"], PORT))
            return self.pi1.member("pi2")["state"] == "dead"

        eventually(is_dead, self.pi1.headline)
        self.pi1.kill(signal.SIGKILL)
        self.pi1.start()
        for _ in range(5):
            self.assertTrue(eventually(is_dead, self.pi1.headline))
        ghost.close()
        self.pi2.start()
        self.flock.settle(self.commit)


if __name__ == "__main__":
    flock.main()
