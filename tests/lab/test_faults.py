"""Workloads that do not do what they should: what `agentctl apps` says about each, on both Pis."""

import os
import signal
import socket

import flock
from flock import ADDRESS, eventually, http_workload, workload

ON_PI1 = {"nodeSelector": {"disk": "ssd"}}
SHELL = ["/bin/sh", "-c"]
LATE = {"tcpSocket": {"port": "http"}, "periodSeconds": 1}
GOOD = {"cluster.yaml": flock.CLUSTER, "apps/x/good.yaml": http_workload("good", **ON_PI1)}
PROBED = {"readinessProbe": LATE, "ports": [{"name": "http"}], **ON_PI1}


def lives(pid):
    """One that has ended may wait until whoever is its parent by now takes note."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Faults(flock.FlockTest):
    @classmethod
    def prepare(cls):
        (cls.flock.folder / "not-executable").write_text("#!/bin/sh\n")
        cls.flock.apply(GOOD)
        cls.good = cls.pi1.processes()

    def tearDown(self):
        """Whatever it was: it is gone when it leaves Git, and nothing else was touched."""
        self.flock.apply({"apps/x/bad.yaml": None})
        eventually(lambda: self.pi1.processes() == self.good, self.pi1.processes)
        self.assertEqual(self.pi2.processes(), [])

    def push(self, document):
        self.flock.push({"apps/x/bad.yaml": document})

    def shown(self, state, reason, check=lambda instance: True):
        """Both Pis show bad.0 on pi1 in this state for this reason; returns what they show."""
        def is_so(pi):
            bad = pi.instances("bad").get("bad.0", {})
            return bad if bad.get("state") in state and reason in bad["reason"] and check(bad) else None

        for pi in (self.pi2, self.pi1):
            found = eventually(lambda: is_so(pi), lambda: f"{pi.instances('bad')} on {pi.name}")
            self.assertEqual(found["node"], "pi1")
            self.assertIn(reason, pi.ctl("apps", "bad").stdout)
        self.assertEqual(self.pi1.ctl("status").status, 3)
        self.assertIn("bad has 0 of 1 replicas ready", self.pi2.headline())
        return found

    def test_program_that_does_not_exist(self):
        self.push(workload("bad", ["no-such-program"], **ON_PI1))
        shown = self.shown(["backoff"], "is in no folder of PATH")
        self.assertIn("no-such-program", shown["reason"])
        self.assertEqual((shown["pid"], shown["exitCode"]), (0, 127))

    def test_program_that_is_not_executable(self):
        self.push(workload("bad", [str(self.flock.folder / "not-executable")],
                           securityContext={"privateTmp": False}, **ON_PI1))
        self.shown(["backoff"], "may not be executed")

    def test_program_in_the_tmp_of_the_machine(self):
        self.push(workload("bad", [str(self.flock.folder / "not-executable")], **ON_PI1))
        self.shown(["backoff"], "it has a /tmp of its own")

    def test_user_that_does_not_exist(self):
        self.push(workload("bad", ["sleep", "1000"], user="covey-nobody", **ON_PI1))
        self.shown(["backoff"], "there is no user covey-nobody")

    def test_program_that_ends_at_once(self):
        self.push(workload("bad", SHELL + ["echo its last words; exit 7"], **ON_PI1))
        shown = self.shown(["backoff"], "ended with exit code 7", lambda i: i["restarts"] >= 2)
        self.assertEqual(shown["exitCode"], 7)
        self.assertIn("its last words", self.pi2.ctl("logs", "bad").stdout)

    def test_program_that_is_killed(self):
        self.push(workload("bad", SHELL + ["kill -SEGV $$"], **ON_PI1))
        self.shown(["backoff"], "ended by signal 11")

    def test_job_that_fails_for_good(self):
        self.push(workload("bad", SHELL + ["exit 3"], restartPolicy="Never", **ON_PI1))
        self.assertEqual(self.shown(["failed"], "ended with exit code 3")["restarts"], 0)

    def test_probe_that_is_never_ready(self):
        """It runs on, and is not restarted for that."""
        self.push(workload("bad", ["sleep", "1000"], **PROBED))
        pid = self.shown(["running"], "probe: ")["pid"]
        self.assertIn(("bad.0", pid), self.pi1.processes())
        self.assertEqual(self.shown(["running"], "probe: ")["pid"], pid)

    def test_liveness_probe_that_fails(self):
        self.push(workload("bad", ["sleep", "1000"], **PROBED, livenessProbe={
            "exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 2}))
        self.shown(["backoff", "stopping", "starting", "running"], "", lambda i: i["restarts"] >= 1)

    def test_service_that_nobody_offers_yet(self):
        self.push(workload("bad", ["sleep", "1000"], **ON_PI1, env=[
            {"name": "URL", "value": "http://${service:late/http}"}]) + "\n---\n" +
            workload("late", ["sleep", "1000"], **PROBED))
        self.shown(["waiting"], "late")

    def test_dependency_that_is_not_ready(self):
        self.push(workload("bad", ["sleep", "1000"], dependsOn=["late"], **ON_PI1) + "\n---\n" +
                  workload("late", ["sleep", "1000"], **PROBED))
        self.shown(["waiting"], "waits for late to be ready")

    def test_program_that_ignores_sigterm(self):
        """It gets its time, then it and its children are killed."""
        ready = self.flock.folder / "ready"
        os.mkfifo(ready)
        ready.chmod(0o666)
        self.push(workload("bad", SHELL + [f"trap '' TERM; sleep 1000 & echo > {ready}; "
                                           "while :; do sleep 1; done"],
                           terminationGracePeriodSeconds=1,
                           securityContext={"privateTmp": False}, **ON_PI1))
        with open(ready):
            pass  # it has written, so its trap is set
        eventually(lambda: self.pi1.instances("bad")["bad.0"]["state"] == "ready", self.pi1.headline)
        self.flock.apply({"apps/x/bad.yaml": workload("other", ["sleep", "1000"], **ON_PI1)})
        eventually(lambda: [n for n, _ in self.pi1.processes()] == ["good.0", "other.0"],
                   self.pi1.processes)
        self.assertTrue(self.pi1.has_event("app/bad.0", "signal 9"), self.pi1.events(20))

    def test_port_that_a_stranger_has(self):
        stranger = self.flock.socket("pi1", socket.AF_INET, socket.SOCK_STREAM)
        stranger.bind(("0.0.0.0", 7001))
        stranger.listen()
        self.flock.apply({"apps/x/bad.yaml": http_workload("bad", port=7001, **ON_PI1)})
        port = self.pi2.instances("bad")["bad.0"]["ports"]["http"]
        self.assertIn(port, range(20000, 30000))
        client = self.flock.socket("client", socket.AF_INET, socket.SOCK_STREAM)
        client.settimeout(flock.WAIT_S)
        client.connect((ADDRESS["pi1"], port))
        client.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
        self.assertIn(b" 200 ", client.recv(64))

    def test_workload_that_recovers(self):
        """What kept it from starting is put right: it needs no push, only its next try."""
        program = self.flock.folder / "late-program"
        self.push(workload("bad", [str(program)], securityContext={"privateTmp": False},
                           **ON_PI1))
        self.shown(["backoff"], "does not exist")
        program.write_text("#!/bin/sh\nexec sleep 1000\n")
        program.chmod(0o755)
        self.flock.settle()

    def test_a_process_killed_by_hand(self):
        self.flock.apply({"apps/x/bad.yaml": http_workload("bad", port=7000, **ON_PI1)})
        pid = self.pi1.instances("bad")["bad.0"]["pid"]
        os.kill(pid, signal.SIGKILL)
        again = eventually(lambda: (i := self.pi2.instances("bad")["bad.0"])["state"] == "ready" and
                           i["pid"] != pid and i, self.pi2.headline)
        self.assertEqual(again["restarts"], 1)

    def test_a_shim_that_is_killed(self):
        """Its program, and what hides from it, are gone before the next one runs, which is one."""
        script = "setsid env -i sleep 1000 & echo $! >$HOME/hidden; echo $$; exec sleep 1000"
        self.flock.apply({"apps/x/bad.yaml": workload("bad", SHELL + [script], **ON_PI1)})
        path = self.pi1.state / "instances/bad.0/hidden"
        hidden = int(eventually(lambda: path.exists() and path.read_text(), "it has hidden one"))
        pid = self.pi1.instances("bad")["bad.0"]["pid"]
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            os.kill(int(file.read().rpartition(")")[2].split()[1]), signal.SIGKILL)
        again = eventually(lambda: (i := self.pi2.instances("bad")["bad.0"])["state"] == "ready" and
                           i["pid"] != pid and i, self.pi2.headline)
        self.assertFalse(lives(pid) or lives(hidden))
        self.assertEqual(again["restarts"], 1)
        self.assertIn("ended with its shim, which was killed", self.pi2.ctl("apps", "bad").stdout)
        lines = self.pi2.ctl("logs", "bad", "-n", "all", "--raw").stdout.split()
        self.assertEqual(lines[-2:], [str(pid), str(again["pid"])])


if __name__ == "__main__":
    flock.main()
