"""What somebody changes on a node by hand, in each of the modes of an app."""

import fcntl
import os
import re
import select
import signal
import socket
import subprocess

import flock
from flock import eventually, workload

CLUSTER = flock.CLUSTER + "  sync: {healthTimeoutSeconds: 0, drift: %s}\n"
FILES = [{"path": "plain.conf", "content": "as it should be\n", "template": False}]
FRONT = "10.77.0.210"


def files(mode):
    return {"cluster.yaml": CLUSTER % mode, "apps/web/vip.yaml": flock.VIP,
            "apps/web/sleeper.yaml": workload("sleeper", ["sleep", "1d"], files=FILES,
                                              nodeSelector={"covey.dev/node": "pi1"}),
            "apps/web/other.yaml": workload("other", ["sleep", "1d"],
                                            nodeSelector={"covey.dev/node": "pi1"})}


class Drift(flock.FlockTest):
    @classmethod
    def prepare(cls):
        cls.flock.apply(files("correct"))

    def mode(self, mode):
        self.flock.apply({"cluster.yaml": CLUSTER % mode})

    def instance(self, name="sleeper.0"):
        return self.pi1.instances(name.split(".")[0]).get(name, {})

    def ready(self, name="sleeper.0"):
        return eventually(lambda: self.instance(name).get("state") == "ready" and
                          self.instance(name), self.pi1.headline)

    def drift(self):
        return {d["subject"]: d for d in self.pi1.status()["drift"]}

    def kill(self, name="sleeper.0"):
        pid = self.ready(name)["pid"]
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: self.instance(name).get("pid") != pid, self.pi1.headline)

    def edit(self):
        file = self.pi1.run / "files/sleeper.0/plain.conf"
        file.chmod(0o600)
        file.write_text("edited by hand\n")
        return file

    def has_address(self, pi):
        return FRONT in pi.addresses()

    def remove_address(self, pi):
        eventually(lambda: self.has_address(pi), pi.headline)
        self.flock.inside(pi.name, "ip", "address", "del", f"{FRONT}/32", "dev", "wlan0")

    def folder(self, name):
        return self.pi1.run / "shim" / name

    def start_extra(self, name):
        """The program of a shim, started by hand: agentd has never heard of it. Returns the process
        of the workload; what was started is gone as soon as its shim is on its own."""
        folder = self.folder(name)
        eventually(lambda: not folder.exists(), f"what ran as {name} is not cleared away")
        folder.mkdir(mode=0o700)
        words = ["version=covey-shim-spec 2", f"instance={name}", "generation=1", f"dir={folder}",
                 "arg=sleep", "arg=1d", "stop_signal=15", "stop_timeout_ms=1000"]
        spec = os.memfd_create("spec")
        os.write(spec, b"".join(word.encode() + b"\0" for word in words))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 40) for fd in (spec, theirs.fileno())]
        with ours, theirs:
            subprocess.run(["bash", "-c", f'exec "$@" 3<&{high[0]} 4<&{high[1]}', "shim",
                            flock.programs / "agent-shim", name], pass_fds=high, env={}, check=True)
            for fd in [spec, *high]:
                os.close(fd)
            theirs.close()
            ours.settimeout(flock.WAIT_S)
            while True:  # what it tells its starter, and would tell an agent
                told = ours.recv(65536).decode()
                pid = int(re.search(r"^pid=(\d+)$", told, re.MULTILINE)[1])
                self.assertNotIn("state=failed", told)
                if pid > 0:
                    return self.handle(pid)

    def handle(self, pid):
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:  # ended already
            return None
        self.addCleanup(os.close, handle)
        self.addCleanup(self.end, handle)
        return handle

    @staticmethod
    def has_ended(handle):
        return handle is None or select.select([handle], [], [], 0)[0] != []

    def end(self, handle):
        if not self.has_ended(handle):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            eventually(lambda: self.has_ended(handle), "a process that was killed lives on")

    def is_stopped(self, name):
        handle = self.start_extra(name)
        eventually(lambda: self.has_ended(handle), f"{name} runs on")
        eventually(lambda: not self.folder(name).exists(), f"{name} is not cleared away")

    def get(self, path):
        return self.flock.inside("pi1", "curl", "-s", "http://127.0.0.1:8800" + path).stdout

    @staticmethod
    def told(pi, subject, word):
        """How often it was told that it is left as it is."""
        return len([e for e in pi.items_of("events", "-n", "200") if e["subject"] == subject and
                    word in e["text"] and "drift: warn" in e["text"]])

    # ---- the modes ----

    def test_correct(self):
        self.mode("correct")
        self.kill()
        self.ready()
        file = self.edit()
        eventually(lambda: file.read_text() == FILES[0]["content"], "it stays edited")
        pi = self.flock.owner()
        self.remove_address(pi)
        eventually(lambda: self.has_address(pi), pi.headline)
        eventually(lambda: pi.has_event("warning vip/" + FRONT, "it is back"), pi.events)
        for name in "stranger.0", "sleeper.7", "stranger.0":
            self.is_stopped(name)
        self.assertEqual(self.drift(), {})

    def test_warn_shows_it_and_leaves_it(self):
        self.mode("warn")
        file = self.edit()
        eventually(lambda: "app/sleeper.0" in self.drift(), self.drift)
        self.assertIn("files", self.drift()["app/sleeper.0"]["what"])
        self.assertEqual(file.read_text(), "edited by hand\n")
        self.kill("other.0")
        eventually(lambda: "app/other.0" in self.drift(), self.drift)
        eventually(lambda: self.instance("other.0")["state"] == "failed", self.instance)
        pi = self.flock.owner()
        self.remove_address(pi)
        eventually(lambda: "vip/" + FRONT in self.drift(), self.drift)
        extra = self.start_extra("visitor.0")
        eventually(lambda: "app/visitor.0" in self.drift(),
                   lambda: (self.has_ended(extra), self.drift()))

        # Everywhere that people look, and once.
        status = self.pi2.ctl("status")
        self.assertEqual(status.status, 3)
        self.assertIn("app/other.0 on pi1 was killed by somebody", status.stdout)
        self.assertIn("sleeper.0 on pi1 has files that somebody edited",
                      self.pi2.ctl("apps").stdout)
        eventually(lambda: self.pi1.has_event("warning app/other.0", "(drift: warn)"),
                   self.pi1.events)
        page = self.get("/")
        self.assertIn('id="drift"', page)
        self.assertIn("app/visitor.0", page)
        self.assertRegex(self.get("/metrics"), r'covey_drift\{subject="app/other.0",app="web"\} 1')
        self.assertRegex(self.get("/metrics"), r'covey_drift\{subject="app/visitor.0",app=""\} 1')
        for subject, word in (("app/sleeper.0", "edited"), ("app/other.0", "killed"),
                              ("app/visitor.0", "started by somebody")):
            self.assertEqual(self.told(self.pi1, subject, word), 1, self.pi1.events)
        self.assertEqual(self.told(pi, "vip/" + FRONT, "removed"), 1, pi.events)

        # Left alone all this time; another mode corrects it.
        self.assertEqual(file.read_text(), "edited by hand\n")
        self.assertEqual(self.instance("other.0")["pid"], 0)
        self.assertFalse(self.has_address(pi))
        self.assertFalse(self.has_ended(extra))
        self.mode("correct")
        eventually(lambda: file.read_text() == FILES[0]["content"], "it stays edited")
        self.ready("other.0")
        eventually(lambda: self.has_address(pi), pi.headline)
        eventually(lambda: self.has_ended(extra), "visitor.0 runs on")
        eventually(lambda: self.drift() == {}, self.drift)

    def test_each_start_of_an_extra_process_is_shown(self):
        self.mode("warn")
        for _ in range(4):
            extra = self.start_extra("guest.0")
            eventually(lambda: "app/guest.0" in self.drift(), self.drift)
            self.assertFalse(self.has_ended(extra))
            self.end(extra)  # its starter does that, by hand
            eventually(lambda: self.drift() == {}, self.drift)
        self.mode("correct")

    def test_off_neither_shows_nor_corrects(self):
        self.flock.apply({"cluster.yaml": CLUSTER % "correct, apps: [{name: web, drift: 'off'}]"})
        self.kill("other.0")
        pi = self.flock.owner()
        self.remove_address(pi)
        file = self.edit()
        eventually(lambda: self.instance("other.0")["state"] == "failed", self.instance)
        # By its name it is of that app. What is of none is corrected as the cluster says, meanwhile.
        extra = self.start_extra("sleeper.7")
        self.is_stopped("stranger.0")
        self.assertEqual(self.drift(), {})
        self.assertFalse(self.has_ended(extra))
        self.assertEqual(self.told(self.pi1, "app/sleeper.7", "drift"), 0)
        self.assertEqual(file.read_text(), "edited by hand\n")
        self.assertEqual(self.instance("other.0")["pid"], 0)
        self.assertFalse(self.has_address(pi))
        self.mode("correct")
        self.ready("other.0")
        eventually(lambda: self.has_ended(extra), "sleeper.7 runs on")
        eventually(lambda: self.has_address(pi), pi.headline)
        eventually(lambda: file.read_text() == FILES[0]["content"], "it stays edited")

    def test_a_process_that_fails_is_started_again_in_every_mode(self):
        self.mode("warn")
        try:
            pid = self.ready("other.0")["pid"]
            os.kill(pid, signal.SIGSEGV)
            eventually(lambda: self.instance("other.0").get("pid") not in (pid, 0),
                       self.pi1.headline)
        finally:
            self.mode("correct")


if __name__ == "__main__":
    flock.main()
