"""Who may join: tokens that are wrong, damaged, expired, used up; names that are taken."""

import base64
import hashlib
import json
import subprocess
import time

import flock
from flock import eventually

ID, SECRET = 1, 9  # where they begin in a token


def crafted(token, offset):
    """The token with one bit of a field changed, and a sum that is right."""
    text = token.removeprefix("covey1-")
    data = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))[:-4])
    data[offset] ^= 1
    data += hashlib.blake2b(data, digest_size=32).digest()[:4]
    return "covey1-" + base64.urlsafe_b64encode(data).decode().rstrip("=")


class Join(flock.FlockTest):
    """pi1 founds the flock; pi2 tries; a third agent runs on the client's machine."""

    found = False

    @classmethod
    def prepare(cls):
        cls.third = flock.Pi(cls.flock, "client")
        for pi in (cls.pi1, cls.pi2, cls.third):
            pi.start()
        cls.flock.must(cls.pi1, "init")

    def token(self, *arguments):
        return json.loads(self.flock.must(self.pi1, "-o", "json", "token", "create",
                                          *arguments).stdout)

    def fails(self, pi, token, status, *words):
        """By its argument and by standard input; it leaves no trace in the flock."""
        for arguments, text in ((["-"], token + "\n"), ([token], "")):
            result = pi.ctl("join", *arguments, input=text)
            self.assertEqual(result.status, status, result.stderr)
            for word in words:
                self.assertIn(word, result.stderr)
        self.assertEqual(result.stdout, "")
        self.not_in(pi)

    def not_in(self, pi):
        self.assertIn("in no flock", pi.headline())
        self.assertNotIn(pi.name, [m["name"] for m in self.pi1.items("members")])

    def test_1_damaged(self):
        token = self.token()["token"]
        damaged = token[:40] + ("A" if token[40] != "A" else "B") + token[41:]
        for text in (damaged, token[:-5], token[:20], "covey1-", "covey2" + token[6:], "x" * 100):
            self.fails(self.pi2, text, 1, "token")
        self.assertEqual(self.pi2.ctl("join", "").status, 1)
        self.assertEqual(self.pi2.ctl("join").status, 2)

    def test_2_expired(self):
        token = self.token("--ttl", "1s")
        end = time.mktime(time.strptime(token["expires"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
        eventually(lambda: time.time() > end + 1, "the clock stands")
        self.fails(self.pi2, token["token"], 5, "expired", "create a new one")

    def test_3_wrong_ones_are_not_answered(self):
        """Of another secret or another id: after 15 s it is said what may be wrong. A newcomer tries
        once at a time."""
        token = self.token()["token"]
        waiting = [(pi, subprocess.Popen(
            [flock.programs / "agentctl", "--socket", pi.run / "agent.sock", "join",
             crafted(token, offset)], stderr=subprocess.PIPE, text=True))
            for pi, offset in ((self.pi2, SECRET), (self.third, ID))]
        self.assertEqual(crafted(crafted(token, ID), ID), token)
        eventually(lambda: "joining already" in self.pi2.ctl("join", "covey1-x").stderr,
                   "a second join is refused")
        for pi, process in waiting:
            said = process.communicate(timeout=60)[1]
            self.assertEqual(process.returncode, 7, said)
            self.assertIn("nobody at 10.77.0.11:8801 answered", said)
            self.assertIn("is the token still valid", said)
            self.not_in(pi)

    def test_4_seed_is_down(self):
        token = self.token()["token"]
        self.pi1.kill()
        result = self.pi2.ctl("join", token)
        self.assertEqual(result.status, 7, result.stderr)
        self.assertIn("nobody at 10.77.0.11:8801 answered", result.stderr)
        self.assertIn("Is agentd running there", result.stderr)
        self.pi1.start()
        self.not_in(self.pi2)

    def test_5_name_is_taken(self):
        token = self.token()["token"]
        self.pi2.kill()
        self.pi2.config.write_text(self.pi2.config.read_text().replace("node: pi2", "node: pi1"))
        self.pi2.start()
        result = self.pi2.ctl("join", token)
        self.assertEqual(result.status, 5, result.stderr)
        self.assertIn("belongs to another node", result.stderr)
        self.pi2.kill()
        self.pi2.write_config()
        self.pi2.start()
        self.flock.must(self.pi2, "join", token)  # it was not used up by that
        self.flock.settle()

    def test_6_used_up(self):
        token = self.token("--uses", "1")["token"]
        self.flock.must(self.third, "join", token)
        for pi in (self.pi1, self.third):
            eventually(lambda: len([m for m in pi.items("members") if m["state"] == "alive"]) == 3,
                       pi.headline)
        self.third.kill()
        for folder in (self.third.state, self.third.run):
            flock.run("rm", "-rf", folder)
        self.third.write_config()
        self.third.config.write_text(self.third.config.read_text().replace("client", "fourth", 1))
        self.third.start()
        result = self.third.ctl("join", token)
        self.assertEqual(result.status, 5, result.stderr)
        self.assertIn("used", result.stderr)
        self.assertIn("in no flock", self.third.headline())

    def test_7_in_a_flock_already(self):
        token = self.token()["token"]
        for command in (["join", token], ["init"]):
            result = self.pi2.ctl(*command)
            self.assertEqual(result.status, 6, result.stderr)
            self.assertIn("in a flock already", result.stderr)
        result = self.pi2.ctl("token", "create")
        self.assertEqual(result.status, 6)
        self.assertIn("founded", result.stderr)

    def test_8_of_another_flock(self):
        """A flock takes no node of another one."""
        self.flock.must(self.third, "init")
        token = self.flock.must(self.third, "token", "create").stdout.strip()
        result = self.pi2.ctl("join", token)
        self.assertEqual(result.status, 6, result.stderr)
        self.assertIn("in a flock already", result.stderr)
        self.assertNotIn("fourth", [m["name"] for m in self.pi1.items("members")])


if __name__ == "__main__":
    flock.main()
