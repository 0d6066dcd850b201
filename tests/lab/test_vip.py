"""Virtual addresses of two real agents: handing over, following the owner, foreign hosts."""

import json
import signal
import subprocess
import time
import unittest

import flock
from flock import CLUSTER, VIP, Flock, eventually, main, run

INVITED_S = 2  # so long a node that shall take an address is waited for (proto/lease/handover.c)
LEASE_MAX_MS = 4000 + 1100 + 100  # the longest promise, with the fence and what clocks may drift
HOOK = """#!/bin/sh
echo "$VIP $NAME ${OLD:--} ${NEW:--} $NODE $HERE $EPOCH" >>%s
"""


def hooks_told(pi):
    file = pi.folder / "hooks.log"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


class Addresses(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.flock = Flock(found=False)
        for pi in cls.flock.pis:
            hooks = pi.folder / "hooks.d"
            hooks.mkdir()
            for name, text in (("10-note", HOOK % (pi.folder / "hooks.log")),
                               ("20-fails", "#!/bin/sh\necho cannot >&2; exit 3\n"),
                               ("30-writable", HOOK % (pi.folder / "never.log"))):
                (hooks / name).write_text(text)
                (hooks / name).chmod(0o777 if name == "30-writable" else 0o755)
            pi.write_config(f"hooks: {hooks}\n")
        try:
            cls.flock.form()
            cls.flock.apply({"cluster.yaml": CLUSTER, "apps/edge/front.yaml": VIP})
        except BaseException:
            cls.flock.down()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.flock.down()

    def owner(self):
        name = eventually(lambda: self.flock.pi1.vip().get("owner"), "no owner")
        return next(pi for pi in self.flock.pis if pi.name == name)

    def test_move_from_either_side(self):
        for ask_owner in (True, False):
            old = self.owner()
            new = self.flock.other(old)
            asked = old if ask_owner else new
            told = len(hooks_told(new))
            result = asked.ctl("vip", "move", "front", new.name)
            self.assertEqual(result.status, 0, result.stderr)
            self.assertIn(f"10.77.0.210 is held by {new.name}", result.stdout)
            self.assertIn("10.77.0.210", new.addresses())
            eventually(lambda: "10.77.0.210" not in old.addresses(), "the old owner keeps it")
            for pi in self.flock.pis:
                eventually(lambda: pi.vip()["owner"] == new.name and
                           pi.vip()["before"] == old.name, lambda: f"{pi.name}: {pi.vip()}")
            for pi in self.flock.pis:  # the other one by its own promise
                eventually(lambda: 0 < (pi.vip()["leaseLeftMs"] or 0) <= LEASE_MAX_MS, pi.vip)
            for pi in self.flock.pis:  # an event each, on every node
                epoch = new.vip()["epoch"].lstrip("0")
                eventually(lambda: pi.has_event("10.77.0.210 is held by", f"epoch {epoch}"),
                           lambda: pi.events(20))
            eventually(lambda: len(hooks_told(new)) > told, "no hook ran")
            eventually(lambda: hooks_told(new)[-1][:6] ==
                       ["10.77.0.210", "front", old.name, new.name, new.name, "1"],
                       lambda: hooks_told(new))
            eventually(lambda: hooks_told(old)[-1][:6] ==
                       ["10.77.0.210", "front", old.name, new.name, old.name, "0"],
                       lambda: hooks_told(old))

    def move_to_sleeping(self, old, new):
        """The exit status of a move whose new node stands still until the invitation has lapsed; None
        when it was called dead before the move began."""
        new.process.send_signal(signal.SIGSTOP)
        lapsed = time.monotonic() + 2 * INVITED_S
        try:
            move = subprocess.Popen(
                [flock.programs / "agentctl", "--socket", old.run / "agent.sock", "--timeout", "60",
                 "vip", "move", "front", new.name], stderr=subprocess.PIPE, text=True)
            eventually(lambda: old.member(new.name)["state"] == "dead" and
                       (time.monotonic() > lapsed or move.poll() is not None), old.headline)
        finally:
            new.process.send_signal(signal.SIGCONT)
        said = move.communicate(timeout=70)[1]
        return None if "does not answer" in said else move.returncode

    def test_a_move_is_asked_for_until_it_is_done(self):
        old = self.owner()
        new = self.flock.other(old)
        for _ in range(3):
            status = self.move_to_sleeping(old, new)
            if status is not None:
                break
            eventually(lambda: old.member(new.name)["state"] == "alive", old.headline)
        self.assertEqual(status, 0)
        self.assertIn("10.77.0.210", new.addresses())

    def test_hooks_that_fail_or_are_not_safe_are_told(self):
        pi = self.owner()
        eventually(lambda: pi.has_event("a hook failed", "20-fails", "cannot") or
                   pi.has_event("30-writable"), lambda: pi.events(20))
        self.assertFalse((pi.folder / "never.log").exists())

    def test_a_move_that_cannot_be_says_why(self):
        owner = self.owner()
        for arguments, status, words in (
                (("front", owner.name), 6, "holds 10.77.0.210 already"),
                (("front", "pi9"), 1, "no node pi9"),
                (("10.77.0.250", owner.name), 1, "no virtual address 10.77.0.250"),
                (("front",), 2, "needs an address")):
            result = owner.ctl("vip", "move", *arguments)
            self.assertEqual(result.status, status, result.stderr)
            self.assertIn(words, result.stderr)
        other = self.flock.other(owner)
        self.flock.must(other, "drain")
        try:
            result = owner.ctl("vip", "move", "front", other.name)
            self.assertEqual(result.status, 6, result.stderr)
            self.assertIn("is drained", result.stderr)
        finally:
            self.flock.must(other, "undrain")
            self.flock.settle()

    def test_what_a_foreign_host_has_is_never_claimed(self):
        client = f"{self.flock.prefix}-client"
        run("ip", "-n", client, "address", "add", "10.77.0.211/24", "dev", "wlan0")
        mac = json.loads(run("ip", "-n", client, "-j", "link", "show", "wlan0").stdout)[0]["address"]
        monitors = [subprocess.Popen(
            ["ip", "-n", f"{self.flock.prefix}-{pi.name}", "-o", "monitor", "address"],
            stdout=subprocess.PIPE, text=True) for pi in self.flock.pis]
        self.flock.push({"apps/edge/second.yaml": VIP.replace("front", "second")})
        try:
            for pi in self.flock.pis:
                def second():
                    return next((v for v in pi.items("vip") if v["name"] == "second"), {})
                eventually(lambda: second().get("foreignMac") == mac, lambda: pi.items("vip"))
                self.assertIsNone(second()["owner"])
                self.assertIn(mac, pi.status()["headline"])
                self.assertIn(mac, pi.ctl("vip").stdout)
            self.assertTrue(any(pi.has_event("error", "10.77.0.211 is not claimed", mac)
                                for pi in self.flock.pis))
        finally:
            for monitor in monitors:
                monitor.terminate()
        for monitor in monitors:
            self.assertNotIn("10.77.0.211", monitor.communicate()[0])
        # It goes, and the address is free.
        run("ip", "-n", client, "address", "del", "10.77.0.211/24", "dev", "wlan0")
        eventually(lambda: any("10.77.0.211" in pi.addresses() for pi in self.flock.pis),
                   lambda: self.flock.pi1.items("vip"), 60)
        eventually(lambda: all(v["foreignMac"] is None for pi in self.flock.pis
                               for v in pi.items("vip")), lambda: self.flock.pi1.items("vip"))
        self.flock.settle()


if __name__ == "__main__":
    main()
